//! Logs and spans of libraries that use `log` and `tracing`, through wasmetry's facades.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "facade/library.rs"]
mod library;
#[path = "facade/module.rs"]
mod module;

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;

use wasmetry_host::Recording;
use wasmetry_host::record::{FieldValue, Level, LogRecord, SpanId, SpanRecord, SpanStatus, TraceContext};
use wasmetry_tests::embedding::observed::{GuestInstance, Host};
use wasmetry_tests::exposition::value;
use wasmetry_tests::memory_sink::MemorySink;

/// Makes a host of a guest, whose memory is read or pushed, and its sink.
fn host(guest: &str, is_pushed: bool) -> (Host, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    let host = Host::with_sink(guest, Arc::<MemorySink>::clone(&sink));
    (if is_pushed { host.pushed() } else { host }, sink)
}

/// Ends the instance, after it has sent its records if it pushes.
fn end(mut emitter: GuestInstance) {
    emitter.run("publish", ());
}

/// The level, target, message and fields of a log, as one line.
fn line(log: &LogRecord) -> String {
    let mut line = format!("{} {} {:?}", log.level.name(), log.target, &*log.message);
    for (key, value) in &log.fields {
        line.push_str(&match value {
            FieldValue::Text(text) => format!(" {key}={:?}", &**text),
            FieldValue::Signed(value) => format!(" {key}={value}i"),
            FieldValue::Unsigned(value) => format!(" {key}={value}u"),
            FieldValue::Float(value) => format!(" {key}={value}f"),
            FieldValue::Bool(value) => format!(" {key}={value}"),
            other => format!(" {key}={other:?}"),
        });
    }
    if log.is_audit { format!("AUDIT {line}") } else { line }
}

/// The logs that the operation `emit-logs` records for the user 7 with the name Ada, without audit
/// records.
const LOGS: [&str; 8] = [
    r#"error facade_guests "it failed""#,
    r#"warn shop::cart "low for Ada" left=-3i ratio=0.5f ok=true name="Ada" list="[1, 2]""#,
    r#"info facade_guests "{braces} stay""#,
    r#"debug facade_guests "details of 7""#,
    r#"error facade_guests "it failed" code=7u"#,
    r#"info facade_guests "hello Ada" user=7u left=-3i ratio=0.5f ok=true name="Ada" list="[1, 2]""#,
    r#"warn shop::cart "" name="Ada""#,
    r#"debug facade_guests "details of 7""#,
];

/// Their audit records.
const AUDIT: [&str; 2] = [r#"AUDIT info audit "seen" user=7u"#, r#"AUDIT info audit::login "seen" user=7u"#];

fn lines(logs: &[LogRecord], is_audit: bool) -> Vec<String> {
    logs.iter().filter(|log| log.is_audit == is_audit).map(line).collect()
}

fn debug() -> Recording {
    Recording { export: "debug".parse().unwrap(), ..Recording::default() }
}

/// Logs keep their levels, targets, messages, types of fields, and places.
#[test]
fn logs_keep_types_and_places() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        host.component.set_recording(debug());
        // Each instance defines the sites again.
        for _ in 0..2 {
            let mut emitter = host.instance();
            emitter.run("emit-logs", (7u64, "Ada"));
            emitter.run("emit-logs", (7u64, "Ada"));
            end(emitter);
            let logs = sink.take_logs();
            assert_eq!(lines(&logs, false), [LOGS, LOGS].concat(), "{is_pushed}");
            assert_eq!(lines(&logs, true), [AUDIT, AUDIT].concat(), "{is_pushed}");
            let source = logs[0].source.as_ref().unwrap();
            assert!(source.file.ends_with("lib.rs") && source.line > 10, "{source:?}");
            let places: HashSet<u32> = logs.iter().filter_map(|log| Some(log.source.as_ref()?.line)).collect();
            assert_eq!(places.len(), LOGS.len() + AUDIT.len());
        }
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\""), "{text}");
    }
}

fn span<'a>(spans: &'a [SpanRecord], name: &str) -> &'a SpanRecord {
    spans.iter().find(|span| &*span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

fn id(spans: &[SpanRecord], name: &str) -> Option<SpanId> {
    Some(span(spans, name).context.span_id)
}

/// Checks the records of the operation `nest-spans`.
fn assert_nested(logs: &[LogRecord], spans: &[SpanRecord]) {
    assert_eq!(lines(logs, true), [r#"AUDIT info audit "before the first span""#]);
    for (child, parent) in [("middle", "outer"), ("inner", "middle"), ("innermost", "inner"), ("parse", "outer")] {
        assert_eq!(span(spans, child).parent, id(spans, parent), "{child}");
        assert_eq!(span(spans, child).context.trace_id, span(spans, "outer").context.trace_id);
    }
    let of = |message: &str| -> Vec<Option<SpanId>> {
        let logs = logs.iter().filter(|log| &*log.message == message);
        logs.map(|log| log.trace.map(|trace| trace.span_id)).collect()
    };
    assert_eq!(of("in innermost"), [id(spans, "innermost"); 3]);
    assert_eq!(of("in outer"), [id(spans, "outer")]);
    let parses: Vec<&SpanRecord> = spans.iter().filter(|span| &*span.name == "parse").collect();
    let statuses: Vec<&SpanStatus> = parses.iter().map(|span| &span.status).collect();
    assert_eq!(statuses, [&SpanStatus::Unset, &SpanStatus::Error("invalid digit found in string".into())]);
    assert_eq!(of("parsing"), [Some(parses[0].context.span_id), Some(parses[1].context.span_id)]);
    assert_eq!(parses[1].attributes, [("text".into(), FieldValue::Text("twelve".into()))]);
    assert_eq!(span(spans, "middle").attributes, [("user".into(), FieldValue::Signed(7))]);
    assert_eq!(&*span(spans, "middle").target, "facade_guests");
    let (_, FieldValue::Text(cut)) = &span(spans, "innermost").attributes[0] else { panic!("{spans:#?}") };
    assert_eq!(cut.trim_end_matches('\u{2026}').len(), 1024, "{cut}");
    for parent in ["outer", "middle", "inner"] {
        let (parent, child) = (span(spans, parent), span(spans, "innermost"));
        assert!(parent.start <= child.start && child.end <= parent.end);
    }
}

/// Spans of `tracing` and of wasmetry are inside of each other, in either order.
#[test]
fn both_kinds_of_spans_nest() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        emitter.run("nest-spans", ());
        end(emitter);
        assert_nested(&sink.take_logs(), &sink.take_spans());
    }
}

/// Checks the records of the operation `relate-spans`.
fn assert_related(logs: &[LogRecord], spans: &[SpanRecord]) {
    let (first, second, root) = (span(spans, "first"), span(spans, "second"), span(spans, "root"));
    assert_eq!((spans.len(), first.parent, root.parent), (3, None, None));
    assert_eq!(second.parent, Some(first.context.span_id));
    assert_ne!(root.context.trace_id, first.context.trace_id);
    assert_eq!(second.links[0].context.span_id, root.context.span_id);
    let text = FieldValue::Text("Some(\"text\")".into());
    assert_eq!(first.attributes, [("late".into(), FieldValue::Signed(42)), ("other".into(), text)]);
    assert_eq!(second.status, SpanStatus::Error("broken".into()));
    let found: Vec<(&str, Option<SpanId>)> =
        logs.iter().map(|log| (&*log.message, log.trace.map(|trace| trace.span_id))).collect();
    let expected = [
        ("in second", id(spans, "second")),
        ("in none", None),
        ("in root", id(spans, "root")),
        ("broken", id(spans, "second")),
        ("first is open", id(spans, "first")),
        ("in none", None),
    ];
    assert_eq!(found, expected);
}

/// Parents are explicit or the current span, fields come late, and spans end with the last handle.
#[test]
fn explicit_relations_are_kept() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        emitter.run("relate-spans", ());
        end(emitter);
        assert_related(&sink.take_logs(), &sink.take_spans());
    }
}

/// Tasks that take turns in one instance keep their spans apart.
#[test]
fn interleaved_tasks_keep_spans() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        let callers: Vec<TraceContext> = (1..=3u8)
            .map(|n| {
                TraceContext::parse(format!("00-{:032x}-{:016x}-01", 0xabc0 + u32::from(n), n).as_bytes()).unwrap()
            })
            .collect();
        let sent: Vec<String> =
            callers.iter().map(|caller| String::from_utf8(caller.traceparent().to_vec()).unwrap()).collect();
        emitter.run("interleave", (sent,));
        end(emitter);
        let (spans, logs) = (sink.take_spans(), sink.take_logs());
        assert_eq!((spans.len(), logs.len()), (3 * 5, 3 * 6));
        for (number, caller) in callers.iter().enumerate() {
            let is_own = |context: TraceContext| context.trace_id == caller.trace_id;
            let own: Vec<&SpanRecord> = spans.iter().filter(|span| is_own(span.context)).collect();
            let named = |name: &str| own.iter().filter(|span| &*span.name == name).copied().collect::<Vec<_>>();
            let (tasks, steps, inner) = (named("task"), named("step"), named("inner"));
            assert_eq!((tasks.len(), steps.len(), inner.len()), (1, 2, 2), "{own:#?}");
            let task = FieldValue::Unsigned(number as u64);
            for (step, inner) in steps.iter().zip(&inner) {
                assert_eq!((step.parent, inner.parent), (Some(tasks[0].context.span_id), Some(step.context.span_id)));
                assert_eq!(inner.attributes, [("task".into(), task.clone())]);
            }
            let logged: Vec<(&str, SpanId)> = logs
                .iter()
                .filter(|log| log.trace.is_some_and(is_own))
                .map(|log| (&*log.message, log.trace.unwrap().span_id))
                .collect();
            let expected: Vec<(&str, SpanId)> = steps
                .iter()
                .zip(&inner)
                .flat_map(|(step, inner)| [("begins", *step), ("inside", *inner), ("ends", *step)])
                .map(|(message, span)| (message, span.context.span_id))
                .collect();
            assert_eq!(logged, expected);
        }
    }
}

/// The host's level decides what both facades record, also in an instance that lives on.
#[test]
fn levels_follow_the_host() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        let mut request = |export: &str, record: Level| {
            let recording = Recording { export: export.parse().unwrap(), record, ..Recording::default() };
            host.component.set_recording(recording);
            emitter.run("log-levels", ());
            // The next request's settings apply to its own records only.
            host.component.set_recording(Recording { export: "off".parse().unwrap(), ..Recording::default() });
            emitter.run("log-levels", ());
            let logs = sink.take_logs();
            let levels: Vec<&str> = logs.iter().map(|log| log.level.name()).collect();
            let evaluated = logs.iter().filter(|log| &*log.message == "end").flat_map(|log| log.fields.clone());
            let evaluated: Vec<FieldValue> = evaluated.map(|(_, value)| value).collect();
            (levels.join(" "), evaluated)
        };
        let no = vec![FieldValue::Bool(false)];
        assert_eq!(request("info", Level::Info), ("error info error info error info error".to_owned(), no.clone()));
        assert_eq!(request("error", Level::Error), ("error error error error".to_owned(), no));
        let (all, evaluated) = request("trace", Level::Trace);
        assert_eq!(all.split(' ').count(), 3 * 4 + 2 + 1, "{all}");
        assert_eq!(evaluated, [FieldValue::Bool(true)]);
        assert_eq!(request("off", Level::Off), (String::new(), Vec::new()));
        assert_eq!(request("off,shop::cart=debug", Level::Debug).0, "error info debug");
        assert_eq!(value(&host.scrape(), "wasm_instance_starts_total", &[]), 1.0);
    }
}

/// A guest that records more than its ring holds keeps its sites.
#[test]
fn many_records_keep_sites() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        emitter.run("emit-many", (10_000u32,));
        end(emitter);
        let logs = sink.take_logs();
        assert_eq!(logs.len(), 10_000);
        assert!(logs.iter().enumerate().all(|(line, log)| *log.message == *format!("line {line}")));
        let spans = sink.take_spans();
        assert_eq!(spans.iter().filter(|span| &*span.name == "line").count(), 10_000);
        let text = host.scrape();
        assert!(!text.contains("signal=\"records\""), "{text}");
    }
}

/// With more call sites than an instance can define, logs lose their place, and are counted.
#[test]
fn excess_sites_lose_places_only() {
    for is_pushed in [false, true] {
        let (host, sink) = host("facade-emitter", is_pushed);
        let mut emitter = host.instance();
        emitter.run("log-at-sites", (2000u32,));
        end(emitter);
        let logs = sink.take_logs();
        assert_eq!(logs.len(), 2000);
        assert!(logs.iter().enumerate().all(|(number, log)| *log.message == *format!("message {number}")));
        let defined = logs.iter().take_while(|log| &*log.target != "overflow").count();
        assert!((300..900).contains(&defined), "{defined}");
        for (number, log) in logs.iter().enumerate() {
            let target = format!("library::module{number}");
            let expected = if number < defined {
                format!("info {target} \"message {number}\" number={number}u")
            } else {
                format!("info overflow \"message {number}\" target={target:?}")
            };
            assert_eq!(line(log), expected);
        }
        let dropped = value(&host.scrape(), "wasmetry_dropped_total", &[("reason", "site_table_full")]);
        assert_eq!(dropped, (2000 - defined) as f64);
    }
}

/// The records before a trap arrive from memory, with their sites.
#[test]
fn trap_keeps_sites() {
    let (host, sink) = host("facade-emitter", false);
    host.component.set_recording(debug());
    let mut emitter = host.instance();
    emitter.call::<_, ()>("trap", ()).unwrap_err();
    drop(emitter);
    let logs = sink.take_logs();
    assert!(lines(&logs, false).contains(&r#"debug facade_guests "about to fail""#.to_owned()), "{logs:#?}");
    let spans = sink.take_spans();
    assert_eq!(span(&spans, "before the end").status, SpanStatus::Error("unreachable".into()));
}

/// The command reports that it cannot list the call sites of libraries.
#[test]
fn inspect_names_the_facades() {
    let inspect = |arguments: &[&str]| {
        let guest = wasmetry_tests::guest("facade-emitter");
        let output =
            Command::new(wasmetry_tests::server::command()).arg("inspect").args(arguments).arg(guest).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = inspect(&[]);
    assert!(text.contains("It records the logs and spans of libraries that use `log` or `tracing`."), "{text}");
    let report: serde_json::Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    assert_eq!(report["facades"], serde_json::json!(["log", "tracing"]));
}
