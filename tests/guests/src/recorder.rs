//! The recorder: functions that record metrics of every kind, and that end in every way in which a
//! guest can end.
//!
//! `src/bin/recorder.rs` exports them from a component, `src/bin/recorder_module.rs` from a core
//! module. The calls and the expected metrics are in `tests/behaviours.json`.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use wasmetry::{
    Below, Counter, ExponentialHistogram, Gauge, Histogram, Label, ObservableCounter, ObservableGauge, Sum, Text,
    UpDownCounter, counter, exponential_histogram, gauge, histogram, observable_counter, observable_gauge,
    up_down_counter,
};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Cart,
    Checkout,
}

impl Route {
    fn of(number: u32) -> Self {
        [Self::Home, Self::Cart, Self::Checkout][number as usize]
    }
}

static COUNTED: Counter = counter!("counted_total", "What was counted.");
static SPENT: Counter<(), f64> = counter!("energy_joules_total", "Energy spent.", unit: joules, value: f64);
static VISITS: Counter<(bool, Route)> =
    counter!("visits_total", "Visits by route.", labels: [first: bool, route: Route]);
static SHARDS: Counter<Below<4>> = counter!("shard_hits_total", "Hits by shard.", labels: [shard: Below<4>]);
static LABELLED: Counter<(Route, Text<4, 32>)> = counter!(
    "labelled_total",
    "A counter with \"any\" text\\label.\nTwo lines of help.",
    labels: [route: Route, value: Text<4, 32>],
);
static SERVED: Counter<Route> = counter!(
    "served_total",
    "Counted with constant labels.",
    labels: [route: Route],
    const_labels: [region: "eu \"west\"", version: "2"],
);
static QUEUED: UpDownCounter = up_down_counter!("jobs_queued", "Jobs that wait.");
static BALANCE: UpDownCounter<bool, f64> =
    up_down_counter!("balance_euros", "Balance.", unit: euros, value: f64, labels: [open: bool]);
static SECONDS: Histogram = histogram!("work_duration_seconds", "Time.", unit: seconds, buckets: [0.01, 0.1, 1]);
static SIZE: Histogram = histogram!("work_size", "Size.", buckets: [-1, 0.5, 10]);
static ROUTES: Histogram<(Route, Text<2, 8>)> = histogram!(
    "route_duration_seconds",
    "Time by route and customer.",
    unit: seconds,
    buckets: [0.5],
    labels: [route: Route, customer: Text<2, 8>],
);
static TIMED: Histogram = histogram!("timed_duration_seconds", "Time by the clock.", unit: seconds);
static ANSWERS: ExponentialHistogram =
    exponential_histogram!("answer_size_bytes", "Size of answers.", unit: bytes, max_buckets: 16);
static QUERIES: ExponentialHistogram =
    exponential_histogram!("query_duration_seconds", "Time of queries.", unit: seconds, max_buckets: 16);
static SUM: Gauge<(), f64, Sum> = gauge!("level_added", "Added up.", merge: sum);
static MAX: Gauge = gauge!("level_greatest", "The greatest.", merge: max);
static MIN: Gauge = gauge!("level_least", "The least.", merge: min);
static LAST: Gauge = gauge!("level_latest", "The last.");
static LEVEL: Gauge<(), i64, Sum> = gauge!("level_whole", "A whole number.", value: i64, merge: sum);
static DEPTH: Gauge<Text<2, 8>, i64> =
    gauge!("queue_depth", "Depth by queue.", value: i64, merge: max, labels: [queue: Text<2, 8>]);

wasmetry::info_metric!("recorder_info", "About this guest.", const_labels: [flavour: "plain", purpose: "tests"]);

/// Counts `n`.
pub fn count(n: u64) {
    COUNTED.add(n);
}

/// Adds to a counter of floating-point numbers.
pub fn spend(joules: f64) {
    SPENT.add(joules);
}

/// Counts `n` with two dense labels.
pub fn visit(route: u32, n: u64) {
    VISITS.with((n == 1, Route::of(route))).add(n);
}

/// Counts one event with a small integer as label.
pub fn shard(shard: u32) {
    SHARDS.with(shard as usize).inc();
}

/// Counts `n` with a text label.
pub fn label(value: &str, n: u64) {
    LABELLED.with((Route::Checkout, value)).add(n);
}

/// Counts one event with constant labels.
pub fn serve(route: u32) {
    SERVED.with(Route::of(route)).inc();
}

/// Adds to an up/down counter of integers.
pub fn queue(difference: i64) {
    QUEUED.add(difference);
}

/// Adds to one of two up/down counters of floating-point numbers.
pub fn pay(open: u32, euros: f64) {
    BALANCE.with(open == 1).add(euros);
}

/// Observes a duration.
pub fn observe_seconds(seconds: f64) {
    SECONDS.observe(seconds);
}

/// Observes a number.
pub fn observe_size(value: f64) {
    SIZE.observe(value);
}

/// Observes a duration with a dense and a text label.
pub fn observe_route(route: u32, customer: &str, seconds: f64) {
    ROUTES.with((Route::of(route), customer)).observe(seconds);
}

/// Observes a number in an exponential histogram.
pub fn observe_answer(bytes: f64) {
    ANSWERS.observe(bytes);
}

/// Observes a duration in an exponential histogram.
pub fn observe_query(seconds: f64) {
    QUERIES.observe(seconds);
}

/// Sets the gauges of all four merge rules to a value.
pub fn set_gauges(value: f64) {
    SUM.set(value);
    for gauge in [&MAX, &MIN, &LAST] {
        gauge.set(value);
    }
}

/// Adds to a gauge of integers.
pub fn add_level(difference: i64) {
    LEVEL.add(difference);
}

/// Sets a gauge with a text label.
pub fn set_depth(queue: &str, depth: i64) {
    DEPTH.with(queue).set(depth);
}

/// Counts one event with a counter declared in an expression.
pub fn count_inline() {
    counter!("inline_total", "Counted where it happens.").inc();
}

/// Counts `n` without host calls.
pub fn count_without_host_calls(n: u64) {
    wasmetry::without_host_calls(|| COUNTED.add(n));
}

/// Asks the host to collect.
pub fn publish() {
    wasmetry::publish();
}

/// Measures the duration of nothing.
pub fn timed() {
    let _timer = TIMED.start_timer();
}

/// The time of the clock of `set_clock`.
static TIME: AtomicU64 = AtomicU64::new(0);
/// The step by which each reading advances that clock.
static STEP: AtomicU64 = AtomicU64::new(0);

fn stepping_clock() -> u64 {
    TIME.fetch_add(STEP.load(Ordering::Relaxed), Ordering::Relaxed)
}

/// Sets a clock that each reading advances by `nanoseconds`.
pub fn set_clock(nanoseconds: u64) {
    STEP.store(nanoseconds, Ordering::Relaxed);
    wasmetry::set_clock(&(stepping_clock as fn() -> u64));
}

/// Counts `n` and panics.
pub fn trap(n: u64) {
    COUNTED.add(n);
    panic!("requested by the test");
}

/// Counts `n` and never returns.
pub fn spin(n: u64) {
    COUNTED.add(n);
    loop {
        spin_loop();
    }
}

/// Counts `n` and allocates until memory is exhausted.
pub fn exhaust(n: u64) {
    COUNTED.add(n);
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1u8; 1 << 20]));
    }
}

/// Counts `n` and recurses without end.
pub fn recurse(n: u64) {
    COUNTED.add(n);
    black_box(deeper(n));
}

#[allow(unconditional_recursion, reason = "the recursion exhausts the stack")]
fn deeper(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    deeper(n) + frame[1]
}

/// The stock of a part of the guest that records nothing.
static ITEMS: AtomicI64 = AtomicI64::new(0);
/// The number of moves into the stock.
static CAME: AtomicU64 = AtomicU64::new(0);
/// The number of moves out of the stock.
static WENT: AtomicU64 = AtomicU64::new(0);

static STOCK: ObservableGauge<(), i64> = observable_gauge!(
    "stock_items",
    "Items in stock.",
    value: i64,
    merge: last,
    observe: || ITEMS.load(Ordering::Relaxed),
);
static MOVES: ObservableCounter<bool> = observable_counter!(
    "stock_moves_total",
    "How often items came or went.",
    labels: [came: bool],
    observe: |totals| {
        totals.with(true).set(CAME.load(Ordering::Relaxed));
        totals.with(false).set(WENT.load(Ordering::Relaxed));
    },
);

/// Moves items into or out of the stock, which observers read from then on.
pub fn move_stock(items: i64) {
    STOCK.register();
    MOVES.register();
    ITEMS.fetch_add(items, Ordering::Relaxed);
    if items > 0 { &CAME } else { &WENT }.fetch_add(1, Ordering::Relaxed);
}

/// Moves items and panics.
pub fn move_stock_and_trap(items: i64) {
    move_stock(items);
    panic!("requested by the test");
}

static FAILING: ObservableGauge =
    observable_gauge!("failing", "Never there.", observe: || panic!("requested by the test"));

/// Counts `n`, and registers an observer that panics.
pub fn trap_when_observed(n: u64) {
    COUNTED.add(n);
    FAILING.register();
}
