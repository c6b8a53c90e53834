//! An exporter under test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmetry_export::push::{Batch, Config, Exporter, Limits, Otlp, Protocol, Retry};
use wasmetry_host::encode::openmetrics;
use wasmetry_host::{Identity, Registry};

use crate::record::shop;

/// A time that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct Started {
    pub(crate) exporter: Exporter,
    pub(crate) registry: Registry,
    pub(crate) identity: Arc<Identity>,
    reports: Arc<Mutex<Vec<String>>>,
}

impl Started {
    pub(crate) fn new(config: Config) -> Self {
        Self::with_output(config, std::io::sink())
    }

    pub(crate) fn with_output(config: Config, output: impl std::io::Write + Send + 'static) -> Self {
        let registry = Registry::new();
        let reports: Arc<Mutex<Vec<String>>> = Arc::default();
        let report = Arc::clone(&reports);
        let report = Arc::new(move |text: &str| report.lock().unwrap().push(text.to_owned()));
        let exporter = Exporter::start_with(config, &registry, report, Box::new(output)).unwrap();
        Self { exporter, registry, identity: shop(), reports }
    }

    /// Ends it with time enough to send everything.
    pub(crate) fn stop(self) -> Ended {
        self.stop_within(LONG)
    }

    pub(crate) fn stop_within(self, timeout: Duration) -> Ended {
        let lost = self.exporter.stop(timeout);
        let reports = self.reports.lock().unwrap().clone();
        Ended { registry: self.registry, lost, reports }
    }

    pub(crate) fn value(&self, series: &str) -> u64 {
        value(&self.registry, series)
    }

    /// Returns `true` if a report has this text.
    pub(crate) fn has_reported(&self, text: &str) -> bool {
        self.reports.lock().unwrap().iter().any(|reports| reports.contains(text))
    }
}

pub(crate) struct Ended {
    pub(crate) registry: Registry,
    pub(crate) lost: u64,
    pub(crate) reports: Vec<String>,
}

impl Ended {
    /// The value of a series, as a scrape shows it.
    pub(crate) fn value(&self, series: &str) -> u64 {
        value(&self.registry, series)
    }

    /// Returns the number of records with this outcome. The two families must agree on it.
    pub(crate) fn records(&self, signal: &str, outcome: &str) -> u64 {
        let all =
            format!("wasmetry_export_records_total{{signal=\"{signal}\",destination=\"otlp\",outcome=\"{outcome}\"}}");
        let records = self.value(&all);
        if outcome != "sent" {
            assert_eq!(self.dropped("", signal, outcome), records, "{outcome}");
        }
        records
    }

    /// Returns the number of records that were dropped for a reason: those of a component, or all
    /// if its name is empty.
    pub(crate) fn dropped(&self, component: &str, signal: &str, reason: &str) -> u64 {
        dropped(&self.registry, component, signal, reason)
    }
}

pub(crate) fn dropped(registry: &Registry, component: &str, signal: &str, reason: &str) -> u64 {
    let text = openmetrics::encode(&registry.snapshot(Duration::ZERO));
    let owner = if component.is_empty() { String::new() } else { format!("component=\"{component}\"") };
    let end = format!("signal=\"{signal}\",reason=\"{reason}\"}} ");
    let counts = text.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("wasmetry_dropped_total{")?.split_once(&end)?;
        labels.starts_with(&owner).then(|| count.parse::<u64>().unwrap())
    });
    counts.sum()
}

fn value(registry: &Registry, series: &str) -> u64 {
    let text = openmetrics::encode(&registry.snapshot(Duration::ZERO));
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

pub(crate) const LOGS: &str = "/v1/logs";
pub(crate) const TRACES: &str = "/v1/traces";

/// An endpoint, and a timeout that no test reaches unless it wants to.
pub(crate) fn endpoint(url: &str, protocol: Protocol) -> Otlp {
    let mut otlp = Otlp::new(url.parse().unwrap(), protocol);
    otlp.timeout = LONG;
    otlp
}

/// Logs to a URL, in batches of 10 that are sent when they are full or at the end, with the
/// shortest waits.
pub(crate) fn logs_to(url: &str) -> Config {
    let mut config = Config::default();
    config.logs = Some(endpoint(url, Protocol::HttpProtobuf));
    config.log_batch = Batch::new(10, 1 << 20, LONG);
    config.log_limits = Limits::new(1000, 1 << 20);
    config.log_retry = Retry::new(Duration::from_millis(1), Duration::from_millis(4), LONG);
    config
}
