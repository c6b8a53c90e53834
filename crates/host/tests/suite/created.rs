//! The start times of series.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Component, Identity, Number, Registry, Snapshot, Value, encode, limits};

use crate::image::{Declared, Image, declarations, declare};

const USER: [LabelSpec<'static>; 1] = [LabelSpec { key: "user", shape: LabelShape::Text { capacity: 4, max_len: 8 } }];
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(VISITS = Descriptor::new(Kind::CounterU64, "visits_total", "Visits.").with_labels(&USER));
declare!(COST = Descriptor::new(Kind::CounterF64, "cost_total", "Cost."));
declare!(OPEN = Descriptor::new(Kind::UpDownI64, "open", "Open."));
declare!(HEAT = Descriptor::new(Kind::GaugeF64, "heat", "Heat."));
declare!(TIME = Descriptor::new(Kind::HistogramF64, "time", "Time.").with_bounds(&[1.0]));
declare!(DRIFT = Descriptor::new(Kind::HistogramF64, "drift", "Drift.").with_bounds(&[-1.0]));
declare!(SIZE = Descriptor::new(Kind::ExponentialF64, "size", "Size.").with_max_buckets(20));
const ALL: [&Declared; 8] = [&HITS, &VISITS, &COST, &OPEN, &HEAT, &TIME, &DRIFT, &SIZE];

/// Returns a registry, and its clock in nanoseconds.
fn registry(now: u64) -> (Registry, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(now));
    let set = Arc::clone(&clock);
    (Registry::with_clock(move || clock.load(Relaxed)), set)
}

fn snapshot(registry: &Registry) -> Snapshot {
    registry.snapshot(Duration::ZERO)
}

/// Returns the start times of a family's series, each with the value of a label.
fn created(snapshot: &Snapshot, name: &str, label: &str) -> Vec<(String, Option<u64>)> {
    let family = snapshot.families().find(|family| family.name() == name);
    let series = family.into_iter().flat_map(|family| family.series());
    let of = |series: wasmetry_host::Series<'_>| {
        let value = series.labels().find(|(key, _)| *key == label).map_or_else(String::new, |(_, value)| value.into());
        (value, series.created())
    };
    series.map(of).collect()
}

/// Runs an instance that counts for a user and ends.
fn visit(component: &Component, user: &str) {
    let (mut image, [visits, hits]) = Image::with(4, [&VISITS, &HITS]);
    image.text(visits, 0, 2, user.as_bytes());
    image.set(visits, 2, 1);
    image.set(hits, 0, 1);
    image.read_last(component.instance(), 0);
}

#[test]
fn series_starts_when_declared_or_found() {
    let (registry, clock) = registry(100);
    clock.store(200, Relaxed);
    let component = registry.component(Identity::new("shop"), declarations(&ALL));
    let mut hot = component.instance();
    let (mut image, [heat]) = Image::with(4, [&HEAT]);
    image.set(heat, 1, 1);
    image.read(&mut hot, 0);
    for (time, user) in [(300, "zoe"), (400, "ann"), (500, "zoe")] {
        clock.store(time, Relaxed);
        visit(&component, user);
    }
    for _ in 0..2 {
        let snapshot = snapshot(&registry);
        for name in ["hits_total", "cost_total", "open", "time", "drift", "size"] {
            assert_eq!(created(&snapshot, name, ""), [(String::new(), Some(200))], "{name}");
        }
        // In the order of the output, which is not that of the start times.
        assert_eq!(
            created(&snapshot, "visits_total", "user"),
            [("ann".to_owned(), Some(400)), ("zoe".to_owned(), Some(300))]
        );
        for name in ["heat", "wasmetry_build_info"] {
            assert_eq!(created(&snapshot, name, "version")[0].1, None, "{name}");
        }
        clock.store(600, Relaxed);
    }
}

#[test]
fn host_series_starts_when_made() {
    let (registry, clock) = registry(100);
    let family = registry.counter("jobs_total", "Jobs.", &["component"]);
    let gauge = registry.gauge("queued", "Queued.", &[]);
    let lease = registry.series_owner(&[("component", "old")]);
    for (time, component) in [(200, "old"), (300, "shop"), (400, "mail")] {
        clock.store(time, Relaxed);
        family.with(&[component]).inc();
        gauge.with(&[]).set(1.0);
    }
    clock.store(500, Relaxed);
    family.with(&["shop"]).inc();
    let of = |component: &str, time| (component.to_owned(), Some(time));
    assert_eq!(
        created(&snapshot(&registry), "jobs_total", "component"),
        [of("mail", 400), of("old", 200), of("shop", 300)]
    );
    assert_eq!(created(&snapshot(&registry), "queued", ""), [(String::new(), None)]);
    // Series keep their start times when others are removed. One that returns has a new one.
    lease.retire();
    drop(lease);
    snapshot(&registry);
    registry.snapshot(limits::RETENTION * 2);
    assert_eq!(created(&snapshot(&registry), "jobs_total", "component"), [of("mail", 400), of("shop", 300)]);
    clock.store(600, Relaxed);
    family.with(&["old"]).inc();
    assert_eq!(
        created(&snapshot(&registry), "jobs_total", "component"),
        [of("mail", 400), of("old", 600), of("shop", 300)]
    );
}

#[test]
fn return_within_retention_keeps_start_time() {
    let (registry, clock) = registry(100);
    let first = registry.component(Identity::new("shop"), declarations(&ALL));
    visit(&first, "ann");
    first.retire();
    drop(first);
    clock.store(200, Relaxed);
    let second = registry.component(Identity::new("shop"), declarations(&ALL));
    visit(&second, "bob");
    let of = |user: &str, time| (user.to_owned(), Some(time));
    assert_eq!(created(&snapshot(&registry), "hits_total", ""), [of("", 100)]);
    let earlier = snapshot(&registry);
    assert_eq!(created(&earlier, "visits_total", "user"), [of("ann", 100), of("bob", 200)]);
    second.retire();
    drop(second);
    snapshot(&registry);
    registry.snapshot(limits::RETENTION * 2);
    clock.store(300, Relaxed);
    let third = registry.component(Identity::new("shop"), declarations(&ALL));
    visit(&third, "ann");
    assert_eq!(created(&snapshot(&registry), "hits_total", ""), [of("", 300)]);
    let later = snapshot(&registry);
    assert_eq!(created(&later, "visits_total", "user"), [of("ann", 300)]);
    // A series that has started again has increased by its whole value.
    let changes = later.since(&earlier);
    let ann = changes.families().find(|family| family.name() == "visits_total").unwrap().series().next().unwrap();
    assert_eq!(ann.value(), Value::Number(Number::Unsigned(1)));
}

#[test]
fn no_clock_no_start_time() {
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(&ALL));
    visit(&component, "ann");
    let snapshot = snapshot(&registry);
    assert!(snapshot.families().flat_map(|family| family.series()).all(|series| series.created().is_none()));
    assert!(!encode::openmetrics::encode_with_created(&snapshot).contains("_created"));
}

#[test]
fn openmetrics_has_created_on_request() {
    let (registry, _) = registry(1_700_000_000_250_000_000);
    let component = registry.component(Identity::new("shop"), declarations(&ALL));
    visit(&component, "ann");
    let snapshot = snapshot(&registry);
    assert!(!encode::openmetrics::encode(&snapshot).contains("_created"));
    assert!(!encode::prometheus::encode(&snapshot).contains("_created"));
    let text = encode::openmetrics::encode_with_created(&snapshot);
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains("component=\"shop\"") && line.contains("_created")).collect();
    let expected = ["cost", "drift", "hits", "size", "time"]
        .map(|name| format!("{name}_created{{component=\"shop\"}} 1700000000.25"));
    let visits = "visits_created{component=\"shop\",user=\"ann\"} 1700000000.25".to_owned();
    assert_eq!(lines[..6], [&expected[..], &[visits]].concat());
    assert!(lines[6..].iter().all(|line| line.starts_with("wasmetry_dropped_created{")), "{lines:?}");
    // It follows the other samples of its series.
    assert!(
        text.contains("time_count{component=\"shop\"} 0\ntime_created{component=\"shop\"} 1700000000.25\n"),
        "{text}"
    );
}
