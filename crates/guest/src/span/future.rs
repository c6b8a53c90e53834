//! Futures that run in a span.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};

use crate::record::context::Context;
use crate::span::handle::Span;

/// Futures that run in a span.
pub trait Instrument: Future + Sized {
    /// Makes `span` the current one while this future is polled, and ends it with the future.
    ///
    /// ```
    /// use wasmetry::{Instrument as _, info, span};
    ///
    /// async fn handle(user: u64) {
    ///     async { info!("loading") }.instrument(span!("load_cart", user = user)).await;
    /// }
    /// # drop(handle(7));
    /// ```
    fn instrument(self, span: Span) -> Instrumented<Self> {
        Instrumented { context: span.record_context(), future: self, span }
    }
}

impl<F: Future> Instrument for F {}

/// A future that runs in a span; made by [`Instrument::instrument`].
#[must_use = "futures do nothing unless they are polled"]
#[derive(Debug)]
pub struct Instrumented<F> {
    // It is dropped before the span, so that its last records belong to the span.
    future: F,
    /// The current span of the next poll: the span, or one below it that the future has entered.
    context: Context,
    span: Span,
}

impl<F> Instrumented<F> {
    /// The span.
    pub const fn span(&self) -> &Span {
        &self.span
    }
}

impl<F: Future> Future for Instrumented<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        #![allow(unsafe_code, reason = "a pinned field is reached through its pinned struct")]

        // SAFETY: the future is not moved: it is only pinned again below, `Instrumented` has no
        // `Drop` of its own, and it is `Unpin` only where the future is.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let before = this.context.make_current();
        let poll = future.poll(task);
        // A span that the future has entered and not left is current again at the next poll, and
        // not in between.
        this.context = before.make_current();
        poll
    }
}
