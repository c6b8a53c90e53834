//! The end of connections: by the server, by the client, and the scrapes that count as delivered.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmetry_export::scrape::Config;

use crate::process::{Answer, PATIENCE, connect, get, grow, request, start};

#[test]
fn stop_finishes_scrape_in_progress() {
    let (server, process) = start(Config::default().with_shutdown_timeout(PATIENCE));
    process.gate.set(true);
    let addr = server.local_addr();
    let mut scrape = connect(&server);
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    while process.gate.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let stopping = std::thread::spawn(move || server.stop());
    // The listener is closed first, so a refused connection means that stopping has begun.
    while TcpStream::connect(addr).is_ok() {
        std::thread::yield_now();
    }
    process.gate.set(false);
    // Read to the end: the connection, though kept alive by the client, is closed after the answer.
    assert_eq!(Answer::read(&mut scrape).status, 200);
    stopping.join().unwrap();
}

#[test]
fn stop_ignores_idle_connections() {
    let (server, _) = start(Config::default().with_shutdown_timeout(Duration::from_secs(3600)));
    let mut idle = connect(&server);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    idle.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let silent = connect(&server);
    server.stop();
    drop((idle, silent));
}

// The client closes its half of the connection behind its request, as `nc -N` does.
#[test]
fn half_closed_requests_are_answered() {
    let (server, process) = start(Config::default());
    for version in ["1.0", "1.1"] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            for is_slow in [false, true] {
                process.gate.set(is_slow && path == "/metrics");
                let mut stream = connect(&server);
                write!(stream, "GET {path} HTTP/{version}\r\nHost: test\r\n\r\n").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                if is_slow && path == "/metrics" {
                    // The close arrives while the snapshot is being taken.
                    while process.gate.waiting.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                }
                process.gate.set(false);
                assert_eq!(Answer::read(&mut stream).status, 200, "HTTP/{version} {path}");
            }
        }
    }
    server.stop();
}

#[test]
fn only_whole_scrapes_are_delivered() {
    let (server, process) = start(Config::default());
    grow(&process);
    let delivered = || process.delivered.lock().unwrap().len();
    // None of these is a scrape that was delivered.
    for (method, path) in [("HEAD", "/metrics"), ("GET", "/healthz"), ("GET", "/nope"), ("POST", "/metrics")] {
        request(&server, method, path, "");
    }
    // These clients go away before they have read the answer, which does not fit into the socket's
    // buffers.
    for connection in ["close", "keep-alive"] {
        let mut stream = connect(&server);
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n").unwrap();
        stream.peek(&mut [0]).unwrap();
        drop(stream);
    }
    let begin = Instant::now();
    // A client that closes its connection, and one that keeps it.
    assert_eq!(get(&server, "/metrics").status, 200);
    while delivered() < 1 {
        std::thread::yield_now();
    }
    let mut kept = connect(&server);
    write!(kept, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut buffer = vec![0; 1 << 16];
    while delivered() < 2 {
        // Until it has everything, the server cannot have delivered it.
        kept.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = kept.read(&mut buffer);
    }
    // The server has seen all of the clients by now, those that went away among them.
    server.stop();
    let delivered = process.delivered.lock().unwrap();
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|start| *start >= begin), "each has the start of its own scrape");
}

// The client reads nothing of a small answer, which fits into the socket's buffers, and resets the
// connection.
#[test]
fn reset_scrape_is_not_delivered() {
    let (server, process) = start(Config::default());
    for connection in ["close", "keep-alive"] {
        let scraped = process.scraped.load(Ordering::SeqCst);
        let mut stream = connect(&server);
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n").unwrap();
        while process.scraped.load(Ordering::SeqCst) == scraped {
            std::thread::yield_now();
        }
        // The answer is in the client's buffer: closing without having read it resets the
        // connection.
        let mut first = [0];
        stream.peek(&mut first).unwrap();
        drop(stream);
    }
    server.stop();
    assert_eq!(process.delivered.lock().unwrap().len(), 0);
}
