//! Clients that read slowly: they keep no one out, and do not stay for ever.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpSocket;
use wasmetry_export::limits;
use wasmetry_export::scrape::{Access, Answer as Answered, Closure, Config, Handler, Server};

use crate::process::{Answer, PATIENCE, Process, connect, dechunk, get, grow, start};

#[test]
fn client_without_reads_is_dropped() {
    let (server, process) = start(Config::default().with_write_timeout(Duration::from_millis(50)));
    grow(&process);
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
    let (_, body) = Answer::split(rest);
    assert_eq!(dechunk(&body), None, "the connection was to be cut before the end");
}

/// As many clients as an address has snapshots read nothing of their expositions. Another scrape
/// gets the snapshot of the first one once that has had its time.
#[test]
fn slow_clients_keep_nobody_out() {
    let patience = Duration::from_millis(50);
    let (server, process) = start(Config::default().with_write_timeout(PATIENCE).with_delivery_patience(patience));
    grow(&process);
    // One address has all snapshots but one.
    let mut lazy: Vec<_> = (1..limits::MAX_SNAPSHOTS).map(|_| begin_scrape(&server)).collect();
    assert_eq!(process.scraped.load(Ordering::SeqCst), 0, "each has its snapshot");
    let answer = get(&server, "/metrics");
    assert!(answer.status == 200 && answer.body.contains("test_events_total 7"));
    assert_eq!(process.scraped.load(Ordering::SeqCst), 2, "that scrape, and the one that was ended for it");
    assert_eq!(rest_of(&mut lazy[0]), None);
    assert_eq!(*process.closed.lock().unwrap(), [Closure::SlowReader]);
    // The others can still be read.
    assert!(rest_of(&mut lazy[1]).is_some());
    drop(lazy);
    server.stop();
}

#[test]
fn delivery_has_a_time_limit() {
    let timeout = Duration::from_millis(50);
    let (server, process) = start(Config::default().with_write_timeout(PATIENCE).with_delivery_timeout(timeout));
    grow(&process);
    let mut lazy = begin_scrape(&server);
    // Its snapshot is dropped though the client does nothing.
    while process.scraped.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(rest_of(&mut lazy), None);
    server.stop();
    assert_eq!(process.delivered.lock().unwrap().len(), 0);
}

/// Twelve clients of one address have all snapshots that it may have, or wait for one. The scrape
/// from another address waits for no one.
#[cfg(target_os = "linux")]
#[test]
fn one_address_leaves_snapshot_free() {
    let config = Config::default().with_write_timeout(PATIENCE).with_delivery_patience(PATIENCE);
    let (server, process) = start(config);
    grow(&process);
    let slow: Vec<_> = (0..12).map(|_| slow_reader(&server, "/metrics")).collect();
    for stream in slow.iter().take(limits::MAX_SNAPSHOTS - 1) {
        stream.peek(&mut [0]).unwrap();
    }
    let answer = get(&server, "/metrics");
    assert!(answer.status == 200 && answer.body.contains("test_events_total 7"));
    assert_eq!(*process.closed.lock().unwrap(), []);
    drop((slow, server));
}

/// The scraper has the address of twelve slow readers: one of them is closed for it.
#[test]
fn scraper_shares_address_with_slow_readers() {
    let patience = Duration::from_millis(500);
    let config = Config::default().with_write_timeout(PATIENCE).with_delivery_patience(patience);
    let (server, process) = start(config);
    grow(&process);
    let slow: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream
        })
        .collect();
    slow[limits::MAX_SNAPSHOTS - 2].peek(&mut [0]).unwrap();
    let answer = get(&server, "/metrics");
    assert!(answer.status == 200 && answer.body.contains("test_events_total 7"));
    wait_for(&process, Closure::SlowReader);
    drop((slow, server));
}

/// All connections have clients that read slowly, of one address.
#[cfg(target_os = "linux")]
#[test]
fn slow_readers_leave_connection_free() {
    let config = Config::default().with_write_timeout(PATIENCE).with_delivery_patience(PATIENCE);
    let config = config.with_max_connections(12).with_handler("/api", Access::View, Arc::new(Large));
    let (server, process) = start(config);
    let slow: Vec<_> = (0..12).map(|_| slow_reader(&server, "/api")).collect();
    for stream in &slow {
        stream.peek(&mut [0]).unwrap();
    }
    assert_eq!(get(&server, "/healthz").status, 200);
    assert_eq!(*process.closed.lock().unwrap(), [Closure::SlowReader]);
    assert_eq!(process.refusals(), [""; 0]);
    drop((slow, server));
}

/// A client that reads some bytes now and then makes progress, but has no more time than others.
#[test]
fn trickling_reader_is_closed() {
    let timeout = Duration::from_millis(100);
    let config = Config::default().with_write_timeout(PATIENCE).with_delivery_timeout(timeout);
    let (server, process) = start(config.with_handler("/api", Access::View, Arc::new(Large)));
    grow(&process);
    for path in ["/metrics", "/api"] {
        let mut stream = slow_reader(&server, path);
        let begin = Instant::now();
        let (mut part, mut received) = ([0; 512], Vec::new());
        while process.closed.lock().unwrap().is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{path}");
            let bytes = stream.read(&mut part).unwrap();
            assert_ne!(bytes, 0, "{path}");
            received.extend(&part[..bytes]);
            // The rate of the client: half a megabyte in a second.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(process.closed.lock().unwrap().drain(..).collect::<Vec<_>>(), [Closure::SlowReader], "{path}");
        let _ = stream.read_to_end(&mut received);
        // Each answer has more.
        assert!(Answer::split(received).1.len() < 11_000_000, "{path}");
    }
    server.stop();
    assert_eq!(process.delivered.lock().unwrap().len(), 0);
}

/// A response larger than the sockets' buffers.
struct Large;

impl Handler for Large {
    fn answer(&self, _: Request<Bytes>) -> Answered<'_> {
        let body = Full::new(Bytes::from(vec![b'x'; 32 << 20])).map_err(|never| match never {}).boxed_unsync();
        Box::pin(std::future::ready(Response::new(body)))
    }
}

/// Requests a path from 127.0.0.2 with a small receive buffer.
fn slow_reader(server: &Server, path: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        if cfg!(target_os = "linux") {
            socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        }
        socket.connect(server.local_addr()).await.unwrap().into_std().unwrap()
    });
    let mut stream = stream;
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream
}

/// Waits until a connection was closed for this reason.
fn wait_for(process: &Process, closure: Closure) {
    let begin = Instant::now();
    while !process.closed.lock().unwrap().contains(&closure) {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

/// Requests an exposition and waits for the begin of the answer.
fn begin_scrape(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    stream.peek(&mut [0]).unwrap();
    stream
}

/// Reads an answer in chunks. Returns `None` if it is incomplete.
fn rest_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // An incomplete one may end in a reset.
    let _ = stream.read_to_end(&mut bytes);
    dechunk(&Answer::split(bytes).1)
}
