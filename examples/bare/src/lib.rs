//! A core module with metrics, and without standard library, allocator or imports.
//!
//! `cargo xtask guests` builds it to `target/guests/bare.wasm`. Its host finds the metrics by the
//! export `wasmetry_region_1`.

#![cfg_attr(target_family = "wasm", no_std)]

use wasmetry::{Counter, Histogram, Label, counter, histogram};

#[derive(Clone, Copy, Label)]
enum Parity {
    Even,
    Odd,
}

static SEEN: Counter<Parity> = counter!("numbers_seen_total", "Numbers that were seen.", labels: [parity: Parity]);
static SIZE: Histogram = histogram!("number_size", "How large the numbers are.", buckets: [10, 100, 1000]);

/// Counts a number, and returns it doubled.
// SAFETY: no other symbol of this module has the name.
#[allow(unsafe_code, reason = "an export of a core module has a name of its own")]
#[unsafe(no_mangle)]
pub extern "C" fn look(number: u32) -> u32 {
    SEEN.with(if number.is_multiple_of(2) { Parity::Even } else { Parity::Odd }).inc();
    SIZE.observe(f64::from(number));
    number.wrapping_mul(2)
}

/// Counts a number, and traps.
// SAFETY: no other symbol of this module has the name.
#[allow(unsafe_code, reason = "an export of a core module has a name of its own")]
#[unsafe(no_mangle)]
pub extern "C" fn trap(number: u32) -> u32 {
    look(number);
    panic!()
}

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
