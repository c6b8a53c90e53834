//! Clients and snapshots that are slow, too large or broken, and leave the endpoint usable.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmetry_export::limits;
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
    let long = format!("X: {}\r\n", "x".repeat(limits::MAX_HEAD_BYTES - 200));
    assert_eq!(request(&server, "GET", "/metrics", &long).status, 200);
    let many = "X: x\r\n".repeat(limits::MAX_HEADERS + 1);
    assert_eq!(request(&server, "GET", "/metrics", &many).status, 431);

    // The answer comes though the client still sends.
    let mut stream = connect(&server);
    let head = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(16 * limits::MAX_HEAD_BYTES));
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).status, 431);
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
}

/// The body of a request that is refused is still being sent when the answer is complete.
#[test]
fn refusal_reaches_client_that_sends() {
    let (server, _) = start(Config::default().with_max_connections(1));
    let body = "x".repeat(8 * limits::MAX_BODY_BYTES);
    let length = body.len();
    for (path, status) in [("/login", 413), ("/metrics", 413), ("/recording", 413)] {
        let mut stream = connect(&server);
        write!(stream, "PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").unwrap();
        // The server has answered, and has closed the connection if it does not wait for the rest.
        stream.peek(&mut [0]).unwrap();
        for part in body.as_bytes().chunks(4096) {
            stream.write_all(part).unwrap();
        }
        assert_eq!(Answer::read(&mut stream).status, status, "{path}");
    }
    server.stop();
}

/// A client that sends without end after a refusal has the connection for a bounded time.
#[test]
fn endless_client_is_cut_off() {
    let (server, _) = start(Config::default().with_max_connections(1));
    let mut stream = connect(&server);
    write!(stream, "PUT /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", u64::MAX >> 1).unwrap();
    let sent = std::iter::repeat_with(|| stream.write_all(&[b'x'; 4096])).take_while(Result::is_ok).count();
    assert!(sent >= limits::CLOSE_BYTES / 4096, "{sent} parts");
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
