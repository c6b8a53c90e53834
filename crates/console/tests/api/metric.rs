//! The overview, metrics and series.

use std::time::SystemTime;

use serde_json::Value;

use crate::fixture::assert_has_members;
use crate::planted::{Planted, nanos, shop};

#[test]
fn overview_begins_with_problems() {
    let shop = shop();
    let overview = shop.get("/api/v1/overview");
    assert_has_members(&overview, "overview.json");
    let component = &overview["components"][0];
    assert_eq!(component["state"], "failing");
    assert_eq!(component["requests"]["total"], 8);
    // The host is 20 s old, not 5 minutes.
    assert!((component["rate"].as_f64().unwrap() - 8.0 / 20.0).abs() < 0.01, "{}", component["rate"]);
    assert_eq!(component["error_ratio"], 0.25);
    assert_eq!(component["instances"], 2);
    assert_eq!(component["traps"][0]["count"], 2.0);
    let routes = component["routes"].as_array().unwrap();
    assert_eq!([&routes[0]["route"], &routes[1]["route"]], ["/cart", "/"]);
    assert_eq!((&routes[1]["state"], &routes[1]["p99"]), (&Value::from("idle"), &Value::Null));
    let rates = component["sparklines"]["rate"].as_array().unwrap();
    assert_eq!(&rates[rates.len() - 4..], [0.4, 0.4, 0.4, 0.4]);
    assert!(shop.get("/api/v1/overview?tenant=other")["components"].as_array().unwrap().is_empty());
    let of_route = shop.get("/api/v1/overview?route=/");
    assert_eq!(of_route["components"][0]["requests"]["total"], 0);
}

/// An answer has the worst 100 routes of a component, of 1,000 with a place of their own; the
/// others are counted, and are in the figures of the component.
#[test]
fn routes_left_out_are_counted() {
    let mut shop = Planted::new();
    let keys = ["component", "version", "tenant", "route", "method", "status"];
    let requests = shop.registry.counter("wasm_http_requests_total", "Requests.", &keys);
    let instances = shop.registry.gauge("wasm_instances", "Instances.", &keys[..3]);
    for component in ["shop", "warehouse"] {
        instances.with(&[component, "1", ""]).set(1.0);
        for route in 0..1500 {
            let status = if component == "shop" && route == 1499 { "500" } else { "200" };
            requests.with(&[component, "1", "", &format!("/{route}"), "GET", status]);
        }
    }
    shop.store();
    for component in ["shop", "warehouse"] {
        for route in 0..1500 {
            let status = if component == "shop" && route == 1499 { "500" } else { "200" };
            requests.with(&[component, "1", "", &format!("/{route}"), "GET", status]).add(2);
        }
    }
    shop.store();
    let overview = shop.get("/api/v1/overview");
    for component in overview["components"].as_array().unwrap() {
        let routes = component["routes"].as_array().unwrap();
        assert_eq!(routes.len() as u64 + component["routes_left_out"].as_u64().unwrap(), 1500);
        assert_eq!((routes.len(), &component["requests"]["total"]), (100, &Value::from(3000)));
        assert!((component["rate"].as_f64().unwrap() - 3000.0 / 5.0).abs() < 15.0, "{}", component["rate"]);
    }
    assert_eq!(overview["components"][0]["routes"][0]["route"], "/1499");
    // A page of one component has the groups for itself.
    let page = shop.get("/api/v1/overview?component=warehouse");
    assert_eq!(page["components"][0]["routes_left_out"], 1400);
}

/// A component that was deployed 15 s ago, and a route of an old one that is 10 s old, in a host of
/// two minutes: rates are over their own time, in the overview and in the points of series.
#[test]
fn rates_are_over_existing_time() {
    let mut shop = Planted::new();
    let keys = ["component", "version", "tenant", "route", "method", "status"];
    let requests = shop.registry.counter("wasm_http_requests_total", "Requests.", &keys);
    let instances = shop.registry.gauge("wasm_instances", "Instances.", &keys[..3]);
    let count = |component: &str, route: &str| requests.with(&[component, "1", "", route, "GET", "500"]);
    instances.with(&["old", "1", ""]).set(1.0);
    let old = count("old", "/");
    shop.store();
    for step in 1..=24 {
        old.add(10);
        if step > 21 {
            instances.with(&["young", "1", ""]).set(1.0);
            count("young", "/").add(10);
        }
        if step > 22 {
            count("old", "/late").add(10);
        }
        shop.store();
    }
    let overview = shop.get("/api/v1/overview?range=900");
    let find = |list: &Value, key: &str, name: &str| {
        list.as_array().unwrap().iter().find(|entry| entry[key] == name).unwrap().clone()
    };
    let assert_near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < expected / 100.0, "{value}, not {expected}");
    };
    let (old, young) =
        (find(&overview["components"], "component", "old"), find(&overview["components"], "component", "young"));
    for (entry, seconds, count) in [
        (&young, 15.0, 30.0),
        (&find(&young["routes"], "route", "/"), 15.0, 30.0),
        (&old, 120.0, 260.0),
        (&find(&old["routes"], "route", "/"), 120.0, 240.0),
        (&find(&old["routes"], "route", "/late"), 10.0, 20.0),
    ] {
        assert_near(&entry["seconds"], seconds);
        assert_near(&entry["rate"], count / seconds);
        assert_near(&entry["error_rate"], count / seconds);
        let spark = &entry["sparklines"];
        let points: Vec<f64> = spark["rate"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert!(points.len() as f64 <= seconds / spark["step_seconds"].as_f64().unwrap() + 2.0, "{points:?}");
    }
    let series = shop.get("/api/v1/series?metric=wasm_http_requests_total&by=component&range=300");
    for group in series["groups"].as_array().unwrap() {
        let points: Vec<f64> = group["points"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let (seconds, of) = if group["labels"]["component"] == "old" { (125, &old) } else { (15, &young) };
        assert_eq!(points.len(), seconds / 5, "{points:?}");
        // The first snapshot of a host has no time before it.
        assert_near(&of["rate"], points.iter().sum::<f64>() * 5.0 / (seconds / 15 * 15) as f64);
    }
}

#[test]
fn metrics_and_series_have_values() {
    let shop = shop();
    let metrics = shop.get("/api/v1/metrics");
    assert_has_members(&metrics, "metrics.json");
    let first = shop.get("/api/v1/metrics?limit=2");
    let next = first["next"].as_str().unwrap();
    let second = shop.get(&format!("/api/v1/metrics?limit=500&cursor={next}"));
    let names = |page: &Value| -> Vec<String> {
        page["metrics"].as_array().unwrap().iter().map(|metric| metric["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!([names(&first), names(&second)].concat(), names(&metrics));
    let series = shop.get("/api/v1/series?metric=wasm_http_requests_total&by=status&route=/cart");
    assert_has_members(&series, "series-counter.json");
    let of = |status: &str| {
        let groups = series["groups"].as_array().unwrap();
        groups.iter().find(|group| group["labels"]["status"] == status).unwrap()
    };
    assert_eq!((&of("200")["last"], &of("500")["last"]), (&Value::from(6), &Value::from(2)));
    let points = of("500")["points"].as_array().unwrap();
    assert_eq!(&points[points.len() - 4..], [0.2, 0.2, 0.0, 0.0]);
    assert!(points[0].is_null());
    let histogram = shop.get("/api/v1/series?metric=wasm_http_request_duration_seconds");
    assert_has_members(&histogram, "series-histogram.json");
    let buckets = histogram["histogram"]["buckets"].as_array().unwrap();
    assert_eq!(buckets.last().unwrap(), &serde_json::json!([1, 0, 0, 1]));
    assert_eq!(histogram["groups"][0]["last"], 8);
    // The points of the plot are the requests that are kept.
    assert_eq!(histogram["histogram"]["exemplars"].as_array().unwrap().len(), 8);
    let one = shop.get("/api/v1/series?metric=wasm_http_requests_total&by=status&limit=1");
    assert_eq!(one["others"]["groups"], 1);
    let gauge = shop.get("/api/v1/series?metric=wasm_linear_memory_bytes&component=storefront&label.version=1");
    assert_eq!((&gauge["values"], &gauge["groups"][0]["last"]), (&Value::from("value"), &Value::from(131_072)));
}

/// The points of a plot are spread over its range: many later requests displace no slow one.
#[test]
fn exemplars_cover_whole_range() {
    let shop = shop();
    let now = nanos(SystemTime::now());
    let minutes = |minutes: u64| minutes * 60_000_000_000;
    shop.request_at(now - minutes(10), 7 << 64, "/cart", 200, 3_000_000_000);
    for number in 0..1000 {
        shop.request_at(now - minutes(1) + number, 8 << 64 | u128::from(number), "/cart", 500, 4_000_000_000);
    }
    let series = shop.get("/api/v1/series?metric=wasm_http_request_duration_seconds&range=900");
    let exemplars = series["histogram"]["exemplars"].as_array().unwrap();
    let traces: Vec<&str> = exemplars.iter().map(|exemplar| exemplar["trace_id"].as_str().unwrap()).collect();
    // The slowest of its slice comes before the second of the slice of the others.
    let at = traces.iter().position(|trace| *trace == format!("{:032x}", 7u128 << 64)).unwrap();
    assert!(at < 3, "{exemplars:?}");
    assert!(exemplars.len() < 500, "{}", exemplars.len());
    let short = shop.get("/api/v1/series?metric=wasm_http_request_duration_seconds&range=300");
    assert!(!short["histogram"]["exemplars"].to_string().contains(&format!("{:032x}", 7u128 << 64)));
}
