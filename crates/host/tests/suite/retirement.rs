//! Replaced components: their series are retained and then removed, and newer versions take names.

use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Component, GuestLimits, Identity, Registry, limits};

use crate::image::{Declared, Image, add_neighbour, assert_neighbour_exact, declarations, declare, samples};

declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(MISSES = Descriptor::new(Kind::CounterU64, "misses_total", "Misses."));
declare!(MISSES_GAUGE = Descriptor::new(Kind::GaugeI64, "misses", "Not the misses."));
declare!(TIME = Descriptor::new(Kind::HistogramF64, "time_seconds", "Time.").with_bounds(&[1.0]));
const SKU: [LabelSpec<'static>; 1] = [LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 8, max_len: 8 } }];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&SKU));
declare!(TIME_FINER = Descriptor::new(Kind::HistogramF64, "time_seconds", "Time.").with_bounds(&[0.5]));

/// The drops of the first version's guests.
const LOST: &str = "wasmetry_dropped_total{component=\"shop\",version=\"1\"";

const RETENTION: u64 = limits::RETENTION.as_secs();

fn version(version: &str) -> Identity {
    Identity::new("shop").with_version(version)
}

/// Runs an instance that sets the first word of each metric's cells and ends.
fn record<const N: usize>(component: &Component, metrics: [&Declared; N], value: u64) {
    let (mut image, entries) = Image::with(4, metrics);
    for entry in entries {
        // The first word of a histogram is its sum, the second its first bucket.
        let word = usize::from(entry.is_histogram());
        image.set(entry, word, value);
    }
    image.read_last(component.instance(), 0);
}

#[test]
fn retired_series_stay_for_retention() {
    let registry = Registry::new();
    let traps = registry.counter("traps_total", "Traps.", &["component", "version", "tenant", "reason"]);
    let old = registry.component(version("1"), declarations(&[&HITS, &MISSES]));
    let new = registry.component(version("2"), declarations(&[&HITS]));
    for version in ["1", "2"] {
        traps.with(&["shop", version, "", "boom"]).inc();
        traps.with(&["other", version, "", "boom"]).inc();
    }
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    let mut last = old.instance();
    old.retire();
    drop(old);

    // Retention does not start while an instance is live.
    image.read(&mut last, 0);
    let both = ["hits_total{component=\"shop\",version=\"1\"} 0", "hits_total{component=\"shop\",version=\"2\"} 0"];
    assert_eq!(samples(&registry, 9 * RETENTION, "hits_total"), both);
    image.set(hits, 0, 7);
    image.read_last(last, 9 * RETENTION);
    record(&new, [&HITS], 1);

    let both = ["hits_total{component=\"shop\",version=\"1\"} 7", "hits_total{component=\"shop\",version=\"2\"} 1"];
    assert_eq!(samples(&registry, 10 * RETENTION, "hits_total"), both);
    assert_eq!(samples(&registry, 11 * RETENTION, "hits_total"), both, "exactly the retention has passed");
    assert_eq!(samples(&registry, 11 * RETENTION, "misses_total").len(), 1);
    assert_eq!(samples(&registry, 11 * RETENTION, "traps_total").len(), 4);
    assert!(!samples(&registry, 11 * RETENTION, LOST).is_empty());

    let after = 11 * RETENTION + 1;
    assert_eq!(samples(&registry, after, "hits_total"), both[1..]);
    assert_eq!(samples(&registry, after, "misses_total"), [""; 0]);
    assert_eq!(samples(&registry, after, "# TYPE misses_total"), [""; 0]);
    assert_eq!(
        samples(&registry, after, "traps_total"),
        [
            "traps_total{component=\"other\",version=\"1\",reason=\"boom\"} 1",
            "traps_total{component=\"other\",version=\"2\",reason=\"boom\"} 1",
            "traps_total{component=\"shop\",version=\"2\",reason=\"boom\"} 1",
        ]
    );
    assert_eq!(samples(&registry, after, LOST), [""; 0]);
    // The remaining handles are not exported.
    traps.with(&["shop", "2", "", "boom"]).inc();
    assert_eq!(
        samples(&registry, after, "traps_total{component=\"shop\"").last().unwrap().split(' ').nth(1),
        Some("2")
    );
}

#[test]
fn component_that_returns_continues() {
    let registry = Registry::new();
    let first = registry.component(version("1"), declarations(&[&HITS]));
    record(&first, [&HITS], 5);
    first.retire();
    drop(first);
    assert_eq!(samples(&registry, 0, "hits_total").len(), 1);
    let second = registry.component(version("1"), declarations(&[&HITS]));
    record(&second, [&HITS], 3);
    let sum = ["hits_total{component=\"shop\",version=\"1\"} 8"];
    assert_eq!(samples(&registry, 2 * RETENTION, "hits_total"), sum, "the first owner is removed, the second is not");
    record(&second, [&HITS], 0);
    assert_eq!(samples(&registry, 9 * RETENTION, "hits_total"), sum);
    // After it was removed, it starts at 0. Prometheus handles that like the restart of a process.
    second.retire();
    drop(second);
    samples(&registry, 10 * RETENTION, "hits_total");
    assert_eq!(samples(&registry, 12 * RETENTION, "hits_total"), [""; 0]);
    let third = registry.component(version("1"), declarations(&[&HITS]));
    record(&third, [&HITS], 1);
    assert_eq!(samples(&registry, 13 * RETENTION, "hits_total"), ["hits_total{component=\"shop\",version=\"1\"} 1"]);
}

#[test]
fn shared_metrics_outlive_old_binary() {
    let registry = Registry::new();
    let old = registry.component(version("dev"), declarations(&[&HITS, &MISSES, &TIME]));
    record(&old, [&HITS, &MISSES, &TIME], 2);
    let mut alive = old.instance();
    let (mut image, [misses, hits]) = Image::with(4, [&MISSES, &HITS]);
    image.read(&mut alive, 0);

    old.retire();
    let new = registry.component(version("dev"), declarations(&[&HITS, &TIME_FINER]));
    assert_eq!(new.conflicts(), []);
    record(&new, [&HITS, &TIME_FINER], 3);
    image.set(misses, 0, 10);
    image.set(hits, 0, 10);
    image.read_last(alive, 0);
    drop(old);
    let name = |name: &str, value: u64| [format!("{name}{{component=\"shop\",version=\"dev\"}} {value}")];
    assert_eq!(samples(&registry, 0, "hits_total"), name("hits_total", 15));
    assert_eq!(samples(&registry, 0, "misses_total"), name("misses_total", 12));
    assert_eq!(samples(&registry, 0, "time_seconds_count"), name("time_seconds_count", 3));
    assert_eq!(samples(&registry, 0, "time_seconds_bucket{component=\"shop\",version=\"dev\",le=\"0.5\"").len(), 1);

    // Metrics that only the old binary declared are removed, and their places are reused.
    assert_eq!(samples(&registry, RETENTION + 1, "misses_total"), [""; 0]);
    assert_eq!(samples(&registry, RETENTION + 1, "hits_total"), name("hits_total", 15));
    let third = registry.component(version("dev"), declarations(&[&HITS, &MISSES_GAUGE, &TIME_FINER]));
    assert_eq!(third.conflicts(), []);
    record(&third, [&TIME_FINER, &HITS], 1);
    record(&new, [&HITS, &TIME_FINER], 1);
    assert_eq!(samples(&registry, RETENTION + 1, "hits_total"), name("hits_total", 17));
    assert_eq!(samples(&registry, RETENTION + 1, "time_seconds_count"), name("time_seconds_count", 5));
}

#[test]
fn newer_version_takes_name_until_rollback() {
    let registry = Registry::new();
    let count =
        |version: &str| samples(&registry, 0, &format!("time_seconds_count{{component=\"shop\",version=\"{version}\""));
    let old = registry.component(version("1"), declarations(&[&HITS, &TIME]));
    let bystander = registry.component(Identity::new("bystander"), declarations(&[&HITS]));
    record(&old, [&HITS, &TIME], 2);
    let mut alive = old.instance();
    let (mut image, [time, hits]) = Image::with(4, [&TIME, &HITS]);
    image.read(&mut alive, 0);

    // A component in use keeps its names.
    let early = registry.component(version("2"), declarations(&[&TIME_FINER]));
    assert_eq!(early.conflicts().len(), 1);
    old.retire();
    let new = registry.component(version("2"), declarations(&[&HITS, &TIME_FINER]));
    assert_eq!(new.conflicts(), []);
    record(&new, [&HITS, &TIME_FINER], 5);
    // Running instances continue, and their other metrics are exported.
    image.set(time, 1, 4);
    image.set(hits, 0, 4);
    image.read_last(alive, 0);
    assert_eq!(count("1"), [""; 0]);
    assert_eq!(count("2").len(), 1);
    let hits = |version: &str, value: u64| [format!("hits_total{{component=\"shop\",version=\"{version}\"}} {value}")];
    assert_eq!(samples(&registry, 0, "hits_total{component=\"shop\",version=\"1\""), hits("1", 6));

    // After a rollback, the first version continues with its values.
    new.retire();
    early.retire();
    let again = registry.component(version("1"), declarations(&[&HITS, &TIME]));
    assert_eq!(again.conflicts(), []);
    record(&again, [&HITS, &TIME], 1);
    assert_eq!(count("1")[0].split(' ').nth(1), Some("7"));
    assert_eq!(count("2"), [""; 0]);
    assert_eq!(samples(&registry, 0, "hits_total{component=\"shop\",version=\"1\""), hits("1", 7));
    // The names of a counter's samples conflict with a gauge too.
    let gauge = registry.component(Identity::new("gauge"), declarations(&[&MISSES_GAUGE]));
    let counter = registry.component(Identity::new("counter"), declarations(&[&MISSES]));
    assert_eq!(counter.conflicts().len(), 1);
    gauge.retire();
    let counter = registry.component(Identity::new("counter"), declarations(&[&MISSES]));
    assert_eq!(counter.conflicts(), []);
    drop(bystander);
}

#[test]
fn routes_retire_alone() {
    let registry = Registry::new();
    let requests = registry.counter("requests_total", "Requests.", &["component", "version", "tenant", "route"]);
    let shop = registry.component(version("1"), declarations(&[&HITS]));
    let leases = ["/a", "/b"].map(|route| {
        requests.with(&["shop", "1", "", route]).inc();
        registry.series_owner(&[("component", "shop"), ("version", "1"), ("tenant", ""), ("route", route)])
    });
    let route = |route: &str| format!("requests_total{{component=\"shop\",version=\"1\",route=\"{route}\"}} 1");
    leases[0].retire();
    drop(leases);
    assert_eq!(samples(&registry, 0, "requests_total"), [route("/a"), route("/b")]);
    assert_eq!(samples(&registry, RETENTION + 1, "requests_total"), [route("/b")]);
    assert_eq!(samples(&registry, RETENTION + 1, "hits_total").len(), 1);
    shop.retire();
    drop(shop);
    samples(&registry, 2 * RETENTION, "");
    assert_eq!(samples(&registry, 4 * RETENTION, "requests_total"), [""; 0]);
}

/// A tenant replaces its component again and again, each version with more series than a metric may
/// have. The series of as many as are kept are shown, each version's drops are its own, and the
/// neighbour loses nothing.
#[test]
fn versions_do_not_accumulate() {
    let registry = Registry::new();
    let mut limits_of_guests = GuestLimits::default();
    limits_of_guests.series_per_metric = 2;
    registry.set_limits(limits_of_guests);
    add_neighbour(&registry);
    let starts = registry.counter("starts_total", "Starts.", &["component", "version", "tenant"]);
    for number in 0..4 * limits::RETIRED_OWNERS {
        let number = number.to_string();
        let component = registry.component(version(&number), declarations(&[&HITS, &TIME, &SALES]));
        starts.with(&["shop", &number, ""]).inc();
        let (mut image, [hits, sales]) = Image::with(4, [&HITS, &SALES]);
        image.set(hits, 0, 1);
        for row in 0..5 {
            image.text(sales, 0, row, format!("sku-{row}").as_bytes());
            image.set(sales, row as usize, 1);
        }
        image.read_last(component.instance(), 0);
        component.retire();
    }
    // There was no snapshot in between.
    let kept = limits::RETIRED_OWNERS;
    assert_eq!(samples(&registry, 0, "hits_total").len(), kept);
    assert_eq!(samples(&registry, 0, "starts_total").len(), kept);
    // Two series of each, and one of the three others.
    assert_eq!(samples(&registry, 0, "sales_total").len(), 3 * kept);
    let dropped = |seconds: u64| {
        let mut lines = samples(&registry, seconds, "wasmetry_dropped_total{component=\"shop\"");
        lines.retain(|line| line.contains("reason=\"series_limit\""));
        lines
    };
    let owners = dropped(0);
    assert_eq!(owners.len(), kept, "{owners:?}");
    assert!(owners.iter().all(|line| line.ends_with(" 3")), "{owners:?}");
    for number in 3 * kept..4 * kept {
        assert!(owners.iter().any(|line| line.contains(&format!("version=\"{number}\""))), "{number}: {owners:?}");
    }
    assert_neighbour_exact(&registry);
    let text = |seconds| wasmetry_host::encode::prometheus::encode(&registry.snapshot(Duration::from_secs(seconds)));
    let component = registry.component(version("last"), declarations(&[&HITS]));
    assert_eq!(samples(&registry, 0, "hits_total").len(), kept + 1);
    assert!(text(0).contains("version=\"1023\""));
    let left = text(RETENTION + 1);
    assert!(!left.contains("version=\"1023\"") && left.contains("version=\"last\""), "{left}");
    assert_eq!(dropped(RETENTION + 1), [""; 0]);
    assert_neighbour_exact(&registry);
    drop(component);
}

#[test]
fn repeated_registration_does_not_grow() {
    let registry = Registry::new();
    let first = registry.component(version("1"), declarations(&[&HITS]));
    for _ in 0..3 {
        registry.component(version("1"), declarations(&[&TIME]));
        registry.component(version("1"), declarations(&[&HITS, &MISSES]));
        registry.series_owner(&[("route", "/")]);
    }
    let debug = format!("{registry:?}");
    assert_eq!(debug.matches("is_retired").count(), 4, "one that is held, and the last of each: {debug}");
    drop(first);
    // It was never retired, so it keeps its names without clones.
    let other = registry.component(Identity::new("other"), declarations(&[&MISSES_GAUGE]));
    assert_eq!(other.conflicts().len(), 1);
    // What only a replaced binary declares is retained, and then removed.
    assert_eq!(samples(&registry, 0, "time_seconds_count").len(), 1);
    assert_eq!(samples(&registry, RETENTION + 1, "time_seconds_count"), [""; 0]);
    assert_eq!(samples(&registry, RETENTION + 1, "misses_total").len(), 1);
}
