//! The metrics of the requests of one route: a mount's, or one that a guest has set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{Counter, Histogram};

use super::metrics::AbortReason;
use crate::clock::{nanos, wall_clock};
use crate::component::ObservedComponent;

/// The statuses whose series exist, at 0, before the first response with them. Prometheus finds an
/// increase only between two samples, so `rate` would not include the first one otherwise.
pub(super) const EXPECTED_STATUSES: [u16; 4] = [200, 500, 503, 504];

/// The most declared routes of a component whose durations and traps exist, at 0, before the first
/// request.
pub(crate) const EXPECTED_ROUTES: usize = 64;

/// The metrics of one component's requests, by the route that a guest has set.
#[derive(Default)]
pub(crate) struct RouteMetrics {
    by_route: Mutex<HashMap<Arc<str>, Arc<RouteSeries>>>,
}

impl RouteMetrics {
    /// Returns the series of a route, which are made if there are none. A component has a limited
    /// number of routes.
    pub(super) fn series(&self, component: &ObservedComponent, route: &Arc<str>) -> Arc<RouteSeries> {
        let mut routes = lock(&self.by_route);
        let new = || Arc::new(RouteSeries::new(component, route));
        Arc::clone(routes.entry(Arc::clone(route)).or_insert_with(new))
    }

    /// Makes the series of the routes that the binary declares.
    pub(super) fn expect(&self, component: &ObservedComponent) {
        for route in component.own.component.declared_routes().iter().take(EXPECTED_ROUTES) {
            self.series(component, route);
        }
    }
}

/// The series of one route: requests, durations and aborted requests.
pub(super) struct RouteSeries {
    pub(super) route: Arc<str>,
    durations: Histogram,
    /// The counters that have been used, by method and status.
    requests: Mutex<HashMap<(&'static str, u16), Counter>>,
}

impl RouteSeries {
    pub(super) fn new(component: &ObservedComponent, route: &str) -> Self {
        let [name, version, tenant] = component.identity().values();
        let durations = component.shared.metrics.durations.with(&[name, version, tenant, route]);
        Self { route: route.into(), durations, requests: Mutex::default() }
    }

    /// Returns the counter of the requests with this method and status.
    fn requests(&self, component: &ObservedComponent, method: &'static str, status: u16) -> Counter {
        let mut requests = lock(&self.requests);
        let counter = requests.entry((method, status)).or_insert_with(|| {
            let [name, version, tenant] = component.identity().values();
            let values = [name, version, tenant, &self.route, method, &status.to_string()];
            component.shared.metrics.requests.with(&values)
        });
        counter.clone()
    }

    /// Makes the expected series of a method, at 0.
    pub(super) fn expect(&self, component: &ObservedComponent, method: &'static str) {
        if !lock(&self.requests).contains_key(&(method, EXPECTED_STATUSES[0])) {
            for status in EXPECTED_STATUSES {
                self.requests(component, method, status);
            }
        }
    }

    /// Counts a request. The trace is its exemplar's, if its span is exported.
    pub(super) fn ended(
        &self,
        component: &ObservedComponent,
        method: &'static str,
        status: u16,
        took: Duration,
        trace: Option<TraceContext>,
    ) {
        self.requests(component, method, status).inc();
        match trace {
            Some(trace) => self.durations.observe_nanos_in(nanos(took), trace, wall_clock()),
            None => self.durations.observe_nanos(nanos(took)),
        }
    }

    /// Returns the counter of the requests that ended early for a reason.
    pub(super) fn aborted(&self, component: &ObservedComponent, reason: AbortReason) -> Counter {
        let [name, version, tenant] = component.identity().values();
        component.shared.metrics.aborted.with(&[name, version, tenant, &self.route, reason.label()])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
