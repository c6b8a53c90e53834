//! Panics and errors of guests at a collector: their logs, the events and statuses of spans, and
//! the metrics of requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wasmetry_sink::proto::trace::v1::Span;
use wasmetry_sink::proto::trace::v1::span::SpanKind;
use wasmetry_sink::proto::trace::v1::status::StatusCode;
use wasmetry_tests::exposition::value;
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
        assert_eq!(value(&scrape, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
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
    assert_eq!(value(&scrape, "wasm_traps_total", &[("reason", "unreachable")]), 0.0);
    assert_eq!(
        value(&scrape, "wasm_http_requests_total", &[("route", "/"), ("status", "500"), ("method", "GET")]),
        3.0
    );
}

/// Runs a program with a collector. Returns its error logs, its spans, and its exit code.
fn run(program: &str, arguments: &[&str], spans: usize) -> (Vec<ErrorLog>, Vec<Span>, Option<i32>) {
    let collector = Collector::start("http/protobuf");
    let output = Command::new(server::command())
        .arg("run")
        .arg(guest(program))
        .arg("--")
        .args(arguments)
        .envs(collector.variables())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let arrived = collector.wait(|arrived| arrived.spans.len() == spans && !errors(arrived, None).is_empty());
    let spans = arrived.spans.iter().map(|(_, span)| span.clone()).collect();
    (errors(&arrived, None), spans, output.status.code())
}

/// A program whose `main` is a handler, as a component and as a core module with WASI 0.1.
#[test]
fn failing_programs_speak() {
    for program in ["failing-job", "failing-job-wasip1"] {
        let (logs, spans, code) = run(program, &["panic"], 1);
        assert_eq!(code, Some(134), "{program}");
        let ([log], [span]) = (&logs[..], &spans[..]) else { panic!("{program}: {logs:#?} {spans:#?}") };
        assert!(log.message.starts_with("panicked at tests/programs/src/bin/failing_job.rs:"), "{log:?}");
        assert!(log.message.ends_with(": requested by the test"), "{log:?}");
        assert_eq!((&log.trace, &log.span), (&span.trace_id, &span.span_id));
        assert_eq!(exception(span)["exception.message"], "requested by the test");
        assert_eq!(status(span), (StatusCode::Error, log.message.clone()));

        let (logs, spans, code) = run(program, &["error"], 1);
        assert_eq!(code, Some(1), "{program}");
        let ([log], [span]) = (&logs[..], &spans[..]) else { panic!("{program}: {logs:#?} {spans:#?}") };
        assert_eq!(log.message, format!("the job failed: {SOURCE}"));
        assert_eq!(attributes(&span.attributes)["error.type"], "failing_job::JobError");
        assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
    }
}

/// A program without a handler prints its panic.
#[test]
fn printed_panic_of_program_speaks() {
    for program in ["job", "job-wasip1"] {
        let (logs, spans, _) = run(program, &["trap"], 2);
        let [log] = &logs[..] else { panic!("{program}: {logs:#?}") };
        assert!(log.message.starts_with("panicked at tests/programs/src/bin/job.rs:"), "{log:?}");
        for span in &spans {
            assert_eq!(status(span), (StatusCode::Error, log.message.clone()));
        }
    }
}

/// Starts a server whose log lines go to a file, sends the requests, and returns its records of the
/// access log and its other records.
fn access_log(flags: &[&str], paths: &[(&str, u16)]) -> (Vec<Value>, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let stdout = directory.path().join("stdout");
    let limits = ["--request-timeout", "500ms", "--max-memory", "16MiB"];
    let identity = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];
    let flags = [&limits[..], &identity, flags].concat();
    let server = Server::start_with_stdout(&guest("failing-service"), &flags, &[], &stdout);
    for (number, (path, expected)) in paths.iter().enumerate() {
        let traceparent = format!("00-{number:032x}-b7ad6b7169203331-01", number = number + 1);
        let request = agent().post(format!("{}/{path}", server.url)).header("traceparent", traceparent);
        assert_eq!(request.send("four").unwrap().status(), *expected, "{path}");
    }
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let text = fs::read_to_string(stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line.get("stream").is_none());
    lines.partition(|line| line["target"] == "access")
}

/// The requests of the tests of the access log.
const REQUESTS: [(&str, u16); 6] =
    [("fine", 200), ("panic", 500), ("typed", 500), ("silent", 503), ("logged", 503), ("spin", 504)];

/// By default, failed requests have a record, with the fields that queries of logs use.
#[test]
fn failed_requests_have_access_records() {
    let (access, others) = access_log(&[], &REQUESTS);
    let found: Vec<_> = access
        .iter()
        .map(|line| {
            (line["status"].as_u64().unwrap(), line["error_type"].as_str().unwrap(), line["level"].as_str().unwrap())
        })
        .collect();
    let expected = [
        (500, "panic", "error"),
        (500, "failing_service::CartError", "warn"),
        (503, "503", "warn"),
        (503, "503", "warn"),
        (504, "deadline", "error"),
    ];
    assert_eq!(found, expected, "{access:#?}");
    for (line, number) in access.iter().zip(2..) {
        assert_eq!(
            (&line["service"], &line["version"], &line["tenant"]),
            (&json!("shop"), &json!("1.2"), &json!("acme"))
        );
        assert_eq!((&line["method"], &line["route"]), (&json!("POST"), &json!("/")), "{line}");
        assert_eq!(line["trace_id"], format!("{number:032x}"));
        assert_eq!(line["request_bytes"], 0, "the guest has not read the body: {line}");
        let millis = line["duration_ms"].as_f64().unwrap();
        let duration = line["duration"].as_str().unwrap();
        let parsed = match duration.strip_suffix("ms") {
            Some(number) => number.parse::<f64>().unwrap(),
            None => duration.strip_suffix("µs").unwrap_or_else(|| panic!("{line}")).parse::<f64>().unwrap() / 1000.0,
        };
        assert!((parsed - millis).abs() < 0.001, "{line}");
    }
    assert!(access[0]["message"].as_str().unwrap().starts_with("POST / 500: panicked at tests/guests/"), "{access:#?}");
    assert_eq!(access[1]["message"], format!("POST / 500: cannot load cart 7: {SOURCE}"));
    assert_eq!(access[2]["message"], "POST / 503: the guest has logged no error");
    assert_eq!(access[0]["response_bytes"], "the service failed\n".len());
    assert_eq!(access[4]["response_bytes"], "the service did not respond in time\n".len());
    // The logs of the guest: one panic, one error of a handler, and its own.
    let errors = others.iter().filter(|line| line["level"] == "error").count();
    assert_eq!((errors, others.len()), (3, 3), "{others:#?}");
}

/// Each request has a record with `all`; `off` leaves failures of which the guest has logged
/// nothing.
#[test]
fn access_log_has_selected_requests() {
    for (selected, expected) in [
        ("all", &[200, 500, 500, 503, 503, 504][..]),
        ("failed", &[500, 500, 503, 503, 504]),
        ("slow", &[503, 504]),
        ("off", &[503, 504]),
    ] {
        let (access, _) = access_log(&["--access-log", selected], &REQUESTS);
        let statuses: Vec<_> = access.iter().map(|line| line["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, expected, "{selected}");
        if selected == "all" {
            assert_eq!((&access[0]["level"], &access[0]["message"]), (&json!("info"), &json!("POST / 200")));
            assert!(access[0].get("error_type").is_none(), "{}", access[0]);
        }
    }
    let (access, _) = access_log(&["--access-log", "slow", "--keep-slow", "1us"], &REQUESTS[..1]);
    assert_eq!(access.len(), 1, "{access:#?}");
    let (access, _) = access_log(&["--access-log", "all", "--log-level", "info,access=off"], &REQUESTS);
    assert_eq!(access, [Value::Null; 0]);
}
