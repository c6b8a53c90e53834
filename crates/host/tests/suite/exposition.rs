//! The output of the two text formats.

use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Identity, Registry, encode};

use crate::image::{Image, declarations, declare};

const ROUTE: [LabelSpec<'static>; 1] = [LabelSpec { key: "route", shape: LabelShape::values(&["/", "/\"q\"\\\n"]) }];
declare!(
    REQUESTS = Descriptor::new(Kind::CounterU64, "requests_total", "A \"request\" \\ is\ncounted.").with_labels(&ROUTE)
);
declare!(
    LATENCY = Descriptor::new(Kind::HistogramNanos, "latency_seconds", "Latency.")
        .with_unit("seconds")
        .with_bounds(&[0.005, 1.0])
);
declare!(DRIFT = Descriptor::new(Kind::HistogramF64, "drift", "Drift.").with_bounds(&[-1.0, 1.0]));

fn registry() -> Registry {
    let registry = Registry::new();
    let identity = Identity::new("shop").with_version("7").with_tenant("acme");
    let component = registry.component(identity, declarations(&[&REQUESTS, &LATENCY, &DRIFT]));
    let (mut image, [requests, latency, drift]) = Image::with(4, [&REQUESTS, &LATENCY, &DRIFT]);
    image.set(requests, 1, 12);
    image.set(latency, 0, 1_003_500_000);
    image.set(latency, 1, 2);
    image.set(latency, 2, 1);
    image.set_f64(drift, 0, -2.5);
    image.set(drift, 1, 1);
    image.set(drift, 3, 1);
    image.read_last(component.instance(), 0);

    let keys = [&Identity::KEYS[..], &["reason"]].concat();
    registry.counter("wasm_traps_total", "Traps.", &keys).with(&["shop", "7", "acme", "unreachable"]).inc();
    registry.gauge("wasm_instances", "", &["component"]).with(&["shop"]).add(-2);
    registry.gauge("wasm_linear_memory_bytes", "Memory.", &[]).with(&[]).set(16_777_216.0);
    let busy = registry.float_counter("wasm_guest_busy_seconds_total", "Busy.", &["component"]);
    busy.with(&["shop"]).add_nanos(1_250_000);
    let http = registry.histogram("wasm_http_request_duration_seconds", "Duration.", &["route"], &[0.1]);
    http.with(&["/b"]).observe_nanos(100_000_000);
    http.with(&["/a"]).observe(0.25);
    registry
}

const PROMETHEUS: &str = r##"# HELP drift Drift.
# TYPE drift histogram
drift_bucket{component="shop",version="7",tenant="acme",le="-1.0"} 1
drift_bucket{component="shop",version="7",tenant="acme",le="1.0"} 1
drift_bucket{component="shop",version="7",tenant="acme",le="+Inf"} 2
drift_sum{component="shop",version="7",tenant="acme"} -2.5
drift_count{component="shop",version="7",tenant="acme"} 2
# HELP latency_seconds Latency.
# TYPE latency_seconds histogram
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="0.005"} 2
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="1.0"} 3
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="+Inf"} 3
latency_seconds_sum{component="shop",version="7",tenant="acme"} 1.0035
latency_seconds_count{component="shop",version="7",tenant="acme"} 3
# HELP requests_total A "request" \\ is\ncounted.
# TYPE requests_total counter
requests_total{component="shop",version="7",tenant="acme",route="/"} 0
requests_total{component="shop",version="7",tenant="acme",route="/\"q\"\\\n"} 12
# HELP wasm_guest_busy_seconds_total Busy.
# TYPE wasm_guest_busy_seconds_total counter
wasm_guest_busy_seconds_total{component="shop"} 0.00125
# HELP wasm_http_request_duration_seconds Duration.
# TYPE wasm_http_request_duration_seconds histogram
wasm_http_request_duration_seconds_bucket{route="/a",le="0.1"} 0
wasm_http_request_duration_seconds_bucket{route="/a",le="+Inf"} 1
wasm_http_request_duration_seconds_sum{route="/a"} 0.25
wasm_http_request_duration_seconds_count{route="/a"} 1
wasm_http_request_duration_seconds_bucket{route="/b",le="0.1"} 1
wasm_http_request_duration_seconds_bucket{route="/b",le="+Inf"} 1
wasm_http_request_duration_seconds_sum{route="/b"} 0.1
wasm_http_request_duration_seconds_count{route="/b"} 1
# TYPE wasm_instances gauge
wasm_instances{component="shop"} -2
# HELP wasm_linear_memory_bytes Memory.
# TYPE wasm_linear_memory_bytes gauge
wasm_linear_memory_bytes 16777216
# HELP wasm_traps_total Traps.
# TYPE wasm_traps_total counter
wasm_traps_total{component="shop",version="7",tenant="acme",reason="unreachable"} 1
# HELP wasmetry_build_info The version of wasmetry that serves this.
# TYPE wasmetry_build_info gauge
wasmetry_build_info{version="VERSION"} 1
# HELP wasmetry_dropped_total Telemetry that was lost or redirected, and why.
# TYPE wasmetry_dropped_total counter
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="invalid_value"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_out_of_range"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_table_full"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_too_long"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="no_clock"} 0
"##;

const OPENMETRICS: &str = r##"# TYPE drift histogram
# HELP drift Drift.
drift_bucket{component="shop",version="7",tenant="acme",le="-1.0"} 1
drift_bucket{component="shop",version="7",tenant="acme",le="1.0"} 1
drift_bucket{component="shop",version="7",tenant="acme",le="+Inf"} 2
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
# HELP latency_seconds Latency.
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="0.005"} 2
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="1.0"} 3
latency_seconds_bucket{component="shop",version="7",tenant="acme",le="+Inf"} 3
latency_seconds_sum{component="shop",version="7",tenant="acme"} 1.0035
latency_seconds_count{component="shop",version="7",tenant="acme"} 3
# TYPE requests counter
# HELP requests A \"request\" \\ is\ncounted.
requests_total{component="shop",version="7",tenant="acme",route="/"} 0
requests_total{component="shop",version="7",tenant="acme",route="/\"q\"\\\n"} 12
# TYPE wasm_guest_busy_seconds counter
# UNIT wasm_guest_busy_seconds seconds
# HELP wasm_guest_busy_seconds Busy.
wasm_guest_busy_seconds_total{component="shop"} 0.00125
# TYPE wasm_http_request_duration_seconds histogram
# UNIT wasm_http_request_duration_seconds seconds
# HELP wasm_http_request_duration_seconds Duration.
wasm_http_request_duration_seconds_bucket{route="/a",le="0.1"} 0
wasm_http_request_duration_seconds_bucket{route="/a",le="+Inf"} 1
wasm_http_request_duration_seconds_sum{route="/a"} 0.25
wasm_http_request_duration_seconds_count{route="/a"} 1
wasm_http_request_duration_seconds_bucket{route="/b",le="0.1"} 1
wasm_http_request_duration_seconds_bucket{route="/b",le="+Inf"} 1
wasm_http_request_duration_seconds_sum{route="/b"} 0.1
wasm_http_request_duration_seconds_count{route="/b"} 1
# TYPE wasm_instances gauge
wasm_instances{component="shop"} -2
# TYPE wasm_linear_memory_bytes gauge
# UNIT wasm_linear_memory_bytes bytes
# HELP wasm_linear_memory_bytes Memory.
wasm_linear_memory_bytes 16777216
# TYPE wasm_traps counter
# HELP wasm_traps Traps.
wasm_traps_total{component="shop",version="7",tenant="acme",reason="unreachable"} 1
# TYPE wasmetry_build_info gauge
# HELP wasmetry_build_info The version of wasmetry that serves this.
wasmetry_build_info{version="VERSION"} 1
# TYPE wasmetry_dropped counter
# HELP wasmetry_dropped Telemetry that was lost or redirected, and why.
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="invalid_value"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_out_of_range"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_table_full"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="label_too_long"} 0
wasmetry_dropped_total{component="shop",version="7",tenant="acme",signal="metrics",reason="no_clock"} 0
# EOF
"##;

fn compare(found: &str, expected: &str) {
    let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

#[test]
fn prometheus() {
    compare(&encode::prometheus::encode(&registry().snapshot(Duration::ZERO)), PROMETHEUS);
}

#[test]
fn openmetrics() {
    compare(&encode::openmetrics::encode(&registry().snapshot(Duration::ZERO)), OPENMETRICS);
}

#[test]
fn host_family_is_bounded() {
    let registry = Registry::new();
    let family = registry.counter("jobs_total", "Jobs.", &["queue", "kind"]);
    for index in 0..wasmetry_host::limits::SERIES_PER_HOST_FAMILY + 5 {
        family.with(&[&index.to_string(), "x"]).inc();
    }
    family.with(&["0", "x", "one too many"]).inc();
    family.with(&["0"]).inc();
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    assert!(text.contains("jobs_total{queue=\"0\",kind=\"x\"} 2\n"));
    assert!(text.contains("jobs_total{queue=\"overflow\",kind=\"overflow\"} 6\n"));

    // The same name returns the same family. Families that are not exported still record.
    registry.counter("jobs_total", "Jobs.", &["queue", "kind"]).with(&["1", "x"]).inc();
    let detached = registry.float_counter("jobs_total", "Jobs.", &[]).with(&[]);
    detached.add(1.0);
    for name in ["", "9", "a b_total", "_total"] {
        registry.counter(name, "", &[]).with(&[]).inc();
    }
    registry.counter("twice_total", "", &["a", "a"]).with(&["1", "2"]).inc();
    registry.histogram("falling", "", &[], &[2.0, 1.0]).with(&[]).observe(f64::NAN);
    let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
    assert!(text.contains("jobs_total{queue=\"1\",kind=\"x\"} 2\n"));
    assert!(text.contains("reason=\"type_conflict\"} 1\n"));
    assert!(text.contains("reason=\"invalid_declaration\"} 6\n"));
}
