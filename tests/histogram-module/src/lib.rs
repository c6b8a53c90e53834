//! A core module without imports that records exponential histograms, for tests that interrupt it
//! at any instruction.

#![cfg_attr(target_family = "wasm", no_std)]
#![allow(unsafe_code, reason = "an export of a core module has a name of its own; no two here are the same")]

use wasmetry::{ExponentialHistogram, Label, exponential_histogram};

#[derive(Clone, Copy, Label)]
enum Side {
    Left,
    Right,
}

static SIZES: ExponentialHistogram<Side> = exponential_histogram!(
    "sample_size",
    "Values.",
    labels: [side: Side],
    max_buckets: 40,
);
static SECONDS: ExponentialHistogram = exponential_histogram!("sample_duration_seconds", "Durations.", unit: seconds);

/// Records a value.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn observe(right: u32, value: f64) {
    SIZES.with(if right == 0 { Side::Left } else { Side::Right }).observe(value);
}

/// Records a duration.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn observe_seconds(seconds: f64) {
    SECONDS.observe(seconds);
}

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
