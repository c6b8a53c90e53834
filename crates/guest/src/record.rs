//! Records of logs, spans and events, as they are written into the guest's rings.
//!
//! A call site's hash, the current span and typed values come in; words in the format of
//! `crates/abi/FORMAT.md`, section 6, go out. Messages, keys and levels stay in the binary: nothing
//! here knows a text that is the same in each record.

pub(crate) mod argument;
pub(crate) mod context;
pub(crate) mod field;
mod ring;
#[cfg(feature = "dynamic")]
pub(crate) mod site_table;
mod writer;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{ExceptionCause, RecordKind};

use crate::host::{self, settings, time};
use crate::record::argument::Arg;
use crate::record::context::Context;
use crate::record::ring::{AUDIT, MAIN, write};

/// Returns `true` if records of a level are recorded: one load and one branch.
#[doc(hidden)]
#[inline]
pub fn is_enabled(level: Level) -> bool {
    #[cfg(feature = "testing")]
    if let Some(finest) = crate::testing::capture::level() {
        return level <= finest;
    }
    settings::is_recorded(level)
}

/// The same, once the host has answered.
pub(crate) fn is_enabled_by_host(level: Level) -> bool {
    if !settings::is_known() {
        host::announce();
    }
    is_enabled(level)
}

/// The site with this hash, as a record names it; `record` is its declaration, for tests to read.
#[doc(hidden)]
#[inline(always)]
pub fn site(hash: u64, record: &'static [u8]) -> u64 {
    #[cfg(feature = "testing")]
    crate::testing::capture::site(hash, record);
    #[cfg(not(feature = "testing"))]
    let _ = record;
    hash
}

/// Records a log at a site.
#[doc(hidden)]
#[inline(never)]
pub fn log(site: u64, level: Level, is_audit: bool, arguments: &[Arg<'_>]) {
    // The host's level does not drop audit records.
    if is_audit || is_enabled_by_host(level) {
        log_in(Context::current(), site, is_audit, arguments);
    }
}

/// Records a log of a span.
#[inline(always)]
pub(crate) fn log_in(context: Context, site: u64, is_audit: bool, arguments: &[Arg<'_>]) {
    let (high, low) = context.trace_halves();
    let ring = if is_audit { &AUDIT } else { &MAIN };
    let flags = context.record_flags();
    write(ring, RecordKind::Log, flags, context.span(), None, &[high, low, site], Some(arguments));
}

/// Records an event of a span.
pub(crate) fn event(span: u64, site: u64, level: Level, arguments: &[Arg<'_>]) {
    if is_enabled_by_host(level) {
        write(&MAIN, RecordKind::Event, 0, span, None, &[0, 0, site], Some(arguments));
    }
}

/// Records the start of a span.
pub(crate) fn start(context: &Context, parent: u64, flags: u8, site: u64, arguments: &[Arg<'_>]) {
    let (high, low) = context.trace_halves();
    let flags = flags | context.record_flags();
    let fixed = [high, low, site, parent];
    write(&MAIN, RecordKind::Start, flags, context.span(), Some(time::now()), &fixed, Some(arguments));
}

/// Records the end of a span.
pub(crate) fn end(span: u64) {
    write(&MAIN, RecordKind::End, 0, span, Some(time::now()), &[], None);
}

/// Records an attribute, a link or the status of a span.
pub(crate) fn property(span: u64, kind: RecordKind, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
    write(&MAIN, kind, 0, span, None, fixed, arguments);
}

/// Records a panic or an error in the current span.
pub(crate) fn exception(cause: ExceptionCause, arguments: &[Arg<'_>]) {
    if is_enabled_by_host(Level::Error) {
        let context = Context::current();
        let (high, low) = context.trace_halves();
        let fixed = [high, low, cause as u64];
        write(&MAIN, RecordKind::Exception, context.record_flags(), context.span(), None, &fixed, Some(arguments));
    }
}

/// Abandons the record that a panic has interrupted, so that the panic can be recorded. Natively,
/// another thread may be writing it.
pub(crate) fn abandon() {
    #[cfg(target_family = "wasm")]
    ring::abandon();
}
