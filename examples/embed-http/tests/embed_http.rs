//! The example serves a component with all its telemetry, and is as short as README has it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// The example's process, which is ended with the test.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request on a connection of its own, and returns the whole response.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// The lines of a pipe, read by a thread of their own.
fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// A collector that accepts everything; returns the paths of the requests that it got.
fn collector() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut stream, mut head) = (stream, String::new());
                while reader.read_line(&mut head).unwrap_or(0) > 0 {
                    if !head.ends_with("\r\n\r\n") {
                        continue;
                    }
                    let field = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
                    let len: usize = head.lines().find_map(field).unwrap_or(0);
                    reader.read_exact(&mut vec![0; len]).unwrap();
                    let _ = sender.send(head.split(' ').nth(1).unwrap_or_default().to_owned());
                    head.clear();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (format!("http://{address}"), receiver)
}

#[test]
fn requests_have_all_telemetry() {
    let binary = Path::new(env!("CARGO_BIN_EXE_embed-http"));
    // <target>/<profile>/embed-http
    let guest = binary.ancestors().nth(2).unwrap().join("guests/storefront.wasm");
    assert!(guest.exists(), "{} is missing: run `cargo xtask guests`", guest.display());
    let (endpoint, received) = collector();
    let mut child = Command::new(binary)
        .arg(guest)
        .args(["127.0.0.1:0", "127.0.0.1:0"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (logs, stderr) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
    let _host = Host(child);
    let started = stderr.recv_timeout(PATIENCE).unwrap();
    let [service, metrics] = started.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let service = service.strip_prefix("http://").unwrap();
    let metrics = metrics.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();

    let checkout = get(service, "/checkout?item=apple");
    assert!(checkout.starts_with("HTTP/1.1 200") && checkout.contains("Thank you"), "{checkout}");
    let boom = get(service, "/boom");
    assert!(boom.starts_with("HTTP/1.1 500"), "{boom}");

    // The guest ends after its response.
    let expected = [
        "http_requests_total{component=\"embedded\",method=\"GET\",route=\"/checkout\"} 1",
        "wasm_http_requests_total{component=\"embedded\",route=\"/checkout\",method=\"GET\",status=\"200\"} 1",
        "wasm_http_requests_total{component=\"embedded\",route=\"/boom\",method=\"GET\",status=\"500\"} 1",
        "wasm_http_request_duration_seconds_count{component=\"embedded\",route=\"/boom\"} 1",
        "wasm_traps_total{component=\"embedded\",reason=\"unreachable\",route=\"/boom\"} 1",
        "wasm_instances{component=\"embedded\"} 0",
    ];
    let begin = Instant::now();
    loop {
        let scrape = get(metrics, "/metrics");
        let missing: Vec<_> = expected.iter().filter(|line| !scrape.contains(*line)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{missing:?} in:\n{scrape}");
    }
    let sold = loop {
        let line = logs.recv_timeout(PATIENCE).unwrap();
        if line.contains("\"sold\"") {
            break line;
        }
    };
    assert!(sold.contains("\"service\":\"embedded\"") && sold.contains("trace_id"), "{sold}");
    let mut wanted = vec!["/v1/logs", "/v1/traces"];
    while !wanted.is_empty() {
        let path = received.recv_timeout(PATIENCE).unwrap();
        wanted.retain(|wanted| *wanted != path);
    }
}

#[test]
fn example_has_under_100_lines() {
    let source = include_str!("../src/main.rs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = source.lines().filter(is_code).count();
    assert!(lines < 100, "{lines} lines of code");
}
