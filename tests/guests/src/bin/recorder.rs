//! A guest whose functions record what they are told; see `wit/recorder.wit`.

use std::hint::black_box;

use wasmetry::{Below, Counter, Gauge, Histogram, Label, Text, counter, gauge, histogram};

wit_bindgen::generate!({ path: "wit/recorder.wit", world: "recorder" });

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Cart,
    Checkout,
}

static COUNTED: Counter = counter!("counted_total", "What was counted.");
static VISITS: Counter<(bool, Route)> =
    counter!("visits_total", "Visits by route.", labels: [first: bool, route: Route]);
static SHARDS: Counter<Below<4>> = counter!("shard_hits_total", "Hits by shard.", labels: [shard: Below<4>]);
static LABELLED: Counter<(Route, Text<4, 32>)> = counter!(
    "labelled_total",
    "A counter with \"any\" text\\label.\nTwo lines of help.",
    labels: [route: Route, value: Text<4, 32>],
);
static SECONDS: Histogram = histogram!("work_duration_seconds", "Time.", unit: seconds, buckets: [0.01, 0.1, 1]);
static SIZE: Histogram = histogram!("work_size", "Size.", buckets: [-1, 0.5, 10]);
static TIMED: Histogram = histogram!("timed_duration_seconds", "Time by the clock.", unit: seconds);
static SUM: Gauge = gauge!("level_added", "Added up.");
static MAX: Gauge = gauge!("level_greatest", "The greatest.", merge: max);
static MIN: Gauge = gauge!("level_least", "The least.", merge: min);
static LAST: Gauge = gauge!("level_latest", "The last.", merge: last);
static LEVEL: Gauge<(), i64> = gauge!("level_whole", "A whole number.", value: i64);

struct Recorder;

impl Guest for Recorder {
    fn count(n: u64) {
        COUNTED.add(n);
    }

    fn visit(route: u32, n: u64) {
        let route = [Route::Home, Route::Cart, Route::Checkout][route as usize];
        VISITS.with((n == 1, route)).add(n);
    }

    fn shard(shard: u32) {
        SHARDS.with(shard as usize).inc();
    }

    fn label(value: String, n: u64) {
        LABELLED.with((Route::Checkout, &value)).add(n);
    }

    fn observe_seconds(seconds: f64) {
        SECONDS.observe(seconds);
    }

    fn observe_size(value: f64) {
        SIZE.observe(value);
    }

    fn set_gauges(value: f64) {
        for gauge in [&SUM, &MAX, &MIN, &LAST] {
            gauge.set(value);
        }
    }

    fn add_level(difference: i64) {
        LEVEL.add(difference);
    }

    fn count_inline() {
        counter!("inline_total", "Counted where it happens.").inc();
    }

    fn publish() {
        wasmetry::publish();
    }

    fn timed() {
        let _timer = TIMED.start_timer();
    }

    fn trap(n: u64) {
        COUNTED.add(n);
        panic!("as it was asked to");
    }

    fn spin(n: u64) {
        COUNTED.add(n);
        loop {
            std::hint::spin_loop();
        }
    }

    fn exhaust(n: u64) {
        COUNTED.add(n);
        let mut all = Vec::new();
        loop {
            all.push(black_box(vec![1u8; 1 << 20]));
        }
    }

    #[allow(unconditional_recursion, reason = "it is what it is for")]
    fn recurse(n: u64) -> u64 {
        if n > 0 {
            COUNTED.add(n);
        }
        let frame = black_box([n; 64]);
        Self::recurse(0) + frame[1]
    }
}

export!(Recorder);

fn main() {}
