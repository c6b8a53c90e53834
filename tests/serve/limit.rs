//! The limits of clients, each set by its name.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// A client that waits for longer than this has no response.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves a guest that reads the body of `/body` to its end, or to an error, and answers 200.
fn start(limits: &[&str]) -> Server {
    let flags: Vec<&str> = limits.iter().flat_map(|limit| ["--limit", limit]).collect();
    Server::start(&guest("hostile"), &[&["--tenant", "acme"], &*flags].concat())
}

/// Opens a connection and sends the beginning of a request.
fn send(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have closed it by now.
    let _ = stream.write_all(request.as_bytes());
    stream
}

/// Returns the status of a response.
fn status(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head).strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

fn aborted(text: &str, reason: &str) -> f64 {
    sum(text, "wasm_http_aborted_requests_total", &[("component", "hostile"), ("tenant", "acme"), ("reason", reason)])
}

fn instances(text: &str) -> f64 {
    value(text, "wasm_instances", &[("component", "hostile")])
}

/// A body beyond the limit is refused by its length, by what has arrived of it before the guest
/// starts, and while the guest reads it, even if the guest takes what it got for all of it.
#[test]
fn long_body_is_413() {
    let server = start(&["request-body-bytes=1KiB"]);
    let head = |length: &str| format!("POST /body HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n");
    let chunk = |len: usize| format!("{len:x}\r\n{}\r\n", "x".repeat(len));
    let whole = head("Content-Length: 1024") + &"x".repeat(1024);
    assert_eq!(status(&mut send(&server, &whole)), 200);
    let chunked = head("Transfer-Encoding: chunked");
    assert_eq!(status(&mut send(&server, &format!("{chunked}{}0\r\n\r\n", chunk(1024)))), 200);

    assert_eq!(status(&mut send(&server, &head("Content-Length: 1025"))), 413);
    assert_eq!(status(&mut send(&server, &format!("{chunked}{}", chunk(1025)))), 413);
    let mut slow = send(&server, &format!("{chunked}{}", chunk(1000)));
    server.scrape_until(|text| instances(text) == 1.0);
    slow.write_all(chunk(25).as_bytes()).unwrap();
    assert_eq!(status(&mut slow), 413);

    let requests =
        |text: &str, status| sum(text, "wasm_http_requests_total", &[("tenant", "acme"), ("status", status)]);
    let text = server.scrape_until(|text| requests(text, "413") == 3.0 && requests(text, "200") == 2.0);
    assert_eq!(aborted(&text, "body_limit"), 3.0, "{text}");
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
}

/// A client that has all of its connections gets no other, until one of them is closed.
#[test]
fn connections_of_client_are_bounded() {
    let server = start(&["client-connections=2"]);
    let request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = [send(&server, request), send(&server, request)];
    for stream in &mut open {
        assert_eq!(status(stream), 200);
    }
    let closed = |text: &str| {
        let labels = [("listener", "service"), ("reason", "client_limit")];
        value(text, "wasmetry_connections_closed_total", &labels)
    };
    assert_eq!(closed(&server.scrape()), 0.0);
    let mut third = send(&server, request);
    // It is closed, or reset if the request had arrived.
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)));
    server.scrape_until(|text| closed(text) == 1.0);
    drop(open);
    let begin = Instant::now();
    // The server learns of their end at its own pace.
    while agent().get(format!("{}/hello", server.url)).call().is_err() {
        assert!(begin.elapsed() < PATIENCE);
    }
}

/// A client whose guest has not ended gets 429 for another request.
#[test]
fn requests_of_client_are_bounded() {
    let server = start(&["client-requests=1"]);
    let hello = format!("{}/hello", server.url);
    for _ in 0..3 {
        let begin = Instant::now();
        // The guest may end a moment after its response.
        while get(&agent(), &hello).0 == 429 {
            assert!(begin.elapsed() < PATIENCE);
        }
    }
    let before = aborted(&server.scrape(), "client_limit");
    let mut upload = send(&server, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    server.scrape_until(|text| instances(text) == 1.0);
    let (status_of_second, text) = get(&agent(), &hello);
    assert_eq!(status_of_second, 429);
    assert!(text.contains("try again when one has ended"), "{text}");
    server.scrape_until(|text| aborted(text, "client_limit") == before + 1.0);
    upload.write_all(b"x").unwrap();
    assert_eq!(status(&mut upload), 200);
    let text = server.scrape_until(|text| instances(text) == 0.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
}

/// An upload that stalls gives its instance back after a time that is set.
#[test]
fn stalled_upload_ends_after_set_time() {
    let server = start(&["stalled-client-time=100ms", "contended-client-time=100ms"]);
    let begin = Instant::now();
    let mut upload = send(&server, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    assert_eq!(status(&mut upload), 408);
    assert!(begin.elapsed() < Duration::from_secs(10), "the default");
    let text = server.scrape_until(|text| aborted(text, "client_timeout") == 1.0);
    assert_eq!(instances(&text), 0.0);
}

/// A longer head than is set is refused, and half a head closes its connection after a time that is
/// set.
#[test]
fn heads_are_bounded() {
    let server = start(&["request-head-bytes=1KiB", "request-head-time=10ms"]);
    let head = |len: usize| format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    assert_eq!(status(&mut send(&server, &head(500))), 200);
    assert_eq!(status(&mut send(&server, &head(2000))), 431);
    let mut half = send(&server, "GET /hello HTTP/1.1\r\n");
    assert!(matches!(half.read(&mut [0]), Ok(0) | Err(_)));
    let labels = [("listener", "service"), ("reason", "head_timeout")];
    server.scrape_until(|text| value(text, "wasmetry_connections_closed_total", &labels) == 1.0);
}
