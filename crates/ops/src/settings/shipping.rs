//! The tables `[ops.logs]` and `[ops.traces]`: where logs are found, and where telemetry is sent.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::address::{host_and_port, url};
use super::{optional_text, text};

/// The table `[ops.logs]`: where log shippers find the lines, and the Loki that they send them to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct LogShipping {
    /// Patterns of the files that hold the lines of `wasmetry serve`.
    #[serde(deserialize_with = "patterns")]
    pub files: Vec<String>,
    /// The URL of Loki, without the path of its API.
    #[serde(deserialize_with = "url")]
    pub loki_url: String,
    /// Loki's tenant, if it has several.
    #[serde(deserialize_with = "optional_text")]
    pub loki_tenant: Option<String>,
    /// The user name at Loki, whose password is in `loki-password-file`.
    #[serde(deserialize_with = "optional_text")]
    pub loki_user: Option<String>,
    /// The file with the password, on the shipper's machine. It is used with `loki-user` only.
    #[serde(deserialize_with = "text")]
    pub loki_password_file: String,
    /// The Kubernetes selector of the pods whose logs are shipped. The default is the label
    /// `runtime` with a WebAssembly runtime.
    #[serde(deserialize_with = "text")]
    pub pod_selector: String,
    /// The name of the container in such pods. The Collector finds the files of pods by it, since
    /// their paths have no labels.
    #[serde(deserialize_with = "container")]
    pub container: String,
}

impl Default for LogShipping {
    fn default() -> Self {
        Self {
            files: vec!["/var/log/wasmetry/*.jsonl".to_owned()],
            loki_url: "http://127.0.0.1:3100".to_owned(),
            loki_tenant: None,
            loki_user: None,
            loki_password_file: "/etc/wasmetry/loki-password".to_owned(),
            pod_selector: "runtime in (wasm, wasmedge, wasmetry, wasmtime)".to_owned(),
            container: "wasmetry".to_owned(),
        }
    }
}

impl LogShipping {
    /// Returns the URL of Loki's push API.
    pub(crate) fn push_url(&self) -> String {
        format!("{}/loki/api/v1/push", self.loki_url)
    }
}

/// The table `[ops.traces]`: the OpenTelemetry Collector between the processes and the stores of
/// traces.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct TraceShipping {
    /// The address at which the Collector listens: OTLP on the ports 4317 (gRPC) and 4318 (HTTP),
    /// Prometheus' metrics on 8889.
    #[serde(deserialize_with = "host")]
    pub listen: String,
    /// The address of Jaeger's OTLP receiver (gRPC).
    #[serde(deserialize_with = "host_and_port")]
    pub jaeger: String,
    /// `true` if Jaeger is reached over TLS.
    pub jaeger_tls: bool,
    /// The URL of Zipkin. With the path `/api/v2/spans` it is sent Zipkin's format, otherwise OTLP.
    #[serde(deserialize_with = "url")]
    pub zipkin_url: String,
    /// `true` if the Collector counts spans as metrics. It sees sampled traces only, while the
    /// host's own metrics count every request.
    pub span_metrics: bool,
}

impl Default for TraceShipping {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1".to_owned(),
            jaeger: "jaeger:4317".to_owned(),
            jaeger_tls: false,
            zipkin_url: "http://zipkin:9411/v1/traces".to_owned(),
            span_metrics: false,
        }
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    let is_valid = |pattern: &String| pattern.starts_with('/') && !pattern.chars().any(char::is_control);
    if patterns.is_empty() || !patterns.iter().all(is_valid) {
        return Err(D::Error::custom("expected absolute paths, such as `[\"/var/log/wasmetry/*.jsonl\"]`"));
    }
    Ok(patterns)
}

fn container<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = text(deserializer)?;
    let is_valid = name.len() <= 63
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_valid { Ok(name) } else { Err(D::Error::custom("expected the name of a container, such as `wasmetry`")) }
}

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let host = text(deserializer)?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    if is_address || is_name {
        return Ok(host);
    }
    Err(D::Error::custom("expected an address or a host without a port, such as `127.0.0.1` or `0.0.0.0`"))
}
