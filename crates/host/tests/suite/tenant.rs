//! Tenants that use one name differently: each exports its own metric.

use std::time::Duration;

use wasmetry_abi::{Descriptor as Declaration, Kind, Merge};
use wasmetry_host::handle_api::Descriptor;
use wasmetry_host::{Component, Identity, Registry, Value, encode, limits};

use crate::image::{Declared, Image, declarations, declare, samples};
use crate::label_text::assert_chunks;

declare!(LATENCY = Declaration::new(Kind::HistogramF64, "latency", "The latency.").with_bounds(&[0.1, 1.0]));
declare!(COARSE = Declaration::new(Kind::HistogramF64, "latency", "The latency.").with_bounds(&[5.0]));
declare!(SQUATTER = Declaration::new(Kind::GaugeI64, "latency", "Call +1-900-SCAM.").with_merge(Merge::Last));
declare!(ORDERS = Declaration::new(Kind::CounterU64, "orders_total", "Orders."));
declare!(FORGED = Declaration::new(Kind::CounterU64, "orders_total", "FORGED"));
declare!(ORDERS_GAUGE = Declaration::new(Kind::GaugeI64, "orders", "Not the orders.").with_merge(Merge::Last));

fn tenant(registry: &Registry, tenant: &str, metrics: &[&Declared]) -> Component {
    registry.component(Identity::new(tenant).with_tenant(tenant), declarations(metrics))
}

/// Runs an instance that sets one word of a metric's cells and ends.
fn record(component: &Component, metric: &Declared, word: usize, value: u64) {
    let (mut image, [entry]) = Image::with(4, [metric]);
    image.set(entry, word, value);
    if matches!(metric.descriptor.kind, Kind::GaugeI64) {
        // The gauge is set.
        image.set(entry, 1, 1);
    }
    image.read_last(component.instance(), 0);
}

/// Registers a tenant that takes the names first and an honest one, in either order.
fn squat(is_first: bool) -> (Registry, [Component; 2]) {
    let registry = Registry::new();
    let [evil, bank] = if is_first {
        let evil = tenant(&registry, "evil", &[&SQUATTER, &FORGED]);
        [evil, tenant(&registry, "bank", &[&LATENCY, &ORDERS])]
    } else {
        let bank = tenant(&registry, "bank", &[&LATENCY, &ORDERS]);
        [tenant(&registry, "evil", &[&SQUATTER, &FORGED]), bank]
    };
    record(&evil, &SQUATTER, 0, 9);
    record(&evil, &FORGED, 0, 1);
    // The first word of a histogram is its sum, the second its first bucket.
    record(&bank, &LATENCY, 1, 4);
    record(&bank, &ORDERS, 0, 7);
    (registry, [evil, bank])
}

/// Returns the lines of the families whose names begin with a text.
fn text(registry: &Registry, prefix: &str) -> String {
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    let is_of = |line: &&str| line.trim_start_matches("# TYPE ").trim_start_matches("# HELP ").starts_with(prefix);
    text.lines().filter(is_of).collect::<Vec<_>>().join("\n")
}

#[test]
fn squatted_name_hides_no_metric() {
    for is_first in [true, false] {
        let (registry, [evil, bank]) = squat(is_first);
        assert_eq!((evil.conflicts(), bank.conflicts()), (vec![], vec![]));
        let bank_labels = "component=\"bank\",tenant=\"bank\"";
        let expected = [
            "# HELP latency Call +1-900-SCAM.",
            "# TYPE latency gauge",
            "latency{component=\"evil\",tenant=\"evil\"} 9",
            "# HELP latency_bucket The latency.",
            "# TYPE latency_bucket untyped",
            &format!("latency_bucket{{{bank_labels},le=\"0.1\"}} 4"),
            &format!("latency_bucket{{{bank_labels},le=\"1.0\"}} 4"),
            &format!("latency_bucket{{{bank_labels},le=\"+Inf\"}} 4"),
            "# HELP latency_sum The latency.",
            "# TYPE latency_sum untyped",
            &format!("latency_sum{{{bank_labels}}} 0"),
            "# HELP latency_count The latency.",
            "# TYPE latency_count untyped",
            &format!("latency_count{{{bank_labels}}} 4"),
        ];
        assert_eq!(text(&registry, "latency"), expected.join("\n"), "first: {is_first}");
        assert_eq!(samples(&registry, 0, "wasmetry_dropped_total{signal=\"metrics\",reason=\"type"), [""; 0]);
        // Without the squatter, the histogram has its type again.
        evil.retire();
        drop(evil);
        registry.snapshot(Duration::ZERO);
        registry.snapshot(Duration::from_secs(301));
        assert!(text(&registry, "latency").starts_with("# HELP latency The latency.\n# TYPE latency histogram\n"));
    }
}

/// Each part of a family that is split is written once, wherever a chunk ends.
#[test]
fn chunks_of_split_families_are_whole() {
    for is_first in [true, false] {
        let (registry, _tenants) = squat(is_first);
        let snapshot = registry.snapshot(Duration::ZERO);
        for size in [1, 30, 100, 400] {
            assert_chunks(&snapshot, size);
        }
    }
}

#[test]
fn help_texts_stand_side_by_side() {
    let (registry, _components) = squat(true);
    let expected = [
        "# HELP orders_total Orders. (tenant bank); FORGED (tenant evil)",
        "# TYPE orders_total counter",
        "orders_total{component=\"bank\",tenant=\"bank\"} 7",
        "orders_total{component=\"evil\",tenant=\"evil\"} 1",
    ];
    assert_eq!(text(&registry, "orders_total"), expected.join("\n"));
    let third = tenant(&registry, "third", &[&ORDERS]);
    record(&third, &ORDERS, 0, 2);
    assert_eq!(text(&registry, "orders_total").lines().count(), 5, "the same text is shown once");
    // Elsewhere each tenant has its own.
    let snapshot = registry.snapshot(Duration::ZERO);
    let helps: Vec<_> =
        snapshot.families().filter(|family| family.name() == "orders_total").map(|family| family.help()).collect();
    assert_eq!(helps, ["Orders.", "FORGED"]);
}

// In OpenMetrics, the family of the counter `orders_total` is `orders`.
#[test]
fn gauge_hides_no_counter() {
    let registry = Registry::new();
    let evil = tenant(&registry, "evil", &[&ORDERS_GAUGE]);
    let bank = tenant(&registry, "bank", &[&ORDERS]);
    record(&evil, &ORDERS_GAUGE, 0, 9);
    record(&bank, &ORDERS, 0, 7);
    assert!(text(&registry, "orders_total").contains("# TYPE orders_total counter\norders_total{"));
    let openmetrics = encode::openmetrics::encode(&registry.snapshot(Duration::ZERO));
    let expected = concat!(
        "# TYPE orders gauge\n# HELP orders Not the orders.\norders{component=\"evil\",tenant=\"evil\"} 9\n",
        "# TYPE orders_total unknown\n# HELP orders_total Orders.\n",
        "orders_total{component=\"bank\",tenant=\"bank\"} 7\n",
    );
    assert!(openmetrics.contains(expected), "{openmetrics}");
}

#[test]
fn buckets_may_differ_between_tenants() {
    let registry = Registry::new();
    let (coarse, fine) = (tenant(&registry, "a", &[&COARSE]), tenant(&registry, "b", &[&LATENCY]));
    record(&coarse, &COARSE, 1, 3);
    record(&fine, &LATENCY, 1, 4);
    let text = text(&registry, "latency");
    assert_eq!(text.matches("# TYPE latency histogram").count(), 1, "{text}");
    for line in [
        "latency_bucket{component=\"a\",tenant=\"a\",le=\"5.0\"} 3",
        "latency_bucket{component=\"b\",tenant=\"b\",le=\"0.1\"} 4",
        "latency_count{component=\"a\",tenant=\"a\"} 3",
        "latency_count{component=\"b\",tenant=\"b\"} 4",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is not in {text}");
    }
    // The changes are compared with the tenant's own values.
    let earlier = registry.snapshot(Duration::ZERO);
    record(&fine, &LATENCY, 1, 2);
    let changes = registry.snapshot(Duration::ZERO).since(&earlier);
    let series: Vec<_> = changes.families().flat_map(|family| family.series()).collect();
    let [series] = &series[..] else { panic!("{changes:?}") };
    let Value::Histogram { counts, .. } = series.value() else { panic!("{series:?}") };
    assert_eq!(counts, [2, 0, 0]);
}

/// The series of a component in a family of the host.
const ROOM: usize = limits::SERIES_PER_COMPONENT_AND_HOST_FAMILY;

#[test]
fn host_family_has_room_by_component() {
    let registry = Registry::new();
    let keys = ["component", "version", "tenant", "status"];
    let requests = registry.counter("requests_total", "Requests.", &keys);
    let queue = registry.counter("queued_total", "Queued.", &["queue"]);
    for status in 0..ROOM + 100 {
        requests.with(&["evil", "1", "evil", &status.to_string()]).inc();
    }
    requests.with(&["evil", "2", "evil", "200"]).inc();
    requests.with(&["bank", "1", "bank", "500"]).add(3);
    queue.with(&["mail"]).inc();
    let count = |prefix: &str| samples(&registry, 0, prefix).len();
    assert_eq!(count("requests_total{component=\"evil\",version=\"1\",tenant=\"evil\",status"), ROOM + 1);
    let overflow = "requests_total{component=\"evil\",version=\"1\",tenant=\"evil\",status=\"overflow\"} 100";
    assert_eq!(count(overflow), 1);
    let dropped = |owner: &str| format!("wasmetry_dropped_total{{component=\"{owner}");
    let counted = "evil\",version=\"1\",tenant=\"evil\",signal=\"metrics\",reason=\"series_limit\"} 100";
    assert_eq!((count(&dropped(counted)), count(&dropped("bank"))), (1, 0));
    assert_eq!(count("requests_total{component=\"bank\",version=\"1\",tenant=\"bank\",status=\"500\"} 3"), 1);
    assert_eq!(count("requests_total{component=\"evil\",version=\"2\",tenant=\"evil\",status=\"200\"} 1"), 1);

    // With the series of a component that is removed, its room returns.
    let owner = registry.series_owner(&[("component", "evil"), ("version", "1"), ("tenant", "evil")]);
    owner.retire();
    drop(owner);
    samples(&registry, 0, "");
    assert_eq!(samples(&registry, 301, "requests_total{component=\"evil\",version=\"1\"").len(), 0);
    requests.with(&["evil", "1", "evil", "200"]).inc();
    let left = samples(&registry, 302, "requests_total");
    assert_eq!(left.len(), 3, "{left:?}");
}

/// Together they have more series than a tenant may have, and each its own.
#[test]
fn components_without_tenant_share_no_room() {
    const COMPONENTS: usize = limits::SERIES_PER_TENANT_AND_HOST_FAMILY / ROOM + 1;
    let registry = Registry::new();
    let requests = registry.counter("requests_total", "Requests.", &["component", "version", "tenant", "status"]);
    for component in 0..COMPONENTS {
        for status in 0..ROOM {
            requests.with(&[&component.to_string(), "", "", &status.to_string()]);
        }
    }
    requests.with(&["bank", "", "", "200"]).inc();
    assert_eq!(
        samples(&registry, 0, "requests_total{component=\"bank\""),
        ["requests_total{component=\"bank\",status=\"200\"} 1"]
    );
    assert_eq!(samples(&registry, 0, "wasmetry_dropped_total{component"), [""; 0]);
    requests.with(&["0", "", "", "x"]).inc();
    let overflow = samples(&registry, 0, "requests_total{component=\"0\",status=\"overflow\"");
    assert_eq!(overflow, ["requests_total{component=\"0\",status=\"overflow\"} 1"]);
}

// Every tenant but one is at its limits: names of others, series of its own metrics and of the
// host's. The one has exact numbers and no drop.
#[test]
fn hundred_tenants_leave_honest_exact() {
    const TENANTS: usize = 100;
    const OVER: usize = 50;
    let registry = Registry::new();
    let keys = ["component", "version", "tenant", "status"];
    let requests = registry.counter("requests_total", "Requests.", &keys);
    let spend = |name: &str| {
        let evil = tenant(&registry, name, &[&SQUATTER, &FORGED]);
        record(&evil, &SQUATTER, 0, 9);
        record(&evil, &FORGED, 0, 1);
        let mut recorder = evil.recorder();
        let descriptor = Descriptor { name: "calls_total", help: "Calls.", unit: "" };
        for call in 0..limits::SERIES_PER_METRIC + OVER {
            recorder.counter(&descriptor, &[("call", &call.to_string())]).unwrap().inc();
            requests.with(&[name, "", name, &call.to_string()]).inc();
        }
        for status in 0..OVER {
            requests.with(&[name, "", name, &format!("x{status}")]).inc();
        }
        (evil, recorder)
    };
    let names: Vec<String> = (0..TENANTS).map(|number| format!("evil{number}")).collect();
    let (before, after) = names.split_at(TENANTS / 2);
    let first: Vec<_> = before.iter().map(|name| spend(name)).collect();
    let bank = tenant(&registry, "bank", &[&LATENCY, &ORDERS]);
    let second: Vec<_> = after.iter().map(|name| spend(name)).collect();
    record(&bank, &LATENCY, 1, 4);
    record(&bank, &ORDERS, 0, 7);
    let mut recorder = bank.recorder();
    let calls = Descriptor { name: "calls_total", help: "Calls.", unit: "" };
    for call in ["a", "b", "c"] {
        recorder.counter(&calls, &[("call", call)]).unwrap().inc();
        requests.with(&["bank", "", "bank", call]).add(2);
    }
    assert_eq!(bank.conflicts(), []);

    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    let of_bank = |line: &&str| line.contains("tenant=\"bank\"") && !line.ends_with(" 0");
    let mut found: Vec<String> = text.lines().filter(of_bank).map(str::to_owned).collect();
    found.sort();
    let labels = "component=\"bank\",tenant=\"bank\"";
    let mut expected = vec![
        format!("latency_bucket{{{labels},le=\"+Inf\"}} 4"),
        format!("latency_bucket{{{labels},le=\"0.1\"}} 4"),
        format!("latency_bucket{{{labels},le=\"1.0\"}} 4"),
        format!("latency_count{{{labels}}} 4"),
        format!("orders_total{{{labels}}} 7"),
    ];
    for call in ["a", "b", "c"] {
        expected.push(format!("calls_total{{{labels},call=\"{call}\"}} 1"));
        expected.push(format!("requests_total{{{labels},status=\"{call}\"}} 2"));
    }
    expected.sort();
    assert_eq!(found, expected);
    // Each of the others lost what was over its limits, and is named.
    let over = limits::SERIES_PER_METRIC + 2 * OVER - ROOM;
    for name in &names {
        let line = format!(
            "wasmetry_dropped_total{{component=\"{name}\",tenant=\"{name}\",signal=\"metrics\",reason=\"series_limit\"}} {}",
            OVER + over
        );
        assert_eq!(text.lines().filter(|own| **own == line).count(), 1, "{line}");
    }
    drop((first, second));
}
