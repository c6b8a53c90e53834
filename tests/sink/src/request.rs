//! Decoding of requests.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::GzDecoder;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use wasmetry_host::encode::loki::proto::PushRequest;
use wasmetry_host::encode::otlp::points;

use crate::LOKI;
use crate::proto::collector::logs::v1::ExportLogsServiceRequest;
use crate::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use crate::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::rule::{self, Checked, require};

pub(crate) const LOGS: &str = "/v1/logs";
pub(crate) const TRACES: &str = "/v1/traces";
pub(crate) const METRICS: &str = "/v1/metrics";
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// The body of one request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Log records, by OTLP.
    Logs(ExportLogsServiceRequest),
    /// Spans, by OTLP.
    Traces(ExportTraceServiceRequest),
    /// Metrics, by OTLP.
    Metrics(ExportMetricsServiceRequest),
    /// Log records, pushed to Loki.
    Loki(Vec<LokiStream>),
}

/// A stream of Loki.
#[derive(Clone, Debug)]
pub struct LokiStream {
    /// The labels, in the order of the request.
    pub labels: Vec<(String, String)>,
    /// The entries, in the order of the request.
    pub entries: Vec<LokiEntry>,
}

/// An entry of Loki.
#[derive(Clone, Debug)]
pub struct LokiEntry {
    /// The time in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// The line.
    pub line: String,
    /// The structured metadata, in the order of the request.
    pub metadata: Vec<(String, String)>,
}

impl LokiStream {
    /// Returns the value of a label. Returns `None` if the stream lacks it.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl LokiEntry {
    /// Returns a value of the structured metadata. Returns `None` if the entry lacks it.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Request {
    /// Returns the number of log records, spans or metric data points.
    pub fn records(&self) -> usize {
        match self {
            Self::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                scopes.map(|scope| scope.log_records.len()).sum()
            }
            Self::Traces(request) => {
                let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                scopes.map(|scope| scope.spans.len()).sum()
            }
            Self::Metrics(request) => points(request),
            Self::Loki(streams) => streams.iter().map(|stream| stream.entries.len()).sum(),
        }
    }

    /// Returns the JSON key of a partial success for the number of rejected records.
    pub(crate) fn rejected(&self) -> &'static str {
        match self {
            Self::Traces(_) => "rejectedSpans",
            Self::Metrics(_) => "rejectedDataPoints",
            Self::Logs(_) | Self::Loki(_) => "rejectedLogRecords",
        }
    }

    /// Decodes the body of a request to a path.
    pub(crate) fn decode(path: &str, content_type: &str, body: &[u8]) -> Checked<Self> {
        match (path, content_type) {
            (LOGS, PROTOBUF) => protobuf(body).map(Self::Logs),
            (TRACES, PROTOBUF) => protobuf(body).map(Self::Traces),
            (METRICS, PROTOBUF) => protobuf(body).map(Self::Metrics),
            (LOGS, JSON) => json(body).map(Self::Logs),
            (TRACES, JSON) => json(body).map(Self::Traces),
            (METRICS, JSON) => json(body).map(Self::Metrics),
            (LOKI, PROTOBUF) => loki_protobuf(body).map(Self::Loki),
            (LOKI, JSON) => loki_json(body).map(Self::Loki),
            other => Err(format!("path and content type {other:?}")),
        }
    }
}

/// Decompresses a body.
pub(crate) fn unpack<'a>(encoding: &str, body: &'a [u8]) -> Checked<Cow<'a, [u8]>> {
    match encoding {
        "" => Ok(body.into()),
        "gzip" => {
            let mut plain = Vec::new();
            GzDecoder::new(body).read_to_end(&mut plain).map_err(|error| format!("gzip: {error}"))?;
            Ok(plain.into())
        }
        other => Err(format!("content-encoding {other}")),
    }
}

fn protobuf<M: Message + Default>(body: &[u8]) -> Checked<M> {
    M::decode(body).map_err(|error| error.to_string())
}

fn json<M: Serialize + DeserializeOwned>(body: &[u8]) -> Checked<M> {
    let value: Json = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    require!(value.is_object(), "no object");
    rule::json(&value)?;
    let request: M = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    known(&value, &serde_json::to_value(&request).map_err(|error| error.to_string())?)?;
    Ok(request)
}

/// Checks that decoding has kept every key of `value`, by comparison with the encoded result.
fn known(value: &Json, again: &Json) -> Checked {
    match (value, again) {
        (Json::Object(members), Json::Object(others)) => members
            .iter()
            .try_for_each(|(key, value)| known(value, others.get(key).ok_or(format!("the key {key} is unknown"))?)),
        (Json::Array(values), Json::Array(others)) => {
            values.iter().zip(others).try_for_each(|(value, other)| known(value, other))
        }
        _ => Ok(()),
    }
}

fn loki_protobuf(body: &[u8]) -> Checked<Vec<LokiStream>> {
    let body = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| format!("snappy: {error}"))?;
    let request = PushRequest::decode(body.as_slice()).map_err(|error| error.to_string())?;
    let mut streams = Vec::new();
    for stream in request.streams {
        let mut entries = Vec::new();
        for entry in stream.entries {
            let time = entry.timestamp.ok_or("no timestamp")?;
            require!((0..1_000_000_000).contains(&time.nanos) && time.seconds > 0, "timestamp {time:?}");
            let time = time.seconds as u64 * 1_000_000_000 + time.nanos as u64;
            let metadata = entry.structured_metadata.into_iter().map(|pair| (pair.name, pair.value)).collect();
            entries.push(LokiEntry { time, line: entry.line, metadata });
        }
        streams.push(LokiStream { labels: selector(&stream.labels)?, entries });
    }
    Ok(streams)
}

fn loki_json(body: &[u8]) -> Checked<Vec<LokiStream>> {
    let body: Json = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    require!(body.as_object().is_some_and(|members| members.len() == 1), "not only streams: {body}");
    let mut streams = Vec::new();
    for stream in body["streams"].as_array().ok_or("no streams")? {
        let mut entries = Vec::new();
        for entry in stream["values"].as_array().ok_or("no values")? {
            let Some([time, line, metadata]) = entry.as_array().map(Vec::as_slice) else {
                return Err(format!("entry {entry}"));
            };
            let digits = time.as_str().ok_or(format!("the time {time} is no text"))?;
            require!(digits.len() == 19 && digits.bytes().all(|byte| byte.is_ascii_digit()), "time {digits}");
            let time = digits.parse().map_err(|_| format!("time {digits}"))?;
            let line = line.as_str().ok_or(format!("the line {line} is no text"))?.to_owned();
            entries.push(LokiEntry { time, line, metadata: pairs(metadata)? });
        }
        streams.push(LokiStream { labels: pairs(&stream["stream"])?, entries });
    }
    Ok(streams)
}

fn pairs(value: &Json) -> Checked<Vec<(String, String)>> {
    let members = value.as_object().ok_or(format!("{value} is no object"))?;
    let text = |(name, value): (&String, &Json)| {
        let value = value.as_str().ok_or(format!("{name} is no text"))?;
        Ok((name.clone(), value.to_owned()))
    };
    members.iter().map(text).collect()
}

/// Parses `{name="value", …}`, whose values must not contain escapes.
fn selector(text: &str) -> Checked<Vec<(String, String)>> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or(format!("labels {text}"))?;
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or(format!("label {pair}"))?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or(format!("label {pair}"))?;
        require!(!value.contains(['"', '\\']), "label {pair}");
        Ok((name.to_owned(), value.to_owned()))
    };
    inner.split(", ").map(pair).collect()
}
