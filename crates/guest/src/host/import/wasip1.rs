//! The imports of a core module for `wasm32-wasip1`, those of the standard library in it.
//!
//! If the host returns an error, the module behaves as one without WASI. Source: the witx files of
//! `wasi_snapshot_preview1`.

#![allow(unsafe_code, reason = "it calls the host")]

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(bytes: *mut u8, len: usize) -> u32;
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn monotonic_now() -> Option<u64> {
    read(MONOTONIC)
}

/// The time of day, in nanoseconds since 1970-01-01 00:00 UTC; 0 if there is none.
pub(crate) fn time_of_day() -> u64 {
    read(REALTIME).unwrap_or(0)
}

/// A random number.
pub(crate) fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    // SAFETY: the host writes `len` bytes to the pointer, which is valid for that.
    let error = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    (error == 0).then_some(u64::from_le_bytes(bytes))
}

fn read(clock: u32) -> Option<u64> {
    let mut time = 0;
    // SAFETY: the host writes one `u64` to the pointer, which is valid for that.
    let error = unsafe { clock_time_get(clock, 1, &raw mut time) };
    (error == 0).then_some(time)
}
