//! Destinations that accept less of one tenant than of others.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wasmetry_export::push::{Batch, Config, Limits, Loki, LokiFormat, Protocol, Retry};
use wasmetry_host::{Identity, Sink as _};
use wasmetry_sink::{Code, Request, Version, text};

use crate::record::{audit, log};
use crate::rule::{self, Arrived};
use crate::sink::{LOKI, PATIENCE, Reply, poll};
use crate::started::{Ended, LOGS, LONG, Started, endpoint, logs_to};

const SECOND: Duration = Duration::from_secs(1);

/// A throttling answer, with or without a delay.
fn throttling(retry_after: Option<&str>) -> Reply {
    let headers = retry_after.map(|after| ("retry-after", after.to_owned()));
    Reply::Status(429, headers.into_iter().collect(), "ingestion rate limit exceeded")
}

fn tenant(name: &str) -> Arc<Identity> {
    Arc::new(Identity::new(name).with_version("1").with_tenant(name))
}

/// A server that has another answer for the tenant `evil`.
struct TenantSink {
    sink: wasmetry_sink::Sink,
    /// The answer to each request that has records of the tenant.
    to_evil: Arc<Mutex<Reply>>,
    /// For each valid request, its time, its tenants and the times of its entries.
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    tenants: BTreeSet<String>,
    times: Vec<u64>,
}

impl TenantSink {
    fn start(version: Version, to_evil: Reply) -> Self {
        let (to_evil, seen) = (Arc::new(Mutex::new(to_evil)), Arc::<Mutex<Vec<Seen>>>::default());
        let rule = {
            let seen = Arc::clone(&seen);
            move |request: &Request| {
                rule::records(request)?;
                let (tenants, times) = (tenants(request), times(request));
                seen.lock().unwrap().push(Seen { at: Instant::now(), tenants, times });
                Ok(())
            }
        };
        let script = {
            let (to_evil, seen) = (Arc::clone(&to_evil), Arc::clone(&seen));
            move |number: usize| match seen.lock().unwrap()[number].tenants.contains("evil") {
                true => to_evil.lock().unwrap().clone(),
                false => Reply::Accept,
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { sink: wasmetry_sink::Sink::start_on(listener, version, rule, script), to_evil, seen }
    }

    /// Starts a Loki, and an exporter with batches of 10 that are sent at once.
    fn loki(to_evil: Reply) -> (Self, Config) {
        let sink = Self::start(Version::Http, to_evil);
        let mut config = logs_to("http://127.0.0.1:1/");
        config.logs = None;
        let mut loki = Loki::new(sink.sink.url(LOKI).parse().unwrap(), LokiFormat::Protobuf);
        loki.timeout = LONG;
        config.loki = Some(loki);
        config.log_batch = Batch::new(10, 1 << 20, Duration::from_millis(1));
        (sink, config)
    }

    fn accept(&self) {
        *self.to_evil.lock().unwrap() = Reply::Accept;
    }

    /// Waits until so many records were accepted.
    fn wait(&self, records: usize) {
        self.sink.wait(|state| state.records() >= records);
    }

    /// Waits until a request with records of the tenant `evil` was received.
    fn wait_for_evil(&self) {
        self.sink.wait(|state| {
            let seen = self.seen.lock().unwrap();
            seen.iter().take(state.seen.len()).any(|seen| seen.tenants.contains("evil"))
        });
    }

    fn seen_of(&self, tenant: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.tenants.contains(tenant)).cloned().collect()
    }

    /// Returns the numbers of a tenant's records in the order of their arrival, with `true` for
    /// audit records. In Loki, each request must have had the tenant's header.
    fn arrived(&self, tenant: &str) -> Vec<(u64, bool)> {
        let of_tenant = BTreeSet::from([tenant.to_owned()]);
        self.sink.with(|state| {
            assert_eq!(state.broken, [""; 0]);
            for (seen, request) in self.seen.lock().unwrap().iter().zip(&state.seen) {
                let header = request.headers.get("x-scope-orgid").map(|tenant| tenant.to_str().unwrap().to_owned());
                assert!(header.is_none_or(|tenant| seen.tenants == BTreeSet::from([tenant])), "{:?}", seen.tenants);
            }
            let requests = state.accepted.iter().filter(|(request, _)| tenants(request) == of_tenant);
            let arrived = requests.flat_map(|(request, _)| rule::records(request).unwrap());
            arrived.map(|Arrived { number, is_audit }| (number, is_audit)).collect()
        })
    }

    fn arrived_logs(&self, tenant: &str) -> Vec<u64> {
        self.arrived(tenant).into_iter().filter(|(_, is_audit)| !is_audit).map(|(number, _)| number).collect()
    }
}

fn tenants(request: &Request) -> BTreeSet<String> {
    match request {
        Request::Loki(streams) => {
            streams.iter().map(|stream| stream.label("tenant").unwrap_or_default().to_owned()).collect()
        }
        Request::Logs(logs) => {
            let resources = logs.resource_logs.iter().filter_map(|logs| logs.resource.as_ref());
            resources.filter_map(|resource| text(&resource.attributes, "tenant")).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn times(request: &Request) -> Vec<u64> {
    let Request::Loki(streams) = request else { return Vec::new() };
    streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.time).collect()
}

fn sent(ended: &Ended) -> u64 {
    ended.value("wasmetry_export_records_total{signal=\"logs\",destination=\"loki\",outcome=\"sent\"}")
}

fn queued(started: &Started) -> u64 {
    started.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"loki\"}")
}

#[test]
fn throttled_tenant_delays_no_other() {
    const FEW: u64 = 45;
    for retry_after in [None, Some("1")] {
        let (sink, config) = TenantSink::loki(throttling(retry_after));
        let started = Started::new(config);
        let [evil, bank] = ["evil", "bank"].map(tenant);
        for number in 0..FEW {
            started.exporter.log(&evil, log(number));
            started.exporter.log(&bank, log(number));
        }
        sink.wait(FEW as usize);
        sink.wait_for_evil();
        assert_eq!(sink.arrived_logs("bank"), (0..FEW).collect::<Vec<_>>(), "{retry_after:?}");
        // Those of evil wait.
        poll(|| queued(&started) == FEW);
        sink.accept();
        sink.wait(2 * FEW as usize);
        let ended = started.stop();
        assert_eq!(sink.arrived_logs("evil"), (0..FEW).collect::<Vec<_>>(), "{retry_after:?}");
        assert_eq!(sink.arrived_logs("bank").len() as u64, FEW);
        assert_eq!((sent(&ended), ended.lost), (2 * FEW, 0));
        let report = "throttled for the tenant \"evil\", whose records wait: status 429";
        assert!(ended.reports.iter().any(|text| text.contains(report)), "{:?}", ended.reports);
        // The request that was refused is sent again as it was, when its time has come.
        let seen = sink.seen_of("evil");
        assert!(seen.len() >= 2 && seen[0].times == seen[1].times, "{seen:?}");
        assert!(retry_after.is_none() || seen[1].at - seen[0].at >= SECOND, "{seen:?}");
    }
}

// A flood beyond its tenant's quota loses its own records, and the neighbour's pass it.
#[test]
fn throttled_flood_drops_own_records() {
    const ROOM: u64 = 1000;
    const FLOOD: u64 = 100;
    const FEW: u64 = 50;
    let (sink, mut config) = TenantSink::loki(throttling(None));
    config.log_limits = Limits::new(ROOM as usize, 1 << 30);
    let started = Started::new(config);
    let [evil, bank] = ["evil", "bank"].map(tenant);
    for number in 0..FEW {
        (0..FLOOD).for_each(|again| started.exporter.log(&evil, log(FLOOD * number + again)));
        started.exporter.log(&bank, log(number));
        started.exporter.log(&bank, audit(FEW + number));
    }
    sink.wait(2 * FEW as usize);
    sink.accept();
    let ended = started.stop();
    assert_eq!(sink.arrived_logs("bank"), (0..FEW).collect::<Vec<_>>());
    assert_eq!(sink.arrived("bank").len() as u64, 2 * FEW, "each once");
    let arrived = sink.arrived_logs("evil");
    assert!(arrived.is_sorted_by(|one, other| one < other), "{arrived:?}");
    let dropped = ended.dropped("evil", "logs", "queue_full");
    assert!(dropped >= FEW * FLOOD - 2 * ROOM, "{dropped}");
    assert_eq!((arrived.len() as u64 + dropped, dropped), (FEW * FLOOD, ended.lost));
    assert_eq!(sent(&ended), 2 * FEW + arrived.len() as u64);
}

#[test]
fn stop_counts_throttled_tenant() {
    const FEW: u64 = 25;
    for retry_after in [None, Some("600")] {
        let (sink, mut config) = TenantSink::loki(throttling(retry_after));
        config.log_retry = Retry::new(LONG / 4, LONG / 4, LONG);
        let started = Started::new(config);
        let [evil, bank] = ["evil", "bank"].map(tenant);
        for number in 0..FEW {
            started.exporter.log(&evil, log(number));
            started.exporter.log(&evil, audit(number));
            started.exporter.log(&bank, log(number));
        }
        sink.wait(FEW as usize);
        sink.wait_for_evil();
        let (timeout, begin) = (Duration::from_millis(500), Instant::now());
        let ended = started.stop_within(timeout);
        assert!((timeout..PATIENCE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        assert_eq!(sink.arrived_logs("bank"), (0..FEW).collect::<Vec<_>>(), "{retry_after:?}");
        assert_eq!(ended.dropped("evil", "logs", "shutdown"), 2 * FEW, "{retry_after:?}");
        assert_eq!((sent(&ended), ended.lost), (FEW, 2 * FEW));
    }
}

// Without a delay that the destination asked for, a last attempt is made at once.
#[test]
fn stop_resends_held_requests() {
    let (sink, mut config) = TenantSink::loki(throttling(None));
    config.log_retry = Retry::new(LONG / 4, LONG / 4, LONG);
    let started = Started::new(config);
    let evil = tenant("evil");
    (0..30).for_each(|number| started.exporter.log(&evil, log(number)));
    // The queue has taken the request back once another tenant's records, which came later, arrive.
    sink.wait_for_evil();
    started.exporter.log(&tenant("bank"), log(0));
    sink.wait(1);
    sink.accept();
    let begin = Instant::now();
    let ended = started.stop();
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(sink.arrived_logs("evil"), (0..30).collect::<Vec<_>>());
    assert_eq!((sent(&ended), ended.lost), (31, 0));
}

// Audit records of a throttled tenant wait for as long as it takes; others are given up.
#[test]
fn throttled_audit_records_are_kept() {
    let (sink, mut config) = TenantSink::loki(throttling(None));
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(4), Duration::ZERO);
    let started = Started::new(config);
    let evil = tenant("evil");
    (0..10).for_each(|number| started.exporter.log(&evil, log(number)));
    let exhausted = "wasmetry_export_records_total{signal=\"logs\",destination=\"loki\",outcome=\"retry_exhausted\"}";
    poll(|| started.value(exhausted) == 10);
    (10..30).for_each(|number| started.exporter.log(&evil, audit(number)));
    let retried = "wasmetry_export_requests_total{signal=\"logs\",destination=\"loki\",outcome=\"retried\"}";
    let before = started.value(retried);
    poll(|| started.value(retried) >= before + 3);
    sink.accept();
    let ended = started.stop();
    assert_eq!(sink.arrived("evil"), (10..30).map(|number| (number, true)).collect::<Vec<_>>());
    assert_eq!(ended.dropped("evil", "logs", "retry_exhausted"), 10);
    assert_eq!((sent(&ended), ended.lost), (20, 10));
}

/// Sends 10 records of each of three tenants in one batch, to a destination that answers so to
/// each request with records of `evil`.
fn mixed_batch(protocol: Protocol, reply: Reply) -> (TenantSink, Ended) {
    let is_grpc = protocol == Protocol::Grpc;
    let sink = TenantSink::start(if is_grpc { Version::Grpc } else { Version::Http }, reply);
    let url = sink.sink.url(if is_grpc { "/" } else { LOGS });
    let mut config = logs_to(&url);
    config.logs = Some(endpoint(&url, protocol));
    config.log_batch = Batch::new(30, 1 << 20, LONG);
    let started = Started::new(config);
    let [evil, bank] = ["evil", "bank"].map(tenant);
    for number in 0..30 {
        let identity = [&started.identity, &evil, &bank][number as usize % 3];
        started.exporter.log(identity, log(number));
    }
    (sink, started.stop())
}

#[test]
fn refused_batch_is_divided_by_tenant() {
    let refusal = |code| Reply::Status(code, Vec::new(), "bad record");
    for (protocol, reply) in [
        (Protocol::HttpProtobuf, refusal(400)),
        (Protocol::HttpJson, refusal(413)),
        (Protocol::Grpc, Reply::Grpc(Code::InvalidArgument, "bad record", None)),
    ] {
        let name = format!("{reply:?}");
        let (sink, ended) = mixed_batch(protocol, reply);
        let seen: Vec<usize> = sink.sink.seen().iter().map(|seen| seen.records).collect();
        assert_eq!(seen, [30, 10, 10, 10], "{name}");
        let numbers = |first: u64| (first..30).step_by(3).collect::<Vec<_>>();
        assert_eq!((sink.arrived_logs("acme"), sink.arrived_logs("bank")), (numbers(0), numbers(2)), "{name}");
        assert_eq!((ended.records("logs", "sent"), ended.records("logs", "rejected"), ended.lost), (20, 10, 10));
        assert_eq!(ended.dropped("evil", "logs", "rejected"), 10, "{name}");
        let report = "are rejected; dropped: 10: status";
        assert!(ended.reports[0].contains(report) && ended.reports[0].ends_with("bad record"), "{:?}", ended.reports);
    }
    // Another refusal is none of the records'.
    let (sink, ended) = mixed_batch(Protocol::HttpProtobuf, refusal(401));
    assert_eq!((sink.sink.seen().len(), ended.records("logs", "rejected")), (1, 30));
    for component in ["shop", "evil", "bank"] {
        assert_eq!(ended.dropped(component, "logs", "rejected"), 10, "{component}");
    }
}
