//! The metrics of HTTP requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmetry_host::record::TraceContext;
use wasmetry_host::{Counter, Gauge, Histogram, HttpSummary, Identity, SeriesOwner};

use crate::clock::{nanos, wall_clock};
use crate::component::ObservedComponent;

/// The methods that have a label value of their own. All others are `other`, so that clients cannot
/// create series.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Returns the method if it is one of [`METHODS`].
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method)
}

/// The series that exist, at 0, before the first request. Prometheus finds an increase only between
/// two samples, so `rate` would not include the first request or failure otherwise.
const EXPECTED: [(&str, u16); 8] = [
    ("GET", 200),
    ("GET", 500),
    ("GET", 503),
    ("GET", 504),
    ("POST", 200),
    ("POST", 500),
    ("POST", 503),
    ("POST", 504),
];

/// The reason for which a request ended before the guest's response was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// The client closed the connection.
    ClientGone,
    /// The client sent or received too slowly, so that the request reached its deadline.
    ClientTimeout,
    /// The guest dropped the body unfinished, or its length is not its `content-length`.
    IncompleteBody,
    /// The guest trapped or was ended.
    GuestEnded,
    /// The guest set a status that cannot end a request (1xx).
    InvalidStatus,
}

impl AbortReason {
    const ALL: [Self; 5] =
        [Self::ClientGone, Self::ClientTimeout, Self::IncompleteBody, Self::GuestEnded, Self::InvalidStatus];

    /// The reason as an error of the guest or its client, with a text; `None` if the client has left.
    pub fn error(self) -> Option<(&'static str, &'static str)> {
        let text = match self {
            Self::ClientGone => return None,
            Self::ClientTimeout => "the client sent or received too slowly",
            Self::IncompleteBody => "the guest did not complete its response",
            Self::GuestEnded => "the guest ended before its response was complete",
            Self::InvalidStatus => "the guest set a status that ends no request",
        };
        Some((self.label(), text))
    }

    /// The reason as the label of `wasm_http_aborted_requests_total` shows it.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientTimeout => "client_timeout",
            Self::IncompleteBody => "incomplete_body",
            Self::GuestEnded => "guest_ended",
            Self::InvalidStatus => "invalid_status",
        }
    }
}

/// The metrics of the HTTP requests that one component serves under one route. A clone shares them.
#[derive(Clone)]
pub struct HttpMetrics {
    shared: Arc<Shared>,
}

struct Shared {
    component: ObservedComponent,
    route: String,
    owner: SeriesOwner,
    durations: Histogram,
    in_flight: Gauge,
    request_bytes: Counter,
    response_bytes: Counter,
    /// One counter for each [`AbortReason`].
    aborted: [Counter; AbortReason::ALL.len()],
    /// The counters that have been used, by method and status.
    requests: Mutex<HashMap<(&'static str, u16), Counter>>,
}

impl Shared {
    /// Returns the counter of the requests with this method and status.
    fn requests(&self, method: &'static str, status: u16) -> Counter {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = requests.entry((method, status)).or_insert_with(|| {
            let [name, version, tenant] = self.component.identity().values();
            let values = [name, version, tenant, &self.route, method, &status.to_string()];
            self.component.shared.metrics.requests.with(&values)
        });
        counter.clone()
    }
}

impl HttpMetrics {
    pub(crate) fn new(component: &ObservedComponent, route: &str) -> Self {
        let metrics = &component.shared.metrics;
        let [name, version, tenant] = component.identity().values();
        let keys = [name, version, tenant, route];
        let labels: Vec<_> = Identity::KEYS.into_iter().chain(["route"]).zip(keys).collect();
        let http = Self {
            shared: Arc::new(Shared {
                durations: metrics.durations.with(&keys),
                in_flight: metrics.in_flight.with(&keys),
                request_bytes: metrics.request_bytes.with(&keys),
                response_bytes: metrics.response_bytes.with(&keys),
                aborted: AbortReason::ALL
                    .map(|reason| metrics.aborted.with(&[name, version, tenant, route, reason.label()])),
                requests: Mutex::new(HashMap::new()),
                component: component.clone(),
                route: route.to_owned(),
                owner: component.shared.registry.series_owner(&labels),
            }),
        };
        for (method, status) in EXPECTED {
            http.shared.requests(method, status);
        }
        http
    }

    /// Returns the component that serves the requests.
    pub(super) fn component(&self) -> &ObservedComponent {
        &self.shared.component
    }

    /// Returns the route of the requests.
    pub(super) fn route(&self) -> &str {
        &self.shared.route
    }

    /// Retires the route. When the last request has ended and every clone of this is dropped, its
    /// series are exported for another [`RETENTION`](wasmetry_host::limits::RETENTION) and then
    /// removed.
    pub fn retire(&self) {
        self.shared.owner.retire();
    }

    /// Starts the measurement of a request that has arrived.
    pub fn start(&self, method: &str) -> HttpRequest {
        self.shared.in_flight.add(1);
        let method = known_method(method).unwrap_or("other");
        HttpRequest { shared: Arc::clone(&self.shared), method, start: Instant::now(), status: None, trace: None }
    }

    /// Counts a request that ended before the guest's response was complete.
    pub fn aborted(&self, reason: AbortReason) {
        self.shared.aborted[reason as usize].inc();
    }

    /// Counts bytes of a request's body.
    pub fn received(&self, bytes: u64) {
        self.shared.request_bytes.add(bytes);
    }

    /// Counts bytes of a response's body.
    pub fn sent(&self, bytes: u64) {
        self.shared.response_bytes.add(bytes);
    }
}

/// The measurement of one request. Dropping it without [`end`](Self::end) records the status 499:
/// the client has left.
pub struct HttpRequest {
    shared: Arc<Shared>,
    method: &'static str,
    start: Instant,
    status: Option<u16>,
    trace: Option<TraceContext>,
}

impl HttpRequest {
    /// Sets the request's span if it is exported; the duration then has an exemplar of that trace.
    ///
    /// [`ObservedStore::end`](crate::ObservedStore::end) and [`ObservedComponent::refuse`] return
    /// it.
    pub fn set_trace(&mut self, exported: Option<TraceContext>) {
        self.trace = exported;
    }

    /// The time since the request has arrived.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The facts of the request for the access log; see [`HttpSummary`].
    pub fn summary(&self, status: u16, request_bytes: u64, response_bytes: u64) -> HttpSummary {
        let (method, route) = (known_method(self.method).unwrap_or("_OTHER"), self.shared.route.as_str().into());
        HttpSummary { method, route, status, request_bytes, response_bytes, error: None }
    }

    /// Ends the measurement of a request that was answered with `status`.
    pub fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for HttpRequest {
    fn drop(&mut self) {
        let shared = &self.shared;
        let status = self.status.unwrap_or(499);
        shared.requests(self.method, status).inc();
        let took = nanos(self.start.elapsed());
        match self.trace {
            Some(trace) => shared.durations.observe_nanos_in(took, trace, wall_clock()),
            None => shared.durations.observe_nanos(took),
        }
        shared.in_flight.add(-1);
    }
}
