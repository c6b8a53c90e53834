//! The host's clocks.

use std::time::{Duration, SystemTime};

use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};

/// Returns the time since a fixed moment.
pub(crate) fn monotonic() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

/// Returns the wall clock's time.
pub(crate) fn wall() -> SystemTime {
    let now = wall_clock::now();
    // A wrong clock must not end the app's request.
    let since =
        Duration::from_secs(now.seconds.min(u64::from(u32::MAX))) + Duration::from_nanos(now.nanoseconds.into());
    SystemTime::UNIX_EPOCH + since
}

/// Returns the wall clock's time in nanoseconds since 1970-01-01 00:00 UTC.
#[cfg(feature = "otlp")]
pub(crate) fn nanos() -> u64 {
    let since = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
