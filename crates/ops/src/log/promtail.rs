//! Promtail.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{LABELS, METADATA, POD_LABELS, Place};
use crate::File;
use crate::format::Head;
use crate::settings::LogShipping;

#[derive(Debug, Serialize)]
struct Config {
    server: Server,
    positions: Positions,
    clients: Vec<Client>,
    scrape_configs: Vec<Scrape>,
}

#[derive(Debug, Serialize)]
struct Server {
    http_listen_port: u16,
    grpc_listen_port: u16,
}

#[derive(Debug, Serialize)]
struct Positions {
    filename: &'static str,
}

#[derive(Debug, Serialize)]
struct Client {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_auth: Option<BasicAuth>,
}

#[derive(Debug, Serialize)]
struct BasicAuth {
    username: String,
    password_file: String,
}

#[derive(Debug, Serialize)]
struct Scrape {
    job_name: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_configs: Vec<Static>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_sd_configs: Vec<Discovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relabel_configs: Vec<Relabel>,
    pipeline_stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
struct Static {
    targets: Vec<&'static str>,
    labels: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Discovery {
    role: &'static str,
    selectors: Vec<Selector>,
}

#[derive(Debug, Serialize)]
struct Selector {
    role: &'static str,
    label: String,
}

#[derive(Debug, Serialize)]
struct Relabel {
    source_labels: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<&'static str>,
    target_label: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Cri(Empty),
    Json { expressions: BTreeMap<&'static str, &'static str> },
    Timestamp { source: &'static str, format: &'static str, action_on_failure: &'static str },
    Labels(BTreeMap<&'static str, &'static str>),
    StructuredMetadata(BTreeMap<&'static str, &'static str>),
}

#[derive(Debug, Serialize)]
struct Empty {}

const NOTE: [&str; 3] = [
    "",
    "Promtail reached its end of life on 2026-03-02 and gets no security fixes. Use it only until Grafana Alloy",
    "(the file *.alloy beside this one) has replaced it: the labels are the same.",
];

/// Returns the configuration for a place.
pub(super) fn file(settings: &LogShipping, place: Place, head: &Head) -> File {
    let config = Config {
        server: Server { http_listen_port: 9080, grpc_listen_port: 0 },
        positions: Positions { filename: "/var/lib/promtail/positions.yaml" },
        clients: vec![Client {
            url: settings.push_url(),
            tenant_id: settings.loki_tenant.clone(),
            basic_auth: settings
                .loki_user
                .as_ref()
                .map(|user| BasicAuth { username: user.clone(), password_file: settings.loki_password_file.clone() }),
        }],
        scrape_configs: vec![match place {
            Place::Files => files(settings),
            Place::Pods => pods(settings),
        }],
    };
    head.noted_file(&format!("logs/promtail-{}.yml", place.name()), &NOTE, &config)
}

fn files(settings: &LogShipping) -> Scrape {
    let of = |path: &String| Static {
        targets: vec!["localhost"],
        labels: BTreeMap::from([("__path__", path.clone()), ("job", "wasmetry".to_owned())]),
    };
    Scrape {
        job_name: "wasmetry",
        static_configs: settings.files.iter().map(of).collect(),
        kubernetes_sd_configs: Vec::new(),
        relabel_configs: Vec::new(),
        pipeline_stages: stages(),
    }
}

fn pods(settings: &LogShipping) -> Scrape {
    let rule = |(label, source)| Relabel {
        source_labels: vec![source],
        separator: None,
        target_label: label,
        replacement: None,
    };
    // Promtail reads the files of its own node only.
    let mut relabel_configs = vec![rule(("__host__", "__meta_kubernetes_pod_node_name"))];
    relabel_configs.extend(POD_LABELS.map(rule));
    relabel_configs.push(Relabel {
        source_labels: vec!["__meta_kubernetes_pod_uid", "__meta_kubernetes_pod_container_name"],
        separator: Some("/"),
        target_label: "__path__",
        replacement: Some("/var/log/pods/*$1/*.log"),
    });
    let selector = Selector { role: "pod", label: settings.pod_selector.clone() };
    let mut pipeline_stages = vec![Stage::Cri(Empty {})];
    pipeline_stages.extend(stages());
    Scrape {
        job_name: "pods",
        static_configs: Vec::new(),
        kubernetes_sd_configs: vec![Discovery { role: "pod", selectors: vec![selector] }],
        relabel_configs,
        pipeline_stages,
    }
}

/// Returns the stages: labels and times from a line, which stays as it is.
fn stages() -> Vec<Stage> {
    let keys = LABELS.iter().map(|(_, key)| *key).chain(METADATA).chain(["timestamp"]);
    vec![
        Stage::Json { expressions: keys.map(|key| (key, key)).collect() },
        Stage::Timestamp { source: "timestamp", format: "RFC3339Nano", action_on_failure: "skip" },
        Stage::Labels(LABELS.into_iter().collect()),
        Stage::StructuredMetadata(METADATA.map(|key| (key, key)).into_iter().collect()),
    ]
}
