//! The `ServiceMonitor` and the `PrometheusRule` of the Prometheus operator.

use serde::Serialize;

use super::{Context, Manifest, Selector};
use crate::deployment::TELEMETRY;
use crate::format::rule::{self, Group};
use crate::format::scrape::literal;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_config: Option<TlsConfig>,
    interval: String,
    honor_labels: bool,
    relabelings: [Relabeling; 1],
}

#[derive(Debug, Serialize)]
struct Authorization {
    credentials: SecretKey,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<SecretOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
}

#[derive(Debug, Serialize)]
struct SecretOf {
    secret: SecretKey,
}

#[derive(Debug, Serialize)]
struct SecretKey {
    name: String,
    key: &'static str,
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
    let access = &settings.telemetry;
    let secret = |key| SecretKey {
        name: access.secret.clone().unwrap_or_else(|| format!("{}-telemetry", context.deployment.name)),
        key,
    };
    let ca = access.ca_file.is_some().then(|| SecretOf { secret: secret("ca.crt") });
    let has_config = ca.is_some() || access.server_name.is_some();
    let spec = MonitorSpec {
        selector: context.pods(),
        pod_target_labels: ["app", "runtime", "version"],
        endpoints: [Endpoint {
            port: TELEMETRY,
            path: "/metrics",
            scheme: access.is_tls().then_some("https"),
            authorization: access.token_file.is_some().then(|| Authorization { credentials: secret("token") }),
            tls_config: has_config.then(|| TlsConfig { ca, server_name: access.server_name.clone() }),
            interval: context.service.scale.interval(settings.scrape_interval),
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
    let service = context.service;
    let mut files = vec![rule::recordings(service), rule::alerts(service)];
    if !service.objectives().is_empty() {
        files.extend([rule::slo_recordings(service), rule::slo_alerts(service)]);
    }
    context.monitor("PrometheusRule", RuleSpec { groups: files.into_iter().flat_map(|file| file.groups).collect() })
}
