//! Adapted apps under jco.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_sink::{Reply, Sink};
use wasmetry_tests::adapted::{Lines, adapt};
use wasmetry_tests::embedding::jco::{self, Server};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::otlp::sum_of_deltas;
use wasmetry_tests::server::{agent, get};
use wasmetry_tests::tool::{self, Tool};

/// Paths, the guest's routes and numbers of requests.
const TRAFFIC: [(&str, &str, usize); 4] = [
    ("/", "/", 200),
    ("/cart?session=secret", "/cart", 100),
    ("/checkout?item=pear", "/checkout", 50),
    ("/nowhere", "other", 25),
];

/// The number of all requests of [`TRAFFIC`].
const REQUESTS: usize = 375;

/// Sends the `part`th part of [`TRAFFIC`].
fn send_traffic(server: &Server, part: usize) {
    let agent = agent();
    for (path, route, count) in TRAFFIC {
        for _ in 0..count / part {
            let expected = if route == "other" { 404 } else { 200 };
            assert_eq!(get(&agent, &format!("{}{path}", server.url)).0, expected);
        }
    }
}

/// Compares the lines with the `part`th part of [`TRAFFIC`].
fn check(lines: &Lines, part: usize) {
    for (path, route, count) in TRAFFIC {
        assert_eq!(lines.requests(path.split('?').next().unwrap()), count / part);
        assert_eq!(lines.sum("http_requests_total", &[("method", "GET"), ("route", route)]), (count / part) as u64);
        assert_eq!(lines.sum("http_request_duration_seconds", &[("route", route)]), (count / part) as u64);
    }
    assert_eq!(lines.sum("items_sold_total", &[("item", "pear")]), 50 / part as u64);
}

/// With one instance for all requests, the lines and the metrics path have the exact counts.
#[test]
fn shared_instance_counts_exactly() {
    let adapted = adapt("storefront", &["--name", "shop", "--component-version", "3", "--metrics-path", "/metrics"]);
    let Some(mut server) = Server::start(&adapted.path, &[]) else { return };
    send_traffic(&server, 1);
    let (status, text) = get(&agent(), &format!("{}/metrics", server.url));
    assert_eq!(status, 200);
    for (_, route, count) in TRAFFIC {
        let labels = [("component", "shop"), ("version", "3"), ("method", "GET"), ("route", route)];
        assert_eq!(value(&text, "http_requests_total", &labels), count as f64);
    }
    assert_eq!(sum(&text, "wasm_http_request_duration_seconds_count", &[]), REQUESTS as f64);
    if let Some(promtool) = Tool::Promtool.find() {
        let output = tool::run(&promtool, ["check", "metrics"], &text);
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.is_empty(), "{printed}\n{text}");
    }
    let lines = Lines::parse(&server.lines(REQUESTS));
    assert_eq!(lines.activities().count(), REQUESTS);
    check(&lines, 1);
}

/// With an instance for each request, the lines add up to the exact counts.
#[test]
fn instance_per_request_counts_exactly() {
    let adapted = adapt("storefront", &["--metrics-path", "/metrics"]);
    let Some(mut server) = Server::start(&adapted.path, &["--isolate-requests", "instance"]) else { return };
    send_traffic(&server, 5);
    // The instance of this scrape has served no request before.
    let (_, text) = get(&agent(), &format!("{}/metrics", server.url));
    assert_eq!(value(&text, "http_requests_total", &[("method", "GET"), ("route", "/")]), 0.0);
    let lines = Lines::parse(&server.lines(REQUESTS / 5));
    assert_eq!(lines.activities().count(), REQUESTS / 5);
    check(&lines, 5);
}

/// A trap loses no line of an earlier request.
#[test]
fn lines_before_trap_are_complete() {
    let adapted = adapt("storefront", &[]);
    let Some(server) = Server::start(&adapted.path, &[]) else { return };
    let agent = agent();
    for _ in 0..20 {
        get(&agent, &format!("{}/", server.url));
    }
    // A trap of the guest ends jco.
    agent.get(format!("{}/boom", server.url)).call().unwrap_err();
    let lines = Lines::parse(&server.end());
    assert_eq!(lines.sum("http_requests_total", &[]), 20);
    assert_eq!(lines.activities().count(), 20);
}

/// A command writes a line whether it succeeds or exits with a failure.
#[test]
fn commands_write_a_line() {
    for (guest, counter, succeeded) in
        [("greeter", "greetings_total", true), ("failing-command", "attempts_total", false)]
    {
        let adapted = adapt(guest, &[]);
        let Some(output) = jco::run(&adapted.path) else { return };
        assert_eq!(output.status.success(), succeeded, "{}", String::from_utf8_lossy(&output.stderr));
        let lines = Lines::parse(&String::from_utf8(output.stderr).unwrap());
        assert_eq!(lines.activities().count(), 1);
        assert_eq!(lines.0[0]["succeeded"], succeeded);
        assert_eq!(lines.sum(counter, &[]), 1);
    }
}

/// The exported deltas add up to the exact counts, with a shared instance and with one for each
/// request.
#[test]
fn otlp_deltas_add_up_exactly() {
    for (part, arguments) in [(5, &[][..]), (25, &["--isolate-requests", "instance"])] {
        let sink = Sink::start(|_| Reply::Accept);
        let header = ["--otlp-header", "x-scope-orgid=acme", "--otlp-timeout", "10s"];
        let adapted = adapt("storefront", &[&["--otlp", &sink.url("/")], &header[..]].concat());
        let Some(mut server) = Server::start(&adapted.path, arguments) else { return };
        send_traffic(&server, part);
        sink.wait(|state| state.accepted.len() >= REQUESTS / part);
        let metrics = sink.metrics();
        for (_, route, count) in TRAFFIC {
            assert_eq!(
                sum_of_deltas(&metrics, "http_requests_total", &[("method", "GET"), ("route", route)]),
                (count / part) as u64
            );
        }
        assert!(sink.seen().iter().all(|request| request.headers["x-scope-orgid"] == "acme"));
        check(&Lines::parse(&server.lines(REQUESTS / part)), part);
    }
}

#[test]
fn hanging_collector_delays_no_response() {
    let sink = Sink::start(|_| Reply::Hang);
    let adapted = adapt("storefront", &["--otlp", &sink.url("/")]);
    let Some(mut server) = Server::start(&adapted.path, &[]) else { return };
    for _ in 0..5 {
        assert_eq!(get(&agent(), &format!("{}/", server.url)).0, 200);
    }
    server.wait_for("no answer within 50 ms");
}

#[test]
fn command_exports_before_exit() {
    let sink = Sink::start(|_| Reply::Accept);
    let adapted = adapt("greeter", &["--otlp", &sink.url("/"), "--otlp-timeout", "10s"]);
    let Some(output) = jco::run(&adapted.path) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sum_of_deltas(&sink.metrics(), "greetings_total", &[]), 1);
}
