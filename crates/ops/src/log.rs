//! The configuration of log shippers, and queries of the logs that they ship.
//!
//! In come the places of lines and the address of Loki. Out come files for Grafana Alloy, Promtail
//! and the OpenTelemetry Collector, each for files of lines and for pods of Kubernetes, and
//! recipes. The folder does not know what is logged.
//!
//! Alloy and Promtail give lines the labels with which `wasmetry serve` pushes to Loki, so that a
//! query selects the same streams. A line stays JSON: a query parses it by `| json`.

mod alloy;
mod collector;
mod promtail;
pub(crate) mod recipe;

use crate::format::Head;
use crate::{File, Service};

/// The labels of a stream that the keys of a line become.
const LABELS: [(&str, &str); 5] = [
    ("component", "service"),
    ("level", "level"),
    ("service_name", "service"),
    ("tenant", "tenant"),
    ("version", "version"),
];

/// The keys of a line that become structured metadata, since each request has values of its own.
const METADATA: [&str; 2] = ["span_id", "trace_id"];

/// The labels of a pod's lines, and the metadata of Kubernetes' discovery that they are.
const POD_LABELS: [(&str, &str); 6] = [
    ("app", "__meta_kubernetes_pod_label_app"),
    ("container", "__meta_kubernetes_pod_container_name"),
    ("namespace", "__meta_kubernetes_namespace"),
    ("node", "__meta_kubernetes_pod_node_name"),
    ("pod", "__meta_kubernetes_pod_name"),
    ("runtime", "__meta_kubernetes_pod_label_runtime"),
];

/// The place from which lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Files that `wasmetry serve` writes.
    Files,
    /// Pods of Kubernetes.
    Pods,
}

impl Place {
    const ALL: [Self; 2] = [Self::Files, Self::Pods];

    const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Pods => "pods",
        }
    }
}

/// Returns the files of the folder `logs`.
pub(crate) fn files(service: &Service, head: &Head) -> Vec<File> {
    let settings = &service.settings.logs;
    let mut files = Vec::new();
    for place in Place::ALL {
        files.push(alloy::file(settings, place, head));
    }
    for place in Place::ALL {
        files.push(promtail::file(settings, place, head));
    }
    for place in Place::ALL {
        files.push(collector::file(settings, place, head));
    }
    files.push(recipe::file(service, head));
    files
}
