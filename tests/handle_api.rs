//! A guest that records by the typed imports, without our crate: metrics by handles, logs and spans by calls.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use wasmetry_host::propagation::Sampler;
use wasmetry_host::record::{FieldValue, Level, LogRecord, SpanKind, SpanRecord, SpanStatus};
use wasmetry_host::{Identity, Recording, Sink, limits};
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::command;
use wasmetry_tests::store::{Host, Recorder};
use wasmetry_wasmtime::ServerSpan;

/// Keeps everything.
#[derive(Default)]
struct Kept {
    logs: Mutex<Vec<LogRecord>>,
    spans: Mutex<Vec<SpanRecord>>,
}

impl Sink for Kept {
    fn log(&self, _of: &Arc<Identity>, log: LogRecord) {
        self.logs.lock().unwrap().push(log);
    }

    fn span(&self, _of: &Arc<Identity>, span: SpanRecord) {
        self.spans.lock().unwrap().push(span);
    }
}

impl Kept {
    fn logs(&self) -> Vec<LogRecord> {
        std::mem::take(&mut self.logs.lock().unwrap())
    }

    fn spans(&self) -> Vec<SpanRecord> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }
}

fn host() -> (Host, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    (Host::with_sink("handle-api", Arc::<Kept>::clone(&kept)), kept)
}

fn span<'a>(spans: &'a [SpanRecord], name: &str) -> &'a SpanRecord {
    spans.iter().find(|span| &*span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

/// The lines of the guest's own metrics.
fn own(text: &str) -> String {
    let is_own = |line: &&str| !line.contains("wasm_") && !line.contains("wasmetry_");
    text.lines().filter(is_own).map(|line| format!("{line}\n")).collect()
}

/// What `wasmetry_dropped_total` has counted, sorted.
fn dropped(host: &Host) -> Vec<String> {
    let text = host.scrape();
    let found = text.lines().filter(|line| line.starts_with("wasmetry_dropped_total{component=\"typed\""));
    found.map(|line| line.split_once(",signal=").unwrap().1.replace("\",reason=\"", " ")).collect()
}

fn measure(host: &Host, route: &str, seconds: f64) {
    host.recorder().run("measure", (route, seconds));
}

#[test]
fn metrics_by_handles_read_like_those_of_any_guest() {
    let host = Host::without_sink("handle-api");
    // An instance for each call, then one for several.
    measure(&host, "/", 0.05);
    measure(&host, "/cart", 0.5);
    let mut guest = host.recorder();
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
    assert_eq!(own(&host.scrape()), expected, "while an instance lives");
    drop(guest);
    assert_eq!(own(&host.scrape()), expected, "and when it has ended");
    assert!(host.scrape_openmetrics().contains("# UNIT time_seconds seconds\n"));
    assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 0.0);
    assert_eq!(dropped(&host), [""; 0]);
}

#[test]
fn gauges_are_the_instances_own() {
    let host = Host::without_sink("handle-api");
    let found = |host: &Host| {
        let text = host.scrape();
        ["sum", "max", "min", "last"].map(|name| has(&text, name, &[]).then(|| value(&text, name, &[])))
    };
    let (mut first, mut second) = (host.recorder(), host.recorder());
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
    guest: &mut Recorder,
    kind: &str,
    name: &str,
    unit: Option<&str>,
    buckets: &[f64],
    labels: &[(&str, &str)],
) -> String {
    let answer = guest.call::<_, (Result<(), String>,)>("resolve", (kind, name, unit, buckets, labels)).unwrap().0;
    answer.err().unwrap_or_default()
}

#[test]
fn what_is_refused_comes_back_with_the_cause_and_the_remedy() {
    let host = Host::without_sink("handle-api");
    let mut guest = host.recorder();
    for (kind, name, unit, buckets, labels, begin, text) in [
        ("counter", "requests", None, &[][..], &[][..], "invalid: the metric `requests`", "ends in `_total`"),
        ("counter", "sent_kilobytes_total", Some("kilobytes"), &[], &[], "invalid: ", "write `unit: bytes`"),
        ("counter", "sent_total", None, &[], &[("le", "1")], "invalid: ", "label `le`"),
        ("histogram", "size", None, &[2.0, 1.0], &[], "invalid: the metric `size`", "sort them"),
        ("gauge", "size_sum", None, &[], &[], "invalid: ", "leave the suffix away"),
        ("up-down-counter", "wasmetry_size", None, &[], &[], "invalid: ", "choose another prefix"),
        ("gauge", "size", None, &[], &[("k", "v")], "", ""),
        ("up-down-counter", "size", None, &[], &[("k", "v")], "conflict: the metric `size`", "another name"),
        ("gauge", "size", None, &[], &[("k", "v"), ("l", "w")], "conflict: ", "the same ones everywhere"),
    ] {
        let answer = resolve(&mut guest, kind, name, unit, buckets, labels);
        assert!(answer.starts_with(begin) && answer.contains(text), "{kind} {name}: {answer}");
    }
    assert_eq!(dropped(&host), ["\"metrics invalid_descriptor\"} 6", "\"metrics type_conflict\"} 2"]);
}

#[test]
fn the_first_component_has_a_name_and_the_second_goes_on_without() {
    let host = Host::without_sink("handle-api");
    let recorder = fs::read(guest("recorder")).unwrap();
    // It declares a counter of this name.
    let declared = host.telemetry.component(Identity::new("declared"), &recorder).unwrap();
    assert_eq!(declared.conflicts(), []);
    let mut guest = host.recorder();
    assert_eq!(
        resolve(&mut guest, "gauge", "counted", None, &[], &[]),
        "",
        "what others do is no error of the guest's"
    );
    assert_eq!(dropped(&host), ["\"metrics type_conflict\"} 1"]);
    assert_eq!(host.component.conflicts().len(), 1);
    // The same type is no conflict.
    guest.run("count", ("counted_total", 2.5, 2u32));
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[("component", "declared")]), 0.0);
    assert_eq!(value(&text, "counted_total", &[("component", "handle-api")]), 5.0);

    // The other way round, the binary's is dropped.
    let host = Host::without_sink("handle-api");
    assert_eq!(resolve(&mut host.recorder(), "gauge", "counted", None, &[], &[]), "");
    let declared = host.telemetry.component(Identity::new("declared"), &recorder).unwrap();
    assert_eq!(declared.conflicts().len(), 1);

    // And within one component, it is.
    let host = Host::without_sink("handle-api");
    let _same = host.telemetry.component(Identity::new("handle-api"), &recorder).unwrap();
    let answer = resolve(&mut host.recorder(), "gauge", "counted_total", None, &[], &[]);
    assert!(answer.starts_with("invalid"), "{answer}");
    let answer = resolve(&mut host.recorder(), "counter", "counted_total", None, &[], &[("k", "v")]);
    assert!(answer.starts_with("conflict"), "{answer}");
}

#[test]
fn components_share_a_metric_each_with_its_series() {
    let host = Host::without_sink("handle-api");
    let other = host.of(Identity::new("other").with_version("2"));
    measure(&host, "/", 1.0);
    measure(&other, "/", 1.0);
    measure(&other, "/", 1.0);
    let text = host.scrape();
    assert_eq!(value(&text, "requests_total", &[("component", "handle-api")]), 3.0);
    assert_eq!(value(&text, "requests_total", &[("component", "other"), ("version", "2")]), 6.0);
    assert_eq!(text.matches("# TYPE requests_total counter").count(), 1);
}

#[test]
fn logs_and_spans_arrive_in_the_trace_of_the_request() {
    let (host, kept) = host();
    host.component.set_recording(Recording { export: "debug".parse().unwrap(), ..Recording::default() });
    let mut guest = host.recorder();
    let server = ServerSpan::begin("GET", "/", None, &Sampler::default());
    let request = server.context();
    guest.telemetry().set_server_span(server);
    let current = guest.call::<_, (String,)>("current", ()).unwrap().0;
    assert_eq!(current, format!("{}-{}-{}", request.trace_id, request.span_id, request.flags));
    let traceparent = guest.call::<_, (String,)>("tell", (7i64,)).unwrap().0;
    guest.telemetry().set_status(200);
    drop(guest);

    let spans = kept.spans();
    let mut names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["GET /", "from afar", "inner", "left open", "outer"]);
    let (outer, inner) = (span(&spans, "outer"), span(&spans, "inner"));
    assert_eq!((outer.parent, outer.is_parent_remote), (Some(request.span_id), false));
    assert_eq!((&outer.status, outer.kind, &*outer.target), (&SpanStatus::Ok, SpanKind::Internal, "handle_api"));
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

    let logs = kept.logs();
    let found: Vec<_> = logs
        .iter()
        .map(|log| (log.level, &*log.target, &*log.message, log.trace.unwrap().span_id, log.is_audit))
        .collect();
    let expected = [
        (Level::Info, "handle_api", "asked", request.span_id, false),
        (Level::Warn, "shop.cart", "slow", inner.context.span_id, false),
        (Level::Debug, "handle_api", "detail", outer.context.span_id, false),
        (Level::Debug, "audit", "seen", outer.context.span_id, true),
    ];
    assert_eq!(found, expected);
    let text = |text: &str| FieldValue::Text(text.into());
    let fields =
        [("name".into(), text("Ada")), ("ok".into(), FieldValue::Bool(true)), ("ratio".into(), FieldValue::Float(1.5))];
    assert_eq!(logs[1].fields, fields);
    assert_eq!(dropped(&host), [""; 0]);
}

#[test]
fn root_spans_follow_the_sampler() {
    let (host, kept) = host();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    // A clone shares the sampler.
    let _ = host.telemetry.clone().with_sampler(never);
    let mut guest = host.recorder();
    let traceparent = guest.call::<_, (String,)>("tell", (7i64,)).unwrap().0;
    drop(guest);
    assert!(traceparent.ends_with("-02"), "{traceparent} names a span that is not sampled");
    // The caller of the third one has decided.
    let spans = kept.spans();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["from afar"]);
}

#[test]
fn without_a_server_span_the_callers_is_the_parent() {
    let (host, kept) = host();
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut guest = host.recorder();
    guest.telemetry().set_caller(&hyper::Request::builder().header("traceparent", caller).body(()).unwrap());
    assert_eq!(guest.call::<_, (String,)>("current", ()).unwrap().0, caller[3..].replace("-01", "-1"));
    guest.call::<_, (String,)>("tell", (7i64,)).unwrap();
    drop(guest);
    let spans = kept.spans();
    let outer = span(&spans, "outer");
    assert_eq!((outer.parent.unwrap().to_string().as_str(), outer.is_parent_remote), ("b7ad6b7169203331", true));
    assert_eq!(outer.context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(kept.logs()[0].trace.unwrap().span_id.to_string(), "b7ad6b7169203331");
}

#[test]
fn levels_are_the_hosts_to_set_and_a_request_that_went_well_shows_no_more() {
    let (host, kept) = host();
    host.component.set_recording(Recording { export: "warn,shop.cart=trace".parse().unwrap(), ..Recording::default() });
    let mut guest = host.recorder();
    let enabled = |guest: &mut Recorder, target| guest.call::<_, (Vec<bool>,)>("enabled", (target,)).unwrap().0;
    assert_eq!(enabled(&mut guest, None), [true, true, true, true, false]);
    assert_eq!(enabled(&mut guest, Some("shop.cart.item")), [true; 5]);
    guest.call::<_, (String,)>("tell", (7i64,)).unwrap();
    drop(guest);
    // No server span, so that the spans are a trace of their own; and a level that hides them.
    assert_eq!(kept.spans(), []);
    let messages: Vec<String> = kept.logs().iter().map(|log| log.message.to_string()).collect();
    assert_eq!(messages, ["slow", "seen"]);

    let host = Host::without_sink("handle-api");
    let mut guest = host.recorder();
    assert_eq!(enabled(&mut guest, None), [false; 5]);
    let traceparent = guest.call::<_, (String,)>("tell", (7i64,)).unwrap().0;
    assert!(traceparent.ends_with("-02"), "{traceparent} names a trace that nobody samples");
}

#[test]
fn a_trap_keeps_the_debug_logs_and_closes_the_open_spans() {
    let (host, kept) = host();
    let mut guest = host.recorder();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    let server = ServerSpan::begin("GET", "/boom", None, &never);
    let request = server.context();
    guest.telemetry().set_server_span(server);
    guest.call::<_, ()>("trap", ()).unwrap_err();
    drop(guest);
    let spans = kept.spans();
    let reason = SpanStatus::Error("unreachable".into());
    let (outer, inner) = (span(&spans, "before the end"), span(&spans, "the last"));
    assert_eq!((&outer.status, outer.parent), (&reason, Some(request.span_id)));
    assert_eq!((&inner.status, inner.parent), (&reason, Some(outer.context.span_id)));
    assert_eq!(span(&spans, "GET /boom").status, reason);
    let logs = kept.logs();
    assert_eq!((logs.len(), &*logs[0].message, logs[0].trace), (1, "about to fail", Some(inner.context)));
    let text = host.scrape();
    assert_eq!(value(&text, "failures_total", &[("component", "handle-api")]), 1.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
}

#[test]
fn what_nobody_should_give_is_cut_or_counted() {
    for size in [1 << 20, 1 << 12, 1 << 11] {
        let (host, kept) = host();
        let mut guest = host.recorder();
        guest.run("abuse", (size as u32,));
        drop(guest);
        for log in kept.logs() {
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
        let spans = kept.spans();
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
        // Each of the late calls, of the invalid contexts and amounts.
        assert_eq!(count("spans span_limit"), 4, "{found:#?}");
        assert_eq!(count("spans span_context"), 4, "{found:#?}");
        assert!(count("metrics invalid_value") >= 7, "{found:#?}");
        let text = host.scrape();
        if size == 1 << 20 {
            assert_eq!(value(&text, "abused_total", &[("text", "overflow")]), 0.0);
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
    let (host, kept) = host();
    for kind in ["counter", "gauge"] {
        let mut guest = host.recorder();
        assert_eq!(guest.call::<_, (u32,)>("hoard", (kind, most + 10)).unwrap().0, most);
    }
    assert_eq!(dropped(&host), ["\"metrics handle_limit\"} 20"]);
    for kind in ["span", "ended-span"] {
        // A guest that goes on and on ends in a trap that says why, and so does its request.
        let mut guest = host.recorder();
        assert_eq!(guest.call::<_, (u32,)>("hoard", (kind, 2000u32)).unwrap().0, 2000);
        let error = guest.call::<_, (u32,)>("hoard", (kind, most)).unwrap_err();
        assert!(format!("{error:#}").contains("keeps 65536 handles"), "{error:#}");
        drop(guest);
        let spans = kept.spans();
        assert_eq!(spans.len(), if kind == "span" { limits::OPEN_SPANS } else { limits::HANDLES });
    }
    assert_eq!(value(&host.scrape(), "wasm_traps_total", &[("reason", "host_error")]), 2.0);
    let unrecorded = limits::HANDLES - limits::OPEN_SPANS;
    assert_eq!(dropped(&host)[1], format!("\"spans span_limit\"}} {unrecorded}"));
}

#[test]
fn a_command_records_and_its_trap_is_told() {
    for (arguments, code, status) in [(&[][..], Some(0), "unset"), (&["--", "trap"], Some(134), "trap")] {
        let output = Command::new(command())
            .args(["run", "--print-metrics", "--log-format", "json"])
            .arg(guest("handle-api"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (text, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), code, "{said}");
        assert_eq!(value(&text, "requests_total", &[("component", "handle-api"), ("route", "command")]), 3.0);
        let logs: Vec<serde_json::Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let messages: Vec<&str> = logs.iter().map(|log| log["message"].as_str().unwrap()).collect();
        if status == "trap" {
            assert_eq!(value(&text, "failures_total", &[]), 1.0);
            assert!(messages.contains(&"about to fail") && messages.contains(&"detail"), "{said}");
        } else {
            // Audit logs have a stream of their own.
            let messages: BTreeSet<&str> = messages.into_iter().collect();
            assert_eq!(messages, ["asked", "seen", "slow"].into(), "{said}");
            let slow = logs.iter().find(|log| log["message"] == "slow").unwrap();
            assert_eq!((&slow["name"], &slow["target"]), (&"Ada".into(), &"shop.cart".into()));
        }
    }
}
