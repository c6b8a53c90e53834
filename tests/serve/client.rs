//! Clients that still send when they are refused, and those whose token has changed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent};

/// A client that waits for longer than this has no response.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The client reads the response only when it has sent everything. Closing the connection before
/// would reset it.
#[test]
fn refusal_reaches_client_that_sends() {
    let server = Server::start(&guest("uninstrumented"), &[]);
    let head = |rest: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}");
    let large_head = head(&format!("X: {}\r\n\r\n", "x".repeat(1 << 20)));
    let broken = head(&format!(" \r\n\r\n{}", "x".repeat(1 << 20)));
    // The guest answers before it has read the body.
    let length = 8 << 20;
    let upload = head(&format!("Content-Length: {length}\r\n\r\n{}", "x".repeat(length)));
    for (request, status) in [(large_head, 431), (broken, 400), (upload, 200)] {
        for _ in 0..10 {
            let mut stream = connect(&server);
            let (first, rest) = request.as_bytes().split_at(100_000);
            stream.write_all(first).unwrap();
            // The response is there, and the rest of the request is not.
            stream.peek(&mut [0]).unwrap();
            stream.write_all(rest).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
        }
    }
    // Stopping does not wait for clients that keep their half of a connection open.
    assert!(server.stop().0.success());
}

/// A renewed token needs no restart; a wrong one is reported, and the former stays in use.
#[test]
fn changed_token_needs_no_restart() {
    let [first, second] = ["first-0123456789", "second-0123456789"];
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), first).unwrap();
    let path = file.path().to_str().unwrap();
    let server =
        Server::start(&guest("uninstrumented"), &["--telemetry-token-file", path, "--telemetry-require-token"]);
    let status = |token: &str| {
        let request = agent().get(format!("{}/metrics", server.telemetry));
        request.header("authorization", format!("Bearer {token}")).call().unwrap().status().as_u16()
    };
    assert_eq!(status(first), 200);
    fs::write(file.path(), "short").unwrap();
    let line = server.wait_for("telemetry-token-file: ");
    assert!(line.contains("at least 16") && line.contains("the former token stays in use"), "{line}");
    assert_eq!(status(first), 200);
    fs::write(file.path(), second).unwrap();
    let begin = Instant::now();
    // Fewer wrong tokens than an address may send.
    while status(first) == 200 {
        assert!(begin.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert_eq!(status(second), 200);
}
