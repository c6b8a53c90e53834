//! The host's settings, as it has sent them last.

use wasmetry_abi::trace::RANDOM_VALUES;
use wasmetry_abi::{Level, Settings, TimestampSource};

#[cfg(wasmetry_component)]
use crate::host::import::component as import;
#[cfg(feature = "dynamic")]
use crate::host::level;
use crate::host::random;
#[cfg(wasmetry_component)]
use crate::region::ring;
use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The finest level that is recorded; [`UNKNOWN`] before the host has answered.
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = u8::MAX;

/// `true` if the time of each record is read from the clock.
static IS_FRESH: AtomicBool = AtomicBool::new(false);

/// The share of new traces that are sampled: the bits of an `f64`, of which those of [`ALL`] are
/// inverted, so that it is 0 before the host has answered.
static SAMPLE_RATIO: AtomicU64 = AtomicU64::new(0);

const ALL: u64 = 1.0f64.to_bits();

/// The latest time of day that is known, in nanoseconds since 1970-01-01 00:00 UTC.
static TIME: AtomicU64 = AtomicU64::new(0);

/// Keeps the settings that the host has answered with.
pub(super) fn apply(settings: &Settings) {
    TIME.fetch_max(settings.time, Ordering::Relaxed);
    random::seed(settings.seed);
    let level = settings.record_level.min(Level::Trace as u8);
    #[cfg(feature = "dynamic")]
    let is_changed = LEVEL.load(Ordering::Relaxed) != level;
    LEVEL.store(level, Ordering::Relaxed);
    SAMPLE_RATIO.store(settings.sample_ratio.to_bits() ^ ALL, Ordering::Relaxed);
    IS_FRESH.store(settings.timestamps == TimestampSource::Fresh as u8, Ordering::Relaxed);
    #[cfg(feature = "dynamic")]
    if is_changed {
        level::notify(recorded());
    }
}

/// Keeps the settings that the host has answered with after it has read the region.
///
/// Other answers do not say what the host has read: records and sites that a host which cannot read
/// memory does not have yet would not be sent.
#[cfg(wasmetry_component)]
pub(super) fn apply_after_read(settings: &Settings) {
    ring::settle(settings.consumed as u32);
    apply(settings);
}

/// The finest level that is recorded; the finest of all before the host has answered.
#[cfg(feature = "dynamic")]
pub(crate) fn recorded() -> Level {
    Level::from_u8(LEVEL.load(Ordering::Relaxed)).unwrap_or(Level::Trace)
}

/// Fetches the host's settings. Returns its time of day.
#[cfg(wasmetry_component)]
pub(super) fn fetch() -> u64 {
    let settings = import::refresh();
    apply(&settings);
    settings.time
}

/// Fetches the host's settings, if the host has answered before.
pub(crate) fn refresh() {
    #[cfg(wasmetry_component)]
    if is_known() {
        fetch();
    }
}

/// Returns `true` if records of a level are recorded: one load and one branch.
#[inline]
pub(crate) fn is_recorded(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Returns `true` if a new trace is sampled whose id has these low 8 bytes.
///
/// The share is a multiple of 2⁻⁵⁶, so that guest and host have the same threshold.
pub(crate) fn samples(trace_low: u64) -> bool {
    let ratio = f64::from_bits(SAMPLE_RATIO.load(Ordering::Relaxed) ^ ALL);
    // The conversion saturates: it makes 0 of what is negative or no number.
    let rejected = RANDOM_VALUES.saturating_sub((ratio * RANDOM_VALUES as f64) as u64);
    trace_low % RANDOM_VALUES >= rejected
}

/// Returns `true` if the host has answered.
pub(crate) fn is_known() -> bool {
    LEVEL.load(Ordering::Relaxed) != UNKNOWN
}

/// Returns `true` if the time of each record is read from the clock.
pub(crate) fn is_fresh() -> bool {
    IS_FRESH.load(Ordering::Relaxed)
}

/// The latest time of day that is known, without a read of the clock.
pub(crate) fn last_time() -> u64 {
    TIME.load(Ordering::Relaxed)
}

/// Keeps the time of day that was read.
pub(super) fn set_last_time(time: u64) {
    TIME.store(time, Ordering::Relaxed);
}
