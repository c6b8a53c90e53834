//! Tests of the reports of `wasmetry inspect`.

use super::*;
use wasmetry_abi::route::Route;
use wasmetry_abi::site::{Site, SiteKind, SpanKind};
use wasmetry_abi::{Descriptor, LabelShape, LabelSpec, Level};

const REQUESTS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "http_requests_total", "HTTP requests.")
    .with_labels(&[
        LabelSpec { key: "method", shape: LabelShape::values(&["get", "post"]) },
        LabelSpec { key: "shop", shape: LabelShape::Text { capacity: 16, max_len: 32 } },
    ]);
const LATENCY: Descriptor<'static> =
    Descriptor::new(Kind::HistogramNanos, "http_request_duration_seconds", "Time to serve a request.")
        .with_unit("seconds")
        .with_bounds(&[0.005, 0.1, 1.0]);
const CARTS: Descriptor<'static> =
    Descriptor::new(Kind::GaugeI64, "carts", "Open\u{1b}[31m carts.").with_merge(Merge::Max).with_observed(true);
static REQUESTS_RECORD: [u8; REQUESTS.record_len()] = REQUESTS.encode();
static LATENCY_RECORD: [u8; LATENCY.record_len()] = LATENCY.encode();
static CARTS_RECORD: [u8; CARTS.record_len()] = CARTS.encode();
const LOADED: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop::cart", "{} loaded")
    .with_source("src/cart.rs", 12)
    .with_arguments(1, &["user", "ok"]);
const LOAD: Site<'static> = Site::new(SiteKind::Span(SpanKind::Client), Level::Debug, "shop", "load \u{1b}")
    .with_source("src/cart.rs", 7)
    .with_arguments(0, &["user"]);
const USER: Route<'static> = Route::new("/users/{id}");
static USER_RECORD: [u8; USER.record_len()] = USER.encode();
static LOADED_RECORD: [u8; LOADED.record_len()] = LOADED.encode();
static LOAD_RECORD: [u8; LOAD.record_len()] = LOAD.encode();

fn declarations() -> Declarations {
    let sections = [&REQUESTS_RECORD[..], &LATENCY_RECORD, &CARTS_RECORD, &LOADED_RECORD, &LOAD_RECORD, &USER_RECORD];
    Declarations::from_sections(sections)
}

#[test]
fn json() {
    let declarations = declarations();
    let json = serde_json::to_value(Report::new(&declarations, Vec::new())).unwrap();
    let expected = serde_json::json!([
        {
            "name": "carts", "type": "gauge", "help": "Open\u{1b}[31m carts.", "unit": "", "labels": [],
            "const_labels": {}, "buckets": [], "merge": "max", "observed": true,
            "max_series": 1,
        },
        {
            "name": "http_request_duration_seconds", "type": "histogram", "help": "Time to serve a request.",
            "unit": "seconds", "labels": [], "const_labels": {}, "buckets": [0.005, 0.1, 1.0],
            "observed": false, "max_series": 1,
        },
        {
            "name": "http_requests_total", "type": "counter", "help": "HTTP requests.", "unit": "",
            "labels": [
                { "key": "method", "values": ["get", "post"] },
                { "key": "shop", "max_values": 16, "max_length": 32 },
            ],
            "const_labels": {}, "buckets": [], "observed": false, "max_series": 34,
        },
    ]);
    assert_eq!(json["metrics"], expected);
    let logs = serde_json::json!([{
        "level": "info", "target": "shop::cart", "message": "{} loaded", "fields": ["user", "ok"], "audit": false,
        "file": "src/cart.rs", "line": 12,
    }]);
    let spans = serde_json::json!([{
        "name": "load \u{1b}", "kind": "client", "level": "debug", "target": "shop", "fields": ["user"],
        "file": "src/cart.rs", "line": 7,
    }]);
    assert_eq!((&json["logs"], &json["spans"]), (&logs, &spans));
    assert_eq!(json["routes"], serde_json::json!(["/users/{id}"]));
    assert_eq!(json["problems"], serde_json::json!([]));
}

#[test]
fn table() {
    let binary = Binary { path: "shop.wasm".into(), bytes: Vec::new(), kind: BinaryKind::Component };
    let declarations = declarations();
    let expected = "\
shop.wasm: component, 3 metrics, 1 log, 1 span, 1 route

NAME                           TYPE                   UNIT     SERIES  LABELS
carts                          gauge (max, observed)           1
    Open\\u{1b}[31m carts.
    merge: the greatest value, kept for five minutes after its instance has ended
http_request_duration_seconds  histogram              seconds  1
    Time to serve a request.
    buckets: 0.005 0.1 1
http_requests_total            counter                         34      method={get,post} shop={at most 16}
    HTTP requests.

LOG   TARGET      PLACE           MESSAGE
info  shop::cart  src/cart.rs:12  \"{} loaded\" user= ok=

SPAN          TARGET  PLACE          NAME
debug client  shop    src/cart.rs:7  \"load \\u{1b}\" user=

ROUTE
/users/{id}
";
    assert_eq!(Report::new(&declarations, Vec::new()).table(&binary), expected);
}

#[test]
fn removed_section_is_problem() {
    let wasm =
        wat::parse_str("(module (import \"wasmetry:telemetry/region@0.1.0\" \"open\" (func (param i32))))").unwrap();
    let declarations = Declarations::from_wasm(&wasm).unwrap();
    let report = Report::new(&declarations, Vec::new());
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].reason.contains("removed its custom sections"));
}

#[test]
fn handle_api_is_no_problem() {
    let wat = "(component (import \"wasmetry:telemetry/logs@0.1.0\" (instance)))";
    let binary = Binary { path: "shop.wasm".into(), bytes: wat::parse_str(wat).unwrap(), kind: BinaryKind::Component };
    let declarations = Declarations::from_wasm(&binary.bytes).unwrap();
    let report = Report::new(&declarations, Vec::new());
    assert!(report.problems.is_empty());
    assert_eq!(serde_json::to_value(&report).unwrap()["typed_imports"], true);
    assert_eq!(report.table(&binary), format!("shop.wasm: component, 0 metrics\n{HANDLE_API}"));
}

#[test]
fn binary_without_wasmetry_is_fine() {
    let declarations = Declarations::from_wasm(&wat::parse_str("(component)").unwrap()).unwrap();
    assert!(Report::new(&declarations, Vec::new()).problems.is_empty());
}
