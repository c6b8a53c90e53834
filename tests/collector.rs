//! Logs, spans and metrics in a real collector, over each transport of OTLP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmetry_export::push::{Config, Exporter};
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceContext,
    TraceId,
};
use wasmetry_host::{Identity, Registry, Sink as _};
use wasmetry_tests::backend::rotel::{Block, Rotel};

const TIME: u64 = 1_700_000_000_000_000_000;

fn context() -> TraceContext {
    TraceContext { trace_id: TraceId::new(7).unwrap(), span_id: SpanId::new(8).unwrap(), flags: 1 }
}

fn log(is_audit: bool) -> LogRecord {
    LogRecord {
        time: TIME + 1,
        observed: TIME + 2,
        level: Level::Warn,
        target: "shop::cart".into(),
        message: "cart loaded: 東京".into(),
        fields: vec![
            ("items".into(), FieldValue::Signed(-3)),
            ("half".into(), FieldValue::Float(0.5)),
            ("ok".into(), FieldValue::Bool(true)),
            ("user".into(), FieldValue::Text("a \"b\"".into())),
        ],
        source: Some(Source { file: "src/cart.rs".into(), line: 12 }),
        trace: Some(context()),
        is_audit,
        stream: None,
    }
}

fn span() -> SpanRecord {
    SpanRecord {
        context: context(),
        parent: SpanId::new(9),
        is_parent_remote: true,
        trace_state: "vendor=value".into(),
        name: "GET /cart".into(),
        kind: SpanKind::Server,
        start: TIME + 3,
        end: TIME + 9,
        attributes: vec![("http.response.status_code".into(), FieldValue::Signed(500))],
        events: vec![SpanEvent { time: TIME + 5, name: "exception".into(), attributes: Vec::new() }],
        links: vec![SpanLink {
            context: TraceContext { trace_id: TraceId::new(0x46).unwrap(), ..context() },
            attributes: Vec::new(),
        }],
        status: SpanStatus::Error("out of memory".into()),
        dropped: 0,
        target: "shop::cart".into(),
        request: None,
        is_slow: false,
    }
}

/// Returns the variables of each transport, with and without compression.
fn transports(rotel: &Rotel) -> Vec<[(&'static str, String); 3]> {
    let (grpc, http) = (rotel.grpc, rotel.http);
    let transport = |addr, protocol: &str, compression: &str| {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{addr}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression.to_owned()),
        ]
    };
    let all = [(grpc, "grpc"), (http, "http/protobuf"), (http, "http/json")];
    all.iter().flat_map(|(addr, protocol)| ["none", "gzip"].map(|gzip| transport(addr, protocol, gzip))).collect()
}

/// Starts an exporter with these variables, and returns it with the messages that it reports.
fn start(variables: &[(&'static str, String)], registry: &Registry) -> (Exporter, Arc<Mutex<Vec<String>>>) {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let reported: Arc<Mutex<Vec<String>>> = Arc::default();
    let report = Arc::clone(&reported);
    let report = Arc::new(move |text: &str| report.lock().unwrap().push(text.to_owned()));
    (Exporter::start(Config::from_env(lookup).unwrap(), registry, report).unwrap(), reported)
}

fn check(block: &Block, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(block.get(*key).map(String::as_str), Some(*value), "{key} of {block:#?}");
    }
}

#[test]
fn collector_receives_logs_and_spans() {
    let Some(rotel) = Rotel::start() else { return };
    let identity = Arc::new(Identity::new("shop").with_version("1.2").with_tenant("acme"));
    for (number, variables) in transports(&rotel).into_iter().enumerate() {
        let (exporter, reported) = start(&variables, &Registry::new());
        exporter.log(&identity, log(false));
        exporter.log(&identity, log(true));
        exporter.span(&identity, SpanRecord { name: format!("GET /{number}").into(), ..span() });
        assert_eq!(exporter.stop(Duration::from_secs(30)), 0, "{variables:?}: {:?}", reported.lock().unwrap());
        assert_eq!(*reported.lock().unwrap(), [""; 0], "{variables:?}");

        let count = |blocks: &[Block], of: &str| blocks.iter().filter(|block| block["of"] == of).count();
        let blocks = rotel.wait(|blocks| {
            // A block is complete if its last line is printed.
            let is_whole = |block: &Block| block.contains_key("link") || block.contains_key("Flags");
            (count(blocks, "LogRecord"), count(blocks, "Span")) == (2 * (number + 1), number + 1)
                && blocks.iter().all(is_whole)
        });
        let common = [
            ("resource.service.name", "shop"),
            ("resource.service.version", "1.2"),
            ("resource.tenant", "acme"),
            ("scope", "shop::cart"),
            ("Trace ID", "00000000000000000000000000000007"),
        ];
        let of = |of: &'static str| blocks.iter().filter(move |block| block["of"] == of);
        let logs: Vec<_> = of("LogRecord").skip(2 * number).collect();
        for log in &logs {
            check(log, &common);
            check(
                log,
                &[
                    ("Timestamp", "1700000000000000001"),
                    ("ObservedTimestamp", "1700000000000000002"),
                    ("SeverityNumber", "SEVERITY_NUMBER_WARN(13)"),
                    ("Body", "cart loaded: 東京"),
                    ("Span ID", "0000000000000008"),
                    ("attribute.items", "-3"),
                    ("attribute.half", "0.5"),
                    ("attribute.ok", "true"),
                    ("attribute.user", "a \"b\""),
                    ("attribute.code.file.path", "src/cart.rs"),
                ],
            );
        }
        let audits: Vec<_> = logs.iter().filter_map(|log| log.get("resource.stream")).collect();
        assert_eq!(audits, ["audit"], "{variables:?}");
        let span = of("Span").nth(number).unwrap();
        check(span, &common);
        check(
            span,
            &[
                ("Parent ID", "0000000000000009"),
                ("ID", "0000000000000008"),
                ("Name", &format!("GET /{number}")),
                ("Kind", "SPAN_KIND_SERVER"),
                ("TraceState", "vendor=value"),
                ("Start time", "1700000000000000003"),
                ("End time", "1700000000000000009"),
                ("Status code", "STATUS_CODE_ERROR"),
                ("Status message", "out of memory"),
                ("attribute.http.response.status_code", "500"),
                ("event.exception", "1700000000000000005"),
                ("link", "00000000000000000000000000000046"),
            ],
        );
    }
}

#[test]
fn collector_receives_metrics() {
    let Some(rotel) = Rotel::start() else { return };
    let all = transports(&rotel).into_iter().flat_map(|transport| {
        ["cumulative", "delta"].map(|temporality| {
            let preference = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality.to_owned());
            (temporality, [&transport[..], &[preference]].concat())
        })
    });
    for (number, (temporality, variables)) in all.enumerate() {
        let (exporter, reported) = start(&variables, &Registry::new());
        let registry = Registry::new();
        let keys = ["component", "version", "tenant", "queue"];
        // Protobuf's JSON has integers as texts, which this version of Rotel does not read: it
        // prints an empty histogram, and nothing more after a sum of integers.
        let has_integers = !variables.iter().any(|(_, value)| value == "http/json");
        if has_integers {
            registry.counter("jobs_total", "Jobs done.", &keys).with(&["shop", "1.2", "acme", "mail"]).add(3);
            let waits = registry.histogram("wait_seconds", "Time waited.", &keys, &[0.1, 1.0]);
            let waits = waits.with(&["shop", "1.2", "acme", "mail"]);
            [0.05, 0.5, 5.0, 5.0].into_iter().for_each(|wait| waits.observe(wait));
        }
        registry.float_counter("cost_joules_total", "Energy.", &keys).with(&["shop", "1.2", "acme", "mail"]).add(0.5);
        registry.gauge("depth", "Depth.", &keys).with(&["shop", "1.2", "acme", "mail"]).set(-2.5);
        exporter.push_metrics(Arc::new(move || registry.snapshot(Duration::ZERO))).unwrap();
        assert_eq!(exporter.stop(Duration::from_secs(30)), 0, "{variables:?}: {:?}", reported.lock().unwrap());
        assert_eq!(*reported.lock().unwrap(), [""; 0], "{variables:?}");

        let of = |blocks: &[Block], name: &str| -> Vec<Block> {
            let is_named = |block: &&Block| block.get("Descriptor.Name").is_some_and(|is| is == name);
            blocks.iter().filter(is_named).cloned().collect()
        };
        // A block is complete if its last line is printed.
        let blocks = rotel.wait(|blocks| {
            let has = |name, last: &str| of(blocks, name).get(number).is_some_and(|block| block.contains_key(last));
            has("cost_joules_total", "Value")
                && has("depth", "Value")
                && (!has_integers || has("jobs_total", "Value") && has("wait_seconds", "Buckets #2, Count"))
        });
        let metric = |name| of(&blocks, name).get(number).cloned();
        let [cost, depth] = ["cost_joules_total", "depth"].map(|name| metric(name).unwrap());
        let [jobs, waits] = ["jobs_total", "wait_seconds"].map(metric);
        for block in [&cost, &depth].into_iter().chain(&jobs).chain(&waits) {
            check(
                block,
                &[
                    ("resource.service.name", "shop"),
                    ("resource.service.version", "1.2"),
                    ("resource.component", "shop"),
                    ("resource.tenant", "acme"),
                    ("attribute.queue", "mail"),
                ],
            );
            assert!(block["resource.service.instance.id"].len() == 36, "{block:?}");
        }
        let kind = format!("AGGREGATION_TEMPORALITY_{}", temporality.to_uppercase());
        for (sum, value) in [(Some(&cost), "0.5"), (jobs.as_ref(), "3")] {
            let Some(sum) = sum else { continue };
            check(sum, &[("Descriptor.DataType", "Sum"), ("Descriptor.IsMonotonic", "true"), ("Value", value)]);
            check(sum, &[("Descriptor.AggregationTemporality", &kind)]);
        }
        check(&depth, &[("Descriptor.DataType", "Gauge"), ("Value", "-2.5")]);
        if let Some(waits) = &waits {
            check(waits, &[("Descriptor.Unit", "s"), ("Count", "4"), ("Sum", "10.55"), ("Buckets #2, Count", "2")]);
            check(waits, &[("Descriptor.DataType", "Histogram"), ("Descriptor.AggregationTemporality", &kind)]);
        }
        assert_eq!((jobs.is_some(), waits.is_some()), (has_integers, has_integers), "{variables:?}");
    }
}
