//! Grafana's provisioning: where it finds metrics, logs, traces, alerts and dashboards.

use serde::Serialize;

use crate::Settings;
use crate::promql::duration;

/// The mount of all generated files, of which Grafana reads the dashboards.
pub(super) const MOUNT: &str = "..:/etc/grafana/generated:ro";

/// The folder of the mount.
const GENERATED: &str = "/etc/grafana/generated";

/// A file of data sources.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Datasources {
    api_version: u32,
    datasources: [Datasource; 4],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Datasource {
    name: &'static str,
    r#type: &'static str,
    uid: &'static str,
    access: &'static str,
    url: &'static str,
    is_default: bool,
    json_data: Options,
}

/// The options of a data source, by its type.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Options {
    #[serde(rename_all = "camelCase")]
    Prometheus {
        time_interval: String,
        alertmanager_uid: &'static str,
        exemplar_trace_id_destinations: [ExemplarDestination; 1],
    },
    #[serde(rename_all = "camelCase")]
    Loki {
        derived_fields: [DerivedField; 1],
    },
    #[serde(rename_all = "camelCase")]
    Alertmanager {
        implementation: &'static str,
        handle_grafana_managed_alerts: bool,
    },
    Jaeger {},
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExemplarDestination {
    name: &'static str,
    datasource_uid: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DerivedField {
    name: &'static str,
    matcher_type: &'static str,
    matcher_regex: &'static str,
    datasource_uid: &'static str,
    url: &'static str,
}

/// Returns the data sources. Exemplars and logs lead to their traces.
pub(super) fn datasources(settings: &Settings) -> Datasources {
    let source = |name, r#type, url, json_data| Datasource {
        name,
        r#type,
        uid: r#type,
        access: "proxy",
        url,
        is_default: r#type == "prometheus",
        json_data,
    };
    let prometheus = Options::Prometheus {
        time_interval: duration(settings.scrape_interval),
        alertmanager_uid: "alertmanager",
        exemplar_trace_id_destinations: [ExemplarDestination { name: "trace_id", datasource_uid: "jaeger" }],
    };
    let loki = Options::Loki {
        derived_fields: [DerivedField {
            name: "trace",
            matcher_type: "label",
            matcher_regex: "trace_id",
            datasource_uid: "jaeger",
            // Grafana expands variables of its environment in this file, unless `$` is doubled.
            url: "$${__value.raw}",
        }],
    };
    let alertmanager = Options::Alertmanager { implementation: "prometheus", handle_grafana_managed_alerts: false };
    Datasources {
        api_version: 1,
        datasources: [
            source("Prometheus", "prometheus", "http://prometheus:9090", prometheus),
            source("Loki", "loki", "http://loki:3100", loki),
            source("Jaeger", "jaeger", "http://jaeger:16686", Options::Jaeger {}),
            source("Alertmanager", "alertmanager", "http://alertmanager:9093", alertmanager),
        ],
    }
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
