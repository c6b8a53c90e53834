//! Delivery to a backend: every log, span and metric is received or counted as dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmetry_sink::proto::common::v1::KeyValue;
use wasmetry_sink::proto::logs::v1::LogRecord;
use wasmetry_sink::proto::metrics::v1::metric::Data;
use wasmetry_sink::{Arrived, Reply, Sink, Version, text};
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, PROTOCOLS, ReceivedMetrics};
use wasmetry_tests::server::{Server, agent, command, get};

/// The number of logs, and of spans around them, that the log service records in one request.
const EACH: u64 = 50;

/// The flags of servers whose records are counted: slow requests have none in the access log, and
/// no lines on stdout.
const FLAGS: [&str; 4] = ["--access-log", "failed", "--log-format", "off"];

/// Sends requests from four clients, each of which calls `pause` before every eighth request.
fn send_requests(server: &Server, requests: u64, path: impl Fn(u64) -> String + Sync, pause: impl Fn() + Sync) {
    const CLIENTS: u64 = 4;
    let url = server.url.as_str();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (path, pause) = (&path, &pause);
            scope.spawn(move || {
                let agent = agent();
                for request in (client..requests).step_by(CLIENTS as usize) {
                    if request % 32 == client {
                        pause();
                    }
                    assert_eq!(get(&agent, &format!("{url}{}", path(request))).0, 200);
                }
            });
        }
    });
}

/// Returns the path of a request that records logs with numbers of its own.
fn logs_path(request: u64) -> String {
    format!("/logs?from={}&count={EACH}", request * EACH)
}

/// The number of a request's spans without a number: the server span and the guest's own one.
const AROUND: u64 = 2;

/// Returns the `number` attributes of received records, and checks that none was received twice.
fn numbers<'a>(attributes: impl Iterator<Item = &'a [KeyValue]>) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for number in attributes.filter_map(|attributes| text(attributes, "number")) {
        assert!(all.insert(number.parse().unwrap()), "{number} was received twice");
    }
    all
}

/// Returns the numbers of the received logs.
fn log_numbers(sink: &Sink) -> BTreeSet<u64> {
    let logs = sink.logs();
    numbers(logs.iter().map(|log| log.record.attributes.as_slice()))
}

/// Returns the numbers of the received spans, and the number of spans without one.
fn span_numbers(sink: &Sink) -> (BTreeSet<u64>, u64) {
    let spans = sink.spans();
    let numbers = numbers(spans.iter().map(|span| span.record.attributes.as_slice()));
    let others = spans.len() - numbers.len();
    (numbers, others as u64)
}

/// Returns the number of lost records that the command has reported, or 0 without a report.
fn lost(stderr: &[String]) -> u64 {
    let line = stderr.iter().find_map(|line| line.split_once("metric points: ")).map(|(_, rest)| rest);
    line.map_or(0, |rest| rest.split(';').next().unwrap().parse().unwrap())
}

/// Returns the number of queued records of a signal.
fn queued(scrape: &str, signal: &str) -> f64 {
    value(scrape, "wasmetry_export_queue_records", &[("signal", signal), ("destination", "otlp")])
}

/// Returns variables that limit the queues to `records`.
fn queue_sizes(records: u64) -> [(&'static str, String); 2] {
    ["OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"].map(|name| (name, records.to_string()))
}

/// An available backend receives all of 100,000 logs and spans.
#[test]
fn available_backend_receives_every_record() {
    const MANY: u64 = 100_000;
    const REQUESTS: u64 = MANY / EACH;
    let sink = Sink::start(|_| Reply::Accept);
    let server =
        Server::start_with(&guest("log-service"), &FLAGS[..2], &otlp::variables(&sink.url("/"), "http/protobuf"));
    send_requests(&server, REQUESTS, logs_path, || {
        // The clients share the cores with the command and the sink, so they wait for the export.
        server.scrape_until(|text| queued(text, "logs") < 40_000.0 && queued(text, "spans") < 40_000.0);
    });
    let (status, stderr) = server.stop();
    assert!(status.success() && lost(&stderr) == 0, "{stderr:?}");

    let all: BTreeSet<u64> = (0..MANY).collect();
    assert_eq!(log_numbers(&sink), all);
    let (numbered, others) = span_numbers(&sink);
    assert_eq!((numbered == all, others), (true, AROUND * REQUESTS));
    // The last metrics were exported after that, with the same numbers.
    let received = ReceivedMetrics::cumulative(&sink.metrics());
    let sent = |signal| [("signal", signal), ("destination", "otlp"), ("outcome", "sent")];
    assert_eq!(received.sum("wasmetry_export_records_total", &sent("logs")), MANY as f64);
    assert_eq!(received.sum("wasmetry_export_records_total", &sent("spans")), (MANY + AROUND * REQUESTS) as f64);
    // The console keeps the latest of them; what it drops was exported.
    let of_console = received.sum("wasmetry_dropped_total", &[("reason", "console_memory")]);
    assert_eq!(received.sum("wasmetry_dropped_total", &[]), of_console);
    assert_eq!(received.sum("lines_total", &[]), MANY as f64);
    assert_eq!(received.sum("wasm_http_requests_total", &[("status", "200")]), REQUESTS as f64);
}

/// With a failing backend and short queues, every record is exported or counted as dropped.
#[test]
fn overloaded_backend_drops_are_counted() {
    const REQUESTS: u64 = 100_000 / EACH;
    // Every other request fails, and the queues are as short as a batch.
    let sink = Sink::start(|number| match number % 2 {
        0 => Reply::Status(503, Vec::new(), "later"),
        _ => Reply::Accept,
    });
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend(queue_sizes(1000));
    variables.push(("OTEL_METRICS_EXPORTER", "none".to_owned()));
    let server = Server::start_with(&guest("log-service"), &FLAGS, &variables);
    send_requests(&server, REQUESTS, logs_path, || ());
    let scrape = server.scrape();
    assert_eq!(sum(&scrape, "wasmetry_dropped_total", &[("signal", "records")]), 0.0);
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let (logs, (spans, others)) = (log_numbers(&sink).len() as u64, span_numbers(&sink));
    assert!(logs > 0 && !spans.is_empty());
    let lost = lost(&stderr);
    assert!(lost > 0, "{stderr:?}");
    assert_eq!(logs + spans.len() as u64 + others + lost, (2 * EACH + AROUND) * REQUESTS);
}

/// Returns the least duration of the outage, in as many seconds as `WASMETRY_TEST_OUTAGE_SECONDS`
/// has.
fn outage() -> Duration {
    let seconds = std::env::var("WASMETRY_TEST_OUTAGE_SECONDS").unwrap_or_else(|_| "30".to_owned());
    Duration::from_secs(seconds.parse().expect("WASMETRY_TEST_OUTAGE_SECONDS is a number of seconds"))
}

/// After an outage the backend receives the full queues, and every other record was counted as
/// dropped.
#[test]
fn outage_keeps_a_full_queue() {
    const ROOM: u64 = 5000;
    const ROUND: u64 = 200;
    let [addr] = free_addresses();
    let mut variables = otlp::variables(&format!("http://{addr}"), "http/protobuf");
    variables.extend(queue_sizes(ROOM));
    // The console has memory of its own.
    let flags = [&FLAGS[..], &["--no-console"]].concat();
    let server = Server::start_with(&guest("log-service"), &flags, &variables);
    let resident = |scrape: &str| value(scrape, "process_resident_memory_bytes", &[]) / f64::from(1 << 20);
    let (begin, mut requests, mut full) = (Instant::now(), 0, None);
    while requests < 4 * ROUND || begin.elapsed() < outage() {
        send_requests(&server, ROUND, |request| logs_path(requests + request), || ());
        requests += ROUND;
        let recorded = [("logs", requests * EACH), ("spans", requests * (EACH + AROUND))];
        let scrape = server.scrape_until(|text| {
            recorded.iter().all(|(signal, recorded)| {
                let dropped = sum(text, "wasmetry_dropped_total", &[("signal", signal), ("reason", "queue_full")]);
                // There are never more drops, and in the end exactly as many.
                assert!(
                    queued(text, signal) <= ROOM as f64 && dropped <= (recorded - ROOM) as f64,
                    "{signal}: {dropped}"
                );
                (queued(text, signal), dropped) == (ROOM as f64, (recorded - ROOM) as f64)
            })
        });
        // The first round fills the queues and the instances' pool.
        full = full.or(Some(resident(&scrape)));
    }
    let growth = resident(&server.scrape()) - full.unwrap();
    eprintln!(
        "outage of {:?}: {} logs and {} spans recorded, {ROOM} of each queued; resident {:.1} MiB, {growth:+.1} MiB since the queues were full",
        begin.elapsed(),
        requests * EACH,
        requests * (EACH + AROUND),
        full.unwrap() + growth,
    );
    assert!(growth < 16.0, "{growth} MiB");

    let sink = Sink::start_on(TcpListener::bind(addr).unwrap(), Version::Http, |_| Ok(()), |_| Reply::Accept);
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let (spans, others) = span_numbers(&sink);
    assert_eq!((log_numbers(&sink).len() as u64, spans.len() as u64 + others), (ROOM, ROOM));
    assert_eq!(lost(&stderr), requests * (2 * EACH + AROUND) - 2 * ROOM);
    // An outage loses no cumulative metrics.
    let received = ReceivedMetrics::cumulative(&sink.metrics());
    assert_eq!(received.sum("lines_total", &[]), (requests * EACH) as f64);
    assert_eq!(received.sum("wasmetry_dropped_total", &[("signal", "logs")]), (requests * EACH - ROOM) as f64);
}

/// Returns the numbers of the received audit records, and of the other logs.
fn numbers_by_stream(sink: &Sink) -> [BTreeSet<u64>; 2] {
    let logs = sink.logs();
    let is_audit = |log: &&Arrived<LogRecord>| log.resource_attribute("stream").as_deref() == Some("audit");
    let of = |logs: Vec<&Arrived<LogRecord>>| numbers(logs.into_iter().map(|log| log.record.attributes.as_slice()));
    let (audits, others) = logs.iter().partition(is_audit);
    [of(audits), of(others)]
}

#[test]
fn audit_records_have_own_room() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let sink =
        Sink::start(
            move |_| {
                if down.load(Ordering::SeqCst) { Reply::Status(503, Vec::new(), "down") } else { Reply::Accept }
            },
        );
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend(queue_sizes(300));
    variables.extend([("OTEL_METRICS_EXPORTER", "none".to_owned()), ("OTEL_TRACES_EXPORTER", "none".to_owned())]);
    let server = Server::start_with(&guest("log-service"), &FLAGS, &variables);
    let request = |path: &str| assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
    // There is room for 300 logs, and for as many audit records.
    request("/logs?from=0&count=1000");
    request("/audit?from=5000&count=200");
    request("/logs?from=1000&count=1000");
    is_down.store(false, Ordering::SeqCst);
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let [audits, others] = numbers_by_stream(&sink);
    assert_eq!(audits, (5000..5200).collect());
    assert_eq!((others.len(), lost(&stderr)), (300, 1700));
}

/// Audit records are exported at any level and sampling, in streams of their own.
#[test]
fn audit_records_have_separate_streams() {
    let sink = Sink::start(|_| Reply::Accept);
    let directory = tempfile::tempdir().unwrap();
    let (audit, stdout) = (directory.path().join("audit.jsonl"), directory.path().join("stdout"));
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend([
        ("OTEL_TRACES_SAMPLER", "always_off".to_owned()),
        ("WASMETRY_AUDIT_FILE", audit.display().to_string()),
        ("WASMETRY_LOKI_ENDPOINT", sink.url("/")),
    ]);
    let arguments = ["--log-level", "off", "--record-level", "off", "--no-keep-failed"];
    let server = Server::start_with_stdout(&guest("log-service"), &arguments, &variables, &stdout);
    for path in ["/audit?from=0&count=5", "/logs?from=10&count=5", "/levels"] {
        assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
    }
    let (status, stderr) = server.stop();
    assert!(status.success() && lost(&stderr) == 0, "{stderr:?}");

    assert_eq!(numbers_by_stream(&sink), [(0..5).collect(), BTreeSet::new()]);
    // The audit record of `/levels` has no number.
    let logs = sink.logs();
    let others: Vec<_> = logs.iter().filter(|log| text(&log.record.attributes, "number").is_none()).collect();
    let [other] = others[..] else { panic!("{others:?}") };
    assert_eq!(otlp::text(other.record.body.as_ref()), "signed in");
    assert!(sink.spans().is_empty(), "no trace is sampled");
    sink.with(|state| {
        let streams = state.streams();
        assert!(streams.iter().all(|stream| stream.label("stream") == Some("audit")), "{streams:?}");
        assert_eq!(streams.iter().map(|stream| stream.entries.len()).sum::<usize>(), 6);
    });
    let lines = std::fs::read_to_string(audit).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 6 && lines.iter().all(|line| line["audit"] == true), "{lines:?}");
    assert_eq!(std::fs::read_to_string(stdout).unwrap(), "", "audit records are only in their file");
}

/// The exported metrics equal the traffic, over each transport and with each temporality.
#[test]
fn pushed_metrics_equal_the_traffic() {
    const TRAFFIC: [(&str, u64, u16); 5] = [
        ("/", 60, 200),
        ("/cart", 40, 200),
        ("/checkout?item=unicorn", 20, 503),
        ("/boom", 15, 500),
        ("/slow?ms=1", 10, 200),
    ];
    for (protocol, temporality) in
        PROTOCOLS.into_iter().flat_map(|protocol| ["cumulative", "delta"].map(|temporality| (protocol, temporality)))
    {
        let sink = if protocol == "grpc" { Sink::grpc(|_| Reply::Accept) } else { Sink::start(|_| Reply::Accept) };
        let mut variables = otlp::variables(&sink.url("/"), protocol);
        variables.extend([
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality.to_owned()),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip".to_owned()),
            // Exports happen in the middle of requests.
            ("OTEL_METRIC_EXPORT_INTERVAL", "20".to_owned()),
        ]);
        let arguments =
            ["--name", "shop", "--component-version", "1.2", "--tenant", "acme", "--request-timeout", "20s"];
        let server = Server::start_with(&guest("storefront"), &arguments, &variables);
        thread::scope(|scope| {
            for (path, count, status) in TRAFFIC {
                let url = format!("{}{path}", server.url);
                scope.spawn(move || {
                    let agent = agent();
                    (0..count).for_each(|_| assert_eq!(get(&agent, &url).0, status));
                });
            }
        });
        // At least one export precedes the last one.
        sink.wait(|state| !state.metrics().is_empty());
        let (status, stderr) = server.stop();
        assert!(status.success() && lost(&stderr) == 0, "{stderr:?}");

        let metrics = sink.metrics();
        let received = match temporality {
            "delta" => ReceivedMetrics::delta(&metrics),
            _ => ReceivedMetrics::cumulative(&metrics),
        };
        let shop = [("component", "shop"), ("service.name", "shop"), ("service.version", "1.2"), ("tenant", "acme")];
        let of = |labels: &[(&'static str, &'static str)]| [&shop[..], labels].concat();
        for (path, count, status) in TRAFFIC {
            let route = path.split('?').next().unwrap();
            let requests = received.sum("http_requests_total", &of(&[("route", route), ("method", "GET")]));
            // A request that traps is counted, but its duration is never observed.
            let times = received.sum("http_request_duration_seconds", &of(&[("route", route)]));
            assert_eq!((requests, times), (count as f64, if status == 500 { 0.0 } else { count as f64 }), "{path}");
        }
        assert_eq!(received.sum("wasm_traps_total", &of(&[("reason", "unreachable")])), 15.0);
        assert_eq!(received.sum("wasm_http_requests_total", &of(&[("status", "200")])), 110.0);
        assert_eq!(received.sum("wasm_http_request_duration_seconds", &shop), 145.0);
        let process = received.sum("process_resident_memory_bytes", &[("service.name", "wasmetry")]);
        assert!(process > 1e6, "{process}");
        let kinds: BTreeMap<&str, i32> = metrics
            .iter()
            .filter_map(|metric| match &metric.record.data {
                Some(Data::Sum(sum)) => Some((metric.record.name.as_str(), sum.aggregation_temporality)),
                Some(Data::Histogram(of)) => Some((metric.record.name.as_str(), of.aggregation_temporality)),
                _ => None,
            })
            .collect();
        let expected = if temporality == "delta" { 1 } else { 2 };
        assert!(kinds.len() > 5 && kinds.values().all(|kind| *kind == expected), "{kinds:?}");
    }
}

#[test]
fn program_exports_at_its_end() {
    for (arguments, code, trap) in [(["count", "7"], 0, 0.0), (["trap", "7"], 134, 1.0)] {
        let sink = Sink::start(|_| Reply::Accept);
        let run = Command::new(command())
            .arg("run")
            .arg(guest("job"))
            .args(["--name", "nightly", "--"])
            .args(arguments)
            .args(["count", "5"])
            .envs(otlp::variables(&sink.url("/"), "http/protobuf"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(code), "{}", String::from_utf8_lossy(&run.stderr));
        let metrics = sink.metrics();
        let received = ReceivedMetrics::cumulative(&metrics);
        let nightly = [("component", "nightly")];
        assert_eq!(received.sum("counted_total", &nightly), if code == 0 { 12.0 } else { 0.0 });
        assert_eq!(received.sum("wasm_run_exit_code", &nightly), f64::from(code));
        assert_eq!(received.sum("wasm_traps_total", &nightly), trap);
        assert_eq!(received.sum("wasmetry_dropped_total", &[]), 0.0);
        // Spans are exported before the metrics, which count them.
        let spans = [("signal", "spans"), ("outcome", "sent")];
        assert_eq!(received.sum("wasmetry_export_records_total", &spans), sink.spans().len() as f64);
    }
}

/// The audit file is renamed and SIGHUP sent, as `logrotate` does, and deleted without a signal.
/// The next records go to a new file.
#[test]
fn rotated_audit_file_is_reopened() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("audit.jsonl"), directory.path().join("audit.1"));
    let variables = [("WASMETRY_AUDIT_FILE", path.display().to_string())];
    let server = Server::start_with(&guest("log-service"), &FLAGS[..2], &variables);
    let write = |from: u64, all: f64| {
        let (status, text) = get(&agent(), &format!("{}/audit?from={from}&count=2", server.url));
        assert_eq!(status, 200, "{text}");
        let labels = [("destination", "audit"), ("outcome", "sent")];
        server.scrape_until(|text| sum(text, "wasmetry_export_records_total", &labels) == all);
    };
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    write(1, 2.0);
    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    // The signal alone opens the new file, without a record for it.
    let end = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < end, "the file was not opened again");
        std::thread::yield_now();
    }
    write(10, 4.0);
    assert_eq!((lines(&moved), lines(&path)), (2, 2));
    std::fs::remove_file(&path).unwrap();
    write(20, 6.0);
    assert_eq!(lines(&path), 2);
    assert!(server.stop().0.success());
}
