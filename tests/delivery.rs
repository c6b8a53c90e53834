//! Nothing is lost that is not counted: logs, spans and metrics of real guests, served by the real command, at a backend.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmetry_sink::proto::common::v1::KeyValue;
use wasmetry_sink::proto::logs::v1::LogRecord;
use wasmetry_sink::proto::metrics::v1::metric::Data;
use wasmetry_sink::{Arrived, PATIENCE, Reply, Sink, Version, text};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, PROTOCOLS};
use wasmetry_tests::reading::Reading;
use wasmetry_tests::server::{Server, agent, command, get};

/// Logs, and as many spans, that the log service records in one request.
const EACH: u64 = 50;

/// Sends requests from four clients, each of which reads every answer, with what `pause` does before each few of them.
fn drive(server: &Server, requests: u64, path: impl Fn(u64) -> String + Sync, pause: impl Fn() + Sync) {
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

fn chat(request: u64) -> String {
    format!("/chat?from={}&count={EACH}", request * EACH)
}

/// Spans of a request that are not numbered: the host's and the guest's own.
const AROUND: u64 = 2;

/// The numbers of what arrived, of which none came twice.
fn numbers<'a>(attributes: impl Iterator<Item = &'a [KeyValue]>) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for number in attributes.filter_map(|attributes| text(attributes, "number")) {
        assert!(all.insert(number.parse().unwrap()), "{number} came twice");
    }
    all
}

fn of_logs(sink: &Sink) -> BTreeSet<u64> {
    let logs = sink.logs();
    numbers(logs.iter().map(|log| log.record.attributes.as_slice()))
}

/// The numbers of spans, and how many spans have none.
fn of_spans(sink: &Sink) -> (BTreeSet<u64>, u64) {
    let spans = sink.spans();
    let numbers = numbers(spans.iter().map(|span| span.record.attributes.as_slice()));
    let others = spans.len() - numbers.len();
    (numbers, others as u64)
}

/// The number of records that the command says were lost, which it says where there are any.
fn lost(said: &[String]) -> u64 {
    let line = said.iter().find_map(|line| line.split_once("that were lost: ")).map(|(_, rest)| rest);
    line.map_or(0, |rest| rest.split(';').next().unwrap().parse().unwrap())
}

/// Scrapes until `done`: what a request recorded is there a moment after its answer.
fn scrape_until(telemetry: &str, done: impl Fn(&str) -> bool) -> String {
    let (end, agent) = (Instant::now() + PATIENCE, agent());
    loop {
        let (_, text) = get(&agent, &format!("{telemetry}/metrics"));
        if done(&text) {
            return text;
        }
        assert!(Instant::now() < end, "it does not come about:\n{text}");
    }
}

/// Records of a signal that wait to be sent.
fn queued(scrape: &str, signal: &str) -> f64 {
    value(scrape, "wasmetry_export_queue_records", &[("signal", signal), ("destination", "otlp")])
}

/// Queues of so many records.
fn queues(records: u64) -> [(&'static str, String); 2] {
    ["OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"].map(|name| (name, records.to_string()))
}

#[test]
fn a_hundred_thousand_logs_and_spans_arrive_while_the_backend_is_up() {
    const MANY: u64 = 100_000;
    const REQUESTS: u64 = MANY / EACH;
    let sink = Sink::start(|_| Reply::Accept);
    let server = Server::start_with(&guest("log-service"), &[], &otlp::variables(&sink.url("/"), "http/protobuf"));
    let telemetry = server.telemetry.as_str();
    drive(&server, REQUESTS, chat, || {
        // These clients ask as fast as they are answered, and everything here runs on the same cores.
        scrape_until(telemetry, |text| queued(text, "logs") < 40_000.0 && queued(text, "spans") < 40_000.0);
    });
    let (status, said) = server.stop();
    assert!(status.success() && lost(&said) == 0, "{said:?}");

    let all: BTreeSet<u64> = (0..MANY).collect();
    assert_eq!(of_logs(&sink), all);
    let (numbered, others) = of_spans(&sink);
    assert_eq!((numbered == all, others), (true, AROUND * REQUESTS));
    // The last metrics were pushed after that, and tell the same.
    let reading = Reading::cumulative(&sink.metrics());
    let sent = |signal| [("signal", signal), ("destination", "otlp"), ("outcome", "sent")];
    assert_eq!(reading.sum("wasmetry_export_records_total", &sent("logs")), MANY as f64);
    assert_eq!(reading.sum("wasmetry_export_records_total", &sent("spans")), (MANY + AROUND * REQUESTS) as f64);
    assert_eq!(reading.sum("wasmetry_dropped_total", &[]), 0.0);
    assert_eq!(reading.sum("lines_total", &[]), MANY as f64);
    assert_eq!(reading.sum("wasm_http_requests_total", &[("status", "200")]), REQUESTS as f64);
}

#[test]
fn of_what_is_too_much_for_a_backend_every_record_arrives_or_is_counted() {
    const REQUESTS: u64 = 100_000 / EACH;
    // It fails as often as not, and the queues are as short as a batch.
    let sink = Sink::start(|number| match number % 2 {
        0 => Reply::Status(503, Vec::new(), "later"),
        _ => Reply::Accept,
    });
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend(queues(1000));
    variables.push(("OTEL_METRICS_EXPORTER", "none".to_owned()));
    let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
    drive(&server, REQUESTS, chat, || ());
    let scrape = server.scrape();
    assert_eq!(sum(&scrape, "wasmetry_dropped_total", &[("signal", "records")]), 0.0);
    let (status, said) = server.stop();
    assert!(status.success(), "{said:?}");
    let (logs, (spans, others)) = (of_logs(&sink).len() as u64, of_spans(&sink));
    assert!(logs > 0 && !spans.is_empty());
    let lost = lost(&said);
    assert!(lost > 0, "{said:?}");
    assert_eq!(logs + spans.len() as u64 + others + lost, (2 * EACH + AROUND) * REQUESTS);
}

/// How long the backend is away, at the least: for as many seconds as the variable says.
fn outage() -> Duration {
    let seconds = std::env::var("WASMETRY_TEST_OUTAGE_SECONDS").unwrap_or_else(|_| "30".to_owned());
    Duration::from_secs(seconds.parse().expect("WASMETRY_TEST_OUTAGE_SECONDS is a number of seconds"))
}

#[test]
fn a_backend_that_was_away_receives_what_the_queues_have_room_for_and_the_rest_is_counted() {
    const ROOM: u64 = 5000;
    const ROUND: u64 = 200;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let mut variables = otlp::variables(&format!("http://{addr}"), "http/protobuf");
    variables.extend(queues(ROOM));
    let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
    let resident = |scrape: &str| value(scrape, "process_resident_memory_bytes", &[]) / f64::from(1 << 20);
    let (begin, mut requests, mut full) = (Instant::now(), 0, None);
    while requests < 4 * ROUND || begin.elapsed() < outage() {
        drive(&server, ROUND, |request| chat(requests + request), || ());
        requests += ROUND;
        let recorded = [("logs", requests * EACH), ("spans", requests * (EACH + AROUND))];
        let scrape = scrape_until(&server.telemetry, |text| {
            recorded.iter().all(|(signal, recorded)| {
                let dropped = value(text, "wasmetry_dropped_total", &[("signal", signal), ("reason", "queue_full")]);
                // Never more, and in the end as many as were promised.
                assert!(
                    queued(text, signal) <= ROOM as f64 && dropped <= (recorded - ROOM) as f64,
                    "{signal}: {dropped}"
                );
                (queued(text, signal), dropped) == (ROOM as f64, (recorded - ROOM) as f64)
            })
        });
        // From when the queues and the instances' pool are full.
        full = full.or(Some(resident(&scrape)));
    }
    let growth = resident(&server.scrape()) - full.unwrap();
    eprintln!(
        "away for {:?}: {} logs and {} spans recorded, {ROOM} of each kept; resident {:.1} MiB, {growth:+.1} MiB since the queues were full",
        begin.elapsed(),
        requests * EACH,
        requests * (EACH + AROUND),
        full.unwrap() + growth,
    );
    assert!(growth < 16.0, "{growth} MiB");

    let sink = Sink::start_on(TcpListener::bind(addr).unwrap(), Version::Http, |_| Ok(()), |_| Reply::Accept);
    let (status, said) = server.stop();
    assert!(status.success(), "{said:?}");
    let (spans, others) = of_spans(&sink);
    assert_eq!((of_logs(&sink).len() as u64, spans.len() as u64 + others), (ROOM, ROOM));
    assert_eq!(lost(&said), requests * (2 * EACH + AROUND) - 2 * ROOM);
    // Cumulative metrics lose nothing by an outage.
    let reading = Reading::cumulative(&sink.metrics());
    assert_eq!(reading.sum("lines_total", &[]), (requests * EACH) as f64);
    assert_eq!(reading.sum("wasmetry_dropped_total", &[("signal", "logs")]), (requests * EACH - ROOM) as f64);
}

/// The numbers of audit records, and of others, that arrived.
fn streams(sink: &Sink) -> [BTreeSet<u64>; 2] {
    let logs = sink.logs();
    let is_audit = |log: &&Arrived<LogRecord>| log.resource_attribute("stream").as_deref() == Some("audit");
    let of = |logs: Vec<&Arrived<LogRecord>>| numbers(logs.into_iter().map(|log| log.record.attributes.as_slice()));
    let (audits, others) = logs.iter().partition(is_audit);
    [of(audits), of(others)]
}

#[test]
fn audit_records_are_dropped_after_all_others() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let sink =
        Sink::start(
            move |_| {
                if down.load(Ordering::SeqCst) { Reply::Status(503, Vec::new(), "down") } else { Reply::Accept }
            },
        );
    let mut variables = otlp::variables(&sink.url("/"), "http/protobuf");
    variables.extend(queues(300));
    variables.extend([("OTEL_METRICS_EXPORTER", "none".to_owned()), ("OTEL_TRACES_EXPORTER", "none".to_owned())]);
    let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
    let say = |path: &str| assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
    // More than there is room for, before and after.
    say("/chat?from=0&count=1000");
    say("/audit?from=5000&count=200");
    say("/chat?from=1000&count=1000");
    is_down.store(false, Ordering::SeqCst);
    let (status, said) = server.stop();
    assert!(status.success(), "{said:?}");
    let [audits, others] = streams(&sink);
    assert_eq!(audits, (5000..5200).collect());
    assert!((100..=300).contains(&others.len()), "{others:?}");
    assert_eq!(lost(&said), 2000 - others.len() as u64);
}

#[test]
fn audit_records_are_never_sampled_and_have_streams_of_their_own() {
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
    for path in ["/audit?from=0&count=5", "/chat?from=10&count=5", "/say"] {
        assert_eq!(get(&agent(), &format!("{}{path}", server.url)).0, 200);
    }
    let (status, said) = server.stop();
    assert!(status.success() && lost(&said) == 0, "{said:?}");

    assert_eq!(streams(&sink), [(0..5).collect(), BTreeSet::new()]);
    // The one that `/say` says has no number.
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
    assert_eq!(std::fs::read_to_string(stdout).unwrap(), "", "they have a file of their own");
}

#[test]
fn pushed_metrics_are_the_traffic_by_each_transport_and_temporality() {
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
            // It is read in the middle of requests.
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
        // One reading at least that was not the last.
        sink.wait(|state| !state.metrics().is_empty());
        let (status, said) = server.stop();
        assert!(status.success() && lost(&said) == 0, "{said:?}");

        let metrics = sink.metrics();
        let reading = match temporality {
            "delta" => Reading::delta(&metrics),
            _ => Reading::cumulative(&metrics),
        };
        let shop = [("component", "shop"), ("service.name", "shop"), ("service.version", "1.2"), ("tenant", "acme")];
        let of = |labels: &[(&'static str, &'static str)]| [&shop[..], labels].concat();
        for (path, count, status) in TRAFFIC {
            let route = path.split('?').next().unwrap();
            let requests = reading.sum("http_requests_total", &of(&[("route", route), ("method", "GET")]));
            // One that trapped has counted as well, and its time has no end.
            let times = reading.sum("http_request_duration_seconds", &of(&[("route", route)]));
            assert_eq!((requests, times), (count as f64, if status == 500 { 0.0 } else { count as f64 }), "{path}");
        }
        assert_eq!(reading.sum("wasm_traps_total", &of(&[("reason", "unreachable")])), 15.0);
        assert_eq!(reading.sum("wasm_http_requests_total", &of(&[("status", "200")])), 110.0);
        assert_eq!(reading.sum("wasm_http_request_duration_seconds", &shop), 145.0);
        let process = reading.sum("process_resident_memory_bytes", &[("service.name", "wasmetry")]);
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
fn the_metrics_of_a_short_program_are_pushed_at_its_end() {
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
        let reading = Reading::cumulative(&metrics);
        let nightly = [("component", "nightly")];
        assert_eq!(reading.sum("counted_total", &nightly), if code == 0 { 12.0 } else { 0.0 });
        assert_eq!(reading.sum("wasm_run_exit_code", &nightly), f64::from(code));
        assert_eq!(reading.sum("wasm_traps_total", &nightly), trap);
        assert_eq!(reading.sum("wasmetry_dropped_total", &[]), 0.0);
        // What it said arrived before, and is counted there.
        let spans = [("signal", "spans"), ("outcome", "sent")];
        assert_eq!(reading.sum("wasmetry_export_records_total", &spans), sink.spans().len() as f64);
    }
}
