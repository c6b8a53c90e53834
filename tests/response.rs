//! `wasmetry serve` and responses that do not end well: what the client gets is what is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wasmetry_sink::{Reply, Sink};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, ReceivedMetrics};
use wasmetry_tests::server::{Server, agent, get};

/// Starts the service whose path says how its response ends.
fn start(flags: &[&str]) -> Server {
    Server::start(&guest("faulty-responder"), flags)
}

/// Scrapes after the last request has ended.
fn scrape_after(server: &Server, requests: u32) -> String {
    server.scrape_until(|text| {
        sum(text, "wasm_http_requests_total", &[]) == f64::from(requests)
            && sum(text, "wasm_http_requests_in_flight", &[]) == 0.0
    })
}

/// Sends the head of a request, and returns the connection.
fn send(server: &Server, head: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.write_all(format!("{head}\r\nhost: test\r\n\r\n").as_bytes()).unwrap();
    client
}

fn count(text: &str, status: &str) -> f64 {
    sum(text, "wasm_http_requests_total", &[("status", status)])
}

fn aborted(text: &str, reason: &str) -> f64 {
    value(text, "wasm_http_aborted_requests_total", &[("reason", reason)])
}

#[test]
fn finished_response_outlives_its_guest() {
    let server = start(&[]);
    for path in ["whole-trap", "whole-exit/0", "whole-exit/1"] {
        for _ in 0..20 {
            assert_eq!(get(&agent(), &format!("{}/{path}", server.url)), (200, "whole\n".to_owned()), "{path}");
        }
    }
    let text = scrape_after(&server, 60);
    assert_eq!(count(&text, "200"), 60.0);
    assert_eq!(sum(&text, "wasm_http_aborted_requests_total", &[]), 0.0);
    // An exit with 0 is no trap.
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 20.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "exit")]), 20.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 40.0);
}

#[test]
fn exit_without_response_is_500() {
    let server = start(&[]);
    for (path, body) in [("exit/0", "the service gave no response\n"), ("exit/1", "the service failed\n")] {
        assert_eq!(get(&agent(), &format!("{}/{path}", server.url)), (500, body.to_owned()), "{path}");
    }
    let text = scrape_after(&server, 2);
    assert_eq!(count(&text, "500"), 2.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 1.0);
}

#[test]
fn invalid_responses_are_replaced_by_500() {
    let server = start(&[]);
    for (path, reason, report) in [
        ("status/100", "invalid_status", "invalid response: "),
        ("status/101", "invalid_status", "invalid response: "),
        ("status/103", "invalid_status", "invalid response: "),
        ("short", "incomplete_body", "incomplete response: "),
        ("unfinished", "incomplete_body", "incomplete response: "),
        ("half-trap", "guest_ended", "trap: "),
    ] {
        let before = aborted(&server.scrape(), reason);
        assert_eq!(get(&agent(), &format!("{}/{path}", server.url)).0, 500, "{path}");
        let text = server.scrape_until(|text| aborted(text, reason) > before);
        assert_eq!(aborted(&text, reason), before + 1.0, "{path}");
        server.wait_for(report);
    }
    let text = scrape_after(&server, 6);
    assert_eq!(count(&text, "500"), 6.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 1.0);
    // Nothing is reported twice.
    let (_, lines) = server.stop();
    assert!(!lines.iter().any(|line| line.contains("response: ")), "{lines:#?}");
}

#[test]
fn cut_responses_are_counted_by_reason() {
    let server = start(&[]);
    for (path, reason) in [("sent-half-trap/50", "guest_ended"), ("sent-short/50", "incomplete_body")] {
        let mut answer = String::new();
        send(&server, &format!("GET /{path} HTTP/1.1")).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{path}: {answer}");
        let text = server.scrape_until(|text| aborted(text, reason) == 1.0);
        assert_eq!(sum(&text, "wasm_http_requests_in_flight", &[]), 0.0);
    }
    let text = scrape_after(&server, 2);
    assert_eq!(count(&text, "200"), 2.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 1.0);
}

#[test]
fn bodiless_answers_are_whole() {
    let server = start(&[]);
    for path in ["download/1000000", "short", "status/204", "status/304"] {
        let method = if path.starts_with("status") { "GET" } else { "HEAD" };
        let mut answer = String::new();
        send(&server, &format!("{method} /{path} HTTP/1.1\r\nconnection: close")).read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\n") && !answer.starts_with("HTTP/1.1 5"), "{path}: {answer}");
    }
    let text = scrape_after(&server, 4);
    assert_eq!(sum(&text, "wasm_http_aborted_requests_total", &[]), 0.0, "{text}");
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0, "{text}");
}

#[test]
fn client_that_leaves_is_no_trap() {
    let server = start(&[]);
    // In the middle of a download, whose guest then fails to write.
    for requests in 1..=3 {
        let mut client = send(&server, "GET /download/100000000 HTTP/1.1");
        client.read_exact(&mut [0; 100]).unwrap();
        drop(client);
        let text = scrape_after(&server, requests);
        assert_eq!(count(&text, "200"), f64::from(requests));
        assert_eq!(aborted(&text, "client_gone"), f64::from(requests));
        assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0, "{text}");
    }
    // In the middle of an upload, whose guest then panics.
    let mut client = send(&server, "POST /upload/1000 HTTP/1.1\r\ncontent-length: 1000");
    client.write_all(b"the beginning").unwrap();
    server.scrape_until(|text| sum(text, "wasm_http_request_bytes_total", &[]) == 13.0);
    drop(client);
    let text = scrape_after(&server, 4);
    assert_eq!(aborted(&text, "client_gone"), 4.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0, "{text}");
    assert_eq!(count(&text, "500"), 0.0);
    let (_, lines) = server.stop();
    assert!(!lines.iter().any(|line| line.starts_with("trap: ")), "{lines:#?}");
}

#[test]
fn client_that_stalls_is_no_deadline() {
    let server = start(&["--request-timeout", "500ms"]);
    let mut client = send(&server, "POST /upload/1000 HTTP/1.1\r\ncontent-length: 1000");
    client.write_all(b"the beginning").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // A client that does not read what it has requested.
    let client = send(&server, "GET /download/100000000 HTTP/1.1");
    let is_counted = |text: &str| aborted(text, "client_timeout") == 2.0 && count(text, "200") == 1.0;
    let text = server.scrape_until(is_counted);
    drop(client);
    assert_eq!(count(&text, "408"), 1.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0, "{text}");
    // A guest that waits for something else is late itself.
    assert_eq!(get(&agent(), &format!("{}/wait-block/60000", server.url)).0, 504);
    let text = scrape_after(&server, 3);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), 1.0);
    assert_eq!(aborted(&text, "client_timeout"), 2.0);
}

/// A client that stalls is the reason only if the guest waits for it at its deadline.
#[test]
fn late_guests_last_wait_decides() {
    let server = start(&["--request-timeout", "2s"]);
    let (mut requests, mut timeouts, mut deadlines) = (0, 0.0, 0.0);
    for (head, is_client_late) in [
        ("POST /upload-wait/60000", false),
        ("POST /upload-poll-wait/60000", false),
        ("POST /upload-or-wait/60000", true),
        ("POST /upload/1000", true),
        ("GET /download-wait/60000", false),
        ("GET /download/100000000", true),
    ] {
        let is_upload = head.starts_with("POST");
        let head = format!("{head} HTTP/1.1{}", if is_upload { "\r\ncontent-length: 1000" } else { "" });
        let mut client = send(&server, &head);
        if is_upload {
            client.write_all(b"the beginning").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with(if is_client_late { "HTTP/1.1 408 " } else { "HTTP/1.1 504 " }),
                "{head}: {answer}"
            );
        }
        requests += 1;
        if is_client_late {
            timeouts += 1.0
        } else {
            deadlines += 1.0
        }
        // The client of a download reads nothing and stays.
        let text = scrape_after(&server, requests);
        assert_eq!(aborted(&text, "client_timeout"), timeouts, "{head}");
        assert_eq!(value(&text, "wasm_traps_total", &[("reason", "deadline")]), deadlines, "{head}");
        drop(client);
    }
    assert_eq!(sum(&scrape_after(&server, requests), "wasm_traps_total", &[]), deadlines);
}

#[test]
fn waiting_guest_is_shown_at_scrape() {
    for task in ["wait-block", "wait-poll", "upload"] {
        let server = start(&["--request-timeout", "10m"]);
        let client = send(&server, &format!("POST /{task}/600000 HTTP/1.1\r\ncontent-length: 5"));
        let text = server.scrape_until(|text| sum(text, "requests_started_total", &[]) == 1.0);
        assert_eq!(sum(&text, "wasm_http_requests_in_flight", &[]), 1.0, "{task}");
        drop(client);
    }
}

#[test]
fn guest_killed_at_shutdown_is_counted() {
    let sink = Sink::start(|_| Reply::Accept);
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend([
        // All that is exported is what the process exports at its end.
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000".to_owned()),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta".to_owned()),
    ]);
    let flags = ["--shutdown-timeout", "200ms", "--request-timeout", "10m"];
    for task in ["wait-block/600000", "spin"] {
        let server = Server::start_with(&guest("faulty-responder"), &flags, &variables);
        let client = send(&server, &format!("GET /{task} HTTP/1.1"));
        server.scrape_until(|text| sum(text, "requests_started_total", &[]) == 1.0);
        let (status, lines) = server.stop();
        assert!(status.success(), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("killed: ")), "{lines:#?}");
        drop(client);
    }
    let received = ReceivedMetrics::delta(&sink.metrics());
    assert_eq!(received.sum("wasm_traps_total", &[("reason", "killed")]), 2.0);
    assert_eq!(received.sum("wasm_http_requests_total", &[("status", "503")]), 2.0);
    assert_eq!(received.sum("requests_started_total", &[]), 2.0);
}
