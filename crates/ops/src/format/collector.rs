//! The configuration of the OpenTelemetry Collector, with the names of components that 0.165 has.

use std::collections::BTreeMap;

use serde::Serialize;

/// A configuration.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extensions: BTreeMap<&'static str, Extension>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) receivers: BTreeMap<&'static str, Receiver>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) processors: BTreeMap<&'static str, Processor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) connectors: BTreeMap<&'static str, Connector>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exporters: BTreeMap<&'static str, Exporter>,
    pub(crate) service: Service,
}

/// The components that run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Service {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) extensions: Vec<&'static str>,
    pub(crate) pipelines: BTreeMap<&'static str, Pipeline>,
}

/// A pipeline. Its processors run in their order.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pipeline {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) receivers: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) processors: Vec<&'static str>,
    pub(crate) exporters: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Extension {
    FileStorage { directory: &'static str, create_directory: bool },
    BasicAuth { client_auth: ClientAuth },
}

#[derive(Debug, Serialize)]
pub(crate) struct ClientAuth {
    pub(crate) username: String,
    pub(crate) password_file: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Receiver {
    Otlp { protocols: Protocols },
    FileLog(FileLog),
}

#[derive(Debug, Serialize)]
pub(crate) struct Protocols {
    pub(crate) grpc: Endpoint,
    pub(crate) http: Endpoint,
}

#[derive(Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) endpoint: String,
}

/// The receiver of files.
#[derive(Debug, Serialize)]
pub(crate) struct FileLog {
    pub(crate) include: Vec<String>,
    pub(crate) start_at: &'static str,
    pub(crate) include_file_path: bool,
    /// The extension that keeps how far each file was read.
    pub(crate) storage: &'static str,
    pub(crate) retry_on_failure: Enabled,
    pub(crate) operators: Vec<Operator>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Enabled {
    pub(crate) enabled: bool,
}

/// A step of the receiver of files.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Operator {
    /// The format in which Kubernetes' runtimes write lines, and the pod's name from the path.
    Container,
    JsonParser {
        #[serde(rename = "if")]
        condition: String,
        parse_ints: bool,
    },
    TimeParser {
        #[serde(rename = "if")]
        condition: String,
        parse_from: String,
        layout_type: &'static str,
        layout: &'static str,
    },
    SeverityParser {
        #[serde(rename = "if")]
        condition: String,
        parse_from: String,
    },
    TraceParser {
        #[serde(rename = "if")]
        condition: String,
        trace_id: ParseFrom,
        span_id: ParseFrom,
    },
    Move {
        #[serde(rename = "if")]
        condition: String,
        from: String,
        to: &'static str,
    },
    Remove {
        #[serde(rename = "if")]
        condition: String,
        field: String,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct ParseFrom {
    pub(crate) parse_from: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Processor {
    MemoryLimiter { check_interval: &'static str, limit_percentage: u32, spike_limit_percentage: u32 },
    Batch { timeout: &'static str },
}

impl Processor {
    /// The limiter that comes first in every pipeline.
    pub(crate) const LIMITER: Self =
        Self::MemoryLimiter { check_interval: "1s", limit_percentage: 80, spike_limit_percentage: 20 };
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Connector {
    SpanMetrics { histogram: SpanHistogram, dimensions: Vec<Dimension>, exemplars: Enabled },
}

#[derive(Debug, Serialize)]
pub(crate) struct SpanHistogram {
    pub(crate) unit: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Dimension {
    pub(crate) name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Exporter {
    OtlpGrpc { endpoint: String, tls: Tls },
    OtlpHttp(OtlpHttp),
    Zipkin { endpoint: String },
    Prometheus { endpoint: String, resource_to_telemetry_conversion: Enabled, enable_open_metrics: bool },
}

/// OTLP over HTTP: to the paths below an endpoint, or to one URL for traces.
#[derive(Debug, Default, Serialize)]
pub(crate) struct OtlpHttp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traces_endpoint: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<Authenticator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sending_queue: Option<Queue>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Authenticator {
    pub(crate) authenticator: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    pub(crate) storage: &'static str,
    pub(crate) batch: Batch,
}

#[derive(Debug, Serialize)]
pub(crate) struct Batch {
    pub(crate) flush_timeout: &'static str,
    pub(crate) min_size: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Tls {
    pub(crate) insecure: bool,
}

/// Returns a text in which the Collector expands no variable.
pub(crate) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Returns an address with a port.
pub(crate) fn address(host: &str, port: u16) -> String {
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}
