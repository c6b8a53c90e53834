//! Clients and snapshots that are slow, too large or broken, and leave the endpoint usable.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmetry_export::scrape::Config;

use crate::process::{Answer, connect, get, request, start};

#[test]
fn incomplete_request_times_out() {
    let (server, _) = start(Config::default().with_header_timeout(Duration::from_millis(50)));
    for half in ["", "G", "GET /metrics HTTP/1.1\r\n", "GET /metrics HTTP/1.1\r\nHost: te"] {
        let mut stream = connect(&server);
        stream.write_all(half.as_bytes()).unwrap();
        // The read returns only when the server closes: nothing is sent and nothing shut down here.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{half:?}");
    }
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
}

#[test]
fn overlong_head_is_refused() {
    let (server, _) = start(Config::default());
    let long = format!("X: {}\r\n", "x".repeat(wasmetry_export::limits::MAX_HEAD_BYTES - 200));
    assert_eq!(request(&server, "GET", "/metrics", &long).status, 200);
    let many = "X: x\r\n".repeat(wasmetry_export::limits::MAX_HEADERS + 1);
    assert_eq!(request(&server, "GET", "/metrics", &many).status, 431);

    let mut stream = connect(&server);
    let head =
        format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * wasmetry_export::limits::MAX_HEAD_BYTES));
    // The server may close before all of it was sent; either way it must not answer with metrics.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
}

#[test]
fn idle_connections_leave_room_for_scraper() {
    let (server, _) = start(Config::default().with_max_connections(4));
    let mut idle: Vec<TcpStream> = (0..40)
        .map(|i| {
            let mut stream = connect(&server);
            if i % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(get(&server, "/metrics").status, 200);
    // The first one was closed to make room, long before its timeout.
    let mut rest = Vec::new();
    let closed = idle[0].read_to_end(&mut rest);
    assert!(closed.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset) || rest.is_empty());
    server.stop();
}

#[test]
fn slow_snapshot_blocks_nothing_else() {
    let (server, process) = start(Config::default());
    process.gate.set(true);
    let mut scrape = connect(&server);
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    while process.gate.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(get(&server, "/healthz").status, 200);
    process.gate.set(false);
    assert_eq!(Answer::read(&mut scrape).status, 200);
    server.stop();
}

#[test]
fn stuck_snapshot_times_out() {
    let (server, process) = start(Config::default().with_snapshot_timeout(Duration::from_millis(20)));
    process.gate.set(true);
    assert_eq!(get(&server, "/metrics").status, 503);
    assert_eq!(get(&server, "/healthz").status, 200);
    process.gate.set(false);
    server.stop();
}

#[test]
fn panicking_source_keeps_endpoint_alive() {
    let (server, process) = start(Config::default());
    process.panics.store(1, Ordering::SeqCst);
    assert_eq!(get(&server, "/metrics").status, 500);
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
}

#[test]
fn client_without_reads_is_dropped() {
    let (server, process) = start(Config::default().with_write_timeout(Duration::from_millis(50)));
    let family = process.registry.counter("test_large_total", "Large.", &["key"]);
    for i in 0..20_000 {
        family.with(&[&format!("{i}-{}", "x".repeat(500))]).inc();
    }
    let mut lazy = connect(&server);
    lazy.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    while process.scraped.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    // Waits for its connections to end, the timeout being longer than the test has patience for.
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
    let mut rest = Vec::new();
    let _ = lazy.read_to_end(&mut rest);
    let (head, body) = rest.split_at(rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let announced = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    assert!(body.len() < announced, "the connection was to be cut before the end");
}
