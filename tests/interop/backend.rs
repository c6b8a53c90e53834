//! Backends that receive OTLP.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use wasmetry_sink::{Reply, Sink, text};
use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::otlp::variables;
use wasmetry_tests::server::{Server, agent, get};

use crate::connection::PATIENCE;

/// Starts the log service, which exports logs to an endpoint.
fn serve(endpoint: &str, protocol: &str) -> Server {
    let mut variables = variables(endpoint, protocol);
    variables.push(("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "100".to_owned()));
    variables.extend(["METRICS", "TRACES"].map(|signal| match signal {
        "METRICS" => ("OTEL_METRICS_EXPORTER", "none".to_owned()),
        _ => ("OTEL_TRACES_EXPORTER", "none".to_owned()),
    }));
    Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables)
}

/// Requests `count` logs with numbers from `from` on.
fn request_logs(url: &str, from: u64, count: u64) {
    assert_eq!(get(&agent(), &format!("{url}/logs?from={from}&count={count}")).0, 200);
}

/// Waits until `count` logs are exported or dropped, and returns the numbers of sent and of dropped
/// ones.
fn outcomes(server: &Server, count: f64) -> (f64, f64) {
    let sent = [("signal", "logs"), ("destination", "otlp"), ("outcome", "sent")];
    let outcomes = |text: &str| {
        (sum(text, "wasmetry_export_records_total", &sent), sum(text, "wasmetry_dropped_total", &[("signal", "logs")]))
    };
    let text = server.scrape_until(|text| {
        let (sent, dropped) = outcomes(text);
        sent + dropped >= count
    });
    outcomes(&text)
}

/// A server that ends each connection with GOAWAY after a request loses nothing, and receives
/// nothing twice.
#[test]
fn goaway_under_load_loses_nothing() {
    const REQUESTS: u64 = 200;
    const EACH: u64 = 50;
    let sink = Sink::grpc(|_| Reply::GoAway);
    let server = serve(&sink.url("/"), "grpc");
    thread::scope(|scope| {
        for client in 0..4 {
            let url = server.url.as_str();
            scope.spawn(move || {
                for request in (client..REQUESTS).step_by(4) {
                    request_logs(url, request * EACH, EACH);
                }
            });
        }
    });
    let (status, stderr) = server.stop();
    assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{stderr:?}");
    let logs = sink.logs();
    let numbers: BTreeSet<u64> =
        logs.iter().map(|log| text(&log.record.attributes, "number").unwrap().parse().unwrap()).collect();
    assert_eq!((logs.len() as u64, numbers.len() as u64), (REQUESTS * EACH, REQUESTS * EACH));
    assert!(sink.seen().len() as u64 >= REQUESTS * EACH / 100);
}

/// The numbers of the logs in the body of a request in OTLP's JSON.
fn numbers(body: &[u8]) -> Vec<u64> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let scopes = body["resourceLogs"].as_array().unwrap().iter().flat_map(|of| of["scopeLogs"].as_array().unwrap());
    let records = scopes.flat_map(|scope| scope["logRecords"].as_array().unwrap());
    let number = |record: &Value| {
        let mut attributes = record["attributes"].as_array().unwrap().iter();
        let number = attributes.find(|attribute| attribute["key"] == "number").unwrap();
        number["value"]["intValue"].as_str().unwrap().parse().unwrap()
    };
    records.map(number).collect()
}

/// A backend of OTLP over HTTP in JSON that serves each connection with a function of the test.
struct Backend {
    url: String,
    received: Arc<Mutex<Vec<u64>>>,
}

impl Backend {
    /// Starts a backend. The function returns the numbers of received logs.
    fn start(serve: impl Fn(&mut TcpStream) -> Vec<u64> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<u64>>>::default();
        let numbers = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let more = serve(&mut stream);
                numbers.lock().unwrap().extend(more);
            }
        });
        Self { url, received }
    }
}

/// Reads the head of a request, and returns its `content-length`. Returns `None` at the end of the
/// connection.
fn read_head(stream: &mut TcpStream) -> Option<usize> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(length.unwrap().parse().unwrap())
}

fn read_body(stream: &mut TcpStream, length: usize) -> Vec<u64> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    numbers(&body)
}

/// A successful response that keeps the connection open.
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// A backend that closes each kept-alive connection without notice loses nothing.
#[test]
fn closed_keep_alive_loses_nothing() {
    const REQUESTS: u64 = 40;
    let backend = Backend::start(|stream| {
        let Some(length) = read_head(stream) else { return Vec::new() };
        let numbers = read_body(stream, length);
        stream.write_all(ACCEPTED).unwrap();
        // The connection closes although the response has kept it alive.
        numbers
    });
    let server = serve(&backend.url, "http/json");
    for request in 0..REQUESTS {
        request_logs(&server.url, request, 1);
        // Each log is an export of its own, on a connection that is closed meanwhile.
        assert_eq!(outcomes(&server, (request + 1) as f64), ((request + 1) as f64, 0.0));
    }
    assert!(server.stop().0.success());
    assert_eq!(*backend.received.lock().unwrap(), (0..REQUESTS).collect::<Vec<_>>());
}

/// A backend that responds before it has read the body receives each record once.
#[test]
fn early_response_is_accepted() {
    let backend = Backend::start(|stream| {
        let mut all = Vec::new();
        while let Some(length) = read_head(stream) {
            stream.write_all(ACCEPTED).unwrap();
            all.extend(read_body(stream, length));
        }
        all
    });
    let server = serve(&backend.url, "http/json");
    for request in 0..5 {
        request_logs(&server.url, request * 1000, 1000);
        let count = ((request + 1) * 1000) as f64;
        assert_eq!(outcomes(&server, count), (count, 0.0));
    }
    assert!(server.stop().0.success());
}

/// Partial successes in forms that other servers send are understood.
#[test]
fn odd_partial_successes_are_counted() {
    for (body, rejected) in [
        ("", 0.0),
        ("{}", 0.0),
        (r#"{"partialSuccess":{}}"#, 0.0),
        (r#"{"partialSuccess":null}"#, 0.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":""}}"#, 0.0),
        (r#"{"partialSuccess":{"errorMessage":"use gzip"}}"#, 0.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":"3"}}"#, 3.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":3,"errorMessage":"too old"}}"#, 3.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":"3","new":[1]},"newer":{}}"#, 3.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":"99"}}"#, 10.0),
        (r#"{"partialSuccess":{"rejectedLogRecords":"-1"}}"#, 0.0),
    ] {
        let backend = Backend::start(move |stream| {
            let mut all = Vec::new();
            while let Some(length) = read_head(stream) {
                all.extend(read_body(stream, length));
                let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
                write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").unwrap();
            }
            all
        });
        let server = serve(&backend.url, "http/json");
        request_logs(&server.url, 0, 10);
        assert_eq!(outcomes(&server, 10.0), (10.0 - rejected, rejected), "{body}");
        assert!(server.stop().0.success());
    }
}
