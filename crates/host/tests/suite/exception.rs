//! Panics of guests and errors of handlers: their logs, events and statuses.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::ring::{ExceptionCause, GUEST_TRACE, RecordKind, Tag, tag_words};
use wasmetry_host::record::{Field, FieldValue, Level, LogRecord, OutputStream, SpanStatus, TraceContext};
use wasmetry_host::{AccessLog, HttpSummary, Outcome, Recording, limits};

use crate::image::{add_neighbour, assert_neighbour_exact, samples};
use crate::memory_sink::MemorySink;
use crate::ring::{NOW, Ring, SAMPLED, Shop, TRACE};

/// A header `traceparent`.
const CALLER: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An argument of a record.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

/// Writes an exception of the span 5, or of none.
fn exception(ring: &mut Ring, span: u64, flags: u8, cause: u64, values: &[Value<'_>]) {
    let mut words = vec![span, NOW - 3, TRACE[0], TRACE[1], cause];
    let mut head = vec![values.len() as u8];
    head.extend(values.iter().map(|value| match value {
        Value::Text(_) => Tag::Text as u8,
        Value::Number(_) => Tag::Unsigned as u8,
    }));
    head.resize(8 * tag_words(values.len()), 0);
    let mut bytes = head;
    for value in values {
        match value {
            Value::Text(text) => {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.bytes());
                bytes.resize(bytes.len().next_multiple_of(8), 0);
            }
            Value::Number(number) => bytes.extend(number.to_le_bytes()),
        }
    }
    words.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
    ring.record(RecordKind::Exception, flags, &words);
}

fn panic(ring: &mut Ring, span: u64, flags: u8) {
    let values = [
        Value::Text("src/lib.rs"),
        Value::Number(4),
        Value::Number(15),
        Value::Text("panic"),
        Value::Text("panic"),
        Value::Text("no stock"),
        Value::Text(""),
    ];
    exception(ring, span, flags, ExceptionCause::Panic as u64, &values);
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.into())
}

fn keys(fields: &[Field]) -> Vec<&str> {
    fields.iter().map(|(key, _)| &**key).collect()
}

/// Checks the log of [`panic`].
#[track_caller]
fn assert_panic(log: &LogRecord) {
    assert_eq!((&*log.message, log.level), ("panicked at src/lib.rs:4:15: no stock", Level::Error));
    assert_eq!((&*log.target, log.time, log.observed), ("panic", NOW - 3, NOW));
    let source = log.source.as_ref().unwrap();
    assert_eq!((&*source.file, source.line), ("src/lib.rs", 4));
    let expected = [
        ("exception.type".into(), text("panic")),
        ("exception.message".into(), text("no stock")),
        ("error.type".into(), text("panic")),
        ("code.column.number".into(), FieldValue::Unsigned(15)),
    ];
    assert_eq!(log.fields, expected);
}

#[test]
fn panic_is_log_event_status() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 1024);
    ring.start(5, 0, SAMPLED);
    panic(&mut ring, 5, SAMPLED);
    shop.read(&ring);
    // Another copy of the crate in the guest has a hook of its own.
    panic(&mut ring, 5, SAMPLED);
    shop.read(&ring);
    shop.finish(Outcome::Ended("unreachable"));
    let logs = shop.sink.logs();
    assert_eq!(logs.len(), 1);
    assert_panic(&logs[0]);
    assert_eq!(logs[0].trace.unwrap().span_id.number(), 5);
    let span = &shop.spans()[0];
    assert_eq!(span.status, SpanStatus::Error("panicked at src/lib.rs:4:15: no stock".into()));
    let [event] = &span.events[..] else { panic!("{:?}", span.events) };
    assert_eq!((&*event.name, event.time), ("exception", NOW - 3));
    let expected = [
        ("exception.type".into(), text("panic")),
        ("exception.message".into(), text("no stock")),
        ("code.file.path".into(), text("src/lib.rs")),
        ("code.line.number".into(), FieldValue::Unsigned(4)),
        ("code.column.number".into(), FieldValue::Unsigned(15)),
    ];
    assert_eq!(event.attributes, expected);
    assert!(span.attributes.contains(&("error.type".into(), text("panic"))));
    assert!(span.attributes.contains(&("wasm.trap.reason".into(), text("unreachable"))));
    assert_eq!(shop.request.panic().unwrap(), ("panic", "panicked at src/lib.rs:4:15: no stock".to_owned()));
    assert_eq!(shop.request.exception_event(NOW), None);
}

#[test]
fn error_has_type_and_causes() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(8, 1024);
    let error = [
        Value::Text("src/cart.rs"),
        Value::Number(7),
        Value::Number(1),
        Value::Text("shop::cart"),
        Value::Text("shop::CartError"),
        Value::Text("cannot load"),
        Value::Text("no connection\nrefused"),
    ];
    ring.start(5, 0, SAMPLED);
    exception(&mut ring, 5, SAMPLED, ExceptionCause::Error as u64, &error);
    ring.end(5);
    shop.read(&ring);
    shop.finish(Outcome::Failed);
    let log = &shop.sink.logs()[0];
    assert_eq!((&*log.message, &*log.target), ("cannot load: no connection: refused", "shop::cart"));
    let chain = "cannot load\n\nCaused by:\n    0: no connection\n    1: refused";
    assert!(log.fields.contains(&("exception.stacktrace".into(), text(chain))));
    let span = &shop.spans()[0];
    assert_eq!(span.status, SpanStatus::Error("cannot load: no connection: refused".into()));
    assert_eq!(span.attributes, [("error.type".into(), text("shop::CartError"))]);
    assert_eq!(shop.request.error().unwrap().0, "shop::CartError");
    assert_eq!(shop.request.panic(), None);
}

#[test]
fn unsampled_panic_waits_for_outcome() {
    for (outcome, spans) in [(Outcome::Ended("unreachable"), 1), (Outcome::Ok, 0)] {
        let mut shop = Shop::new(Recording { export: "off".parse().unwrap(), ..Recording::default() });
        let mut ring = Ring::new(4, 1024);
        ring.start(5, 0, 0);
        panic(&mut ring, 5, 0);
        shop.read(&ring);
        assert!(shop.sink.logs().is_empty());
        shop.finish(outcome);
        assert_eq!((shop.sink.logs().len(), shop.spans().len()), (spans, spans), "{outcome:?}");
        assert!(shop.spans().iter().all(|span| span.events.len() == 1));
    }
}

#[test]
fn printed_panic_is_recorded_once() {
    const LINES: [&str; 3] =
        ["thread 'main' panicked at src/lib.rs:4:15:", "no stock", "note: run with `RUST_BACKTRACE=1`"];
    for has_hook in [false, true] {
        let mut shop = Shop::new(Recording::default());
        let mut ring = Ring::new(4, 1024);
        ring.start(5, 0, SAMPLED);
        if has_hook {
            panic(&mut ring, 5, SAMPLED);
        }
        let mut lines = shop.request.printed_lines(None);
        LINES.iter().for_each(|line| lines.record(OutputStream::Stderr, line.as_bytes(), NOW - 3));
        shop.read(&ring);
        shop.finish(Outcome::Ended("unreachable"));
        let logs: Vec<LogRecord> = shop.sink.logs().into_iter().filter(|log| log.stream.is_none()).collect();
        assert_eq!(logs.len(), 1, "{logs:?}");
        assert_panic(&LogRecord { time: NOW - 3, ..logs[0].clone() });
        assert_eq!(shop.request.panic().unwrap().1, "panicked at src/lib.rs:4:15: no stock");
        // The span of a guest has the event only if the guest has recorded it.
        assert_eq!(shop.spans()[0].events.len(), usize::from(has_hook));
        assert_eq!(shop.request.exception_event(NOW).is_none(), has_hook);
    }
}

#[test]
fn caught_panic_is_no_end() {
    for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Ended("deadline"), Outcome::Ended("killed")] {
        let mut shop = Shop::new(Recording::default());
        let mut lines = shop.request.printed_lines(None);
        lines.record(OutputStream::Stderr, b"thread 'main' panicked at src/lib.rs:4:15:", NOW);
        shop.finish(outcome);
        assert_eq!(shop.request.panic(), None);
        assert!(shop.sink.logs().iter().all(|log| log.target.as_ref() != "panic"), "{outcome:?}");
    }
}

#[test]
fn hostile_exceptions_are_harmless() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 2048);
    ring.start(5, 0, SAMPLED);
    // No arguments, wrong types, an unknown cause, a span that is not open.
    exception(&mut ring, 5, SAMPLED, ExceptionCause::Error as u64, &[]);
    exception(
        &mut ring,
        5,
        SAMPLED,
        ExceptionCause::Error as u64,
        &[Value::Number(1), Value::Text("x"), Value::Text("y")],
    );
    exception(&mut ring, 5, SAMPLED, 3, &[]);
    exception(&mut ring, 9, SAMPLED, ExceptionCause::Error as u64, &[Value::Text("a"), Value::Number(u64::MAX)]);
    let causes = "x\n".repeat(500);
    let long = [&causes; 7].map(|causes| Value::Text(causes));
    exception(&mut ring, 0, SAMPLED, ExceptionCause::Error as u64, &long[..1]);
    shop.read(&ring);
    shop.finish(Outcome::Failed);
    let logs = shop.sink.logs();
    assert_eq!(logs.iter().filter(|log| log.level == Level::Error).count(), 4, "{logs:?}");
    assert_eq!(keys(&logs[0].fields), ["exception.type", "exception.message", "error.type"]);
    assert_eq!(logs[2].source.as_ref().unwrap().line, u32::MAX);
    assert_eq!(shop.dropped(), ["unknown_record 1"]);
}

/// A failed request of which the guest has logged no error has a record by the host, whatever the
/// access log has.
#[test]
fn silent_failure_has_one_log() {
    let recording = |export: &str| Recording {
        export: export.parse().unwrap(),
        access_log: AccessLog::OFF,
        ..Recording::default()
    };
    for (export, outcome, expected) in [
        ("info", Outcome::Ended("deadline"), Some(("the guest ended: deadline", "deadline", Level::Error))),
        ("info", Outcome::Failed, Some(("the guest failed and has logged no error", "_OTHER", Level::Warn))),
        ("info", Outcome::Ok, None),
        ("info,access=off", Outcome::Failed, None),
    ] {
        let mut shop = Shop::new(recording(export));
        shop.request.set_caller(TraceContext::parse(CALLER));
        shop.finish(outcome);
        let logs = shop.sink.logs();
        assert!(logs.iter().all(|log| log.trace.is_some()), "{logs:?}");
        let found = logs.first().map(|log| {
            let kind = log.fields.iter().find(|(key, _)| &**key == "error_type").map(|(_, kind)| kind.clone());
            (&*log.message, kind, log.level)
        });
        let expected = expected.map(|(message, kind, level)| (message, Some(text(kind)), level));
        assert_eq!((found, logs.len()), (expected.clone(), usize::from(expected.is_some())), "{export} {outcome:?}");
    }
    // A program is no request.
    let mut shop = Shop::new(recording("info"));
    shop.finish(Outcome::Ended("deadline"));
    assert!(shop.sink.logs().is_empty());
    let mut shop = Shop::new(recording("info"));
    let mut ring = Ring::new(4, 1024);
    panic(&mut ring, 5, SAMPLED);
    shop.read(&ring);
    shop.finish(Outcome::Ended("unreachable"));
    assert_eq!(shop.messages(), ["panicked at src/lib.rs:4:15: no stock"]);
}

/// The record of an HTTP request has its facts.
#[test]
fn access_record_has_request_facts() {
    let mut shop = Shop::new(Recording { access_log: AccessLog::ALL, ..Recording::default() });
    let route = "/cart/{id}".into();
    let (request_bytes, response_bytes) = (Some(4), Some(19));
    shop.request.set_http(HttpSummary {
        method: "GET",
        route,
        status: 200,
        request_bytes,
        response_bytes,
        error: None,
    });
    shop.finish(Outcome::Ok);
    let logs = shop.sink.logs();
    assert_eq!((&*logs[0].message, logs[0].level), ("GET /cart/{id} 200", Level::Info));
    let expected = [
        ("method".into(), text("GET")),
        ("route".into(), text("/cart/{id}")),
        ("status".into(), FieldValue::Unsigned(200)),
        ("duration".into(), text("5ms")),
        ("duration_ms".into(), FieldValue::Float(5.0)),
        ("request_bytes".into(), FieldValue::Unsigned(4)),
        ("response_bytes".into(), FieldValue::Unsigned(19)),
    ];
    assert_eq!(logs[0].fields, expected);
}

/// A request does not inherit the failure of the one before it.
#[test]
fn next_request_has_own_failure() {
    let mut shop = Shop::new(Recording { access_log: AccessLog::OFF, ..Recording::default() });
    let mut ring = Ring::new(4, 1024);
    panic(&mut ring, 5, SAMPLED);
    shop.read(&ring);
    shop.finish(Outcome::Ended("unreachable"));
    assert!(shop.request.panic().is_some());
    shop.request.set_caller(TraceContext::parse(CALLER));
    assert_eq!((shop.request.error(), shop.request.exception_event(0)), (None, None));
    shop.sink.take_logs();
    shop.finish(Outcome::Failed);
    let logs = shop.sink.logs();
    assert_eq!((logs.len(), &*logs[0].message), (1, "the guest failed and has logged no error"));
}

/// Refused requests cost a client nothing, so a component has a bound of their records. It is its
/// own: a neighbour's are all there.
#[test]
fn access_records_are_bounded_by_component() {
    const OVER: u64 = 100;
    let mut shop = Shop::new(Recording::default());
    let refused = || HttpSummary {
        method: "GET",
        route: "/".into(),
        status: 503,
        request_bytes: None,
        response_bytes: None,
        error: Some(("refused", "the component has no free instance")),
    };
    let bank = add_neighbour(&shop.registry);
    let sink = Arc::new(MemorySink::default());
    let mut request = bank.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::new(Recording::default()));
    let mut neighbour = |count: usize| {
        for _ in 0..count {
            request.set_http(refused());
            request.finish(Outcome::Failed, Duration::from_millis(5), NOW);
        }
        assert_eq!(sink.take_logs().len(), count);
    };
    neighbour(10);
    for _ in 0..limits::ACCESS_RECORDS + OVER {
        shop.request.set_http(refused());
        shop.finish(Outcome::Failed);
    }
    neighbour(10);
    assert_eq!(shop.sink.take_logs().len() as u64, limits::ACCESS_RECORDS);
    let prefix = "wasmetry_dropped_total{component=\"shop\",signal=\"logs\",reason=\"access_limit\"";
    assert_eq!(samples(&shop.registry, 0, prefix), [format!("{prefix}}} {OVER}")]);
    assert_neighbour_exact(&shop.registry);
}

/// The record of a request without a trace has the one that the guest has begun.
#[test]
fn access_record_has_guests_trace() {
    for (flags, caller, expected) in [
        (SAMPLED | GUEST_TRACE, None, Some(5)),
        (SAMPLED | GUEST_TRACE, Some(CALLER), Some(0xb7ad_6b71_6920_3331)),
        (SAMPLED, None, None),
    ] {
        let mut shop = Shop::new(Recording::default());
        shop.request.set_caller(caller.and_then(TraceContext::parse));
        shop.request.set_http(HttpSummary {
            method: "GET",
            route: "/".into(),
            status: 500,
            request_bytes: None,
            response_bytes: None,
            error: None,
        });
        let mut ring = Ring::new(4, 1024);
        panic(&mut ring, 5, flags);
        shop.read(&ring);
        shop.finish(Outcome::Ended("unreachable"));
        let logs = shop.sink.logs();
        let [exception, access] = &logs[..] else { panic!("{logs:#?}") };
        assert_eq!((&*exception.target, &*access.target), ("panic", "access"));
        assert_eq!(access.trace.map(|trace| trace.span_id.number()), expected);
    }
    // Another request of the instance does not inherit it.
    let mut shop = Shop::new(Recording { access_log: AccessLog::OFF, ..Recording::default() });
    let mut ring = Ring::new(4, 1024);
    panic(&mut ring, 5, SAMPLED | GUEST_TRACE);
    shop.read(&ring);
    shop.finish(Outcome::Ended("unreachable"));
    shop.request.set_caller(None);
    shop.sink.take_logs();
    shop.request.set_http(HttpSummary {
        method: "GET",
        route: "/".into(),
        status: 503,
        request_bytes: None,
        response_bytes: None,
        error: None,
    });
    shop.finish(Outcome::Failed);
    let logs = shop.sink.logs();
    assert_eq!((logs.len(), logs[0].trace), (1, None));
}
