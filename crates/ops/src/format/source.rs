//! Grafana's provisioning of data sources.

use serde::Serialize;

use crate::Settings;
use crate::settings::TraceStore;

/// The identifiers of the data sources.
const PROMETHEUS: &str = "wasmetry-prometheus";
const LOKI: &str = "wasmetry-loki";
const TRACES: &str = "wasmetry-traces";

/// The key of a trace in exemplars and log records.
const TRACE: &str = "trace_id";

/// A provisioning file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Provisioning {
    api_version: u8,
    datasources: Vec<Source>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    name: &'static str,
    uid: &'static str,
    r#type: &'static str,
    access: &'static str,
    url: String,
    json_data: Settled,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Settled {
    #[serde(rename_all = "camelCase")]
    Prometheus {
        http_method: &'static str,
        /// The scrape interval.
        time_interval: String,
        exemplar_trace_id_destinations: [Exemplar; 1],
    },
    #[serde(rename_all = "camelCase")]
    Loki { derived_fields: [DerivedField; 2] },
    #[serde(rename_all = "camelCase")]
    Traces { traces_to_logs_v2: TracesToLogs },
    #[serde(rename_all = "camelCase")]
    Alertmanager { implementation: &'static str, handle_grafana_managed_alerts: bool },
}

/// The label of exemplars that names a trace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exemplar {
    name: &'static str,
    datasource_uid: &'static str,
}

/// A field of a log record that leads to a trace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DerivedField {
    name: &'static str,
    matcher_type: &'static str,
    matcher_regex: &'static str,
    /// The query: the value that the expression has found.
    url: &'static str,
    url_display_label: &'static str,
    datasource_uid: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesToLogs {
    datasource_uid: &'static str,
    span_start_time_shift: &'static str,
    span_end_time_shift: &'static str,
    custom_query: bool,
    query: &'static str,
}

impl Provisioning {
    /// Adds the data source of an Alertmanager.
    #[must_use]
    pub(crate) fn with_alertmanager(mut self, url: &str) -> Self {
        self.datasources.push(Source {
            name: "Alertmanager",
            uid: "wasmetry-alertmanager",
            r#type: "alertmanager",
            access: "proxy",
            url: url.to_owned(),
            json_data: Settled::Alertmanager { implementation: "prometheus", handle_grafana_managed_alerts: false },
        });
        self
    }
}

/// Returns the data sources that the dashboards expect, with links between metrics, logs and
/// traces.
pub(crate) fn provisioning(settings: &Settings) -> Provisioning {
    let sources = &settings.dashboards;
    // Provisioning replaces `$name` by variables of the environment; `$$` is a `$`.
    let derived = |matcher_type, matcher_regex| DerivedField {
        name: TRACE,
        matcher_type,
        matcher_regex,
        url: "$${__value.raw}",
        url_display_label: "Trace",
        datasource_uid: TRACES,
    };
    let (name, kind) = match sources.traces {
        TraceStore::Jaeger => ("Jaeger", "jaeger"),
        TraceStore::Tempo => ("Tempo", "tempo"),
    };
    let source = |name, uid, r#type, url: &str, json_data| Source {
        name,
        uid,
        r#type,
        access: "proxy",
        url: url.replace('$', "$$"),
        json_data,
    };
    let prometheus = Settled::Prometheus {
        http_method: "POST",
        time_interval: crate::promql::duration(settings.scrape_interval),
        exemplar_trace_id_destinations: [Exemplar { name: TRACE, datasource_uid: TRACES }],
    };
    // Of records that `wasmetry serve` pushes, and of its JSON lines.
    let loki =
        Settled::Loki { derived_fields: [derived("label", TRACE), derived("regex", r#""trace_id":"([0-9a-f]{32})""#)] };
    let traces = Settled::Traces {
        traces_to_logs_v2: TracesToLogs {
            datasource_uid: LOKI,
            span_start_time_shift: "-1m",
            span_end_time_shift: "1m",
            custom_query: true,
            query: r#"{component=~".+"} | json | drop __error__, __error_details__ | trace_id="$${__span.traceId}""#,
        },
    };
    Provisioning {
        api_version: 1,
        datasources: vec![
            source("Prometheus", PROMETHEUS, "prometheus", &sources.prometheus_url, prometheus),
            source("Loki", LOKI, "loki", &sources.loki_url, loki),
            source(name, TRACES, kind, &sources.traces_url, traces),
        ],
    }
}
