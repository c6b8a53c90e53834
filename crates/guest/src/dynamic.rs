//! Logs and spans of call sites that are defined at run time, for facades.
//!
//! The macros of this crate declare their call sites in the binary. Those of a library that uses
//! `log` or `tracing` are known only when they are reached: a facade defines each of them once in
//! an instance, with [`define`], and then records by its hash. This module is for facades, and is
//! not part of the public interface.

use core::fmt;

use wasmetry_abi::ring::{RecordKind, StatusCode};

pub use crate::record::argument::Arg;
pub use crate::record::site_table::{define, find};
pub use wasmetry_abi::Level;
pub use wasmetry_abi::ring::ARGUMENTS;
pub use wasmetry_abi::site::{Site, SiteKind, SpanKind, encode_facade, facade_len, is_audit};

use crate::host::level;
use crate::record::context::Context;
use crate::record::site_table::overflow_site;
use crate::record::{self, is_enabled_by_host};
use crate::span::handle::Span;

/// `true` if the level may differ from thread to thread, so that a facade must not keep decisions.
pub const IS_LEVEL_OF_THREAD: bool = cfg!(feature = "testing");

/// Runs `listener` now, and each time that the level changes that the host asks for.
///
/// The host is called if it was not before. The listener must not record.
pub fn on_level_change(listener: &'static fn(Level)) {
    level::listen(listener);
}

/// The finest level that may be recorded.
pub fn level() -> Level {
    level::current()
}

/// Returns `true` if records of a level are recorded.
pub fn is_enabled(level: Level) -> bool {
    is_enabled_by_host(level)
}

/// The span that a record belongs to, or below which a span begins.
#[derive(Clone, Copy, Debug)]
pub enum Parent {
    /// The current span.
    Current,
    /// None: a span begins a trace of its own.
    Root,
    /// This one.
    Span(SpanContext),
}

/// The identity of a span, or none.
#[derive(Clone, Copy)]
pub struct SpanContext(Context);

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpanContext").field(&self.0.trace_context()).finish()
    }
}

impl SpanContext {
    /// The identity of a span.
    pub fn of(span: &Span) -> Self {
        Self(span.record_context())
    }

    /// Makes the span the current one. Returns the one that was current before.
    pub fn make_current(self) -> Self {
        Self(self.0.make_current())
    }
}

impl Parent {
    fn context(self) -> Context {
        match self {
            Self::Current => Context::current(),
            Self::Root => Context::NONE,
            Self::Span(SpanContext(context)) => context,
        }
    }
}

/// Records a log at a site that is defined. The caller has checked the level.
pub fn log(parent: Parent, site: u64, is_audit: bool, arguments: &[Arg<'_>]) {
    record::log_in(parent.context(), site, is_audit, arguments);
}

/// Records a log for whose site the table has no room.
#[cold]
pub fn log_without_site(parent: Parent, level: Level, is_audit: bool, message: Arg<'_>, target: &str) {
    let site = overflow_site(false, level, is_audit);
    record::log_in(parent.context(), site, is_audit, &[message, Arg::Text(target)]);
}

/// Begins a span at a site that is defined.
pub fn start(parent: Parent, site: u64, level: Level, arguments: &[Arg<'_>]) -> Span {
    Span::child_of(parent.context(), 0, site, level, arguments)
}

/// Begins a span for whose site the table has no room.
#[cold]
pub fn start_without_site(parent: Parent, level: Level, name: &str, target: &str) -> Span {
    let site = overflow_site(true, level, false);
    Span::child_of(parent.context(), 0, site, level, &[Arg::Text(name), Arg::Text(target)])
}

/// Sets an attribute of a span.
pub fn set(span: &Span, key: &str, value: Arg<'_>) {
    span.record(RecordKind::Attribute, &[], Some(&[Arg::Text(key), value]));
}

/// Sets the status of a span to `Error`, with the reason.
pub fn set_error(span: &Span, reason: Arg<'_>) {
    span.record(RecordKind::Status, &[StatusCode::Error as u64], Some(&[reason]));
}

/// Declares in the binary that call sites of libraries that use a facade are defined at run time.
#[doc(hidden)]
#[macro_export]
macro_rules! declare_facade {
    ($name:literal) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            #[allow(dead_code, reason = "it is read in the binary, not by the program")]
            #[unsafe(link_section = "wasmetry.v1")]
            static DECLARATION: [u8; $crate::dynamic::facade_len($name)] = $crate::dynamic::encode_facade($name);
        };
    };
}
