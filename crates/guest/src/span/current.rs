//! The current span, for code that has no handle of it.

use core::fmt;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{RecordKind, StatusCode};
use wasmetry_abi::trace::TraceContext;

use crate::record;
use crate::record::argument::Arg;
use crate::record::context::Context;

/// The current span as it is propagated to other services. Returns `None` if there is none.
///
/// Set it as the header `traceparent` of an outgoing request. Without the header, wasmetry's hosts
/// put the request below the span of the incoming one; they add `tracestate` and `baggage` in both
/// cases. [`propagate`](crate::propagate) sets all three headers on any host, and `Propagation`
/// does so for the types of the crate `http`.
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
        record::property(span, RecordKind::Attribute, &[], Some(&[Arg::Text(key), value]));
    }
}

/// The result of a function that may fail, for `#[instrument(err)]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no error to record",
    label = "not a `Result`",
    note = "`#[wasmetry::instrument(err)]` is for functions that return a `Result`: remove `err`"
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

/// Sets the status of the current span to `Error`, with the reason.
#[doc(hidden)]
pub fn fail(why: &dyn fmt::Display) {
    let span = Context::current().span();
    if span != 0 && record::is_enabled(Level::Error) {
        record::property(span, RecordKind::Status, &[StatusCode::Error as u64], Some(&[Arg::Display(why)]));
    }
}
