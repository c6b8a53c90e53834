//! Every record is sent or counted, whatever becomes of the destination.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasmetry_export::push::{Batch, Config, Limits, Protocol, Retry};
use wasmetry_host::Sink as _;

use crate::record::{audit, log, span};
use crate::sink::{PATIENCE, Reply, Sink, poll};
use crate::started::{LOGS, LONG, Started, TRACES, dropped, endpoint, logs_to};

const MANY: u64 = 100_000;
const THREADS: u64 = 4;

/// Offers `MANY` logs and as many spans from several threads, with what `pause` does after each
/// few.
fn offer_many(started: &Started, pause: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (started, pause) = (&started, &pause);
            scope.spawn(move || {
                for number in (thread..MANY).step_by(THREADS as usize) {
                    started.exporter.log(&started.identity, log(number));
                    started.exporter.span(&started.identity, span(number));
                    if number % 1024 == thread {
                        pause();
                    }
                }
            });
        }
    });
}

/// Both signals to one sink each, with queues of so many records and the default batches.
fn both(logs: &Sink, spans: &Sink, limit: usize) -> Config {
    let mut config = Config::default();
    config.logs = Some(endpoint(&logs.url(LOGS), Protocol::HttpProtobuf));
    config.spans = Some(endpoint(&spans.url(TRACES), Protocol::HttpProtobuf));
    (config.log_limits, config.span_limits) = (Limits::new(limit, 1 << 30), Limits::new(limit, 1 << 30));
    let retry = Retry::new(Duration::from_millis(1), Duration::from_millis(4), LONG);
    (config.log_retry, config.span_retry) = (retry, retry);
    config
}

/// Returns the number of records that arrived, each of them once.
fn distinct(sink: &Sink) -> u64 {
    let arrived = sink.arrived();
    let distinct: BTreeSet<_> = arrived.iter().collect();
    assert_eq!(distinct.len(), arrived.len(), "none came twice");
    assert!(distinct.last().is_none_or(|last| **last < MANY));
    arrived.len() as u64
}

#[test]
fn running_destination_receives_everything() {
    let (logs, spans) = (Sink::start(|_| Reply::Accept), Sink::start(|_| Reply::Accept));
    let started = Started::new(both(&logs, &spans, 65_536));
    let queued = |signal: &str| {
        started.value(&format!("wasmetry_export_queue_records{{signal=\"{signal}\",destination=\"otlp\"}}"))
    };
    offer_many(&started, || {
        // A service does not offer as fast as a loop does. It is slower than this.
        poll(|| queued("logs") + queued("spans") < 60_000);
    });
    let ended = started.stop();
    assert_eq!((distinct(&logs), distinct(&spans)), (MANY, MANY));
    assert_eq!((ended.records("logs", "sent"), ended.records("spans", "sent"), ended.lost), (MANY, MANY, 0));
}

#[test]
fn records_beyond_queue_are_counted() {
    let (logs, spans) = (Sink::start(|_| Reply::Accept), Sink::start(|_| Reply::Accept));
    let started = Started::new(both(&logs, &spans, 4096));
    offer_many(&started, || ());
    let ended = started.stop();
    for (sink, signal) in [(&logs, "logs"), (&spans, "spans")] {
        let (arrived, sent) = (distinct(sink), ended.records(signal, "sent"));
        assert_eq!((arrived, sent + ended.records(signal, "queue_full")), (sent, MANY), "{signal}");
        assert!(arrived >= 4096, "{signal}");
    }
}

#[test]
fn outage_drops_beyond_queue_only() {
    let down = Arc::new(AtomicBool::new(true));
    let script = |down: &Arc<AtomicBool>| {
        let down = Arc::clone(down);
        move |_| if down.load(Ordering::SeqCst) { Reply::Status(503, Vec::new(), "down") } else { Reply::Accept }
    };
    let (logs, spans) = (Sink::start(script(&down)), Sink::start(script(&down)));
    let limit = 20_000;
    let started = Started::new(both(&logs, &spans, limit as usize));
    offer_many(&started, || ());
    for signal in ["logs", "spans"] {
        let queued =
            started.value(&format!("wasmetry_export_queue_records{{signal=\"{signal}\",destination=\"otlp\"}}"));
        assert_eq!(queued, limit, "as many as were promised, and no more");
    }
    down.store(false, Ordering::SeqCst);
    let ended = started.stop();
    for (sink, signal) in [(&logs, "logs"), (&spans, "spans")] {
        assert_eq!(distinct(sink), limit, "{signal}");
        assert_eq!((ended.records(signal, "sent"), ended.records(signal, "queue_full")), (limit, MANY - limit));
    }
    assert_eq!(ended.lost, 2 * (MANY - limit));
}

#[test]
fn memory_is_bounded_in_bytes() {
    let sink = Sink::start(|_| Reply::Hang);
    let mut config = logs_to(&sink.url(LOGS));
    config.log_limits = Limits::new(1_000_000, 1 << 20);
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    let started = Started::new(config);
    for number in 0..1000 {
        let mut record = log(number);
        record.message = "x".repeat(10_000).into();
        started.exporter.log(&started.identity, record);
    }
    let queued = started.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"otlp\"}");
    assert!((90..=104).contains(&queued), "{queued}");
    let ended = started.stop_within(Duration::ZERO);
    assert_eq!((ended.records("logs", "queue_full"), ended.records("logs", "shutdown")), (1000 - queued, queued));
}

#[test]
fn audit_records_have_own_lane() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let sink = Sink::start(move |_| {
        if is_down.load(Ordering::SeqCst) { Reply::Status(503, Vec::new(), "down") } else { Reply::Accept }
    });
    let mut config = logs_to(&sink.url(LOGS));
    config.log_limits = Limits::new(100, 1 << 20);
    let started = Started::new(config);
    for number in 0..200 {
        started.exporter.log(&started.identity, log(number));
    }
    // The first batch is being sent for as long as the destination is down, and cannot be dropped.
    sink.wait(|state| !state.seen.is_empty());
    for number in 200..320 {
        started.exporter.log(&started.identity, audit(number));
    }
    down.store(false, Ordering::SeqCst);
    let ended = started.stop();
    let arrived = sink.arrived_streams();
    let audits: Vec<_> = arrived.iter().filter(|(_, is_audit)| *is_audit).map(|(number, _)| *number).collect();
    assert_eq!(audits, (200..300).collect::<Vec<_>>(), "as many as the lane holds, in order");
    let others: Vec<_> = arrived.iter().filter(|(_, is_audit)| !is_audit).map(|(number, _)| *number).collect();
    assert_eq!(others, (0..100).collect::<Vec<_>>(), "no audit record took their room");
    assert_eq!(arrived[..10].iter().chain(&arrived[110..]).filter(|(_, is_audit)| *is_audit).count(), 0);
    assert_eq!(ended.records("logs", "queue_full"), 100 + 20);
}

// Two tenants offer logs, audit records and spans while nothing is accepted: one floods, the other
// has less than half of each lane. The flood loses its own records only, and each drop has its
// owner.
#[test]
fn flood_costs_no_neighbour_records() {
    const ROOM: u64 = 1000;
    const FEW: u64 = 400;
    let (logs, spans) = (Sink::start(|_| Reply::Hang), Sink::start(|_| Reply::Hang));
    let mut config = both(&logs, &spans, ROOM as usize);
    let batch = Batch::new(10, 1 << 20, LONG);
    (config.log_batch, config.span_batch) = (batch, batch);
    let started = Started::new(config);
    let [evil, bank] =
        ["evil", "bank"].map(|name| Arc::new(wasmetry_host::Identity::new(name).with_version("1").with_tenant(name)));
    let offer = |identity: &Arc<_>, number: u64| {
        started.exporter.log(identity, log(number));
        started.exporter.log(identity, audit(number));
        started.exporter.span(identity, span(number));
    };
    (0..2 * ROOM).for_each(|number| offer(&evil, number));
    for number in 0..FEW {
        offer(&bank, number);
        (0..5).for_each(|again| offer(&evil, 10 * ROOM + 5 * number + again));
    }
    let queued = |signal: &str| {
        started.value(&format!("wasmetry_export_queue_records{{signal=\"{signal}\",destination=\"otlp\"}}"))
    };
    assert_eq!((queued("logs"), queued("spans")), (2 * ROOM, ROOM));
    let ended = started.stop_within(Duration::ZERO);
    let flood = 2 * ROOM + 5 * FEW;
    for (signal, lanes) in [("logs", 2), ("spans", 1)] {
        assert_eq!(ended.dropped("bank", signal, "queue_full"), 0, "{signal}");
        assert_eq!(ended.dropped("bank", signal, "shutdown"), lanes * FEW, "{signal}");
        assert_eq!(ended.dropped("evil", signal, "shutdown"), lanes * (ROOM - FEW), "{signal}");
        assert_eq!(ended.dropped("evil", signal, "queue_full"), lanes * (flood - (ROOM - FEW)), "{signal}");
        // What was offered is what was dropped: by owner, and by destination.
        let all = ended.records(signal, "queue_full") + ended.records(signal, "shutdown");
        assert_eq!(all, lanes * (flood + FEW), "{signal}");
    }
}

#[test]
fn stop_counts_rest_at_deadline() {
    let sink = Sink::start(|_| Reply::Hang);
    let started = Started::new(logs_to(&sink.url(LOGS)));
    for number in 0..35 {
        started.exporter.log(&started.identity, log(number));
    }
    sink.wait(|state| state.seen.len() == 1);
    let timeout = Duration::from_millis(200);
    let begin = Instant::now();
    let ended = started.stop_within(timeout);
    assert!((timeout..PATIENCE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!((ended.records("logs", "shutdown"), ended.lost), (35, 35));
}

#[test]
fn stop_cuts_backoff_short() {
    let sink = Sink::start(|number| if number == 0 { Reply::Status(503, Vec::new(), "") } else { Reply::Accept });
    let mut config = logs_to(&sink.url(LOGS));
    config.log_retry = Retry::new(LONG / 4, LONG / 4, LONG);
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, log(number));
    }
    sink.wait(|state| state.seen.len() == 1);
    let begin = Instant::now();
    let ended = started.stop();
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!((ended.records("logs", "sent"), ended.lost), (10, 0));
}

#[test]
fn dropped_exporter_counts_queued_records() {
    let sink = Sink::start(|_| Reply::Hang);
    let started = Started::new(logs_to(&sink.url(LOGS)));
    for number in 0..12 {
        started.exporter.log(&started.identity, log(number));
    }
    let Started { exporter, registry, .. } = started;
    drop(exporter);
    assert_eq!(dropped(&registry, "shop", "logs", "shutdown"), 12);
}
