//! The JSON service in `tests/bakery`, which was written from README alone: what Prometheus, the
//! log stream and a collector have of its requests, errors, panics, gauge, libraries and outgoing
//! requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use wasmetry_tests::backend::echo::EchoBackend;
use wasmetry_tests::backend::otel_collector::{Options, OtelCollector, Received, ReceivedRecord};
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::otlp;
use wasmetry_tests::scratch::Project;
use wasmetry_tests::server::{Server, agent};

/// The id of the client's span, in each trace.
const CALLER: &str = "b7ad6b7169203331";

/// The numbers of the kinds of spans, and of the status of an error, in OTLP.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const ERROR: u64 = 2;

/// A request: its path, its route and its status.
type Request = (&'static str, &'static str, u16);

const SALE: Request = ("/orders/7", "/orders/{id}", 200);
const LOST_ORDER: Request = ("/orders/13", "/orders/{id}", 500);
const COLD_OVEN: Request = ("/oven/20", "/oven/{celsius}", 200);
const HOT_OVEN: Request = ("/oven/230.5", "/oven/{celsius}", 200);
const MELTED_OVEN: Request = ("/oven/500", "/oven/{celsius}", 500);
const MENU: Request = ("/menu", "/menu", 200);
const FLOUR: Request = ("/flour", "/flour", 200);
const ELSEWHERE: Request = ("/elsewhere", "/", 404);

/// All requests, in their order.
const REQUESTS: [Request; 8] = [SALE, LOST_ORDER, COLD_OVEN, HOT_OVEN, MELTED_OVEN, MENU, FLOUR, ELSEWHERE];

/// The messages of the failures.
const LOST: &str = "cannot load order 13: invalid digit found in string";
const MELTED: &str = "the oven cannot have 500 degrees";

/// Returns the trace id of a request.
fn trace_of(request: Request) -> String {
    let number = REQUESTS.iter().position(|other| *other == request).unwrap();
    format!("{:032x}", 0xbabe_0000 + number)
}

/// Everything that the three observers have of the requests.
struct Observed {
    prometheus: Prometheus,
    lines: Vec<Value>,
    received: Received,
}

impl Observed {
    /// Returns the values of a query by route, without those that are 0.
    fn by_route(&self, query: &str) -> BTreeMap<String, f64> {
        let mut values = self.prometheus.query(query, "route").unwrap();
        values.retain(|_, value| *value != 0.0);
        values
    }

    /// Returns the only line of a request with this target.
    #[track_caller]
    fn line(&self, request: Request, target: &str) -> &Value {
        let trace = trace_of(request);
        let lines: Vec<_> =
            self.lines.iter().filter(|line| line["trace_id"] == trace && line["target"] == target).collect();
        let [line] = lines[..] else { panic!("{request:?}, {target}: {lines:#?} in {:#?}", self.lines) };
        line
    }

    /// Returns the only log record of a request with this target at the collector.
    #[track_caller]
    fn log(&self, request: Request, target: &str) -> &ReceivedRecord {
        let trace = trace_of(request);
        let is_meant = |log: &&ReceivedRecord| log.record["traceId"] == trace && log.scope == target;
        let logs: Vec<_> = self.received.logs.iter().filter(is_meant).collect();
        let [log] = logs[..] else { panic!("{request:?}, {target}: {logs:#?} in {:#?}", self.received.logs) };
        log
    }

    /// Returns the only span of a request with this name.
    #[track_caller]
    fn span(&self, request: Request, name: &str) -> &ReceivedRecord {
        let trace = trace_of(request);
        let spans: Vec<_> = self.received.spans.iter().filter(|span| span.record["traceId"] == trace).collect();
        let named: Vec<_> = spans.iter().filter(|span| span.record["name"] == name).collect();
        let [span] = named[..] else { panic!("{request:?}, {name}: {spans:#?}") };
        span
    }

    /// Returns the server span of a request.
    #[track_caller]
    fn server_span(&self, request: Request) -> &ReceivedRecord {
        self.span(request, &format!("GET {}", request.1))
    }
}

/// Builds the project as its author does, serves it, and sends the requests. Returns `None` if a
/// backend cannot be built.
fn observe() -> Option<Observed> {
    let project = Project::new("bakery");
    let sources = wasmetry_tests::root().join("tests/bakery");
    for file in ["Cargo.toml", "src/lib.rs", "src/main.rs", "tests/bakery.rs"] {
        project.write(file, &fs::read_to_string(sources.join(file)).unwrap(), "../../crates");
    }
    let tested = String::from_utf8(project.run("cargo test").stdout).unwrap();
    assert!(tested.contains("test sold_order_is_counted ... ok"), "{tested}");
    project.run("cargo build --release --target wasm32-wasip2");
    let program = "target/wasm32-wasip2/release/bakery.wasm";
    project.run(&format!("wasmetry inspect {program}"));

    let collector = OtelCollector::start(&Options::default())?;
    let mill = EchoBackend::start();
    let stdout = project.file("stdout");
    let levels = "info,handlebars=debug,tower_http=debug";
    let url = format!("MILL_URL={}", mill.url());
    let flags = ["--env", &url, "--log-level", levels, "--access-log", "all"];
    let mut variables = otlp::variables(&collector.endpoint("grpc"), "grpc");
    variables.push(("OTEL_METRIC_EXPORT_INTERVAL", "500".to_owned()));
    let server = Server::start_with_stdout(&project.file(program), &flags, &variables, &stdout);
    let target = server.telemetry.trim_start_matches("http://");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: bakery, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    let mut prometheus = Prometheus::start_3(&config, &[])?;
    prometheus.wait_until_ready();

    for request @ (path, _, expected) in REQUESTS {
        let traceparent = format!("00-{}-{CALLER}-01", trace_of(request));
        let response = agent().get(format!("{}{path}", server.url)).header("traceparent", traceparent).call().unwrap();
        assert_eq!(response.status(), expected, "{path}");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        assert!(expected == 500 || path == "/menu" || kind == Some("application/json"), "{path}: {kind:?}");
    }
    let count = REQUESTS.len() as f64;
    prometheus.query_until("sum(wasm_http_requests_total)", "", |sum| sum.get("") == Some(&count));
    let headers = mill.next_request();
    // The end of the server exports everything.
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let is_whole = |received: &Received| {
        let servers = received.spans.iter().filter(|span| span.record["kind"] == SERVER).count();
        servers == REQUESTS.len() && gauge(received).is_some()
    };
    let received = collector.wait(is_whole);
    let text = fs::read_to_string(stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let observed = Observed { prometheus, lines, received };
    assert_outgoing_request(&observed, headers.one("traceparent").unwrap());
    Some(observed)
}

/// Returns the gauge's last value at the collector.
fn gauge(received: &Received) -> Option<&Value> {
    let oven = received.metrics.iter().rfind(|metric| metric.record["name"] == "oven_temperature_celsius")?;
    oven.record["gauge"]["dataPoints"].as_array()?.last()?.get("asDouble")
}

/// The client span is a child of the server span, and the other service receives it as its parent.
#[track_caller]
fn assert_outgoing_request(observed: &Observed, traceparent: &str) {
    let client = observed.span(FLOUR, "GET");
    assert_eq!(client.record["kind"], CLIENT);
    assert_eq!(client.record["parentSpanId"], observed.server_span(FLOUR).record["spanId"]);
    assert_eq!(client.attribute("server.address"), Some(json!({"stringValue": "127.0.0.1"})));
    assert_eq!(client.attribute("http.response.status_code"), Some(json!({"intValue": "200"})));
    assert_eq!(traceparent, format!("00-{}-{}-01", trace_of(FLOUR), client.record["spanId"].as_str().unwrap()));
    assert_eq!(observed.line(FLOUR, "access")["status"], 200);
}

/// Each request has the route that the guest set: in the metrics, the access log, and the server
/// span, which continues the client's trace.
fn assert_requests(observed: &Observed) {
    let count = |is_counted: fn(&Request) -> bool| {
        let mut counts = BTreeMap::new();
        for (_, route, _) in REQUESTS.iter().filter(|request| is_counted(request)) {
            *counts.entry((*route).to_owned()).or_insert(0.0) += 1.0;
        }
        counts
    };
    let requests = "sum by (route) (wasm_http_requests_total)";
    assert_eq!(observed.by_route(requests), count(|_| true));
    let failed = "sum by (route) (wasm_http_requests_total{status=~\"5..\"})";
    assert_eq!(observed.by_route(failed), count(|(.., status)| *status == 500));
    let durations = "sum by (route) (wasm_http_request_duration_seconds_count)";
    assert_eq!(observed.by_route(durations), count(|_| true));
    let sold = observed.prometheus.query("loaves_sold_total", "flour").unwrap();
    assert_eq!(sold, BTreeMap::from([("rye".to_owned(), 3.0), ("wheat".to_owned(), 0.0)]));
    assert_eq!(observed.prometheus.query("sum(wasmetry_dropped_total)", "").unwrap()[""], 0.0);

    for request @ (path, route, status) in REQUESTS {
        let line = observed.line(request, "access");
        assert_eq!((&line["method"], &line["route"], &line["status"]), (&json!("GET"), &json!(route), &json!(status)));
        let span = observed.server_span(request);
        assert_eq!((&span.record["kind"], &span.record["parentSpanId"]), (&json!(SERVER), &json!(CALLER)));
        assert_eq!(span.attribute("http.route"), Some(json!({"stringValue": route})));
        assert_eq!(span.attribute("url.path"), Some(json!({"stringValue": path})));
        assert_eq!(span.attribute("http.response.status_code"), Some(json!({"intValue": status.to_string()})));
        assert_eq!(span.record["status"]["code"].as_u64().unwrap_or_default(), if status == 500 { ERROR } else { 0 });
        assert_eq!(observed.span(request, "handle").record["parentSpanId"], span.record["spanId"]);
    }
    assert_eq!(observed.line(SALE, "bakery")["message"], "order 7 sold");
    let load = observed.span(SALE, "load");
    assert_eq!(load.attribute("id"), Some(json!({"intValue": "7"})));
    assert_eq!(load.record["parentSpanId"], observed.span(SALE, "handle").record["spanId"]);
}

/// A failure is a log of the handler's span, an event of this span, the status of the server span,
/// and the cause in the access log.
#[track_caller]
fn assert_failure(observed: &Observed, request: Request, target: &str, error_type: &str, message: &str) {
    let (line, access) = (observed.line(request, target), observed.line(request, "access"));
    assert_eq!((&line["level"], &line["message"]), (&json!("error"), &json!(message)));
    assert_eq!(line["error.type"], error_type);
    assert_eq!(access["message"], format!("GET {} 500: {message}", request.1));
    assert_eq!(access["error_type"], error_type);

    let (log, handler) = (observed.log(request, target), observed.span(request, "handle"));
    assert_eq!((&log.record["severityText"], &log.record["body"]), (&json!("ERROR"), &json!({"stringValue": message})));
    assert_eq!(log.record["spanId"], handler.record["spanId"]);
    assert_eq!(line["span_id"], handler.record["spanId"]);
    let [event] = &handler.record["events"].as_array().unwrap()[..] else { panic!("{handler:#?}") };
    assert_eq!(event["name"], "exception");
    for span in [handler, observed.server_span(request)] {
        assert_eq!(span.record["status"], json!({"code": ERROR, "message": message}));
        assert_eq!(span.attribute("error.type"), Some(json!({"stringValue": error_type})));
    }
}

/// The error that the handler returns has its chain.
fn assert_error(observed: &Observed) {
    assert_failure(observed, LOST_ORDER, "bakery", "order", LOST);
    let line = observed.line(LOST_ORDER, "bakery");
    assert_eq!(line["exception.stacktrace"], LOST.replace(": ", "\n\nCaused by:\n    0: "));
}

/// The panic has its place, and is the request's trap.
fn assert_panic(observed: &Observed) {
    let line = observed.line(MELTED_OVEN, "panic");
    let source = include_str!("bakery/src/lib.rs").lines().position(|line| line.contains("assert!(celsius")).unwrap();
    assert_eq!((&line["code.file.path"], &line["code.line.number"]), (&json!("src/lib.rs"), &json!(source + 1)));
    let message = format!("panicked at src/lib.rs:{}:{}: {MELTED}", source + 1, line["code.column.number"]);
    assert_failure(observed, MELTED_OVEN, "panic", "panic", &message);
    let traps = observed.by_route("sum by (route) (wasm_traps_total)");
    assert_eq!(traps, BTreeMap::from([(MELTED_OVEN.1.to_owned(), 1.0)]));
}

/// The gauge keeps the value that an instance set last, although all instances have ended.
fn assert_gauge(observed: &Observed) {
    let value = observed.prometheus.query("oven_temperature_celsius", "component").unwrap();
    assert_eq!(value, BTreeMap::from([("bakery".to_owned(), 230.5)]));
    assert_eq!(gauge(&observed.received), Some(&json!(230.5)));
    assert_eq!(observed.line(HOT_OVEN, "bakery")["celsius"], 230.5);
}

/// A log of a library that uses `log` has its target, its place, and the request's trace.
fn assert_log_library(observed: &Observed) {
    let line = observed.line(SALE, "handlebars::render");
    assert_eq!(line["level"], "debug");
    let file = line["code.file.path"].as_str().unwrap();
    assert!(file.contains("handlebars") && file.ends_with("src/render.rs"), "{line}");
    let log = observed.log(SALE, "handlebars::render");
    assert_eq!(log.record["body"]["stringValue"], line["message"]);
    assert_eq!(log.record["spanId"], observed.span(SALE, "handle").record["spanId"]);
}

/// A span of a library that uses `tracing` is a child of the handler's; its events are logs.
fn assert_tracing_library(observed: &Observed) {
    let span = observed.span(MENU, "request");
    assert_eq!(span.scope, "tower_http::trace::make_span");
    assert_eq!(span.record["parentSpanId"], observed.span(MENU, "handle").record["spanId"]);
    assert_eq!(span.attribute("method"), Some(json!({"stringValue": "GET"})));
    for (target, message) in [
        ("tower_http::trace::on_request", "started processing request"),
        ("tower_http::trace::on_response", "finished processing request"),
    ] {
        assert_eq!(observed.line(MENU, target)["message"], message);
        let log = observed.log(MENU, target);
        assert_eq!(log.record["body"], json!({"stringValue": message}));
        assert_eq!(log.record["spanId"], span.record["spanId"]);
    }
    assert_eq!(observed.line(MENU, "tower_http::trace::on_response")["status"], 200);
}

/// A service made from README alone is observed as README says.
#[test]
fn bakery_is_observed() {
    let Some(observed) = observe() else { return };
    assert_requests(&observed);
    assert_error(&observed);
    assert_panic(&observed);
    assert_gauge(&observed);
    assert_log_library(&observed);
    assert_tracing_library(&observed);
}
