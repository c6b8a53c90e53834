//! Traces in Jaeger, as its query API returns them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use wasmetry_export::push::{Config, Exporter};
use wasmetry_host::record::{
    FieldValue, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceContext, TraceId,
};
use wasmetry_host::{Identity, Registry, Sink as _};
use wasmetry_tests::backend::daemon;
use wasmetry_tests::backend::jaeger::{Jaeger, Trace, value};
use wasmetry_tests::backend::otel_collector::{Options, OtelCollector};
use wasmetry_tests::embedding::observed::Host;
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{PROTOCOLS, variables};
use wasmetry_tests::server::{Server, agent};
use wasmetry_wasmtime::wall_clock;

/// The caller's span id.
const CALLER: &str = "b7ad6b7169203331";

/// Returns the variables that export only traces.
fn traces_only(endpoint: &str, protocol: &str) -> Vec<(&'static str, String)> {
    let mut all = variables(endpoint, protocol);
    all.extend([("OTEL_LOGS_EXPORTER", "none".to_owned()), ("OTEL_METRICS_EXPORTER", "none".to_owned())]);
    all
}

/// Jaeger omits the first half of a trace id that is zero, so numbered traces have this one.
const FIRST_HALF: u128 = 0x5eed << 112;

/// Returns the id of a numbered trace.
fn trace_id(number: u64) -> String {
    format!("{:032x}", FIRST_HALF | u128::from(number))
}

/// Sends a request in a numbered trace of the caller.
fn call(url: &str, number: u64, body: Option<&str>) -> u16 {
    let traceparent = format!("00-{}-{CALLER}-01", trace_id(number));
    let response = match body {
        Some(body) => agent().post(url).header("traceparent", &traceparent).send(body),
        None => agent().get(url).header("traceparent", &traceparent).call(),
    };
    let mut response = response.unwrap();
    response.body_mut().read_to_string().unwrap();
    response.status().as_u16()
}

/// Sends a request to a service that calls another one, in a numbered trace. If `is_refused`, the
/// other one refuses the call.
fn call_both(first: &Server, second: &Server, number: u64, is_refused: bool) {
    let arguments = if is_refused { serde_json::json!(["no call"]) } else { serde_json::json!([]) };
    let body = serde_json::json!([{"url": format!("{}/", second.url), "arguments": arguments}]).to_string();
    assert_eq!(call(&format!("{}/", first.url), number, Some(&body)), 200);
}

/// Checks the trace of [`call_both`].
fn check_both(trace: &Trace, is_refused: bool) {
    check_both_as(trace, is_refused, str::to_owned);
}

/// Checks the trace of [`call_both`], in which each name was changed by a function.
fn check_both_as(trace: &Trace, is_refused: bool, name: fn(&str) -> String) {
    let spans = trace.spans();
    let shape: Vec<_> = spans
        .iter()
        .map(|span| {
            (span.service(), span.name().to_owned(), span.tag("span.kind").unwrap_or_default(), span.tag("error"))
        })
        .collect();
    // A refused request is an error of the client.
    let error = is_refused.then(|| "true".to_owned());
    let kind = |kind: &str| kind.to_owned();
    let expected = [
        ("first", name("POST /"), kind("server"), None),
        ("first", name("handle"), kind("internal"), None),
        ("first", name("relay"), kind("internal"), None),
        ("first", name("POST"), kind("client"), error),
        ("second", name("POST /"), kind("server"), None),
        ("second", name("handle"), kind("internal"), None),
    ];
    assert_eq!(shape, expected, "{:#}", trace.0);
    assert_eq!(spans[0].parent(), Some(CALLER));
    for pair in spans.windows(2) {
        let [outer, inner] = pair else { unreachable!("windows of 2") };
        assert_eq!(inner.parent(), Some(outer.id()), "{:#}", trace.0);
        // The second server may end its span after the client has read the response.
        let is_remote = outer.service() != inner.service();
        let (outer, inner) = (outer.times(), inner.times());
        // Jaeger rounds times and durations to microseconds.
        assert!(outer.0 <= inner.0 && (is_remote || inner.1 <= outer.1 + 1), "{:#}", trace.0);
    }
    let status = if is_refused { "400" } else { "200" };
    for span in [spans[3], spans[4]] {
        assert_eq!(span.tag("http.response.status_code").as_deref(), Some(status), "{:#}", trace.0);
    }
}

/// The spans of two services form one trace, over each transport, and Jaeger sees the dependency
/// between them.
#[test]
fn two_services_form_one_trace() {
    let Some(jaeger) = Jaeger::start() else { return };
    let relay = guest("trace-relay");
    for (protocol, number) in PROTOCOLS.into_iter().zip(1..) {
        let variables = traces_only(&jaeger.endpoint(protocol), protocol);
        let second = Server::start_with(&relay, &["--name", "second"], &variables);
        let first = Server::start_with(&relay, &["--name", "first"], &variables);
        for (number, is_refused) in [(2 * number, false), (2 * number + 1, true)] {
            call_both(&first, &second, number, is_refused);
            check_both(&jaeger.wait_for_trace(&trace_id(number), 6), is_refused);
        }
    }
    let now = (wall_clock() / 1_000_000).to_string();
    let dependencies = jaeger.request("dependencies", &[("endTs", &now), ("lookback", "3600000")]).unwrap();
    let dependencies: Vec<_> = dependencies
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["parent"].as_str().unwrap(), of["child"].as_str().unwrap(), of["callCount"].as_u64().unwrap()))
        .collect();
    assert_eq!(dependencies, [("first", "second", 2 * PROTOCOLS.len() as u64)]);
}

/// Starts an exporter with these variables.
fn exporter(variables: &[(&'static str, String)]) -> Exporter {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let report = Arc::new(|text: &str| panic!("{text}"));
    Exporter::start(Config::from_env(lookup).unwrap(), &Registry::new(), report).unwrap()
}

/// Each field of a span arrives, over each transport and with each compression.
#[test]
fn span_arrives_with_every_field() {
    let Some(jaeger) = Jaeger::start() else { return };
    let identity = Arc::new(Identity::new("shop").with_version("1.2").with_tenant("acme"));
    // Now, in whole microseconds, as Jaeger returns times.
    let time = wall_clock() / 1000 * 1000;
    let kinds = [
        (SpanKind::Internal, "internal", SpanStatus::Unset),
        (SpanKind::Server, "server", SpanStatus::Ok),
        (SpanKind::Client, "client", SpanStatus::Error("out of memory: 東京".into())),
        (SpanKind::Producer, "producer", SpanStatus::Unset),
        (SpanKind::Consumer, "consumer", SpanStatus::Unset),
    ];
    let all = PROTOCOLS.into_iter().flat_map(|protocol| ["none", "gzip"].map(|gzip| (protocol, gzip)));
    for ((protocol, compression), number) in all.zip(1..) {
        let mut variables = traces_only(&jaeger.endpoint(protocol), protocol);
        variables.push(("OTEL_EXPORTER_OTLP_COMPRESSION", compression.to_owned()));
        let exporter = exporter(&variables);
        let context = |span: u64| TraceContext {
            trace_id: TraceId::new(FIRST_HALF | number).unwrap(),
            span_id: SpanId::new(span).unwrap(),
            flags: 1,
        };
        for ((kind, name, status), span) in kinds.clone().into_iter().zip(1..) {
            let record = SpanRecord {
                context: context(span),
                parent: SpanId::new(span - 1),
                is_parent_remote: kind == SpanKind::Server,
                trace_state: "vendor=value".into(),
                name: name.to_owned().into(),
                kind,
                start: time + span * 1000,
                end: time + span * 1000 + 7_000_000,
                attributes: vec![
                    ("items".into(), FieldValue::Signed(-3)),
                    ("half".into(), FieldValue::Float(0.5)),
                    ("ok".into(), FieldValue::Bool(true)),
                    ("user".into(), FieldValue::Text("a \"b\" 東京".into())),
                ],
                events: vec![
                    SpanEvent {
                        time: time + 2_000_000,
                        name: "retried".into(),
                        attributes: vec![("after".into(), FieldValue::Signed(3))],
                    },
                    SpanEvent { time: time + 3_000_000, name: "exception".into(), attributes: Vec::new() },
                ],
                links: vec![SpanLink {
                    context: TraceContext { trace_id: TraceId::new(FIRST_HALF | 0x46).unwrap(), ..context(0x47) },
                    attributes: Vec::new(),
                }],
                status,
                dropped: 0,
                target: "shop::cart".into(),
                request: None,
                is_slow: false,
            };
            exporter.span(&identity, record);
        }
        assert_eq!(exporter.stop(Duration::from_secs(30)), 0, "{protocol} {compression}");
        let trace = jaeger.wait_for_trace(&trace_id(number as u64), kinds.len());
        assert_eq!(trace.spans().len(), kinds.len());
        for ((_, name, status), id) in kinds.iter().zip(1..) {
            let span = trace.span(name);
            assert_eq!((span.service(), span.id()), ("shop", format!("{id:016x}").as_str()));
            let parent = (id > 1).then(|| format!("{:016x}", id - 1));
            assert_eq!(span.parent().map(str::to_owned), parent, "{protocol}: {:#}", trace.0);
            let start = time / 1000 + id;
            assert_eq!(span.times(), (start, start + 7000), "{protocol}: {:#}", trace.0);
            let (error, code, message) = match status {
                SpanStatus::Unset => (None, None, None),
                SpanStatus::Ok => (None, Some("OK"), None),
                SpanStatus::Error(message) => (Some("true"), Some("ERROR"), Some(&**message)),
            };
            let expected = [
                ("span.kind", Some(*name)),
                ("error", error),
                ("otel.status_code", code),
                ("otel.status_description", message),
                ("otel.scope.name", Some("shop::cart")),
                ("w3c.tracestate", Some("vendor=value")),
                ("items", Some("-3")),
                ("half", Some("0.5")),
                ("ok", Some("true")),
                ("user", Some("a \"b\" 東京")),
            ];
            for (key, value) in expected {
                assert_eq!(span.tag(key).as_deref(), value, "{protocol}: {key} of {:#}", trace.0);
            }
            assert_eq!(span.resource("service.version").as_deref(), Some("1.2"));
            assert_eq!(span.resource("tenant").as_deref(), Some("acme"));
            let events = span.events();
            assert_eq!(
                events.iter().map(|(time, _)| *time).collect::<Vec<_>>(),
                [time / 1000 + 2000, time / 1000 + 3000]
            );
            assert_eq!(value(events[0].1, "event").as_deref(), Some("retried"), "{:#}", trace.0);
            assert_eq!(value(events[0].1, "after").as_deref(), Some("3"), "{:#}", trace.0);
            let links = span.references("FOLLOWS_FROM");
            let [link] = links[..] else { panic!("{links:#?}") };
            assert_eq!((&link["traceID"], &link["spanID"]), (&trace_id(0x46).into(), &"0000000000000047".into()));
        }
    }
}

/// A guest's own events, links, kinds and statuses arrive.
#[test]
fn guest_events_and_links_arrive() {
    let Some(jaeger) = Jaeger::start() else { return };
    let exporter = Arc::new(exporter(&traces_only(&jaeger.endpoint("grpc"), "grpc")));
    let host = Host::with_sink("handle-api", Arc::<Exporter>::clone(&exporter));
    let mut emitter = host.instance();
    let (traceparent,) = emitter.call::<_, (String,)>("emit-records", (7i64,)).unwrap();
    drop(emitter);
    let id = traceparent.split('-').nth(1).unwrap();
    let trace = jaeger.wait_for_trace(id, 2);
    let (outer, inner) = (trace.span("outer"), trace.span("inner"));
    assert_eq!(inner.parent(), Some(outer.id()));
    assert_eq!(inner.tag("span.kind").as_deref(), Some("client"));
    assert_eq!(
        (inner.tag("error").as_deref(), inner.tag("otel.status_description").as_deref()),
        (Some("true"), Some("timed out"))
    );
    assert_eq!((outer.tag("otel.status_code").as_deref(), outer.tag("user").as_deref()), (Some("OK"), Some("7")));
    assert_eq!(inner.tag("peer").as_deref(), Some("cache"));
    let events = inner.events();
    assert_eq!(value(events[0].1, "event").as_deref(), Some("retried"), "{events:?}");
    let links = inner.references("FOLLOWS_FROM");
    assert_eq!(links[0]["traceID"], "0af7651916cd43dd8448eb211c80319c", "{links:?}");
    let exporter = Arc::into_inner(exporter);
    drop((host, exporter));
}

/// Requests that trap or are killed are found by service, operation, tag and duration, with the
/// reason.
#[test]
fn search_finds_failed_requests() {
    let Some(jaeger) = Jaeger::start() else { return };
    let variables = traces_only(&jaeger.endpoint("http/protobuf"), "http/protobuf");
    let server = Server::start_with(&guest("storefront"), &["--request-timeout", "300ms"], &variables);
    for (path, status, number) in [("/cart", 200, 1), ("/boom", 500, 2), ("/spin", 504, 3), ("/slow?ms=120", 200, 4)] {
        assert_eq!(call(&format!("{}{path}", server.url), number, None), status);
    }
    assert!(server.stop().0.success());
    for (number, reason, open) in [(2, "panic", "light_fuse"), (3, "deadline", "spin")] {
        let trace = jaeger.wait_for_trace(&trace_id(number), 3);
        let spans = trace.spans();
        assert_eq!(spans[2].name(), open, "{:#}", trace.0);
        assert_eq!(spans[0].tag("error.type").as_deref(), Some(reason), "{:#}", trace.0);
        for span in spans {
            let status = span.tag("otel.status_description").unwrap_or_default();
            assert!(span.tag("error").as_deref() == Some("true") && status.contains(reason), "{:#}", trace.0);
        }
    }
    let found = |parameters: &[(&str, &str)]| -> BTreeSet<String> {
        let all = [&[("service", "storefront"), ("lookback", "1h"), ("limit", "100")], parameters].concat();
        jaeger.search(&all).iter().map(|trace| trace.id().to_owned()).collect()
    };
    let ids = |numbers: &[u64]| -> BTreeSet<String> { numbers.iter().copied().map(trace_id).collect() };
    daemon::until(|| (found(&[]).len() == 4).then_some(()), || false);
    assert_eq!(found(&[]), ids(&[1, 2, 3, 4]));
    assert_eq!(found(&[("operation", "GET /spin")]), ids(&[3]));
    assert_eq!(found(&[("operation", "light_fuse")]), ids(&[2]));
    assert_eq!(found(&[("tags", r#"{"error.type":"deadline"}"#)]), ids(&[3]));
    assert_eq!(found(&[("tags", r#"{"error":"true"}"#)]), ids(&[2, 3]));
    assert_eq!(found(&[("tags", r#"{"url.path":"/boom","http.response.status_code":"500"}"#)]), ids(&[2]));
    assert_eq!(found(&[("minDuration", "100ms")]), ids(&[3, 4]));
    assert_eq!(found(&[("minDuration", "200ms")]), ids(&[3]));
    assert_eq!(found(&[("maxDuration", "100ms")]), ids(&[1, 2]));
    assert_eq!(found(&[("maxDuration", "100ms"), ("operation", "GET /boom")]), ids(&[2]));
    assert!(jaeger.search(&[("service", "unheard-of"), ("lookback", "1h")]).is_empty());
}

/// Of 100,000 spans, sent while Jaeger is restarted, each is stored or counted as lost.
#[test]
fn restart_loses_no_uncounted_span() {
    const EACH: u64 = 50;
    const REQUESTS: u64 = 2000;
    // A request's own spans: the server span and the guest's.
    const AROUND: u64 = 2;
    const CLIENTS: u64 = 4;
    let Some(mut jaeger) = Jaeger::start() else { return };
    let mut variables = traces_only(&jaeger.endpoint("grpc"), "grpc");
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE", "50000".to_owned()));
    let server = Server::start_with(&guest("log-service"), &["--log-format", "off"], &variables);
    let requested = AtomicU64::new(0);
    let send = |range: std::ops::Range<u64>| {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (server, requested, range) = (&server, &requested, range.clone());
                scope.spawn(move || {
                    let agent = agent();
                    for number in range.skip(client as usize).step_by(CLIENTS as usize) {
                        let url = format!("{}/logs?from={}&count={EACH}", server.url, number * EACH);
                        let traceparent = format!("00-{}-{CALLER}-01", trace_id(number + 1));
                        let response = agent.get(url).header("traceparent", traceparent).call().unwrap();
                        assert_eq!(response.status(), 200);
                        requested.fetch_add(1, Ordering::Relaxed);
                        if number % 64 == client {
                            // The clients share the cores with Jaeger, so they wait for the export.
                            server.scrape_until(|text| queued(text) < 40_000.0);
                        }
                    }
                });
            }
        });
    };
    send(0..REQUESTS / 2);
    // Jaeger is down while spans are queued and sent.
    thread::scope(|scope| {
        scope.spawn(|| send(REQUESTS / 2..REQUESTS));
        jaeger.restart();
    });
    server.scrape_until(|text| queued(text) == 0.0);
    let (status, stderr) = server.stop();
    assert!(status.success(), "{stderr:?}");
    let lost: u64 = stderr
        .iter()
        .find_map(|line| line.split_once("metric points: "))
        .map_or(0, |(_, rest)| rest.split(';').next().unwrap().parse().unwrap());
    // Nothing of what was acknowledged before the restart was forgotten.
    let mut stored = BTreeMap::new();
    for number in 1..=REQUESTS {
        let spans = jaeger.trace(&trace_id(number)).map_or(0, |trace| trace.spans().len() as u64);
        stored.insert(number, spans);
    }
    let all: u64 = stored.values().sum();
    assert!(stored.values().all(|spans| *spans <= EACH + AROUND), "{stored:?}");
    eprintln!("{all} spans stored, {lost} lost");
    assert_eq!(all + lost, REQUESTS * (EACH + AROUND), "{stderr:?}");
    assert!(lost < REQUESTS, "{stderr:?}");
}

/// Returns the number of queued spans.
fn queued(scrape: &str) -> f64 {
    let labels = [("signal", "spans"), ("destination", "otlp")];
    wasmetry_tests::exposition::value(scrape, "wasmetry_export_queue_records", &labels)
}

/// The Collector's Zipkin exporter brings the same trace to Jaeger.
#[test]
fn zipkin_exporter_keeps_the_trace() {
    let Some(jaeger) = Jaeger::start() else { return };
    let zipkin = ("zipkin", format!("{{endpoint: '{}'}}", jaeger.zipkin));
    let options = Options { trace_exporters: vec![zipkin], ..Options::default() };
    let Some(collector) = OtelCollector::start(&options) else { return };
    let relay = guest("trace-relay");
    let variables = traces_only(&collector.endpoint("grpc"), "grpc");
    let second = Server::start_with(&relay, &["--name", "second"], &variables);
    let first = Server::start_with(&relay, &["--name", "first"], &variables);
    call_both(&first, &second, 1, true);
    // Names are in lower case in Zipkin.
    check_both_as(&jaeger.wait_for_trace(&trace_id(1), 6), true, str::to_lowercase);
}
