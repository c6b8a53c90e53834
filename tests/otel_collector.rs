//! The OpenTelemetry Collector: what it receives over each transport, what its Prometheus exporter
//! shows, its memory limiter, and log files that it reads.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmetry_export::push::{Config, Exporter};
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceContext,
    TraceId,
};
use wasmetry_host::{Identity, Registry, Sink as _};
use wasmetry_sink::{Code, Reply, Sink};
use wasmetry_tests::backend::daemon;
use wasmetry_tests::backend::otel_collector::{Options, OtelCollector, ReceivedRecord};
use wasmetry_tests::exposition::{Series, samples, sum};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{self, PROTOCOLS};
use wasmetry_tests::server::{Server, agent, command, get};

const TIME: u64 = 1_700_000_000_000_000_000;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Starts an exporter with these variables.
fn exporter(variables: &[(&'static str, String)], registry: &Registry) -> Exporter {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let report = Arc::new(|text: &str| panic!("{text}"));
    Exporter::start(Config::from_env(lookup).unwrap(), registry, report).unwrap()
}

/// Returns the variables of each transport, with and without compression.
fn transports(collector: &OtelCollector) -> Vec<Vec<(&'static str, String)>> {
    let all = PROTOCOLS.into_iter().flat_map(|protocol| ["none", "gzip"].map(|gzip| (protocol, gzip)));
    all.map(|(protocol, compression)| {
        let mut variables = otlp::variables(&collector.endpoint(protocol), protocol);
        variables.push(("OTEL_EXPORTER_OTLP_COMPRESSION", compression.to_owned()));
        variables
    })
    .collect()
}

/// Returns attributes as the Collector's JSON has them, sorted by key.
fn attributes(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    let mut all: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Returns a record without its attributes, which have no order.
fn without_attributes(record: &Value) -> Value {
    let mut record = record.clone();
    record.as_object_mut().unwrap().remove("attributes");
    record
}

/// Every field of logs and spans arrives unchanged over each transport.
#[test]
fn collector_keeps_every_field() {
    let Some(collector) = OtelCollector::start(&Options::default()) else { return };
    let identity = Arc::new(Identity::new("shop").with_version("1.2").with_tenant("acme"));
    let context = TraceContext { trace_id: TraceId::new(7).unwrap(), span_id: SpanId::new(8).unwrap(), flags: 1 };
    let fields = vec![
        ("items".into(), FieldValue::Signed(-3)),
        ("half".into(), FieldValue::Float(0.5)),
        ("ok".into(), FieldValue::Bool(true)),
        ("user".into(), FieldValue::Text("a \"b\" 東京".into())),
    ];
    let values = [
        ("items", json!({"intValue": "-3"})),
        ("half", json!({"doubleValue": 0.5})),
        ("ok", json!({"boolValue": true})),
        ("user", json!({"stringValue": "a \"b\" 東京"})),
    ];
    for (number, variables) in transports(&collector).into_iter().enumerate() {
        let exporter = exporter(&variables, &Registry::new());
        let log = LogRecord {
            time: TIME + 1,
            observed: TIME + 2,
            level: Level::Warn,
            target: "shop::cart".into(),
            message: "cart loaded: 東京".into(),
            fields: fields.clone(),
            source: Some(Source { file: "src/cart.rs".into(), line: 12 }),
            trace: Some(context),
            is_audit: false,
            stream: None,
        };
        exporter.log(&identity, log.clone());
        exporter.log(&identity, LogRecord { is_audit: true, ..log });
        let link = TraceContext { trace_id: TraceId::new(0x46).unwrap(), ..context };
        exporter.span(
            &identity,
            SpanRecord {
                context,
                parent: SpanId::new(9),
                is_parent_remote: true,
                trace_state: "vendor=value".into(),
                name: "GET /cart".into(),
                kind: SpanKind::Server,
                start: TIME + 3,
                end: TIME + 9,
                attributes: fields.clone(),
                events: vec![SpanEvent { time: TIME + 5, name: "exception".into(), attributes: Vec::new() }],
                links: vec![SpanLink { context: link, attributes: Vec::new() }],
                status: SpanStatus::Error("out of memory".into()),
                dropped: 0,
                target: "shop::cart".into(),
                request: None,
                is_slow: false,
            },
        );
        assert_eq!(exporter.stop(Duration::from_secs(30)), 0, "{variables:?}");

        let received =
            collector.wait(|received| (received.logs.len(), received.spans.len()) == (2 * (number + 1), number + 1));
        let [audits, logs]: [Vec<&ReceivedRecord>; 2] = [true, false].map(|is_audit| {
            let has_stream = |log: &&ReceivedRecord| log.attribute("stream").is_some() == is_audit;
            received.logs[2 * number..].iter().filter(has_stream).collect()
        });
        let ([audit], [log]) = (&audits[..], &logs[..]) else { panic!("{received:#?}") };
        for (key, value) in [("service.name", "shop"), ("service.version", "1.2"), ("tenant", "acme")] {
            for record in [audit, log, &&received.spans[number]] {
                assert_eq!(record.attribute(key), Some(json!({"stringValue": value})), "{record:#?}");
                assert_eq!(record.scope, "shop::cart");
            }
        }
        assert_eq!(audit.attribute("stream"), Some(json!({"stringValue": "audit"})));
        let mut with_source = values.to_vec();
        with_source.extend([
            ("code.file.path", json!({"stringValue": "src/cart.rs"})),
            ("code.line.number", json!({"intValue": "12"})),
        ]);
        for log in [audit, log] {
            assert_eq!(log.attributes(), attributes(&with_source), "{variables:?}");
            let expected = json!({
                "timeUnixNano": (TIME + 1).to_string(),
                "observedTimeUnixNano": (TIME + 2).to_string(),
                "severityNumber": 13,
                "severityText": "WARN",
                "body": {"stringValue": "cart loaded: 東京"},
                "flags": 1,
                "traceId": "00000000000000000000000000000007",
                "spanId": "0000000000000008",
            });
            assert_eq!(without_attributes(&log.record), expected, "{variables:?}");
        }
        let span = &received.spans[number];
        assert_eq!(span.attributes(), attributes(&values), "{variables:?}");
        let mut record = without_attributes(&span.record);
        // Bits 8 and 9 state that the parent is remote, of the span and of the link.
        let flags = record["flags"].take().as_u64().unwrap();
        assert_eq!(flags, 0x301, "{record:#}");
        let link = record["links"][0].take();
        assert_eq!(
            (&link["traceId"], &link["spanId"]),
            (&json!("00000000000000000000000000000046"), &json!("0000000000000008"))
        );
        let expected = json!({
            "flags": null,
            "links": [null],
            "traceId": "00000000000000000000000000000007",
            "spanId": "0000000000000008",
            "traceState": "vendor=value",
            "parentSpanId": "0000000000000009",
            "name": "GET /cart",
            "kind": 2,
            "startTimeUnixNano": (TIME + 3).to_string(),
            "endTimeUnixNano": (TIME + 9).to_string(),
            "events": [{"timeUnixNano": (TIME + 5).to_string(), "name": "exception"}],
            "status": {"code": 2, "message": "out of memory"},
        });
        assert_eq!(record, expected, "{variables:?}");
    }
}

/// Returns the values of the attribute `number`, and checks that each is there once.
fn numbers(records: &[ReceivedRecord]) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for number in records.iter().filter_map(|record| record.attribute("number")) {
        let number = number["intValue"].as_str().unwrap().parse().unwrap();
        assert!(all.insert(number), "{number} was received twice");
    }
    all
}

/// The number of logs of one request, each in a span.
const EACH: u64 = 50;

/// Sends requests that record logs and spans with consecutive numbers.
fn send_requests(server: &Server, requests: u64) {
    let agent = agent();
    for request in 0..requests {
        let url = format!("{}/logs?from={}&count={EACH}", server.url, request * EACH);
        assert_eq!(get(&agent, &url).0, 200);
    }
}

/// All logs and spans of a served guest arrive once, over each transport, and each log in its span.
#[test]
fn collector_receives_every_record() {
    const REQUESTS: u64 = 100;
    for protocol in PROTOCOLS {
        let Some(collector) = OtelCollector::start(&Options::default()) else { return };
        let variables = otlp::variables(&collector.endpoint(protocol), protocol);
        let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
        send_requests(&server, REQUESTS);
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{stderr:?}");
        let received = collector.received();
        let all: BTreeSet<u64> = (0..REQUESTS * EACH).collect();
        assert!(numbers(&received.logs) == all && numbers(&received.spans) == all, "{protocol}");
        let by_number = |records: &[ReceivedRecord]| -> BTreeMap<String, (Value, Value)> {
            let numbered = records.iter().filter_map(|of| Some((of.attribute("number")?, of)));
            numbered
                .map(|(number, of)| {
                    (number["intValue"].to_string(), (of.record["traceId"].clone(), of.record["spanId"].clone()))
                })
                .collect()
        };
        assert!(by_number(&received.logs) == by_number(&received.spans), "{protocol}");
    }
}

/// The Collector's Prometheus exporter shows the values that a scrape of the server shows.
#[test]
fn prometheus_exporter_shows_same_values() {
    for (protocol, temporality) in [("grpc", "cumulative"), ("http/json", "cumulative"), ("http/protobuf", "delta")] {
        let Some(collector) = OtelCollector::start(&Options::default()) else { return };
        let mut variables = otlp::variables(&collector.endpoint(protocol), protocol);
        variables.extend([
            ("OTEL_METRIC_EXPORT_INTERVAL", "200".to_owned()),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality.to_owned()),
        ]);
        let arguments = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme"];
        let server = Server::start_with(&guest("storefront"), &arguments, &variables);
        let agent = agent();
        for (path, count) in [("/", 30), ("/cart", 20), ("/checkout?item=pear", 10), ("/boom", 4)] {
            (0..count).for_each(|_| drop(get(&agent, &format!("{}{path}", server.url))));
        }
        let is_whole = |text: &str| {
            sum(text, "http_requests_total", &[]) == 64.0
                && sum(text, "wasm_http_requests_total", &[]) == 64.0
                && sum(text, "wasm_traps_total", &[]) == 4.0
                && sum(text, "wasm_http_request_duration_seconds_count", &[]) == 64.0
        };
        let scraped = server.scrape_until(is_whole);
        let url = format!("http://{}/metrics", collector.prometheus);
        let exported = daemon::until(|| Some(get(&agent, &url).1).filter(|text| is_whole(text)), || false);
        let exported = exported.unwrap_or_else(|| panic!("{}\n{}", get(&agent, &url).1, collector.log()));
        let [scraped, exported] = [&scraped, &exported].map(|text| guest_samples(text));
        for series in scraped.keys().chain(exported.keys()) {
            let [scraped, exported] = [&scraped, &exported].map(|samples| samples.get(series).copied());
            // Series that are still 0 have no deltas.
            let is_unchanged =
                temporality == "delta" && scraped.unwrap_or(0.0) == 0.0 && exported.unwrap_or(0.0) == 0.0;
            assert!(scraped == exported || is_unchanged, "{temporality}: {series:?}: {scraped:?}, {exported:?}");
        }
        assert!(scraped.len() > 50, "{scraped:#?}");
        assert!(server.stop().0.success());
    }
}

/// Returns the samples of the guest and of its requests, with the labels of the component alone.
fn guest_samples(text: &str) -> BTreeMap<Series, f64> {
    let begins = ["http_", "wasm_http_", "wasm_traps_total", "items_"];
    let lines: Vec<&str> = text.lines().filter(|line| begins.iter().any(|begin| line.starts_with(begin))).collect();
    let all = samples(&lines.join("\n"));
    all.into_iter()
        .map(|((name, mut labels), value)| {
            // The Collector adds the resource and the scope, in which the version has another name.
            let is_own = |key: &str| {
                !key.starts_with("otel_scope_") && !["job", "instance"].contains(&key) && !key.starts_with("service_")
            };
            if let Some(version) = labels.get("service_version").cloned() {
                labels.insert("version".to_owned(), version);
            }
            labels.retain(|key, _| is_own(key));
            ((name, labels), value)
        })
        .collect()
}

/// While the Collector's memory limiter refuses data, records wait in the queue; afterwards each
/// arrives once.
#[test]
fn memory_limiter_loses_no_record() {
    const REQUESTS: u64 = 40;
    for protocol in PROTOCOLS {
        // The Collector itself needs more than this.
        let limited = Options { memory_limit: Some(1), ..Options::default() };
        let Some(mut collector) = OtelCollector::start(&limited) else { return };
        let mut variables = otlp::variables(&collector.endpoint(protocol), protocol);
        variables
            .extend(["OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"].map(|name| (name, "10000".to_owned())));
        let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
        send_requests(&server, REQUESTS);
        let retries = |signal: &str, text: &str| {
            sum(text, "wasmetry_export_requests_total", &[("signal", signal), ("outcome", "retried")])
        };
        let scrape = server.scrape_until(|text| retries("logs", text) >= 2.0 && retries("spans", text) >= 2.0);
        assert_eq!(sum(&scrape, "wasmetry_dropped_total", &[]), 0.0, "{protocol}");
        let refused = collector.received();
        assert!(refused.logs.is_empty() && refused.spans.is_empty(), "{protocol}: the limiter refused nothing");
        collector.reload(&Options { memory_limit: Some(4000), ..Options::default() });
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{protocol}: {stderr:?}");
        let received = collector.received();
        let all: BTreeSet<u64> = (0..REQUESTS * EACH).collect();
        assert!(numbers(&received.logs) == all && numbers(&received.spans) == all, "{protocol}");
    }
}

/// A backend that limits the rate, by 429 or by `RESOURCE_EXHAUSTED` with a delay, receives
/// everything after that delay.
#[test]
fn rate_limit_loses_no_record() {
    const REQUESTS: u64 = 20;
    let limits = |number: usize| number < 6;
    let delay = Duration::from_millis(1100);
    for protocol in PROTOCOLS {
        let sink = if protocol == "grpc" {
            Sink::grpc(move |number| {
                if limits(number) { Reply::Grpc(Code::ResourceExhausted, "later", Some(delay)) } else { Reply::Accept }
            })
        } else {
            Sink::start(move |number| match number {
                number if limits(number) => Reply::Status(429, vec![("retry-after", "1".to_owned())], "later"),
                _ => Reply::Accept,
            })
        };
        let server = Server::start_with(
            &guest("log-service"),
            &["--log-format", "off"],
            &otlp::variables(&sink.url("/"), protocol),
        );
        send_requests(&server, REQUESTS);
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{protocol}: {stderr:?}");
        let logs: BTreeSet<String> =
            sink.logs().iter().filter_map(|log| wasmetry_sink::text(&log.record.attributes, "number")).collect();
        let spans: BTreeSet<String> =
            sink.spans().iter().filter_map(|span| wasmetry_sink::text(&span.record.attributes, "number")).collect();
        let all: BTreeSet<String> = (0..REQUESTS * EACH).map(|number| number.to_string()).collect();
        assert!(logs == all && spans == all, "{protocol}");
        sink.with(|state| assert_eq!(state.broken, [""; 0]));
    }
}

/// The log file receiver with the operators of `examples/collector.yaml` reads the same records
/// from JSON lines as OTLP brings.
#[test]
fn log_file_equals_otlp_logs() {
    let directory = tempfile::tempdir_in(wasmetry_tests::target()).unwrap();
    let stdout = directory.path().join("stdout");
    let receiver = include_str!("../examples/collector.yaml");
    let receiver = receiver.replace(LOG_FILES, &stdout.display().to_string());
    let options = Options { log_receivers: vec![("file_log", receiver_of(&receiver))], ..Options::default() };
    assert_file_equals_otlp(&options, &stdout);
}

/// So does the configuration that `wasmetry ops logs` generates.
#[test]
fn generated_receiver_equals_otlp_logs() {
    let directory = tempfile::tempdir_in(wasmetry_tests::target()).unwrap();
    let stdout = directory.path().join("stdout");
    let mut ops = Command::new(command());
    ops.args(["ops", "logs"]).arg(guest("log-service")).arg("-o").arg(directory.path());
    assert!(ops.status().unwrap().success());
    let generated = fs::read_to_string(directory.path().join("logs/collector-files.yml")).unwrap();
    let storage = directory.path().join("storage").display().to_string();
    let base = generated.replace(LOG_FILES, &stdout.display().to_string());
    let base = base.replace("/var/lib/otelcol/file_storage", &storage);
    // Its exporter to Loki is in no pipeline then.
    let log_receivers = vec![("file_log/lines", "{}".to_owned())];
    assert_file_equals_otlp(&Options { base: Some(base), log_receivers, ..Options::default() }, &stdout);
}

/// The files that the receivers of logs read.
const LOG_FILES: &str = "/var/log/wasmetry/*.jsonl";

/// Runs a guest whose lines are in a file, which a Collector with these options reads, and which
/// are also sent to it by OTLP. Compares the records.
fn assert_file_equals_otlp(options: &Options, stdout: &Path) {
    let Some(collector) = OtelCollector::start(options) else { return };
    let variables = otlp::variables(&collector.endpoint("grpc"), "grpc");
    let arguments = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme", "--log-level", "trace"];
    let server = Server::start_with_stdout(&guest("log-service"), &arguments, &variables, stdout);
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let request = agent().get(format!("{}/levels", server.url)).header("traceparent", traceparent);
    assert_eq!(request.call().unwrap().status(), 200);
    assert!(server.stop().0.success());
    let received = collector.wait(|received| received.logs.len() == 16);
    let (of_otlp, of_file): (Vec<&ReceivedRecord>, Vec<&ReceivedRecord>) =
        received.logs.iter().partition(|log| log.attribute("log.file.name").is_none());
    assert_eq!((of_otlp.len(), of_file.len()), (8, 8), "{received:#?}");
    for expected in of_otlp {
        let same = |log: &&&ReceivedRecord| log.record["body"] == expected.record["body"];
        let found = of_file.iter().find(same).unwrap_or_else(|| panic!("{expected:#?} is not in {of_file:#?}"));
        for field in ["timeUnixNano", "severityNumber", "traceId", "spanId"] {
            assert_eq!(found.record[field], expected.record[field], "{field} of {found:#?} {expected:#?}");
        }
        for (key, value) in expected.attributes() {
            // JSON has one type of numbers, which the receiver reads as floating-point numbers.
            // A field with a name of the host's is renamed in lines.
            let key = if key == "level" { "exported_level".to_owned() } else { key };
            let number = |value: &Value| match &value["intValue"] {
                Value::String(text) => text.parse::<f64>().ok(),
                _ => value["doubleValue"].as_f64(),
            };
            let read = found.attribute(&key).unwrap_or_else(|| panic!("{key} is not in {found:#?}"));
            assert!(
                read == value || number(&read).is_some() && number(&read) == number(&value),
                "{key}: {read} {value}"
            );
        }
        for key in ["service.name", "service.version", "tenant"] {
            assert_eq!(found.attribute(key), expected.attribute(key), "{key} of {found:#?}");
        }
    }
}

/// Returns the settings of a configuration's receiver, without their name.
fn receiver_of(config: &str) -> String {
    let (_, settings) = config.split_once("  file_log:\n").expect("the example has this receiver");
    let end = settings.find("\nexporters:").expect("the exporters follow");
    format!("\n{}", &settings[..end])
}
