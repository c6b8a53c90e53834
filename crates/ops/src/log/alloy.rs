//! Grafana Alloy.

use super::{LABELS, METADATA, POD_LABELS, Place};
use crate::File;
use crate::format::Head;
use crate::format::alloy::{self, Block, Value};
use crate::settings::LogShipping;

/// Returns the configuration for a place.
pub(super) fn file(settings: &LogShipping, place: Place, head: &Head) -> File {
    let mut comments = head.lines().to_vec();
    let (note, mut blocks) = match place {
        Place::Files => (&FILES_NOTE[..], files(settings)),
        Place::Pods => (&PODS_NOTE[..], pods(settings)),
    };
    comments.extend(note.iter().map(|line| (*line).to_owned()));
    blocks.push(process());
    blocks.push(write(settings));
    File { path: format!("logs/{}.alloy", place.name()), contents: alloy::file(&comments, &blocks) }
}

const FILES_NOTE: [&str; 2] = ["", "Grafana Alloy for the JSON lines of `wasmetry serve` in files."];

const PODS_NOTE: [&str; 4] = [
    "",
    "Grafana Alloy for the JSON lines of pods. It reads them from Kubernetes, so it needs a service account that may",
    "get, list and watch `pods` and get `pods/log`, and no access to nodes. Run one replica, or several with",
    "--cluster.enabled, which divide the pods between them.",
];

fn files(settings: &LogShipping) -> Vec<Block> {
    let target = |path: &String| Value::Map(vec![("__path__", path.clone()), ("job", "wasmetry".to_owned())]);
    vec![
        Block::component("local.file_match", "lines")
            .with("path_targets", Value::Lines(settings.files.iter().map(target).collect())),
        Block::component("loki.source.file", "lines")
            .with("targets", Value::Reference("local.file_match.lines.targets"))
            .with("forward_to", Value::references(&["loki.process.lines.receiver"])),
    ]
}

fn pods(settings: &LogShipping) -> Vec<Block> {
    let selectors = Block::new("selectors")
        .comment("The label `runtime` marks pods of WebAssembly workloads.")
        .with("role", Value::text("pod"))
        .with("label", Value::text(settings.pod_selector.clone()));
    let mut relabel = Block::component("discovery.relabel", "pods")
        .with("targets", Value::Reference("discovery.kubernetes.pods.targets"));
    for (label, source) in POD_LABELS {
        let rule =
            Block::new("rule").with("source_labels", Value::texts(&[source])).with("target_label", Value::text(label));
        relabel = relabel.block(rule);
    }
    vec![
        Block::component("discovery.kubernetes", "pods").with("role", Value::text("pod")).block(selectors),
        relabel,
        Block::component("loki.source.kubernetes", "pods")
            .with("targets", Value::Reference("discovery.relabel.pods.output"))
            .with("forward_to", Value::references(&["loki.process.lines.receiver"]))
            .block(Block::new("clustering").with("enabled", Value::Flag(true))),
    ]
}

/// Returns the pipeline: labels and times from a line, which stays as it is.
fn process() -> Block {
    let mut keys: Vec<&str> = LABELS.iter().map(|(_, key)| *key).chain(METADATA).chain(["timestamp"]).collect();
    keys.sort_unstable();
    keys.dedup();
    let expressions = keys.into_iter().map(|key| (key, "")).collect();
    let labels = LABELS.map(|(label, key)| (label, if label == key { "" } else { key }));
    Block::component("loki.process", "lines")
        .block(
            Block::new("stage.json")
                .comment("Lines that are not JSON are shipped as they are.")
                .with("expressions", Value::Names(expressions)),
        )
        .block(
            Block::new("stage.timestamp")
                .with("source", Value::text("timestamp"))
                .with("format", Value::text("RFC3339Nano"))
                .with("action_on_failure", Value::text("skip")),
        )
        .block(Block::new("stage.labels").with("values", Value::Names(labels.to_vec())))
        .block(
            Block::new("stage.structured_metadata")
                .with("values", Value::Names(METADATA.map(|key| (key, "")).to_vec())),
        )
        .with("forward_to", Value::references(&["loki.write.loki.receiver"]))
}

fn write(settings: &LogShipping) -> Block {
    let mut endpoint = Block::new("endpoint").with("url", Value::text(settings.push_url()));
    if let Some(tenant) = &settings.loki_tenant {
        endpoint = endpoint.with("tenant_id", Value::text(tenant.clone()));
    }
    if let Some(user) = &settings.loki_user {
        let auth = Block::new("basic_auth")
            .with("username", Value::text(user.clone()))
            .with("password_file", Value::text(settings.loki_password_file.clone()));
        endpoint = endpoint.block(auth);
    }
    Block::component("loki.write", "loki").block(endpoint)
}
