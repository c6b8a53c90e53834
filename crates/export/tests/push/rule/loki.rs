//! What Loki refuses, as far as a client can do it wrong, and a little more.
//!
//! Source: Loki's HTTP API, "Ingest logs", and the defaults of its `limits_config`.

use std::collections::HashSet;

use prost::Message;
use serde_json::Value as Json;
use wasmetry_host::encode::loki::proto::PushRequest;

use super::{Arrived, Checked};
use crate::record::NUMBER;

/// The labels that a stream may have: with another one, streams would be many.
const LABELS: [&str; 6] = ["service_name", "component", "version", "tenant", "level", "stream"];

type Pairs = Vec<(String, String)>;

/// Checks a push in Snappy and Protobuf, and returns what it carries.
pub(crate) fn protobuf(body: &[u8]) -> Checked<Vec<Arrived>> {
    let body = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| format!("snappy: {error}"))?;
    let request = PushRequest::decode(body.as_slice()).map_err(|error| error.to_string())?;
    let mut arrived = Vec::new();
    for stream in request.streams {
        let labels = selector(&stream.labels)?;
        let mut entries = Vec::new();
        for entry in stream.entries {
            let time = entry.timestamp.ok_or("no timestamp")?;
            require!((0..1_000_000_000).contains(&time.nanos) && time.seconds > 0, "timestamp {time:?}");
            let nanos = time.seconds as u64 * 1_000_000_000 + time.nanos as u64;
            let metadata = entry.structured_metadata.into_iter().map(|pair| (pair.name, pair.value));
            entries.push((nanos, entry.line, metadata.collect()));
        }
        check(&labels, entries, &mut arrived)?;
    }
    Ok(arrived)
}

/// Checks a push in JSON, and returns what it carries.
pub(crate) fn json(body: &[u8]) -> Checked<Vec<Arrived>> {
    let body: Json = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    require!(body.as_object().is_some_and(|members| members.len() == 1), "not only streams: {body}");
    let mut arrived = Vec::new();
    for stream in body["streams"].as_array().ok_or("no streams")? {
        let labels = pairs(&stream["stream"])?;
        let mut entries = Vec::new();
        for entry in stream["values"].as_array().ok_or("no values")? {
            let Some([time, line, metadata]) = entry.as_array().map(Vec::as_slice) else {
                return Err(format!("entry {entry}"));
            };
            let digits = time.as_str().ok_or(format!("the time {time} is no text"))?;
            require!(digits.len() == 19 && digits.bytes().all(|byte| byte.is_ascii_digit()), "time {digits}");
            let time = digits.parse().map_err(|_| format!("time {digits}"))?;
            let line = line.as_str().ok_or(format!("the line {line} is no text"))?;
            entries.push((time, line.to_owned(), pairs(metadata)?));
        }
        check(&labels, entries, &mut arrived)?;
    }
    Ok(arrived)
}

/// Checks one stream.
fn check(labels: &Pairs, entries: Vec<(u64, String, Pairs)>, arrived: &mut Vec<Arrived>) -> Checked {
    require!(!labels.is_empty() && labels.len() <= 15, "{} labels", labels.len());
    let mut names = HashSet::new();
    for (name, value) in labels {
        require!(LABELS.contains(&name.as_str()), "label {name}");
        require!(names.insert(name), "label {name} twice");
        require!(!value.is_empty() && value.len() <= 2048, "label {name}={value:?}");
    }
    let value = |name: &str| labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str());
    for (name, expected) in [("service_name", "shop"), ("component", "shop"), ("version", "1.2")] {
        require!(value(name) == Some(expected), "{name} in {labels:?}");
    }
    require!(matches!(value("tenant"), None | Some("acme" | "initech")), "tenant in {labels:?}");
    require!(matches!(value("level"), Some("error" | "warn" | "info" | "debug" | "trace")), "{labels:?}");
    require!(matches!(value("stream"), None | Some("audit")), "{labels:?}");
    require!(!entries.is_empty(), "a stream without entries");
    let mut before = 0;
    for (time, line, metadata) in entries {
        require!(time > before, "{time} after {before}");
        before = time;
        require!(line.len() <= 256 << 10, "a line of {} bytes", line.len());
        let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        require!(metadata.len() <= 128 && bytes <= 64 << 10, "{} bytes of metadata", bytes);
        let mut names = HashSet::new();
        for (name, _) in &metadata {
            require!(is_name(name), "metadata {name}");
            require!(names.insert(name) && !LABELS.contains(&name.as_str()), "metadata {name} twice");
        }
        let number = metadata.iter().find(|(name, _)| name == NUMBER).and_then(|(_, value)| value.parse().ok());
        arrived.push(Arrived { number: number.ok_or("no number")?, is_audit: value("stream").is_some() });
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn pairs(value: &Json) -> Checked<Pairs> {
    let members = value.as_object().ok_or(format!("{value} is no object"))?;
    let text = |(name, value): (&String, &Json)| {
        let value = value.as_str().ok_or(format!("{name} is no text"))?;
        Ok((name.clone(), value.to_owned()))
    };
    members.iter().map(text).collect()
}

/// Reads `{name="value", …}`, as far as the values are plain.
fn selector(text: &str) -> Checked<Pairs> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or(format!("labels {text}"))?;
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or(format!("label {pair}"))?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or(format!("label {pair}"))?;
        require!(!value.contains(['"', '\\']), "label {pair}");
        Ok((name.to_owned(), value.to_owned()))
    };
    inner.split(", ").map(pair).collect()
}
