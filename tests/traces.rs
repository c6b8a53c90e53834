//! Traces of `wasmetry serve` in a collector.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "traces/handler.rs"]
mod handler;
#[path = "traces/propagation.rs"]
mod propagation;

use std::collections::BTreeSet;

use wasmetry_host::encode::otlp::proto::trace::v1::span::SpanKind;
use wasmetry_host::encode::otlp::proto::trace::v1::status::StatusCode;
use wasmetry_tests::backend::rotel::{Block, Rotel};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{Arrived, Attributes, Collector, PROTOCOLS, attributes, text, variables};
use wasmetry_tests::server::{Server, agent, get};

/// The caller's trace id.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The caller's span id.
const CALLER: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a received span that the tests compare.
#[derive(Clone, Debug)]
struct ReceivedSpan {
    service: String,
    name: String,
    kind: SpanKind,
    id: String,
    parent: String,
    attributes: Attributes,
    status: (StatusCode, String),
    times: (u64, u64),
}

/// Returns the spans of a trace, in the order of their start.
fn trace(arrived: &Arrived, trace: &str) -> Vec<ReceivedSpan> {
    let spans = arrived.spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
    let mut spans: Vec<ReceivedSpan> = spans
        .map(|(resource, span)| {
            let status = span.status.clone().unwrap_or_default();
            ReceivedSpan {
                service: resource["service.name"].clone(),
                name: span.name.clone(),
                kind: span.kind(),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                status: (status.code(), status.message),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
            }
        })
        .collect();
    spans.sort_by_key(|span| span.times);
    spans
}

/// Sends a request in the caller's trace.
fn call(url: &str, flags: &str, body: Option<&str>) -> u16 {
    let traceparent = format!("00-{TRACE}-{CALLER}-{flags}");
    let agent = agent();
    let response = match body {
        Some(body) => agent.post(url).header("traceparent", &traceparent).header("tracestate", "vendor=1").send(body),
        None => agent.get(url).header("traceparent", &traceparent).call(),
    };
    let mut response = response.unwrap();
    // A request fails if its client leaves before the end of the body.
    response.body_mut().read_to_string().unwrap();
    response.status().as_u16()
}

/// The spans of two services form one trace, over each transport.
#[test]
fn two_services_share_a_trace() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(protocol);
        let relay = guest("trace-relay");
        let second = Server::start_with(&relay, &["--name", "second"], &collector.variables());
        let first = Server::start_with(&relay, &["--name", "first"], &collector.variables());
        let body = serde_json::json!([{"url": format!("{}/", second.url), "arguments": []}]).to_string();
        assert_eq!(call(&format!("{}/", first.url), "01", Some(&body)), 200);

        let arrived = collector.wait(|arrived| trace(arrived, TRACE).len() == 6 && arrived.logs.len() == 1);
        let spans = trace(&arrived, TRACE);
        let shape: Vec<_> = spans.iter().map(|span| (span.service.as_str(), span.name.as_str(), span.kind)).collect();
        let expected = [
            ("first", "POST /", SpanKind::Server),
            ("first", "handle", SpanKind::Internal),
            ("first", "relay", SpanKind::Internal),
            ("first", "POST", SpanKind::Client),
            ("second", "POST /", SpanKind::Server),
            ("second", "handle", SpanKind::Internal),
        ];
        assert_eq!(shape, expected, "{protocol}");
        // Each span is the parent of the next one, and contains it in time, as far as their clocks
        // agree.
        assert_eq!(spans[0].parent, CALLER);
        for pair in spans.windows(2) {
            let [outer, inner] = pair else { unreachable!("windows of 2") };
            assert_eq!(inner.parent, outer.id, "{protocol}: {inner:?}");
            assert!(outer.times.0 <= inner.times.0, "{protocol}: {outer:?} {inner:?}");
            assert!(inner.times.0 <= inner.times.1, "{protocol}: {inner:?}");
            // The second server may end its span after the client has read the response.
            let is_remote = outer.service != inner.service;
            // A guest's clock lags behind the host's by the time that the host's answer took to
            // arrive, which has no bound on a busy machine.
            let has_later_clock = outer.kind == SpanKind::Internal && inner.kind == SpanKind::Client;
            assert!(is_remote || has_later_clock || inner.times.1 <= outer.times.1, "{protocol}: {outer:?} {inner:?}");
        }
        assert!(spans.iter().all(|span| span.status.0 == StatusCode::Unset), "{spans:?}");
        assert!(
            arrived.spans.iter().all(|(_, span)| span.trace_state == "vendor=1" || span.kind() == SpanKind::Internal)
        );
        let client = &spans[3].attributes;
        assert_eq!(client["http.response.status_code"], "200");
        assert_eq!(client["url.full"], format!("{}/", second.url));
        let server = &spans[4].attributes;
        assert_eq!((server["http.route"].as_str(), server["http.response.status_code"].as_str()), ("/", "200"));

        // The relay's own log is in the relay's span.
        let (resource, log) = arrived.logs.iter().find(|(of, _)| of["service.name"] == "first").unwrap();
        assert_eq!(text(log.body.as_ref()), format!("called {}/", second.url));
        assert_eq!((hex(&log.trace_id), hex(&log.span_id)), (TRACE.to_owned(), spans[2].id.clone()));
        assert!(!resource["service.version"].is_empty());
    }
}

/// Rotel receives the same trace over each transport.
#[test]
fn rotel_receives_the_same_trace() {
    let Some(rotel) = Rotel::start() else { return };
    for (number, protocol) in PROTOCOLS.into_iter().enumerate() {
        let addr = if protocol == "grpc" { rotel.grpc } else { rotel.http };
        let variables = variables(&format!("http://{addr}"), protocol);
        let relay = guest("trace-relay");
        let second = Server::start_with(&relay, &["--name", "second"], &variables);
        let first = Server::start_with(&relay, &["--name", "first"], &variables);
        // The second service refuses this body.
        let body = serde_json::json!([{"url": format!("{}/", second.url), "arguments": ["no call"]}]).to_string();
        assert_eq!(call(&format!("{}/", first.url), "01", Some(&body)), 200);

        // Rotel prints the ids, the name, the kind and the times of a span before its status.
        let spans = rotel.spans(6 * (number + 1), |span| span.contains_key("Status code"));
        let mut spans = spans[6 * number..].to_vec();
        spans.sort_by_key(|span| span["Start time"].parse::<u64>().unwrap());
        let shape: Vec<_> = spans
            .iter()
            .map(|span| ["resource.service.name", "Name", "Kind", "Status code"].map(|key| span[key].as_str()))
            .collect();
        let expected = [
            ["first", "POST /", "SPAN_KIND_SERVER", "STATUS_CODE_UNSET"],
            ["first", "handle", "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
            ["first", "relay", "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
            // A refused request is an error of the client.
            ["first", "POST", "SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"],
            ["second", "POST /", "SPAN_KIND_SERVER", "STATUS_CODE_UNSET"],
            ["second", "handle", "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
        ];
        assert_eq!(shape, expected, "{protocol}");
        assert!(spans.iter().all(|span| span["Trace ID"] == TRACE), "{protocol}: {spans:#?}");
        assert_eq!(spans[0]["Parent ID"], CALLER);
        let time = |span: &Block, key| span[key].parse::<u64>().unwrap();
        let is_inside = |inner: &Block, outer: &Block| {
            let [inner, outer] = [inner, outer].map(|span| (time(span, "Start time"), time(span, "End time")));
            outer.0 <= inner.0 && inner.0 <= inner.1 && inner.1 <= outer.1
        };
        for pair in spans.windows(2) {
            assert_eq!(pair[1]["Parent ID"], pair[0]["ID"], "{protocol}: {spans:#?}");
            // The second server may end its span after the client has read the response.
            let is_remote = pair[0]["resource.service.name"] != pair[1]["resource.service.name"];
            assert!(is_remote || is_inside(&pair[1], &pair[0]), "{protocol}: {pair:#?}");
        }
        assert!(spans.iter().all(|span| is_inside(span, span)), "{protocol}: {spans:#?}");
    }
}

/// Requests that trap or time out keep their trace and debug logs, even if the trace is not
/// sampled.
#[test]
fn failed_requests_keep_their_trace() {
    let collector = Collector::start("http/protobuf");
    let server = Server::start_with(&guest("storefront"), &["--request-timeout", "300ms"], &collector.variables());
    // The caller's trace is not sampled, but requests that fail are kept.
    for (path, status, reason, open) in [("/boom", 500, "panic", "light_fuse"), ("/spin", 504, "deadline", "spin")] {
        let before = collector.wait(|_| true).spans.len();
        assert_eq!(call(&format!("{}/cart", server.url), "00", None), 200);
        assert_eq!(call(&format!("{}{path}", server.url), "00", None), status);
        let arrived = collector.wait(|arrived| {
            arrived.spans.len() == before + 3
                && arrived.logs.iter().any(|(_, log)| text(log.body.as_ref()).ends_with(path))
        });
        let spans = trace(&Arrived { spans: arrived.spans[before..].to_vec(), ..Arrived::default() }, TRACE);
        assert_eq!(spans.len(), 3, "{spans:?}");
        assert_eq!(spans[0].attributes["url.path"], path, "the successful request was dropped");
        assert_eq!(spans[0].attributes["error.type"], reason);
        assert_eq!(spans[0].attributes["http.response.status_code"], status.to_string());
        assert_eq!(spans[2].name, open);
        for span in &spans {
            assert_eq!(span.status.0, StatusCode::Error, "{span:?}");
            assert!(span.status.1.contains(reason), "{span:?}");
        }
        let (_, debug) =
            arrived.logs.iter().find(|(_, log)| text(log.body.as_ref()) == format!("a request for {path}")).unwrap();
        assert_eq!(debug.severity_text, "DEBUG");
        assert_eq!((hex(&debug.trace_id), hex(&debug.span_id)), (TRACE.to_owned(), spans[1].id.clone()));
    }
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
}

/// A component without wasmetry has a server span.
#[test]
fn uninstrumented_component_has_server_span() {
    let collector = Collector::start("http/protobuf");
    let server = Server::start_with(&guest("uninstrumented"), &[], &collector.variables());
    let (status, _) = get(&agent(), &format!("{}/some/path?x=1", server.url));
    let arrived = collector.wait(|arrived| arrived.spans.len() == 1);
    let (_, span) = &arrived.spans[0];
    assert_eq!((span.name.as_str(), span.kind(), span.parent_span_id.len()), ("GET /", SpanKind::Server, 0));
    let attributes = attributes(&span.attributes);
    assert_eq!((attributes["url.path"].as_str(), attributes["url.query"].as_str()), ("/some/path", "x=1"));
    assert_eq!(attributes["http.response.status_code"], status.to_string());
    let text = server.scrape();
    assert!(text.contains("wasm_http_requests_total") && text.contains("wasm_http_request_duration_seconds_count"));
}

/// One flag sends all signals, whatever the endpoints of single signals are.
#[test]
fn otlp_flag_exports_all_signals() {
    let collector = Collector::start("http/protobuf");
    let variables = [
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:1/v1/logs"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ];
    let variables = variables.map(|(name, value)| (name, value.to_owned()));
    let server = Server::start_with(&guest("storefront"), &["--otlp", &collector.endpoint], &variables);
    assert_eq!(get(&agent(), &format!("{}/checkout?item=apple", server.url)).0, 200);
    collector.wait(|arrived| {
        let has_metric = arrived.metrics.iter().any(|(_, metric)| metric.name == "items_sold_total");
        !arrived.spans.is_empty() && !arrived.logs.is_empty() && has_metric
    });
}

/// Secrets in a request's query are redacted: those that the semantic conventions list, and those
/// of the flag. User information in the target of a request to a proxy is not exported.
#[test]
fn secrets_in_queries_are_redacted() {
    let collector = Collector::start("http/protobuf");
    let flags = ["--redact-query-parameter", "token", "--redact-query-parameter", "api key"];
    let server = Server::start_with(&guest("uninstrumented"), &flags, &collector.variables());
    let keys = [
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "Signature",
        "sig",
        "X-Goog-Signature",
        "X%2DGoog-Signature",
        "token",
        "api%20key",
    ];
    let query: Vec<_> = keys.iter().map(|key| format!("{key}=secret")).collect();
    let (_, _) = get(&agent(), &format!("{}/x?a=1&{}&b=2", server.url, query.join("&")));
    let host = server.url.strip_prefix("http://").unwrap();
    let request = format!("GET http://me:secret@{host}/y HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    server.raw(&request);
    let arrived = collector.wait(|arrived| arrived.spans.len() == 2);
    let shown: Vec<_> = keys.iter().map(|key| format!("{key}=REDACTED")).collect();
    let first = attributes(&arrived.spans[0].1.attributes);
    assert_eq!(first["url.query"], format!("a=1&{}&b=2", shown.join("&")));
    for (_, span) in &arrived.spans {
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
    let (_, stderr) = server.stop();
    assert!(!stderr.join("\n").contains("secret"), "{stderr:?}");
}

/// The last logs and spans are exported before the command exits.
#[test]
fn shutdown_flushes_records() {
    let collector = Collector::start("http/protobuf");
    let mut variables = collector.variables();
    // Only the shutdown exports earlier than this delay.
    variables.retain(|(name, _)| !name.ends_with("DELAY"));
    variables
        .extend([("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()), ("OTEL_BLRP_SCHEDULE_DELAY", "600000".to_owned())]);
    let server = Server::start_with(&guest("storefront"), &[], &variables);
    let agent = agent();
    for _ in 0..50 {
        assert_eq!(get(&agent, &format!("{}/checkout?item=pear", server.url)).0, 200);
    }
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let arrived = collector.wait(|_| true);
    // Each request has the server span, the handler's and the checkout's.
    assert_eq!((arrived.spans.len(), arrived.logs.len()), (150, 50));
    let traces: BTreeSet<String> = arrived.spans.iter().map(|(_, span)| hex(&span.trace_id)).collect();
    assert_eq!(traces.len(), 50);
    let of_logs: BTreeSet<String> = arrived.logs.iter().map(|(_, log)| hex(&log.trace_id)).collect();
    assert_eq!(of_logs, traces);
}
