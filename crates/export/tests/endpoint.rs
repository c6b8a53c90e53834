//! The endpoint as its clients see it: requests written by hand to a socket, well meant and
//! hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::{Config, Server, Source};
use wasmetry_host::{Registry, Snapshot};

/// A test that waits longer than this hangs; no test expects to.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Process {
    registry: Registry,
    not_ready: Mutex<Option<String>>,
    scraped: AtomicU64,
    delivered: Mutex<Vec<Instant>>,
    panics: AtomicUsize,
    gate: Gate,
}

/// Holds snapshots back while it is closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.changed.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Process {
    fn snapshot(&self) -> Snapshot {
        let left = self.panics.load(Ordering::SeqCst);
        if left > 0 {
            self.panics.store(left - 1, Ordering::SeqCst);
            panic!("a source that panics, as the test wants");
        }
        self.gate.pass();
        self.registry.snapshot(Duration::ZERO)
    }

    fn ready(&self) -> Result<(), String> {
        match self.not_ready.lock().unwrap().clone() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn scraped(&self, _duration: Duration) {
        self.scraped.fetch_add(1, Ordering::SeqCst);
    }

    fn delivered(&self, start: Instant) {
        self.delivered.lock().unwrap().push(start);
    }
}

fn start(config: Config) -> (Server, Arc<Process>) {
    let registry = Registry::with_clock(|| 1_700_000_000_500_000_000);
    let process = Arc::new(Process { registry, ..Process::default() });
    process.registry.counter("test_events_total", "Events.", &[]).with(&[]).add(7);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start_with(listener, Arc::<Process>::clone(&process), config).unwrap();
    (server, process)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer, read to the connection's end.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no complete head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

fn request(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").unwrap();
    Answer::read(&mut stream)
}

fn get(server: &Server, path: &str) -> Answer {
    request(server, "GET", path, "")
}

#[test]
fn metrics_have_requested_format() {
    let (server, process) = start(Config::default());
    let text = get(&server, "/metrics");
    assert_eq!(text.status, 200);
    assert_eq!(text.header("content-type"), Some(wasmetry_host::encode::prometheus::CONTENT_TYPE));
    assert_eq!(text.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(text.header("content-length"), Some(text.body.len().to_string().as_str()));
    assert!(text.body.contains("\ntest_events_total 7\n"), "{}", text.body);
    assert!(!text.body.contains("# EOF"));

    let accept = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
    let open_metrics = request(&server, "GET", "/metrics?from=prometheus", accept);
    assert_eq!(open_metrics.status, 200);
    assert_eq!(open_metrics.header("content-type"), Some(wasmetry_host::encode::openmetrics::CONTENT_TYPE));
    assert!(open_metrics.body.ends_with("# EOF\n"), "{}", open_metrics.body);
    assert_eq!(process.scraped.load(Ordering::SeqCst), 2);
    // Start times are samples on request only, in a format that has them.
    for (query, accept, is_present) in [
        ("created=true", accept, true),
        ("from=prometheus&created=true", accept, true),
        ("created=true", "", false),
        ("created=false", accept, false),
        ("created", accept, false),
    ] {
        let answer = request(&server, "GET", &format!("/metrics?{query}"), accept);
        assert_eq!(answer.body.contains("\ntest_events_created 1700000000.5\n"), is_present, "{query} {accept:?}");
    }
    server.stop();
}

/// The head and the body of an answer whose body is no text.
fn bytes(server: &Server, method: &str, headers: &str) -> (Answer, Vec<u8>) {
    let mut stream = connect(server);
    write!(stream, "{method} /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (Answer { status, head, body: String::new() }, bytes.split_off(end + 4))
}

#[test]
fn metrics_are_compressed_when_accepted() {
    let (server, process) = start(Config::default());
    let family = process.registry.counter("test_large_total", "Large.", &["key"]);
    for i in 0..20_000 {
        family.with(&[&format!("value-{i}")]).add(i);
    }
    let plain = get(&server, "/metrics");
    assert_eq!(plain.header("content-encoding"), None);
    // The header of Prometheus.
    let (gzip, body) = bytes(&server, "GET", "Accept-Encoding: gzip\r\n");
    assert_eq!((gzip.status, gzip.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(gzip.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(gzip.header("content-type"), plain.header("content-type"));
    assert_eq!(gzip.header("content-length"), Some(body.len().to_string().as_str()));
    assert!(body.len() < plain.body.len() / 4, "{} of {}", body.len(), plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert!(text == plain.body, "what was compressed is what there was");

    let (head, nothing) = bytes(&server, "HEAD", "Accept-Encoding: gzip\r\n");
    assert_eq!((head.header("content-encoding"), nothing), (Some("gzip"), vec![]));
    assert_eq!(head.header("content-length"), gzip.header("content-length"));
    let (refused, body) = bytes(&server, "GET", "Accept-Encoding: gzip;q=0\r\n");
    assert_eq!((refused.header("content-encoding"), body.len()), (None, plain.body.len()));

    let accept =
        "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";
    let (protobuf, plain) = bytes(&server, "GET", accept);
    assert_eq!(protobuf.header("content-type"), Some(wasmetry_host::encode::protobuf::CONTENT_TYPE));
    let (_, body) = bytes(&server, "GET", &format!("{accept}Accept-Encoding: gzip\r\n"));
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut decoded).unwrap();
    assert!(decoded == plain && plain.starts_with(b"\x39\x0a\x11test_events_total"), "{:?}", &plain[..30]);
    server.stop();
}

#[test]
fn head_has_headers_without_body() {
    let (server, _) = start(Config::default());
    for path in ["/metrics", "/healthz", "/readyz", "/"] {
        let get = get(&server, path);
        let head = request(&server, "HEAD", path, "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    server.stop();
}

#[test]
fn unknown_paths_and_methods_are_explained() {
    let (server, _) = start(Config::default());
    for path in ["/metric", "/metrics/", "//metrics", "/favicon.ico", "/%6detrics"] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body, "not found; the paths are /metrics, /healthz, /readyz and /\n");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = request(&server, method, "/metrics", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(request(&server, method, "/nothing", "").status, 404, "{method}");
    }
    server.stop();
}

#[test]
fn page_links_to_every_path() {
    let (server, _) = start(Config::default());
    let page = get(&server, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(page.body.contains(&format!("href=\"{path}\"")), "{path}");
    }
    assert!(!page.body.contains("http"), "no external assets");
    server.stop();
}

#[test]
fn readiness_has_reason() {
    let (server, process) = start(Config::default());
    assert_eq!(get(&server, "/readyz").status, 200);
    *process.not_ready.lock().unwrap() = Some("compiling storefront.wasm".to_owned());
    let answer = get(&server, "/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "not ready: compiling storefront.wasm\n"));
    assert_eq!(get(&server, "/healthz").status, 200, "health does not depend on readiness");
    server.stop();
}

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

// Without a `Host`, as HTTP/1.0 allows.
#[test]
fn old_requests_without_host_are_answered() {
    let (server, _) = start(Config::default());
    for path in ["/metrics", "/healthz"] {
        let mut stream = connect(&server);
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut stream).status, 200, "{path}");
    }
    server.stop();
}

#[test]
fn only_whole_scrapes_are_delivered() {
    let (server, process) = start(Config::default());
    let family = process.registry.counter("test_large_total", "Large.", &["key"]);
    for i in 0..20_000 {
        family.with(&[&format!("{i}-{}", "x".repeat(500))]).inc();
    }
    let delivered = || process.delivered.lock().unwrap().len();
    // None of these is a scrape that was delivered.
    for (method, path) in [("HEAD", "/metrics"), ("GET", "/healthz"), ("GET", "/nope"), ("POST", "/metrics")] {
        request(&server, method, path, "");
    }
    // These clients go away before they have read the answer, which does not fit into the socket's
    // buffers.
    for connection in ["close", "keep-alive"] {
        let scraped = process.scraped.load(Ordering::SeqCst);
        let mut stream = connect(&server);
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n").unwrap();
        while process.scraped.load(Ordering::SeqCst) == scraped {
            std::thread::yield_now();
        }
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
