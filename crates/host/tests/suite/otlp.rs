//! Logs, spans and metrics in the OpenTelemetry protocol, decoded with the protocol's own types.

mod metric;

use std::fmt::Debug;
use std::sync::Arc;

use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use wasmetry_host::Identity;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use wasmetry_host::encode::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use wasmetry_host::encode::otlp::proto::common::v1::{KeyValue, any_value::Value};
use wasmetry_host::encode::otlp::proto::logs::v1::LogRecord as ProtoLog;
use wasmetry_host::encode::otlp::proto::trace::v1::Span;
use wasmetry_host::encode::otlp::{self, Encoding, Process};
use wasmetry_host::record::{
    Entry, FieldValue, Level, LogRecord, Source, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus,
};

use crate::json_line::{TIME, context, entry, field, log, text};

fn span() -> SpanRecord {
    SpanRecord {
        context: context(0xabc, 0x123, 1),
        parent: SpanId::new(0x77),
        is_parent_remote: false,
        trace_state: "vendor=1".into(),
        name: "load cart".into(),
        kind: SpanKind::Internal,
        start: TIME,
        end: TIME + 5_000,
        attributes: vec![field("user", FieldValue::Unsigned(7))],
        events: vec![SpanEvent {
            time: TIME + 1,
            name: "hit".into(),
            attributes: vec![field("n", FieldValue::Signed(-1))],
        }],
        links: vec![SpanLink { context: context(0xdef, 0x456, 0), attributes: vec![field("why", text("batch"))] }],
        status: SpanStatus::Unset,
        dropped: 0,
        target: "shop::cart".into(),
        request: None,
        is_slow: false,
    }
}

const ENCODINGS: [Encoding; 2] = [Encoding::Protobuf, Encoding::Json];

/// Encodes a message, and decodes it as a receiver does.
fn through<M>(encoding: Encoding, message: M) -> M
where
    M: Message + Default + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = encoding.encode(&message);
    let back = match encoding {
        Encoding::Protobuf => M::decode(bytes.as_slice()).unwrap(),
        Encoding::Json => serde_json::from_slice(&bytes).unwrap(),
    };
    assert_eq!(back, message, "{}", String::from_utf8_lossy(&bytes));
    back
}

fn logs(entries: &[Entry<LogRecord>], encoding: Encoding) -> ExportLogsServiceRequest {
    through(encoding, otlp::logs(entries, &Process::default(), encoding))
}

fn traces(entries: &[Entry<SpanRecord>], encoding: Encoding) -> ExportTraceServiceRequest {
    through(encoding, otlp::traces(entries, &Process::default(), encoding))
}

fn one_log(record: LogRecord, encoding: Encoding) -> ProtoLog {
    logs(&[entry(record)], encoding).resource_logs[0].scope_logs[0].log_records[0].clone()
}

fn one_span(record: SpanRecord, encoding: Encoding) -> Span {
    traces(&[entry(record)], encoding).resource_spans[0].scope_spans[0].spans[0].clone()
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, Value)> {
    let value = |attribute: &KeyValue| attribute.value.clone().unwrap().value.unwrap();
    attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

fn string(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

#[test]
fn log_record_is_complete() {
    for encoding in ENCODINGS {
        let mut record = log();
        record.trace = Some(context(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, 3));
        record.source = Some(Source { file: "src/cart.rs".into(), line: 12 });
        record.fields = vec![
            ("items".into(), FieldValue::Signed(-3)),
            ("small".into(), FieldValue::Unsigned(i64::MAX as u64)),
            ("large".into(), FieldValue::Unsigned(u64::MAX)),
            ("ms".into(), FieldValue::Float(1.5)),
            ("ok".into(), FieldValue::Bool(false)),
            ("user".into(), text("Zoë")),
        ];
        let found = one_log(record, encoding);
        assert_eq!((found.time_unix_nano, found.observed_time_unix_nano), (TIME, TIME + 1));
        assert_eq!((found.severity_number, found.severity_text.as_str()), (9, "INFO"));
        assert_eq!(found.body.unwrap().value, Some(string("cart loaded")));
        assert_eq!(found.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736u128.to_be_bytes());
        assert_eq!((found.span_id, found.flags), (0x00f0_67aa_0ba9_02b7u64.to_be_bytes().to_vec(), 3));
        assert_eq!(found.dropped_attributes_count, 0);
        assert_eq!(
            pairs(&found.attributes),
            [
                ("items", Value::IntValue(-3)),
                ("small", Value::IntValue(i64::MAX)),
                ("large", string("18446744073709551615")),
                ("ms", Value::DoubleValue(1.5)),
                ("ok", Value::BoolValue(false)),
                ("user", string("Zoë")),
                ("code.file.path", string("src/cart.rs")),
                ("code.line.number", Value::IntValue(12)),
            ]
        );
        let bare = one_log(log(), encoding);
        assert_eq!((bare.trace_id.len(), bare.span_id.len(), bare.flags), (0, 0, 0));
    }
}

#[test]
fn levels_map_to_severities() {
    let expected = [(Level::Error, 17), (Level::Warn, 13), (Level::Info, 9), (Level::Debug, 5), (Level::Trace, 1)];
    for (level, number) in expected {
        assert_eq!(one_log(LogRecord { level, ..log() }, Encoding::Protobuf).severity_number, number);
    }
    assert_eq!(one_log(LogRecord { level: Level::Off, ..log() }, Encoding::Protobuf).severity_number, 0);
}

#[test]
fn keys_are_unique_and_never_empty() {
    let fields = vec![
        ("a".into(), FieldValue::Signed(1)),
        ("".into(), FieldValue::Signed(2)),
        ("a".into(), FieldValue::Signed(3)),
        ("code.line.number".into(), text("mine")),
    ];
    let source = Some(Source { file: "x.rs".into(), line: 1 });
    let found = one_log(LogRecord { fields: fields.clone(), source, ..log() }, Encoding::Json);
    let expected =
        [("a", Value::IntValue(3)), ("code.line.number", string("mine")), ("code.file.path", string("x.rs"))];
    assert_eq!(pairs(&found.attributes), expected);
    assert_eq!(found.dropped_attributes_count, 1);
    let found = one_span(SpanRecord { attributes: fields, dropped: 4, ..span() }, Encoding::Json);
    assert_eq!(pairs(&found.attributes), expected[..2]);
    assert_eq!(found.dropped_attributes_count, 5);
}

#[test]
fn nonfinite_numbers_are_strings_in_json() {
    for (number, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
        let record = LogRecord { fields: vec![("x".into(), FieldValue::Float(number))], ..log() };
        let found = one_log(record.clone(), Encoding::Json);
        assert_eq!(pairs(&found.attributes), [("x", string(name))]);
        let request = otlp::logs(&[entry(record)], &Process::default(), Encoding::Protobuf);
        let bytes = Encoding::Protobuf.encode(&request);
        let back = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
        let attributes = &back.resource_logs[0].scope_logs[0].log_records[0].attributes;
        let Value::DoubleValue(found) = pairs(attributes)[0].1 else { panic!("{attributes:?}") };
        assert_eq!(found.to_bits(), number.to_bits());
    }
}

#[test]
fn span_is_complete() {
    for encoding in ENCODINGS {
        let found = one_span(span(), encoding);
        assert_eq!(found.trace_id, 0xabcu128.to_be_bytes());
        assert_eq!(found.span_id, 0x123u64.to_be_bytes());
        assert_eq!(found.parent_span_id, 0x77u64.to_be_bytes());
        assert_eq!(found.trace_state, "vendor=1");
        assert_eq!(found.name, "load cart");
        assert_eq!((found.start_time_unix_nano, found.end_time_unix_nano), (TIME, TIME + 5_000));
        assert_eq!(pairs(&found.attributes), [("user", Value::IntValue(7))]);
        let [event] = &found.events[..] else { panic!("{found:?}") };
        assert_eq!((event.time_unix_nano, event.name.as_str()), (TIME + 1, "hit"));
        assert_eq!(pairs(&event.attributes), [("n", Value::IntValue(-1))]);
        let [link] = &found.links[..] else { panic!("{found:?}") };
        assert_eq!(
            (&link.trace_id[..], &link.span_id[..]),
            (&0xdefu128.to_be_bytes()[..], &0x456u64.to_be_bytes()[..])
        );
        assert_eq!(pairs(&link.attributes), [("why", string("batch"))]);
        assert_eq!(one_span(SpanRecord { parent: None, ..span() }, encoding).parent_span_id, [0; 0]);
        assert_eq!(one_span(SpanRecord { name: "".into(), ..span() }, encoding).name, "unknown");
        let backwards = one_span(SpanRecord { end: TIME - 1, ..span() }, encoding);
        assert_eq!(backwards.end_time_unix_nano, backwards.start_time_unix_nano);
    }
}

#[test]
fn kinds_statuses_and_flags_are_mapped() {
    let kinds = [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    for (kind, number) in kinds.into_iter().zip(1..) {
        assert_eq!(one_span(SpanRecord { kind, ..span() }, Encoding::Json).kind, number);
    }
    let statuses = [SpanStatus::Unset, SpanStatus::Ok, SpanStatus::Error("out of memory".into())];
    for (status, expected) in statuses.into_iter().zip([(0, ""), (1, ""), (2, "out of memory")]) {
        let found = one_span(SpanRecord { status, ..span() }, Encoding::Json).status.unwrap();
        assert_eq!((found.code, found.message.as_str()), expected);
    }
    for (flags, is_parent_remote, expected) in [(0, false, 0x100), (1, false, 0x101), (3, true, 0x303)] {
        let record = SpanRecord { context: context(1, 2, flags), is_parent_remote, ..span() };
        assert_eq!(one_span(record, Encoding::Protobuf).flags, expected);
    }
}

#[test]
fn component_and_stream_have_a_resource() {
    let shop = Arc::new(Identity::new("shop").with_version("1"));
    let other = Arc::new(Identity::new("other").with_tenant("acme"));
    let with = |identity: &Arc<Identity>, target: &str, is_audit, message: &str| {
        Entry::new(identity.clone(), LogRecord { target: target.into(), message: message.into(), is_audit, ..log() })
    };
    let entries = [
        with(&shop, "a", false, "1"),
        with(&other, "a", false, "2"),
        with(&shop, "b", false, "3"),
        with(&shop, "a", true, "4"),
        with(&shop, "a", false, "5"),
        with(&shop, "", false, "6"),
    ];
    let request = logs(&entries, Encoding::Protobuf);
    let mut found = Vec::new();
    for resource in &request.resource_logs {
        let attributes = pairs(&resource.resource.as_ref().unwrap().attributes);
        let scopes: Vec<_> = resource
            .scope_logs
            .iter()
            .map(|scope| {
                let message = |log: &ProtoLog| match log.body.clone().unwrap().value {
                    Some(Value::StringValue(text)) => text,
                    other => panic!("{other:?}"),
                };
                let messages: Vec<_> = scope.log_records.iter().map(message).collect();
                (scope.scope.as_ref().unwrap().name.clone(), messages.concat())
            })
            .collect();
        let attributes: Vec<_> = attributes
            .into_iter()
            .map(|(key, value)| match value {
                Value::StringValue(text) => format!("{key}={text}"),
                other => panic!("{other:?}"),
            })
            .collect();
        found.push((attributes.join(" "), scopes));
    }
    let scope = |name: &str, messages: &str| (name.to_owned(), messages.to_owned());
    assert_eq!(
        found,
        [
            (
                "service.name=shop service.version=1 component=shop".to_owned(),
                vec![scope("a", "15"), scope("b", "3"), scope("wasmetry", "6")]
            ),
            ("service.name=other component=other tenant=acme".to_owned(), vec![scope("a", "2")]),
            ("service.name=shop service.version=1 component=shop stream=audit".to_owned(), vec![scope("a", "4")]),
        ]
    );
}

#[test]
fn process_attributes_are_in_every_resource() {
    let process = Process::default()
        .with_service_name("storefront")
        .with_attribute("deployment.environment.name", "test")
        .with_attribute("tenant", "forged")
        .with_attribute("", "no key")
        .with_attribute("service.name", "second");
    let resource = process.resource(&Identity::new("shop").with_tenant("acme"), false);
    assert_eq!(
        pairs(&resource.attributes),
        [
            ("service.name", string("storefront")),
            ("component", string("shop")),
            ("tenant", string("acme")),
            ("deployment.environment.name", string("test")),
        ]
    );
}

#[test]
fn json_follows_otlp_mapping() {
    let mut record = span();
    record.context = context(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c, 0xeee1_9b7e_c3c1_b174, 1);
    let request = otlp::traces(&[entry(record)], &Process::default(), Encoding::Json);
    let json: serde_json::Value = serde_json::from_slice(&Encoding::Json.encode(&request)).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "5b8efff798038103d269b633813fc60c", "hexadecimal, not base64");
    assert_eq!(span["spanId"], "eee19b7ec3c1b174");
    assert_eq!(span["startTimeUnixNano"], TIME.to_string(), "64-bit integers are texts");
    assert_eq!(span["kind"], 1, "enums are numbers");
    assert_eq!(span["attributes"][0], serde_json::json!({"key": "user", "value": {"intValue": "7"}}));
    let nulls = serde_json::to_string(&json).unwrap().matches("null").count();
    assert_eq!(nulls, 0, "a message that is not there has no key: {json}");
}
