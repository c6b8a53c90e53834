#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;

use wasmetry_host::record::{SpanId, SpanKind, SpanStatus, TraceContext, TraceId};

use super::*;

/// A store for about `parts` requests without spans of guests.
struct Store {
    traces: TraceStore,
    names: Names,
    identity: Arc<Identity>,
    last: u64,
}

impl Store {
    fn new(parts: usize) -> Self {
        let identity = Arc::new(Identity::new("shop"));
        let mut store = Self { traces: TraceStore::new(usize::MAX), names: Names::new(1 << 20), identity, last: 0 };
        store.end("/measured", 1, Class::Normal);
        let size = store.traces.parts[&1].size();
        Self { traces: TraceStore::new(parts * size + 8 * limits::ROUTE_OVERHEAD), last: 0, ..store }
    }

    /// Ends a request, and returns its number.
    fn end(&mut self, route: &str, duration: u64, class: Class) -> u64 {
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
        let identity = self.names.identity(&self.identity);
        let ended = Ended::new(&self.identity, &span, class);
        self.traces.end(self.last, identity, ended, &mut self.names);
        self.last
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
