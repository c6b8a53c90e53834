//! A component whose stores are observed, and what the host itself counts of it.

mod metrics;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{
    Component, Counter, Declarations, FloatCounter, Gauge, Histogram, HttpSummary, Identity, NewDrop, Outcome,
    ReadBudget, Recording, Rejected, RequestTelemetry, Timestamp,
};

use crate::clock::{monotonic, wall_clock};
use crate::http::{EXPECTED_ROUTES, HttpMetrics, RouteMetrics, ServerSpan};
use crate::store::{EXPECTED_REASONS, StoreState, trap_reason};
use crate::telemetry::Shared;
pub(crate) use metrics::Metrics;
use metrics::OUTGOING_REFUSED;

/// The reason for which a request gets no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The maximum number of requests is waiting.
    QueueFull,
    /// The request has waited for the maximum time.
    WaitTimeout,
    /// The requests of the component's tenant have its share of the host's connections.
    TenantLimit,
}

impl RefusalReason {
    const ALL: [Self; 3] = [Self::QueueFull, Self::WaitTimeout, Self::TenantLimit];

    /// The reason as the label of `wasm_requests_refused_total` shows it.
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WaitTimeout => "wait_timeout",
            Self::TenantLimit => "tenant_limit",
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
    pub(crate) memory_peak: Histogram,
    pub(crate) memory_peak_ratio: Histogram,
    pub(crate) busy: FloatCounter,
    start_durations: Histogram,
    memory_limit: Gauge,
    instances_limit: OnceLock<Gauge>,
    waiting: OnceLock<Gauge>,
    recording: RwLock<Arc<Recording>>,
    /// The metrics of the requests whose route a guest has set.
    pub(crate) routes: RouteMetrics,
}

impl ObservedComponent {
    pub(crate) fn new(shared: Arc<Shared>, identity: Identity, declarations: Declarations) -> Self {
        let component = shared.registry.component(identity, declarations);
        let keys = component.identity().values();
        let metrics = &shared.metrics;
        component.set_memory_gauge(metrics.telemetry_memory.with(&keys));
        let own = Own {
            instances: metrics.instances.with(&keys),
            starts: metrics.starts.with(&keys),
            memory: metrics.memory.with(&keys),
            memory_peak: metrics.memory_peak.with(&keys),
            memory_peak_ratio: metrics.memory_peak_ratio.with(&keys),
            memory_limit: metrics.memory_limit.with(&keys),
            busy: metrics.busy.with(&keys),
            start_durations: metrics.start_durations.with(&keys),
            instances_limit: OnceLock::new(),
            waiting: OnceLock::new(),
            component: component.clone(),
            recording: RwLock::default(),
            routes: RouteMetrics::default(),
        };
        let observed = Self { shared, own: Arc::new(own) };
        if observed.shared.sink.get().is_some() {
            component.expect_logs();
        }
        let declared = component.declared_routes();
        for reason in EXPECTED_REASONS {
            observed.traps(reason, "");
        }
        // Most guests that trap have panicked, and most others took too long.
        for route in declared.iter().take(EXPECTED_ROUTES) {
            for reason in ["unreachable", "deadline"] {
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
        self.refuse_http(Some(span), None, status, took, None)
    }

    /// Ends a request that got no instance, as [`refuse`](Self::refuse) does, with its record in
    /// the access log. It has taken the time `took`. There may be no span; the record then belongs
    /// to the `caller`'s.
    pub fn refuse_http(
        &self,
        span: Option<ServerSpan>,
        caller: Option<TraceContext>,
        status: Option<u16>,
        took: Duration,
        summary: Option<HttpSummary>,
    ) -> Option<TraceContext> {
        let mut telemetry = self.request_telemetry()?;
        match &span {
            Some(span) => telemetry.set_context(span.context(), wall_clock()),
            None => telemetry.set_caller(caller),
        }
        if let Some(summary) = summary {
            telemetry.set_http(summary);
        }
        let outcome = if status.is_some_and(|status| status >= 500) { Outcome::Failed } else { Outcome::Ok };
        let is_kept = telemetry.finish(outcome, took, wall_clock());
        let span = span?;
        let exported = telemetry.exported_context();
        if telemetry.wants_span(span.context(), is_kept) {
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

    /// Sets the most instances that may be alive at a time, where the host limits them, and makes
    /// the series of the requests that wait for one or are refused.
    pub fn set_instances_limit(&self, limit: u32) {
        let metrics = &self.shared.metrics;
        let keys = self.identity().values();
        self.own.instances_limit.get_or_init(|| metrics.instances_limit.with(&keys)).set(limit.into());
        self.requests_waiting();
        for reason in RefusalReason::ALL {
            self.refused(reason);
        }
    }

    /// Returns the gauge of the requests that wait for an instance. The host adds and removes them.
    pub fn requests_waiting(&self) -> &Gauge {
        self.own.waiting.get_or_init(|| self.shared.metrics.waiting.with(&self.identity().values()))
    }

    /// Returns the counter of the requests that got no instance for this reason.
    pub fn refused(&self, reason: RefusalReason) -> Counter {
        let [component, version, tenant] = self.identity().values();
        self.shared.metrics.refused.with(&[component, version, tenant, reason.label()])
    }

    /// Counts a request to another service that the host refused for this reason, in
    /// `wasm_outgoing_refused_total`. The first one is a
    /// [new kind of drop](wasmetry_host::Registry::report_new_drops).
    ///
    /// A reason is one of few words, never a part of a request.
    pub fn refuse_outgoing(&self, reason: &'static str) {
        let [component, version, tenant] = self.identity().values();
        let counter = self.shared.metrics.outgoing_refused.with(&[component, version, tenant, reason]);
        self.shared.registry.count_dropped_in(&counter, 1, || {
            NewDrop::new(self.identity(), OUTGOING_REFUSED, "outgoing requests", reason)
        });
    }

    /// Records the time in which an instance was made, until its guest could be called.
    pub fn record_start(&self, took: Duration) {
        self.own.start_durations.observe_nanos(took.as_nanos().try_into().unwrap_or(u64::MAX));
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

    pub(crate) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The budget of one read of a store, which ends after the time of the component's limits.
    pub(crate) fn read_budget(&self) -> ReadBudget {
        self.read_budget_until(monotonic().saturating_add(self.own.component.limits().read().time))
    }

    /// The budget of one read of a store, which ends at this time of [`monotonic`].
    pub(crate) fn read_budget_until(&self, end: Duration) -> ReadBudget {
        ReadBudget::new(self.own.component.limits().read()).with_deadline(monotonic, end)
    }

    /// The time of a read. The wall clock, which records and exemplars need, is read only if it is
    /// wanted.
    pub(crate) fn timestamp(&self, with_wall_clock: bool) -> Timestamp {
        Timestamp { monotonic: self.now(), wall: if with_wall_clock { wall_clock() } else { 0 } }
    }
}
