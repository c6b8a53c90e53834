//! The C library of WASI targets, which the standard library uses as well.

#![allow(unsafe_code, reason = "it calls the C library")]

#[link(name = "c")]
unsafe extern "C" {
    // Its result is 0 unless memory is out.
    safe fn atexit(function: extern "C" fn()) -> i32;
}

/// Calls `function` when the program exits, or returns from `main`. Returns `false` if that cannot
/// be arranged.
pub(crate) fn call_at_exit(function: extern "C" fn()) -> bool {
    atexit(function) == 0
}
