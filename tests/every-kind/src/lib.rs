//! A core module without imports that records events of every kind, for a test that reads it after
//! each of its stores.

#![cfg_attr(target_family = "wasm", no_std)]
#![allow(unsafe_code, reason = "an export of a core module has a name of its own; no two here are the same")]

use core::sync::atomic::{AtomicU64, Ordering};

use wasmetry::{
    Counter, ExponentialHistogram, Gauge, Histogram, ObservableCounter, Text, UpDownCounter, audit, counter, event,
    exponential_histogram, gauge, histogram, info, observable_counter, span, up_down_counter,
};

static COUNTED: Counter = counter!("counted_total", "Events.");
static SPENT: Counter<(), f64> = counter!("energy_joules_total", "Energy.", unit: joules, value: f64);
static QUEUED: UpDownCounter = up_down_counter!("jobs_queued", "Jobs.");
static HEAT: Gauge = gauge!("heat", "Heat.");
static NAMED: Counter<Text<6, 16>> = counter!("named_total", "Events.", labels: [name: Text<6, 16>]);
static SIZES: Histogram = histogram!("sizes", "Sizes.", buckets: [1, 10, 100]);
static SECONDS: Histogram = histogram!("duration_seconds", "Durations.", unit: seconds, buckets: [0.1, 1]);
static SAMPLES: ExponentialHistogram = exponential_histogram!("samples", "Samples.", max_buckets: 20);
static TOTAL: AtomicU64 = AtomicU64::new(0);
static OBSERVED: ObservableCounter =
    observable_counter!("observed_total", "Events.", observe: || TOTAL.load(Ordering::Relaxed));

const NAMES: [&str; 8] = ["a", "bcdefgh", "ijklmnop", "q", "rstuvwxyzabcdef", "g", "full", "too-long-for-the-table"];
const TEXT: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Records in each metric.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn measure(n: u32, value: f64) {
    COUNTED.add(u64::from(n));
    SPENT.add(value);
    QUEUED.add(3 - i64::from(n));
    HEAT.set(value);
    NAMED.with(NAMES[n as usize % NAMES.len()]).inc();
    SIZES.observe(value);
    SECONDS.observe(value);
    SAMPLES.observe(value);
}

/// Sets the total that the host has observed when it calls the region's export.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn set_total(total: u64) {
    OBSERVED.register();
    TOTAL.store(total, Ordering::Relaxed);
}

/// Records a log with a number and a text of `len` bytes.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn log(n: u64, len: u32) {
    info!(n, text = TEXT.get(..len as usize).unwrap_or(TEXT), "a log");
}

/// Records an audit log with a number and a text of `len` bytes.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn log_audit(n: u64, len: u32) {
    audit!(n, text = TEXT.get(..len as usize).unwrap_or(TEXT), "an audit log");
}

/// Records a span with an event and an attribute.
// SAFETY: see the top of this file.
#[unsafe(no_mangle)]
pub extern "C" fn trace(n: u64, len: u32) {
    let text = TEXT.get(..len as usize).unwrap_or(TEXT);
    let span = span!("a span", n, text).entered();
    event!("an event", n, text);
    span.set("length", len);
}

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
