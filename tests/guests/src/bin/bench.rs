//! A guest of the benchmarks, whose functions repeat one operation; see `wit/bench.wit`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use self::wasmetry::telemetry::metrics;
use ::wasmetry::{Below, Counter, Histogram, Label, Text, counter, debug, histogram, info, trace};
use serde::Serialize;

wit_bindgen::generate!({
    path: ["../../wit", "wit/bench.wit"],
    world: "wasmetry:test-guests/bench",
    generate_all,
});

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Search,
    Item,
    Cart,
    Checkout,
    Account,
    Static,
    Other,
}

const ROUTES: [Route; 8] = [
    Route::Home,
    Route::Search,
    Route::Item,
    Route::Cart,
    Route::Checkout,
    Route::Account,
    Route::Static,
    Route::Other,
];
const SKUS: [&str; 8] = ["apple", "banana", "cherry", "damson", "elderberry", "fig", "grape", "huckleberry"];
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

static EVENTS: Counter = counter!("events_total", "Events.");
static VISITS: Counter<Route> = counter!("visits_total", "Visits by route.", labels: [route: Route]);
static SOLD: Counter<Text<16, 16>> = counter!("items_sold_total", "Items sold.", labels: [sku: Text<16, 16>]);
static SIZE: Histogram = histogram!("work_size", "Size.", buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]);
static SECONDS: Histogram = histogram!(
    "work_duration_seconds",
    "Time.",
    unit: seconds,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
);
static STEPS: Counter<Below<32>> = counter!("steps_total", "Steps of requests.", labels: [step: Below<32>]);
static CELLS: Counter<(Below<9>, Below<99>)> =
    counter!("cells_total", "A thousand series.", labels: [row: Below<9>, column: Below<99>]);

static PLAIN: AtomicU64 = AtomicU64::new(0);
static PLAIN_SUM: AtomicU64 = AtomicU64::new(0);
static PLAIN_CELLS: [AtomicU64; 33] = [const { AtomicU64::new(0) }; 33];

/// Adds to a cell with a load, an add and a store, as an event does.
#[inline]
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Knuth's linear congruential generator; its high bits are the random ones.
struct Random(u64);

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    /// Draws an index below 8.
    #[inline]
    fn index(&mut self) -> usize {
        (self.next() >> 61) as usize
    }

    /// Draws a number from 2^-11 to 2^5, with equal probability for each octave.
    #[inline]
    fn value(&mut self) -> f64 {
        let bits = self.next();
        f64::from_bits((1012 + (bits >> 60)) << 52 | (bits >> 8) & ((1 << 52) - 1))
    }
}

/// The output of a log's rivals: bytes in memory, as if they were sent when the request ends.
struct Sent;

static SENT: AtomicU64 = AtomicU64::new(0);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SENT.fetch_add(std::hint::black_box(bytes).len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log as `serde_json` writes it.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    target: &'a str,
    message: String,
    user: u64,
    ok: bool,
}

/// Runs `f` with `tracing` writing logs of `info` as JSON, without times, which would need host
/// calls.
fn traced(f: impl FnOnce()) -> u64 {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .without_time()
        .with_max_level(tracing::Level::INFO)
        .with_writer(|| Sent)
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    SENT.swap(0, Ordering::Relaxed)
}

/// Resolves a counter of the handle API.
fn handle() -> metrics::Counter {
    let metric =
        metrics::Descriptor { name: "handled_total".to_owned(), help: "Events by handles.".to_owned(), unit: None };
    let route = metrics::Label { key: "route".to_owned(), value: "/".to_owned() };
    metrics::Counter::resolve(&metric, &[route]).expect("no other metric has the name")
}

struct Bench;

impl Guest for Bench {
    fn plain_add(n: u32) {
        for _ in 0..n {
            add(&PLAIN, 1);
        }
    }

    fn increment(n: u32) {
        for _ in 0..n {
            EVENTS.inc();
        }
    }

    fn increment_handle(n: u32) {
        let counter = handle();
        for _ in 0..n {
            counter.inc();
        }
    }

    fn resolve(n: u32) {
        for _ in 0..n {
            handle().inc();
        }
    }

    fn generate_label(n: u32, seed: u64) -> u64 {
        let mut random = Random(seed);
        (0..n).fold(0, |all, _| all ^ ROUTES[random.index()] as u64)
    }

    fn plain_array(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            add(&PLAIN_CELLS[random.index()], 1);
        }
    }

    fn increment_dense(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            VISITS.with(ROUTES[random.index()]).inc();
        }
    }

    fn increment_text(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            SOLD.with(SKUS[random.index()]).inc();
        }
    }

    fn generate_value(n: u32, seed: u64) -> u64 {
        let mut random = Random(seed);
        (0..n).fold(0, |all, _| all ^ random.value().to_bits())
    }

    fn linear_search(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            let value = random.value();
            let bucket = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
            add(&PLAIN_CELLS[bucket], 1);
            let sum = f64::from_bits(PLAIN_SUM.load(Ordering::Relaxed)) + value;
            PLAIN_SUM.store(sum.to_bits(), Ordering::Relaxed);
        }
    }

    fn observe_number(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            SIZE.observe(random.value());
        }
    }

    fn observe_seconds(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            SECONDS.observe(random.value());
        }
    }

    fn observe_handle(n: u32, seed: u64) {
        let metric = metrics::Descriptor {
            name: "handled_seconds".to_owned(),
            help: "Time by handles.".to_owned(),
            unit: Some("seconds".to_owned()),
        };
        let histogram = metrics::Histogram::resolve(&metric, &BOUNDS, &[]).expect("no other metric has the name");
        let mut random = Random(seed);
        for _ in 0..n {
            histogram.observe(random.value());
        }
    }

    fn request_plain(n: u32) {
        for step in 0..n as usize {
            add(&PLAIN_CELLS[step.min(32)], 1);
        }
    }

    fn request_counted(n: u32) {
        for step in 0..n as usize {
            STEPS.with(step).inc();
        }
    }

    fn request_called(n: u32) {
        for step in 0..n {
            host_count(step);
        }
    }

    fn log_disabled(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            let user = random.next() >> 48;
            trace!(user, ok = true, "cart of {user} loaded");
        }
    }

    fn log_debug(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            let user = random.next() >> 48;
            debug!(user, ok = true, "cart of {user} loaded");
        }
    }

    fn log_info(n: u32, seed: u64) {
        let mut random = Random(seed);
        for _ in 0..n {
            let user = random.next() >> 48;
            info!(user, ok = true, "cart of {user} loaded");
        }
    }

    fn tracing_disabled(n: u32, seed: u64) -> u64 {
        traced(|| {
            let mut random = Random(seed);
            for _ in 0..n {
                let user = random.next() >> 48;
                tracing::trace!(user, ok = true, "cart of {user} loaded");
            }
        })
    }

    fn tracing_json(n: u32, seed: u64) -> u64 {
        traced(|| {
            let mut random = Random(seed);
            for _ in 0..n {
                let user = random.next() >> 48;
                tracing::info!(user, ok = true, "cart of {user} loaded");
            }
        })
    }

    fn serde_json(n: u32, seed: u64) -> u64 {
        let mut random = Random(seed);
        for _ in 0..n {
            let user = random.next() >> 48;
            let message = format!("cart of {user} loaded");
            let line = Line { level: "INFO", target: module_path!(), message, user, ok: true };
            // Memory has room.
            let _ = serde_json::to_writer(Sent, &line);
            let _ = Sent.write(b"\n");
        }
        SENT.swap(0, Ordering::Relaxed)
    }

    fn grow(n: u64) {
        for row in 0..10 {
            for column in 0..100 {
                CELLS.with((row, column)).add(n);
            }
        }
    }
}

export!(Bench);

fn main() {}
