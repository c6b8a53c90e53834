//! Logs and spans of a guest in Wasmtime, from its memory to a sink.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmetry_host::Recording;
use wasmetry_host::propagation::Sampler;
use wasmetry_host::record::{FieldValue, Level, LogRecord, SpanKind, SpanRecord, SpanStatus, TraceContext};
use wasmetry_tests::embedding::observed::{GuestInstance, Host};
use wasmetry_tests::exposition::value;
use wasmetry_tests::memory_sink::MemorySink;
use wasmetry_wasmtime::ServerSpan;

/// Makes a host of the record emitter, whose memory is read or pushed, and its sink.
fn host(is_pushed: bool) -> (Host, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    let host = Host::with_sink("record-emitter", Arc::<MemorySink>::clone(&sink));
    (if is_pushed { host.pushed() } else { host }, sink)
}

/// Ends the instance, after it has sent its records if it pushes.
fn end(mut emitter: GuestInstance) {
    emitter.run("publish", ());
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

/// Logs have their levels, messages, fields, targets, sources and times.
#[test]
fn logs_have_fields_and_sources() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let mut emitter = host.instance();
        emitter.run("emit-logs", (7u64, "Ada"));
        end(emitter);
        let logs = sink.take_logs();
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
fn enabled_levels_are_exported() {
    let (host, sink) = host(false);
    host.component.set_recording(Recording { export: "debug,shop=trace".parse().unwrap(), ..Recording::default() });
    let mut emitter = host.instance();
    emitter.run("emit-logs", (7u64, "Ada"));
    end(emitter);
    let logs = sink.take_logs();
    let fine: Vec<&LogRecord> = logs.iter().filter(|log| log.level > Level::Info).collect();
    let [details, given] = fine[..] else { panic!("{fine:#?}") };
    assert_eq!((&*details.message, fields(details)), ("details", vec![("names", text("[\"Ada\"]"))]));
    assert_eq!((&*given.message, &*given.target), ("of a given level: \"Ada\"", "shop::cart"));
    assert_eq!(fields(given), [("dbg", text("Some(7)")), ("name", text("Ada"))]);
}

/// Requests that take turns in one instance keep their traces apart.
#[test]
fn interleaved_requests_keep_their_traces() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let mut emitter = host.instance();
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

        let (spans, logs) = (sink.take_spans(), sink.take_logs());
        // Each request has a span, two steps, and a span in each step.
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
            // The logs of each request are in its own spans and in their order.
            let logs = logs.iter().filter(|log| log.trace.is_some_and(of_trace));
            let logged: Vec<_> =
                logs.map(|log| (&*log.message, log.trace.unwrap().span_id, log.fields[0].1.clone())).collect();
            let of_request = FieldValue::Unsigned(number as u64);
            let expected: Vec<_> = steps
                .iter()
                .zip(&inner)
                .flat_map(|(step, inner)| [("begins", step.context.span_id), ("ends", inner.context.span_id)])
                .map(|(message, span)| (message, span, of_request.clone()))
                .collect();
            assert_eq!(logged, expected);
        }
    }
}

/// Spans have their parents, attributes, events, links and statuses.
#[test]
fn spans_have_all_fields() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        host.component.set_recording(Recording { export: "debug".parse().unwrap(), ..Recording::default() });
        let mut emitter = host.instance();
        emitter.run("emit-spans", ());
        end(emitter);
        let spans = sink.take_spans();
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
        let logs = sink.take_logs();
        assert_eq!(logs[0].trace, Some(outer.context));
    }
}

/// A request that traps or is killed exports its buffered logs and spans.
#[test]
fn failed_request_exports_buffered_records() {
    for (call, reason) in [("trap", "unreachable"), ("spin", "deadline")] {
        let (host, sink) = host(false);
        let mut emitter = host.instance();
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        let server = ServerSpan::begin("GET", "/", None, &never);
        let context = server.context();
        assert!(!context.is_sampled());
        emitter.telemetry().set_server_span(server);
        emitter.store.set_deadline_sync(Duration::from_millis(50)).unwrap();
        let relayed: String = emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap().0;
        assert_eq!(relayed[3..35], context.trace_id.to_string());
        emitter.call::<_, ()>(call, ()).unwrap_err();
        drop(emitter);

        let spans = sink.take_spans();
        let server = span(&spans, "GET /");
        assert_eq!((server.kind, &server.status), (SpanKind::Server, &SpanStatus::Error(reason.into())));
        let relay = span(&spans, "relay");
        assert_eq!((relay.parent, relay.is_parent_remote), (Some(context.span_id), true));
        assert_eq!(relay.status, SpanStatus::Unset);
        let open: &[&str] = if call == "trap" { &["before the end", "the last"] } else { &["endless"] };
        for name in open {
            assert_eq!(span(&spans, name).status, SpanStatus::Error(reason.into()));
        }
        let logs: Vec<String> =
            sink.take_logs().iter().map(|log| format!("{} {}", log.level.name(), log.message)).collect();
        let expected = [
            "info relayed".to_owned(),
            format!("debug about to {}", if call == "trap" { "fail" } else { "spin" }),
            // The guest has logged no error, so the host does.
            format!("error the guest ended: {reason}"),
        ];
        assert_eq!(logs, expected);
    }
}

/// A panic hook records the panic. It sends the region to a host that cannot read memory, which so
/// has all that precedes the trap.
#[test]
fn hook_records_panic_before_trap() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let mut emitter = host.instance();
        emitter.call::<_, ()>("panic-in-handler", ()).unwrap_err();
        drop(emitter);
        let logs = sink.take_logs();
        let [before, log] = &logs[..] else { panic!("pushed: {is_pushed}: {logs:#?}") };
        assert_eq!(&*before.message, "about to panic");
        assert!(log.message.ends_with(": requested by the test"), "{log:?}");
        assert!(log.source.as_ref().unwrap().file.ends_with("record_emitter.rs"), "{log:?}");
        let spans = sink.take_spans();
        let span = span(&spans, "panic_in_handler");
        assert_eq!((log.trace, &log.level), (Some(span.context), &Level::Error));
        assert_eq!(span.status, SpanStatus::Error(log.message.clone()));
        assert_eq!(&*span.events[0].name, "exception");
        assert_eq!(value(&host.scrape(), "wasm_traps_total", &[("reason", "unreachable")]), 1.0);
    }
}

fn traceparent(context: TraceContext) -> String {
    String::from_utf8(context.traceparent().to_vec()).unwrap()
}

/// A request that succeeds exports no buffered logs and spans.
#[test]
fn successful_request_drops_buffered_records() {
    let (host, sink) = host(false);
    let mut emitter = host.instance();
    let never = Sampler { ratio: 0.0, is_parent_based: true };
    let server = ServerSpan::begin("GET", "/", None, &never);
    let context = server.context();
    emitter.telemetry().set_server_span(server);
    emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap();
    emitter.telemetry().set_status(200);
    drop(emitter);
    assert_eq!(sink.take_spans(), []);
    assert_eq!(sink.take_logs().len(), 1);
}

/// A trace that begins in the guest is sampled by the sampler, and the guest propagates its
/// decision. A caller's decision holds if the sampler is parent-based.
#[test]
fn guests_traces_follow_the_sampler() {
    let caller = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    for is_pushed in [false, true] {
        for (ratio, is_parent_based, sampled, unsampled) in
            [(1.0, true, true, false), (0.0, true, true, false), (1.0, false, true, true), (0.0, false, false, false)]
        {
            let (host, sink) = host(is_pushed);
            let sampler = Sampler { ratio, is_parent_based };
            let _ = host.telemetry.clone().with_sampler(sampler);
            let relay = |parent: &str| {
                let mut emitter = host.instance();
                let sent = emitter.call::<_, (String,)>("relay", (parent,)).unwrap().0;
                end(emitter);
                (sent, !sink.take_spans().is_empty(), sink.take_logs()[0].trace.unwrap().is_sampled())
            };
            let (sent, is_exported, is_flagged) = relay("");
            assert_eq!((is_exported, is_flagged), (ratio > 0.0, ratio > 0.0), "{sampler:?}");
            assert!(sent.ends_with(if ratio > 0.0 { "-03" } else { "-02" }), "{sampler:?}: {sent}");
            assert_eq!((relay(&caller("01")).1, relay(&caller("00")).1), (sampled, unsampled), "{sampler:?}");
        }
    }
}

/// The guest's decision, which it propagates, is the host's.
#[test]
fn guest_and_host_decide_alike() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let _ = host.telemetry.clone().with_sampler(Sampler { ratio: 0.3, is_parent_based: true });
        let mut emitter = host.instance();
        let sent: Vec<String> = (0..400).map(|_| emitter.call::<_, (String,)>("relay", ("",)).unwrap().0).collect();
        end(emitter);
        let exported: Vec<String> = sink.take_spans().iter().map(|span| traceparent(span.context)).collect();
        let sampled: Vec<String> = sent.into_iter().filter(|sent| sent.ends_with("-03")).collect();
        assert_eq!(exported, sampled);
        // The mean is 120, and 45 are more than four standard deviations.
        assert!((75..=165).contains(&sampled.len()), "{}", sampled.len());
    }
}

/// The host's recording settings decide which requests keep their buffered logs and spans.
#[test]
fn recording_decides_what_is_kept() {
    let by_default = Recording::default;
    let slow = |limit| Recording { keep_slow: Some(limit), ..by_default() };
    let without_failed = Recording { keep_failed: false, ..by_default() };
    for (recording, status, is_kept) in [
        (by_default(), 200, false),
        (by_default(), 404, false),
        (by_default(), 500, true),
        (without_failed.clone(), 500, false),
        (slow(Duration::ZERO), 200, true),
        (slow(Duration::from_secs(3600)), 200, false),
        (Recording { keep_slow: Some(Duration::ZERO), ..without_failed }, 500, true),
    ] {
        let (host, sink) = host(false);
        host.component.set_recording(recording.clone());
        let mut emitter = host.instance();
        let never = Sampler { ratio: 0.0, is_parent_based: true };
        let server = ServerSpan::begin("GET", "/", None, &never);
        let context = server.context();
        emitter.telemetry().set_server_span(server);
        emitter.call::<_, (String,)>("relay", (traceparent(context),)).unwrap();
        emitter.run("emit-logs", (7u64, "Ada"));
        emitter.telemetry().set_status(status);
        drop(emitter);
        let spans = sink.take_spans();
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        let logs = sink.take_logs();
        let debug = logs.iter().filter(|log| log.level == Level::Debug).count();
        let expected: (&[&str], usize) = if is_kept { (&["relay", "GET /"], 2) } else { (&[], 0) };
        assert_eq!((&names[..], debug), expected, "{status} {recording:?}");
        assert_eq!(logs.len() - debug, 6, "records of an exported level are always exported");
    }
}

/// A guest that records more than its ring holds asks its host to read, and loses nothing.
#[test]
fn many_records_lose_none() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let mut emitter = host.instance();
        emitter.run("emit-many", (10_000u32,));
        end(emitter);
        let logs = sink.take_logs();
        assert_eq!(logs.len(), 10_000);
        for (line, log) in logs.iter().enumerate() {
            assert_eq!(&*log.message, format!("line {line}"));
        }
        let mut spans = sink.take_spans();
        assert_eq!(spans.len(), 10_000);
        spans.sort_by_key(|span| span.context.span_id);
        spans.dedup_by_key(|span| span.context.span_id);
        assert_eq!(spans.len(), 10_000);
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\""), "{text}");
    }
}

/// A changed level applies to the next request of a live instance.
#[test]
fn changed_level_applies_to_next_request() {
    for is_pushed in [false, true] {
        let (host, sink) = host(is_pushed);
        let mut emitter = host.instance();
        let mut request = |export: &str, record: Level| {
            // The instance lives, and was not read since its last request.
            let recording = Recording { export: export.parse().unwrap(), record, ..Recording::default() };
            host.component.set_recording(recording);
            emitter.run("log-levels", ());
            // The level applies only from the next request on.
            host.component.set_recording(Recording { export: "off".parse().unwrap(), ..Recording::default() });
            emitter.run("log-levels", ());
            sink.take_logs().iter().map(|log| log.message.to_string()).collect::<Vec<_>>()
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
fn without_sink_nothing_is_recorded() {
    let host = Host::without_sink("record-emitter");
    let mut emitter = host.instance();
    emitter.run("emit-many", (10u32,));
    assert_eq!(emitter.call::<_, (String,)>("relay", ("",)).unwrap().0, "");
    drop(emitter);
    assert!(!host.scrape().contains("signal=\"records\""));
}
