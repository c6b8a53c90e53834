//! The host's clocks.

use std::time::{Duration, SystemTime};

use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};

/// The time since a moment that stays the same.
pub(crate) fn monotonic() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

/// The time of day.
pub(crate) fn wall() -> SystemTime {
    let now = wall_clock::now();
    // A clock that says nonsense must not end the app's request.
    let since =
        Duration::from_secs(now.seconds.min(u64::from(u32::MAX))) + Duration::from_nanos(now.nanoseconds.into());
    SystemTime::UNIX_EPOCH + since
}
