//! The table `[ops.dashboards]`: the data sources of dashboards.

use serde::Deserialize;

use super::address::url;

/// The table `[ops.dashboards]`: the store of traces, and the URLs of data sources as Grafana
/// reaches them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Dashboards {
    /// The store of traces.
    pub traces: TraceStore,
    /// The URL of Prometheus.
    #[serde(deserialize_with = "url")]
    pub prometheus_url: String,
    /// The URL of Loki.
    #[serde(deserialize_with = "url")]
    pub loki_url: String,
    /// The URL of the store of traces.
    #[serde(deserialize_with = "url")]
    pub traces_url: String,
}

impl Default for Dashboards {
    fn default() -> Self {
        Self {
            traces: TraceStore::Jaeger,
            prometheus_url: "http://127.0.0.1:9090".to_owned(),
            loki_url: "http://127.0.0.1:3100".to_owned(),
            traces_url: "http://127.0.0.1:16686".to_owned(),
        }
    }
}

/// A store of traces, whose queries differ from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TraceStore {
    /// Jaeger.
    Jaeger,
    /// Grafana Tempo.
    Tempo,
}
