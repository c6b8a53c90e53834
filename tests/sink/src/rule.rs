//! The rules of OTLP and Loki that a client can break.
//!
//! Sources: the comments of OTLP's `.proto` files and the specification's "JSON Protobuf Encoding";
//! Loki's HTTP API, "Ingest logs", and the defaults of its `limits_config`.

macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use require;

mod loki;
mod metric;

use std::collections::HashSet;

use serde_json::Value as Json;

use crate::Request;
use crate::proto::collector::logs::v1::ExportLogsServiceRequest;
use crate::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::proto::common::v1::{InstrumentationScope, KeyValue};
use crate::proto::resource::v1::Resource;

/// The checked value, or the rule that it breaks.
pub type Checked<T = ()> = Result<T, String>;

/// Checks a request.
///
/// # Errors
///
/// Returns the rule that the request breaks.
pub fn check(request: &Request) -> Checked {
    match request {
        Request::Logs(request) => logs(request),
        Request::Traces(request) => traces(request),
        Request::Metrics(request) => metric::check(request),
        Request::Loki(streams) => streams.iter().try_for_each(loki::check),
    }
}

fn logs(request: &ExportLogsServiceRequest) -> Checked {
    for resource in &request.resource_logs {
        check_resource(resource.resource.as_ref())?;
        for scope in &resource.scope_logs {
            check_scope(scope.scope.as_ref())?;
            require!(!scope.log_records.is_empty(), "a scope without records");
            for log in &scope.log_records {
                check_attributes(&log.attributes)?;
                // A line that a guest printed has no severity.
                let is_printed = log.attributes.iter().any(|attribute| attribute.key == "log.iostream");
                let least = if is_printed { 0 } else { 1 };
                require!((least..=24).contains(&log.severity_number), "severity {}", log.severity_number);
                require!(is_printed || !log.severity_text.is_empty(), "no severity text");
                require!(log.time_unix_nano > 0 && log.observed_time_unix_nano > 0, "no time");
                require!(log.body.as_ref().is_some_and(|body| body.value.is_some()), "no body");
                require!(log.trace_id.is_empty() || is_id(&log.trace_id, 16), "trace id {:?}", log.trace_id);
                require!(log.span_id.is_empty() || is_id(&log.span_id, 8), "span id {:?}", log.span_id);
                require!(log.trace_id.is_empty() == log.span_id.is_empty(), "half a context");
                require!(log.flags <= 0xff, "flags {:x}", log.flags);
            }
        }
    }
    Ok(())
}

fn traces(request: &ExportTraceServiceRequest) -> Checked {
    for resource in &request.resource_spans {
        check_resource(resource.resource.as_ref())?;
        for scope in &resource.scope_spans {
            check_scope(scope.scope.as_ref())?;
            require!(!scope.spans.is_empty(), "a scope without spans");
            for span in &scope.spans {
                check_attributes(&span.attributes)?;
                let parent = &span.parent_span_id;
                require!(is_id(&span.trace_id, 16), "trace id {:?}", span.trace_id);
                require!(is_id(&span.span_id, 8), "span id {:?}", span.span_id);
                require!(parent.is_empty() || is_id(parent, 8), "parent {parent:?}");
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
            }
        }
    }
    Ok(())
}

fn is_id(id: &[u8], len: usize) -> bool {
    id.len() == len && id.iter().any(|byte| *byte != 0)
}

fn check_resource(resource: Option<&Resource>) -> Checked {
    let resource = resource.ok_or("no resource")?;
    check_attributes(&resource.attributes)?;
    let name = crate::text(&resource.attributes, "service.name");
    require!(name.is_some_and(|name| !name.is_empty()), "no service.name in {resource:?}");
    Ok(())
}

fn check_scope(scope: Option<&InstrumentationScope>) -> Checked {
    check_attributes(&scope.ok_or("no scope")?.attributes)
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

/// Checks the rules in which OTLP's JSON differs from Protobuf's, by the names of the keys.
pub(crate) fn json(value: &Json) -> Checked {
    match value {
        Json::Object(members) => {
            for (key, value) in members {
                require!(!value.is_null(), "{key} is null");
                match key.as_str() {
                    "traceId" => require!(is_hex(value, 32), "{key} {value}"),
                    "spanId" => require!(is_hex(value, 16), "{key} {value}"),
                    "parentSpanId" => require!(is_hex(value, 16), "{key} {value}"),
                    "intValue" | "asInt" => {
                        require!(value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{key} {value}")
                    }
                    "count" | "zeroCount" => require!(is_u64(value), "{key} {value}"),
                    "bucketCounts" => {
                        require!(value.as_array().is_some_and(|counts| counts.iter().all(is_u64)), "{key} {value}")
                    }
                    key if key.ends_with("UnixNano") => require!(is_u64(value), "{key} {value}"),
                    "kind" | "code" | "severityNumber" | "aggregationTemporality" => {
                        require!(value.is_u64(), "{key} {value}")
                    }
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

/// Returns `true` if a value is a 64-bit integer as a text, which is its form in Protobuf's JSON.
fn is_u64(value: &Json) -> bool {
    value.as_str().is_some_and(|text| text.parse::<u64>().is_ok())
}

fn is_hex(value: &Json, digits: usize) -> bool {
    value.as_str().is_some_and(|text| {
        text.is_empty() || text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
