#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;

use wasmetry_host::record::{SpanId, SpanKind, SpanStatus, TraceContext, TraceId};

use super::*;

/// A store for about `parts` requests without spans of guests.
struct Store {
    traces: TraceStore,
    names: Names,
    drops: Drops,
    identity: Arc<Identity>,
    last: u64,
}

impl Store {
    fn new(parts: usize) -> Self {
        let identity = Arc::new(Identity::new("shop"));
        let (traces, names, drops) = (TraceStore::new(usize::MAX), Names::new(1 << 20), Drops::default());
        let mut store = Self { traces, names, drops, identity, last: 0 };
        store.end("/measured", 1, Class::Normal);
        let size = store.traces.parts[&1].size();
        Self { traces: TraceStore::new(parts * size + 8 * limits::ROUTE_OVERHEAD), last: 0, ..store }
    }

    /// Ends a request, and returns its number.
    fn end(&mut self, route: &str, duration: u64, class: Class) -> u64 {
        let identity = Arc::clone(&self.identity);
        self.end_of(&identity, route, duration, class)
    }

    /// Ends a request of a component, and returns its number.
    fn end_of(&mut self, identity: &Arc<Identity>, route: &str, duration: u64, class: Class) -> u64 {
        self.last += 1;
        let context = TraceContext {
            trace_id: TraceId::new(self.last.into()).unwrap(),
            span_id: SpanId::new(self.last).unwrap(),
            flags: 0,
        };
        let span = SpanRecord {
            context,
            parent: None,
            is_parent_remote: false,
            trace_state: "".into(),
            name: "GET".into(),
            kind: SpanKind::Server,
            start: 1,
            end: 1 + duration,
            attributes: vec![("http.route".into(), FieldValue::Text(route.into()))],
            events: Vec::new(),
            links: Vec::new(),
            status: SpanStatus::Unset,
            dropped: 0,
            target: "".into(),
            request: Some(context.span_id),
            is_slow: class == Class::Slow,
        };
        let origin = self.names.origin(identity);
        let ended = Ended::new(identity, &span, class);
        self.traces.end(self.last, origin, ended, &mut self.names, &mut self.drops);
        self.last
    }

    /// Adds a span of a request that does not end.
    fn wait(&mut self, identity: &Arc<Identity>, request: u64, bytes: usize) {
        let origin = self.names.origin(identity);
        self.traces.add_span(1, request, origin, &vec![0; bytes], &mut self.drops);
    }

    /// Takes the drops by component and signal.
    fn drops(&mut self) -> Vec<(String, &'static str, u64)> {
        let drops = self.drops.take(&self.names);
        drops.into_iter().map(|drop| (drop.identity.component().to_owned(), drop.signal, drop.count)).collect()
    }

    fn has(&self, events: &[u64]) -> Vec<bool> {
        events.iter().map(|event| self.traces.get(*event).is_some()).collect()
    }
}

/// A flood on another route pushes out all but the five slowest and the five latest failed
/// requests of a quiet route.
#[test]
fn slowest_and_failed_outlive_flood() {
    let mut store = Store::new(60);
    // The durations are of no order, and the classes of all kinds.
    let slow: Vec<u64> =
        [70, 10, 90, 30, 80, 20, 60].iter().map(|millis| store.end("/quiet", *millis, Class::Slow)).collect();
    let failed: Vec<u64> = (0..8).map(|_| store.end("/quiet", 1, Class::Failed)).collect();
    let normal: Vec<u64> = (0..5).map(|_| store.end("/quiet", 2, Class::Normal)).collect();
    for number in 0..2000 {
        let class = [Class::Failed, Class::Slow, Class::Normal][number % 3];
        store.end("/busy", 1000, class);
    }
    assert_eq!(store.has(&slow), [true, false, true, true, true, false, true]);
    assert_eq!(store.has(&failed), [false, false, false, true, true, true, true, true]);
    assert_eq!(store.has(&normal), [false; 5]);
    assert!(store.traces.bytes() <= store.traces.limit);
    let [kept, received, dropped, _] = store.traces.counts();
    assert_eq!((received, kept + dropped), (2020, 2020));
}

/// Normal requests go before slow and failed ones, whatever their age.
#[test]
fn normal_requests_go_first() {
    let mut store = Store::new(40);
    // The lists of the route are full of these.
    (0..5).for_each(|_| _ = store.end("/", 1000, Class::Failed));
    let slow: Vec<u64> = (0..10).map(|_| store.end("/", 500, Class::Slow)).collect();
    let normal: Vec<u64> = (0..100).map(|_| store.end("/", 1, Class::Normal)).collect();
    assert_eq!(store.has(&slow), [true; 10]);
    assert!(!store.has(&normal)[0] && store.has(&normal)[99]);
}

/// A request that a slower one displaces from its list is dropped in its turn.
#[test]
fn displaced_requests_are_dropped() {
    let mut store = Store::new(40);
    let first: Vec<u64> = (0..5).map(|_| store.end("/quiet", 10, Class::Slow)).collect();
    let slower: Vec<u64> = (0..5).map(|_| store.end("/quiet", 20, Class::Slow)).collect();
    (0..2000).for_each(|_| _ = store.end("/busy", 1, Class::Slow));
    assert_eq!(store.has(&first), [false; 5]);
    assert_eq!(store.has(&slower), [true; 5]);
}

fn identity(component: &str, tenant: &str) -> Arc<Identity> {
    Arc::new(Identity::new(component).with_tenant(tenant))
}

/// A tenant whose components flood all classes and routes drops its own requests: the normal ones
/// of another tenant are there before its failed and slowest ones.
#[test]
fn flood_drops_its_own_requests() {
    let mut store = Store::new(100);
    let (bank, shop) = (identity("bank", "acme"), identity("shop", ""));
    let honest: Vec<u64> = (0..15).map(|_| store.end_of(&bank, "/accounts", 5, Class::Normal)).collect();
    let alone: Vec<u64> = (0..15).map(|_| store.end_of(&shop, "/", 5, Class::Normal)).collect();
    for number in 0..3000 {
        let evil = identity(["evil", "worse"][number % 2], "mallory");
        let class = [Class::Failed, Class::Slow, Class::Normal][number % 3];
        store.end_of(&evil, &format!("/{}", number % 700), 1000, class);
        assert!(store.traces.bytes() <= store.traces.limit);
    }
    assert_eq!(store.has(&honest), [true; 15]);
    assert_eq!(store.has(&alone), [true; 15]);
    let dropped = store.traces.counts()[2];
    let drops = store.drops();
    assert!(
        drops.iter().all(|(component, signal, _)| component != "bank" && component != "shop" && *signal == "traces")
    );
    assert_eq!(drops.iter().map(|(.., count)| count).sum::<u64>(), dropped);
    assert_eq!(store.drops(), []);
    // A tenant that comes later gets its share.
    let late: Vec<u64> = (0..15).map(|_| store.end_of(&identity("late", "late"), "/", 5, Class::Normal)).collect();
    assert_eq!(store.has(&late), [true; 15]);
}

/// An owner whose requests are all protected loses the oldest of them, not those of others.
#[test]
fn protected_requests_stay_in_share() {
    let mut store = Store::new(60);
    let (bank, evil) = (identity("bank", "acme"), identity("evil", "mallory"));
    let normal: Vec<u64> = (0..20).map(|_| store.end_of(&bank, "/", 5, Class::Normal)).collect();
    let failed: Vec<u64> = (0..600).map(|at| store.end_of(&evil, &format!("/{at}"), 9, Class::Failed)).collect();
    assert_eq!(store.has(&normal), [true; 20]);
    // Half of the lists are left for the routes of others.
    assert!(store.traces.owners.iter().all(|traces| traces.routes <= limits::PROTECTED_ROUTES / 2));
    assert_eq!(store.has(&failed[590..]), [true; 10]);
    let quiet = store.end_of(&bank, "/quiet", 9, Class::Failed);
    assert!(store.traces.get(quiet).is_some_and(|part| part.protected == 2));
}

/// Requests that do not end take no room from those of another tenant, which are complete.
#[test]
fn unfinished_requests_stay_in_share() {
    let mut store = Store::new(200);
    let (bank, evil) = (identity("bank", "acme"), identity("evil", "mallory"));
    store.wait(&bank, 10_001, 2000);
    for request in 0..2000 {
        store.wait(&evil, 20_000 + request, 2000);
        assert!(store.traces.bytes() <= store.traces.limit);
    }
    store.last = 10_000;
    let event = store.end_of(&bank, "/", 5, Class::Normal);
    assert_eq!(store.traces.get(event).map(|part| (part.spans, part.cut)), Some((2, 0)));
    let [_, _, _, spans] = store.traces.counts();
    assert_eq!(store.drops(), [("evil".to_owned(), "spans", spans)]);
    assert!((1000..2000).contains(&spans), "{spans}");
}
