//! The table `[ops]`: thresholds, and where things are.

mod address;
mod dashboard;
pub(crate) mod kubernetes;
mod receiver;
mod shipping;
mod telemetry;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

pub use dashboard::{Dashboards, TraceStore};
pub use kubernetes::Kubernetes;
pub(crate) use receiver::TimeOfDay;
pub use receiver::{Chat, Day, Pager, Receivers, WorkingHours};
pub use shipping::{LogShipping, TraceShipping};
pub use telemetry::TelemetryAccess;

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
    #[serde(deserialize_with = "address::addresses")]
    pub targets: Vec<String>,
    /// Files in which Prometheus finds such addresses.
    #[serde(deserialize_with = "address::target_files")]
    pub target_files: Vec<String>,
    /// A URL from which Prometheus reads such addresses.
    #[serde(deserialize_with = "address::optional_url")]
    pub target_url: Option<String>,
    /// The access of Prometheus to these addresses.
    pub telemetry: TelemetryAccess,
    /// Addresses of Alertmanagers.
    #[serde(deserialize_with = "address::addresses")]
    pub alertmanagers: Vec<String>,
    /// The time between two scrapes, in seconds.
    #[serde(deserialize_with = "interval")]
    pub scrape_interval: u64,
    /// The URL of the folder with the runbooks: the project's, or copies with a team's own names.
    #[serde(deserialize_with = "address::optional_link")]
    pub runbook_url: Option<String>,
    /// The URL of a dashboard.
    #[serde(deserialize_with = "address::optional_link")]
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
    /// The share of its memory limit that one instance in 20 exceeds, exact at the bounds of the
    /// histogram: 0.7, 0.8 and 0.9.
    #[serde(deserialize_with = "memory_ratio")]
    pub memory_ratio: f64,
    /// The requests of a process that wait for an instance, on average. One is a queue that never
    /// empties.
    #[serde(deserialize_with = "positive")]
    pub waiting_requests: f64,
    /// The share of requests that get no instance. Each of them is an error that more processes
    /// would have prevented.
    #[serde(deserialize_with = "failure_ratio")]
    pub refused_ratio: f64,
    /// The rise of error logs, as a multiple of those of an hour ago. Three times as many is no
    /// longer the rhythm of a day.
    #[serde(deserialize_with = "positive")]
    pub error_log_factor: f64,
    /// The error logs per second below which a rise is no alert.
    #[serde(deserialize_with = "positive")]
    pub error_log_rate: f64,
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
    /// Files of OpenSLO documents, relative to the configuration.
    pub openslo: Vec<String>,
    /// The data sources of dashboards.
    pub dashboards: Dashboards,
    /// The receivers of notifications.
    pub receivers: Receivers,
    /// The hours outside of which warnings and facts wait. Without the table they are always sent.
    #[serde(deserialize_with = "receiver::working_hours")]
    pub working_hours: Option<WorkingHours>,
    /// The places that log shippers read and send to.
    pub logs: LogShipping,
    /// The places that the OpenTelemetry Collector sends traces to.
    pub traces: TraceShipping,
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
            telemetry: TelemetryAccess::default(),
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
            waiting_requests: 1.0,
            refused_ratio: 0.01,
            error_log_factor: 3.0,
            error_log_rate: 0.1,
            instance_ratio: 0.9,
            dropped_rate: 1.0,
            export_failure_ratio: 0.5,
            anomaly_deviations: 3.0,
            anomaly_ratio: 0.5,
            failure_rate: 0.1,
            openslo: Vec::new(),
            dashboards: Dashboards::default(),
            receivers: Receivers::default(),
            working_hours: None,
            logs: LogShipping::default(),
            traces: TraceShipping::default(),
            image: None,
            kubernetes: Kubernetes::default(),
        }
    }
}

impl Settings {
    /// Returns `true` if a target is set, a file of targets, or a URL of them.
    pub fn has_targets(&self) -> bool {
        !(self.targets.is_empty() && self.target_files.is_empty() && self.target_url.is_none())
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
    /// The range begins above 0 without it.
    min: Option<f64>,
    max: f64,
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        if value > 0.0 && value >= self.min.unwrap_or_default() && value <= self.max {
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
    deserializer.deserialize_any(Number { expected, min: None, max: MAX_RATIO })
}

fn memory_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a ratio from 0.7 to 0.95, such as `0.8` for 80%";
    deserializer.deserialize_any(Number { expected, min: Some(0.7), max: MAX_RATIO })
}

fn failure_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a ratio above 0 and up to 0.6, such as `0.05` for 5%";
    deserializer.deserialize_any(Number { expected, min: None, max: MAX_FAILURE_RATIO })
}

pub(crate) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number { expected: "a number above 0 and up to 1000000000", min: None, max: 1e9 })
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

pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(D::Error::custom("expected a text that is not empty and has no control characters"));
    }
    Ok(text)
}

pub(crate) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn error(table: Value, expected: &str) {
        let error = serde_json::from_value::<Settings>(table.clone()).expect_err(&table.to_string()).to_string();
        assert!(error.contains(expected), "{table}: {error}");
    }

    #[test]
    fn tables_have_defaults() {
        let settings: Settings =
            serde_json::from_value(json!({"receivers": {"page": "webhook"}, "working-hours": {"end": "24:00"}}))
                .unwrap();
        assert_eq!(settings.receivers, Receivers { page: Pager::Webhook, ..Receivers::default() });
        assert_eq!(settings.working_hours, Some(WorkingHours { end: 24 * 60, ..WorkingHours::default() }));
        assert_eq!((settings.logs, settings.traces), (LogShipping::default(), TraceShipping::default()));
        assert_eq!(Settings::default().working_hours, None);
        let days = json!({"working-hours": {"days": ["sunday", "monday", "sunday"]}});
        let settings: Settings = serde_json::from_value(days).unwrap();
        assert_eq!(settings.working_hours.unwrap().days, [Day::Monday, Day::Sunday]);
    }

    #[test]
    fn bad_values_are_refused() {
        error(json!({"receivers": {"mail": "a@b"}}), "unknown field `mail`");
        error(json!({"receivers": {"page": "sms"}}), "unknown variant `sms`, expected `pagerduty` or `webhook`");
        for address in ["x", "a@", "@b", "a@b@c", "a b@c", "A <a@b>", "{{ . }}@b"] {
            error(json!({"receivers": {"mail-to": address}}), "expected a mail address");
        }
        for address in
            ["http://10.0.0.7:9464", "10.0.0.7", "10.0.0.7:9464/metrics", "shop:+80", "a b:1", "::1:9464", ""]
        {
            error(json!({"targets": ["10.0.0.7:9464", address]}), "expected hosts and their ports");
            error(json!({"alertmanagers": [address]}), "expected hosts and their ports");
        }
        for file in ["/etc/targets", "/etc/*/targets.yml", "/etc/**.yml", ".yml", "/etc/targets.yml.bak"] {
            error(json!({"target-files": [file]}), "expected files that end with");
        }
        for url in ["shop", "ftp://shop/sd", "http://", "http:///sd", "http://a b/"] {
            error(json!({"target-url": url}), "expected a URL");
            error(json!({"dashboards": {"loki-url": url}}), "expected a URL");
            error(json!({"dashboard-url": url}), "expected the URL of a page");
            error(json!({"runbook-url": url}), "expected the URL of a page");
        }
        for server in ["localhost", "localhost:0", "localhost:x", ":25", "a b:25"] {
            error(json!({"receivers": {"smtp-server": server}}), "expected a host and its port");
        }
        error(json!({"working-hours": {"start": "18:00"}}), "`start` (18:00) is not before `end` (18:00)");
        for time in ["8:00", "08:60", "24:01", "08", "-1:00", "+8:00"] {
            error(json!({"working-hours": {"start": time}}), "expected a time of day in quotes");
        }
        error(json!({"telemetry": {"token-file": "token"}}), "expected an absolute path");
        error(json!({"telemetry": {"token": "0123456789abcdef"}}), "unknown field `token`");
        error(json!({"working-hours": {"days": []}}), "expected at least one day");
        error(json!({"working-hours": {"time-zone": "Europe/ Berlin"}}), "expected the name of a time zone");
        error(json!({"logs": {"files": ["shop.jsonl"]}}), "expected absolute paths");
        error(json!({"logs": {"files": []}}), "expected absolute paths");
        for url in ["loki:3100", "http://", "http:///x", "http://a b", "http://a/${X}"] {
            error(json!({"logs": {"loki-url": url}}), "expected a URL");
        }
        error(json!({"logs": {"container": "A/b"}}), "expected the name of a container");
        error(json!({"traces": {"listen": "127.0.0.1:4317"}}), "expected an address or a host without a port");
        error(json!({"traces": {"jaeger": "jaeger"}}), "such as `localhost:25` or `jaeger:4317`");
    }
}
