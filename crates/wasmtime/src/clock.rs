//! The wall clock and random numbers, which the host crate is given.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the wall clock, in nanoseconds since 1970-01-01 00:00 UTC, as
/// [`Registry::with_clock`](wasmetry_host::Registry::with_clock) takes it.
pub fn wall_clock() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns the time since the process first called this.
pub(crate) fn monotonic() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Returns a duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a random number.
///
/// It is the SipHash of no bytes. The operating system draws the key once for each thread, and each
/// call uses another key.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
