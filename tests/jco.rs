//! Adapted apps under jco, on Node.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::time::{Duration, Instant};

use wasmetry_sink::{Reply, Sink};
use wasmetry_tests::adapted::{Lines, adapt};
use wasmetry_tests::exposition::value;
use wasmetry_tests::jco::{self, Server};
use wasmetry_tests::otlp::added;
use wasmetry_tests::server::{agent, get};
use wasmetry_tests::tool::{self, Tool};

/// How often each path is asked for.
const TRAFFIC: [(&str, &str, usize); 4] = [
    ("/", "/", 200),
    ("/cart?session=secret", "/cart", 100),
    ("/checkout?item=pear", "/checkout", 50),
    ("/nowhere", "other", 25),
];

const REQUESTS: usize = 375;

fn send_traffic(server: &Server, part: usize) {
    let agent = agent();
    for (path, route, count) in TRAFFIC {
        for _ in 0..count / part {
            let expected = if route == "other" { 404 } else { 200 };
            assert_eq!(get(&agent, &format!("{}{path}", server.url)).0, expected);
        }
    }
}

fn check(lines: &Lines, part: usize) {
    for (path, route, count) in TRAFFIC {
        assert_eq!(lines.requests(path.split('?').next().unwrap()), count / part);
        assert_eq!(lines.sum("http_requests_total", &[("method", "GET"), ("route", route)]), (count / part) as u64);
        assert_eq!(lines.sum("http_request_duration_seconds", &[("route", route)]), (count / part) as u64);
    }
    assert_eq!(lines.sum("items_sold_total", &[("item", "pear")]), 50 / part as u64);
}

#[test]
fn one_instance_for_all_requests_is_exact_in_lines_and_on_its_path() {
    let adapted = adapt("storefront", &["--name", "shop", "--component-version", "3", "--metrics-path", "/metrics"]);
    let Some(mut server) = Server::start(&adapted.path, &[]) else { return };
    send_traffic(&server, 1);
    let (status, text) = get(&agent(), &format!("{}/metrics", server.url));
    assert_eq!(status, 200);
    for (_, route, count) in TRAFFIC {
        let labels = [("component", "shop"), ("version", "3"), ("method", "GET"), ("route", route)];
        assert_eq!(value(&text, "http_requests_total", &labels), count as f64);
    }
    assert_eq!(value(&text, "wasm_http_request_duration_seconds_count", &[]), REQUESTS as f64);
    if let Some(promtool) = Tool::Promtool.find() {
        let output = tool::run(&promtool, ["check", "metrics"], &text);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    }
    let lines = Lines::parse(&server.lines(REQUESTS));
    assert_eq!(lines.activities().count(), REQUESTS);
    check(&lines, 1);
}

#[test]
fn an_instance_for_each_request_is_exact_in_lines() {
    let adapted = adapt("storefront", &["--metrics-path", "/metrics"]);
    let Some(mut server) = Server::start(&adapted.path, &["--isolate-requests", "instance"]) else { return };
    send_traffic(&server, 5);
    // Its path tells what this instance has seen, which is nothing.
    let (_, text) = get(&agent(), &format!("{}/metrics", server.url));
    assert_eq!(value(&text, "http_requests_total", &[("method", "GET"), ("route", "/")]), 0.0);
    let lines = Lines::parse(&server.lines(REQUESTS / 5));
    assert_eq!(lines.activities().count(), REQUESTS / 5);
    check(&lines, 5);
}

#[test]
fn what_was_sent_before_a_trap_is_there() {
    let adapted = adapt("storefront", &[]);
    let Some(server) = Server::start(&adapted.path, &[]) else { return };
    let agent = agent();
    for _ in 0..20 {
        get(&agent, &format!("{}/", server.url));
    }
    // jco ends with the guest.
    agent.get(format!("{}/boom", server.url)).call().unwrap_err();
    let lines = Lines::parse(&server.end());
    assert_eq!(lines.sum("http_requests_total", &[]), 20);
    assert_eq!(lines.activities().count(), 20);
}

#[test]
fn commands_have_a_line_however_they_end() {
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

#[test]
fn what_is_sent_adds_up_exactly_with_one_instance_and_with_one_for_each_request() {
    for (part, arguments) in [(5, &[][..]), (25, &["--isolate-requests", "instance"])] {
        let sink = Sink::start(|_| Reply::Accept);
        let adapted = adapt("storefront", &["--otlp", &sink.url("/"), "--otlp-header", "x-scope-orgid=acme"]);
        let Some(mut server) = Server::start(&adapted.path, arguments) else { return };
        send_traffic(&server, part);
        sink.wait(|state| state.accepted.len() >= REQUESTS / part);
        let metrics = sink.metrics();
        for (_, route, count) in TRAFFIC {
            assert_eq!(
                added(&metrics, "http_requests_total", &[("method", "GET"), ("route", route)]),
                (count / part) as u64
            );
        }
        assert!(sink.seen().iter().all(|request| request.headers["x-scope-orgid"] == "acme"));
        check(&Lines::parse(&server.lines(REQUESTS / part)), part);
    }
}

#[test]
fn a_collector_that_hangs_delays_no_answer() {
    let sink = Sink::start(|_| Reply::Hang);
    let adapted = adapt("storefront", &["--otlp", &sink.url("/")]);
    let Some(mut server) = Server::start(&adapted.path, &[]) else { return };
    let start = Instant::now();
    assert_eq!(get(&agent(), &format!("{}/", server.url)).0, 200);
    let answered = start.elapsed();
    server.wait_for("no answer in time");
    assert!(answered + Duration::from_millis(500) < start.elapsed(), "{answered:?}");
}

#[test]
fn a_command_sends_before_it_ends() {
    let sink = Sink::start(|_| Reply::Accept);
    let adapted = adapt("greeter", &["--otlp", &sink.url("/")]);
    let Some(output) = jco::run(&adapted.path) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(added(&sink.metrics(), "greetings_total", &[]), 1);
}
