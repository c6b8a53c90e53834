//! Natively the crate records in the process's memory, from any number of threads.

use std::thread;
use std::time::Duration;

use wasmetry::{
    Below, Counter, ExponentialHistogram, Gauge, Histogram, Label, Sum, Text, counter, exponential_histogram, gauge,
    histogram,
};

const THREADS: usize = 4;
const EVENTS: u64 = 20_000;

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    #[label("check-out")]
    Checkout,
}

fn in_threads(f: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let f = &f;
            scope.spawn(move || f(thread));
        }
    });
}

#[test]
fn several_threads_count_exactly() {
    static EVENTS_SEEN: Counter<(Route, Below<2>)> =
        counter!("events_seen_total", "Events.", labels: [route: Route, parity: Below<2>]);
    static LEVEL: Gauge<(), i64, Sum> = gauge!("level", "Level.", value: i64, merge: sum);
    static SIZES: Histogram = histogram!("sizes", "Sizes.", buckets: [1, 10]);
    in_threads(|thread| {
        for n in 0..EVENTS {
            EVENTS_SEEN.with((Route::Checkout, (n % 2) as usize)).inc();
            LEVEL.add(if thread % 2 == 0 { 1 } else { -1 });
            SIZES.observe(n as f64);
        }
    });
    let half = THREADS as u64 * EVENTS / 2;
    assert_eq!(EVENTS_SEEN.with((Route::Checkout, 0)).get(), half);
    assert_eq!(EVENTS_SEEN.with((Route::Checkout, 1)).get(), half);
    assert_eq!(EVENTS_SEEN.with((Route::Home, 0)).get(), 0);
    // Out of range: the overflow series, which is the last.
    EVENTS_SEEN.with((Route::Home, 99)).inc();
    assert_eq!(EVENTS_SEEN.with((Route::Home, 2)).get(), 1);
    assert_eq!(LEVEL.get(), 0);
    assert_eq!(SIZES.count(), 2 * half);
}

#[test]
fn concurrent_interning_keeps_all_events() {
    static NAMES: Counter<Text<64, 16>> = counter!("names_total", "Names.", labels: [name: Text<64, 16>]);
    let names: Vec<String> = (0..8).map(|n| format!("name-{n}")).collect();
    in_threads(|_| {
        for n in 0..EVENTS {
            NAMES.with(&names[n as usize % 8]).inc();
        }
    });
    // Two threads may have interned one name twice. Each then records in its own slot, and the host
    // adds up both. From now on all threads use the first slot.
    for name in &names {
        let before = NAMES.with(name).get();
        assert!(before > 0 && before <= THREADS as u64 * EVENTS / 8, "{name}: {before}");
        NAMES.with(name).add(3);
        assert_eq!(NAMES.with(name).get(), before + 3);
    }
}

#[test]
fn unfitting_text_goes_to_overflow() {
    static FEW: Counter<Text<2, 4>> = counter!("few_total", "Few.", labels: [name: Text<2, 4>]);
    FEW.with("a").inc();
    FEW.with("").inc();
    FEW.with("third").inc();
    FEW.with("c").inc();
    assert_eq!((FEW.with("a").get(), FEW.with("").get()), (1, 1));
    assert_eq!(FEW.with("whatever").get(), 2);
}

#[test]
fn timer_records_unless_discarded() {
    static LATENCY: Histogram = histogram!("latency_seconds", "Latency.", unit: seconds, buckets: [0.5, 3600]);
    fn fails() -> Result<(), ()> {
        let _timer = LATENCY.start_timer();
        Err(())?;
        Ok(())
    }
    fails().unwrap_err();
    assert_eq!(LATENCY.count(), 1);
    assert!(LATENCY.start_timer().stop().is_some_and(|elapsed| elapsed < Duration::from_secs(3600)));
    LATENCY.start_timer().discard();
    LATENCY.observe_duration(Duration::from_secs(9_200_000_000));
    assert_eq!(LATENCY.count(), 3);
}

/// The host would take a sum that grows by 2⁶³ nanoseconds or more for one that falls.
#[test]
fn impossible_durations_are_dropped() {
    static LATENCY: Histogram = histogram!("wait_duration_seconds", "Time.", unit: seconds);
    static QUERY: ExponentialHistogram = exponential_histogram!("job_duration_seconds", "Time.", unit: seconds);
    let recorded = wasmetry::testing::capture();
    for seconds in [f64::NAN, f64::INFINITY, -0.1, 9.3e9, 1e300] {
        LATENCY.observe(seconds);
        QUERY.observe(seconds);
    }
    for duration in [Duration::from_secs(9_300_000_000), Duration::MAX] {
        LATENCY.observe_duration(duration);
        QUERY.observe_duration(duration);
    }
    assert_eq!(recorded.dropped("invalid_value"), 14);
    LATENCY.observe(9.2e9);
    QUERY.observe(9.2e9);
    recorded.assert(&["wait_duration_seconds 1", "job_duration_seconds 1"]);
}

#[test]
fn exponential_histogram_counts_all_threads() {
    static SIZES: ExponentialHistogram<Route> =
        exponential_histogram!("sizes_bytes", "Sizes.", labels: [route: Route], unit: bytes, max_buckets: 20);
    in_threads(|thread| {
        for n in 0..EVENTS {
            // The range grows while the other threads record.
            SIZES.with(Route::Home).observe((n * n) as f64 / (1 + thread) as f64);
        }
    });
    assert_eq!(SIZES.with(Route::Home).count(), THREADS as u64 * EVENTS);
    assert_eq!(SIZES.with(Route::Checkout).count(), 0);

    static LATENCY: ExponentialHistogram =
        exponential_histogram!("lookup_duration_seconds", "Time to look up.", unit: seconds);
    LATENCY.observe_duration(Duration::from_millis(3));
    LATENCY.observe(0.0);
    drop(LATENCY.start_timer());
    LATENCY.start_timer().discard();
    for refused in [f64::NAN, f64::INFINITY, -0.1] {
        LATENCY.observe(refused);
        SIZES.with(Route::Checkout).observe(refused);
    }
    assert_eq!((LATENCY.count(), SIZES.with(Route::Checkout).count()), (3, 0));
}

#[test]
fn events_without_host_calls_are_kept() {
    static SILENT: Counter = counter!("silent_total", "Events without host calls.");
    assert_eq!(
        wasmetry::without_host_calls(|| {
            SILENT.inc();
            7
        }),
        7
    );
    SILENT.inc();
    wasmetry::publish();
    assert_eq!(SILENT.get(), 2);
}

#[test]
fn the_crate_can_have_another_name() {
    mod shop {
        pub(crate) use ::wasmetry as telemetry;
    }

    #[derive(Clone, Copy, Label)]
    #[label(rename_all = "UPPERCASE", crate = shop::telemetry)]
    enum Method {
        Get,
    }

    static CALLS: shop::telemetry::Counter<Method> =
        shop::telemetry::counter!("renamed_calls_total", "Calls.", labels: [method: Method]);
    CALLS.with(Method::Get).inc();
    assert_eq!(CALLS.with(Method::Get).get(), 1);
}
