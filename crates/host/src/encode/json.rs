//! JSON lines: one object for each log record, for a log shipper.
//!
//! | key | value |
//! |---|---|
//! | `timestamp` | RFC 3339 in UTC, with nanoseconds |
//! | `level` | `error`, `warn`, `info`, `debug` or `trace` |
//! | `message` | the message |
//! | `stream`, `log` | instead, for a line that the guest printed: `stdout` or `stderr`; the line |
//! | `service`, `version`, `tenant` | the component; the last two may be absent |
//! | `target` | the target, if there is one |
//! | `trace_id`, `span_id` | the span, if there is one: 32 and 16 lower-case hexadecimal digits |
//! | `code.file.path`, `code.line.number` | the place in the source, if the guest declares it |
//! | `audit` | `true` in an audit record, else absent |
//! | any other | the record's own fields |
//!
//! The keys of the table are reserved, also when they are absent, so that a guest cannot imitate
//! another one: a field with such a key is renamed `exported_<key>`, as a guest's label with a key
//! of the host's is. Of several fields with one key, the last one counts. NaN and the infinities,
//! which JSON cannot express, are the texts `NaN`, `Infinity` and `-Infinity`, as in Protobuf's
//! JSON.
//!
//! A record is always one line. All control characters are escaped, those above 127 too, so that a
//! record cannot control a terminal. The keys `stream` and `log` are those of Docker's `json-file`
//! driver.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::escape::json_string;
use super::field;
use crate::Identity;
use crate::record::{Entry, FieldValue, LogRecord};

/// The media type of the lines.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// The keys that no field can have.
pub const RESERVED: [&str; 14] = [
    "timestamp",
    "level",
    "message",
    "stream",
    "log",
    "service",
    "version",
    "tenant",
    "target",
    "trace_id",
    "span_id",
    "code.file.path",
    "code.line.number",
    "audit",
];

/// Encodes records, one line for each.
///
/// ```
/// use std::sync::Arc;
/// use wasmetry_host::{Identity, encode, record::{Entry, FieldValue, Level, LogRecord}};
///
/// let record = LogRecord {
///     time: 1_700_000_000_123_456_789,
///     observed: 1_700_000_000_123_999_999,
///     level: Level::Info,
///     target: "shop::cart".into(),
///     message: "cart loaded".into(),
///     fields: vec![
///         ("items".into(), FieldValue::Signed(3)),
///         ("level".into(), FieldValue::Text("gold".into())),
///     ],
///     source: None,
///     trace: None,
///     is_audit: false,
///     stream: None,
/// };
/// let entry = Entry::new(Arc::new(Identity::new("shop").with_version("1.2")), record);
/// assert_eq!(
///     encode::json::encode(&[entry]),
///     [
///         r#"{"timestamp":"2023-11-14T22:13:20.123456789Z","level":"info","#,
///         r#""message":"cart loaded","service":"shop","version":"1.2","#,
///         r#""target":"shop::cart","items":3,"exported_level":"gold"}"#,
///         "\n"
///     ]
///     .concat()
/// );
/// ```
pub fn encode(entries: &[Entry<LogRecord>]) -> String {
    let mut out = String::new();
    for entry in entries {
        encode_into(&entry.identity, &entry.record, &mut out);
    }
    out
}

/// Appends one record to `out`, with its line break.
pub fn encode_into(identity: &Identity, record: &LogRecord, out: &mut String) {
    // Writing to a string cannot fail.
    out.push_str("{\"timestamp\":\"");
    let _ = write!(out, "{}", humantime::format_rfc3339_nanos(time(record.time)));
    match record.stream {
        Some(stream) => out.extend(["\",\"stream\":\"", stream.name(), "\",\"log\":"]),
        None => out.extend(["\",\"level\":\"", field::level(record.level), "\",\"message\":"]),
    }
    json_string(&record.message, out);
    let target = if record.stream.is_some() { "" } else { &record.target };
    let optional = [
        ("service", identity.component()),
        ("version", identity.version()),
        ("tenant", identity.tenant()),
        ("target", target),
    ];
    for (key, text) in optional.into_iter().filter(|(_, text)| !text.is_empty()) {
        member(key, out);
        json_string(text, out);
    }
    if let Some(context) = record.trace {
        let _ = write!(out, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", context.trace_id, context.span_id);
    }
    if let Some(source) = &record.source {
        member("code.file.path", out);
        json_string(&source.file, out);
        let _ = write!(out, ",\"code.line.number\":{}", source.line);
    }
    if record.is_audit {
        out.push_str(",\"audit\":true");
    }
    let fields = field::unique(&record.fields);
    for (key, (_, field)) in field::keys(&fields, |key| RESERVED.contains(&key)).iter().zip(&fields) {
        member(key, out);
        value(field, out);
    }
    out.push_str("}\n");
}

/// The time of a record. It is before the year 2555, so RFC 3339 can express it.
pub(super) fn time(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn member(key: &str, out: &mut String) {
    out.push(',');
    json_string(key, out);
    out.push(':');
}

fn value(value: &FieldValue, out: &mut String) {
    let _ = match value {
        FieldValue::Signed(value) => write!(out, "{value}"),
        FieldValue::Unsigned(value) => write!(out, "{value}"),
        // The shortest form, possibly with an exponent, is valid JSON.
        FieldValue::Float(value) if value.is_finite() => write!(out, "{value:?}"),
        FieldValue::Float(value) => write!(out, "\"{}\"", not_finite(*value)),
        FieldValue::Bool(value) => write!(out, "{value}"),
        FieldValue::Text(value) => {
            json_string(value, out);
            Ok(())
        }
    };
}

/// The name of a number that JSON cannot express.
///
/// Source: Protocol Buffers, "ProtoJSON Format", float and double.
pub(super) fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}
