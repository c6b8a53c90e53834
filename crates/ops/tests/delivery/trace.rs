//! The Collector of traces: its configuration, and a run to Jaeger, by OTLP and in Zipkin's format,
//! and to Prometheus' exposition.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use wasmetry_ops::{Kind, Service};

use super::app::every_alert;
use super::line::{TIME, TRACE};
use super::program::{Daemon, built, free_addresses, http, passes};
use super::write;

fn with_zipkin(url: &str, span_metrics: bool) -> Service {
    let mut service = every_alert();
    let traces = &mut service.settings.traces;
    traces.zipkin_url = url.to_owned();
    traces.span_metrics = span_metrics;
    service
}

const ZIPKIN: &str = "http://zipkin:9411/api/v2/spans";

/// The Collector accepts the files alone and together, with each choice.
#[test]
fn collector_validates_traces() {
    let Some(collector) = built("collector", "collector") else { return };
    let mut other = every_alert();
    let traces = &mut other.settings.traces;
    (traces.listen, traces.jaeger, traces.jaeger_tls) = ("::".into(), "[::1]:4317".into(), true);
    for service in [every_alert(), with_zipkin(ZIPKIN, false), with_zipkin(ZIPKIN, true), other] {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &service, Kind::Traces);
        passes(&collector, directory.path(), &["validate", "--config=traces/collector.yml"]);
        let both = ["validate", "--config=traces/collector.yml", "--config=traces/zipkin.yml"];
        passes(&collector, directory.path(), &both);
        let config = fs::read_to_string(directory.path().join("traces/collector.yml")).unwrap();
        assert!(config.contains("# There is no tail sampling: the host has done it."), "{config}");
        assert_eq!(config.contains("span_metrics"), service.settings.traces.span_metrics, "{config}");
    }
}

/// Starts Jaeger with memory as its storage. Returns its query API.
fn start_jaeger(directory: &Path, otlp: SocketAddr, zipkin: SocketAddr) -> Option<(Daemon, SocketAddr)> {
    let jaeger = built("jaeger", "jaeger")?;
    let [query, query_grpc] = free_addresses();
    let config = json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp", "zipkin"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "spans"},
                "http": {"endpoint": query},
                "grpc": {"endpoint": query_grpc},
            },
            "jaeger_storage": {"backends": {"spans": {"memory": {"max_traces": 100}}}},
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": otlp}}}, "zipkin": {"endpoint": zipkin}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
    });
    fs::write(directory.join("jaeger.json"), config.to_string()).unwrap();
    let mut daemon = Daemon::start(&jaeger, directory, &["--config=jaeger.json"]);
    daemon.wait("query API", |_| http(query, "GET", "/api/services", "").filter(|(status, _)| *status == 200));
    Some((daemon, query))
}

/// A span arrives in Jaeger twice, by OTLP and in Zipkin's format; a metric and the span's own
/// metrics are exposed for Prometheus.
#[test]
fn collector_delivers_traces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let [otlp, zipkin, grpc, receiver, prometheus] = free_addresses();
    let mut service = with_zipkin(&format!("http://{zipkin}/api/v2/spans"), true);
    service.settings.traces.jaeger = otlp.to_string();
    write(path, &service, Kind::Traces);
    let Some(collector) = built("collector", "collector") else { return };
    let Some((_jaeger, query)) = start_jaeger(path, otlp, zipkin) else { return };
    // The ports are those of every Collector, which others may use here.
    let addition = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": receiver}}}},
        "exporters": {"prometheus": {"endpoint": prometheus}},
        "connectors": {"span_metrics": {"metrics_flush_interval": "100ms"}},
        "service": {"telemetry": {"metrics": {"level": "none"}}},
    });
    fs::write(path.join("addition.yml"), addition.to_string()).unwrap();
    let configs = ["--config=traces/collector.yml", "--config=traces/zipkin.yml", "--config=addition.yml"];
    let mut collector = Daemon::start(&collector, path, &configs);

    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let span = json!({
        "traceId": TRACE,
        "spanId": "b7ad6b7169203331",
        "name": "GET /cart/{id}",
        "kind": 2,
        "startTimeUnixNano": TIME.to_string(),
        "endTimeUnixNano": (TIME + 5_000_000).to_string(),
        "attributes": [{"key": "http.route", "value": {"stringValue": "/cart/{id}"}}],
    });
    let traces = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]});
    let point = json!({"asInt": "7", "timeUnixNano": TIME.to_string()});
    let metric = json!({
        "name": "http_requests",
        "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point]},
    });
    let metrics = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]});
    for (endpoint, body) in [("/v1/traces", &traces), ("/v1/metrics", &metrics)] {
        let send = |_: &str| http(receiver, "POST", endpoint, &body.to_string()).filter(|(status, _)| *status == 200);
        collector.wait("receiver", send);
    }
    let spans = collector.wait("trace", |_| {
        let (status, body) = http(query, "GET", &format!("/api/traces/{TRACE}"), "")?;
        let found: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let spans = found["data"][0]["spans"].as_array()?.clone();
        (spans.len() == 2).then_some(spans)
    });
    assert!(spans.iter().all(|span| span["spanID"] == "b7ad6b7169203331"), "{spans:#?}");
    // Zipkin's names are in lower case.
    let mut names: Vec<&str> = spans.iter().map(|span| span["operationName"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GET /cart/{id}", "get /cart/{id}"]);
    collector.wait("metrics", |_| {
        let (_, text) = http(prometheus, "GET", "/metrics", "")?;
        let line = |begin: &str, parts: &[&str]| {
            text.lines().any(|line| line.starts_with(begin) && parts.iter().all(|part| line.contains(part)))
        };
        let has_metric = line("http_requests_total{", &["service_name=\"shop\"", " 7"]);
        let has_span = line("traces_span_metrics_calls_total{", &["http_route=\"/cart/{id}\"", " 1"]);
        (has_metric && has_span).then_some(())
    });
}
