use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};

use wasmetry_abi::Level;
use wasmetry_abi::ring::{REMOTE_PARENT, RecordKind, StatusCode};
use wasmetry_abi::trace::TraceContext;

use crate::context::Context;
use crate::field::Value;
use crate::id;
use crate::record::{self, Arg};

/// One operation: when it began and ended, in which trace, and what is to be said about it.
///
/// Make one with [`span!`](crate::span!) or [`instrument`](macro@crate::instrument). It ends when it is dropped; if the guest traps
/// before, the host ends it with an error status. Until it is [entered](Self::enter), spans and logs do not belong to it.
///
/// ```
/// use wasmetry::{info, span};
///
/// fn load_cart(user: u64) {
///     let _span = span!("load_cart", user = user).entered();
///     info!(items = 3, "cart loaded");
/// }
/// # load_cart(7);
/// ```
#[must_use = "a span ends when it is dropped: write `let _span = span!(…).entered();`"]
#[derive(Debug)]
pub struct Span {
    context: Context,
    is_recorded: bool,
}

impl Span {
    /// Begins a span at a site; its parent is the current one.
    #[doc(hidden)]
    pub fn start(site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        Self::child_of(Context::current(), 0, site, level, arguments)
    }

    /// Begins a span whose parent is in another process; without one, its parent is the current span.
    #[doc(hidden)]
    pub fn continued(parent: Option<TraceContext>, site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        match parent {
            Some(parent) => Self::child_of(Context::of(parent), REMOTE_PARENT, site, level, arguments),
            None => Self::start(site, level, arguments),
        }
    }

    fn child_of(parent: Context, flags: u8, site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        if !record::is_enabled_by_host(level) {
            // What is below it is a child of its parent.
            return Self { context: parent, is_recorded: false };
        }
        let (trace, flags) = if parent == Context::NONE { (Context::new_trace(), 0) } else { (parent, flags) };
        let context = trace.with_span(id::next());
        record::start(&context, parent.span(), flags, site, arguments);
        Self { context, is_recorded: true }
    }

    /// A span that records nothing.
    pub const fn none() -> Self {
        Self { context: Context::NONE, is_recorded: false }
    }

    /// Makes this span the current one until the guard is dropped.
    ///
    /// In an `async fn`, a guard that is held over an `.await` would take in what other tasks do meanwhile: use
    /// [`instrument`](macro@crate::instrument) or [`Instrument::instrument`] there. The guard cannot be sent to another thread,
    /// so that executors with several threads refuse such a future.
    pub fn enter(&self) -> Entered<'_> {
        Entered { before: self.context.make_current(), span: self, thread: core::marker::PhantomData }
    }

    /// Makes this span the current one until the guard is dropped, which then ends the span.
    pub fn entered(self) -> EnteredSpan {
        EnteredSpan { before: self.context.make_current(), span: self, thread: core::marker::PhantomData }
    }

    /// Runs `f` with this span as the current one.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Sets an attribute; a later value of the same key replaces the earlier one.
    pub fn set(&self, key: &str, value: impl Value) -> &Self {
        self.about(RecordKind::Attribute, &[], Some(&[Arg::Text(key), value.arg()]));
        self
    }

    /// Says that the operation went well, so that no backend takes it for failed.
    pub fn set_ok(&self) -> &Self {
        self.about(RecordKind::Status, &[StatusCode::Ok as u64], Some(&[Arg::Text("")]));
        self
    }

    /// Says that the operation failed, and why.
    pub fn set_error(&self, why: &dyn core::fmt::Display) -> &Self {
        self.about(RecordKind::Status, &[StatusCode::Error as u64], Some(&[Arg::Display(why)]));
        self
    }

    /// Links another span, such as the one that a message came from.
    pub fn link(&self, other: TraceContext) -> &Self {
        let other = Context::of(other);
        let (high, low) = other.trace_halves();
        self.about(RecordKind::Link, &[high, low, other.span()], None);
        self
    }

    /// The span as it is propagated to other services, unless there is no trace.
    pub fn context(&self) -> Option<TraceContext> {
        self.context.trace_context()
    }

    fn about(&self, kind: RecordKind, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
        if self.is_recorded {
            record::about(self.context.span(), kind, fixed, arguments);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.is_recorded {
            record::end(self.context.span());
        }
    }
}

/// The current span as it is propagated to other services, unless there is none.
///
/// A request that is sent without this header is below the span of the request that is being handled, and a host of wasmetry's adds
/// `tracestate` and `baggage` to either. [`propagate`](crate::propagate) sets all three, on any host; for the types of the crate
/// `http`, there is `Propagation`.
///
/// ```
/// use wasmetry::{current_context, span};
///
/// let _span = span!("call_stock", kind: client).entered();
/// if let Some(context) = current_context() {
///     let traceparent = context.traceparent();
///     // … set it as the header `traceparent` of the request …
///     assert_eq!(traceparent.len(), 55);
/// }
/// ```
pub fn current_context() -> Option<TraceContext> {
    Context::current().trace_context()
}

/// Records an event of the current span.
#[doc(hidden)]
#[inline(never)]
pub fn event(site: u64, level: Level, arguments: &[Arg<'_>]) {
    let span = Context::current().span();
    if span != 0 {
        record::event(span, site, level, arguments);
    }
}

/// Sets an attribute of the current span.
pub(crate) fn set_current(key: &str, level: Level, value: Arg<'_>) {
    let span = Context::current().span();
    if span != 0 && record::is_enabled(level) {
        record::about(span, RecordKind::Attribute, &[], Some(&[Arg::Text(key), value]));
    }
}

/// What a function returns that may fail, for `#[instrument(err)]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` tells of no error",
    label = "not a `Result`",
    note = "`#[wasmetry::instrument(err)]` is for functions that return a `Result`: leave `err` away"
)]
pub trait Fallible {
    type Error;
    fn failure(&self) -> Option<&Self::Error>;
}

impl<T, E> Fallible for Result<T, E> {
    type Error = E;

    #[inline]
    fn failure(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

/// Says that the operation of the current span failed, and why.
#[doc(hidden)]
pub fn fail(why: &dyn core::fmt::Display) {
    let span = Context::current().span();
    if span != 0 && record::is_enabled(Level::Error) {
        record::about(span, RecordKind::Status, &[StatusCode::Error as u64], Some(&[Arg::Display(why)]));
    }
}

/// A span is current until this is dropped; made by [`Span::enter`].
#[must_use = "the span is current until this is dropped"]
#[derive(Debug)]
pub struct Entered<'a> {
    before: Context,
    span: &'a Span,
    /// It belongs to its thread.
    thread: core::marker::PhantomData<*const ()>,
}

impl core::ops::Deref for Entered<'_> {
    type Target = Span;

    fn deref(&self) -> &Span {
        self.span
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.before.make_current();
    }
}

/// A span is current until this is dropped, and ends then; made by [`Span::entered`].
#[must_use = "the span ends when this is dropped: write `let _span = span!(…).entered();`"]
#[derive(Debug)]
pub struct EnteredSpan {
    before: Context,
    span: Span,
    /// It belongs to its thread.
    thread: core::marker::PhantomData<*const ()>,
}

impl core::ops::Deref for EnteredSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl Drop for EnteredSpan {
    fn drop(&mut self) {
        self.before.make_current();
    }
}

/// Futures that run in a span.
pub trait Instrument: Future + Sized {
    /// Makes `span` the current one whenever this future runs; it ends with the future.
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
        Instrumented { context: span.context, future: self, span }
    }
}

impl<F: Future> Instrument for F {}

/// A future that runs in a span; made by [`Instrument::instrument`].
#[must_use = "futures do nothing unless they are polled"]
#[derive(Debug)]
pub struct Instrumented<F> {
    // Dropped before the span, so that what it records at its end belongs to it.
    future: F,
    /// What is current when the future runs next: the span, or one below it that it has entered.
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

        // SAFETY: the future is not moved: it is only pinned again below, `Instrumented` has no `Drop` of its own, and it is
        // `Unpin` only where the future is.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let before = this.context.make_current();
        let poll = future.poll(task);
        // A span that the future has entered and not left yet is current again when it runs next, and not in between.
        this.context = before.make_current();
        poll
    }
}
