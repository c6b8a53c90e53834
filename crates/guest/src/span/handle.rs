//! A span, and the guards that make it the current one.

use core::fmt;
use core::marker::PhantomData;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{REMOTE_PARENT, RecordKind, StatusCode};
use wasmetry_abi::trace::TraceContext;

use crate::host::random;
use crate::record;
use crate::record::argument::Arg;
use crate::record::context::Context;
use crate::record::field::Value;

/// One operation: its begin and end, its trace, and its attributes.
///
/// Make one with [`span!`](crate::span!) or [`instrument`](macro@crate::instrument). It ends when
/// it is dropped; if the guest traps before, the host ends it with an error status. Spans and logs
/// belong to it while it is [entered](Self::enter).
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
    /// Begins a span at a site, below the current one.
    #[doc(hidden)]
    pub fn start(site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        Self::child_of(Context::current(), 0, site, level, arguments)
    }

    /// Begins a span below one of another process, or below the current one if there is no such
    /// parent.
    #[doc(hidden)]
    pub fn continued(parent: Option<TraceContext>, site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        match parent {
            Some(parent) => {
                let parent = Context::of(parent).in_request(Context::current());
                Self::child_of(parent, REMOTE_PARENT, site, level, arguments)
            }
            None => Self::start(site, level, arguments),
        }
    }

    pub(crate) fn child_of(parent: Context, flags: u8, site: u64, level: Level, arguments: &[Arg<'_>]) -> Self {
        if !record::is_enabled_by_host(level) {
            // Spans below it become children of its parent.
            return Self { context: parent, is_recorded: false };
        }
        let (trace, flags) = if parent == Context::NONE { (Context::new_trace(), 0) } else { (parent, flags) };
        let context = trace.with_span(random::next());
        record::start(&context, parent.span(), flags, site, arguments);
        Self { context, is_recorded: true }
    }

    /// A span that records nothing.
    pub const fn none() -> Self {
        Self { context: Context::NONE, is_recorded: false }
    }

    /// Makes this span the current one until the guard is dropped.
    ///
    /// Do not hold the guard over an `.await`: what other tasks record meanwhile would belong to
    /// the span. Use [`instrument`](macro@crate::instrument) or
    /// [`Instrument::instrument`](crate::Instrument::instrument) there. The guard is not `Send`, so
    /// executors with several threads refuse such a future.
    pub fn enter(&self) -> Entered<'_> {
        Entered { before: self.context.make_current(), span: self, thread: PhantomData }
    }

    /// Makes this span the current one until the guard is dropped, which then ends the span.
    pub fn entered(self) -> EnteredSpan {
        EnteredSpan { before: self.context.make_current(), span: self, thread: PhantomData }
    }

    /// Runs `f` with this span as the current one.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Sets an attribute. A later value of the same key replaces the earlier one.
    pub fn set(&self, key: &str, value: impl Value) -> &Self {
        self.record(RecordKind::Attribute, &[], Some(&[Arg::Text(key), value.arg()]));
        self
    }

    /// Sets the status to `Ok`: the operation succeeded.
    pub fn set_ok(&self) -> &Self {
        self.record(RecordKind::Status, &[StatusCode::Ok as u64], Some(&[Arg::Text("")]));
        self
    }

    /// Sets the status to `Error`, with the reason.
    pub fn set_error(&self, why: &dyn fmt::Display) -> &Self {
        self.record(RecordKind::Status, &[StatusCode::Error as u64], Some(&[Arg::Display(why)]));
        self
    }

    /// Links another span, such as that of a message's sender.
    pub fn link(&self, other: TraceContext) -> &Self {
        let other = Context::of(other);
        let (high, low) = other.trace_halves();
        self.record(RecordKind::Link, &[high, low, other.span()], None);
        self
    }

    /// The span as it is propagated to other services. Returns `None` if there is no trace.
    pub fn context(&self) -> Option<TraceContext> {
        self.context.trace_context()
    }

    /// The context in which this span is current.
    pub(crate) const fn record_context(&self) -> Context {
        self.context
    }

    pub(crate) fn record(&self, kind: RecordKind, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
        if self.is_recorded {
            record::property(self.context.span(), kind, fixed, arguments);
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

/// A guard that makes a span the current one until it is dropped, made by [`Span::enter`].
#[must_use = "the span is current until the guard is dropped"]
#[derive(Debug)]
pub struct Entered<'a> {
    before: Context,
    span: &'a Span,
    /// The guard belongs to its thread.
    thread: PhantomData<*const ()>,
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

/// A guard that makes a span the current one until it is dropped, and ends it then; made by
/// [`Span::entered`].
#[must_use = "the span ends when the guard is dropped: write `let _span = span!(…).entered();`"]
#[derive(Debug)]
pub struct EnteredSpan {
    before: Context,
    span: Span,
    /// The guard belongs to its thread.
    thread: PhantomData<*const ()>,
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
