//! The periodic export of metrics: values, chunks, failures and shutdown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wasmetry_export::push::{Compression, Config, Metrics, Protocol, Retry, Temporality};
use wasmetry_host::{Counter, Registry, Snapshot};
use wasmetry_sink::proto::metrics::v1::Metric;
use wasmetry_sink::proto::metrics::v1::metric::Data;
use wasmetry_sink::proto::metrics::v1::number_data_point::Value;
use wasmetry_sink::{Code, Reply, Sink, text};

use crate::sink::{PATIENCE, poll};
use crate::started::{LONG, Started, endpoint};

const PROTOCOLS: [Protocol; 3] = [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc];
const TEMPORALITIES: [Temporality; 2] = [Temporality::Cumulative, Temporality::Delta];
const METRICS: &str = "/v1/metrics";

/// Metrics to a sink that are read every hour and at the end, with the shortest waits.
fn config(sink: &Sink, protocol: Protocol, temporality: Temporality) -> Config {
    let path = if protocol == Protocol::Grpc { "/" } else { METRICS };
    let mut metrics = Metrics::new(endpoint(&sink.url(path), protocol));
    metrics.temporality = temporality;
    metrics.interval = LONG;
    metrics.retry = Retry::new(Duration::from_millis(1), Duration::from_millis(4), LONG);
    let mut config = Config::default();
    config.metrics = Some(metrics);
    config
}

/// The same, read as often as possible, and each request tried once only.
fn hasty(sink: &Sink, temporality: Temporality) -> Config {
    let mut config = config(sink, Protocol::HttpProtobuf, temporality);
    let metrics = config.metrics.as_mut().unwrap();
    metrics.interval = Duration::from_millis(1);
    metrics.retry.give_up_after = Duration::ZERO;
    config
}

/// Starts to push the metrics of the exporter's own registry.
fn started(config: Config) -> Started {
    let started = Started::new(config);
    let registry = started.registry.clone();
    started.exporter.push_metrics(Arc::new(move || registry.snapshot(Duration::ZERO))).unwrap();
    started
}

/// Starts to push these metrics, which never change.
fn constant(config: Config, snapshot: &Snapshot) -> Started {
    let (started, snapshot) = (Started::new(config), snapshot.clone());
    started.exporter.push_metrics(Arc::new(move || snapshot.clone())).unwrap();
    started
}

/// So many series of a counter, each with its number.
fn many(series: u64) -> Snapshot {
    let registry = Registry::new();
    let jobs = registry.counter("jobs_total", "Jobs done.", &["queue"]);
    for number in 1..=series {
        jobs.with(&[&number.to_string()]).add(number);
    }
    let mut snapshot = registry.snapshot(Duration::ZERO);
    snapshot.retain(|family| family.name() == "jobs_total");
    snapshot
}

fn jobs(registry: &Registry) -> Counter {
    registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"])
}

/// The numbers of a sum or gauge, by an attribute.
fn numbers(metric: &Metric, key: &str) -> Vec<(String, i64)> {
    let points = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    };
    let number = |value| match value {
        Some(Value::AsInt(value)) => value,
        Some(Value::AsDouble(value)) => value as i64,
        None => panic!("{points:?}"),
    };
    points.iter().map(|point| (text(&point.attributes, key).unwrap_or_default(), number(point.value))).collect()
}

/// Returns the received values of the counter, by queue: the sum of deltas, or the last total.
fn received(sink: &Sink, temporality: Temporality) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for arrived in sink.metrics().iter().filter(|arrived| arrived.record.name == "jobs_total") {
        for (queue, value) in numbers(&arrived.record, "queue") {
            let before = all.entry(queue).or_insert(0);
            *before = if temporality == Temporality::Delta { *before + value } else { value };
        }
    }
    all
}

#[test]
fn all_kinds_arrive_over_each_transport() {
    for (protocol, compression, temporality) in PROTOCOLS.into_iter().flat_map(|protocol| {
        [Compression::None, Compression::Gzip]
            .into_iter()
            .flat_map(move |compression| TEMPORALITIES.map(|temporality| (protocol, compression, temporality)))
    }) {
        let is_grpc = protocol == Protocol::Grpc;
        let sink = if is_grpc { Sink::grpc(|_| Reply::Accept) } else { Sink::start(|_| Reply::Accept) };
        let mut config = config(&sink, protocol, temporality);
        let otlp = &mut config.metrics.as_mut().unwrap().otlp;
        otlp.compression = compression;
        otlp.headers.insert("x-tenant", "acme".parse().unwrap());
        config.process = config.process.with_attribute("deployment.environment.name", "test");
        let started = started(config);
        let registry = &started.registry;
        jobs(registry).add(3);
        registry.gauge("depth", "Depth.", &[]).with(&[]).set(-2.0);
        registry.gauge("nothing", "Not a number.", &[]).with(&[]).set(f64::NAN);
        let waits = registry.histogram("wait_seconds", "Time waited.", &["component"], &[0.1, 1.0]).with(&["shop"]);
        [0.05, 0.5, 5.0, 5.0].into_iter().for_each(|wait| waits.observe(wait));
        let ended = started.stop();
        assert_eq!((ended.lost, &ended.reports[..]), (0, &[][..]), "{protocol:?}");

        assert_eq!(received(&sink, temporality), BTreeMap::from([("mail".to_owned(), 3)]));
        let metrics = sink.metrics();
        let metric = |name: &str| metrics.iter().find(|metric| metric.record.name == name);
        assert_eq!(numbers(&metric("depth").unwrap().record, ""), [(String::new(), -2)]);
        assert_eq!(metric("nothing").is_some(), protocol != Protocol::HttpJson, "JSON has no NaN");
        let waits = metric("wait_seconds").unwrap();
        assert_eq!(
            (waits.record.unit.as_str(), waits.resource_attribute("service.name").as_deref()),
            ("s", Some("shop"))
        );
        assert_eq!(waits.resource_attribute("deployment.environment.name").as_deref(), Some("test"));
        let Some(Data::Histogram(histogram)) = &waits.record.data else { panic!("{waits:?}") };
        let expected = if temporality == Temporality::Delta { 1 } else { 2 };
        assert_eq!(histogram.aggregation_temporality, expected);
        assert_eq!((&histogram.data_points[0].bucket_counts, histogram.data_points[0].count), (&vec![1, 1, 2], 4));

        let seen = sink.seen();
        assert_eq!(seen.iter().map(|seen| seen.records as u64).sum::<u64>(), ended.records("metrics", "sent"));
        for seen in seen {
            assert_eq!(seen.headers["x-tenant"], "acme");
            let header = if is_grpc { "grpc-encoding" } else { "content-encoding" };
            assert_eq!(seen.headers.contains_key(header), compression == Compression::Gzip);
        }
    }
}

#[test]
fn last_collection_has_everything() {
    for temporality in TEMPORALITIES {
        let sink = Sink::start(|_| Reply::Accept);
        let started = started(hasty(&sink, temporality));
        let jobs = jobs(&started.registry);
        for round in 1..=10 {
            jobs.add(round);
            // Nothing but the interval sends it.
            sink.wait(|state| state.metrics().iter().any(|metric| metric.record.name == "jobs_total"));
            let so_far: i64 = (1..=round as i64).sum();
            poll(|| received(&sink, temporality)["mail"] == so_far);
        }
        jobs.add(1000);
        let ended = started.stop();
        assert_eq!((received(&sink, temporality)["mail"], ended.lost), (1055, 0));
        assert!(sink.seen().len() >= 10);
        let one: BTreeSet<_> = sink.metrics().iter().map(|of| of.resource_attribute("service.instance.id")).collect();
        assert_eq!(one.len(), 1, "{one:?}");
        assert_eq!(one.first().unwrap().as_ref().unwrap().len(), 36, "{one:?}");
    }
}

/// Retryable failures.
fn failures() -> [Reply; 3] {
    [
        Reply::Status(503, Vec::new(), "down"),
        Reply::Status(429, Vec::new(), "slow down"),
        Reply::Status(502, Vec::new(), ""),
    ]
}

#[test]
fn sums_are_exact_despite_drops() {
    const ADDED: u64 = 50_000;
    for temporality in TEMPORALITIES {
        let sink = Sink::start(|number| match number % 4 {
            3 => Reply::Accept,
            at => failures()[at].clone(),
        });
        let started = started(hasty(&sink, temporality));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..ADDED / 2).for_each(|_| jobs(&started.registry).inc()));
            }
            // While it is added to, as much is given up.
            sink.wait(|state| state.seen.len() >= 20);
        });
        let (before, jobs) = (sink.seen().len(), jobs(&started.registry));
        sink.wait(|state| state.seen.len() >= before + 4);
        jobs.inc();
        let ended = started.stop();
        let lost = ended.records("metrics", "retry_exhausted");
        match temporality {
            Temporality::Delta => assert_eq!((received(&sink, temporality)["mail"], ended.lost), (ADDED as i64 + 1, 0)),
            // The last reading may be one that is given up; then that is counted.
            Temporality::Cumulative => {
                assert!(lost > 0 && lost == ended.lost, "{lost}");
                let offered: usize = sink.seen().iter().map(|seen| seen.records).sum();
                assert_eq!(ended.records("metrics", "sent") + lost, offered as u64);
            }
        }
    }
}

#[test]
fn large_collection_takes_several_requests() {
    const SERIES: u64 = 5000;
    for temporality in TEMPORALITIES {
        let sink = Sink::start(|_| Reply::Accept);
        let mut config = config(&sink, Protocol::HttpProtobuf, temporality);
        config.metrics.as_mut().unwrap().request_bytes = 16 << 10;
        let ended = constant(config, &many(SERIES)).stop();
        let seen = sink.seen();
        assert!(seen.len() >= 10, "{}", seen.len());
        for (number, request) in seen.iter().enumerate() {
            let bytes: usize = request.headers["content-length"].to_str().unwrap().parse().unwrap();
            // The last one has what is left.
            let is_filled = request.records > 50 || number + 1 == seen.len();
            assert!(bytes <= 16 << 10 && is_filled, "{bytes} bytes for {} points", request.records);
        }
        assert_eq!(seen.iter().map(|seen| seen.records as u64).sum::<u64>(), SERIES);
        let expected: BTreeMap<_, _> = (1..=SERIES).map(|number| (number.to_string(), number as i64)).collect();
        assert_eq!(received(&sink, temporality), expected);
        assert_eq!((ended.records("metrics", "sent"), ended.lost), (SERIES, 0));
    }
}

#[test]
fn partial_collection_is_completed() {
    const SERIES: u64 = 500;
    let sink = Sink::start(|number| if number % 3 == 1 { failures()[0].clone() } else { Reply::Accept });
    let mut config = hasty(&sink, Temporality::Delta);
    config.metrics.as_mut().unwrap().request_bytes = 4096;
    let started = Started::new(config);
    let source = Registry::new();
    let (registry, readings) = (source.clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&readings);
    let read = move || {
        count.fetch_add(1, Ordering::SeqCst);
        registry.snapshot(Duration::ZERO)
    };
    started.exporter.push_metrics(Arc::new(read)).unwrap();
    let jobs = source.counter("jobs_total", "Jobs done.", &["queue"]);
    for round in 0..20 {
        for number in 1..=SERIES {
            jobs.with(&[&number.to_string()]).add(number);
        }
        // Each round but the last has a reading of its own.
        let before = readings.load(Ordering::SeqCst);
        poll(|| readings.load(Ordering::SeqCst) > before || round == 19);
    }
    let ended = started.stop();
    let expected: BTreeMap<_, _> = (1..=SERIES).map(|number| (number.to_string(), 20 * number as i64)).collect();
    assert_eq!(received(&sink, Temporality::Delta), expected);
    assert_eq!(ended.lost, 0);
}

#[test]
fn failures_are_handled_by_protocol() {
    let http = |code, headers: &[(&'static str, &str)]| {
        Reply::Status(
            code,
            headers.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            "as the test wants",
        )
    };
    let second = Duration::from_secs(1);
    // The answer to the first request; whether it is sent again, and after how long.
    let cases = [
        (Protocol::HttpProtobuf, Reply::Hang, Some(Duration::from_millis(100))),
        (Protocol::HttpProtobuf, http(429, &[("retry-after", "1")]), Some(second)),
        (Protocol::HttpJson, http(503, &[]), Some(Duration::ZERO)),
        (Protocol::HttpJson, Reply::Half, Some(Duration::ZERO)),
        (Protocol::HttpProtobuf, Reply::Half, Some(Duration::ZERO)),
        (Protocol::HttpProtobuf, Reply::HalfHead, Some(Duration::ZERO)),
        (Protocol::HttpProtobuf, Reply::Close, Some(Duration::ZERO)),
        (Protocol::HttpProtobuf, http(400, &[]), None),
        (Protocol::HttpJson, http(500, &[]), None),
        (Protocol::Grpc, Reply::Hang, Some(Duration::from_millis(100))),
        (Protocol::Grpc, Reply::Grpc(Code::Unavailable, "later", Some(second)), Some(second)),
        (Protocol::Grpc, Reply::Grpc(Code::ResourceExhausted, "later", Some(second)), Some(second)),
        (Protocol::Grpc, Reply::Half, Some(Duration::ZERO)),
        (Protocol::Grpc, Reply::HalfHead, Some(Duration::ZERO)),
        (Protocol::Grpc, Reply::Close, Some(Duration::ZERO)),
        (Protocol::Grpc, Reply::NoTrailers, Some(Duration::ZERO)),
        (Protocol::Grpc, Reply::Grpc(Code::InvalidArgument, "as the test wants", None), None),
        (Protocol::Grpc, Reply::Grpc(Code::Internal, "as the test wants", None), None),
    ];
    for (protocol, reply, again) in cases {
        let name = format!("{protocol:?} {reply:?}");
        let script = move |number| if number == 0 { reply.clone() } else { Reply::Accept };
        let sink = if protocol == Protocol::Grpc { Sink::grpc(script) } else { Sink::start(script) };
        let mut config = config(&sink, protocol, Temporality::Delta);
        if name.contains("Hang") {
            config.metrics.as_mut().unwrap().otlp.timeout = Duration::from_millis(100);
        }
        let ended = constant(config, &many(10)).stop();
        let (seen, arrived) = (sink.seen(), received(&sink, Temporality::Delta).len());
        match again {
            Some(wait) => {
                assert_eq!(
                    (seen.len(), arrived, ended.records("metrics", "sent"), ended.lost),
                    (2, 10, 10, 0),
                    "{name}"
                );
                assert!(
                    seen[1].at - seen[0].at >= wait / 2 && (wait < second || seen[1].at - seen[0].at >= wait),
                    "{name}"
                );
                assert!(ended.reports[0].contains(" cannot be sent and are retried: "), "{name}: {:?}", ended.reports);
            }
            None => {
                assert_eq!((seen.len(), arrived), (1, 0), "{name}");
                assert_eq!((ended.records("metrics", "rejected"), ended.lost), (10, 10), "{name}");
                assert!(ended.reports[0].ends_with("as the test wants"), "{name}: {:?}", ended.reports);
            }
        }
    }
}

#[test]
fn partial_success_counts_points() {
    for protocol in PROTOCOLS {
        let script = |_| Reply::Partly(3, "too many");
        let sink = if protocol == Protocol::Grpc { Sink::grpc(script) } else { Sink::start(script) };
        let ended = constant(config(&sink, protocol, Temporality::Cumulative), &many(10)).stop();
        assert_eq!((ended.records("metrics", "sent"), ended.records("metrics", "rejected")), (7, 3), "{protocol:?}");
        assert!(ended.reports[0].ends_with("rejected: 3 of 10: too many"), "{:?}", ended.reports);
    }
}

#[test]
fn hanging_destination_blocks_no_recording() {
    let sink = Sink::start(|_| Reply::Hang);
    let started = started(hasty(&sink, Temporality::Cumulative));
    sink.wait(|state| state.seen.len() == 1);
    let read = started.value("wasmetry_export_queue_records{signal=\"metrics\",destination=\"otlp\"}");
    // The request times out after an hour. Recording does not wait for it.
    (0..100_000).for_each(|_| jobs(&started.registry).inc());
    assert_eq!(sink.seen().len(), 1);
    let begin = std::time::Instant::now();
    let ended = started.stop_within(Duration::from_millis(100));
    assert!(begin.elapsed() < PATIENCE);
    // The reading that hangs, and the last one, with the counter more.
    let lost = ended.records("metrics", "shutdown");
    assert_eq!((lost, ended.lost), (2 * read + 1, lost));
}

#[test]
fn stop_counts_unexported_points() {
    for temporality in TEMPORALITIES {
        let (is_down, hung) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let script = {
            let (is_down, hung) = (Arc::clone(&is_down), Arc::clone(&hung));
            move |_| {
                hung.store(is_down.load(Ordering::SeqCst), Ordering::SeqCst);
                if hung.load(Ordering::SeqCst) { Reply::Hang } else { Reply::Accept }
            }
        };
        let sink = Sink::start(script);
        let started = Started::new(hasty(&sink, temporality));
        let registry = Registry::new();
        let (jobs, read) = (jobs(&registry), registry.clone());
        started.exporter.push_metrics(Arc::new(move || read.snapshot(Duration::ZERO))).unwrap();
        jobs.inc();
        sink.wait(|state| state.metrics().iter().any(|metric| metric.record.name == "jobs_total"));
        is_down.store(true, Ordering::SeqCst);
        poll(|| hung.load(Ordering::SeqCst));
        jobs.inc();
        let ended = started.stop_within(Duration::ZERO);
        // The counter and the gauge with the build's version; of the cumulative ones, those of two
        // readings.
        let expected = if temporality == Temporality::Delta { 2 } else { 4 };
        assert_eq!((ended.records("metrics", "shutdown"), ended.lost), (expected, expected), "{temporality:?}");
    }
}

#[test]
fn panicking_source_is_reported_and_retried() {
    let sink = Sink::start(|_| Reply::Accept);
    let started = Started::new(hasty(&sink, Temporality::Cumulative));
    let (count, snapshot) = (AtomicU64::new(0), many(3));
    let source = move || {
        assert!(count.fetch_add(1, Ordering::SeqCst) != 0, "the first time fails, as the test wants");
        snapshot.clone()
    };
    started.exporter.push_metrics(Arc::new(source)).unwrap();
    sink.wait(|state| state.records() >= 3);
    let ended = started.stop();
    assert!(ended.reports[0].contains("collecting them failed"), "{:?}", ended.reports);
    assert_eq!(ended.lost, 0);
}
