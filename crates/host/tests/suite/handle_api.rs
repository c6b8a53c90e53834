//! Metrics of the handle API: values, rules, conflicts, limits, and replaced components.

use std::thread;
use std::time::Duration;

use wasmetry_abi::{Descriptor as Declaration, Kind, LabelShape, LabelSpec};
use wasmetry_host::handle_api::{Descriptor, Recorder, ResolveError};
use wasmetry_host::{Component, Declarations, Identity, Merge, Registry, encode, limits};

use crate::image::{Image, add_neighbour, declarations, declare, dropped, dropped_beside_neighbour, samples};

declare!(HITS = Declaration::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(HITS_F64 = Declaration::new(Kind::CounterF64, "hits_total", "Hits."));
declare!(DEPTH = Declaration::new(Kind::GaugeI64, "depth", "Depth."));
const ROUTES: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "route", shape: LabelShape::Text { capacity: 4, max_len: 16 } }];
declare!(VISITS = Declaration::new(Kind::CounterF64, "visits_total", "Visits.").with_labels(&ROUTES));

const RETENTION: u64 = limits::RETENTION.as_secs();

fn metric<'a>(name: &'a str) -> Descriptor<'a> {
    Descriptor { name, help: "Help.", unit: "" }
}

fn shop(registry: &Registry) -> Component {
    registry.component(Identity::new("shop"), Declarations::default())
}

fn recorder(registry: &Registry) -> Recorder {
    shop(registry).recorder()
}

#[test]
fn each_kind_is_exported() {
    let registry = Registry::new();
    let component =
        registry.component(Identity::new("shop").with_version("1").with_tenant("acme"), Declarations::default());
    let mut guest = component.recorder();
    let visits = metric("visits_total");
    // Labels are sorted, and the keys of the identity belong to the host.
    guest.counter(&visits, &[("route", "/"), ("component", "x\"y")]).unwrap().add(2.0);
    guest.counter(&visits, &[("component", "x\"y"), ("route", "/")]).unwrap().inc();
    guest.counter(&visits, &[("component", ""), ("route", "/new")]).unwrap();
    let paid = Descriptor { name: "paid_euros_total", help: "Paid.", unit: "euros" };
    let paid = guest.counter(&paid, &[]).unwrap();
    paid.add(0.5);
    paid.add(3.0);
    let queue = guest.up_down_counter(&metric("queue_length"), &[]).unwrap();
    queue.add(2.0);
    queue.add(-7.0);
    guest.gauge(&metric("temperature"), Merge::Last, &[]).unwrap().set(-1.5);
    guest.gauge(&metric("unset"), Merge::Sum, &[]).unwrap();
    let time = Descriptor { name: "time_seconds", help: "Time.", unit: "seconds" };
    let time = guest.histogram(&time, &[0.1, 1.0], &[]).unwrap();
    [0.1, 0.2, 5.0].into_iter().for_each(|seconds| time.observe(seconds));
    let size = guest.histogram(&metric("size"), &[], &[("of", "cart")]).unwrap();
    size.observe_all([-1.0, 0.3, 20.0].into_iter());

    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    let own: Vec<&str> = text.lines().filter(|line| !line.contains("wasmetry_")).collect();
    let expected = r#"# HELP paid_euros_total Paid.
# TYPE paid_euros_total counter
paid_euros_total{component="shop",version="1",tenant="acme"} 3.5
# HELP queue_length Help.
# TYPE queue_length gauge
queue_length{component="shop",version="1",tenant="acme"} -5
# HELP size Help.
# TYPE size histogram
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.005"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.01"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.025"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.05"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.1"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.25"} 1
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="0.5"} 2
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="1.0"} 2
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="2.5"} 2
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="5.0"} 2
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="10.0"} 2
size_bucket{component="shop",version="1",tenant="acme",of="cart",le="+Inf"} 3
size_sum{component="shop",version="1",tenant="acme",of="cart"} 19.3
size_count{component="shop",version="1",tenant="acme",of="cart"} 3
# HELP temperature Help.
# TYPE temperature gauge
temperature{component="shop",version="1",tenant="acme"} -1.5
# HELP time_seconds Time.
# TYPE time_seconds histogram
time_seconds_bucket{component="shop",version="1",tenant="acme",le="0.1"} 1
time_seconds_bucket{component="shop",version="1",tenant="acme",le="1.0"} 2
time_seconds_bucket{component="shop",version="1",tenant="acme",le="+Inf"} 3
time_seconds_sum{component="shop",version="1",tenant="acme"} 5.3
time_seconds_count{component="shop",version="1",tenant="acme"} 3
# HELP unset Help.
# TYPE unset gauge
# HELP visits_total Help.
# TYPE visits_total counter
visits_total{component="shop",version="1",tenant="acme",exported_component="x\"y",route="/"} 3
visits_total{component="shop",version="1",tenant="acme",route="/new"} 0"#;
    assert_eq!(own.join("\n"), expected);
}

#[test]
fn concurrent_instances_add_up() {
    const THREADS: u64 = 4;
    const EVENTS: u64 = 20_000;
    let registry = Registry::new();
    let component = shop(&registry);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut guest = component.recorder();
                let count = guest.counter(&metric("events_total"), &[("k", "v")]).unwrap();
                let sizes = guest.histogram(&metric("sizes"), &[1.0], &[]).unwrap();
                for n in 0..EVENTS {
                    count.inc();
                    sizes.observe((n % 3) as f64);
                }
            });
        }
        // Concurrent snapshots take each value once.
        for _ in 0..50 {
            registry.snapshot(Duration::ZERO);
        }
    });
    let events = THREADS * EVENTS;
    assert_eq!(samples(&registry, 0, "events_total"), [format!("events_total{{component=\"shop\",k=\"v\"}} {events}")]);
    assert_eq!(samples(&registry, 0, "sizes_count"), [format!("sizes_count{{component=\"shop\"}} {events}")]);
    let sum: u64 = (0..EVENTS).map(|n| n % 3).sum::<u64>() * THREADS;
    assert_eq!(samples(&registry, 0, "sizes_sum"), [format!("sizes_sum{{component=\"shop\"}} {sum}")]);
}

#[test]
fn whole_amounts_stay_exact() {
    let registry = Registry::new();
    let count = recorder(&registry).counter(&metric("events_total"), &[]).unwrap();
    count.add(9_007_199_254_740_992.0);
    count.inc();
    assert_eq!(samples(&registry, 0, "events_total"), ["events_total{component=\"shop\"} 9007199254740993"]);
    // A guest cannot make it wrap.
    for _ in 0..10 {
        count.add(9e18);
    }
    assert_eq!(samples(&registry, 0, "events_total"), ["events_total{component=\"shop\"} 18446744073709551615"]);
    count.add(f64::MAX);
    count.add(f64::MAX);
    assert_eq!(samples(&registry, 0, "events_total"), ["events_total{component=\"shop\"} +Inf"]);
}

#[test]
fn delta_of_mixed_amounts_is_exact() {
    let registry = Registry::new();
    let count = recorder(&registry).counter(&metric("events_total"), &[]).unwrap();
    count.add(3.0);
    let earlier = registry.snapshot(Duration::ZERO);
    count.add(0.5);
    let changes = registry.snapshot(Duration::ZERO).since(&earlier);
    let family = changes.families().find(|family| family.name() == "events_total").unwrap();
    let series = family.series().next().unwrap();
    assert_eq!(series.value(), wasmetry_host::Value::Number(wasmetry_host::Number::Float(0.5)));
}

#[test]
fn gauges_merge_by_rule() {
    let registry = Registry::new();
    let component = shop(&registry);
    let rules = [("sum", Merge::Sum), ("max", Merge::Max), ("min", Merge::Min), ("last", Merge::Last)];
    let set = |value: f64| {
        let mut guest = component.recorder();
        for (name, rule) in rules {
            // Resolving a gauge again adds no value.
            guest.gauge(&metric(name), rule, &[]).unwrap().set(100.0);
            guest.gauge(&metric(name), rule, &[]).unwrap().set(value);
        }
        guest
    };
    let found = |seconds: u64| {
        rules.map(|(name, _)| {
            let sample = samples(&registry, seconds, &format!("{name}{{")).pop();
            sample.map_or("none".to_owned(), |sample| sample.split_once("} ").unwrap().1.to_owned())
        })
    };
    let (first, second, third) = (set(5.0), set(9.0), set(2.0));
    assert_eq!(found(0), ["16", "9", "2", "2"]);
    second.end(Duration::from_secs(10));
    assert_eq!(found(10), ["7", "9", "2", "2"]);
    third.end(Duration::from_secs(20));
    drop(first);
    assert_eq!(found(300), ["none", "9", "2", "2"]);
    assert_eq!(found(321), ["none", "none", "none", "2"]);
}

#[test]
fn invalid_descriptor_names_rule_and_remedy() {
    let registry = Registry::new();
    let mut guest = recorder(&registry);
    let long = "x".repeat(1 << 20);
    let many: Vec<(String, String)> = (0..40).map(|n| (format!("k{n}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let count = |guest: &mut Recorder, name: &str, help: &str, unit: &str, labels: &[(&str, &str)]| {
        guest.counter(&Descriptor { name, help, unit }, labels).unwrap_err().to_string()
    };
    let refusals = [
        (count(&mut guest, "requests", "", "", &[]), "ends in `_total`"),
        (count(&mut guest, "Requests_total", "", "", &[]), "lower-case"),
        (count(&mut guest, "", "", "", &[]), "empty"),
        (count(&mut guest, &long, "", "", &[]), "at most 200 bytes"),
        (count(&mut guest, "wasm_x_total", "", "", &[]), "choose another prefix"),
        (count(&mut guest, "a\u{1b}_total", "", "", &[]), "a\\u{1b}_total"),
        (count(&mut guest, "x_total", &long, "", &[]), "help text"),
        (count(&mut guest, "x_milliseconds_total", "", "milliseconds", &[]), "unit: seconds"),
        (count(&mut guest, "x_total", "", "bytes", &[]), "ends in its unit"),
        (count(&mut guest, "x_total", "", "", &[("le", "1")]), "choose another key"),
        (count(&mut guest, "x_total", "", "", &[("a", "1"), ("a", "2")]), "label `a` is there twice"),
        (count(&mut guest, "x_total", "", "", &[(&long, "")]), "label `xxx"),
        (count(&mut guest, "x_total", "", "", &many), "more than 32 labels"),
        (guest.gauge(&metric("x_total"), Merge::Sum, &[]).unwrap_err().to_string(), "leave the suffix away"),
        (guest.up_down_counter(&metric("x_sum"), &[]).unwrap_err().to_string(), "leave the suffix away"),
        (guest.histogram(&metric("x"), &[1.0, 1.0], &[]).unwrap_err().to_string(), "sort them"),
        (guest.histogram(&metric("x"), &[f64::NAN], &[]).unwrap_err().to_string(), "finite"),
        (guest.histogram(&metric("x"), &vec![0.5; 1 << 20], &[]).unwrap_err().to_string(), "sort them"),
    ];
    for (refusal, text) in &refusals {
        assert!(refusal.len() < 1000, "{text}: {} bytes", refusal.len());
        assert!(refusal.contains(text), "{text}: {refusal}");
    }
    assert_eq!(dropped(&registry), [format!("invalid_descriptor {}", refusals.len())]);
    assert_eq!(samples(&registry, 0, "x"), [""; 0]);
}

#[test]
fn invalid_values_are_counted() {
    let registry = Registry::new();
    let mut guest = recorder(&registry);
    let count = guest.counter(&metric("x_total"), &[]).unwrap();
    [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().for_each(|amount| count.add(amount));
    let level = guest.up_down_counter(&metric("level"), &[]).unwrap();
    [f64::NAN, f64::INFINITY].into_iter().for_each(|difference| level.add(difference));
    let time = Descriptor { name: "t_seconds", help: "", unit: "seconds" };
    let time = guest.histogram(&time, &[], &[]).unwrap();
    [-0.1, f64::NAN, f64::INFINITY].into_iter().for_each(|seconds| time.observe(seconds));
    guest.gauge(&metric("g"), Merge::Sum, &[]).unwrap().set(f64::NAN);
    assert_eq!(dropped(&registry), ["invalid_value 10"]);
    time.observe_all(vec![1.0; limits::OBSERVATIONS + 7].into_iter());
    assert_eq!(dropped(&registry), ["invalid_value 17"]);
    assert_eq!(samples(&registry, 0, "t_seconds_count"), ["t_seconds_count{component=\"shop\"} 65536"]);
    assert_eq!(samples(&registry, 0, "x_total"), ["x_total{component=\"shop\"} 0"]);
    assert_eq!(samples(&registry, 0, "g"), [""; 0]);
}

#[test]
fn component_has_one_metric_per_name() {
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(&[&HITS, &VISITS]));
    let mut guest = component.recorder();
    let conflict = |name: &str| ResolveError::Conflict { name: name.to_owned() };
    // The binary declares these.
    assert_eq!(guest.counter(&metric("hits_total"), &[]).unwrap_err(), conflict("hits_total"));
    assert_eq!(guest.counter(&metric("visits_total"), &[("route", "/")]).unwrap_err(), conflict("visits_total"));
    guest.counter(&metric("events_total"), &[("route", "/")]).unwrap();
    for labels in [&[][..], &[("path", "/")], &[("route", "/"), ("method", "GET")]] {
        assert_eq!(guest.counter(&metric("events_total"), labels).unwrap_err(), conflict("events_total"));
    }
    guest.histogram(&metric("size"), &[1.0], &[]).unwrap();
    assert_eq!(guest.histogram(&metric("size"), &[2.0], &[]).unwrap_err(), conflict("size"));
    assert_eq!(guest.gauge(&metric("size"), Merge::Sum, &[]).unwrap_err(), conflict("size"));
    guest.gauge(&metric("level"), Merge::Sum, &[]).unwrap();
    assert_eq!(guest.gauge(&metric("level"), Merge::Max, &[]).unwrap_err(), conflict("level"));
    // The name of a counter without its suffix conflicts too.
    assert_eq!(guest.gauge(&metric("events"), Merge::Max, &[]).unwrap_err(), conflict("events"));
    assert_eq!(dropped(&registry), ["type_conflict 9"]);
    let refusal = conflict("level").to_string();
    assert!(refusal.contains("`level`") && refusal.contains("rename one"), "{refusal}");
    // The help text may differ.
    guest.histogram(&Descriptor { help: "Other.", ..metric("size") }, &[1.0], &[]).unwrap().observe(1.0);
    assert_eq!(samples(&registry, 0, "size_count"), ["size_count{component=\"shop\"} 1"]);
}

#[test]
fn declared_and_resolved_metric_is_one() {
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(&[&HITS_F64]));
    component.recorder().counter(&metric("hits_total"), &[]).unwrap().add(2.0);
    let (mut image, [hits]) = Image::with(4, [&HITS_F64]);
    image.set(hits, 0, 1.5f64.to_bits());
    image.read_last(component.instance(), 0);
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 3.5"]);
}

#[test]
fn conflict_drops_values_and_guest_continues() {
    let registry = Registry::new();
    let other = registry.component(Identity::new("other"), declarations(&[&HITS, &DEPTH]));
    let component = shop(&registry);
    let mut guest = component.recorder();
    // A counter of the same type shares the family.
    guest.counter(&metric("hits_total"), &[("k", "v")]).unwrap().inc();
    let level = guest.up_down_counter(&metric("depth"), &[]).unwrap();
    level.add(1.0);
    level.add(1.0);
    assert_eq!(
        samples(&registry, 0, "hits_total"),
        ["hits_total{component=\"other\"} 0", "hits_total{component=\"shop\",k=\"v\"} 1"]
    );
    assert_eq!(dropped(&registry), ["type_conflict 3"]);
    assert_eq!(component.conflicts().len(), 1);
    // The name is free when the other component is replaced.
    other.retire();
    guest.up_down_counter(&metric("depth"), &[]).unwrap().add(1.0);
    assert_eq!(samples(&registry, 0, "depth{"), ["depth{component=\"shop\"} 1"]);
    assert_eq!(component.conflicts(), []);
    // Then the other component loses it.
    assert_eq!(registry.component(Identity::new("third"), declarations(&[&DEPTH])).conflicts().len(), 1);
}

/// A refused metric is compared with the others at its first, second, fourth, eighth attempt.
#[test]
fn repeated_refusal_is_remembered() {
    let registry = Registry::new();
    let other = registry.component(Identity::new("other"), declarations(&[&DEPTH]));
    let component = shop(&registry);
    add_neighbour(&registry);
    let mut guest = component.recorder();
    let mut add = || guest.up_down_counter(&metric("depth"), &[]).unwrap().add(1.0);
    add();
    add();
    other.retire();
    add();
    assert_eq!(samples(&registry, 0, "depth{component=\"shop\""), [""; 0]);
    // Each attempt and each value is counted, whether it is compared or not.
    assert_eq!(dropped(&registry), ["type_conflict 6"]);
    add();
    assert_eq!(samples(&registry, 0, "depth{component=\"shop\""), ["depth{component=\"shop\"} 1"]);
    assert_eq!(dropped(&registry), ["type_conflict 6"]);
    // A refusal has the same words each time.
    let invalid = metric("x_total");
    let refusals: Vec<_> = (0..5).map(|_| guest.histogram(&invalid, &[], &[]).unwrap_err()).collect();
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    assert_eq!(dropped(&registry), ["invalid_descriptor 5", "type_conflict 6"]);
    for attempt in 0..2 * limits::REFUSALS {
        guest.gauge(&metric(&format!("bad_{attempt}_total")), Merge::Max, &[]).unwrap_err();
    }
    let refused = 5 + 2 * limits::REFUSALS;
    assert_eq!(
        dropped_beside_neighbour(&registry),
        [format!("invalid_descriptor {refused}"), "type_conflict 6".into()]
    );
}

#[test]
fn series_metrics_and_texts_are_bounded() {
    let registry = Registry::new();
    let mut guest = recorder(&registry);
    for n in 0..limits::SERIES_PER_METRIC + 10 {
        guest.counter(&metric("many_total"), &[("a", "x"), ("n", &n.to_string())]).unwrap().inc();
    }
    let overflow = "many_total{component=\"shop\",a=\"overflow\",n=\"overflow\"} 10";
    assert_eq!(samples(&registry, 0, "many_total").len(), limits::SERIES_PER_METRIC + 1);
    assert_eq!(samples(&registry, 0, "many_total{component=\"shop\",a=\"overflow\""), [overflow]);
    assert_eq!(dropped(&registry), ["series_limit 10"]);

    let long = "x".repeat(limits::LABEL_VALUE + 1);
    guest.counter(&metric("long_total"), &[("text", &long)]).unwrap().inc();
    guest.counter(&metric("long_total"), &[("text", &long[1..])]).unwrap().inc();
    assert_eq!(samples(&registry, 0, "long_total{component=\"shop\",text=\"overflow\"} 1").len(), 1);
    assert_eq!(samples(&registry, 0, "long_total").len(), 2);
    assert_eq!(dropped(&registry), ["label_too_long 1", "series_limit 10"]);

    for n in 0..limits::RESOLVED_METRICS - 2 {
        guest.counter(&metric(&format!("metric_{n}_total")), &[]).unwrap();
    }
    for _ in 0..2 {
        let refused = guest.counter(&metric("one_more_total"), &[]).unwrap_err();
        assert!(refused.to_string().contains("use labels"), "{refused}");
    }
    // Metrics that were resolved before still count.
    guest.counter(&metric("metric_7_total"), &[]).unwrap().inc();
    assert_eq!(samples(&registry, 0, "metric_7_total"), ["metric_7_total{component=\"shop\"} 1"]);
    assert_eq!(dropped(&registry), ["label_too_long 1", "metric_limit 2", "series_limit 10"]);
}

#[test]
fn gauges_of_instance_are_bounded() {
    let registry = Registry::new();
    let mut guest = recorder(&registry);
    for n in 0..limits::RESOLVED_GAUGES + 3 {
        let name = format!("gauge_{}", n % 3);
        guest.gauge(&metric(&name), Merge::Sum, &[("n", &n.to_string())]).unwrap().set(1.0);
    }
    assert_eq!(samples(&registry, 0, "gauge_").len(), limits::RESOLVED_GAUGES);
    assert_eq!(dropped(&registry), ["series_limit 3"]);
    drop(guest);
    assert_eq!(samples(&registry, 0, "gauge_"), [""; 0]);
}

#[test]
fn replaced_component_keeps_series_for_retention() {
    let registry = Registry::new();
    let version =
        |version: &str| registry.component(Identity::new("shop").with_version(version), Declarations::default());
    let (old, new) = (version("1"), version("2"));
    let mut guest = old.recorder();
    let count = guest.counter(&metric("events_total"), &[]).unwrap();
    count.inc();
    old.retire();
    drop(old);
    // An instance still exists.
    assert_eq!(samples(&registry, 9 * RETENTION, "events_total").len(), 1);
    count.inc();
    // A newer version takes over a name for another metric, and keeps it.
    new.recorder().gauge(&metric("events"), Merge::Last, &[]).unwrap().set(4.0);
    assert_eq!(samples(&registry, 9 * RETENTION, "events"), ["events{component=\"shop\",version=\"2\"} 4"]);
    // Values of the remaining handle are dropped and counted.
    count.inc();
    let lost = "wasmetry_dropped_total{component=\"shop\",version=\"1\",signal=\"metrics\",reason=\"type_conflict\"}";
    assert_eq!(samples(&registry, 9 * RETENTION, lost), [format!("{lost} 1")]);
    guest.counter(&metric("events_total"), &[]).unwrap().inc();
    guest.counter(&metric("others_total"), &[]).unwrap().inc();
    drop(guest);
    assert_eq!(samples(&registry, 10 * RETENTION, "others_total").len(), 1);
    assert_eq!(samples(&registry, 11 * RETENTION, "others_total").len(), 1);
    assert_eq!(samples(&registry, 11 * RETENTION + 1, "others_total"), [""; 0]);
    // The remaining handle has no series.
    count.inc();
    assert_eq!(samples(&registry, 12 * RETENTION, "events_total"), [""; 0]);
}

#[test]
fn unresolved_metric_leaves_with_its_binary() {
    let registry = Registry::new();
    let (old, new) = (shop(&registry), shop(&registry));
    old.recorder().counter(&metric("old_total"), &[("k", "v")]).unwrap().inc();
    old.recorder().counter(&metric("both_total"), &[]).unwrap().inc();
    new.recorder().counter(&metric("both_total"), &[]).unwrap().inc();
    old.retire();
    drop(old);
    assert_eq!(samples(&registry, 0, "both_total"), ["both_total{component=\"shop\"} 2"]);
    assert_eq!(samples(&registry, RETENTION, "old_total").len(), 1);
    assert_eq!(samples(&registry, RETENTION + 1, "old_total"), [""; 0]);
    assert_eq!(samples(&registry, RETENTION + 1, "both_total"), ["both_total{component=\"shop\"} 2"]);
    // The metric can return, even with another type.
    new.recorder().counter(&metric("old_total"), &[]).unwrap().inc();
    assert_eq!(samples(&registry, RETENTION + 1, "old_total"), ["old_total{component=\"shop\"} 1"]);
}
