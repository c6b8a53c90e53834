//! Logs and spans of a real guest, from its memory to a sink.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmetry_host::propagation::Sampler;
use wasmetry_host::record::{FieldValue, Level, LogRecord, SpanKind, SpanRecord, SpanStatus, TraceContext};
use wasmetry_host::{Identity, Recording, Sink};
use wasmetry_tests::exposition::value;
use wasmetry_tests::store::{Host, Recorder};
use wasmetry_wasmtime::ServerSpan;

/// Keeps everything.
#[derive(Default)]
struct Kept {
    logs: Mutex<Vec<LogRecord>>,
    spans: Mutex<Vec<SpanRecord>>,
}

impl Sink for Kept {
    fn log(&self, of: &Arc<Identity>, log: LogRecord) {
        assert_eq!(of.component(), "record-emitter");
        self.logs.lock().unwrap().push(log);
    }

    fn span(&self, _of: &Arc<Identity>, span: SpanRecord) {
        self.spans.lock().unwrap().push(span);
    }
}

/// A host of the record emitter, collected in one of the two ways, and what it keeps.
fn host(is_pushed: bool) -> (Host, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let host = Host::with_sink("record-emitter", Arc::<Kept>::clone(&kept));
    (if is_pushed { host.pushed() } else { host }, kept)
}

/// Ends the instance; one that pushes says before that its request has ended.
fn end(mut emitter: Recorder) {
    emitter.run("publish", ());
}

impl Kept {
    fn logs(&self) -> Vec<LogRecord> {
        std::mem::take(&mut self.logs.lock().unwrap())
    }

    fn spans(&self) -> Vec<SpanRecord> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.into())
}

fn fields(log: &LogRecord) -> Vec<(&str, FieldValue)> {
    log.fields.iter().map(|(key, value)| (&**key, value.clone())).collect()
}

fn span<'a>(spans: &'a [SpanRecord], name: &str) -> &'a SpanRecord {
    spans.iter().find(|span| &*span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

#[test]
fn logs_arrive_with_their_values_levels_and_places() {
    for is_pushed in [false, true] {
        let (host, kept) = host(is_pushed);
        let mut emitter = host.recorder();
        emitter.run("say", (7u64, "Ada"));
        end(emitter);
        let logs = kept.logs();
        let found: Vec<(Level, &str, bool)> = logs.iter().map(|log| (log.level, &*log.message, log.is_audit)).collect();
        let expected = [
            (Level::Error, "it failed", false),
            (Level::Warn, "low", false),
            (Level::Info, "hello Ada, {you} are 7 of    7", false),
            (Level::Info, "of another target", false),
            (Level::Info, "seen", true),
        ];
        assert_eq!(found, expected);
        assert_eq!(fields(&logs[0]), [("err", text("no Ada"))]);
        assert_eq!(fields(&logs[1]), [("left", FieldValue::Signed(-3))]);
        let user = ("user", FieldValue::Unsigned(7));
        let expected = [
            user.clone(),
            ("name", text("Ada")),
            ("ok", FieldValue::Bool(true)),
            ("latency_ms", FieldValue::Float(1.5)),
        ];
        assert_eq!(fields(&logs[2]), expected);
        assert_eq!(fields(&logs[4]), [user]);
        assert_eq!((&*logs[0].target, &*logs[3].target, &*logs[4].target), ("record_emitter", "shop::cart", "audit"));
        let source = logs[2].source.as_ref().unwrap();
        assert!(source.file.ends_with("record_emitter.rs") && source.line > 10, "{source:?}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for log in &logs {
            assert!(now - Duration::from_nanos(log.time) < Duration::from_secs(60), "{log:?}");
            assert!(log.observed >= log.time);
        }
        assert_eq!(value(&host.scrape(), "wasm_instances", &[]), 0.0);
    }
}

#[test]
fn all_levels_arrive_that_are_asked_for() {
    let (host, kept) = host(false);
    host.component.set_recording(Recording { export: "debug,shop=trace".parse().unwrap(), ..Recording::default() });
    let mut emitter = host.recorder();
    emitter.run("say", (7u64, "Ada"));
    end(emitter);
    let logs = kept.logs();
    let fine: Vec<&LogRecord> = logs.iter().filter(|log| log.level > Level::Info).collect();
    let [details, given] = fine[..] else { panic!("{fine:#?}") };
    assert_eq!((&*details.message, fields(details)), ("details", vec![("names", text("[\"Ada\"]"))]));
    assert_eq!((&*given.message, &*given.target), ("of a given level: \"Ada\"", "shop::cart"));
    assert_eq!(fields(given), [("dbg", text("Some(7)")), ("name", text("Ada"))]);
}

#[test]
fn requests_that_take_turns_in_one_instance_keep_their_traces_apart() {
    for is_pushed in [false, true] {
        let (host, kept) = host(is_pushed);
        let mut emitter = host.recorder();
        let never = Sampler { ratio: 0.0, is_parent_based: false };
        let callers: Vec<TraceContext> = (1..=3u8)
            .map(|n| {
                TraceContext::parse(format!("00-{:032x}-{:016x}-01", 0xabc0 + u32::from(n), n).as_bytes()).unwrap()
            })
            .collect();
        let server = ServerSpan::begin("GET", "/", None, &never);
        emitter.telemetry().set_server_span(server);
        let sent: Vec<String> = callers.iter().map(|caller| traceparent(*caller)).collect();
        let sent_on: Vec<String> = emitter.call::<_, (Vec<String>,)>("interleave", (sent,)).unwrap().0;
        end(emitter);

        let (spans, logs) = (kept.spans(), kept.logs());
        // A request, two steps of it, and a span in each.
        assert_eq!((spans.len(), logs.len()), (3 * 5, 3 * 4));
        for (number, (caller, sent_on)) in callers.iter().zip(sent_on).enumerate() {
            let of_trace = |context: TraceContext| context.trace_id == caller.trace_id;
            let spans: Vec<&SpanRecord> = spans.iter().filter(|span| of_trace(span.context)).collect();
            let named = |name: &str| spans.iter().filter(|span| &*span.name == name).copied().collect::<Vec<_>>();
            let (requests, steps, inner) = (named("request"), named("step"), named("inner"));
            assert_eq!((requests.len(), steps.len(), inner.len()), (1, 2, 2), "{spans:#?}");
            let request = requests[0];
            assert_eq!((request.parent, request.is_parent_remote), (Some(caller.span_id), true));
            assert_eq!(sent_on, traceparent(request.context));
            for (step, inner) in steps.iter().zip(&inner) {
                assert_eq!((step.parent, inner.parent), (Some(request.context.span_id), Some(step.context.span_id)));
                assert_eq!(inner.attributes, [("request".into(), FieldValue::Unsigned(number as u64))]);
            }
            // What each request says is in its own spans, in the order in which it has said it.
            let logs = logs.iter().filter(|log| log.trace.is_some_and(of_trace));
            let said: Vec<_> =
                logs.map(|log| (&*log.message, log.trace.unwrap().span_id, log.fields[0].1.clone())).collect();
            let of_request = FieldValue::Unsigned(number as u64);
            let expected: Vec<_> = steps
                .iter()
                .zip(&inner)
                .flat_map(|(step, inner)| [("begins", step.context.span_id), ("ends", inner.context.span_id)])
                .map(|(message, span)| (message, span, of_request.clone()))
                .collect();
            assert_eq!(said, expected);
        }
    }
}

#[test]
fn spans_arrive_with_their_parents_attributes_events_and_statuses() {
    for is_pushed in [false, true] {
        let (host, kept) = host(is_pushed);
        host.component.set_recording(Recording { export: "debug".parse().unwrap(), ..Recording::default() });
        let mut emitter = host.recorder();
        emitter.run("trace", ());
        end(emitter);
        let spans = kept.spans();
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["inner", "parse", "parse", "waits", "outer"]);
        let outer = span(&spans, "outer");
        assert_eq!((outer.parent, &outer.status, outer.kind), (None, &SpanStatus::Ok, SpanKind::Internal));
        let attributes: Vec<_> = outer.attributes.iter().map(|(key, value)| (&**key, value.clone())).collect();
        let expected = [("user", FieldValue::Signed(7)), ("changes", FieldValue::Signed(2)), ("late", text("value"))];
        assert_eq!(attributes, expected);
        assert_eq!(outer.links[0].context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(&*outer.target, "shop");
        for span in &spans[..4] {
            assert_eq!(span.parent, Some(outer.context.span_id));
            assert_eq!(span.context.trace_id, outer.context.trace_id);
            assert!(outer.start <= span.start && span.start <= span.end && span.end <= outer.end, "{span:?}");
        }
        assert_eq!(spans[0].status, SpanStatus::Error("it broke".into()));
        assert_eq!(spans[1].status, SpanStatus::Unset);
        assert_eq!(spans[2].status, SpanStatus::Error("invalid digit found in string".into()));
        assert_eq!(spans[2].attributes, [("text".into(), text("twelve"))]);
        let waits = span(&spans, "waits");
        assert_eq!((waits.kind, &*waits.events[0].name), (SpanKind::Client, "waited"));
        assert_eq!(waits.events[0].attributes, [("seconds".into(), FieldValue::Float(0.5))]);
        let logs = kept.logs();
        assert_eq!(logs[0].trace, Some(outer.context));
    }
}

#[test]
fn a_request_that_traps_or_is_killed_shows_what_was_held_back() {
    for (call, reason) in [("trap", "unreachable"), ("spin", "deadline")] {
        let (host, kept) = host(false);
        let mut emitter = host.recorder();
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        let server = ServerSpan::begin("GET", "/", None, &never);
        let context = server.context();
        assert!(!context.is_sampled());
        emitter.telemetry().set_server_span(server);
        emitter.store.set_deadline_sync(Duration::from_millis(50));
        let relayed: String = emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap().0;
        assert_eq!(relayed[3..35], context.trace_id.to_string());
        emitter.call::<_, ()>(call, ()).unwrap_err();
        drop(emitter);

        let spans = kept.spans();
        let server = span(&spans, "GET /");
        assert_eq!((server.kind, &server.status), (SpanKind::Server, &SpanStatus::Error(reason.into())));
        let relay = span(&spans, "relay");
        assert_eq!((relay.parent, relay.is_parent_remote), (Some(context.span_id), true));
        assert_eq!(relay.status, SpanStatus::Unset);
        let open: &[&str] = if call == "trap" { &["before the end", "the last"] } else { &["endless"] };
        for name in open {
            assert_eq!(span(&spans, name).status, SpanStatus::Error(reason.into()));
        }
        let logs: Vec<String> = kept.logs().iter().map(|log| format!("{} {}", log.level.name(), log.message)).collect();
        assert_eq!(
            logs,
            ["info relayed".to_owned(), format!("debug about to {}", if call == "trap" { "fail" } else { "spin" })]
        );
    }
}

fn traceparent(context: TraceContext) -> String {
    String::from_utf8(context.traceparent().to_vec()).unwrap()
}

#[test]
fn a_request_that_went_well_shows_no_more_than_is_exported() {
    let (host, kept) = host(false);
    let mut emitter = host.recorder();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    let server = ServerSpan::begin("GET", "/", None, &never);
    let context = server.context();
    emitter.telemetry().set_server_span(server);
    emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap();
    emitter.telemetry().set_status(200);
    drop(emitter);
    assert_eq!(kept.spans(), []);
    assert_eq!(kept.logs().len(), 1);
}

#[test]
fn what_is_kept_of_a_request_is_the_hosts_to_say() {
    let by_default = Recording::default;
    let slow = |limit| Recording { keep_slow: Some(limit), ..by_default() };
    let forgetful = Recording { keep_failed: false, ..by_default() };
    for (recording, status, is_kept) in [
        (by_default(), 200, false),
        (by_default(), 404, false),
        (by_default(), 500, true),
        (forgetful.clone(), 500, false),
        (slow(Duration::ZERO), 200, true),
        (slow(Duration::from_secs(3600)), 200, false),
        (Recording { keep_slow: Some(Duration::ZERO), ..forgetful }, 500, true),
    ] {
        let (host, kept) = host(false);
        host.component.set_recording(recording.clone());
        let mut emitter = host.recorder();
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        let server = ServerSpan::begin("GET", "/", None, &never);
        let context = server.context();
        emitter.telemetry().set_server_span(server);
        emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap();
        emitter.run("say", (7u64, "Ada"));
        emitter.telemetry().set_status(status);
        drop(emitter);
        let spans = kept.spans();
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        let logs = kept.logs();
        let debug = logs.iter().filter(|log| log.level == Level::Debug).count();
        let expected: (&[&str], usize) = if is_kept { (&["relay", "GET /"], 2) } else { (&[], 0) };
        assert_eq!((&names[..], debug), expected, "{status} {recording:?}");
        assert_eq!(logs.len() - debug, 6, "what is exported is there anyway");
    }
}

#[test]
fn of_many_records_none_is_lost_where_the_guest_asks_to_be_read() {
    for is_pushed in [false, true] {
        let (host, kept) = host(is_pushed);
        let mut emitter = host.recorder();
        emitter.run("chat", (10_000u32,));
        end(emitter);
        let logs = kept.logs();
        assert_eq!(logs.len(), 10_000);
        for (line, log) in logs.iter().enumerate() {
            assert_eq!(&*log.message, format!("line {line}"));
        }
        let mut spans = kept.spans();
        assert_eq!(spans.len(), 10_000);
        spans.sort_by_key(|span| span.context.span_id);
        spans.dedup_by_key(|span| span.context.span_id);
        assert_eq!(spans.len(), 10_000);
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\""), "{text}");
    }
}

#[test]
fn a_level_that_is_changed_is_that_of_an_instances_next_request() {
    for is_pushed in [false, true] {
        let (host, kept) = host(is_pushed);
        let mut emitter = host.recorder();
        let mut request = |export: &str, record: Level| {
            // While the instance lives, and has not been read since its last request.
            let recording = Recording { export: export.parse().unwrap(), record, ..Recording::default() };
            host.component.set_recording(recording);
            emitter.run("greet", ());
            // Nothing comes of itself before the next request.
            host.component.set_recording(Recording { export: "off".parse().unwrap(), ..Recording::default() });
            emitter.run("greet", ());
            kept.logs().iter().map(|log| log.message.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(request("info", Level::Debug), ["failed", "hello", "cart"]);
        assert_eq!(request("error,shop::cart=debug", Level::Debug), ["failed", "cart", "details of the cart"]);
        assert_eq!(request("off,shop=trace", Level::Info), ["cart", "details of the cart", "too fine a cart"]);
        assert_eq!(request("info,shop::cart=off", Level::Debug), ["failed", "hello"]);
        assert_eq!(request("trace", Level::Debug).len(), 7);
        assert_eq!(request("off", Level::Off), [""; 0]);
        assert_eq!(value(&host.scrape(), "wasm_instance_starts_total", &[]), 1.0);
    }
}

#[test]
fn without_a_sink_a_guest_records_nothing() {
    let host = Host::without_sink("record-emitter");
    let mut emitter = host.recorder();
    emitter.run("chat", (10u32,));
    assert_eq!(emitter.call::<_, (String,)>("relay", ("",)).unwrap().0, "");
    drop(emitter);
    assert!(!host.scrape().contains("signal=\"records\""));
}
