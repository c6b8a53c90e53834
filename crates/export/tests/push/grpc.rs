//! The statuses of gRPC, and the delays that its servers ask for.

use std::time::Duration;

use wasmetry_export::push::{Compression, Otlp, Protocol};
use wasmetry_host::Sink as _;
use wasmetry_sink::Code;

use crate::record::log;
use crate::sink::{Reply, Sink, poll};
use crate::started::{Ended, Started, endpoint, logs_to};

const SECOND: Duration = Duration::from_secs(1);

/// Sends ten log records, of which the first attempt fails.
fn failing_first(reply: Reply, timeout: Option<Duration>) -> (Sink, Ended) {
    failing_first_with(reply, |otlp| otlp.timeout = timeout.unwrap_or(otlp.timeout))
}

/// Sends as [`failing_first`] does, with a changed configuration.
fn failing_first_with(reply: Reply, change: impl FnOnce(&mut Otlp)) -> (Sink, Ended) {
    let sink = Sink::grpc(move |number| if number == 0 { reply.clone() } else { Reply::Accept });
    let mut config = logs_to(&sink.url("/"));
    let mut otlp = endpoint(&sink.url("/"), Protocol::Grpc);
    change(&mut otlp);
    config.logs = Some(otlp);
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| started.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"otlp\"}") == 0);
    (sink, started.stop())
}

fn sends_again(reply: Reply, timeout: Option<Duration>) -> (Sink, Ended) {
    let name = format!("{reply:?}");
    let (sink, ended) = failing_first(reply, timeout);
    assert_eq!(sink.arrived(), (0..10).collect::<Vec<_>>(), "{name}: {:?}", ended.reports);
    assert_eq!((sink.seen().len(), ended.records("logs", "sent"), ended.lost), (2, 10, 0), "{name}");
    assert_eq!(ended.reports.len(), 2, "{name}: {:?}", ended.reports);
    (sink, ended)
}

#[test]
fn status_decides_about_retry() {
    let retryable =
        [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::OutOfRange, Code::Unavailable, Code::DataLoss];
    for number in 1..=16 {
        let code = Code::from_i32(number);
        let reply = Reply::Grpc(code, "as the test wants: ä", None);
        if retryable.contains(&code) {
            let (_, ended) = sends_again(reply, None);
            assert!(ended.reports[0].ends_with(": as the test wants: ä"), "{:?}", ended.reports);
        } else {
            let (sink, ended) = failing_first(reply, None);
            assert_eq!((sink.seen().len(), sink.arrived().len()), (1, 0), "{code:?}");
            assert_eq!((ended.records("logs", "rejected"), ended.lost), (10, 10), "{code:?}");
        }
    }
}

#[test]
fn retry_delay_of_status_is_kept() {
    // With a time, an exhausted resource recovers.
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        let (sink, _) = sends_again(Reply::Grpc(code, "slow down", Some(SECOND)), None);
        let seen = sink.seen();
        assert!(seen[1].at - seen[0].at >= SECOND, "{code:?}: {seen:?}");
    }
}

#[test]
fn broken_call_is_retried() {
    sends_again(Reply::Half, None);
    sends_again(Reply::HalfHead, None);
    sends_again(Reply::Close, None);
    sends_again(Reply::NoTrailers, None);
    let (_, ended) = sends_again(Reply::Hang, Some(Duration::from_millis(100)));
    assert!(ended.reports[0].ends_with("no answer within 100 ms"), "{:?}", ended.reports);
}

#[test]
fn http_status_of_proxy_is_mapped() {
    // Source: gRPC, "HTTP to gRPC Status Code Mapping".
    for status in [429, 502, 503, 504] {
        sends_again(Reply::Status(status, Vec::new(), "<html>"), None);
    }
    for status in [400, 401, 403, 404, 500] {
        let (_, ended) = failing_first(Reply::Status(status, Vec::new(), "<html>"), None);
        assert_eq!((ended.records("logs", "rejected"), ended.lost), (10, 10), "{status}");
    }
}

/// The response is read whether or not it is compressed, as it is if the request was.
#[test]
fn partial_success_is_counted_never_retried() {
    for compression in [Compression::None, Compression::Gzip] {
        let (sink, ended) = failing_first_with(Reply::Partly(3, "too old"), |otlp| otlp.compression = compression);
        assert_eq!((sink.seen().len(), sink.arrived().len()), (1, 7), "{compression:?}");
        assert_eq!((ended.records("logs", "sent"), ended.records("logs", "rejected")), (7, 3), "{compression:?}");
        assert!(ended.reports[0].ends_with("accepted in part; rejected: 3 of 10: too old"), "{:?}", ended.reports);
        let (_, ended) = failing_first_with(Reply::Accept, |otlp| otlp.compression = compression);
        assert_eq!((ended.records("logs", "sent"), &ended.reports[..]), (10, &[][..]), "{compression:?}");
    }
}
