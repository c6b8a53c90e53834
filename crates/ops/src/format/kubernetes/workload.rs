//! The `Deployment`: pods that serve, with their probes, resources and restrictions.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Context, Labels, Manifest, Selector};
use crate::deployment::{DRAIN_SECONDS, HTTP_PORT, TELEMETRY, TELEMETRY_PORT, USER, quantity};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentSpec {
    // There is no `replicas`: the autoscaler has it.
    selector: Selector,
    strategy: Strategy,
    template: Template,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    r#type: &'static str,
    rolling_update: RollingUpdate,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate {
    max_surge: u32,
    max_unavailable: u32,
}

#[derive(Debug, Serialize)]
struct Template {
    metadata: TemplateMetadata,
    spec: PodSpec,
}

#[derive(Debug, Serialize)]
struct TemplateMetadata {
    labels: Labels,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    automount_service_account_token: bool,
    enable_service_links: bool,
    security_context: PodSecurity,
    termination_grace_period_seconds: u64,
    topology_spread_constraints: [Spread; 1],
    containers: [Container; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodSecurity {
    run_as_non_root: bool,
    run_as_user: i64,
    run_as_group: i64,
    seccomp_profile: Seccomp,
}

#[derive(Debug, Serialize)]
struct Seccomp {
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spread {
    max_skew: u32,
    topology_key: &'static str,
    when_unsatisfiable: &'static str,
    label_selector: Selector,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    image: String,
    args: Vec<String>,
    env: Vec<Variable>,
    ports: [Port; 2],
    liveness_probe: Probe,
    readiness_probe: Probe,
    lifecycle: Lifecycle,
    resources: Resources,
    security_context: ContainerSecurity,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    name: &'static str,
    #[serde(flatten)]
    value: VariableValue,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum VariableValue {
    Value(&'static str),
    ValueFrom(Source),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    field_ref: FieldRef,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldRef {
    field_path: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: &'static str,
    container_port: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: HttpGet,
    period_seconds: u32,
    timeout_seconds: u32,
    failure_threshold: u32,
}

#[derive(Debug, Serialize)]
struct HttpGet {
    path: &'static str,
    port: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    pre_stop: Hook,
}

#[derive(Debug, Serialize)]
struct Hook {
    sleep: Sleep,
}

#[derive(Debug, Serialize)]
struct Sleep {
    seconds: u64,
}

#[derive(Debug, Serialize)]
struct Resources {
    requests: BTreeMap<&'static str, String>,
    limits: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSecurity {
    allow_privilege_escalation: bool,
    read_only_root_filesystem: bool,
    capabilities: Capabilities,
}

#[derive(Debug, Serialize)]
struct Capabilities {
    drop: [&'static str; 1],
}

/// Returns the `Deployment`.
pub(super) fn deployment(context: Context<'_>) -> Manifest<DeploymentSpec> {
    let spec = DeploymentSpec {
        selector: context.pods(),
        // A new pod is ready before an old one ends.
        strategy: Strategy {
            r#type: "RollingUpdate",
            rolling_update: RollingUpdate { max_surge: 1, max_unavailable: 0 },
        },
        template: Template {
            metadata: TemplateMetadata { labels: context.labels() },
            spec: PodSpec {
                // The process does not call Kubernetes.
                automount_service_account_token: false,
                enable_service_links: false,
                security_context: PodSecurity {
                    run_as_non_root: true,
                    run_as_user: USER,
                    run_as_group: USER,
                    seccomp_profile: Seccomp { r#type: "RuntimeDefault" },
                },
                termination_grace_period_seconds: context.deployment.grace,
                topology_spread_constraints: [Spread {
                    max_skew: 1,
                    topology_key: "kubernetes.io/hostname",
                    when_unsatisfiable: "ScheduleAnyway",
                    label_selector: context.pods(),
                }],
                containers: [container(context)],
            },
        },
    };
    context.manifest("apps/v1", "Deployment", spec)
}

fn container(context: Context<'_>) -> Container {
    let deployment = context.deployment;
    let memory = |bytes| ("memory", quantity(bytes));
    // The kubelet does not check the certificate.
    let scheme = context.service.settings.telemetry.is_tls().then_some("HTTPS");
    Container {
        name: context.service.settings.logs.container.clone(),
        image: deployment.image.clone(),
        // Kubernetes would expand `$(NAME)`.
        args: deployment.arguments().iter().map(|argument| argument.replace("$(", "$$(")).collect(),
        env: environment(),
        ports: [
            Port { name: "http", container_port: HTTP_PORT },
            Port { name: TELEMETRY, container_port: TELEMETRY_PORT },
        ],
        // It answers while components are compiled, so that a slow start is not ended.
        liveness_probe: probe("/healthz", 10, scheme),
        readiness_probe: probe("/readyz", 2, scheme),
        lifecycle: Lifecycle { pre_stop: Hook { sleep: Sleep { seconds: DRAIN_SECONDS } } },
        resources: Resources {
            requests: BTreeMap::from([
                ("cpu", context.settings().cpu_request.clone()),
                memory(deployment.memory_request),
            ]),
            limits: BTreeMap::from([memory(deployment.memory_limit)]),
        },
        security_context: ContainerSecurity {
            allow_privilege_escalation: false,
            read_only_root_filesystem: true,
            capabilities: Capabilities { drop: ["ALL"] },
        },
    }
}

fn probe(path: &'static str, period_seconds: u32, scheme: Option<&'static str>) -> Probe {
    let http_get = HttpGet { path, port: TELEMETRY, scheme };
    Probe { http_get, period_seconds, timeout_seconds: 2, failure_threshold: 3 }
}

/// The variables by which logs and spans have the attributes of the pod.
fn environment() -> Vec<Variable> {
    let field = |name, field_path| Variable {
        name,
        value: VariableValue::ValueFrom(Source { field_ref: FieldRef { field_path } }),
    };
    vec![
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_NAME", "metadata.name"),
        field("NODE_NAME", "spec.nodeName"),
        Variable {
            name: "OTEL_RESOURCE_ATTRIBUTES",
            value: VariableValue::Value(
                "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)",
            ),
        },
    ]
}
