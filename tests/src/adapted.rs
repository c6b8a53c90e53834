//! Apps adapted by `wasmetry adapt`, and the JSON lines that they write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// An adapted app in a temporary directory.
pub struct Adapted {
    _directory: TempDir,
    /// The component's path.
    pub path: PathBuf,
}

/// Returns the directory of the adapter components that were built from this tree; the others are
/// checked in.
///
/// # Panics
///
/// Panics if they have not been built.
pub fn fresh() -> PathBuf {
    let directory = crate::target().join("adapter");
    assert!(directory.join("collector.wasm").exists(), "the adapter is missing: run `cargo xtask guests`");
    directory
}

/// Adapts a guest.
///
/// # Panics
///
/// Panics with the command's stderr if it fails.
pub fn adapt(guest: &str, arguments: &[&str]) -> Adapted {
    adapt_file(&crate::guest(guest), arguments)
}

/// Adapts a component.
///
/// # Panics
///
/// Panics with the command's stderr if it fails.
pub fn adapt_file(wasm: &Path, arguments: &[&str]) -> Adapted {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("adapted.wasm");
    let output =
        Command::new(crate::server::command()).arg("adapt").arg(wasm).arg("-o").arg(&path).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Adapted { _directory: directory, path }
}

/// Returns the messages of the lines that report a telemetry failure.
///
/// # Panics
///
/// Panics if a line that begins with a brace is not a JSON object, or if a warning lacks a field.
pub fn warnings(text: &str) -> Vec<String> {
    let warnings = objects(text).filter(|line| line.get("level").is_some());
    let message = |line: Value| {
        assert!(line["level"] == "warn" && line["timestamp"].is_string() && line["service"].is_string(), "{line}");
        line["message"].as_str().unwrap().to_owned()
    };
    warnings.map(message).collect()
}

/// Parses the lines that begin with a brace.
fn objects(text: &str) -> impl Iterator<Item = Value> {
    let ours = text.lines().filter(|line| line.starts_with('{'));
    ours.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}")))
}

/// The metric lines of adapted apps.
#[derive(Debug)]
pub struct Lines(pub Vec<Value>);

impl Lines {
    /// Parses the metric lines of a text, without its [warnings] and the output of others.
    ///
    /// # Panics
    ///
    /// Panics if a line lacks a field that every metric line has.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<Value> = objects(text).filter(|line| line.get("level").is_none()).collect();
        for line in &lines {
            assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            assert!(line["service"].is_string() && line["version"].is_string(), "{line}");
            assert!(line["temporality"] == "delta" && line["metrics"].is_array(), "{line}");
        }
        Self(lines)
    }

    /// Returns one line for each request or run, without the lines that continue another.
    pub fn activities(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|line| line.get("duration_seconds").is_some() && line.get("continued").is_none())
    }

    /// Returns the number of requests with this path.
    pub fn requests(&self, path: &str) -> usize {
        self.activities().filter(|line| line["path"] == path).count()
    }

    /// Returns the sum of a counter's values or of a histogram's counts, over the series whose
    /// labels include `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let metrics = self.0.iter().flat_map(|line| line["metrics"].as_array().unwrap());
        let matching = metrics.filter(|metric| {
            metric["name"] == name && labels.iter().all(|(key, value)| metric["labels"][*key] == *value)
        });
        matching.map(|metric| metric.get("value").unwrap_or(&metric["count"]).as_u64().unwrap()).sum()
    }

    /// Returns the last value of each series of a gauge, by its labels.
    pub fn last(&self, name: &str) -> BTreeMap<String, f64> {
        let metrics = self.0.iter().flat_map(|line| line["metrics"].as_array().unwrap());
        let gauges = metrics.filter(|metric| metric["name"] == name && metric["type"] == "gauge");
        gauges.map(|metric| (metric["labels"].to_string(), metric["value"].as_f64().unwrap())).collect()
    }
}
