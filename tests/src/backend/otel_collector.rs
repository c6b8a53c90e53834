//! The OpenTelemetry Collector, with the components of `tests/backends/collector`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::built;
use super::daemon::{self, Daemon, free_addresses};

/// The parts of a configuration that tests choose.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A configuration to which the others are added, such as one that the command generates.
    pub base: Option<String>,
    /// More receivers of logs, as YAML: names and their settings, in one line.
    pub log_receivers: Vec<(&'static str, String)>,
    /// More exporters of traces.
    pub trace_exporters: Vec<(&'static str, String)>,
    /// The limit of the memory limiter, in MiB; there is none without it.
    pub memory_limit: Option<u32>,
}

/// A running Collector, which appends everything that it receives to a file. Dropping it kills it.
pub struct OtelCollector {
    daemon: Daemon,
    /// The address of OTLP over gRPC.
    pub grpc: SocketAddr,
    /// The address of OTLP over HTTP.
    pub http: SocketAddr,
    /// The address at which its Prometheus exporter is scraped.
    pub prometheus: SocketAddr,
    directory: tempfile::TempDir,
}

impl OtelCollector {
    /// Starts it on free loopback ports. Returns `None` if it cannot be built.
    ///
    /// # Panics
    ///
    /// Panics with its log if it does not start.
    pub fn start(options: &Options) -> Option<Self> {
        let program = built::program("collector", "collector")?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let [grpc, http, prometheus] = free_addresses();
        let path = |name| directory.path().join(name);
        fs::write(path("config.yaml"), config(options, [grpc, http, prometheus], &path("received"))).unwrap();
        let mut command = Command::new(program);
        if let Some(base) = &options.base {
            fs::write(path("base.yaml"), base).unwrap();
            command.arg("--config").arg(path("base.yaml"));
        }
        command.arg("--config").arg(path("config.yaml"));
        let mut daemon = Daemon::start(&mut command, &path("log"));
        let is_ready = |log: &str| log.contains("Everything is ready").then_some(());
        let log = path("log");
        daemon.wait("its start", || is_ready(&fs::read_to_string(&log).unwrap_or_default()));
        Some(Self { daemon, grpc, http, prometheus, directory })
    }

    /// Changes the configuration while it runs, and waits until it is in force.
    ///
    /// # Panics
    ///
    /// Panics with its log if that takes too long.
    pub fn reload(&mut self, options: &Options) {
        let path = |name: &str| self.directory.path().join(name);
        let config = config(options, [self.grpc, self.http, self.prometheus], &path("received"));
        fs::write(path("config.yaml"), config).unwrap();
        let starts = |log: &str| log.matches("Everything is ready").count();
        let before = starts(&self.daemon.log());
        self.daemon.signal("HUP");
        let log = path("log");
        let is_ready = || (starts(&fs::read_to_string(&log).unwrap_or_default()) > before).then_some(());
        self.daemon.wait("its reload", is_ready);
    }

    /// Returns the address of a transport, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub fn endpoint(&self, protocol: &str) -> String {
        format!("http://{}", if protocol == "grpc" { self.grpc } else { self.http })
    }

    /// Returns everything that it has received.
    ///
    /// # Panics
    ///
    /// Panics if a line is not JSON.
    pub fn received(&self) -> Received {
        let text = fs::read_to_string(self.directory.path().join("received")).unwrap_or_default();
        let mut received = Received::default();
        // The last line may be incomplete.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let request: Value = serde_json::from_str(line).unwrap();
            for (signal, scopes, records, all) in [
                ("resourceLogs", "scopeLogs", "logRecords", &mut received.logs),
                ("resourceSpans", "scopeSpans", "spans", &mut received.spans),
                ("resourceMetrics", "scopeMetrics", "metrics", &mut received.metrics),
            ] {
                for of_resource in request[signal].as_array().into_iter().flatten() {
                    for of_scope in of_resource[scopes].as_array().into_iter().flatten() {
                        for record in of_scope[records].as_array().into_iter().flatten() {
                            all.push(ReceivedRecord {
                                resource: attributes(&of_resource["resource"]),
                                scope: of_scope["scope"]["name"].as_str().unwrap_or_default().to_owned(),
                                record: record.clone(),
                            });
                        }
                    }
                }
            }
        }
        received
    }

    /// Waits until `is_done` returns `true` for what it has received, and returns that.
    ///
    /// # Panics
    ///
    /// Panics with its log after a minute.
    pub fn wait(&self, is_done: impl Fn(&Received) -> bool) -> Received {
        let received = daemon::until(|| Some(self.received()).filter(|received| is_done(received)), || false);
        received.unwrap_or_else(|| panic!("it received {:#?}; its log: {}", self.received(), self.log()))
    }

    /// Returns its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

fn config(options: &Options, [grpc, http, prometheus]: [SocketAddr; 3], received: &Path) -> String {
    let list = |first: &str, more: &[(&str, String)]| {
        more.iter().fold(first.to_owned(), |list, (name, _)| format!("{list}, {name}"))
    };
    let settings = |more: &[(&str, String)]| {
        more.iter().map(|(name, settings)| format!("  {name}: {settings}\n")).collect::<String>()
    };
    let limiter = options.memory_limit.map_or(String::new(), |limit| {
        format!("processors:\n  memory_limiter: {{check_interval: 50ms, limit_mib: {limit}}}\n")
    });
    let processors = if options.memory_limit.is_some() { "processors: [memory_limiter], " } else { "" };
    let (log_receivers, trace_exporters) =
        (list("otlp", &options.log_receivers), list("jsonlines", &options.trace_exporters));
    format!(
        "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}, http: {{endpoint: '{http}'}}}}}}
{}{limiter}exporters:
  jsonlines: {{path: '{}'}}
  prometheus: {{endpoint: '{prometheus}', resource_to_telemetry_conversion: {{enabled: true}}}}
{}service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{{processors}receivers: [{log_receivers}], exporters: [jsonlines]}}
    traces: {{{processors}receivers: [otlp], exporters: [{trace_exporters}]}}
    metrics: {{{processors}receivers: [otlp], exporters: [jsonlines, prometheus]}}
",
        settings(&options.log_receivers),
        received.display(),
        settings(&options.trace_exporters),
    )
}

/// The records that a Collector has received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The log records.
    pub logs: Vec<ReceivedRecord>,
    /// The spans.
    pub spans: Vec<ReceivedRecord>,
    /// The metrics of all exports.
    pub metrics: Vec<ReceivedRecord>,
}

/// A record as OTLP's JSON has it, with its resource and scope.
#[derive(Clone, Debug)]
pub struct ReceivedRecord {
    /// The attributes of its resource.
    pub resource: Vec<(String, Value)>,
    /// The name of its scope.
    pub scope: String,
    /// The record.
    pub record: Value,
}

impl ReceivedRecord {
    /// Returns the attributes, sorted by key.
    pub fn attributes(&self) -> Vec<(String, Value)> {
        attributes(&self.record)
    }

    /// Returns an attribute of the record or its resource.
    pub fn attribute(&self, key: &str) -> Option<Value> {
        let own = self.attributes();
        own.iter().chain(&self.resource).find(|(of, _)| of == key).map(|(_, value)| value.clone())
    }
}

/// Returns the attributes of a record or resource, sorted by key, each with the value that OTLP's
/// JSON has for its type.
fn attributes(of: &Value) -> Vec<(String, Value)> {
    let pairs = of["attributes"].as_array().into_iter().flatten();
    let mut all: Vec<_> = pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
