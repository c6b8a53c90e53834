//! Loki's rules, and the few labels that wasmetry uses.

use std::collections::HashSet;

use super::Checked;
use crate::LokiStream;

/// The labels that a stream may have; any other one would multiply the number of streams.
const LABELS: [&str; 6] = ["service_name", "component", "version", "tenant", "level", "stream"];

/// Checks a stream.
pub(super) fn check(stream: &LokiStream) -> Checked {
    let labels = &stream.labels;
    require!(!labels.is_empty() && labels.len() <= 15, "{} labels", labels.len());
    let mut names = HashSet::new();
    for (name, value) in labels {
        require!(LABELS.contains(&name.as_str()), "label {name}");
        require!(names.insert(name), "label {name} twice");
        require!(!value.is_empty() && value.len() <= 2048, "label {name}={value:?}");
    }
    require!(stream.label("service_name").is_some(), "no service_name in {labels:?}");
    // A line that a guest has printed has no level.
    let is_printed = stream.entries.iter().all(|entry| entry.metadata("log_iostream").is_some());
    let is_level = match stream.label("level") {
        None => is_printed,
        Some(level) => matches!(level, "error" | "warn" | "info" | "debug" | "trace"),
    };
    require!(is_level, "{labels:?}");
    require!(matches!(stream.label("stream"), None | Some("audit")), "{labels:?}");
    require!(!stream.entries.is_empty(), "a stream without entries");
    let mut before = 0;
    for entry in &stream.entries {
        require!(entry.time > before, "{} after {before}", entry.time);
        before = entry.time;
        require!(entry.line.len() <= 256 << 10, "a line of {} bytes", entry.line.len());
        let bytes: usize = entry.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        require!(entry.metadata.len() <= 128 && bytes <= 64 << 10, "{bytes} bytes of metadata");
        let mut names = HashSet::new();
        for (name, _) in &entry.metadata {
            require!(is_name(name), "metadata {name}");
            require!(names.insert(name) && !LABELS.contains(&name.as_str()), "metadata {name} twice");
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}
