//! The refusals of the server, without which its acceptance would mean nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use serde_json::{Value, json};
use wasmetry_sink::{LOKI, Reply, Sink};

/// Posts a body, and returns the response's status and text.
fn post(url: &str, content_type: &str, body: &[u8]) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.post(url).header("content-type", content_type).send(body).unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

/// Replaces the member of a JSON value at a path; null removes it.
fn with(value: &Value, path: &str, change: &Value) -> Value {
    let mut value = value.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    match (value.pointer_mut(parent).unwrap(), key.parse::<usize>()) {
        (Value::Array(array), Ok(at)) if *change == Value::Null => _ = array.remove(at),
        (Value::Array(array), Ok(at)) => array[at] = change.clone(),
        (Value::Object(object), _) if *change == Value::Null => _ = object.remove(key).unwrap(),
        (Value::Object(object), _) => _ = object.insert(key.to_owned(), change.clone()),
        (other, _) => panic!("{path} in {other}"),
    }
    value
}

/// Sends a valid body, and then the body with each change that makes it invalid.
fn check_refusals(path: &str, accepted: u16, valid: &Value, invalid: &[(&str, Value, &str)]) {
    let sink = Sink::start(|_| Reply::Accept);
    let url = sink.url(path);
    let (status, response) = post(&url, "application/json", valid.to_string().as_bytes());
    assert_eq!(status, accepted, "{response}");
    for (at, change, cause) in invalid {
        let body = with(valid, at, change);
        let (status, response) = post(&url, "application/json", body.to_string().as_bytes());
        assert_eq!(status, 400, "{body}");
        assert!(response.contains(cause), "{at}: {response}");
    }
    for (content_type, body) in [
        ("application/json", &b"{"[..]),
        ("application/json", b"[]"),
        ("application/x-protobuf", b"{}"),
        ("text/plain", valid.to_string().as_bytes()),
    ] {
        let (status, response) = post(&url, content_type, body);
        assert_eq!(status, 400, "{content_type}: {response}");
    }
    sink.with(|state| assert_eq!((state.records(), state.broken.len()), (1, invalid.len() + 4)));
}

#[test]
fn invalid_loki_pushes_are_refused() {
    let valid = json!({"streams": [{
        "stream": {"service_name": "shop", "level": "info"},
        "values": [["1700000000000000000", "cart loaded", {"items": "3"}]]
    }]});
    let two = |second: &str| json!([["1700000000000000001", "a", {}], [second, "b", {}]]);
    check_refusals(
        LOKI,
        204,
        &valid,
        &[
            ("/streams/0/stream/user", json!("4711"), "label user"),
            ("/streams/0/stream/level", json!("fatal"), "level"),
            ("/streams/0/stream/level", json!(3), "level is no text"),
            ("/streams/0/stream/service_name", Value::Null, "no service_name"),
            ("/streams/0/stream/tenant", json!(""), "label tenant"),
            ("/streams/0/values", json!([]), "without entries"),
            ("/streams/0/values", two("1700000000000000001"), "after"),
            ("/streams/0/values", two("1700000000000000000"), "after"),
            ("/streams/0/values/0/0", json!(1_700_000_000_000_000_000_u64), "is no text"),
            ("/streams/0/values/0/0", json!("1700000000"), "time 1700000000"),
            ("/streams/0/values/0/1", json!(7), "is no text"),
            ("/streams/0/values/0/2", json!({"a.b": "c"}), "metadata a.b"),
            ("/streams/0/values/0/2", json!({"items": 3}), "items is no text"),
            ("/streams/0/values/0/2", json!({"level": "info"}), "metadata level twice"),
            ("/streams/0/values/0/2", Value::Null, "entry"),
            ("/more", json!(1), "not only streams"),
        ],
    );
}

#[test]
fn invalid_logs_are_refused() {
    let valid = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeLogs": [{"scope": {"name": "shop::cart"}, "logRecords": [{
            "timeUnixNano": "1700000000000000000", "observedTimeUnixNano": "1700000000000000000",
            "severityNumber": 9, "severityText": "INFO", "body": {"stringValue": "cart loaded"},
            "attributes": [{"key": "items", "value": {"intValue": "3"}}]
        }]}]
    }]});
    let record = |key: &str| format!("/resourceLogs/0/scopeLogs/0/logRecords/0/{key}");
    let twice = json!([{"key": "a", "value": {"boolValue": true}}, {"key": "a", "value": {"boolValue": true}}]);
    check_refusals(
        "/v1/logs",
        200,
        &valid,
        &[
            ("/resourceLogs/0/resource/attributes", json!([]), "no service.name"),
            ("/resourceLogs/0/scopeLogs/0/logRecords", json!([]), "a scope without records"),
            (&record("timeUnixNano"), json!(1_700_000_000_000_000_000_u64), "timeUnixNano"),
            (&record("severityNumber"), json!(25), "severity 25"),
            (&record("body"), Value::Null, "no body"),
            (&record("traceId"), json!("00"), "traceId"),
            (&record("spanId"), json!("0102030405060708"), "half a context"),
            (&record("attributes/0/value"), json!({}), "without a value"),
            (&record("attributes/0/value/intValue"), json!(3), "intValue"),
            (&record("attributes"), twice, "the key a twice"),
        ],
    );
}

#[test]
fn invalid_spans_are_refused() {
    let valid = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": ""}, "spans": [{
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "load cart", "kind": 1,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001"
        }]}]
    }]});
    let span = |key: &str| format!("/resourceSpans/0/scopeSpans/0/spans/0/{key}");
    check_refusals(
        "/v1/traces",
        200,
        &valid,
        &[
            (&span("traceId"), json!("00000000000000000000000000000000"), "trace id"),
            (&span("spanId"), json!(""), "span id"),
            (&span("name"), json!(""), "no name"),
            (&span("kind"), json!(0), "kind 0"),
            (&span("endTime"), json!("1700000000000000001"), "the key endTime is unknown"),
            (&span("kind"), json!("SPAN_KIND_SERVER"), "kind"),
            (&span("endTimeUnixNano"), json!("1699999999999999999"), "ends before"),
            (&span("status"), json!({"code": 1, "message": "why"}), "without an error"),
            (&span("flags"), json!(0x200), "remote"),
            (&span("links"), json!([{"traceId": "", "spanId": ""}]), "link"),
        ],
    );
}

#[test]
fn invalid_metrics_are_refused() {
    let point = json!({"startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3"});
    let valid = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeMetrics": [{"scope": {"name": ""}, "metrics": [{
            "name": "jobs_total", "unit": "s",
            "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point]}
        }]}]
    }]});
    let scope = &valid["resourceMetrics"][0]["scopeMetrics"][0];
    let metric = |key: &str| format!("/resourceMetrics/0/scopeMetrics/0/metrics/0/{key}");
    let histogram = |count: &str, counts: Value, bounds: Value| {
        let point = json!({"startTimeUnixNano": "1", "timeUnixNano": "2", "count": count, "bucketCounts": counts,
            "explicitBounds": bounds});
        json!({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}})
    };
    let metrics = "/resourceMetrics/0/scopeMetrics/0/metrics/0";
    check_refusals(
        "/v1/metrics",
        200,
        &valid,
        &[
            (&metric("name"), json!("9"), "a bad name"),
            (&metric("sum"), Value::Null, "no data"),
            (&metric("sum/aggregationTemporality"), json!(0), "temporality 0"),
            (&metric("sum/dataPoints"), json!([]), "no points"),
            (&metric("sum/dataPoints"), json!([point, point]), "one series twice"),
            (&metric("sum/dataPoints/0/asInt"), json!("-1"), "a counter of"),
            (&metric("sum/dataPoints/0/asInt"), json!(3), "asInt"),
            (&metric("sum/dataPoints/0/timeUnixNano"), json!("0"), "from 1 to 0"),
            (&metric("sum/dataPoints/0/startTimeUnixNano"), json!("0"), "no start time"),
            (&metric("unit"), json!("seconds"), "the unit seconds and not s"),
            (&metric("name"), json!("read_bytes_total"), "and not By"),
            ("/resourceMetrics/0/scopeMetrics", json!([scope, scope]), "jobs_total twice"),
            (metrics, histogram("3", json!(["1", "1"]), json!([0.5])), "3 in buckets"),
            (metrics, histogram("2", json!(["1", "1"]), json!([])), "2 buckets for 0 bounds"),
            (metrics, histogram("3", json!(["1", "1", "1"]), json!([2.0, 1.0])), "bounds"),
            (
                metrics,
                json!({"name": "e", "exponentialHistogram": {
                    "aggregationTemporality": 2,
                    "dataPoints": [{"startTimeUnixNano": "1", "timeUnixNano": "2", "count": "2", "scale": 3, "zeroCount": "0",
                        "zeroThreshold": 0.0, "positive": {"offset": 0, "bucketCounts": ["1"]}}]
                }}),
                "2 of which 1 are in buckets",
            ),
        ],
    );
}

/// A point that contradicts an accepted point of its series is refused.
#[test]
fn contradicting_metrics_are_refused() {
    let request = |temporality: u64, start: u64, time: u64, value: u64| {
        let attribute = |key, value| json!({"key": key, "value": {"stringValue": value}});
        let point = json!({"startTimeUnixNano": start.to_string(), "timeUnixNano": time.to_string(), "asInt": value.to_string()});
        json!({"resourceMetrics": [{
            "resource": {"attributes": [attribute("service.name", "shop"), attribute("service.instance.id", "1")]},
            "scopeMetrics": [{"scope": {"name": ""}, "metrics": [{
                "name": "jobs_total",
                "sum": {"aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point]}
            }]}]
        }]})
    };
    // Start time, time, value, and the broken rule.
    type Course<'a> = &'a [(u64, u64, u64, Option<&'a str>)];
    let totals: Course<'_> = &[
        (1, 2, 5, None),
        (1, 3, 5, None),
        (1, 3, 6, Some("no later than before")),
        (1, 4, 4, Some("fallen")),
        (2, 4, 4, Some("without a reset")),
        (3, 4, 4, None),
    ];
    let deltas: Course<'_> =
        &[(1, 3, 5, None), (2, 4, 5, Some("overlapping deltas")), (3, 4, 1, None), (6, 7, 1, None)];
    for (temporality, readings) in [(2, totals), (1, deltas)] {
        let sink = Sink::start(|_| Reply::Accept);
        let post = |body: &Value| post(&sink.url("/v1/metrics"), "application/json", body.to_string().as_bytes());
        for (start, time, value, broken) in readings {
            let (status, response) = post(&request(temporality, *start, *time, *value));
            assert_eq!(status, if broken.is_some() { 400 } else { 200 }, "{response}");
            assert!(response.contains(broken.unwrap_or_default()), "{response}");
        }
        let (status, response) = post(&request(3 - temporality, 100, 101, 1));
        assert!(status == 400 && response.contains("another temporality"), "{response}");
    }
}
