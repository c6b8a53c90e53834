//! Guests in other languages, which use the handle API: their metrics in a scrape, their logs and
//! spans in a collector.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_host::encode::otlp::proto::logs::v1::LogRecord;
use wasmetry_host::encode::otlp::proto::trace::v1::Span;
use wasmetry_host::encode::otlp::proto::trace::v1::status::StatusCode;
use wasmetry_tests::exposition::value;
use wasmetry_tests::foreign_guest;
use wasmetry_tests::otlp::{Arrived, Collector, attributes, text};
use wasmetry_tests::server::{Server, agent};

/// The id of the caller's span.
const CALLER: &str = "b7ad6b7169203331";

/// The example of a language.
struct Example {
    guest: &'static str,
    /// The prefix of the guest's metrics.
    prefix: &'static str,
    /// The status message of the failed span.
    failure: &'static str,
    /// The `error.type` of the failed request's server span.
    reason: &'static str,
    /// The number of panics that the guest's runtime prints.
    panics: usize,
}

/// Sends a request in a numbered trace with these trace flags, and returns the status.
fn call(server: &Server, path: &str, trace: u32, flags: &str) -> u16 {
    let traceparent = format!("00-{trace:032x}-{CALLER}-{flags}");
    let response = agent().get(format!("{}{path}", server.url)).header("traceparent", &traceparent).call();
    response.unwrap().status().as_u16()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the spans of a trace, each one the parent of the next.
fn chain(arrived: &Arrived, trace: u32) -> Vec<&Span> {
    let trace = format!("{trace:032x}");
    let mut parent = CALLER.to_owned();
    let mut chain = Vec::new();
    let of_trace = || arrived.spans.iter().map(|(_, span)| span).filter(|span| hex(&span.trace_id) == trace);
    while let Some(span) = of_trace().find(|span| hex(&span.parent_span_id) == parent) {
        parent = hex(&span.span_id);
        chain.push(span);
    }
    assert_eq!(chain.len(), of_trace().count(), "{arrived:#?}");
    chain
}

fn names<'a>(chain: &[&'a Span]) -> Vec<&'a str> {
    chain.iter().map(|span| span.name.as_str()).collect()
}

/// Returns the logs that the guest has recorded, without the lines that it printed and their
/// panics.
fn recorded(arrived: &Arrived) -> impl Iterator<Item = &LogRecord> {
    let is_recorded = |log: &&LogRecord| {
        let attributes = attributes(&log.attributes);
        !attributes.contains_key("log.iostream") && !attributes.contains_key("exception.type")
    };
    arrived.logs.iter().map(|(_, log)| log).filter(is_recorded)
}

/// Returns the error logs of panics.
fn panics(arrived: &Arrived) -> impl Iterator<Item = &LogRecord> {
    let is_panic = |log: &&LogRecord| attributes(&log.attributes).contains_key("exception.type");
    arrived.logs.iter().map(|(_, log)| log).filter(is_panic)
}

/// Returns the levels, messages and span names of a trace's logs, sorted.
fn logs(arrived: &Arrived, trace: u32, chain: &[&Span]) -> Vec<String> {
    let trace = format!("{trace:032x}");
    let of_trace = recorded(arrived).filter(|log| hex(&log.trace_id) == trace);
    let mut logs: Vec<_> = of_trace
        .map(|log| {
            let span = chain.iter().find(|span| span.span_id == log.span_id).unwrap();
            format!("{} {} in {}", log.severity_text, text(log.body.as_ref()), span.name)
        })
        .collect();
    // Buffered logs are exported later than the others.
    logs.sort();
    logs
}

fn check_all_signals(example: &Example) {
    let Some(guest) = foreign_guest(example.guest) else { return };
    let collector = Collector::start("http/protobuf");
    let arguments = ["--name", "shop", "--component-version", "1", "--access-log", "off"];
    let server = Server::start_patiently(&guest, &arguments, &collector.variables());
    for (trace, path, flags, status) in [
        (1, "/", "01", 200),
        (2, "/checkout?item=pear", "01", 200),
        (3, "/checkout?item=melon", "00", 200),
        (4, "/checkout?item=unicorn", "01", 404),
        (5, "/nowhere", "01", 404),
        // The trace is not sampled, but the request fails.
        (6, "/boom", "00", 500),
    ] {
        assert_eq!(call(&server, path, trace, flags), status, "{path}");
    }

    let prefix = example.prefix;
    let expected = format!(
        r#"# HELP {prefix}_items_sold_total Items sold.
# TYPE {prefix}_items_sold_total counter
{prefix}_items_sold_total{{component="shop",version="1",item="melon"}} 1
{prefix}_items_sold_total{{component="shop",version="1",item="pear"}} 1
# HELP {prefix}_order_price_euros What orders cost.
# TYPE {prefix}_order_price_euros histogram
{prefix}_order_price_euros_bucket{{component="shop",version="1",le="1.0"}} 1
{prefix}_order_price_euros_bucket{{component="shop",version="1",le="10.0"}} 2
{prefix}_order_price_euros_bucket{{component="shop",version="1",le="100.0"}} 2
{prefix}_order_price_euros_bucket{{component="shop",version="1",le="+Inf"}} 2
{prefix}_order_price_euros_sum{{component="shop",version="1"}} 3.5
{prefix}_order_price_euros_count{{component="shop",version="1"}} 2
# HELP {prefix}_requests_total Requests by route and status.
# TYPE {prefix}_requests_total counter
{prefix}_requests_total{{component="shop",version="1",route="/",status="200"}} 1
{prefix}_requests_total{{component="shop",version="1",route="/boom",status="500"}} 1
{prefix}_requests_total{{component="shop",version="1",route="/checkout",status="200"}} 2
{prefix}_requests_total{{component="shop",version="1",route="/checkout",status="404"}} 1
{prefix}_requests_total{{component="shop",version="1",route="other",status="404"}} 1
"#
    );
    let scraped = server.scrape();
    let own: String =
        scraped.lines().filter(|line| line.contains(&format!("{prefix}_"))).map(|line| format!("{line}\n")).collect();
    assert_eq!(own, expected);
    assert_eq!(value(&scraped, "wasm_http_requests_total", &[("status", "500"), ("method", "GET")]), 1.0);
    assert!(!scraped.contains("wasmetry_dropped_total{component"), "{scraped}");

    // The sampled traces have 2 + 3 + 3 + 2 spans, the failed one has 2; logs are not sampled.
    let arrived = collector.wait(|arrived| {
        arrived.spans.len() == 12 && recorded(arrived).count() == 5 && panics(arrived).count() == example.panics
    });
    for panic in panics(&arrived) {
        assert_eq!((hex(&panic.trace_id), panic.severity_text.as_str()), (format!("{:032x}", 6), "ERROR"));
    }
    assert!(arrived.spans.iter().all(|(of, _)| of["service.name"] == "shop" && of["service.version"] == "1"));
    for (trace, expected, messages) in [
        (1, &["GET /", "handle"][..], &[][..]),
        (2, &["GET /", "handle", "checkout"], &["INFO sold in checkout"]),
        (3, &[], &[]),
        (4, &["GET /", "handle", "checkout"], &["WARN no such item in checkout"]),
        (5, &["GET /", "handle"], &[]),
        (6, &["GET /", "handle"], &["DEBUG a request in handle", "ERROR a request failed in handle"]),
    ] {
        let chain = chain(&arrived, trace);
        assert_eq!(names(&chain), expected, "{trace}");
        if trace != 3 {
            assert_eq!(logs(&arrived, trace, &chain), messages, "{trace}");
        }
        for pair in chain.windows(2) {
            assert!(pair[0].start_time_unix_nano <= pair[1].start_time_unix_nano, "{pair:#?}");
            assert!(pair[1].end_time_unix_nano <= pair[0].end_time_unix_nano, "{pair:#?}");
        }
        if trace == 6 {
            let [server, handle] = &chain[..] else { panic!("{chain:#?}") };
            let status = handle.status.as_ref().unwrap();
            assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, example.failure));
            assert_eq!(attributes(&server.attributes)["error.type"], example.reason);
        } else if let Some(handle) = chain.get(1) {
            assert_eq!(handle.status.clone().unwrap_or_default().code(), StatusCode::Unset);
        }
    }
    let is_pear = |log: &LogRecord| attributes(&log.attributes).get("item").is_some_and(|item| item == "pear");
    let sold = arrived.logs.iter().map(|(_, log)| log).find(|log| is_pear(log)).unwrap();
    let fields = attributes(&sold.attributes);
    assert_eq!((text(sold.body.as_ref()).as_str(), fields["price"].as_str()), ("sold", "0.5"));
    let checkout = chain(&arrived, 2)[2];
    assert_eq!(attributes(&checkout.attributes)["item"], "pear");
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
}

#[test]
fn javascript_exports_all_signals() {
    check_all_signals(&Example {
        guest: "js-guest",
        prefix: "js",
        failure: "Error: as it was asked to",
        reason: "500",
        panics: 0,
    });
}

#[test]
fn python_exports_all_signals() {
    // An uncaught exception is a panic of the runtime, which it prints.
    check_all_signals(&Example {
        guest: "python-guest",
        prefix: "py",
        failure: "as it was asked to",
        reason: "panic",
        panics: 1,
    });
}
