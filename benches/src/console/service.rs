//! A console that has an hour of a service with 10,000 series, and the answers of its API.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use wasmetry_console::{Answer, Body, Config, Console, Recorder, Request};
use wasmetry_host::handle_api::{Attributes, Log};
use wasmetry_host::record::{FieldValue, Level, SpanStatus};
use wasmetry_host::{
    Component, Counter, Declarations, Gauge, Histogram, HttpSummary, Identity, Outcome, Registry, Sink,
};

use super::{context, log, request_span, span};
use crate::Random;

/// The components of the service, each of two tenants.
const COMPONENTS: u64 = 10;
const TENANTS: u64 = 2;

/// The routes of each component of a tenant.
const ROUTES: u64 = 25;

/// The queues of each component of a tenant: series of a metric of the guest.
const QUEUES: u64 = 291;

/// The snapshots of an hour.
const SNAPSHOTS: u32 = 720;

/// Requests and logs: more than the memory holds.
const REQUESTS: u64 = 20_000;
const LOGS: u64 = 150_000;

/// Answers of each path, of which there is a median.
const ANSWERS: usize = 15;

/// The bounds of `wasm_http_request_duration_seconds`.
const BOUNDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.4, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The service: its series, and the console that keeps them.
pub struct Service {
    console: Console,
    registry: Registry,
    counters: Vec<Counter>,
    gauges: Vec<Gauge>,
    histograms: Vec<Histogram>,
    random: Random,
    time: SystemTime,
    /// The time that all snapshots took.
    took: Duration,
}

/// The answers of one path.
pub struct Answers {
    /// The path with its query.
    pub path: String,
    /// The median of the times.
    pub median: Duration,
    /// The mean of the times on a processor, where Linux has them: without those of other
    /// processes.
    pub busy: Duration,
    /// The bytes of an answer.
    pub bytes: usize,
}

impl Service {
    /// Creates a service with an hour of snapshots, logs and requests.
    pub fn new() -> Self {
        let registry = Registry::new();
        let (counters, gauges, histograms) = series(&registry);
        let console = Console::new(Config::default());
        let time = SystemTime::now() - Duration::from_secs(5) * SNAPSHOTS;
        let (random, took) = (Random::new(7), Duration::ZERO);
        let mut service = Self { console, registry, counters, gauges, histograms, random, time, took };
        (0..SNAPSHOTS).for_each(|_| service.step());
        service.fill_records();
        service
    }

    /// The number of series.
    pub fn series(&self) -> usize {
        self.registry.snapshot(Duration::ZERO).families().map(|family| family.series().count()).sum()
    }

    /// Changes most of the series, and stores a snapshot.
    fn step(&mut self) {
        let random = &mut self.random;
        for counter in &self.counters {
            counter.add(random.below(2));
        }
        for gauge in &self.gauges {
            gauge.set(random.below(3) as f64);
        }
        for histogram in &self.histograms {
            (0..random.below(1)).for_each(|_| histogram.observe(random.value()));
        }
        let (begin, before) = (Instant::now(), busy_time());
        self.console.store(&self.registry.snapshot(Duration::ZERO), self.time);
        self.took += busy_since(before, begin);
        self.time += Duration::from_secs(5);
    }

    /// Returns the mean time on a processor in which a snapshot was taken and stored.
    pub fn snapshot_time(&self) -> Duration {
        self.took / SNAPSHOTS
    }

    /// Adds requests with logs and facts; one in 100 fails.
    fn fill_records(&mut self) {
        let recorder: Arc<dyn Sink> = Arc::new(Recorder::new(self.console.clone(), None, true));
        let identities: Vec<Arc<Identity>> = identities().map(Arc::new).collect();
        let components: Vec<Component> =
            identities.iter().map(|of| self.registry.component(Identity::clone(of), Declarations::default())).collect();
        let end = nanos(SystemTime::now());
        let begin = end - 3_000_000_000_000;
        for number in 0..LOGS {
            let time = begin + (end - begin) / LOGS * number;
            recorder.log(&identities[number as usize % identities.len()], log(time));
            if number % (LOGS / REQUESTS) > 0 {
                continue;
            }
            let at = self.random.bits() as usize % identities.len();
            let request = number + 1;
            let status = if request % 100 == 0 { 500 } else { 200 };
            let took = 1_000_000 + self.random.below(24);
            let route = format!("/route/{}", self.random.bits() % ROUTES);
            let Some(root) = context(request, 2 * request) else { continue };
            let mut telemetry = components[at].request_telemetry(Arc::clone(&recorder), Arc::default());
            telemetry.set_context(root, time);
            for message in ["cart loaded", if status == 500 { "out of stock" } else { "in stock" }] {
                let attributes = Attributes::default();
                let log =
                    Log { level: Level::Info, target: None, message, attributes, trace: Some(root), is_audit: false };
                telemetry.log(log, time + 1);
            }
            telemetry.set_http(HttpSummary {
                method: "GET",
                route: route.as_str().into(),
                status,
                request_bytes: None,
                response_bytes: None,
                error: None,
            });
            let outcome = if status == 500 { Outcome::Failed } else { Outcome::Ok };
            telemetry.finish(outcome, Duration::from_nanos(took), time + took);
            if let Some(context) = context(request, 2 * request + 1) {
                recorder.observed_span(&identities[at], span(context, root.span_id, time));
            }
            let mut server = request_span(root, &route, status, time);
            server.end = time + took;
            if status == 500 {
                server.status = SpanStatus::Error("out of stock".into());
                server.attributes.push(("error.type".into(), FieldValue::Text("unreachable".into())));
            }
            recorder.observed_span(&identities[at], server);
        }
    }

    /// Measures the answers of every path.
    ///
    /// # Panics
    ///
    /// Panics if an answer is an error.
    pub fn measure(&self) -> Vec<Answers> {
        let trace = self.text("/api/v1/traces?limit=1&outcome=failed");
        let trace = trace.split_once("\"trace_id\":\"").map_or("", |(_, rest)| rest.get(..32).unwrap_or_default());
        let log = self.text("/api/v1/logs?limit=1");
        let log = log.split_once("\"id\":").and_then(|(_, rest)| rest.split(',').next()).unwrap_or_default();
        PATHS
            .iter()
            .map(|path| {
                let path = path.replace("TRACE", trace).replace("LOG", log);
                let mut bytes = 0;
                let mut times = Vec::new();
                let (begin, before) = (Instant::now(), busy_time());
                for _ in 0..ANSWERS {
                    let begin = Instant::now();
                    bytes = self.text(&path).len();
                    times.push(begin.elapsed());
                }
                let busy = busy_since(before, begin) / ANSWERS as u32;
                Answers { path, median: median(times), busy, bytes }
            })
            .collect()
    }

    /// Returns the text of an answer; of a stream, the events that are there.
    fn text(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let Answer { status, body, .. } =
            self.console.answer(&Request { method: "GET", path, query, ..Request::default() });
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::Static(bytes) => bytes.to_vec(),
            Body::Events(mut events) => {
                let mut bytes = Vec::new();
                while let Poll::Ready(Some(more)) = events.poll_next(&mut Context::from_waker(Waker::noop())) {
                    bytes.extend(more);
                }
                bytes
            }
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(status == 200, "{path}: {text}");
        text
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

/// The paths of the API, as the page, `top`, `tail` and `explain` read them, and the dearest ones.
const PATHS: [&str; 31] = [
    "/api/v1/",
    "/api/v1/status",
    "/api/v1/overview",
    "/api/v1/overview?range=900",
    "/api/v1/overview?range=3600",
    "/api/v1/overview?range=3600&component=shop-3&route=/route/7",
    "/api/v1/metrics",
    "/api/v1/metrics?component=shop-3&tenant=acme",
    "/api/v1/metrics?text=jobs",
    "/api/v1/series?metric=wasm_http_requests_total&by=status",
    "/api/v1/series?metric=wasm_http_requests_total&by=route&range=3600&limit=50",
    "/api/v1/series?metric=wasm_http_request_duration_seconds",
    "/api/v1/series?metric=wasm_http_request_duration_seconds&range=3600",
    "/api/v1/series?metric=wasm_http_request_duration_seconds&by=route&range=3600&limit=50",
    "/api/v1/series?metric=jobs_total&by=queue&range=3600&limit=50",
    "/api/v1/series?metric=wasm_http_requests_in_flight&range=3600",
    "/api/v1/series?metric=wasm_http_requests_in_flight&by=route&range=3600&limit=50&aggregate=avg",
    "/api/v1/logs",
    "/api/v1/logs?level=warn",
    "/api/v1/logs?text=no%20log%20has%20this",
    "/api/v1/logs?trace=TRACE",
    "/api/v1/logs?after=0&limit=500",
    "/api/v1/logs/LOG",
    "/api/v1/traces",
    "/api/v1/traces?limit=500",
    "/api/v1/traces?order=slowest&route=/route/7",
    "/api/v1/traces/TRACE",
    "/api/v1/traps",
    "/api/v1/explain",
    "/api/v1/explain?since=3600&component=shop-3&outcome=failed",
    "/api/v1/events?last=500",
];

fn identities() -> impl Iterator<Item = Identity> {
    let of = |component| {
        let tenant = |tenant| if tenant == 0 { "acme" } else { "others" };
        (0..TENANTS).map(move |number| {
            Identity::new(format!("shop-{component}")).with_version("77ab01c2de44").with_tenant(tenant(number))
        })
    };
    (0..COMPONENTS).flat_map(of)
}

/// Registers the series: those of the host for each component and route, and those of guests.
fn series(registry: &Registry) -> (Vec<Counter>, Vec<Gauge>, Vec<Histogram>) {
    let keys = ["component", "version", "tenant"];
    let with = |more: &[&'static str]| [&keys[..], more].concat();
    let requests = registry.counter("wasm_http_requests_total", "Requests.", &with(&["route", "method", "status"]));
    let durations =
        registry.histogram("wasm_http_request_duration_seconds", "Durations.", &with(&["route", "method"]), &BOUNDS);
    let in_flight = registry.gauge("wasm_http_requests_in_flight", "In flight.", &with(&["route"]));
    let traps = registry.counter("wasm_traps_total", "Traps.", &with(&["route", "reason"]));
    let busy = registry.counter("wasm_guest_busy_seconds_total", "Busy.", &keys);
    let records = registry.counter("wasm_log_records_total", "Logs.", &with(&["level"]));
    let of_component = ["wasm_instances", "wasm_instances_limit", "wasm_requests_waiting", "wasm_linear_memory_bytes"]
        .map(|name| registry.gauge(name, "Of a component.", &keys));
    let peaks = registry.histogram("wasm_instance_memory_peak_ratio", "Peaks.", &keys, &[0.25, 0.5, 0.75, 0.9, 1.0]);
    let jobs = registry.counter("jobs_total", "Jobs.", &with(&["queue"]));
    let (mut counters, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for identity in identities() {
        let of = [identity.component(), identity.version(), identity.tenant()];
        for route in (0..ROUTES).map(|route| format!("/route/{route}")) {
            for (method, status) in [("GET", "200"), ("GET", "404"), ("GET", "500"), ("POST", "200")] {
                counters.push(requests.with(&values(of, &[&route, method, status])));
            }
            for method in ["GET", "POST"] {
                histograms.push(durations.with(&values(of, &[&route, method])));
            }
            gauges.push(in_flight.with(&values(of, &[&route])));
            traps.with(&values(of, &[&route, "unreachable"]));
        }
        for level in ["error", "warn", "info"] {
            counters.push(records.with(&values(of, &[level])));
        }
        counters.push(busy.with(&of));
        gauges.extend(of_component.iter().map(|family| family.with(&of)));
        histograms.push(peaks.with(&of));
        counters.extend((0..QUEUES).map(|queue| jobs.with(&values(of, &[&format!("queue-{queue}")]))));
    }
    (counters, gauges, histograms)
}

/// Returns the values of the identity's labels, and of others.
fn values<'a>(of: [&'a str; 3], more: &[&'a str]) -> Vec<&'a str> {
    [&of[..], more].concat()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the time that this thread was on a processor.
///
/// Source: Linux, `Documentation/scheduler/sched-stats.rst`, `/proc/<pid>/schedstat`.
fn busy_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Returns the time on a processor since `before`, else the time since `begin`.
fn busy_since(before: Option<Duration>, begin: Instant) -> Duration {
    busy_time().zip(before).map_or_else(|| begin.elapsed(), |(now, before)| now - before)
}

/// Returns the median of some times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
