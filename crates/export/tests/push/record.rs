//! Records to send, each with a number by which it is known again.

use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::{
    FieldValue, Level, LogRecord, Source, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceContext,
    TraceId,
};

/// The attribute that has a record's number.
pub(crate) const NUMBER: &str = "number";

const TIME: u64 = 1_700_000_000_000_000_000;

pub(crate) fn shop() -> Arc<Identity> {
    Arc::new(Identity::new("shop").with_version("1.2").with_tenant("acme"))
}

fn context(number: u64) -> TraceContext {
    TraceContext {
        trace_id: TraceId::new(u128::from(number) << 64 | 7).unwrap(),
        span_id: SpanId::new(number + 1).unwrap(),
        flags: 1,
    }
}

/// A small log record.
pub(crate) fn log(number: u64) -> LogRecord {
    LogRecord {
        time: TIME + number,
        observed: TIME + number + 1,
        level: Level::Info,
        target: "shop::cart".into(),
        message: "cart loaded".into(),
        fields: vec![(NUMBER.into(), FieldValue::Unsigned(number))],
        source: None,
        trace: None,
        is_audit: false,
        stream: None,
    }
}

/// A log record that is never dropped before others.
pub(crate) fn audit(number: u64) -> LogRecord {
    LogRecord { is_audit: true, ..log(number) }
}

/// A log record that has everything that one can have, hostile texts included.
pub(crate) fn full_log(number: u64) -> LogRecord {
    let mut record = log(number);
    record.level = Level::Error;
    record.message = "line\none \u{1b}[31m \"quoted\" 東京".into();
    record.trace = Some(context(number));
    record.source = Some(Source { file: "src/cart.rs".into(), line: 12 });
    record.fields.extend([
        ("nan".into(), FieldValue::Float(f64::NAN)),
        ("half".into(), FieldValue::Float(0.5)),
        ("low".into(), FieldValue::Signed(i64::MIN)),
        ("high".into(), FieldValue::Unsigned(u64::MAX)),
        ("ok".into(), FieldValue::Bool(true)),
        ("text".into(), FieldValue::Text("\0\u{2028}".into())),
        ("text".into(), FieldValue::Text("again".into())),
        ("".into(), FieldValue::Signed(0)),
        ("level".into(), FieldValue::Text("forged".into())),
        ("dotted.key".into(), FieldValue::Text("a".into())),
        ("dotted_key".into(), FieldValue::Text("b".into())),
        ("9 lives".into(), FieldValue::Bool(false)),
    ]);
    record
}

/// A small span.
pub(crate) fn span(number: u64) -> SpanRecord {
    SpanRecord {
        context: context(number),
        parent: None,
        is_parent_remote: false,
        trace_state: "".into(),
        name: "load cart".into(),
        kind: SpanKind::Internal,
        start: TIME + number,
        end: TIME + number + 1000,
        attributes: vec![(NUMBER.into(), FieldValue::Unsigned(number))],
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        dropped: 0,
        target: "shop::cart".into(),
        request: None,
        is_slow: false,
    }
}

/// A span that has everything that one can have.
pub(crate) fn full_span(number: u64) -> SpanRecord {
    let mut record = span(number);
    record.parent = SpanId::new(9);
    record.is_parent_remote = true;
    record.trace_state = "vendor=value".into();
    record.kind = SpanKind::Server;
    record.attributes.extend([
        ("nan".into(), FieldValue::Float(f64::NEG_INFINITY)),
        ("twice".into(), FieldValue::Signed(1)),
        ("twice".into(), FieldValue::Signed(2)),
        ("".into(), FieldValue::Signed(0)),
    ]);
    record.events = vec![SpanEvent {
        time: TIME + number + 1,
        name: "exception".into(),
        attributes: vec![("exception.message".into(), FieldValue::Text("out of\nmemory".into()))],
    }];
    record.links = vec![SpanLink { context: context(number + 1), attributes: Vec::new() }];
    record.status = SpanStatus::Error("out of memory".into());
    record.dropped = 2;
    record
}
