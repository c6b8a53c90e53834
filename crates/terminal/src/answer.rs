//! Reading the members of answers. A member that is absent is `None` or an empty text.

use serde_json::Value;

use crate::escape::{escape, escape_to};
use crate::{format, limits};

/// A text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A number. The API writes large integers and infinities as texts.
pub(crate) fn number(value: &Value, key: &str) -> Option<f64> {
    match &value[key] {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The entries of a list.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The name of a component with its tenant.
pub(crate) fn component(value: &Value) -> String {
    match (text(value, "component"), text(value, "tenant")) {
        (component, "") => escape_to(component, 256),
        (component, tenant) => format!("{}/{}", escape_to(tenant, 256), escape_to(component, 256)),
    }
}

/// The message of a log with its fields.
pub(crate) fn message(log: &Value) -> String {
    let mut message = escape_to(text(log, "message"), limits::TEXT);
    for field in list(log, "fields") {
        let key = escape_to(field[0].as_str().unwrap_or_default(), 256);
        let value = match &field[1] {
            Value::String(text) if text.chars().all(|char| char.is_alphanumeric() || "-_./:".contains(char)) => {
                escape_to(text, limits::TEXT)
            }
            Value::String(text) => format!("\"{}\"", escape_to(text, limits::TEXT)),
            value => value.to_string(),
        };
        message.push_str(&format!(" {key}={value}"));
    }
    message
}

/// The facts of a trace in one line, without its time and component.
pub(crate) fn trace(trace: &Value) -> String {
    let status = number(trace, "status").map_or_else(|| "-".to_owned(), |status| format!("{status:.0}"));
    let mut line = format!(
        "{} {status} {}",
        escape_to(text(trace, "name"), 512),
        format::duration(number(trace, "duration_seconds"))
    );
    for key in ["reason", "error"] {
        let value = text(trace, key);
        if !value.is_empty() {
            line.push_str(&format!(" {key}={}", escape(&format!("{:?}", escape_to(value, 512)))));
        }
    }
    line
}
