//! Grafana's provisioning: where it finds metrics, logs, traces, alerts and dashboards.

use serde::Serialize;

use crate::format::source::{Provisioning, provisioning};
use crate::{Settings, TraceStore};

/// The mount of all generated files, of which Grafana reads the dashboards.
pub(super) const MOUNT: &str = "..:/etc/grafana/generated:ro";

/// The folder of the mount.
const GENERATED: &str = "/etc/grafana/generated";

/// Returns the data sources that the dashboards expect, by the names of the containers.
pub(super) fn datasources(settings: &Settings) -> Provisioning {
    let mut settings = settings.clone();
    settings.dashboards = crate::Dashboards {
        traces: TraceStore::Jaeger,
        prometheus_url: "http://prometheus:9090".to_owned(),
        loki_url: "http://loki:3100".to_owned(),
        traces_url: "http://jaeger:16686".to_owned(),
    };
    provisioning(&settings).with_alertmanager("http://alertmanager:9093")
}

/// A file of folders with dashboards.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dashboards {
    api_version: u32,
    providers: [Provider; 1],
}

#[derive(Debug, Serialize)]
struct Provider {
    name: &'static str,
    r#type: &'static str,
    options: ProviderOptions,
}

#[derive(Debug, Serialize)]
struct ProviderOptions {
    path: &'static str,
}

/// Returns the provider of the generated dashboards.
pub(super) fn dashboards() -> Dashboards {
    let provider = Provider { name: "wasmetry", r#type: "file", options: ProviderOptions { path: GENERATED } };
    Dashboards { api_version: 1, providers: [provider] }
}
