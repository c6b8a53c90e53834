//! Grafana Loki's push API: log records in streams.
//!
//! A stream has these labels. A guest cannot add another one, so the number of streams is bounded.
//!
//! | label | value |
//! |---|---|
//! | `service_name` | the service name of the process; without one, the component's name |
//! | `component`, `version`, `tenant` | as the labels of metrics; the last two may be absent |
//! | `level` | `error`, `warn`, `info`, `debug` or `trace`; absent for lines that a guest printed |
//! | `stream` | `audit` for audit records, else absent |
//!
//! An entry's line is the record's message. Its structured metadata has the rest: `trace_id`,
//! `span_id`, `target`, `code_file_path`, `code_line_number`, `log_iostream`, and the record's own
//! fields. In a field's key, characters that a name cannot have become `_`. A key that the host
//! uses itself, or that another field has already, becomes `exported_<key>`.
//!
//! Loki keeps one of the entries of a stream that have the same timestamp and line, and sorts
//! entries by timestamp. So an [`Encoder`] gives each entry of a stream a timestamp of its own: the
//! record's time, or the first unused nanosecond after it. Timestamps therefore rise from push to
//! push if the records arrive in the order of their times. A record that arrives late keeps its
//! time: Loki accepts entries out of order, and a request that took long would otherwise be shown
//! where it ended.
//!
//! Source: Loki's HTTP API, "Ingest logs", and `pkg/push/push.proto`.

#[cfg(feature = "loki")]
pub mod proto;
mod timestamp;

use std::collections::HashMap;
use std::fmt::Write;

#[cfg(feature = "loki")]
use super::escape::go_string;
use super::escape::json_string;
use super::{field, json};
use crate::Identity;
use crate::limits::{LOKI_METADATA, LOKI_METADATA_BYTES};
use crate::record::{Entry, FieldValue, LogRecord};
use timestamp::Timestamps;

/// The names that no field can have.
const RESERVED: [&str; 13] = [
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
    "log_iostream",
    "dropped_fields",
];

/// Encodes the bodies of pushes to one Loki.
///
/// It keeps the timestamps that it has given to entries, so it must encode all batches of a
/// destination. A batch that is sent again must have the same body, so that Loki recognises the
/// entries that it has already.
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
///     stream: None,
/// };
/// let entry = Entry::new(Arc::new(Identity::new("shop")), record);
/// let mut encoder = loki::Encoder::new(None);
/// assert_eq!(
///     encoder.json(&[entry.clone()]),
///     [
///         r#"{"streams":[{"stream":{"service_name":"shop","component":"shop","level":"info"},"#,
///         r#""values":[["1700000000000000000","cart loaded","#,
///         r#"{"target":"shop::cart","items":"3"}]]}]}"#,
///     ]
///     .concat()
/// );
/// // The same line at the same time, in another batch.
/// assert!(encoder.json(&[entry]).contains(r#"["1700000000000000001","cart loaded","#));
/// ```
#[derive(Debug)]
pub struct Encoder {
    service_name: Option<String>,
    timestamps: Timestamps,
}

impl Encoder {
    /// Creates an encoder. `service_name` is the service name of the process.
    pub fn new(service_name: Option<String>) -> Self {
        Self { service_name, timestamps: Timestamps::default() }
    }

    /// Returns the body of a push in JSON.
    pub fn json(&mut self, entries: &[Entry<LogRecord>]) -> String {
        let mut out = "{\"streams\":[".to_owned();
        for (at, stream) in self.streams(entries).into_iter().enumerate() {
            out.push_str(if at == 0 { "{\"stream\":{" } else { ",{\"stream\":{" });
            pairs(&stream.labels, &mut out);
            out.push_str("},\"values\":[");
            for (at, line) in stream.lines.into_iter().enumerate() {
                // Writing to a string cannot fail.
                let _ = write!(out, "{}[\"{}\",", if at == 0 { "" } else { "," }, line.timestamp);
                json_string(&line.record.message, &mut out);
                out.push_str(",{");
                pairs(&metadata(line.record), &mut out);
                out.push_str("}]");
            }
            out.push_str("]}");
        }
        out.push_str("]}");
        out
    }

    /// Returns the body of a push in Protocol Buffers, not compressed. Loki expects it as one block
    /// of Snappy.
    #[cfg(feature = "loki")]
    pub fn protobuf(&mut self, entries: &[Entry<LogRecord>]) -> Vec<u8> {
        use prost::Message;

        let streams = self.streams(entries).into_iter().map(|stream| proto::Stream {
            labels: selector(&stream.labels),
            entries: stream
                .lines
                .into_iter()
                .map(|line| proto::Entry {
                    timestamp: Some(proto::Timestamp {
                        // The seconds of a u64 of nanoseconds fit in an i64.
                        seconds: (line.timestamp / 1_000_000_000) as i64,
                        nanos: (line.timestamp % 1_000_000_000) as i32,
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

    /// Groups entries by stream, and gives them their timestamps.
    fn streams<'a>(&'a mut self, entries: &'a [Entry<LogRecord>]) -> Vec<Stream<'a>> {
        let Self { service_name, timestamps } = self;
        let mut streams: Vec<Stream<'a>> = Vec::new();
        let mut indices: HashMap<(&Identity, u8, bool), usize> = HashMap::new();
        for Entry { identity, record } in entries {
            // Lines that a guest printed have no level.
            let level = if record.stream.is_some() { 0 } else { record.level as u8 };
            let key = (&**identity, level, record.is_audit);
            let at = *indices.entry(key).or_insert_with(|| {
                let labels = [
                    ("service_name", service_name.as_deref().unwrap_or(identity.component())),
                    ("component", identity.component()),
                    ("version", identity.version()),
                    ("tenant", identity.tenant()),
                    ("level", if record.stream.is_some() { "" } else { field::level(record.level) }),
                    ("stream", if record.is_audit { "audit" } else { "" }),
                ];
                let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
                streams.push(Stream { labels, key, lines: Vec::new() });
                streams.len() - 1
            });
            // A guest can state any time. One in the future would keep the timestamps from being
            // used when they come.
            let timestamp = if record.observed == 0 { record.time } else { record.time.min(record.observed) };
            streams[at].lines.push(Line { timestamp, record });
        }
        timestamps.start_batch();
        for Stream { key: (identity, level, is_audit), lines, .. } in &mut streams {
            let stream = timestamps.stream((identity.clone(), *level, *is_audit));
            lines.sort_by_key(|line| line.timestamp);
            for line in lines.iter_mut() {
                line.timestamp = stream.next(line.timestamp);
            }
            // A late line may have got a timestamp after those of later ones.
            lines.sort_by_key(|line| line.timestamp);
        }
        streams
    }
}

/// A stream's labels as a selector.
#[cfg(feature = "loki")]
fn selector(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        out.extend([if out.is_empty() { "{" } else { ", " }, name, "="]);
        go_string(value, &mut out);
    }
    out.push('}');
    out
}

/// The entries of one stream in a push.
struct Stream<'a> {
    labels: Vec<(&'static str, &'a str)>,
    key: (&'a Identity, u8, bool),
    /// In the order of their timestamps, which are unique.
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    timestamp: u64,
    record: &'a LogRecord,
}

/// The structured metadata of a record: names and values.
fn metadata(record: &LogRecord) -> Vec<(String, String)> {
    let mut metadata: Vec<(String, String)> = Vec::new();
    if let Some(context) = record.trace {
        metadata.push(("trace_id".to_owned(), context.trace_id.to_string()));
        metadata.push(("span_id".to_owned(), context.span_id.to_string()));
    }
    match record.stream {
        Some(stream) => metadata.push(("log_iostream".to_owned(), stream.name().to_owned())),
        None if record.target.is_empty() => {}
        None => metadata.push(("target".to_owned(), record.target.as_ref().to_owned())),
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

/// Converts a key to a name: `[a-zA-Z_][a-zA-Z0-9_]*`.
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

/// Writes the members of a JSON object.
fn pairs<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)], out: &mut String) {
    for (at, (name, value)) in pairs.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        json_string(name.as_ref(), out);
        out.push(':');
        json_string(value.as_ref(), out);
    }
}
