//! The monotonic clock, in nanoseconds since an unspecified moment.

/// The time now.
#[cfg(wasmetry_component)]
pub(crate) fn now() -> Option<u64> {
    Some(crate::host::import::component::monotonic_now())
}

/// The time now.
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

/// The clock of a core module: the one that its author sets, else WASI's if the module has WASI.
#[cfg(wasmetry_module)]
pub(crate) mod module {
    #![allow(unsafe_code, reason = "it holds a function's address in an atomic")]

    use crate::sync::{AtomicPtr, Ordering};

    static CLOCK: AtomicPtr<fn() -> u64> = AtomicPtr::new(core::ptr::null_mut());

    /// The time now. Returns `None` if there is no clock.
    pub(crate) fn now() -> Option<u64> {
        // Acquire pairs with the Release in `set`.
        let clock = CLOCK.load(Ordering::Acquire);
        // SAFETY: it is null or was made of a reference to a static in `set`.
        let clock = unsafe { clock.as_ref() };
        match clock {
            Some(clock) => Some(clock()),
            #[cfg(wasmetry_wasip1)]
            None => crate::host::import::wasip1::monotonic_now(),
            #[cfg(not(wasmetry_wasip1))]
            None => None,
        }
    }

    /// Sets the clock.
    pub(crate) fn set(clock: &'static fn() -> u64) {
        // Release pairs with the Acquire in `now`.
        CLOCK.store(core::ptr::from_ref(clock).cast_mut(), Ordering::Release);
    }
}
