use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{Counter, Gauge, Histogram, Identity, SeriesOwner};

use crate::component::ObservedComponent;
use crate::trace::{nanos, wall_clock};

/// The methods that have a label value of their own; all others are `other`, so that a client cannot make series.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The method's name, if it is a known one.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method)
}

/// The series that are there, at 0, before the first request, so that `rate` does not miss the first request or failure:
/// Prometheus sees a rise only between two samples.
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

/// The metrics of the HTTP requests that one component serves under one route. A clone is the same metrics.
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
    /// The counters by method and status that have been used.
    requests: Mutex<HashMap<(&'static str, u16), Counter>>,
}

impl Shared {
    /// The counter of the requests with this method and status.
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

    /// The route is no more: when the last request has ended and every clone of this has gone, its series are exported
    /// for [`RETENTION`](wasmetry_host::limits::RETENTION) more and then removed.
    pub fn retire(&self) {
        self.shared.owner.retire();
    }

    /// A request has arrived.
    pub fn start(&self, method: &str) -> HttpRequest {
        self.shared.in_flight.add(1);
        let method = known_method(method).unwrap_or("other");
        HttpRequest { shared: Arc::clone(&self.shared), method, start: Instant::now(), status: None, trace: None }
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

/// A request that is being served. Dropping it without [`end`](Self::end) records the status 499: the client went away.
pub struct HttpRequest {
    shared: Arc<Shared>,
    method: &'static str,
    start: Instant,
    status: Option<u16>,
    trace: Option<TraceContext>,
}

impl HttpRequest {
    /// Sets the request's span, if it is exported: what the request took gets an exemplar that leads there.
    ///
    /// It is what [`ObservedStore::end`](crate::ObservedStore::end) and [`ObservedComponent::refuse`] return.
    pub fn set_trace(&mut self, exported: Option<TraceContext>) {
        self.trace = exported;
    }

    /// The request was answered with `status`, and the response has ended.
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
