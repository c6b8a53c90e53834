//! Destinations that fail, in every way in which the protocol knows failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use wasmetry_export::push::{Config, Exporter, Protocol, Retry};
use wasmetry_host::{Registry, Sink as _};
use wasmetry_sink::Version;

use crate::record::{audit, log};
use crate::sink::{Reply, Sink, poll};
use crate::started::{Ended, LOGS, Started, endpoint, logs_to};

const SECOND: Duration = Duration::from_secs(1);

fn status(code: u16) -> Reply {
    Reply::Status(code, Vec::new(), "as the test wants")
}

/// Sends ten log records, of which the first attempt fails; returns what came and what was counted.
fn failing_first(reply: Reply, change: impl FnOnce(&mut Config)) -> (Sink, Ended) {
    let sink = Sink::start(move |number| if number == 0 { reply.clone() } else { Reply::Accept });
    let mut config = logs_to(&sink.url(LOGS));
    change(&mut config);
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, log(number));
    }
    // So that the end of the process does not hurry anything.
    poll(|| settled(&started));
    (sink, started.stop())
}

/// Returns `true` if no record waits.
fn settled(started: &Started) -> bool {
    started.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"otlp\"}") == 0
}

fn sends_again(reply: Reply, change: impl FnOnce(&mut Config)) -> (Sink, Ended) {
    let name = format!("{reply:?}");
    let (sink, ended) = failing_first(reply, change);
    assert_eq!(sink.arrived(), (0..10).collect::<Vec<_>>(), "{name}");
    assert_eq!(sink.seen().len(), 2, "{name}");
    assert_eq!((ended.records("logs", "sent"), ended.lost), (10, 0), "{name}");
    let [failed, recovered] = &ended.reports[..] else { panic!("{name}: {:?}", ended.reports) };
    assert!(failed.starts_with(&format!("logs to {} cannot be sent and are retried: ", sink.url(LOGS))), "{failed}");
    assert_eq!(*recovered, format!("logs to {} are sent again; dropped meanwhile: 0", sink.url(LOGS)));
    (sink, ended)
}

#[test]
fn retryable_failures_are_retried() {
    for code in [429, 502, 503, 504] {
        let (_, ended) = sends_again(status(code), |_| ());
        assert!(ended.reports[0].contains(&format!("status {code}")), "{:?}", ended.reports);
        assert!(ended.reports[0].ends_with("as the test wants"), "{:?}", ended.reports);
        let retried =
            ended.value("wasmetry_export_requests_total{signal=\"logs\",destination=\"otlp\",outcome=\"retried\"}");
        assert_eq!(retried, 1);
    }
    sends_again(Reply::Close, |_| ());
    sends_again(Reply::HalfHead, |_| ());
    let (_, ended) = sends_again(Reply::Half, |_| ());
    assert!(ended.reports[0].contains("the response is incomplete"), "{:?}", ended.reports);
}

#[test]
fn hanging_request_times_out() {
    let timeout = Duration::from_millis(100);
    let (sink, ended) = sends_again(Reply::Hang, |config| {
        config.logs.as_mut().unwrap().timeout = timeout;
    });
    let seen = sink.seen();
    assert!(seen[1].at - seen[0].at >= timeout / 2, "{seen:?}");
    assert!(ended.reports[0].ends_with("no answer within 100 ms"), "{:?}", ended.reports);
}

#[test]
fn nonretryable_failures_drop_and_count() {
    for code in [400, 401, 403, 404, 408, 413, 500, 501, 505, 301] {
        let (sink, ended) = failing_first(status(code), |_| ());
        assert_eq!(sink.seen().len(), 1, "{code}");
        assert_eq!(sink.arrived(), [0; 0], "{code}");
        assert_eq!(
            (ended.records("logs", "rejected"), ended.records("logs", "sent"), ended.lost),
            (10, 0, 10),
            "{code}"
        );
        let [report] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
        assert!(
            report.contains("are rejected; dropped: 10: status") && report.ends_with("as the test wants"),
            "{report}"
        );
    }
}

#[test]
fn partial_success_is_counted_never_retried() {
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
        let with = |config: &mut Config| {
            let url = config.logs.as_ref().unwrap().endpoint.to_string();
            config.logs = Some(endpoint(&url, protocol));
        };
        let (sink, ended) = failing_first(Reply::Partly(3, "too old"), with);
        assert_eq!((sink.seen().len(), sink.arrived().len()), (1, 7), "{protocol:?}");
        assert_eq!((ended.records("logs", "sent"), ended.records("logs", "rejected")), (7, 3), "{protocol:?}");
        assert!(ended.reports[0].ends_with("accepted in part; rejected: 3 of 10: too old"), "{:?}", ended.reports);
        // A warning costs nothing.
        let (sink, ended) = failing_first(Reply::Partly(0, "use gzip"), with);
        assert_eq!((sink.seen().len(), ended.records("logs", "sent"), ended.lost), (1, 10, 0));
        assert!(ended.reports[0].ends_with("use gzip"), "{:?}", ended.reports);
        // More than there was cannot be rejected.
        let (_, ended) = failing_first(Reply::Partly(99, "liar"), with);
        assert_eq!((ended.records("logs", "sent"), ended.records("logs", "rejected")), (0, 10));
    }
}

#[test]
fn retry_after_is_kept() {
    fn date() -> String {
        // Dates have whole seconds: two later is one at least.
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 2;
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
    for after in [|| "1".to_owned(), date] {
        let reply = Reply::Status(429, vec![("retry-after", after())], "as the test wants");
        let (sink, _) = sends_again(reply, |_| ());
        let seen = sink.seen();
        assert!(seen[1].at - seen[0].at >= SECOND, "{seen:?}");
    }
    // One that cannot be understood is none.
    sends_again(Reply::Status(503, vec![("retry-after", "soon".to_owned())], "slow down"), |_| ());
}

#[test]
fn throttling_delays_next_batch() {
    // The first batch is given up at once; the second one waits for the second that was asked for.
    let sink = Sink::start(|number| match number {
        0 => Reply::Status(429, vec![("retry-after", "1".to_owned())], "slow down"),
        _ => Reply::Accept,
    });
    let mut config = logs_to(&sink.url(LOGS));
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(1), SECOND / 2);
    let started = Started::new(config);
    for number in 0..20 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    assert_eq!(sink.arrived(), (10..20).collect::<Vec<_>>());
    assert_eq!((ended.records("logs", "retry_exhausted"), ended.records("logs", "sent")), (10, 10));
    let seen = sink.seen();
    assert!(seen[1].at - seen[0].at >= SECOND, "{seen:?}");
}

#[test]
fn batch_is_dropped_after_retry_limit() {
    let sink = Sink::start(|number| if number < 3 { status(503) } else { Reply::Accept });
    let mut config = logs_to(&sink.url(LOGS));
    // The first wait is half of this at least, so that there is room for one only.
    config.log_retry = Retry::new(Duration::from_millis(40), Duration::from_millis(40), Duration::from_millis(40));
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| settled(&started));
    for number in 10..20 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    let (lost, sent) = (ended.records("logs", "retry_exhausted"), ended.records("logs", "sent"));
    assert!(lost >= 10, "{lost}");
    assert_eq!((lost + sent, sink.arrived().len() as u64), (20, sent));
}

/// An attempt in progress is cancelled when the time of its export is over, and so is the wait that
/// a destination has asked for.
#[test]
fn export_timeout_cancels_an_attempt() {
    for (reply, requests) in [
        (Reply::Hang, 1),
        (Reply::Status(503, vec![("retry-after", "3600".to_owned())], "later"), 1),
        (Reply::Status(503, Vec::new(), "later"), 2),
    ] {
        let name = format!("{reply:?}");
        let sink = Sink::start(move |_| reply.clone());
        let mut config = logs_to(&sink.url(LOGS));
        config.log_retry.give_up_after = SECOND;
        config.log_retry.cancel_after = SECOND;
        let started = Started::new(config);
        for number in 0..10 {
            started.exporter.log(&started.identity, log(number));
        }
        poll(|| settled(&started));
        assert!(sink.seen().len() >= requests, "{name}");
        let ended = started.stop();
        assert_eq!((ended.records("logs", "retry_exhausted"), ended.lost), (10, 10), "{name}");
    }
    // The wait for a destination that throttles is a part of the next export.
    let sink = Sink::start(|_| Reply::Status(503, vec![("retry-after", "3600".to_owned())], "later"));
    let mut config = logs_to(&sink.url(LOGS));
    config.log_retry.cancel_after = SECOND;
    let started = Started::new(config);
    for number in 0..20 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| settled(&started));
    assert_eq!(sink.seen().len(), 1);
    assert_eq!(started.stop().records("logs", "retry_exhausted"), 20);
}

#[test]
fn audit_records_ignore_retry_limit() {
    let sink = Sink::start(|number| if number < 10 { status(503) } else { Reply::Accept });
    let mut config = logs_to(&sink.url(LOGS));
    // Anything else would be given up with the first answer.
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(4), Duration::ZERO);
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, audit(number));
    }
    let ended = started.stop();
    assert_eq!(sink.arrived(), (0..10).collect::<Vec<_>>());
    assert_eq!((sink.seen().len(), ended.records("logs", "sent"), ended.lost), (11, 10, 0));
}

#[test]
fn late_destination_receives_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let started = Started::new(logs_to(&format!("http://{addr}{LOGS}")));
    for number in 0..30 {
        started.exporter.log(&started.identity, log(number));
    }
    let refused = "wasmetry_export_requests_total{signal=\"logs\",destination=\"otlp\",outcome=\"retried\"}";
    poll(|| started.value(refused) >= 3);
    let sink = Sink::start_on(TcpListener::bind(addr).unwrap(), Version::Http, |_| Reply::Accept);
    let ended = started.stop();
    assert_eq!(sink.arrived(), (0..30).collect::<Vec<_>>());
    assert_eq!((ended.records("logs", "sent"), ended.lost), (30, 0));
    assert!(ended.reports[0].to_lowercase().contains("connection refused"), "{:?}", ended.reports);
}

/// Serves an answer to every request, whatever it is.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap() == 0 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    stream.read_exact(&mut vec![0; length]).unwrap();
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        }
    });
    format!("http://{addr}{LOGS}")
}

// A login page, or the page of a server at the wrong URL.
#[test]
fn unrecognized_success_is_reported_once() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 12\r\n\r\n<html>log in";
    let started = Started::new(logs_to(&answering(page)));
    for number in 0..50 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    assert_eq!((ended.records("logs", "sent"), ended.lost), (50, 0));
    let [report] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
    assert!(report.contains("the answer is none of this protocol") && report.contains("<html>log in"), "{report}");
}

// Answers of collectors other than the message of the specification.
#[test]
fn terse_successes_are_recognized() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{\"partialSuccess\":{}}",
    ] {
        let started = Started::new(logs_to(&answering(answer)));
        started.exporter.log(&started.identity, log(0));
        let ended = started.stop();
        assert_eq!((ended.records("logs", "sent"), &ended.reports[..]), (1, &[][..]), "{answer}");
    }
}

#[test]
fn protocol_headers_cannot_be_configured() {
    for header in ["content-length", "transfer-encoding", "connection"] {
        let mut config = logs_to("http://127.0.0.1:1/");
        config.logs.as_mut().unwrap().headers.insert(header, "5".parse().unwrap());
        let error = Exporter::start(config, &Registry::new(), Arc::new(|_| ())).unwrap_err().to_string();
        assert!(error.contains(header) && error.contains("remove it"), "{error}");
    }
}
