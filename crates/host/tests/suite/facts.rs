//! The facts of requests that a sink receives: sites, series, outcome.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::record::{LogRecord, SpanRecord};
use wasmetry_host::{
    HttpSummary, Identity, Outcome, Recording, Registry, RequestFacts, RequestTelemetry, Sink, Timestamp, limits,
};

use crate::image::{Image, NEIGHBOUR, WIDTHS, add_neighbour, declarations, declare, dropped_by_neighbour, samples};
use crate::ring::{DETAIL_RECORD, LOADED_RECORD, Ring, Shop};

const SKU: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 4, max_len: 32 } },
    LabelSpec { key: "paid", shape: LabelShape::values(&["no", "yes"]) },
];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&SKU));
const KIND: [LabelSpec<'static>; 1] = [LabelSpec { key: "kind", shape: LabelShape::values(&["book", "gift"]) }];
declare!(ITEMS = Descriptor::new(Kind::CounterU64, "items_total", "Items.").with_labels(&KIND));
const LARGE: [LabelSpec<'static>; 1] = [LabelSpec { key: "slot", shape: LabelShape::Below(1023) }];
declare!(SLOTS = Descriptor::new(Kind::CounterU64, "slots_total", "Slots.").with_labels(&LARGE));

const WIDEST: [LabelSpec<'static>; 1] = [LabelSpec { key: "slot", shape: LabelShape::Below(65_535) }];
declare!(WIDE = Descriptor::new(Kind::CounterU64, "wide_total", "Wide.").with_labels(&WIDEST));

/// Keeps the facts of requests that took longer than a second, or failed.
#[derive(Debug, Default)]
struct FactSink {
    received: Mutex<Vec<(String, RequestFacts)>>,
    offered: Mutex<Vec<bool>>,
}

impl Sink for FactSink {
    fn log(&self, _: &Arc<Identity>, _: LogRecord) {}

    fn span(&self, _: &Arc<Identity>, _: SpanRecord) {}

    fn receives_facts(&self) -> bool {
        true
    }

    fn selects_facts(&self, _: &Arc<Identity>, facts: &RequestFacts) -> bool {
        let is_selected = facts.error.is_some() || facts.took > Duration::from_secs(1);
        self.offered.lock().unwrap().push(is_selected);
        is_selected
    }

    fn request(&self, identity: &Arc<Identity>, facts: RequestFacts) {
        self.received.lock().unwrap().push((identity.component().to_owned(), facts));
    }
}

impl FactSink {
    /// Returns and removes the facts, which are all of the component `shop`.
    fn take(&self) -> Vec<RequestFacts> {
        let all = self.take_all().into_iter();
        all.inspect(|(component, _)| assert_eq!(component, "shop")).map(|(_, facts)| facts).collect()
    }

    /// Returns and removes the facts, each with its component.
    fn take_all(&self) -> Vec<(String, RequestFacts)> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

/// Returns the series of a request as `name key=value,...`.
fn series(facts: &RequestFacts) -> Vec<String> {
    let name = |key: &wasmetry_host::SeriesKey| {
        let series = facts.labels(*key).expect("a series that exists");
        let labels: Vec<_> = series.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} {}", series.metric, labels.join(","))
    };
    facts.series.iter().map(name).collect()
}

fn finish(request: &mut RequestTelemetry, outcome: Outcome<'_>) {
    request.set_http(HttpSummary {
        method: "GET",
        route: "/cart".into(),
        status: if outcome == Outcome::Ok { 200 } else { 500 },
        request_bytes: None,
        response_bytes: None,
        error: None,
    });
    request.finish(outcome, Duration::from_millis(5), 77);
}

#[test]
fn touched_series_follow_selected_requests() {
    for width in WIDTHS {
        let sink = Arc::new(FactSink::default());
        let registry = Registry::new();
        let component = registry.component(Identity::new("shop"), declarations(&[&SALES, &ITEMS]));
        let now = Timestamp { monotonic: Duration::from_secs(1), wall: 1 };
        for (outcome, is_read_before) in
            [(Outcome::Ok, false), (Outcome::Failed, false), (Outcome::Ended("unreachable"), true)]
        {
            let mut request = component.request_telemetry(Arc::<FactSink>::clone(&sink), Arc::default());
            let (mut image, [sales, items]) = Image::with(width, [&SALES, &ITEMS]);
            let mut instance = component.instance();
            image.set(items, 1, 1);
            if is_read_before {
                // As when a scrape finds the guest running.
                instance.read(image.view(), now, Some(&mut request));
            }
            image.text(sales, 0, 0, b"a \"b\"");
            image.set(sales, 1, 5);
            finish(&mut request, outcome);
            instance.read_last(image.view(), now, Some(&mut request));
            assert_eq!(sink.take().len(), 0, "the facts are not complete before the request is dropped");
            drop(request);
            let received = sink.take();
            if outcome == Outcome::Ok {
                assert_eq!(received.len(), 0);
                continue;
            }
            let [facts] = &received[..] else { panic!("{received:?}") };
            let mut found = series(facts);
            found.sort();
            assert_eq!(found, ["items_total kind=gift", "sales_total sku=a \"b\",paid=yes"]);
            assert_eq!((facts.took, facts.end, facts.cut), (Duration::from_millis(5), 77, 0));
            let (kind, _) = facts.error.clone().unwrap();
            match outcome {
                Outcome::Ended(reason) => {
                    assert_eq!((kind.as_str(), facts.end_reason.as_deref()), (reason, Some(reason)));
                }
                _ => assert_eq!((kind.as_str(), facts.end_reason.as_deref()), ("500", None)),
            }
            assert_eq!(facts.http.as_ref().map(|http| (http.method, http.status)), Some(("GET", 500)));
        }
        assert_eq!(*sink.offered.lock().unwrap(), [false, true, true]);
    }
}

#[test]
fn touched_series_have_a_bound() {
    let sink = Arc::new(FactSink::default());
    let component = Registry::new().component(Identity::new("shop"), declarations(&[&SLOTS]));
    let (mut image, [slots]) = Image::with(4, [&SLOTS]);
    for position in 0..1000 {
        image.set(slots, position, 1);
    }
    let mut request = component.request_telemetry(Arc::<FactSink>::clone(&sink), Arc::default());
    finish(&mut request, Outcome::Failed);
    component.instance().read_last(image.view(), Timestamp::default(), Some(&mut request));
    drop(request);
    let facts = &sink.take()[0];
    assert_eq!((facts.series.len(), facts.cut), (limits::TOUCHED_SERIES, 1000 - limits::TOUCHED_SERIES as u32));
}

/// A metric with more cells than are left to search is left out as a whole, and counted once in the
/// facts of its owner. Those of a neighbour are whole.
#[test]
fn search_of_series_is_bounded() {
    let sink = Arc::new(FactSink::default());
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(&[&SLOTS, &WIDE]));
    let neighbour = add_neighbour(&registry);
    let (mut image, [slots, wide]) = Image::with(4, [&SLOTS, &WIDE]);
    (0..10).for_each(|position| image.set(slots, position, 1));
    (0..1000).for_each(|position| image.set(wide, position, 1));
    let (mut other, [requests]) = Image::with(4, [&NEIGHBOUR]);
    other.set(requests, 0, 3);
    for (component, image) in [(&component, &image), (&neighbour, &other), (&component, &image)] {
        let mut request = component.request_telemetry(Arc::<FactSink>::clone(&sink), Arc::default());
        finish(&mut request, Outcome::Failed);
        component.instance().read_last(image.view(), Timestamp::default(), Some(&mut request));
    }
    let all = sink.take_all();
    let found: Vec<_> = all.iter().map(|(owner, facts)| (owner.as_str(), facts.series.len(), facts.cut)).collect();
    assert_eq!(found, [("shop", 10, 1), ("bank", 1, 0), ("shop", 10, 1)]);
    // The series that were not searched are merged, and so is the neighbour's value.
    let wide = samples(&registry, 0, "wide_total{").iter().filter(|line| line.ends_with(" 2")).count();
    assert_eq!(wide, 1000);
    assert_eq!(samples(&registry, 0, "neighbour_total{"), ["neighbour_total{component=\"bank\",tenant=\"acme\"} 10"]);
    assert_eq!(dropped_by_neighbour(&registry), [""; 0]);
}

/// A site counts whether its record is exported or not, and once.
#[test]
fn reached_sites_are_listed_once() {
    let sink = Arc::new(FactSink::default());
    let mut shop = Shop::new(Recording::default());
    shop.request = shop.component.request_telemetry(Arc::<FactSink>::clone(&sink), Arc::new(Recording::default()));
    let mut ring = Ring::new(4, 512);
    for _ in 0..3 {
        ring.detail();
        ring.loaded(1);
    }
    ring.start(5, 0, 0);
    ring.end(5);
    shop.read(&ring);
    shop.finish(Outcome::Failed);
    drop(shop.request);
    let facts = &sink.take()[0];
    let hashes: Vec<_> = facts.sites.iter().map(|site| site.hash).collect();
    assert_eq!(hashes[..2], [wasmetry_abi::hash(&DETAIL_RECORD), wasmetry_abi::hash(&LOADED_RECORD)]);
    assert_eq!(facts.sites.iter().map(|site| &*site.text).collect::<Vec<_>>(), ["detail", "loaded {}", "load"]);
}

/// Nothing of a request remains for the next one of the same instance.
#[test]
fn reused_instance_starts_anew() {
    let sink = Arc::new(FactSink::default());
    let mut shop = Shop::new(Recording::default());
    shop.request = shop.component.request_telemetry(Arc::<FactSink>::clone(&sink), Arc::new(Recording::default()));
    let mut ring = Ring::new(4, 512);
    ring.detail();
    shop.read(&ring);
    shop.finish(Outcome::Failed);
    shop.request.set_caller(None);
    let first = sink.take();
    assert_eq!(first[0].sites.len(), 1);
    shop.finish(Outcome::Failed);
    drop(shop.request);
    assert_eq!(sink.take()[0].sites.len(), 0);
}
