//! The `ServiceMonitor` and the `PrometheusRule` of the Prometheus operator.

use serde::Serialize;

use super::{Context, Manifest, Selector};
use crate::deployment::TELEMETRY;
use crate::format::rule::{self, Group};
use crate::format::scrape::literal;
use crate::promql::duration;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MonitorSpec {
    selector: Selector,
    pod_target_labels: [&'static str; 3],
    endpoints: [Endpoint; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    port: &'static str,
    path: &'static str,
    interval: String,
    honor_labels: bool,
    relabelings: [Relabeling; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relabeling {
    target_label: &'static str,
    replacement: String,
}

/// Returns the `ServiceMonitor`.
pub(super) fn service_monitor(context: Context<'_>) -> Manifest<MonitorSpec> {
    let settings = &context.service.settings;
    let spec = MonitorSpec {
        selector: context.pods(),
        pod_target_labels: ["app", "runtime", "version"],
        endpoints: [Endpoint {
            port: TELEMETRY,
            path: "/metrics",
            interval: duration(settings.scrape_interval),
            // A component's own `version` takes precedence over that of the pod.
            honor_labels: true,
            // The rules select this job; the operator's default is the name of the `Service`.
            relabelings: [Relabeling { target_label: "job", replacement: literal(&settings.job) }],
        }],
    };
    context.monitor("ServiceMonitor", spec)
}

#[derive(Debug, Serialize)]
pub(super) struct RuleSpec {
    groups: Vec<Group>,
}

/// Returns the `PrometheusRule` with all recording rules and alerts.
pub(super) fn rules(context: Context<'_>) -> Manifest<RuleSpec> {
    let files = [rule::recordings(context.service), rule::alerts(context.service)];
    context.monitor("PrometheusRule", RuleSpec { groups: files.into_iter().flat_map(|file| file.groups).collect() })
}
