//! Grafana Loki's push API: log records in streams.
//!
//! A stream has these labels, and no guest can add another one: a label's values are known, and few.
//!
//! | label | value |
//! |---|---|
//! | `service_name` | the name of the service, if the process has one, else the component |
//! | `component`, `version`, `tenant` | as the labels of metrics; the last two only where there are any |
//! | `level` | `error`, `warn`, `info`, `debug` or `trace` |
//! | `stream` | `audit` for audit records, else absent |
//!
//! An entry's line is the record's message. Its structured metadata has what else there is: `trace_id`, `span_id`, `target`,
//! `code_file_path`, `code_line_number`, and the record's own fields. In a field's key, what cannot stand in a name becomes
//! `_`; a key that the host uses itself, or that another field has already, becomes `exported_<key>`.
//!
//! Loki keeps one of several entries of a stream that have the same time and line, and orders no others of the same time. So a
//! record that has the time of the one before it, or an earlier one, is given the next nanosecond.
//!
//! Source: Loki's HTTP API, "Ingest logs", and `pkg/push/push.proto`.

use std::collections::HashMap;
use std::fmt::Write;

use super::{field, json};
use crate::Identity;
use crate::limits::{LOKI_METADATA, LOKI_METADATA_BYTES};
use crate::record::{Entry, FieldValue, LogRecord};

/// The names that no field can have.
const RESERVED: [&str; 12] = [
    "service_name",
    "component",
    "version",
    "tenant",
    "level",
    "stream",
    "trace_id",
    "span_id",
    "target",
    "code_file_path",
    "code_line_number",
    "dropped_fields",
];

/// The body of a push in JSON.
///
/// ```
/// use std::sync::Arc;
/// use wasmetry_host::{Identity, encode::loki, record::{Entry, FieldValue, Level, LogRecord}};
///
/// let record = LogRecord {
///     time: 1_700_000_000_000_000_000,
///     observed: 1_700_000_000_000_000_000,
///     level: Level::Info,
///     target: "shop::cart".into(),
///     message: "cart loaded".into(),
///     fields: vec![("items".into(), FieldValue::Signed(3))],
///     source: None,
///     trace: None,
///     is_audit: false,
/// };
/// let entry = Entry::new(Arc::new(Identity::new("shop")), record);
/// assert_eq!(
///     loki::json(&[entry], None),
///     r#"{"streams":[{"stream":{"service_name":"shop","component":"shop","level":"info"},"values":["#.to_owned()
///         + r#"["1700000000000000000","cart loaded",{"target":"shop::cart","items":"3"}]]}]}"#
/// );
/// ```
pub fn json(entries: &[Entry<LogRecord>], service_name: Option<&str>) -> String {
    let mut out = "{\"streams\":[".to_owned();
    for (at, stream) in streams(entries, service_name).into_iter().enumerate() {
        out.push_str(if at == 0 { "{\"stream\":{" } else { ",{\"stream\":{" });
        pairs(&stream.labels, &mut out);
        out.push_str("},\"values\":[");
        for (at, line) in stream.lines.into_iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}[\"{}\",", if at == 0 { "" } else { "," }, line.time);
            json::string(&line.record.message, &mut out);
            out.push_str(",{");
            pairs(&metadata(line.record), &mut out);
            out.push_str("}]");
        }
        out.push_str("]}");
    }
    out.push_str("]}");
    out
}

/// The body of a push in Protocol Buffers, not compressed yet; Loki expects it in one block of Snappy.
#[cfg(feature = "loki")]
pub fn protobuf(entries: &[Entry<LogRecord>], service_name: Option<&str>) -> Vec<u8> {
    use prost::Message;

    let streams = streams(entries, service_name).into_iter().map(|stream| proto::Stream {
        labels: selector(&stream.labels),
        entries: stream
            .lines
            .into_iter()
            .map(|line| proto::Entry {
                timestamp: Some(proto::Timestamp {
                    // A u64 of nanoseconds has fewer seconds than an i64 can hold.
                    seconds: (line.time / 1_000_000_000) as i64,
                    nanos: (line.time % 1_000_000_000) as i32,
                }),
                line: line.record.message.as_ref().to_owned(),
                structured_metadata: metadata(line.record)
                    .into_iter()
                    .map(|(name, value)| proto::LabelPair { name, value })
                    .collect(),
            })
            .collect(),
    });
    proto::PushRequest { streams: streams.collect() }.encode_to_vec()
}

/// A stream's labels in the form of a selector.
#[cfg(feature = "loki")]
fn selector(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        out.extend([if out.is_empty() { "{" } else { ", " }, name, "="]);
        // Loki reads the value as Go does a string.
        out.push('"');
        for char in value.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                char if char.is_control() => _ = write!(out, "\\u{:04x}", u32::from(char)),
                char => out.push(char),
            }
        }
        out.push('"');
    }
    out.push('}');
    out
}

/// What a push says of one stream.
struct Stream<'a> {
    labels: Vec<(&'static str, &'a str)>,
    /// In the order of their times, of which no two are the same.
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    time: u64,
    record: &'a LogRecord,
}

fn streams<'a>(entries: &'a [Entry<LogRecord>], service_name: Option<&'a str>) -> Vec<Stream<'a>> {
    let mut streams: Vec<Stream<'a>> = Vec::new();
    let mut places: HashMap<(&Identity, u8, bool), usize> = HashMap::new();
    for Entry { identity, record } in entries {
        let at = *places.entry((identity, record.level as u8, record.is_audit)).or_insert_with(|| {
            let labels = [
                ("service_name", service_name.unwrap_or(identity.component())),
                ("component", identity.component()),
                ("version", identity.version()),
                ("tenant", identity.tenant()),
                ("level", field::level(record.level)),
                ("stream", if record.is_audit { "audit" } else { "" }),
            ];
            let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            streams.push(Stream { labels, lines: Vec::new() });
            streams.len() - 1
        });
        streams[at].lines.push(Line { time: record.time, record });
    }
    for stream in &mut streams {
        stream.lines.sort_by_key(|line| line.time);
        let mut earliest = 0;
        for line in &mut stream.lines {
            line.time = line.time.max(earliest);
            earliest = line.time.saturating_add(1);
        }
    }
    streams
}

/// The structured metadata of a record: names and values.
fn metadata(record: &LogRecord) -> Vec<(String, String)> {
    let mut metadata: Vec<(String, String)> = Vec::new();
    if let Some(context) = record.trace {
        metadata.push(("trace_id".to_owned(), context.trace_id.to_string()));
        metadata.push(("span_id".to_owned(), context.span_id.to_string()));
    }
    if !record.target.is_empty() {
        metadata.push(("target".to_owned(), record.target.as_ref().to_owned()));
    }
    if let Some(source) = &record.source {
        metadata.push(("code_file_path".to_owned(), source.file.as_ref().to_owned()));
        metadata.push(("code_line_number".to_owned(), source.line.to_string()));
    }
    let size = |(name, value): &(String, String)| name.len() + value.len();
    let mut bytes: usize = metadata.iter().map(size).sum();
    let mut dropped = 0;
    for (key, value) in field::unique(&record.fields) {
        if metadata.len() >= LOKI_METADATA {
            dropped += 1;
            continue;
        }
        let mut name = name(key);
        while RESERVED.contains(&name.as_str()) || metadata.iter().any(|(taken, _)| *taken == name) {
            name.insert_str(0, "exported_");
        }
        let pair = (name, text(value));
        if bytes + size(&pair) > LOKI_METADATA_BYTES {
            dropped += 1;
            continue;
        }
        bytes += size(&pair);
        metadata.push(pair);
    }
    if dropped > 0 {
        metadata.push(("dropped_fields".to_owned(), dropped.to_string()));
    }
    metadata
}

/// A key as a name: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn name(key: &str) -> String {
    let mut name: String = key.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    if name.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

fn text(value: &FieldValue) -> String {
    match value {
        FieldValue::Signed(value) => value.to_string(),
        FieldValue::Unsigned(value) => value.to_string(),
        FieldValue::Float(value) if value.is_finite() => value.to_string(),
        FieldValue::Float(value) => json::not_finite(*value).to_owned(),
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::Text(value) => value.as_ref().to_owned(),
    }
}

/// Adds the members of a JSON object.
fn pairs<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)], out: &mut String) {
    for (at, (name, value)) in pairs.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        json::string(name.as_ref(), out);
        out.push(':');
        json::string(value.as_ref(), out);
    }
}

/// The messages of a push, with their fields' numbers, as far as a client sets them.
///
/// Source: Loki's `pkg/push/push.proto`, and Protocol Buffers' `timestamp.proto`.
#[cfg(feature = "loki")]
pub mod proto {
    use prost::Message;

    /// All that is pushed at once.
    #[derive(Clone, PartialEq, Message)]
    pub struct PushRequest {
        /// The streams.
        #[prost(message, repeated, tag = "1")]
        pub streams: Vec<Stream>,
    }

    /// The entries of one stream.
    #[derive(Clone, PartialEq, Message)]
    pub struct Stream {
        /// Its labels: `{name="value", …}`.
        #[prost(string, tag = "1")]
        pub labels: String,
        /// Its entries, in order.
        #[prost(message, repeated, tag = "2")]
        pub entries: Vec<Entry>,
    }

    /// One entry.
    #[derive(Clone, PartialEq, Message)]
    pub struct Entry {
        /// When it was recorded.
        #[prost(message, optional, tag = "1")]
        pub timestamp: Option<Timestamp>,
        /// Its line.
        #[prost(string, tag = "2")]
        pub line: String,
        /// Its structured metadata.
        #[prost(message, repeated, tag = "3")]
        pub structured_metadata: Vec<LabelPair>,
    }

    /// A time.
    #[derive(Clone, Copy, PartialEq, Message)]
    pub struct Timestamp {
        /// Seconds since 1970-01-01 00:00 UTC.
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        /// Nanoseconds beyond them.
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }

    /// A name and its value.
    #[derive(Clone, PartialEq, Message)]
    pub struct LabelPair {
        /// The name.
        #[prost(string, tag = "1")]
        pub name: String,
        /// The value.
        #[prost(string, tag = "2")]
        pub value: String,
    }
}
