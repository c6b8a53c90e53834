//! The workloads whose instructions `cargo xtask gates` counts under valgrind.
//!
//! `instructions NAME ROUNDS` prepares the workload NAME, runs it once and then ROUNDS times more,
//! and prints the number of operations in those rounds. The difference between a run without rounds
//! and one with rounds is the cost of the operations: everything else in the process is the same in
//! both.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use wasmetry::{Counter, Histogram, Label, Level, counter, histogram, info, log, span};
use wasmetry_benches::{Image, Random, console};
use wasmetry_host::record::{LogRecord, SpanRecord};
use wasmetry_host::{Identity, Outcome, Registry, RequestFacts, Sink, encode};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Search,
    Cart,
    Checkout,
}

const ALL_ROUTES: [Route; 4] = [Route::Home, Route::Search, Route::Cart, Route::Checkout];

static EVENTS: Counter = counter!("events_total", "Events.");
static VISITS: Counter<Route> = counter!("visits_total", "Visits by route.", labels: [route: Route]);
static SIZE: Histogram = histogram!("work_size", "Size.", buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]);
static SECONDS: Histogram = histogram!("work_duration_seconds", "Time.", unit: seconds);

/// The most rounds after the first. The preparation is for all of them, so it is the same for any
/// number of rounds.
const MOST_ROUNDS: usize = 10;

/// The operations in one round of a workload that records.
const EVENTS_A_ROUND: u64 = 100_000;

/// The instances in one round of the workload that starts and ends them.
const INSTANCES_A_ROUND: u64 = 100;

/// A sink that selects every request.
struct Facts;

impl Sink for Facts {
    fn log(&self, _: &Arc<Identity>, _: LogRecord) {}

    fn span(&self, _: &Arc<Identity>, _: SpanRecord) {}

    fn receives_facts(&self) -> bool {
        true
    }

    fn selects_facts(&self, _: &Arc<Identity>, _: &RequestFacts) -> bool {
        true
    }

    fn request(&self, _: &Arc<Identity>, facts: RequestFacts) {
        black_box(facts);
    }
}

/// A prepared workload: runs one round, and returns the number of operations.
type Round = Box<dyn FnMut() -> u64>;

/// A function that prepares a workload.
type Preparation = fn() -> Round;

/// The name and the preparation of each workload.
const WORKLOADS: [(&str, Preparation); 18] = [
    ("increment", || Box::new(|| record(&[()], |()| EVENTS.inc()))),
    ("increment-dense", || {
        let mut random = Random::new(1);
        let routes = inputs(|| ALL_ROUTES[random.below(2) as usize]);
        Box::new(move || record(&routes, |route| VISITS.with(route).inc()))
    }),
    ("observe", || {
        let mut random = Random::new(2);
        let values = inputs(|| random.value());
        Box::new(move || record(&values, |value| SIZE.observe(value)))
    }),
    ("observe-seconds", || {
        let mut random = Random::new(3);
        let values = inputs(|| random.value());
        Box::new(move || record(&values, |value| SECONDS.observe(value)))
    }),
    ("log-disabled", || Box::new(|| record(&[7], |user| log!(Level::Trace, user, "not recorded")))),
    ("log", || {
        let mut random = Random::new(6);
        let users = inputs(|| random.below(10));
        Box::new(move || record(&users, |user| info!(user, ok = true, "cart of {user} loaded")))
    }),
    ("span", || Box::new(|| record(&[7], |user| drop(span!("load_cart", user).entered())))),
    ("merge", || {
        let image = Image::new(10);
        let registry = Registry::new();
        let mut instance = image.declare(&registry).instance();
        let images = image.growing(MOST_ROUNDS + 2, &mut Random::new(4));
        images[0].read(&mut instance);
        images[0].assert_shown(&registry);
        let mut next = 1;
        Box::new(move || {
            images[next].read(&mut instance);
            next += 1;
            images[0].series() as u64
        })
    }),
    ("instance", || {
        let mut image = Image::new(1);
        image.grow(&mut Random::new(5));
        let component = image.declare(&Registry::new());
        Box::new(move || {
            for _ in 0..INSTANCES_A_ROUND {
                image.read_last(component.instance());
            }
            INSTANCES_A_ROUND
        })
    }),
    ("instance-facts", || {
        // A request that the console keeps: its facts and 100 touched series.
        let mut image = Image::new(1);
        image.grow(&mut Random::new(5));
        let component = image.declare(&Registry::new());
        let sink: Arc<dyn Sink> = Arc::new(Facts);
        Box::new(move || {
            for _ in 0..INSTANCES_A_ROUND {
                let mut request = component.request_telemetry(Arc::clone(&sink), Arc::default());
                request.finish(Outcome::Ok, Duration::ZERO, 1);
                image.read_last_for(component.instance(), &mut request);
            }
            INSTANCES_A_ROUND
        })
    }),
    ("snapshot", || {
        let (registry, series) = grown_registry();
        Box::new(move || {
            black_box(registry.snapshot(Duration::ZERO));
            series
        })
    }),
    ("encode-prometheus", || encode_by(encode::prometheus::encode_into)),
    ("encode-openmetrics", || encode_by(encode::openmetrics::encode_into)),
    ("console-log", console::logs),
    ("console-rejected", console::rejected_requests),
    ("console-exported", console::exported_requests),
    ("console-kept", console::kept_requests),
    ("console-series", console::snapshot),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, rounds] = arguments.as_slice() else { return usage() };
    let workload = WORKLOADS.iter().find(|(known, _)| known == name);
    let (Some((_, prepare)), Ok(rounds @ 0..=MOST_ROUNDS)) = (workload, rounds.parse()) else { return usage() };
    let mut round = prepare();
    round();
    let operations: u64 = (0..rounds).map(|_| round()).sum();
    println!("{operations}");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let names = WORKLOADS.map(|(name, _)| name).join(" | ");
    eprintln!("usage: instructions {names} 0..={MOST_ROUNDS}");
    ExitCode::from(2)
}

/// Returns inputs, made before instructions are counted.
fn inputs<T>(input: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(input).take(1000).collect()
}

/// Calls `event` with each of the inputs, again and again.
fn record<T: Copy>(inputs: &[T], event: impl Fn(T)) -> u64 {
    let rounds = EVENTS_A_ROUND / inputs.len() as u64;
    for _ in 0..rounds {
        for input in inputs {
            event(*black_box(input));
        }
    }
    rounds * inputs.len() as u64
}

/// Returns a registry with 10,000 counters, and the number of its series.
fn grown_registry() -> (Registry, u64) {
    let mut image = Image::new(100);
    image.grow(&mut Random::new(6));
    let registry = Registry::new();
    image.read_last(image.declare(&registry).instance());
    image.assert_shown(&registry);
    (registry, image.series() as u64)
}

fn encode_by(encode_into: fn(&wasmetry_host::Snapshot, &mut String)) -> Round {
    let (registry, series) = grown_registry();
    let snapshot = registry.snapshot(Duration::ZERO);
    let mut text = String::new();
    Box::new(move || {
        text.clear();
        encode_into(&snapshot, &mut text);
        series
    })
}
