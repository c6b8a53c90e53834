//! Panics and errors of guests at a collector: their logs, the events and statuses of spans, and
//! the metrics of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "failure/access_log.rs"]
mod access_log;
#[path = "failure/embedding.rs"]
mod embedding;
#[path = "failure/module.rs"]
mod module;

use std::process::{Command, Stdio};

use wasmetry_sink::proto::trace::v1::Span;
use wasmetry_sink::proto::trace::v1::span::SpanKind;
use wasmetry_sink::proto::trace::v1::status::StatusCode;
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{Arrived, Attributes, Collector, PROTOCOLS, attributes, text};
use wasmetry_tests::server::{self, Server, agent};

/// The chain of the guests' typed errors.
const SOURCE: &str = "an error occurred when formatting an argument";

/// An error log.
#[derive(Debug)]
struct ErrorLog {
    message: String,
    fields: Attributes,
    trace: Vec<u8>,
    span: Vec<u8>,
}

/// Returns the error logs of a trace, or of all, without those of the access log.
fn errors(arrived: &Arrived, trace: Option<&str>) -> Vec<ErrorLog> {
    let is_of = |id: &[u8]| trace.is_none_or(|trace| hex(id) == trace);
    let logs = arrived.logs.iter().filter(|(_, log)| log.severity_text == "ERROR" && is_of(&log.trace_id));
    let logs = logs.map(|(_, log)| ErrorLog {
        message: text(log.body.as_ref()),
        fields: attributes(&log.attributes),
        trace: log.trace_id.clone(),
        span: log.span_id.clone(),
    });
    logs.filter(|log| !log.fields.contains_key("error_type")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the spans of a trace, the server span first.
fn spans(arrived: &Arrived, trace: &str) -> Vec<Span> {
    let mut spans: Vec<Span> =
        arrived.spans.iter().map(|(_, span)| span.clone()).filter(|span| hex(&span.trace_id) == trace).collect();
    spans.sort_by_key(|span| span.kind() != SpanKind::Server);
    spans
}

/// Returns the attributes of a span's only event, which is an exception.
fn exception(span: &Span) -> Attributes {
    let [event] = &span.events[..] else { panic!("{span:#?}") };
    assert_eq!(event.name, "exception");
    attributes(&event.attributes)
}

fn status(span: &Span) -> (StatusCode, String) {
    let status = span.status.clone().unwrap_or_default();
    (status.code(), status.message)
}

/// A served guest with a collector.
struct Served {
    server: Server,
    collector: Collector,
    requests: u32,
}

impl Served {
    fn start(protocol: &'static str) -> Self {
        let collector = Collector::start(protocol);
        let flags = ["--request-timeout", "500ms", "--max-memory", "16MiB"];
        let server = Server::start_with(&guest("failing-service"), &flags, &collector.variables());
        Self { server, collector, requests: 0 }
    }

    /// Sends a request in a trace of its own. Returns its error logs and its spans, of which there
    /// are `count`, the server span first.
    fn request(&mut self, path: &str, expected: u16, count: usize) -> (Vec<ErrorLog>, Vec<Span>) {
        self.requests += 1;
        let trace = format!("{:032x}", 0xfa11_0000 + self.requests);
        let url = format!("{}/{path}", self.server.url);
        let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
        let response = agent().get(url).header("traceparent", traceparent).call().unwrap();
        assert_eq!(response.status(), expected, "{path}");
        let arrived = self
            .collector
            .wait(|arrived| spans(arrived, &trace).len() == count && !errors(arrived, Some(&trace)).is_empty());
        (errors(&arrived, Some(&trace)), spans(&arrived, &trace))
    }
}

/// A panic is an error log, an event of the handler's span, and the status of both spans, over each
/// transport; the metrics of traps and requests count it.
#[test]
fn served_panic_speaks() {
    for protocol in PROTOCOLS {
        let mut served = Served::start(protocol);
        let (logs, spans) = served.request("panic", 500, 2);
        let [log] = &logs[..] else { panic!("{logs:#?}") };
        let message = "index out of bounds: the len is 0 but the index is 7";
        assert!(log.message.starts_with("panicked at tests/guests/src/bin/failing_service.rs:"), "{log:?}");
        assert!(log.message.ends_with(message), "{log:?}");
        assert_eq!(log.fields["exception.type"], "panic");
        assert_eq!(log.fields["exception.message"], message);
        assert_eq!(log.fields["code.file.path"], "tests/guests/src/bin/failing_service.rs");
        let place = format!("{}:{}", log.fields["code.line.number"], log.fields["code.column.number"]);
        assert!(log.message.contains(&place), "{log:?}");

        let [server, handler] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!((&log.trace, &log.span), (&handler.trace_id, &handler.span_id));
        let event = exception(handler);
        for key in ["exception.type", "exception.message", "code.file.path", "code.line.number", "code.column.number"] {
            assert_eq!(event[key], log.fields[key], "{key}");
        }
        for span in [server, handler] {
            assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
            assert_eq!(attributes(&span.attributes)["error.type"], "panic");
        }
        assert!(server.events.is_empty(), "the event is the handler's: {server:#?}");

        let scrape = served.server.scrape();
        assert_eq!(sum(&scrape, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
        assert_eq!(
            value(&scrape, "wasm_http_requests_total", &[("route", "/"), ("status", "500"), ("method", "GET")]),
            1.0
        );
        assert_eq!(value(&scrape, "wasm_http_request_duration_seconds_count", &[("route", "/")]), 1.0);
    }
}

/// Without a hook, the panic is taken from the lines that the guest prints, and the server span has
/// the event.
#[test]
fn printed_panic_speaks() {
    let mut served = Served::start("http/protobuf");
    let (logs, spans) = served.request("panic-unhooked", 500, 1);
    let [log] = &logs[..] else { panic!("{logs:#?}") };
    assert!(log.message.starts_with("panicked at tests/guests/src/bin/failing_service.rs:"), "{log:?}");
    assert!(log.message.ends_with(": without a hook\nin two lines"), "{log:?}");
    let [server] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((&log.trace, &log.span), (&server.trace_id, &server.span_id));
    assert_eq!(exception(server)["exception.message"], "without a hook\nin two lines");
    assert_eq!(status(server), (StatusCode::Error, log.message.clone()));
}

/// An error that a handler returns is a log with its sources, and its type is that of the spans.
#[test]
fn returned_errors_speak() {
    let mut served = Served::start("grpc");
    for (path, kind, message, has_source) in [
        ("typed", "failing_service::CartError", "cannot load cart 7", true),
        ("boxed", "_OTHER", "no cart", false),
        ("named", "cart", "cannot load cart 7", true),
    ] {
        let (logs, spans) = served.request(path, 500, 2);
        let [log] = &logs[..] else { panic!("{logs:#?}") };
        let expected = if has_source { format!("{message}: {SOURCE}") } else { message.to_owned() };
        assert_eq!(log.message, expected, "{path}");
        let stacktrace = has_source.then(|| format!("{message}\n\nCaused by:\n    0: {SOURCE}"));
        assert_eq!(log.fields.get("exception.stacktrace"), stacktrace.as_ref(), "{path}");
        let [server, handler] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!((&log.trace, &log.span), (&handler.trace_id, &handler.span_id));
        assert_eq!(exception(handler)["exception.type"], kind, "{path}");
        for span in [server, handler] {
            assert_eq!(attributes(&span.attributes)["error.type"], kind, "{path}");
            assert_eq!(status(span), (StatusCode::Error, expected.clone()), "{path}");
        }
    }
    let scrape = served.server.scrape();
    assert_eq!(sum(&scrape, "wasm_traps_total", &[("reason", "unreachable")]), 0.0);
    assert_eq!(
        value(&scrape, "wasm_http_requests_total", &[("route", "/"), ("status", "500"), ("method", "GET")]),
        3.0
    );
}

/// The end of a program that was run with a collector.
struct Run {
    logs: Vec<ErrorLog>,
    spans: Vec<Span>,
    code: Option<i32>,
    /// Its metrics in the Prometheus text format.
    metrics: String,
}

/// Runs a program that makes a number of spans.
fn run(program: &str, arguments: &[&str], spans: usize) -> Run {
    let collector = Collector::start("http/protobuf");
    let output = Command::new(server::command())
        .args(["run", "--print-metrics"])
        .arg(guest(program))
        .arg("--")
        .args(arguments)
        .envs(collector.variables())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let arrived = collector.wait(|arrived| arrived.spans.len() == spans && !errors(arrived, None).is_empty());
    let spans = arrived.spans.iter().map(|(_, span)| span.clone()).collect();
    let metrics = String::from_utf8(output.stdout).unwrap();
    Run { logs: errors(&arrived, None), spans, code: output.status.code(), metrics }
}

/// A program whose `main` is a handler, as a component and as a core module with WASI 0.1. Its
/// traps have the route that it has set; it has no requests.
#[test]
fn failing_programs_speak() {
    let traps = |metrics: &str| {
        let trapped = [("reason", "unreachable"), ("route", "/nightly")];
        (value(metrics, "wasm_traps_total", &trapped), sum(metrics, "wasm_traps_total", &[]))
    };
    for program in ["failing-job", "failing-job-wasip1"] {
        let Run { logs, spans, code, metrics } = run(program, &["panic"], 1);
        assert_eq!((code, traps(&metrics)), (Some(134), (1.0, 1.0)), "{program}: {metrics}");
        let ([log], [span]) = (&logs[..], &spans[..]) else { panic!("{program}: {logs:#?} {spans:#?}") };
        assert!(log.message.starts_with("panicked at tests/programs/src/bin/failing_job.rs:"), "{log:?}");
        assert!(log.message.ends_with(": requested by the test"), "{log:?}");
        assert_eq!((&log.trace, &log.span), (&span.trace_id, &span.span_id));
        assert_eq!(exception(span)["exception.message"], "requested by the test");
        assert_eq!(status(span), (StatusCode::Error, log.message.clone()));

        let Run { logs, spans, code, metrics } = run(program, &["error"], 1);
        assert_eq!((code, traps(&metrics)), (Some(1), (0.0, 0.0)), "{program}: {metrics}");
        let ([log], [span]) = (&logs[..], &spans[..]) else { panic!("{program}: {logs:#?} {spans:#?}") };
        assert_eq!(log.message, format!("the job failed: {SOURCE}"));
        assert_eq!((&log.trace, &log.span), (&span.trace_id, &span.span_id));
        assert_eq!(exception(span)["exception.type"], "failing_job::JobError");
        assert_eq!(attributes(&span.attributes)["error.type"], "failing_job::JobError");
        assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
    }
}

/// A program without a handler prints its panic.
#[test]
fn printed_panic_of_program_speaks() {
    for program in ["job", "job-wasip1"] {
        let Run { logs, spans, .. } = run(program, &["trap"], 2);
        let [log] = &logs[..] else { panic!("{program}: {logs:#?}") };
        assert!(log.message.starts_with("panicked at tests/programs/src/bin/job.rs:"), "{log:?}");
        for span in &spans {
            assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
        }
    }
}
