//! The clock of timers, in nanoseconds since an unspecified moment, and what it makes of the host's wall clock.

use crate::host;
use crate::sync::{AtomicU64, Ordering};

/// What the wall clock is ahead of the monotonic one; 0 before it is known.
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// The wall clock when it was looked at last.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The time of day now, in nanoseconds since 1970-01-01 00:00 UTC. It does not fall, as it is the monotonic clock with an
/// offset that is found once.
///
/// Where the host gives no time of day, it is the monotonic clock itself; where there is no clock either, it is 0.
pub(crate) fn wall() -> u64 {
    let mut offset = OFFSET.load(Ordering::Relaxed);
    let mut time = 0;
    if offset == 0 {
        time = host::wall_time();
    }
    let Some(now) = now() else { return time };
    if time != 0 {
        offset = time.wrapping_sub(now);
        OFFSET.store(offset, Ordering::Relaxed);
    }
    let wall = now.wrapping_add(offset);
    LAST.store(wall, Ordering::Relaxed);
    wall
}

/// The time of day when it was read last, for which no clock is asked.
pub(crate) fn last_wall() -> u64 {
    LAST.load(Ordering::Relaxed)
}

/// Takes the time of day from the host's settings.
pub(crate) fn set_wall(time: u64) {
    LAST.fetch_max(time, Ordering::Relaxed);
}

/// The time now; nothing where there is no clock.
#[cfg(wasmetry_component)]
pub(crate) fn now() -> Option<u64> {
    Some(crate::host::monotonic_now())
}

/// The time now; nothing where there is no clock.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn now() -> Option<u64> {
    extern crate std;

    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).ok()
}

#[cfg(wasmetry_module)]
pub(crate) use module::now;

/// A core module has the clock that its author gives it, else WASI's where it has that.
#[cfg(wasmetry_module)]
pub(crate) mod module {
    #![allow(unsafe_code, reason = "it holds a function's address in an atomic")]

    use crate::sync::{AtomicPtr, Ordering};

    static CLOCK: AtomicPtr<fn() -> u64> = AtomicPtr::new(core::ptr::null_mut());

    pub(crate) fn now() -> Option<u64> {
        // Acquire pairs with the Release in `set`.
        let clock = CLOCK.load(Ordering::Acquire);
        // SAFETY: it is null or was made of a reference to a static in `set`.
        let clock = unsafe { clock.as_ref() };
        match clock {
            Some(clock) => Some(clock()),
            #[cfg(wasmetry_wasip1)]
            None => crate::host::wasip1::monotonic_now(),
            #[cfg(not(wasmetry_wasip1))]
            None => None,
        }
    }

    pub(crate) fn set(clock: &'static fn() -> u64) {
        // Release pairs with the Acquire in `now`.
        CLOCK.store(core::ptr::from_ref(clock).cast_mut(), Ordering::Release);
    }
}
