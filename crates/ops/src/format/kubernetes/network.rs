//! The `Service`, and the `NetworkPolicy` of the telemetry port.

use serde::Serialize;

use super::{Context, Labels, Manifest, Selector};
use crate::deployment::{TELEMETRY, TELEMETRY_PORT};

#[derive(Debug, Serialize)]
pub(super) struct ServiceSpec {
    selector: Labels,
    ports: [Port; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: &'static str,
    port: u16,
    target_port: &'static str,
}

/// Returns the `Service`.
pub(super) fn service(context: Context<'_>) -> Manifest<ServiceSpec> {
    let ports = [
        Port { name: "http", port: 80, target_port: "http" },
        Port { name: TELEMETRY, port: TELEMETRY_PORT, target_port: TELEMETRY },
    ];
    context.manifest("v1", "Service", ServiceSpec { selector: context.selector(), ports })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicySpec {
    pod_selector: Selector,
    policy_types: [&'static str; 1],
    ingress: [Ingress; 2],
}

#[derive(Debug, Serialize)]
struct Ingress {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<Peer>,
    ports: [PolicyPort; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    namespace_selector: Selector,
}

#[derive(Debug, Serialize)]
struct PolicyPort {
    protocol: &'static str,
    port: &'static str,
}

/// Returns the `NetworkPolicy`: everyone reaches the service, and only the namespace of Prometheus
/// the telemetry. Probes come from the node, to which policies do not apply.
pub(super) fn policy(context: Context<'_>) -> Manifest<PolicySpec> {
    let ports = |port| [PolicyPort { protocol: "TCP", port }];
    // Kubernetes gives every namespace this label.
    let namespace = ("kubernetes.io/metadata.name".to_owned(), context.settings().monitoring_namespace.clone());
    let monitoring = Peer { namespace_selector: Selector { match_labels: Labels::from([namespace]) } };
    let ingress = [
        Ingress { from: Vec::new(), ports: ports("http") },
        Ingress { from: vec![monitoring], ports: ports(TELEMETRY) },
    ];
    let spec = PolicySpec { pod_selector: context.pods(), policy_types: ["Ingress"], ingress };
    context.manifest("networking.k8s.io/v1", "NetworkPolicy", spec)
}
