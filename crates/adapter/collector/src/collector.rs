//! The collector: it receives the app's batches, writes lines, and sends the metrics.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::VERSION;
use wasmetry_host::encode::lines::Line;
use wasmetry_host::encode::prometheus;
use wasmetry_host::{
    BatchReceiver, Declarations, Family, FamilyKind, Histogram, Identity, Number, Registry, RequestKey, Snapshot,
};

use crate::bindings::exports::wasmetry::adapter::control::Exposition;
use crate::bindings::exports::wasmetry::telemetry::region::{Collection, Level, Settings, TimestampSource};
use crate::bindings::wasmetry::adapter::config;
use crate::otlp::Sender;
use crate::{clock, stderr};

/// The durations of requests, with the name, help and labels of `wasmetry serve`.
const DURATION: &str = "wasm_http_request_duration_seconds";
const DURATION_HELP: &str = "Time from a request's arrival to the end of its response.";
const DURATION_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The activity of an app that a line reports.
enum Activity {
    Request { method: String, path: String },
    Run,
}

/// One activity that has not ended yet.
struct Open {
    activity: Activity,
    /// The route that the app has set for its request.
    route: Option<Arc<str>>,
    since: Duration,
}

/// The metrics of the app, and the state of their export.
pub(crate) struct Collector {
    registry: Registry,
    receiver: BatchReceiver,
    identity: Identity,
    durations: Option<Family<Histogram>>,
    metrics_path: Option<String>,
    has_lines: bool,
    sender: Option<Sender>,
    /// The state that the lines so far add up to.
    written: Snapshot,
    /// The current activity. A push without one makes a line of its own.
    open: Option<Open>,
}

impl Collector {
    /// Makes a collector by the config.
    pub(crate) fn new() -> Self {
        let mut identity = Identity::new(config::service()).with_version(config::version());
        if let Some(tenant) = config::tenant() {
            identity = identity.with_tenant(tenant);
        }
        let registry = Registry::new();
        let sections = config::declarations();
        let declarations = Declarations::from_sections(sections.iter().map(Vec::as_slice));
        let receiver = BatchReceiver::new(registry.component(identity.clone(), declarations));
        Self {
            sender: Sender::new(&registry, &identity),
            registry,
            receiver,
            identity,
            durations: None,
            metrics_path: config::metrics_path(),
            has_lines: config::lines(),
            written: Snapshot::default(),
            open: None,
        }
    }

    /// Returns the settings for a guest that opens a region.
    pub(crate) fn open(&mut self, abi: u32) -> Settings {
        let region = if abi == VERSION { self.receiver.open() } else { None };
        settings(region.map_or(Collection::Off, |_| Collection::Pushed), region.unwrap_or(0))
    }

    /// Receives a batch.
    pub(crate) fn flush(&mut self, batch: &[u8]) -> Settings {
        self.receiver.receive(batch, clock::monotonic().into(), None);
        if self.open.is_none() {
            self.report(None, clock::monotonic());
        }
        self.settings()
    }

    /// Returns the settings for a guest with a region.
    pub(crate) fn settings(&self) -> Settings {
        settings(Collection::Pushed, 0)
    }

    /// Begins a request. Returns `true` for a scrape, which the app does not receive.
    pub(crate) fn begin_request(&mut self, method: String, path: String) -> bool {
        if matches!(method.as_str(), "GET" | "HEAD") && self.metrics_path.as_ref() == Some(&path) {
            return true;
        }
        if self.durations.is_none() {
            let keys = [Identity::KEYS[0], Identity::KEYS[1], Identity::KEYS[2], "route"];
            self.durations = Some(self.registry.histogram(DURATION, DURATION_HELP, &keys, &DURATION_BOUNDS));
        }
        self.begin(Activity::Request { method, path });
        false
    }

    /// Begins the run of a command.
    pub(crate) fn begin_run(&mut self) {
        self.begin(Activity::Run);
    }

    fn begin(&mut self, activity: Activity) {
        let now = clock::monotonic();
        // An activity without an end has trapped, on a host that reuses the instance nevertheless.
        if let Some(open) = self.open.replace(Open { activity, route: None, since: now }) {
            self.ended(open, now, Some(false));
        }
    }

    /// Ends the current request.
    pub(crate) fn end(&mut self) {
        if let Some(open) = self.open.take() {
            let now = clock::monotonic();
            // An instance serves one request at a time.
            let route = self.receiver.read_route(RequestKey::Any);
            if let Some(durations) = &self.durations {
                let [service, version, tenant] = self.identity.values();
                let durations = durations.with(&[service, version, tenant, route.as_deref().unwrap_or_default()]);
                durations.observe_nanos(u64::try_from((now - open.since).as_nanos()).unwrap_or(u64::MAX));
            }
            self.ended(Open { route, ..open }, now, None);
        }
    }

    /// Ends the run of a command.
    pub(crate) fn end_run(&mut self, succeeded: bool) {
        if let Some(open) = self.open.take() {
            self.ended(open, clock::monotonic(), Some(succeeded));
        }
    }

    fn ended(&mut self, open: Open, now: Duration, succeeded: Option<bool>) {
        self.report(Some((&open, succeeded)), now);
    }

    /// Writes a line, sends the metrics, and writes a warning for each problem with that.
    fn report(&mut self, open: Option<(&Open, Option<bool>)>, now: Duration) {
        let snapshot = self.registry.snapshot(now);
        if self.has_lines {
            let mut changes = snapshot.since(&self.written);
            changes.retain(|family| is_in_lines(family.name(), family.kind()));
            let lines = self.line(open, now).text("temporality", "delta").finish(&changes);
            stderr::write(&lines);
            self.written = snapshot.clone();
        }
        let problems = self.sender.as_mut().map(|sender| sender.send(snapshot, now)).unwrap_or_default();
        for problem in problems {
            stderr::write(&[self.line(None, now).text("level", "warn").text("message", &problem).end()]);
        }
    }

    /// Begins a line about an activity that has ended.
    fn line(&self, open: Option<(&Open, Option<bool>)>, now: Duration) -> Line {
        let [service, version, tenant] = self.identity.values();
        let timestamp = humantime::format_rfc3339_micros(clock::wall()).to_string();
        let mut line = Line::new().text("timestamp", &timestamp).text("service", service).text("version", version);
        if !tenant.is_empty() {
            line = line.text("tenant", tenant);
        }
        let Some((open, succeeded)) = open else { return line };
        line = match &open.activity {
            Activity::Request { method, path } => line.text("method", method).text("path", path),
            Activity::Run => line,
        };
        if let Some(route) = &open.route {
            line = line.text("route", route);
        }
        if let Some(succeeded) = succeeded {
            line = line.flag("succeeded", succeeded);
        }
        let nanos = u64::try_from((now - open.since).as_nanos()).unwrap_or(u64::MAX);
        line.number("duration_seconds", Number::Nanos(nanos))
    }

    /// Returns the metrics for Prometheus.
    pub(crate) fn expose(&self) -> Exposition {
        let body = prometheus::encode(&self.registry.snapshot(clock::monotonic()));
        Exposition { content_type: prometheus::CONTENT_TYPE.to_owned(), body: body.into_bytes() }
    }
}

/// Returns `true` if a family is in lines: neither a constant nor a field of the line itself.
fn is_in_lines(name: &str, kind: FamilyKind) -> bool {
    kind != FamilyKind::Info && name != "wasmetry_build_info" && name != DURATION
}

fn settings(collection: Collection, region: u32) -> Settings {
    Settings {
        collection,
        record_level: Level::Off,
        export_level: Level::Off,
        timestamps: TimestampSource::Cached,
        region,
        sample_ratio: 0.0,
        consumed: 0,
        seed: 0,
        time: 0,
    }
}
