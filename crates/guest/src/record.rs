//! Logs and spans, as they are recorded.
//!
//! The format is that of `crates/abi/FORMAT.md`, section 6. A guest that records neither has no ring: everything that every guest
//! runs finds the rings by an address that the first record stores, so that the linker drops them.

mod argument;
mod memory;
mod ring;
mod writer;

use wasmetry_abi::ring::RecordKind;
use wasmetry_abi::{Level, Settings, TimestampSource};

use crate::context::Context;
use crate::sync::{AtomicU8, Ordering};
use crate::{clock, host, region};

pub use argument::Arg;
pub(crate) use memory::Head;
#[cfg(wasmetry_component)]
pub(crate) use ring::unread;
use ring::{AUDIT, MAIN};

/// The finest level that is recorded; [`UNKNOWN`] before the host was asked.
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = u8::MAX;

/// Whether records of a level are made: one load and one branch.
#[inline]
pub fn is_enabled(level: Level) -> bool {
    #[cfg(feature = "testing")]
    if let Some(finest) = crate::testing::level() {
        return level <= finest;
    }
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// The same, once the host has been asked.
pub(crate) fn is_enabled_by_host(level: Level) -> bool {
    if LEVEL.load(Ordering::Relaxed) == UNKNOWN {
        region::announce();
    }
    is_enabled(level)
}

/// The site with this hash, as a record names it; `record` is its declaration, for tests to read.
#[doc(hidden)]
#[inline(always)]
pub fn site(hash: u64, record: &'static [u8]) -> u64 {
    #[cfg(feature = "testing")]
    crate::testing::site(hash, record);
    #[cfg(not(feature = "testing"))]
    let _ = record;
    hash
}

/// Does as the host has answered.
pub(crate) fn configure(settings: &Settings) {
    LEVEL.store(settings.record_level.min(Level::Trace as u8), Ordering::Relaxed);
    ring::configure(settings.timestamps == TimestampSource::Fresh as u8, settings.consumed as u32);
}

/// Records a log at the site with this hash.
#[doc(hidden)]
#[inline(never)]
pub fn log(site: u64, level: Level, is_audit: bool, arguments: &[Arg<'_>]) {
    // The host's level is for what can be spared.
    if !is_audit && !is_enabled_by_host(level) {
        return;
    }
    let context = Context::current();
    let (high, low) = context.trace_halves();
    let ring = if is_audit { &AUDIT } else { &MAIN };
    let flags = context.record_flags();
    ring.record(RecordKind::Log, flags, context.span(), None, &[high, low, site], Some(arguments));
}

/// Records an event of a span at the site with this hash.
pub(crate) fn event(span: u64, site: u64, level: Level, arguments: &[Arg<'_>]) {
    if is_enabled_by_host(level) {
        MAIN.record(RecordKind::Event, 0, span, None, &[0, 0, site], Some(arguments));
    }
}

/// Records that a span begins.
pub(crate) fn start(context: &Context, parent: u64, flags: u8, site: u64, arguments: &[Arg<'_>]) {
    let (high, low) = context.trace_halves();
    let flags = flags | context.record_flags();
    let fixed = [high, low, site, parent];
    MAIN.record(RecordKind::Start, flags, context.span(), Some(clock::wall()), &fixed, Some(arguments));
}

/// Records that a span ends.
pub(crate) fn end(span: u64) {
    MAIN.record(RecordKind::End, 0, span, Some(clock::wall()), &[], None);
}

/// Records something about a span.
pub(crate) fn about(span: u64, kind: RecordKind, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
    MAIN.record(kind, 0, span, None, fixed, arguments);
}

/// Asks the host for its settings, at the beginning of a request of an instance that has served one before.
pub(crate) fn refresh() {
    if LEVEL.load(Ordering::Relaxed) != UNKNOWN {
        host::refresh();
    }
}
