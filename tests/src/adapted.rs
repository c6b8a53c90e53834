//! Apps that `wasmetry adapt` has adapted, and the lines that they write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// An adapted app, in a directory that goes with it.
pub struct Adapted {
    _directory: TempDir,
    /// Where it is.
    pub path: PathBuf,
}

/// The directory of the components that were built from this tree, rather than those that are checked in.
///
/// # Panics
///
/// Panics if they have not been built.
pub fn fresh() -> PathBuf {
    let directory = crate::target().join("adapter");
    assert!(directory.join("collector.wasm").exists(), "the adapter is missing: run `cargo xtask guests`");
    directory
}

/// Adapts a guest, with the command's built-in components.
///
/// # Panics
///
/// Panics, with what the command said, if it fails.
pub fn adapt(guest: &str, arguments: &[&str]) -> Adapted {
    adapt_file(&crate::guest(guest), arguments)
}

/// Adapts a component.
///
/// # Panics
///
/// Panics, with what the command said, if it fails.
pub fn adapt_file(wasm: &Path, arguments: &[&str]) -> Adapted {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("adapted.wasm");
    let output =
        Command::new(crate::server::command()).arg("adapt").arg(wasm).arg("-o").arg(&path).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Adapted { _directory: directory, path }
}

/// The messages of the lines that say what is wrong with the telemetry.
///
/// # Panics
///
/// Panics if a line that begins with a brace is no object, or one that is a warning lacks a field.
pub fn warnings(text: &str) -> Vec<String> {
    let warnings = objects(text).filter(|line| line.get("level").is_some());
    let message = |line: Value| {
        assert!(line["level"] == "warn" && line["timestamp"].is_string() && line["service"].is_string(), "{line}");
        line["message"].as_str().unwrap().to_owned()
    };
    warnings.map(message).collect()
}

/// The lines that begin with a brace.
fn objects(text: &str) -> impl Iterator<Item = Value> {
    let ours = text.lines().filter(|line| line.starts_with('{'));
    ours.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}")))
}

/// The lines that adapted apps have written, among those of others.
#[derive(Debug)]
pub struct Lines(pub Vec<Value>);

impl Lines {
    /// Takes the lines that begin with a brace, each of which must be an object with the fields that every line has; without
    /// those that are [warnings].
    ///
    /// # Panics
    ///
    /// Panics if one is not.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<Value> = objects(text).filter(|line| line.get("level").is_none()).collect();
        for line in &lines {
            assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            assert!(line["service"].is_string() && line["version"].is_string(), "{line}");
            assert!(line["temporality"] == "delta" && line["metrics"].is_array(), "{line}");
        }
        Self(lines)
    }

    /// The lines that tell of a request or run, without those that only go on with one.
    pub fn activities(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|line| line.get("duration_seconds").is_some() && line.get("continued").is_none())
    }

    /// The number of requests with this path.
    pub fn requests(&self, path: &str) -> usize {
        self.activities().filter(|line| line["path"] == path).count()
    }

    /// All that was added to a counter or to a histogram's count, over the series whose labels include these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let metrics = self.0.iter().flat_map(|line| line["metrics"].as_array().unwrap());
        let matching = metrics.filter(|metric| {
            metric["name"] == name && labels.iter().all(|(key, value)| metric["labels"][*key] == *value)
        });
        matching.map(|metric| metric.get("value").unwrap_or(&metric["count"]).as_u64().unwrap()).sum()
    }

    /// The last value of each series of a gauge, by its labels.
    pub fn last(&self, name: &str) -> BTreeMap<String, f64> {
        let metrics = self.0.iter().flat_map(|line| line["metrics"].as_array().unwrap());
        let gauges = metrics.filter(|metric| metric["name"] == name && metric["type"] == "gauge");
        gauges.map(|metric| (metric["labels"].to_string(), metric["value"].as_f64().unwrap())).collect()
    }
}
