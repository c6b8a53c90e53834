//! The `HorizontalPodAutoscaler` and the `PodDisruptionBudget`.

use serde::Serialize;

use super::{Context, Manifest, Selector};
use crate::format::adapter;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AutoscalerSpec {
    scale_target_ref: Target,
    min_replicas: u32,
    max_replicas: u32,
    metrics: [Metric; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    api_version: &'static str,
    kind: &'static str,
    name: String,
}

#[derive(Debug, Serialize)]
struct Metric {
    r#type: &'static str,
    pods: PodsMetric,
}

#[derive(Debug, Serialize)]
struct PodsMetric {
    metric: MetricName,
    target: Average,
}

#[derive(Debug, Serialize)]
struct MetricName {
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Average {
    r#type: &'static str,
    average_value: String,
}

/// Returns the `HorizontalPodAutoscaler`, on the request rate if a pod's is known, else on
/// saturation.
pub(super) fn autoscaler(context: Context<'_>) -> Manifest<AutoscalerSpec> {
    let settings = context.settings();
    let (name, value) = match settings.request_rate {
        Some(rate) => (adapter::REQUEST_RATE, rate),
        None => (adapter::SATURATION, settings.saturation),
    };
    let target = Average { r#type: "AverageValue", average_value: quantity(value) };
    let spec = AutoscalerSpec {
        scale_target_ref: Target { api_version: "apps/v1", kind: "Deployment", name: context.deployment.name.clone() },
        min_replicas: settings.replicas,
        max_replicas: settings.max_replicas,
        metrics: [Metric { r#type: "Pods", pods: PodsMetric { metric: MetricName { name }, target } }],
    };
    context.manifest("autoscaling/v2", "HorizontalPodAutoscaler", spec)
}

/// Returns a number as a quantity, which has at most thousandths.
fn quantity(value: f64) -> String {
    let thousandths = (value * 1000.0).round() as u64;
    if thousandths.is_multiple_of(1000) { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BudgetSpec {
    selector: Selector,
    max_unavailable: u32,
    unhealthy_pod_eviction_policy: &'static str,
}

/// Returns the `PodDisruptionBudget`: one pod at a time, however many there are. One that is not
/// ready serves no one, and may always go.
pub(super) fn disruption_budget(context: Context<'_>) -> Manifest<BudgetSpec> {
    let spec =
        BudgetSpec { selector: context.pods(), max_unavailable: 1, unhealthy_pod_eviction_policy: "AlwaysAllow" };
    context.manifest("policy/v1", "PodDisruptionBudget", spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_thousandths() {
        for (value, expected) in [(0.7, "700m"), (50.0, "50"), (12.5, "12500m"), (0.001, "1m"), (1e6, "1000000")] {
            assert_eq!(quantity(value), expected);
        }
    }
}
