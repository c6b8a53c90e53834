//! The metrics of HTTP requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wasmetry_host::record::TraceContext;
use wasmetry_host::{Counter, Gauge, HttpSummary, Identity, SeriesOwner};

use super::route::RouteSeries;
use crate::component::ObservedComponent;

/// The methods that have a label value of their own. All others are `other`, so that clients cannot
/// create series.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Returns the method if it is one of [`METHODS`].
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method)
}

/// The methods whose series exist, at 0, before the first request. Declared routes have those of
/// the first one.
pub(super) const EXPECTED_METHODS: [&str; 2] = ["GET", "POST"];

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
    /// The client sent a longer body than it may.
    BodyLimit,
    /// The client had as many requests in progress as it may have.
    ClientLimit,
}

impl AbortReason {
    const ALL: [Self; 7] = [
        Self::ClientGone,
        Self::ClientTimeout,
        Self::IncompleteBody,
        Self::GuestEnded,
        Self::InvalidStatus,
        Self::BodyLimit,
        Self::ClientLimit,
    ];

    /// The reason as an error of the guest, with a text; `None` if the client has left, stalled
    /// or exceeded a limit, which is no failure of the guest.
    pub fn error(self) -> Option<(&'static str, &'static str)> {
        let text = match self {
            Self::ClientGone | Self::ClientTimeout | Self::BodyLimit | Self::ClientLimit => return None,
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
            Self::BodyLimit => "body_limit",
            Self::ClientLimit => "client_limit",
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
    owner: SeriesOwner,
    is_retired: AtomicBool,
    /// The series of the requests whose route no guest has set.
    mount: RouteSeries,
    in_flight: Gauge,
    request_bytes: Counter,
    response_bytes: Counter,
    /// One counter for each [`AbortReason`].
    aborted: [Counter; AbortReason::ALL.len()],
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_retired.load(Relaxed) {
            self.component.own.routes.end_mount(&self.mount.route);
        }
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
                mount: RouteSeries::new(component, route),
                in_flight: metrics.in_flight.with(&keys),
                request_bytes: metrics.request_bytes.with(&keys),
                response_bytes: metrics.response_bytes.with(&keys),
                aborted: AbortReason::ALL
                    .map(|reason| metrics.aborted.with(&[name, version, tenant, route, reason.label()])),
                component: component.clone(),
                owner: component.shared.registry.series_owner(&labels),
                is_retired: AtomicBool::new(false),
            }),
        };
        component.own.routes.add_mount(&http.shared.mount.route);
        for method in EXPECTED_METHODS {
            http.shared.mount.expect(component, method);
        }
        component.own.routes.expect(component);
        http
    }

    /// Returns the component that serves the requests.
    pub(super) fn component(&self) -> &ObservedComponent {
        &self.shared.component
    }

    /// Returns the route of the requests.
    pub(super) fn route(&self) -> &str {
        &self.shared.mount.route
    }

    /// Retires the route. When the last request has ended and every clone of this is dropped, its
    /// series are exported for another [`RETENTION`](wasmetry_host::limits::RETENTION) and then
    /// removed.
    ///
    /// A route that a guest has set, too, stays as long as the component.
    pub fn retire(&self) {
        let Shared { component, owner, is_retired, mount, .. } = &*self.shared;
        if !component.own.routes.has(&mount.route) {
            owner.retire();
            is_retired.store(true, Relaxed);
        }
    }

    /// Starts the measurement of a request that has arrived.
    pub fn start(&self, method: &str) -> HttpRequest {
        self.shared.in_flight.add(1);
        let method = known_method(method).unwrap_or("other");
        HttpRequest {
            shared: Arc::clone(&self.shared),
            method,
            start: Instant::now(),
            route: None,
            status: None,
            trace: None,
        }
    }

    /// Counts a request that ended before the guest's response was complete. `route` is the one
    /// that the guest has set.
    pub fn aborted(&self, reason: AbortReason, route: Option<&Arc<str>>) {
        let Shared { component, aborted, .. } = &*self.shared;
        match route {
            Some(route) => component.own.routes.series(component, route).aborted(component, reason).inc(),
            None => aborted[reason as usize].inc(),
        }
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
    route: Option<Arc<str>>,
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

    /// Sets the route that the guest has set, which counts in the place of the mount's. In flight,
    /// and for the bytes of its bodies, the request has the mount's.
    ///
    /// [`ObservedStore::route`](crate::ObservedStore::route) returns it. A component has a limited
    /// number of them.
    pub fn set_route(&mut self, route: Option<Arc<str>>) {
        self.route = route;
    }

    /// The route: the one that the guest has set, else the mount's.
    pub fn route(&self) -> &Arc<str> {
        self.route.as_ref().unwrap_or(&self.shared.mount.route)
    }

    /// The time since the request has arrived.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time at which the request has arrived.
    pub fn arrival(&self) -> Instant {
        self.start
    }

    /// The facts of the request for the access log, and the bytes of its bodies if they are
    /// counted; see [`HttpSummary`].
    pub fn summary(&self, status: u16, request_bytes: Option<u64>, response_bytes: Option<u64>) -> HttpSummary {
        let (method, route) = (known_method(self.method).unwrap_or("_OTHER"), Arc::clone(self.route()));
        HttpSummary { method, route, status, request_bytes, response_bytes, error: None }
    }

    /// Ends the measurement of a request that was answered with `status`.
    pub fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for HttpRequest {
    fn drop(&mut self) {
        let Shared { component, mount, in_flight, .. } = &*self.shared;
        let (status, took) = (self.status.unwrap_or(499), self.start.elapsed());
        match &self.route {
            Some(route) => {
                let series = component.own.routes.series(component, route);
                series.expect(component, self.method);
                series.ended(component, self.method, status, took, self.trace);
            }
            None => mount.ended(component, self.method, status, took, self.trace),
        }
        in_flight.add(-1);
    }
}
