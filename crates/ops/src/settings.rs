//! The table `[ops]`: thresholds, and where things are.

pub(crate) mod kubernetes;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

pub use kubernetes::Kubernetes;

/// The table `[ops]` of a configuration. Every key has a default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Settings {
    /// The label `job` that Prometheus gives the processes.
    #[serde(deserialize_with = "text")]
    pub job: String,
    /// The name in alerts about a whole process; the component's name if there is only one.
    #[serde(deserialize_with = "optional_text")]
    pub service: Option<String>,
    /// Addresses of the telemetry endpoints that Prometheus scrapes.
    pub targets: Vec<String>,
    /// Files in which Prometheus finds such addresses.
    pub target_files: Vec<String>,
    /// A URL from which Prometheus reads such addresses.
    #[serde(deserialize_with = "optional_text")]
    pub target_url: Option<String>,
    /// Addresses of Alertmanagers.
    pub alertmanagers: Vec<String>,
    /// The time between two scrapes, in seconds.
    #[serde(deserialize_with = "interval")]
    pub scrape_interval: u64,
    /// The URL of the folder with the runbooks: the project's, or copies with a team's own names.
    #[serde(deserialize_with = "optional_text")]
    pub runbook_url: Option<String>,
    /// The URL of a dashboard.
    #[serde(deserialize_with = "optional_text")]
    pub dashboard_url: Option<String>,
    /// The request rate, in requests per second, below which no ratio is alerted on. At 0.1/s there
    /// are 30 requests in 5 minutes, so that one failure is 3%.
    #[serde(deserialize_with = "positive")]
    pub min_request_rate: f64,
    /// The share of requests answered with 5xx. 5% is visible to users, and far above the noise of
    /// deployments and clients.
    #[serde(deserialize_with = "failure_ratio")]
    pub error_ratio: f64,
    /// The 95th percentile of request durations in seconds. Half a second is what users notice as a
    /// wait.
    #[serde(deserialize_with = "latency")]
    pub latency: f64,
    /// The share of instances that end in a trap. A trap is a defect: 1% is one in a hundred users.
    #[serde(deserialize_with = "ratio")]
    pub trap_ratio: f64,
    /// The number of instances that ran out of memory in 10 minutes. Fewer than that is one input;
    /// more is a pattern.
    #[serde(deserialize_with = "positive")]
    pub out_of_memory: f64,
    /// The share of its memory limit that an average instance has.
    #[serde(deserialize_with = "ratio")]
    pub memory_ratio: f64,
    /// The share of a component's instances that are in use. From 90% on, a small burst waits.
    #[serde(deserialize_with = "ratio")]
    pub instance_ratio: f64,
    /// Records or values per second that are dropped. One per second is no longer a single
    /// oversized request.
    #[serde(deserialize_with = "positive")]
    pub dropped_rate: f64,
    /// The share of export requests that fail. Half of them is no longer covered by retries.
    #[serde(deserialize_with = "failure_ratio")]
    pub export_failure_ratio: f64,
    /// The distance from the same hour of earlier weeks, in standard deviations: a normal value is
    /// outside of three in 0.3% of all cases.
    #[serde(deserialize_with = "positive")]
    pub anomaly_deviations: f64,
    /// The distance from the same hour of earlier weeks, as a share of the mean: a very regular
    /// service must not page for a few percent.
    #[serde(deserialize_with = "ratio")]
    pub anomaly_ratio: f64,
    /// The failures per second of a declared counter of failures that has no counter of attempts.
    #[serde(deserialize_with = "positive")]
    pub failure_rate: f64,
    /// The container image of the service, such as `registry.example.com/shop:1.4.0`. The default
    /// is the service's name with its version, which a build on the same machine makes.
    #[serde(deserialize_with = "kubernetes::image")]
    pub image: Option<String>,
    /// The table `[ops.kubernetes]`.
    pub kubernetes: Kubernetes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            job: "wasmetry".to_owned(),
            service: None,
            targets: Vec::new(),
            target_files: Vec::new(),
            target_url: None,
            alertmanagers: Vec::new(),
            scrape_interval: 15,
            runbook_url: Some("https://github.com/wasmetry/wasmetry/blob/main/docs/runbooks".to_owned()),
            dashboard_url: None,
            min_request_rate: 0.1,
            error_ratio: 0.05,
            latency: 0.5,
            trap_ratio: 0.01,
            out_of_memory: 3.0,
            memory_ratio: 0.8,
            instance_ratio: 0.9,
            dropped_rate: 1.0,
            export_failure_ratio: 0.5,
            anomaly_deviations: 3.0,
            anomaly_ratio: 0.5,
            failure_rate: 0.1,
            image: None,
            kubernetes: Kubernetes::default(),
        }
    }
}

/// The largest threshold of a ratio.
const MAX_RATIO: f64 = 0.95;

/// The largest threshold of a share of failures, so that half as much again is still a share.
const MAX_FAILURE_RATIO: f64 = 0.6;

/// The smallest and the largest threshold of a duration, in seconds. The host's buckets show values
/// from 1 ms to 10 s, and tests need half as much again.
pub(crate) const LATENCY: (f64, f64) = (0.002, 6.0);

/// The longest time between scrapes, in seconds: a rate over 5 minutes needs several samples.
const MAX_INTERVAL: f64 = 60.0;

/// A number in a range.
struct Number {
    expected: &'static str,
    max: f64,
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        if value > 0.0 && value <= self.max {
            return Ok(value);
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        self.visit_f64(value as f64)
    }
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a ratio above 0 and up to 0.95, such as `0.05` for 5%";
    deserializer.deserialize_any(Number { expected, max: MAX_RATIO })
}

fn failure_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a ratio above 0 and up to 0.6, such as `0.05` for 5%";
    deserializer.deserialize_any(Number { expected, max: MAX_FAILURE_RATIO })
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number { expected: "a number above 0 and up to 1000000000", max: 1e9 })
}

/// A duration in seconds.
struct Seconds {
    expected: &'static str,
    min: f64,
    max: f64,
}

impl Visitor<'_> for Seconds {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
        let seconds = humantime::parse_duration(value).map(|duration| duration.as_secs_f64());
        match seconds {
            Ok(seconds) if seconds >= self.min && seconds <= self.max => Ok(seconds),
            _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
        }
    }
}

fn latency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a duration in quotes from `\"2ms\"` to `\"6s\"`, such as `\"500ms\"`";
    deserializer.deserialize_str(Seconds { expected, min: LATENCY.0, max: LATENCY.1 })
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let expected = "whole seconds in quotes from `\"1s\"` to `\"1m\"`, such as `\"15s\"`";
    let seconds = deserializer.deserialize_str(Seconds { expected, min: 1.0, max: MAX_INTERVAL })?;
    if seconds.fract() != 0.0 {
        return Err(D::Error::custom(format!("expected {expected}")));
    }
    Ok(seconds as u64)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(D::Error::custom("expected a text that is not empty and has no control characters"));
    }
    Ok(text)
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(Some)
}
