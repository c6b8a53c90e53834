//! The time of day of spans and records.

use crate::host::{clock, settings};
use crate::sync::{AtomicU64, Ordering};

/// The difference between the time of day and the monotonic clock; 0 before it is known.
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// The time of day, in nanoseconds since 1970-01-01 00:00 UTC.
///
/// It is the monotonic clock plus an offset that is found once, so it never falls. Without a time
/// of day it is the monotonic clock itself; without a clock it is 0.
pub(crate) fn now() -> u64 {
    let mut offset = OFFSET.load(Ordering::Relaxed);
    let mut time = 0;
    if offset == 0 {
        time = time_of_day();
    }
    let Some(now) = clock::now() else { return time };
    if time != 0 {
        offset = time.wrapping_sub(now);
        OFFSET.store(offset, Ordering::Relaxed);
    }
    let time = now.wrapping_add(offset);
    settings::set_last_time(time);
    time
}

/// The host's time of day; 0 if it has none.
#[cfg(wasmetry_component)]
fn time_of_day() -> u64 {
    settings::fetch()
}

/// The host's time of day; 0 if it has none.
#[cfg(wasmetry_wasip1)]
fn time_of_day() -> u64 {
    crate::host::import::wasip1::time_of_day()
}

/// A core module without WASI has no time of day but the clock that its author sets.
#[cfg(all(wasmetry_module, not(wasmetry_wasip1)))]
const fn time_of_day() -> u64 {
    0
}

/// The process's time of day.
#[cfg(not(target_family = "wasm"))]
fn time_of_day() -> u64 {
    extern crate std;

    use std::time::{SystemTime, UNIX_EPOCH};

    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(0)
}
