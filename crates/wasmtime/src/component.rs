//! A component whose stores are observed, and what the host itself counts of it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{
    Component, Counter, Declarations, Family, FloatCounter, Gauge, Histogram, HttpSummary, Identity, Outcome,
    Recording, Rejected, RequestTelemetry, Timestamp,
};

use crate::clock::wall_clock;
use crate::http::{EXPECTED_ROUTES, HttpMetrics, RouteMetrics, ServerSpan};
use crate::store::{EXPECTED_REASONS, StoreState, trap_reason};
use crate::telemetry::Shared;

/// The bounds of request durations, in seconds.
const DURATION_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The metrics that the host records itself, also for guests that do not import wasmetry.
pub(crate) struct Metrics {
    instances: Family<Gauge>,
    starts: Family<Counter>,
    traps: Family<Counter>,
    memory: Family<Gauge>,
    memory_limit: Family<Gauge>,
    busy: Family<FloatCounter>,
    pub(crate) requests: Family<Counter>,
    pub(crate) aborted: Family<Counter>,
    pub(crate) durations: Family<Histogram>,
    pub(crate) in_flight: Family<Gauge>,
    pub(crate) request_bytes: Family<Counter>,
    pub(crate) response_bytes: Family<Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &wasmetry_host::Registry) -> Self {
        let with = |more: &[&'static str]| [&Identity::KEYS, more].concat();
        Self {
            instances: registry.gauge("wasm_instances", "Instances that are alive.", &with(&[])),
            starts: registry.counter("wasm_instance_starts_total", "Instances that were started.", &with(&[])),
            traps: registry.counter(
                "wasm_traps_total",
                "Guests that ended in a trap or were ended by the host, by reason.",
                &with(&["reason", "route"]),
            ),
            memory: registry.gauge(
                "wasm_linear_memory_bytes",
                "Linear memory of the instances that are alive.",
                &with(&[]),
            ),
            memory_limit: registry.gauge(
                "wasm_linear_memory_limit_bytes",
                "The most linear memory that one instance may have.",
                &with(&[]),
            ),
            busy: registry.float_counter(
                "wasm_guest_busy_seconds_total",
                "Time spent running guests, waits excluded.",
                &with(&[]),
            ),
            requests: registry.counter(
                "wasm_http_requests_total",
                "HTTP requests that the host answered, by the status it sent.",
                &with(&["route", "method", "status"]),
            ),
            aborted: registry.counter(
                "wasm_http_aborted_requests_total",
                "HTTP requests that ended before their response was complete, by reason.",
                &with(&["route", "reason"]),
            ),
            durations: registry.histogram(
                "wasm_http_request_duration_seconds",
                "Time from a request's arrival to the end of its response.",
                &with(&["route"]),
                &DURATION_BOUNDS,
            ),
            in_flight: registry.gauge(
                "wasm_http_requests_in_flight",
                "HTTP requests that are being served.",
                &with(&["route"]),
            ),
            request_bytes: registry.counter(
                "wasm_http_request_bytes_total",
                "Bytes of request bodies that were received.",
                &with(&["route"]),
            ),
            response_bytes: registry.counter(
                "wasm_http_response_bytes_total",
                "Bytes of response bodies that were sent.",
                &with(&["route"]),
            ),
        }
    }
}

/// A component whose stores are observed. A clone is the same component.
#[derive(Clone)]
pub struct ObservedComponent {
    pub(crate) shared: Arc<Shared>,
    pub(crate) own: Arc<Own>,
}

/// One component's share of the [`Metrics`].
pub(crate) struct Own {
    pub(crate) component: Component,
    pub(crate) instances: Gauge,
    pub(crate) starts: Counter,
    pub(crate) memory: Gauge,
    pub(crate) busy: FloatCounter,
    memory_limit: Gauge,
    recording: RwLock<Arc<Recording>>,
    /// The metrics of the requests whose route a guest has set.
    pub(crate) routes: RouteMetrics,
}

impl ObservedComponent {
    pub(crate) fn new(shared: Arc<Shared>, identity: Identity, declarations: Declarations) -> Self {
        let component = shared.registry.component(identity, declarations);
        let keys = component.identity().values();
        let metrics = &shared.metrics;
        let own = Own {
            instances: metrics.instances.with(&keys),
            starts: metrics.starts.with(&keys),
            memory: metrics.memory.with(&keys),
            memory_limit: metrics.memory_limit.with(&keys),
            busy: metrics.busy.with(&keys),
            component: component.clone(),
            recording: RwLock::default(),
            routes: RouteMetrics::default(),
        };
        let observed = Self { shared, own: Arc::new(own) };
        let declared = component.declared_routes();
        for route in declared.iter().map(|route| &**route).take(EXPECTED_ROUTES).chain([""]) {
            for reason in EXPECTED_REASONS {
                observed.traps(reason, route);
            }
        }
        observed
    }

    /// Returns the counter of the guests that ended early for this reason, in requests of this
    /// route.
    fn traps(&self, reason: &str, route: &str) -> Counter {
        let [component, version, tenant] = self.identity().values();
        self.shared.metrics.traps.with(&[component, version, tenant, reason, route])
    }

    /// Returns the component's identity.
    pub fn identity(&self) -> &Identity {
        self.own.component.identity()
    }

    /// Sets which logs and spans are recorded, exported and kept. It takes effect at a guest's next
    /// request.
    pub fn set_recording(&self, recording: Recording) {
        *self.own.recording.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(recording);
    }

    /// Returns which logs and spans are recorded, exported and kept.
    pub fn recording(&self) -> Arc<Recording> {
        self.own.recording.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the telemetry of a new store's request; `None` if no sink is set.
    pub(crate) fn request_telemetry(&self) -> Option<RequestTelemetry> {
        let sink = self.shared.sink.get()?;
        let mut telemetry = self.own.component.request_telemetry(Arc::clone(sink), self.recording());
        telemetry.set_sampler(self.shared.sampler());
        Some(telemetry)
    }

    /// Ends the span of a request that got no instance: one that was answered with `status`, or
    /// whose client has left.
    ///
    /// Returns the span if it is exported.
    pub fn refuse(&self, span: ServerSpan, status: Option<u16>) -> Option<TraceContext> {
        let took = span.started().elapsed();
        self.refuse_http(Some(span), status, took, None)
    }

    /// Ends a request that got no instance, as [`refuse`](Self::refuse) does, with its record in
    /// the access log. It has taken the time `took`, and there may be no span.
    pub fn refuse_http(
        &self,
        span: Option<ServerSpan>,
        status: Option<u16>,
        took: Duration,
        summary: Option<HttpSummary>,
    ) -> Option<TraceContext> {
        let mut telemetry = self.request_telemetry()?;
        if let Some(span) = &span {
            telemetry.set_context(span.context(), wall_clock());
        }
        if let Some(summary) = summary {
            telemetry.set_http(summary);
        }
        let outcome = if status.is_some_and(|status| status >= 500) { Outcome::Failed } else { Outcome::Ok };
        telemetry.finish(outcome, took, wall_clock());
        let span = span?;
        let exported = telemetry.exported_context();
        if exported.is_some() {
            telemetry.span(span.end(status, None, &telemetry));
        }
        exported
    }

    /// Returns the metrics that are dropped because another component has their name with another
    /// type, unit or buckets.
    pub fn conflicts(&self) -> Vec<Rejected> {
        self.own.component.conflicts()
    }

    /// Retires the component: no more stores are made of it.
    ///
    /// When the last store and every clone of this and of its [`HttpMetrics`] are dropped, the
    /// component's series are exported for another [`RETENTION`](wasmetry_host::limits::RETENTION)
    /// and then removed; see [`Component::retire`](wasmetry_host::Component::retire).
    pub fn retire(&self) {
        self.own.component.retire();
    }

    /// Returns the state for one new store of this component, without a limit of memory.
    pub fn state(&self) -> StoreState {
        StoreState::new(self.clone(), None)
    }

    /// Returns the state for one new store of this component, whose memories may have up to `bytes`
    /// together.
    pub fn state_with_memory_limit(&self, bytes: usize) -> StoreState {
        self.own.memory_limit.set(bytes as f64);
        StoreState::new(self.clone(), Some(bytes))
    }

    /// Returns the metrics of the HTTP requests that this component serves under `route`.
    ///
    /// `route` becomes a label: use a template or a mount's prefix, never a request's path.
    pub fn http(&self, route: &str) -> HttpMetrics {
        HttpMetrics::new(self, route)
    }

    /// Counts a guest that ended early. The route is the one that the guest has set.
    pub(crate) fn count_trap(&self, reason: &str, route: Option<&str>) {
        self.traps(reason, route.unwrap_or_default()).inc();
    }

    /// Counts a guest that is ended while it blocks its thread in a host call, so that its store is
    /// out of reach. Others are counted by [`ObservedStore::finish`](crate::ObservedStore::finish).
    pub fn count_unreachable(&self, error: &wasmtime::Error) {
        self.count_trap(trap_reason(error, false), None);
    }

    /// Counts a drop of a guest's metrics.
    pub(crate) fn count_dropped(&self, reason: &str) {
        self.shared.registry.dropped("metrics", reason).inc();
    }

    pub(crate) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The time of a read. The wall clock, which records and exemplars need, is read only if it is
    /// wanted.
    pub(crate) fn timestamp(&self, with_wall_clock: bool) -> Timestamp {
        Timestamp { monotonic: self.now(), wall: if with_wall_clock { wall_clock() } else { 0 } }
    }
}
