//! Pods of Kubernetes: their resources by cAdvisor, and their state by kube-state-metrics.

use crate::format::grafana::{Dashboard, DataSource, Variable};
use crate::promql::{Expr, Selector};

use super::layout::Section;
use super::panel::{number, series};
use super::select::{Select, or_zero, plain, rate};

/// The legends of pods and containers.
const POD: &str = "{{pod}}";
const CONTAINER: &str = "{{pod}} {{container}}";
const BY_CONTAINER: [&str; 2] = ["pod", "container"];

/// Returns the dashboard without panels.
pub(super) fn base() -> Dashboard {
    let namespace = |metric: &str| plain(metric).with("namespace", "=~", "$namespace");
    let of = |selector: Selector, label: &str| format!("label_values({selector}, {label})");
    let pods = namespace("kube_pod_info").with("pod", "=~", "$deployment-.*");
    Dashboard::new(
        vec![
            Variable::data_source(DataSource::PROMETHEUS, "Prometheus"),
            Variable::query("namespace", "Namespace", of(plain("kube_deployment_created"), "namespace")).single(),
            Variable::query("deployment", "Deployment", of(namespace("kube_deployment_created"), "deployment"))
                .single(),
            Variable::query("pod", "Pod", of(pods, "pod")),
        ],
        Vec::new(),
    )
}

/// Selects series of the deployment.
fn deployment(metric: &str) -> Selector {
    plain(metric).with("namespace", "=~", "$namespace").with("deployment", "=~", "$deployment")
}

/// Selects series of its pods.
fn pod(metric: &str) -> Selector {
    plain(metric).with("namespace", "=~", "$namespace").with("pod", "=~", "$pod")
}

/// Selects series of containers, without those of a whole pod and of its sandbox.
fn container(metric: &str) -> Selector {
    pod(metric).with("container", "!=", "").with("container", "!=", "POD")
}

/// Selects series of the autoscaler, whose name is that of the deployment.
fn autoscaler(metric: &str) -> Selector {
    plain(metric).with("namespace", "=~", "$namespace").with("horizontalpodautoscaler", "=~", "$deployment.*")
}

pub(super) fn sections(select: &Select<'_>) -> Vec<Section> {
    let sum = |by: &[&str], selector: Selector| Expr::sum(by, selector.now());
    let limits = |resource: &str, kind: &str| {
        let metric = format!("kube_pod_container_resource_{kind}");
        sum(&BY_CONTAINER, pod(&metric).with("resource", "=", resource))
    };
    let working_set = || Expr::aggregate("max", &BY_CONTAINER, container("container_memory_working_set_bytes").now());
    let missing = sum(&[], deployment("kube_deployment_spec_replicas"))
        .op("-", sum(&[], deployment("kube_deployment_status_replicas_available")));
    let restarts = |by: &[&str]| {
        Expr::sum(by, Expr::call("increase", pod("kube_pod_container_status_restarts_total").over(RESTARTS)))
    };
    let state = vec![
        number("Pods available", "none")
            .query(select, sum(&[], deployment("kube_deployment_status_replicas_available")), "")
            .wide(6),
        number("Pods missing", "none")
            .query(select, missing, "")
            .thresholds(&[("green", None), ("red", Some(1.0))])
            .wide(6)
            .describe("The pods that the deployment requests, without those that are available."),
        number("Restarts in 1 h", "none")
            .query(select, or_zero(restarts(&[])), "")
            .decimals(0)
            .thresholds(&[("green", None), ("red", Some(1.0))])
            .wide(6),
        number("Greatest share of a memory limit", "percentunit")
            .query(
                select,
                Expr::aggregate("max", &[], working_set().op_on("/", &BY_CONTAINER, false, limits("memory", "limits"))),
                "",
            )
            .thresholds(&[("green", None), ("orange", Some(0.8)), ("red", Some(0.95))])
            .without_value("no limit")
            .wide(6),
        series("Pods of the deployment", "short")
            .query(select, sum(&[], deployment("kube_deployment_status_replicas_available")), "available")
            .query(select, sum(&[], deployment("kube_deployment_status_replicas_updated")), "updated")
            .query(select, sum(&[], deployment("kube_deployment_spec_replicas")), "requested")
            .bounded(Some(0.0), None)
            .lines(),
        series("Pods by phase", "short")
            .query(select, sum(&["phase"], pod("kube_pod_status_phase")), "{{phase}}")
            .bounded(Some(0.0), None)
            .stacked(),
        series("Restarts", "short")
            .query(select, restarts(&BY_CONTAINER), CONTAINER)
            .bounded(Some(0.0), None)
            .describe("In the hour before each point."),
        series("Containers that wait or have ended", "short")
            .query(select, sum(&["reason"], pod("kube_pod_container_status_waiting_reason")), "waiting: {{reason}}")
            .query(
                select,
                sum(&["reason"], pod("kube_pod_container_status_last_terminated_reason")),
                "last end: {{reason}}",
            )
            .bounded(Some(0.0), None),
        series("Horizontal autoscaler", "short")
            .query(select, sum(&[], autoscaler("kube_horizontalpodautoscaler_status_current_replicas")), "current")
            .query(select, sum(&[], autoscaler("kube_horizontalpodautoscaler_status_desired_replicas")), "desired")
            .query(select, sum(&[], autoscaler("kube_horizontalpodautoscaler_spec_min_replicas")), "least")
            .query(select, sum(&[], autoscaler("kube_horizontalpodautoscaler_spec_max_replicas")), "most")
            .bounded(Some(0.0), None)
            .lines(),
        series("Pods ready", "short")
            .query(select, sum(&["pod"], pod("kube_pod_status_ready").with("condition", "=", "true")), POD)
            .bounded(Some(0.0), None)
            .stacked(),
    ];
    let throttled = |metric| rate(&BY_CONTAINER, container(metric));
    let resources = vec![
        series("CPU", "suffix:cores")
            .query(select, rate(&BY_CONTAINER, container("container_cpu_usage_seconds_total")), CONTAINER)
            .query(select, limits("cpu", "limits"), &format!("{CONTAINER} limit"))
            .query(select, limits("cpu", "requests"), &format!("{CONTAINER} request"))
            .bounded(Some(0.0), None)
            .lines(),
        series("Throttled CPU", "percentunit")
            .query(
                select,
                throttled("container_cpu_cfs_throttled_periods_total")
                    .op("/", throttled("container_cpu_cfs_periods_total")),
                CONTAINER,
            )
            .bounded(Some(0.0), Some(1.0))
            .describe("The share of periods in which a container had used up its CPU limit."),
        series("Memory", "bytes")
            .query(select, working_set(), CONTAINER)
            .query(select, limits("memory", "limits"), &format!("{CONTAINER} limit"))
            .query(select, limits("memory", "requests"), &format!("{CONTAINER} request"))
            .bounded(Some(0.0), None)
            .lines()
            .describe("The working set, by which the kernel ends a container that reaches its limit."),
        series("Memory, share of the limit", "percentunit")
            .query(select, working_set().op_on("/", &BY_CONTAINER, false, limits("memory", "limits")), CONTAINER)
            .bounded(Some(0.0), None)
            .alert_line(0.9),
        series("Network", "binBps")
            .query(select, rate(&["pod"], pod("container_network_receive_bytes_total")), "{{pod}} received")
            .query(select, rate(&["pod"], pod("container_network_transmit_bytes_total")), "{{pod}} sent"),
        series("Network: lost packets", "pps")
            .query(select, rate(&["pod"], pod("container_network_receive_packets_dropped_total")), "{{pod}} received")
            .query(select, rate(&["pod"], pod("container_network_transmit_packets_dropped_total")), "{{pod}} sent"),
    ];
    vec![Section::new("Pods", state), Section::new("Resources", resources)]
}

/// The seconds over which restarts are counted.
const RESTARTS: u64 = 3600;
