//! Logs and spans of the handle API: which are exported, buffered, truncated, dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_host::handle_api::{Attributes, Log, NewSpan, Value};
use wasmetry_host::record::{FieldValue, Level, LogRecord, SpanId, SpanKind, SpanStatus};
use wasmetry_host::{Declarations, Identity, Outcome, Recording, Registry, RequestTelemetry, limits};

use crate::image::samples;
use crate::json_line::{context, field, text};
use crate::memory_sink::MemorySink;

/// The time of all calls.
const NOW: u64 = 1_700_000_000_000_000_000;

/// Returns and removes the logs, a line each.
fn lines(sink: &MemorySink) -> Vec<String> {
    let line = |log: LogRecord| format!("{} {}: {}", log.level.name(), log.target, log.message);
    sink.take_logs().into_iter().map(line).collect()
}

/// Returns a request of the component `shop`, its sink and its registry.
fn request(recording: Recording) -> (RequestTelemetry, Arc<MemorySink>, Registry) {
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), Declarations::default());
    let sink = Arc::new(MemorySink::default());
    let request = component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::new(recording));
    (request, sink, registry)
}

fn dropped(registry: &Registry) -> Vec<String> {
    let all = samples(registry, 0, "wasmetry_dropped_total{component=\"shop\",signal=");
    all.iter().map(|line| line.split_once("signal=").unwrap().1.replace("\",reason=\"", " ")).collect()
}

fn log<'a>(level: Level, target: Option<&'a str>, message: &'a str) -> Log<'a> {
    Log { level, target, message, attributes: Attributes::default(), trace: None, is_audit: false }
}

fn span<'a>(name: &'a str, id: u64, flags: u8) -> NewSpan<'a> {
    NewSpan {
        name,
        kind: SpanKind::Internal,
        context: context(1, id, flags),
        parent: SpanId::new(99),
        is_parent_remote: false,
        attributes: Attributes::default(),
    }
}

fn id(number: u64) -> SpanId {
    SpanId::new(number).unwrap()
}

fn attributes(key: &str, value: Value<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.push(key, value);
    attributes
}

#[test]
fn levels_depend_on_target_and_recording() {
    let recording = Recording { export: "warn,shop.cart=debug".parse().unwrap(), ..Recording::default() };
    for (outcome, also) in [(Outcome::Ok, false), (Outcome::Failed, true), (Outcome::Ended("unreachable"), true)] {
        let (mut request, sink, registry) = request(recording.clone());
        for (level, target, is_enabled) in [
            (Level::Error, None, true),
            (Level::Info, None, true),
            (Level::Debug, None, true),
            (Level::Trace, None, false),
            (Level::Debug, Some("shop.cart.item"), true),
            (Level::Trace, Some("shop.cart"), false),
        ] {
            assert_eq!(request.is_enabled(level, target), is_enabled, "{level:?} {target:?}");
            request.log(log(level, target, "x"), NOW);
        }
        assert_eq!(lines(&sink), ["error shop: x", "debug shop.cart.item: x"]);
        request.finish(outcome, Duration::ZERO, NOW);
        let held: &[&str] = if also { &["info shop: x", "debug shop: x"] } else { &[] };
        assert_eq!(lines(&sink), held);
        assert_eq!(dropped(&registry), [""; 0]);
    }
    let recording = Recording { export: "warn".parse().unwrap(), keep_failed: false, ..Recording::default() };
    let (mut request, sink, _) = request(recording);
    assert!(!request.is_enabled(Level::Info, None));
    request.log(log(Level::Info, None, "x"), NOW);
    // Audit records are exported whatever their level.
    request.log(Log { is_audit: true, ..log(Level::Trace, None, "seen") }, NOW);
    assert_eq!(lines(&sink), ["trace shop: seen"]);
}

#[test]
fn log_has_fields_and_span() {
    let (mut request, sink, _) = request(Recording::default());
    let mut fields = attributes("user", Value::Int(-7));
    fields.push("name", Value::Text("Ada"));
    fields.push("ok", Value::Bool(true));
    fields.push("ratio", Value::Double(f64::NAN));
    let trace = Some(context(1, 2, 1));
    request.log(Log { attributes: fields, trace, ..log(Level::Info, Some("cart"), "loaded") }, NOW);
    let logs = sink.logs();
    let LogRecord { time, observed, fields, trace: found, source, is_audit, .. } = &logs[0];
    assert_eq!((*time, *observed, *found, source, *is_audit), (NOW, NOW, trace, &None, false));
    let (last, first) = fields.split_last().unwrap();
    assert_eq!(
        first,
        [field("user", FieldValue::Signed(-7)), field("name", text("Ada")), field("ok", FieldValue::Bool(true))]
    );
    assert!(matches!(last.1, FieldValue::Float(ratio) if ratio.is_nan()));
}

#[test]
fn span_has_its_parts() {
    let (mut request, sink, registry) = request(Recording::default());
    assert!(request.start(NewSpan { attributes: attributes("a", Value::Int(1)), ..span("work", 1, 1) }, NOW));
    request.set_attribute(id(1), attributes("a", Value::Int(2)));
    request.set_attribute(id(1), attributes("b", Value::Bool(false)));
    request.add_event(id(1), "waited", attributes("for", Value::Text("it")), NOW + 1);
    let other = context(7, 8, 0);
    request.add_link(id(1), Some(other), attributes("why", Value::Text("so")));
    request.set_status(id(1), Some("it broke"));
    request.set_status(id(1), None);
    request.set_status(id(1), Some("too late"));
    assert_eq!(sink.take_spans(), []);
    request.end(id(1), NOW + 5);
    let [found] = &sink.take_spans()[..] else { panic!("one span") };
    assert_eq!((&*found.name, &*found.target, found.parent), ("work", "shop", SpanId::new(99)));
    assert_eq!((found.start, found.end, &found.status, found.dropped), (NOW, NOW + 5, &SpanStatus::Ok, 0));
    assert_eq!(found.attributes, [field("a", FieldValue::Signed(2)), field("b", FieldValue::Bool(false))]);
    assert_eq!((&*found.events[0].name, found.events[0].time), ("waited", NOW + 1));
    assert_eq!(found.events[0].attributes, [field("for", text("it"))]);
    assert_eq!((found.links[0].context, &found.links[0].attributes[..]), (other, &[field("why", text("so"))][..]));
    assert_eq!(dropped(&registry), [""; 0]);
    // Calls before the start and after the end are counted.
    request.end(id(1), NOW);
    request.set_attribute(id(1), attributes("a", Value::Int(3)));
    request.add_event(id(2), "x", Attributes::default(), NOW);
    request.add_link(id(2), Some(other), Attributes::default());
    request.set_status(id(2), None);
    assert!(!request.end_if_open(id(1), NOW));
    request.add_link(id(1), None, Attributes::default());
    request.refuse_parent();
    assert_eq!(sink.take_spans(), []);
    assert_eq!(dropped(&registry), ["\"spans span_context\"} 2", "\"spans span_limit\"} 5"]);
}

/// A guest chooses the kind, the parent and the id of a span, and not its request.
#[test]
fn guest_spans_are_no_requests() {
    let (mut request, sink, _) = request(Recording::default());
    request.set_context(context(1, 50, 1), NOW);
    for forged in [
        NewSpan { kind: SpanKind::Server, parent: None, ..span("server", 2, 1) },
        NewSpan { context: context(9, 3, 1), ..span("other trace", 3, 1) },
        span("id of the request", 50, 1),
    ] {
        let id = forged.context.span_id;
        assert!(request.start(forged, NOW));
        request.end(id, NOW);
    }
    let spans = sink.take_spans();
    assert_eq!(spans.iter().map(|span| span.request).collect::<Vec<_>>(), [SpanId::new(50), SpanId::new(50), None]);
    assert!(spans.iter().all(|span| !span.is_request()));
}

#[test]
fn failed_request_exports_buffered_spans() {
    for (outcome, expected) in [
        (Outcome::Ok, &[][..]),
        (Outcome::Failed, &[("ended", SpanStatus::Unset), ("open", SpanStatus::Unset)]),
        (
            Outcome::Ended("unreachable"),
            &[("ended", SpanStatus::Unset), ("open", SpanStatus::Error("unreachable".into()))],
        ),
    ] {
        let (mut request, sink, _) = request(Recording::default());
        assert!(request.start(span("ended", 1, 0), NOW));
        assert!(request.start(span("open", 2, 0), NOW));
        request.set_attribute(id(2), attributes("a", Value::Int(1)));
        request.end(id(1), NOW + 1);
        assert_eq!(sink.take_spans(), []);
        request.finish(outcome, Duration::ZERO, NOW + 9);
        let spans = sink.take_spans();
        let found: Vec<_> = spans.iter().map(|span| (&*span.name, span.status.clone())).collect();
        assert_eq!(found, expected);
        if let Some(open) = spans.get(1) {
            assert_eq!((open.end, &open.attributes[0]), (NOW + 9, &field("a", FieldValue::Signed(1))));
        }
    }
    // One that is sampled and open is exported in any case.
    let (mut request, sink, _) = request(Recording::default());
    request.start(span("sampled", 1, 1), NOW);
    request.finish(Outcome::Ok, Duration::ZERO, NOW + 3);
    assert_eq!(sink.take_spans()[0].end, NOW + 3);
    // A level that hides spans holds them back.
    let (mut request, sink, _) = self::request(Recording { export: "warn".parse().unwrap(), ..Recording::default() });
    request.start(span("sampled", 1, 1), NOW);
    request.end(id(1), NOW);
    assert_eq!(sink.take_spans(), []);
    request.finish(Outcome::Failed, Duration::ZERO, NOW);
    assert_eq!(sink.take_spans().len(), 1);
}

#[test]
fn buffered_logs_keep_order_and_bound() {
    let (mut request, sink, registry) = request(Recording::default());
    let message = "x".repeat(limits::RECORD_TEXT);
    for n in 0..100 {
        request.log(log(Level::Debug, Some(&n.to_string()), &message), NOW);
    }
    request.finish(Outcome::Failed, Duration::ZERO, NOW);
    let logs: Vec<LogRecord> = sink.logs().into_iter().filter(|log| &*log.target != "access").collect();
    let targets: Vec<usize> = logs.iter().map(|log| log.target.parse().unwrap()).collect();
    assert!(logs.len() < 40 && logs.iter().map(LogRecord::size).sum::<usize>() <= limits::TAIL_BUFFER_BYTES);
    assert_eq!(targets, (100 - logs.len()..100).collect::<Vec<_>>());
    assert_eq!(dropped(&registry), [format!("\"records held_back\"}} {}", 100 - logs.len())]);
}

#[test]
fn long_texts_are_truncated() {
    let (mut request, sink, registry) = request(Recording::default());
    let huge = "é".repeat(1 << 19);
    let mut many = Attributes::default();
    for _ in 0..limits::ATTRIBUTES + 3 {
        many.push(&huge, Value::Int(1));
    }
    many.drop_more(1 << 20);
    request.log(Log { attributes: many.clone(), ..log(Level::Info, Some(&huge), &huge) }, NOW);
    let record = sink.take_logs().pop().unwrap();
    assert!(record.message.ends_with("é\u{2026}") && record.message.len() <= limits::RECORD_TEXT);
    assert!(record.target.len() <= limits::RECORD_NAME);
    assert_eq!(record.fields.len(), limits::ATTRIBUTES);
    assert_eq!(dropped(&registry), ["\"records attribute_limit\"} 1048579"]);

    assert!(request.start(NewSpan { attributes: many.clone(), ..span(&huge, 1, 1) }, NOW));
    for _ in 0..limits::SPAN_EVENTS + 2 {
        request.add_event(id(1), &huge, Attributes::default(), NOW);
        request.add_link(id(1), Some(context(3, 4, 0)), Attributes::default());
    }
    request.set_status(id(1), Some(&huge));
    request.end(id(1), NOW);
    let [found] = &sink.take_spans()[..] else { panic!("one span") };
    assert!(found.name.len() <= limits::RECORD_NAME);
    // The truncated keys are equal.
    assert_eq!((found.attributes.len(), found.events.len(), found.links.len()), (1, 128, 128));
    assert_eq!(found.dropped, 3 + (1 << 20) + 2 + 2);
    let SpanStatus::Error(reason) = &found.status else { panic!("an error") };
    assert!(reason.len() <= limits::RECORD_TEXT);
}

#[test]
fn open_spans_are_bounded() {
    let (mut request, sink, registry) = request(Recording::default());
    for n in 1..=limits::OPEN_SPANS as u64 {
        assert!(request.start(span("one", n, 1), NOW));
    }
    assert!(!request.start(span("one more", 5000, 1), NOW));
    assert_eq!(dropped(&registry), ["\"spans span_limit\"} 1"]);
    let text = "x".repeat(limits::RECORD_TEXT);
    let mut set = 0;
    for n in 1..=limits::OPEN_SPANS as u64 {
        request.set_attribute(id(n), attributes("text", Value::Text(&text)));
        set += limits::RECORD_TEXT;
    }
    assert!(set > limits::OPEN_SPAN_BYTES);
    request.end(id(1), NOW);
    // The bytes of the first span are free again.
    request.set_attribute(id(1024), attributes("text", Value::Text(&text[1..])));
    request.finish(Outcome::Ok, Duration::ZERO, NOW);
    let spans = sink.take_spans();
    assert_eq!(spans.len(), limits::OPEN_SPANS);
    let (with, without): (Vec<_>, Vec<_>) = spans.iter().partition(|span| !span.attributes.is_empty());
    assert!(with.iter().map(|span| span.size()).sum::<usize>() < limits::OPEN_SPAN_BYTES + 200 * limits::OPEN_SPANS);
    assert!(without.len() > 400 && without.iter().all(|span| span.dropped == 1), "{}", without.len());
    let last = spans.iter().find(|span| span.context.span_id == id(1024)).unwrap();
    assert_eq!((last.attributes.len(), last.dropped), (1, 1));
}
