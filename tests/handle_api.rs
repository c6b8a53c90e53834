//! The handle API: metrics, logs and spans of a guest without the crate `wasmetry`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use wasmetry_host::propagation::Sampler;
use wasmetry_host::record::{FieldValue, Level, SpanKind, SpanRecord, SpanStatus};
use wasmetry_host::{Identity, Recording, limits};
use wasmetry_tests::embedding::observed::{GuestInstance, Host};
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_tests::server::command;
use wasmetry_wasmtime::ServerSpan;

fn host() -> (Host, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    (Host::with_sink("handle-api", Arc::<MemorySink>::clone(&sink)), sink)
}

fn span<'a>(spans: &'a [SpanRecord], name: &str) -> &'a SpanRecord {
    spans.iter().find(|span| &*span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

/// Returns the lines of the guest's own metrics.
fn guest_lines(text: &str) -> String {
    let is_own = |line: &&str| !line.contains("wasm_") && !line.contains("wasmetry_");
    text.lines().filter(is_own).map(|line| format!("{line}\n")).collect()
}

/// Returns the samples of `wasmetry_dropped_total` by signal and reason.
fn dropped(host: &Host) -> Vec<String> {
    let text = host.scrape();
    let found = text.lines().filter(|line| line.starts_with("wasmetry_dropped_total{component=\"handle-api\""));
    found.map(|line| line.split_once(",signal=").unwrap().1.replace("\",reason=\"", " ")).collect()
}

fn measure(host: &Host, route: &str, seconds: f64) {
    host.instance().run("measure", (route, seconds));
}

/// A scrape has the metrics of the handle API as it has those of a region.
#[test]
fn handle_api_metrics_match_exposition() {
    let host = Host::without_sink("handle-api");
    // Two instances with a call each, then one with two calls.
    measure(&host, "/", 0.05);
    measure(&host, "/cart", 0.5);
    let mut guest = host.instance();
    guest.run("measure", ("/", 2.0));
    guest.run("measure", ("/", 1.0));
    let expected = r#"# HELP paid_total Help.
# TYPE paid_total counter
paid_total{component="handle-api"} 1
# HELP requests_total Help.
# TYPE requests_total counter
requests_total{component="handle-api",route="/"} 9
requests_total{component="handle-api",route="/cart"} 3
# HELP stock Help.
# TYPE stock gauge
stock{component="handle-api"} -12
# HELP time_seconds Help.
# TYPE time_seconds histogram
time_seconds_bucket{component="handle-api",exported_component="mine",le="0.1"} 5
time_seconds_bucket{component="handle-api",exported_component="mine",le="1.0"} 7
time_seconds_bucket{component="handle-api",exported_component="mine",le="+Inf"} 12
time_seconds_sum{component="handle-api",exported_component="mine"} 33.95
time_seconds_count{component="handle-api",exported_component="mine"} 12
"#;
    assert_eq!(guest_lines(&host.scrape()), expected, "while an instance lives");
    drop(guest);
    assert_eq!(guest_lines(&host.scrape()), expected, "after it has ended");
    assert!(host.scrape_openmetrics().contains("# UNIT time_seconds seconds\n"));
    assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 0.0);
    assert_eq!(dropped(&host), [""; 0]);
}

/// Each instance has gauges of its own, which are merged by their rules.
#[test]
fn gauges_merge_over_instances() {
    let host = Host::without_sink("handle-api");
    let found = |host: &Host| {
        let text = host.scrape();
        ["sum", "max", "min", "last"].map(|name| has(&text, name, &[]).then(|| value(&text, name, &[])))
    };
    let (mut first, mut second) = (host.instance(), host.instance());
    first.run("set-gauges", (5.0,));
    first.run("set-gauges", (4.0,));
    second.run("set-gauges", (-1.0,));
    assert_eq!(found(&host), [Some(3.0), Some(4.0), Some(-1.0), Some(-1.0)]);
    drop(second);
    assert_eq!(found(&host), [Some(4.0), Some(4.0), Some(-1.0), Some(-1.0)]);
    drop(first);
    assert_eq!(found(&host), [None, Some(4.0), Some(-1.0), Some(-1.0)]);
}

fn resolve(
    guest: &mut GuestInstance,
    kind: &str,
    name: &str,
    unit: Option<&str>,
    buckets: &[f64],
    labels: &[(&str, &str)],
) -> String {
    let answer = guest.call::<_, (Result<(), String>,)>("resolve", (kind, name, unit, buckets, labels)).unwrap().0;
    answer.err().unwrap_or_default()
}

/// The guest receives the cause and the remedy of a refused metric.
#[test]
fn refusals_name_cause_and_remedy() {
    let host = Host::without_sink("handle-api");
    let mut guest = host.instance();
    for (kind, name, unit, buckets, labels, begin, text) in [
        ("counter", "requests", None, &[][..], &[][..], "invalid: the metric `requests`", "ends in `_total`"),
        ("counter", "sent_kilobytes_total", Some("kilobytes"), &[], &[], "invalid: ", "write `unit: bytes`"),
        ("counter", "sent_total", None, &[], &[("le", "1")], "invalid: ", "label `le`"),
        ("histogram", "size", None, &[2.0, 1.0], &[], "invalid: the metric `size`", "sort them"),
        ("gauge", "size_sum", None, &[], &[], "invalid: ", "leave the suffix away"),
        ("up-down-counter", "wasmetry_size", None, &[], &[], "invalid: ", "choose another prefix"),
        ("gauge", "size", None, &[], &[("k", "v")], "", ""),
        ("up-down-counter", "size", None, &[], &[("k", "v")], "conflict: the metric `size`", "rename one"),
        ("gauge", "size", None, &[], &[("k", "v"), ("l", "w")], "conflict: ", "the same ones everywhere"),
    ] {
        let answer = resolve(&mut guest, kind, name, unit, buckets, labels);
        assert!(answer.starts_with(begin) && answer.contains(text), "{kind} {name}: {answer}");
    }
    assert_eq!(dropped(&host), ["\"metrics invalid_descriptor\"} 6", "\"metrics type_conflict\"} 2"]);
}

/// Of two components with conflicting metrics, the first owns the name; the second goes on without
/// an error.
#[test]
fn first_component_owns_the_name() {
    let host = Host::without_sink("handle-api");
    let recorder = fs::read(guest("recorder")).unwrap();
    // The recorder declares a counter of this name.
    let declared = host.telemetry.component(Identity::new("declared"), &recorder).unwrap();
    assert_eq!(declared.conflicts(), []);
    let mut guest = host.instance();
    assert_eq!(
        resolve(&mut guest, "gauge", "counted", None, &[], &[]),
        "",
        "a conflict with another component is not an error of the guest"
    );
    assert_eq!(dropped(&host), ["\"metrics type_conflict\"} 1"]);
    assert_eq!(host.component.conflicts().len(), 1);
    // A metric of the same type is not a conflict.
    guest.run("count", ("counted_total", 2.5, 2u32));
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[("component", "declared")]), 0.0);
    assert_eq!(value(&text, "counted_total", &[("component", "handle-api")]), 5.0);

    // If the handle is resolved first, the declared metric is dropped.
    let host = Host::without_sink("handle-api");
    assert_eq!(resolve(&mut host.instance(), "gauge", "counted", None, &[], &[]), "");
    let declared = host.telemetry.component(Identity::new("declared"), &recorder).unwrap();
    assert_eq!(declared.conflicts().len(), 1);

    // Within one component, a conflict is an error.
    let host = Host::without_sink("handle-api");
    let _same = host.telemetry.component(Identity::new("handle-api"), &recorder).unwrap();
    let answer = resolve(&mut host.instance(), "gauge", "counted_total", None, &[], &[]);
    assert!(answer.starts_with("invalid"), "{answer}");
    let answer = resolve(&mut host.instance(), "counter", "counted_total", None, &[], &[("k", "v")]);
    assert!(answer.starts_with("conflict"), "{answer}");
}

/// Two components with the same metric have series of their own in one family.
#[test]
fn components_share_a_metric() {
    let host = Host::without_sink("handle-api");
    let other = host.with_identity(Identity::new("other").with_version("2"));
    measure(&host, "/", 1.0);
    measure(&other, "/", 1.0);
    measure(&other, "/", 1.0);
    let text = host.scrape();
    assert_eq!(value(&text, "requests_total", &[("component", "handle-api")]), 3.0);
    assert_eq!(value(&text, "requests_total", &[("component", "other"), ("version", "2")]), 6.0);
    assert_eq!(text.matches("# TYPE requests_total counter").count(), 1);
}

/// Logs and spans are exported in the trace of their request.
#[test]
fn records_belong_to_the_request() {
    let (host, sink) = host();
    host.component.set_recording(Recording { export: "debug".parse().unwrap(), ..Recording::default() });
    let mut guest = host.instance();
    let server = ServerSpan::begin("GET", "/", None, &Sampler::default());
    let request = server.context();
    guest.telemetry().set_server_span(server);
    let current = guest.call::<_, (String,)>("current-span", ()).unwrap().0;
    assert_eq!(current, format!("{}-{}-{}", request.trace_id, request.span_id, request.flags));
    let traceparent = guest.call::<_, (String,)>("emit-records", (7i64,)).unwrap().0;
    guest.telemetry().set_status(200);
    drop(guest);

    let spans = sink.take_spans();
    let mut names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["GET /", "from afar", "inner", "left open", "outer"]);
    let (outer, inner) = (span(&spans, "outer"), span(&spans, "inner"));
    assert_eq!((outer.parent, outer.is_parent_remote), (Some(request.span_id), false));
    assert_eq!((&outer.status, outer.kind, &*outer.target), (&SpanStatus::Ok, SpanKind::Internal, "handle-api"));
    assert_eq!(outer.attributes, [("user".into(), FieldValue::Signed(7))]);
    assert_eq!((inner.parent, inner.kind), (Some(outer.context.span_id), SpanKind::Client));
    assert_eq!(inner.status, SpanStatus::Error("timed out".into()));
    assert_eq!(inner.attributes, [("peer".into(), FieldValue::Text("cache".into()))]);
    assert_eq!((&*inner.events[0].name, &inner.events[0].attributes[0].1), ("retried", &FieldValue::Signed(3)));
    assert_eq!(inner.links[0].context.span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(traceparent.as_bytes(), inner.context.traceparent());
    assert_eq!(outer.context.trace_id, request.trace_id);
    assert_eq!(inner.context.trace_id, request.trace_id);
    assert!(outer.start <= inner.start && inner.end <= outer.end, "{spans:#?}");
    let afar = span(&spans, "from afar");
    assert_eq!(afar.context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert!(afar.is_parent_remote && afar.context.is_sampled());
    assert_eq!(span(&spans, "left open").status, SpanStatus::Unset);

    let logs = sink.take_logs();
    let found: Vec<_> = logs
        .iter()
        .map(|log| (log.level, &*log.target, &*log.message, log.trace.unwrap().span_id, log.is_audit))
        .collect();
    let expected = [
        (Level::Info, "handle-api", "requested", request.span_id, false),
        (Level::Warn, "shop.cart", "slow", inner.context.span_id, false),
        (Level::Debug, "handle-api", "detail", outer.context.span_id, false),
        (Level::Debug, "audit", "seen", outer.context.span_id, true),
    ];
    assert_eq!(found, expected);
    let text = |text: &str| FieldValue::Text(text.into());
    let fields =
        [("name".into(), text("Ada")), ("ok".into(), FieldValue::Bool(true)), ("ratio".into(), FieldValue::Float(1.5))];
    assert_eq!(logs[1].fields, fields);
    assert_eq!(dropped(&host), [""; 0]);
}

/// Traces that begin in a guest are sampled by the sampler, others by their caller.
#[test]
fn root_spans_follow_the_sampler() {
    let (host, sink) = host();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    // A clone shares the sampler.
    let _ = host.telemetry.clone().with_sampler(never);
    let mut guest = host.instance();
    let traceparent = guest.call::<_, (String,)>("emit-records", (7i64,)).unwrap().0;
    drop(guest);
    assert!(traceparent.ends_with("-02"), "{traceparent} names a span that is not sampled");
    let spans = sink.take_spans();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["from afar"]);
}

/// Without a server span, the caller's span is the parent.
#[test]
fn caller_is_parent_without_server_span() {
    let (host, sink) = host();
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut guest = host.instance();
    guest.telemetry().set_caller(&hyper::Request::builder().header("traceparent", caller).body(()).unwrap());
    assert_eq!(guest.call::<_, (String,)>("current-span", ()).unwrap().0, caller[3..].replace("-01", "-1"));
    guest.call::<_, (String,)>("emit-records", (7i64,)).unwrap();
    drop(guest);
    let spans = sink.take_spans();
    let outer = span(&spans, "outer");
    assert_eq!((outer.parent.unwrap().to_string().as_str(), outer.is_parent_remote), ("b7ad6b7169203331", true));
    assert_eq!(outer.context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(sink.take_logs()[0].trace.unwrap().span_id.to_string(), "b7ad6b7169203331");
}

/// The host's levels decide what is enabled and exported of a request that succeeds.
#[test]
fn export_level_filters_records() {
    let (host, sink) = host();
    host.component.set_recording(Recording { export: "warn,shop.cart=trace".parse().unwrap(), ..Recording::default() });
    let mut guest = host.instance();
    let enabled = |guest: &mut GuestInstance, target| guest.call::<_, (Vec<bool>,)>("enabled", (target,)).unwrap().0;
    assert_eq!(enabled(&mut guest, None), [true, true, true, true, false]);
    assert_eq!(enabled(&mut guest, Some("shop.cart.item")), [true; 5]);
    guest.call::<_, (String,)>("emit-records", (7i64,)).unwrap();
    drop(guest);
    // The export level filters the spans, which have no server span as their parent.
    assert_eq!(sink.take_spans(), []);
    let messages: Vec<String> = sink.take_logs().iter().map(|log| log.message.to_string()).collect();
    assert_eq!(messages, ["slow", "seen"]);

    let host = Host::without_sink("handle-api");
    let mut guest = host.instance();
    assert_eq!(enabled(&mut guest, None), [false; 5]);
    let traceparent = guest.call::<_, (String,)>("emit-records", (7i64,)).unwrap().0;
    assert!(traceparent.ends_with("-02"), "the trace of {traceparent} is not sampled");
}

/// A trap exports the buffered debug logs and closes the open spans.
#[test]
fn trap_exports_buffered_records() {
    let (host, sink) = host();
    let mut guest = host.instance();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    let server = ServerSpan::begin("GET", "/boom", None, &never);
    let request = server.context();
    guest.telemetry().set_server_span(server);
    guest.call::<_, ()>("trap", ()).unwrap_err();
    drop(guest);
    let spans = sink.take_spans();
    let reason = SpanStatus::Error("unreachable".into());
    let (outer, inner) = (span(&spans, "before the end"), span(&spans, "the last"));
    assert_eq!((&outer.status, outer.parent), (&reason, Some(request.span_id)));
    assert_eq!((&inner.status, inner.parent), (&reason, Some(outer.context.span_id)));
    assert_eq!(span(&spans, "GET /boom").status, reason);
    let logs = sink.take_logs();
    assert_eq!((&*logs[0].message, logs[0].trace), ("about to fail", Some(inner.context)));
    // The guest has logged no error, so the host does.
    assert_eq!((logs.len(), &*logs[1].message, logs[1].trace), (2, "the guest ended: unreachable", Some(request)));
    let text = host.scrape();
    assert_eq!(value(&text, "failures_total", &[("component", "handle-api")]), 1.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
}

/// Invalid and oversized arguments are cut, or dropped and counted.
#[test]
fn invalid_arguments_are_cut_or_counted() {
    for size in [1 << 20, 1 << 12, 1 << 11] {
        let (host, sink) = host();
        let mut guest = host.instance();
        guest.run("pass-invalid", (size as u32,));
        drop(guest);
        for log in sink.take_logs() {
            let text = log.fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
            assert!(
                log.message.len() <= limits::RECORD_TEXT
                    && log.target.len() <= limits::RECORD_NAME
                    && text <= limits::RECORD_NAME
            );
            assert!(
                log.fields.len() <= limits::ATTRIBUTES
                    && log.size() < limits::ATTRIBUTE_BYTES + 3 * limits::RECORD_TEXT
            );
        }
        let spans = sink.take_spans();
        assert_eq!(spans.len(), 3);
        for span in &spans {
            assert!(span.name.len() <= limits::RECORD_NAME && span.attributes.len() <= limits::SPAN_ATTRIBUTES);
            assert!(span.events.len() <= limits::SPAN_EVENTS && span.size() < limits::OPEN_SPAN_BYTES);
        }
        let found = dropped(&host);
        let count = |reason: &str| {
            let line = found.iter().find(|line| line.contains(reason));
            line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        };
        // Each late call, invalid context and invalid amount is counted.
        assert_eq!(count("spans span_limit"), 4, "{found:#?}");
        assert_eq!(count("spans span_context"), 4, "{found:#?}");
        assert!(count("metrics invalid_value") >= 7, "{found:#?}");
        let text = host.scrape();
        if size == 1 << 20 {
            assert_eq!(value(&text, "invalid_total", &[("text", "overflow")]), 0.0);
            assert_eq!(count("metrics label_too_long"), 2, "{found:#?}");
            assert_eq!(value(&text, "sizes_count", &[]), limits::OBSERVATIONS as f64);
            assert!(count("records attribute_limit") > 10_000, "{found:#?}");
        }
        assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
    }
}

#[test]
fn handles_are_bounded() {
    let most = limits::HANDLES as u32;
    let (host, sink) = host();
    for kind in ["counter", "gauge"] {
        let mut guest = host.instance();
        assert_eq!(guest.call::<_, (u32,)>("keep-handles", (kind, most + 10)).unwrap().0, most);
    }
    assert_eq!(dropped(&host), ["\"metrics handle_limit\"} 20"]);
    for kind in ["span", "ended-span"] {
        // Too many spans are a trap with a message, of the guest and its request.
        let mut guest = host.instance();
        assert_eq!(guest.call::<_, (u32,)>("keep-handles", (kind, 2000u32)).unwrap().0, 2000);
        let error = guest.call::<_, (u32,)>("keep-handles", (kind, most)).unwrap_err();
        assert!(format!("{error:#}").contains("keeps 65536 handles"), "{error:#}");
        drop(guest);
        let spans = sink.take_spans();
        assert_eq!(spans.len(), if kind == "span" { limits::OPEN_SPANS } else { limits::HANDLES });
    }
    assert_eq!(value(&host.scrape(), "wasm_traps_total", &[("reason", "host_error")]), 2.0);
    let unrecorded = limits::HANDLES - limits::OPEN_SPANS;
    assert_eq!(dropped(&host)[1], format!("\"spans span_limit\"}} {unrecorded}"));
}

/// A command's metrics and logs are written, with its debug logs if it traps.
#[test]
fn command_reports_its_trap() {
    for (arguments, code, status) in [(&[][..], Some(0), "unset"), (&["--", "trap"], Some(134), "trap")] {
        let output = Command::new(command())
            .args(["run", "--print-metrics", "--log-format", "json"])
            .arg(guest("handle-api"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (text, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), code, "{stderr}");
        assert_eq!(value(&text, "requests_total", &[("component", "handle-api"), ("route", "command")]), 3.0);
        let logs: Vec<serde_json::Value> = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        // A line that the guest printed has no message.
        let messages: Vec<&str> = logs.iter().filter_map(|log| log["message"].as_str()).collect();
        if status == "trap" {
            assert_eq!(value(&text, "failures_total", &[]), 1.0);
            assert!(messages.contains(&"about to fail") && messages.contains(&"detail"), "{stderr}");
        } else {
            // Audit records are in a stream of their own, so that the order is not fixed.
            let messages: BTreeSet<&str> = messages.into_iter().collect();
            assert_eq!(messages, ["requested", "seen", "slow"].into(), "{stderr}");
            let slow = logs.iter().find(|log| log["message"] == "slow").unwrap();
            assert_eq!((&slow["name"], &slow["target"]), (&"Ada".into(), &"shop.cart".into()));
        }
    }
}
