//! The metrics of the requests of one route: a mount's, or one that a guest has set.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{Counter, Histogram, Identity, SeriesOwner};

use super::metrics::{AbortReason, EXPECTED_METHODS};
use crate::clock::{nanos, wall_clock};
use crate::component::ObservedComponent;

/// The statuses whose series exist, at 0, before the first response with them. Prometheus finds an
/// increase only between two samples, so `rate` would not include the first one otherwise.
pub(super) const EXPECTED_STATUSES: [u16; 4] = [200, 500, 503, 504];

/// The most declared routes of a component whose requests by GET, durations and traps exist, at 0,
/// before the first request. With it, each of a thousand components has its share of a family's
/// series.
pub(crate) const EXPECTED_ROUTES: usize = 12;

/// The most series of requests that one component has: by route, method and status, over all its
/// mounts. Requests beyond them are counted in one series, and in `wasmetry_dropped_total`.
const REQUEST_SERIES: usize = 2_000;

/// The value of labels of requests beyond [`REQUEST_SERIES`].
const OVERFLOW: &str = "overflow";

/// The metrics of one component's requests: those of the routes that a guest has set, and the
/// number of all series.
#[derive(Default)]
pub(crate) struct RouteMetrics {
    by_route: Mutex<HashMap<Arc<str>, Arc<RouteSeries>>>,
    /// The routes of all mounts that the component has had, each with the number of those that have
    /// not ended.
    mounts: Mutex<HashMap<Arc<str>, usize>>,
    /// The series of requests: route, method and status.
    request_series: Mutex<HashSet<(Arc<str>, &'static str, u16)>>,
    overflow: OnceLock<Counter>,
}

impl RouteMetrics {
    /// Returns the series of a route, which are made if there are none. A component has a limited
    /// number of routes.
    pub(super) fn series(&self, component: &ObservedComponent, route: &Arc<str>) -> Arc<RouteSeries> {
        let mut routes = lock(&self.by_route);
        let new = || Arc::new(RouteSeries::of_guest(component, route));
        Arc::clone(routes.entry(Arc::clone(route)).or_insert_with(new))
    }

    /// Adds the route of a mount.
    pub(super) fn add_mount(&self, route: &Arc<str>) {
        *lock(&self.mounts).entry(Arc::clone(route)).or_default() += 1;
    }

    /// Ends a mount that was retired. With the last one of its route, the registry removes the
    /// route's series, which then no longer count.
    pub(super) fn end_mount(&self, route: &str) {
        let is_last = match lock(&self.mounts).get_mut(route) {
            Some(live) => {
                *live = live.saturating_sub(1);
                *live == 0
            }
            None => false,
        };
        if is_last && !self.has(route) {
            lock(&self.request_series).retain(|(of, ..)| **of != *route);
        }
    }

    /// Returns `true` if a guest has set this route.
    pub(super) fn has(&self, route: &str) -> bool {
        lock(&self.by_route).contains_key(route)
    }

    /// Makes the counter of requests of one route, method and status. Returns `None` if the
    /// component has [`REQUEST_SERIES`] already.
    fn make_requests(
        &self,
        component: &ObservedComponent,
        route: &Arc<str>,
        method: &'static str,
        status: u16,
    ) -> Option<Counter> {
        let mut series = lock(&self.request_series);
        let key = (Arc::clone(route), method, status);
        if series.len() >= REQUEST_SERIES && !series.contains(&key) {
            return None;
        }
        series.insert(key);
        drop(series);
        let [name, version, tenant] = component.identity().values();
        let values = [name, version, tenant, route, method, &status.to_string()];
        Some(component.shared.metrics.requests.with(&values))
    }

    /// Returns the counter of all requests beyond [`REQUEST_SERIES`].
    fn overflow(&self, component: &ObservedComponent) -> Counter {
        let new = || {
            let [name, version, tenant] = component.identity().values();
            component.shared.metrics.requests.with(&[name, version, tenant, OVERFLOW, OVERFLOW, OVERFLOW])
        };
        self.overflow.get_or_init(new).clone()
    }

    /// Makes the series of the routes that the binary declares.
    pub(super) fn expect(&self, component: &ObservedComponent) {
        for route in component.own.component.declared_routes().iter().take(EXPECTED_ROUTES) {
            self.series(component, route).expect(component, EXPECTED_METHODS[0]);
        }
    }
}

/// The series of one route: requests, durations and aborted requests.
pub(super) struct RouteSeries {
    pub(super) route: Arc<str>,
    durations: Histogram,
    /// The counters that have been used, by method and status.
    requests: Mutex<HashMap<(&'static str, u16), Counter>>,
    /// Keeps the series of a guest's route that is also a mount's, when the mount ends.
    _owner: Option<SeriesOwner>,
}

impl RouteSeries {
    pub(super) fn new(component: &ObservedComponent, route: &str) -> Self {
        let [name, version, tenant] = component.identity().values();
        let durations = component.shared.metrics.durations.with(&[name, version, tenant, route]);
        Self { route: route.into(), durations, requests: Mutex::default(), _owner: None }
    }

    /// The series of a route that a guest has set.
    fn of_guest(component: &ObservedComponent, route: &str) -> Self {
        if !lock(&component.own.routes.mounts).contains_key(route) {
            return Self::new(component, route);
        }
        let [name, version, tenant] = component.identity().values();
        let keys = [name, version, tenant, route];
        let labels: Vec<_> = Identity::KEYS.into_iter().chain(["route"]).zip(keys).collect();
        let owner = component.shared.registry.series_owner(&labels);
        Self { _owner: Some(owner), ..Self::new(component, route) }
    }

    /// Returns the counter of the requests with this method and status.
    fn requests(&self, component: &ObservedComponent, method: &'static str, status: u16) -> Counter {
        let mut requests = lock(&self.requests);
        if let Some(known) = requests.get(&(method, status)) {
            return known.clone();
        }
        match component.own.routes.make_requests(component, &self.route, method, status) {
            Some(counter) => requests.entry((method, status)).or_insert(counter).clone(),
            None => {
                component.shared.registry.count_dropped(component.identity(), "metrics", "series_limit", 1);
                component.own.routes.overflow(component)
            }
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use wasmetry_host::{Declarations, Registry, encode, limits};

    use super::*;
    use crate::{HttpMetrics, Telemetry};

    fn component(registry: &Registry, name: &str) -> ObservedComponent {
        let telemetry = Telemetry::without_engine(registry.clone());
        telemetry.declared_component(Identity::new(name), Declarations::from_sections([]))
    }

    fn request(http: &HttpMetrics, method: &str, route: Option<&str>, status: u16) {
        let mut request = http.start(method);
        request.set_route(route.map(Arc::from));
        request.end(status);
    }

    /// Returns the numbers of the requests' series that contain a text.
    fn counts(registry: &Registry, now: Duration, text: &str) -> Vec<u64> {
        let scrape = encode::prometheus::encode(&registry.snapshot(now));
        let lines = scrape.lines().filter(|line| line.starts_with("wasm_http_requests_total{") && line.contains(text));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
    }

    /// A component that sets every status uses up its own share of the series.
    #[test]
    fn component_has_limited_request_series() {
        let registry = Registry::new();
        let greedy = component(&registry, "greedy");
        for mount in ["/a", "/b", "/c", "/d"] {
            let http = greedy.http(mount);
            (200..1000).for_each(|status| request(&http, "GET", None, status));
            (200..1000).for_each(|status| request(&http, "GET", Some("/set"), status));
        }
        let found = counts(&registry, Duration::ZERO, "\"greedy\"");
        assert_eq!((found.len(), found.iter().sum::<u64>()), (REQUEST_SERIES + 1, 8 * 800));
        let series = |http: &RouteSeries| lock(&http.requests).len();
        let of_guest: usize = lock(&greedy.own.routes.by_route).values().map(|route| series(route)).sum();
        assert!(of_guest <= REQUEST_SERIES, "{of_guest}");

        let neighbour = component(&registry, "neighbour");
        request(&neighbour.http("/"), "GET", None, 418);
        assert_eq!(counts(&registry, Duration::ZERO, "\"neighbour\",route=\"/\",method=\"GET\",status=\"418\""), [1]);
    }

    /// A component whose mounts change with each reload keeps its share of the series.
    #[test]
    fn ended_mounts_give_back_their_series() {
        let registry = Registry::new();
        let component = component(&registry, "shop");
        for reload in 0..REQUEST_SERIES {
            let http = component.http(if reload % 2 == 0 { "/a" } else { "/b" });
            request(&http, "GET", None, 418);
            http.retire();
        }
        request(&component.http("/c"), "GET", None, 418);
        assert_eq!(counts(&registry, Duration::ZERO, "overflow"), [0; 0]);
        assert_eq!(counts(&registry, Duration::ZERO, "route=\"/c\",method=\"GET\",status=\"418\""), [1]);
    }

    /// A guest's route that is also a mount's prefix is exported when the mount has ended.
    #[test]
    fn guests_route_outlives_its_mount() {
        for is_set_first in [true, false] {
            let registry = Registry::new();
            let component = component(&registry, "shop");
            let (old, new) = (component.http("/cart"), component.http("/api"));
            if is_set_first {
                request(&new, "GET", Some("/cart"), 200);
            }
            old.retire();
            drop(old);
            request(&new, "GET", Some("/cart"), 200);
            // The first snapshot has the last values; the series are removed after the second.
            for now in [1, 2, 3] {
                registry.snapshot(now * 2 * limits::RETENTION);
            }
            request(&new, "GET", Some("/cart"), 200);
            let found = counts(&registry, 8 * limits::RETENTION, "route=\"/cart\",method=\"GET\",status=\"200\"");
            assert_eq!(found, [2 + u64::from(is_set_first)]);
        }
    }

    #[test]
    fn clients_delay_is_no_failure() {
        assert_eq!((AbortReason::ClientGone.error(), AbortReason::ClientTimeout.error()), (None, None));
        assert!(AbortReason::IncompleteBody.error().is_some());
    }
}
