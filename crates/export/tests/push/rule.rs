//! What OTLP forbids, as far as a client can do it wrong.
//!
//! Source: the comments of the protocol's `.proto` files, and the specification's "JSON Protobuf Encoding".

use std::collections::HashSet;

use serde_json::Value as Json;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use wasmetry_host::encode::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use wasmetry_host::encode::otlp::proto::common::v1::{InstrumentationScope, KeyValue, any_value::Value};
use wasmetry_host::encode::otlp::proto::resource::v1::Resource;

use crate::record::NUMBER;

/// One record that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) number: u64,
    pub(crate) is_audit: bool,
}

macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

pub(crate) mod loki;

type Checked<T = ()> = Result<T, String>;

/// Checks a request with logs, and returns what it carries.
pub(crate) fn logs(request: &ExportLogsServiceRequest) -> Checked<Vec<Arrived>> {
    let mut arrived = Vec::new();
    for resource in &request.resource_logs {
        let is_audit = check_resource(resource.resource.as_ref())?;
        for scope in &resource.scope_logs {
            check_scope(scope.scope.as_ref())?;
            require!(!scope.log_records.is_empty(), "a scope without records");
            for log in &scope.log_records {
                let number = number(&log.attributes)?;
                require!((1..=24).contains(&log.severity_number), "severity {}", log.severity_number);
                require!(!log.severity_text.is_empty(), "no severity text");
                require!(log.time_unix_nano > 0 && log.observed_time_unix_nano > 0, "no time");
                require!(log.body.as_ref().is_some_and(|body| body.value.is_some()), "no body");
                require!(log.trace_id.is_empty() || is_id(&log.trace_id, 16), "trace id {:?}", log.trace_id);
                require!(log.span_id.is_empty() || is_id(&log.span_id, 8), "span id {:?}", log.span_id);
                require!(log.trace_id.is_empty() == log.span_id.is_empty(), "half a context");
                require!(log.flags <= 0xff, "flags {:x}", log.flags);
                arrived.push(Arrived { number, is_audit });
            }
        }
    }
    Ok(arrived)
}

/// Checks a request with spans, and returns what it carries.
pub(crate) fn traces(request: &ExportTraceServiceRequest) -> Checked<Vec<Arrived>> {
    let mut arrived = Vec::new();
    for resource in &request.resource_spans {
        check_resource(resource.resource.as_ref())?;
        for scope in &resource.scope_spans {
            check_scope(scope.scope.as_ref())?;
            require!(!scope.spans.is_empty(), "a scope without spans");
            for span in &scope.spans {
                let number = number(&span.attributes)?;
                require!(is_id(&span.trace_id, 16), "trace id {:?}", span.trace_id);
                require!(is_id(&span.span_id, 8), "span id {:?}", span.span_id);
                require!(
                    span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8),
                    "parent {:?}",
                    span.parent_span_id
                );
                require!(!span.name.is_empty(), "no name");
                require!((1..=5).contains(&span.kind), "kind {}", span.kind);
                require!(span.start_time_unix_nano > 0, "no start");
                require!(span.end_time_unix_nano >= span.start_time_unix_nano, "it ends before it starts");
                require!(span.flags & !0x3ff == 0, "flags {:x}", span.flags);
                require!(span.flags & 0x300 != 0x200, "remote, and not said whether that is known");
                let status = span.status.clone().unwrap_or_default();
                require!((0..=2).contains(&status.code), "status {}", status.code);
                require!(status.code == 2 || status.message.is_empty(), "a description without an error");
                for event in &span.events {
                    require!(!event.name.is_empty() && event.time_unix_nano > 0, "event {event:?}");
                    check_attributes(&event.attributes)?;
                }
                for link in &span.links {
                    require!(is_id(&link.trace_id, 16) && is_id(&link.span_id, 8), "link {link:?}");
                    check_attributes(&link.attributes)?;
                }
                arrived.push(Arrived { number, is_audit: false });
            }
        }
    }
    Ok(arrived)
}

fn is_id(id: &[u8], len: usize) -> bool {
    id.len() == len && id.iter().any(|byte| *byte != 0)
}

/// Returns whether it is that of the audit stream.
fn check_resource(resource: Option<&Resource>) -> Checked<bool> {
    let resource = resource.ok_or("no resource")?;
    check_attributes(&resource.attributes)?;
    for (key, expected) in [("service.name", "shop"), ("service.version", "1.2"), ("tenant", "acme")] {
        require!(text(&resource.attributes, key) == Some(expected), "{key} in {resource:?}");
    }
    let stream = text(&resource.attributes, "stream");
    require!(matches!(stream, None | Some("audit")), "stream {stream:?}");
    Ok(stream.is_some())
}

fn check_scope(scope: Option<&InstrumentationScope>) -> Checked {
    let scope = scope.ok_or("no scope")?;
    require!(scope.name == "shop::cart", "scope {scope:?}");
    check_attributes(&scope.attributes)
}

fn check_attributes(attributes: &[KeyValue]) -> Checked {
    let mut keys = HashSet::new();
    for attribute in attributes {
        require!(!attribute.key.is_empty(), "an attribute without a key");
        require!(keys.insert(&attribute.key), "the key {} twice", attribute.key);
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        require!(value.is_some(), "the attribute {} without a value", attribute.key);
    }
    Ok(())
}

fn number(attributes: &[KeyValue]) -> Checked<u64> {
    check_attributes(attributes)?;
    let found = attributes.iter().find(|attribute| attribute.key == NUMBER).and_then(|found| found.value.clone());
    match found.and_then(|value| value.value) {
        Some(Value::IntValue(number)) if number >= 0 => Ok(number as u64),
        other => Err(format!("number {other:?}")),
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Checks what makes OTLP's JSON another one than Protobuf's, by the keys' names.
pub(crate) fn json(value: &Json) -> Checked {
    match value {
        Json::Object(members) => {
            for (key, value) in members {
                require!(!value.is_null(), "{key} is null");
                match key.as_str() {
                    "traceId" => require!(is_hex(value, 32), "{key} {value}"),
                    "spanId" => require!(is_hex(value, 16), "{key} {value}"),
                    "parentSpanId" => require!(is_hex(value, 16), "{key} {value}"),
                    "intValue" => {
                        require!(value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{key} {value}")
                    }
                    key if key.ends_with("UnixNano") => {
                        require!(value.as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{key} {value}");
                    }
                    "kind" | "code" | "severityNumber" => require!(value.is_u64(), "{key} {value}"),
                    _ => {}
                }
                require!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key} is not in lowerCamelCase");
                json(value)?;
            }
            Ok(())
        }
        Json::Array(values) => values.iter().try_for_each(json),
        _ => Ok(()),
    }
}

fn is_hex(value: &Json, digits: usize) -> bool {
    value.as_str().is_some_and(|text| {
        text.is_empty() || text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
