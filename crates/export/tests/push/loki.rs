//! Pushes to a Loki that refuses what Loki refuses.
//!
//! There is no Loki to be installed for the tests; the server here keeps to its documentation.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use wasmetry_export::push::{Batch, Compression, Config, Loki, LokiFormat};
use wasmetry_host::Sink as _;
use wasmetry_sink::{Request, Version};

use crate::record::{audit, full_log, log, shop};
use crate::sink::{LOKI, Reply, Sink, poll};
use crate::started::{Ended, LONG, Started, logs_to};

const FORMATS: [LokiFormat; 3] =
    [LokiFormat::Protobuf, LokiFormat::Json(Compression::None), LokiFormat::Json(Compression::Gzip)];

fn config(sink: &Sink, format: LokiFormat) -> Config {
    config_of(&sink.url(LOKI), format)
}

fn config_of(url: &str, format: LokiFormat) -> Config {
    let mut config = logs_to("http://127.0.0.1:1/");
    config.logs = None;
    let mut loki = Loki::new(url.parse().unwrap(), format);
    loki.timeout = LONG;
    config.loki = Some(loki);
    config
}

fn records(ended: &Ended, outcome: &str) -> u64 {
    ended.value(&format!("wasmetry_export_records_total{{signal=\"logs\",destination=\"loki\",outcome=\"{outcome}\"}}"))
}

#[test]
fn full_records_break_no_rule() {
    for format in FORMATS {
        let sink = Sink::start(|_| Reply::Accept);
        let started = Started::new(config(&sink, format));
        for number in 0..25 {
            let record = match number % 3 {
                0 => full_log(number),
                1 => audit(number),
                _ => log(number),
            };
            started.exporter.log(&started.identity, record);
        }
        let ended = started.stop();
        let mut arrived = sink.arrived_streams();
        arrived.sort_unstable();
        assert_eq!(arrived, (0..25).map(|number| (number, number % 3 == 1)).collect::<Vec<_>>(), "{format:?}");
        assert_eq!((records(&ended, "sent"), ended.lost), (25, 0));
        for seen in sink.seen() {
            assert_eq!(seen.headers["x-scope-orgid"], "acme");
            let is_gzip = format == LokiFormat::Json(Compression::Gzip);
            assert_eq!(seen.headers.contains_key("content-encoding"), is_gzip);
        }
    }
}

#[test]
fn tenants_have_requests_of_their_own() {
    let sink = Sink::start(|number| match number {
        // A destination that fails delays all; the first of a batch's requests is sent again,
        // without the others.
        0 => Reply::Status(503, Vec::new(), "later"),
        _ => Reply::Accept,
    });
    let mut config = config(&sink, LokiFormat::Protobuf);
    config.log_batch = Batch::new(30, 1 << 20, LONG);
    let started = Started::new(config);
    let tenants = ["", "acme", "initech"].map(|tenant| Arc::new((*shop()).clone().with_tenant(tenant)));
    for number in 0..30 {
        started.exporter.log(&tenants[number as usize % 3], log(number));
    }
    let ended = started.stop();
    let seen: Vec<_> =
        sink.seen().into_iter().map(|seen| (seen.headers.get("x-scope-orgid").cloned(), seen.records)).collect();
    let expected = [None, None, Some("acme"), Some("initech")].map(|tenant| (tenant.map(HeaderValue::from_static), 10));
    assert_eq!(seen, expected);
    let expected: Vec<_> = (0..3).flat_map(|tenant| (tenant..30).step_by(3)).collect();
    assert_eq!(sink.arrived(), expected, "each tenant's records in their order");
    assert_eq!((records(&ended, "sent"), ended.lost), (30, 0));
}

#[test]
fn tenant_header_overrides_all_tenants() {
    let sink = Sink::start(|_| Reply::Accept);
    let mut config = config(&sink, LokiFormat::Protobuf);
    config.loki.as_mut().unwrap().headers.insert("x-scope-orgid", "platform".parse().unwrap());
    let started = Started::new(config);
    for number in 0..10 {
        let tenant = if number % 2 == 0 { "acme" } else { "initech" };
        started.exporter.log(&Arc::new((*shop()).clone().with_tenant(tenant)), log(number));
    }
    assert_eq!(started.stop().lost, 0);
    let [seen] = &sink.seen()[..] else { panic!("{:?}", sink.seen()) };
    assert_eq!((seen.headers["x-scope-orgid"].to_str().unwrap(), seen.records), ("platform", 10));
    assert_eq!(sink.arrived().len(), 10);
}

#[test]
fn unsendable_tenant_drops_its_records_only() {
    let sink = Sink::start(|_| Reply::Accept);
    let started = Started::new(config(&sink, LokiFormat::Protobuf));
    let strange = Arc::new((*shop()).clone().with_tenant("a\nb"));
    for number in 0..10 {
        started.exporter.log(if number < 3 { &strange } else { &started.identity }, log(number));
    }
    let ended = started.stop();
    assert_eq!((records(&ended, "rejected"), records(&ended, "sent"), ended.lost), (3, 7, 3));
    assert_eq!(sink.arrived(), (3..10).collect::<Vec<_>>());
    assert!(
        ended.reports[0].contains(r#"the tenant "a\nb" cannot be the value of a header; rename it"#),
        "{:?}",
        ended.reports
    );
}

fn failing_first(format: LokiFormat, reply: Reply) -> (Sink, Ended) {
    let sink = Sink::start(move |number| if number == 0 { reply.clone() } else { Reply::Accept });
    let mut config = config(&sink, format);
    config.loki.as_mut().unwrap().timeout = Duration::from_secs(2);
    let started = Started::new(config);
    for number in 0..10 {
        started.exporter.log(&started.identity, log(number));
    }
    poll(|| started.value("wasmetry_export_queue_records{signal=\"logs\",destination=\"loki\"}") == 0);
    (sink, started.stop())
}

#[test]
fn status_decides_about_retry() {
    let status = |code| Reply::Status(code, Vec::new(), "as the test wants");
    for code in [429, 500, 502, 503, 504] {
        let (sink, ended) = failing_first(LokiFormat::Protobuf, status(code));
        assert_eq!((sink.seen().len(), records(&ended, "sent"), ended.lost), (2, 10, 0), "{code}");
        assert_eq!(sink.arrived().len(), 10, "{code}");
    }
    for code in [400, 401, 404, 413, 422] {
        let (sink, ended) = failing_first(LokiFormat::Protobuf, status(code));
        assert_eq!((sink.seen().len(), records(&ended, "rejected"), ended.lost), (1, 10, 10), "{code}");
        let [report] = &ended.reports[..] else { panic!("{:?}", ended.reports) };
        assert!(report.ends_with("as the test wants"), "{report}");
    }
}

#[test]
fn broken_or_hanging_loki_is_retried() {
    for format in FORMATS {
        for reply in [Reply::Half, Reply::HalfHead, Reply::Close, Reply::Hang] {
            let name = format!("{format:?} {reply:?}");
            let (sink, ended) = failing_first(format, reply);
            assert_eq!(sink.arrived(), (0..10).collect::<Vec<_>>(), "{name}");
            assert_eq!((sink.seen().len(), records(&ended, "sent"), ended.lost), (2, 10, 0), "{name}");
            assert!(
                ended.reports[0].contains("logs to ") && ended.reports[0].contains(" cannot be sent and are retried"),
                "{name}"
            );
        }
    }
}

#[test]
fn loki_retry_after_is_kept() {
    let second = Duration::from_secs(1);
    let reply = Reply::Status(429, vec![("retry-after", "1".to_owned())], "ingestion rate limit exceeded");
    let (sink, ended) = failing_first(LokiFormat::Json(Compression::None), reply);
    let seen = sink.seen();
    assert!(seen.len() == 2 && seen[1].at - seen[0].at >= second, "{seen:?}");
    assert_eq!((records(&ended, "sent"), ended.lost), (10, 0));
    assert!(ended.reports[0].ends_with("ingestion rate limit exceeded"), "{:?}", ended.reports);
}

/// A push that is sent again has the timestamps of the first attempt, so that Loki recognises the
/// entries that it has already. The next push goes on behind them.
#[test]
fn retried_push_keeps_its_timestamps() {
    let attempts: Arc<Mutex<Vec<Vec<u64>>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rule = {
        let attempts = Arc::clone(&attempts);
        move |request: &Request| {
            let Request::Loki(streams) = request else { return Err("not Loki".to_owned()) };
            attempts.lock().unwrap().push(streams[0].entries.iter().map(|entry| entry.time).collect());
            Ok(())
        }
    };
    // The records of the first attempt may have been stored.
    let script = |number| if number == 0 { Reply::Close } else { Reply::Accept };
    let url = format!("http://{}{LOKI}", listener.local_addr().unwrap());
    let _sink = wasmetry_sink::Sink::start_on(listener, Version::Http, rule, script);
    let mut config = config_of(&url, LokiFormat::Protobuf);
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    let started = Started::new(config);
    for _ in 0..20 {
        started.exporter.log(&started.identity, log(7));
    }
    assert_eq!(started.stop().lost, 0);
    let attempts = attempts.lock().unwrap();
    let [first, second, next] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!(first, second);
    let all = [&second[..], next].concat();
    assert!(all.len() == 20 && all.is_sorted_by(|one, other| one < other), "{all:?}");
}

#[test]
fn sink_refuses_broken_rules() {
    for format in FORMATS {
        let sink = Sink::start(|_| Reply::Accept);
        let mut config = config(&sink, format);
        config.process = config.process.with_service_name("another");
        let started = Started::new(config);
        started.exporter.log(&shop(), log(1));
        let ended = started.stop();
        assert_eq!((records(&ended, "rejected"), records(&ended, "sent")), (1, 0), "{format:?}");
        assert!(ended.reports[0].contains("400 Bad Request: service_name in"), "{:?}", ended.reports);
        sink.wait(|state| state.broken.len() == 1 && state.records() == 0);
    }
}

#[test]
fn failing_destination_affects_no_other() {
    let (otlp, loki) = (Sink::start(|_| Reply::Accept), Sink::start(|_| Reply::Status(400, Vec::new(), "no")));
    let mut config = config(&loki, LokiFormat::Protobuf);
    config.logs = logs_to(&otlp.url("/v1/logs")).logs;
    let started = Started::new(config);
    for number in 0..50 {
        started.exporter.log(&started.identity, log(number));
    }
    let ended = started.stop();
    assert_eq!(otlp.arrived(), (0..50).collect::<Vec<_>>());
    assert_eq!((ended.records("logs", "sent"), records(&ended, "rejected"), ended.lost), (50, 50, 50));
}
