//! The clock of timers, in nanoseconds since an unspecified moment.

/// The time now; nothing where there is no clock.
#[cfg(all(target_os = "wasi", target_env = "p2"))]
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

/// The time now; nothing where there is no clock.
#[cfg(all(target_family = "wasm", not(all(target_os = "wasi", target_env = "p2"))))]
pub(crate) fn now() -> Option<u64> {
    None
}
