//! A core module whose features select its metrics, logs and spans. `cargo xtask sizes` compares
//! its sizes.

#![cfg_attr(target_family = "wasm", no_std)]
#![allow(dead_code, reason = "few features use everything")]

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

type Text = wasmetry::Text<16>;

#[derive(Clone, Copy, wasmetry::Label)]
enum Parity {
    Even,
    Odd,
}

impl Parity {
    fn of(number: u32) -> Self {
        if number.is_multiple_of(2) { Self::Even } else { Self::Odd }
    }
}

fn name(number: u32) -> &'static str {
    if number > 9 { "large" } else { "small" }
}

fn time(number: u32) -> Duration {
    Duration::from_nanos(number.into())
}

/// A value for an observable gauge.
fn seen(kind: u32) -> f64 {
    static OBSERVATIONS: AtomicU32 = AtomicU32::new(0);
    (OBSERVATIONS.fetch_add(kind, Ordering::Relaxed) % 10).into()
}

/// A function for each feature, empty without it, and a function that calls them all.
macro_rules! parts {
    ($($feature:literal $name:ident($number:ident) $body:block)+) => {
        $(
            #[cfg(feature = $feature)]
            fn $name($number: u32) $body

            #[cfg(not(feature = $feature))]
            fn $name(_: u32) {}
        )+

        fn record(number: u32) {
            $($name(number);)+
        }
    };
}

parts! {
    "counter" counter(number) {
        wasmetry::counter!("seen_total", "Numbers.").add(number.into());
    }
    "counter-second" counter_second(number) {
        wasmetry::counter!("found_total", "Numbers.").add(number.into());
    }
    "counter-third" counter_third(number) {
        wasmetry::counter!("lost_total", "Numbers.").add(number.into());
    }
    "amount" amount(number) {
        wasmetry::counter!("seen_weight_grams_total", "What they weigh.", unit: grams, value: f64).add(number.into());
    }
    "amount-second" amount_second(number) {
        wasmetry::counter!("found_weight_grams_total", "What they weigh.", unit: grams, value: f64).add(number.into());
    }
    "amount-third" amount_third(number) {
        wasmetry::counter!("lost_weight_grams_total", "What they weigh.", unit: grams, value: f64).add(number.into());
    }
    "gauge" gauge(number) {
        wasmetry::gauge!("last_seen", "The last number.").set(number.into());
    }
    "gauge-second" gauge_second(number) {
        wasmetry::gauge!("last_found", "The last number.").set(number.into());
    }
    "gauge-third" gauge_third(number) {
        wasmetry::gauge!("last_lost", "The last number.").set(number.into());
    }
    "observable" observable(_number) {
        wasmetry::observable_gauge!("seen_now", "Numbers.", observe: || seen(1)).register();
    }
    "observable-second" observable_second(_number) {
        wasmetry::observable_gauge!("found_now", "Numbers.", observe: || seen(2)).register();
    }
    "observable-third" observable_third(_number) {
        wasmetry::observable_gauge!("lost_now", "Numbers.", observe: || seen(3)).register();
    }
    "label" label(number) {
        wasmetry::counter!("seen_by_parity_total", "Numbers.", labels: [parity: Parity]).with(Parity::of(number)).inc();
    }
    "label-second" label_second(number) {
        wasmetry::counter!("found_by_parity_total", "Numbers.", labels: [parity: Parity]).with(Parity::of(number)).inc();
    }
    "label-third" label_third(number) {
        wasmetry::counter!("lost_by_parity_total", "Numbers.", labels: [parity: Parity]).with(Parity::of(number)).inc();
    }
    "text" text(number) {
        wasmetry::counter!("seen_by_name_total", "Numbers.", labels: [name: Text]).with(name(number)).inc();
    }
    "text-second" text_second(number) {
        wasmetry::counter!("found_by_name_total", "Numbers.", labels: [name: Text]).with(name(number)).inc();
    }
    "text-third" text_third(number) {
        wasmetry::counter!("lost_by_name_total", "Numbers.", labels: [name: Text]).with(name(number)).inc();
    }
    "histogram" histogram(number) {
        wasmetry::histogram!("seen_size", "How large they are.", buckets: [1, 2, 5, 10, 20, 50, 100]).observe(number.into());
    }
    "histogram-second" histogram_second(number) {
        wasmetry::histogram!("found_size", "How large they are.", buckets: [1, 2, 5, 10, 20, 50, 100]).observe(number.into());
    }
    "histogram-third" histogram_third(number) {
        wasmetry::histogram!("lost_size", "How large they are.", buckets: [1, 2, 5, 10, 20, 50, 100]).observe(number.into());
    }
    "duration" duration(number) {
        wasmetry::histogram!("seen_duration_seconds", "Time.", unit: seconds).observe_duration(time(number));
    }
    "duration-second" duration_second(number) {
        wasmetry::histogram!("found_duration_seconds", "Time.", unit: seconds).observe_duration(time(number));
    }
    "duration-third" duration_third(number) {
        wasmetry::histogram!("lost_duration_seconds", "Time.", unit: seconds).observe_duration(time(number));
    }
    "exponential" exponential(number) {
        wasmetry::exponential_histogram!("seen_spread", "How large they are.").observe(number.into());
    }
    "exponential-second" exponential_second(number) {
        wasmetry::exponential_histogram!("found_spread", "How large they are.").observe(number.into());
    }
    "exponential-third" exponential_third(number) {
        wasmetry::exponential_histogram!("lost_spread", "How large they are.").observe(number.into());
    }
    "log" log(_number) {
        wasmetry::info!("a number was seen");
    }
    "log-second" log_second(_number) {
        wasmetry::info!("a number was found");
    }
    "log-third" log_third(_number) {
        wasmetry::info!("a number was lost");
    }
    "fields" fields(number) {
        wasmetry::info!(number, half = f64::from(number) / 2.0, name = name(number), "seen with {} bits", 32);
    }
    "fields-second" fields_second(number) {
        wasmetry::info!(number, half = f64::from(number) / 2.0, name = name(number), "found with {} bits", 32);
    }
    "fields-third" fields_third(number) {
        wasmetry::info!(number, half = f64::from(number) / 2.0, name = name(number), "lost with {} bits", 32);
    }
    "span" span(number) {
        let _span = wasmetry::span!("seen", number).entered();
    }
    "span-second" span_second(number) {
        let _span = wasmetry::span!("found", number).entered();
    }
    "span-third" span_third(number) {
        let _span = wasmetry::span!("lost", number).entered();
    }
}

/// Records with all features, and returns the number.
// SAFETY: no other symbol of this module has the name.
#[allow(unsafe_code, reason = "an export of a core module has a name of its own")]
#[unsafe(no_mangle)]
pub extern "C" fn look(number: u32) -> u32 {
    record(number);
    number
}

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
