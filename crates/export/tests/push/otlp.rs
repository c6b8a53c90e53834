//! Records over each OTLP transport, and their batches.

use wasmetry_export::push::{Batch, Compression, Config, Limits, Protocol};
use wasmetry_host::Sink as _;

use crate::record::{audit, full_log, full_span, log, span};
use crate::sink::{Reply, Sink};
use crate::started::{LOGS, LONG, Started, TRACES, endpoint, logs_to};

fn config(sink: &Sink, protocol: Protocol, compression: Compression) -> Config {
    let mut config = Config::default();
    let path = |path| if protocol == Protocol::Grpc { "/" } else { path };
    let mut logs = endpoint(&sink.url(path(LOGS)), protocol);
    logs.compression = compression;
    logs.headers.insert("x-tenant", "acme".parse().unwrap());
    let mut spans = logs.clone();
    spans.endpoint = sink.url(path(TRACES)).parse().unwrap();
    (config.logs, config.spans) = (Some(logs), Some(spans));
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    config.span_batch = Batch::new(10, 1 << 20, LONG);
    config
}

#[test]
fn full_records_break_no_rule() {
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc] {
        for compression in [Compression::None, Compression::Gzip] {
            let is_grpc = protocol == Protocol::Grpc;
            let sink = if is_grpc { Sink::grpc(|_| Reply::Accept) } else { Sink::start(|_| Reply::Accept) };
            let started = Started::new(config(&sink, protocol, compression));
            for number in 0..25 {
                let log = if number % 2 == 0 { full_log(number) } else { log(number) };
                started.exporter.log(&started.identity, log);
                let span = if number % 2 == 0 { full_span(1000 + number) } else { span(1000 + number) };
                started.exporter.span(&started.identity, span);
            }
            let ended = started.stop();
            let mut arrived = sink.arrived();
            arrived.sort_unstable();
            assert_eq!(arrived, (0..25).chain(1000..1025).collect::<Vec<_>>(), "{protocol:?}");
            assert_eq!((ended.records("logs", "sent"), ended.records("spans", "sent"), ended.lost), (25, 25, 0));
            assert_eq!(ended.reports, [""; 0]);
            for seen in sink.seen() {
                assert_eq!(seen.headers["x-tenant"], "acme");
                assert!(seen.headers["user-agent"].to_str().unwrap().starts_with("wasmetry/"));
                let header = if is_grpc { "grpc-encoding" } else { "content-encoding" };
                assert_eq!(seen.headers.contains_key(header), compression == Compression::Gzip);
            }
        }
    }
}

#[test]
fn full_batch_is_sent_at_once() {
    let sink = Sink::start(|_| Reply::Accept);
    let started = Started::new(logs_to(&sink.url(LOGS)));
    for number in 0..20 {
        started.exporter.log(&started.identity, log(number));
    }
    // Nothing but the number of records can have sent them: the linger is an hour.
    sink.wait(|state| state.records() == 20);
    let ended = started.stop();
    assert_eq!(sink.arrived(), (0..20).collect::<Vec<_>>());
    assert_eq!(sink.seen().iter().map(|seen| seen.records).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(ended.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"otlp\"}"), 0);
    assert_eq!(ended.value("wasmetry_export_queue_limit_records{signal=\"logs\",destination=\"otlp\"}"), 1000);
    let requests =
        ended.value("wasmetry_export_requests_total{signal=\"logs\",destination=\"otlp\",outcome=\"accepted\"}");
    assert_eq!(requests, 2);
}

#[test]
fn batch_is_bounded_in_bytes() {
    let sink = Sink::start(|_| Reply::Accept);
    let mut config = logs_to(&sink.url(LOGS));
    config.log_limits = Limits::new(1000, 1 << 20);
    config.log_batch = Batch::new(1000, 100_000, LONG);
    let started = Started::new(config);
    let large = |number, bytes: usize| {
        let mut record = log(number);
        record.message = "x".repeat(bytes).into();
        record
    };
    for number in 0..10 {
        started.exporter.log(&started.identity, large(number, 30_000));
    }
    // Larger than a batch, it goes alone.
    started.exporter.log(&started.identity, large(10, 200_000));
    started.exporter.log(&started.identity, log(11));
    let ended = started.stop();
    assert_eq!(sink.arrived(), (0..12).collect::<Vec<_>>());
    assert_eq!(sink.seen().iter().map(|seen| seen.records).collect::<Vec<_>>(), [3, 3, 3, 1, 1, 1]);
    assert_eq!(ended.lost, 0);
}

#[test]
fn schedule_delay_sends_partial_batch() {
    let sink = Sink::start(|_| Reply::Accept);
    let mut config = logs_to(&sink.url(LOGS));
    config.log_batch.schedule_delay = std::time::Duration::from_millis(20);
    let started = Started::new(config);
    let begin = std::time::Instant::now();
    started.exporter.log(&started.identity, log(7));
    sink.wait(|state| state.records() == 1);
    assert!(begin.elapsed() >= std::time::Duration::from_millis(20), "it waited for others");
    started.exporter.log(&started.identity, log(8));
    sink.wait(|state| state.records() == 2);
    assert_eq!(started.stop().lost, 0);
}

#[test]
fn audit_records_form_own_stream() {
    let sink = Sink::start(|_| Reply::Accept);
    let started = Started::new(logs_to(&sink.url(LOGS)));
    for number in 0..9 {
        let record = if number % 3 == 0 { audit(number) } else { log(number) };
        started.exporter.log(&started.identity, record);
    }
    started.stop();
    let expected: Vec<_> = [0, 3, 6].map(|number| (number, true)).into_iter().collect();
    assert_eq!(sink.arrived_streams()[..3], expected, "they go first");
    assert_eq!(sink.seen().iter().map(|seen| seen.records).collect::<Vec<_>>(), [3, 6], "and alone");
    assert!(sink.arrived_streams()[3..].iter().all(|(_, is_audit)| !is_audit));
}

#[test]
fn sink_refuses_broken_rules() {
    // The sink refuses a request that breaks a rule, so tests without a refusal mean something.
    let sink = Sink::start(|_| Reply::Accept);
    let started = Started::new(logs_to(&sink.url(LOGS)));
    let stranger = std::sync::Arc::new(wasmetry_host::Identity::new("stranger"));
    started.exporter.log(&stranger, log(1));
    let ended = started.stop();
    assert_eq!((ended.records("logs", "rejected"), ended.records("logs", "sent")), (1, 0));
    let [report] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
    assert!(report.contains("status 400 Bad Request: service.name in"), "{report}");
    sink.wait(|state| state.broken.len() == 1 && state.records() == 0);
}
