//! The configuration of Prometheus.

use serde::Serialize;

use crate::deployment::{Deployment, RUNTIME, TELEMETRY};
use crate::{Service, Settings, WindowScale};

/// A configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Config {
    global: Global,
    rule_files: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerting: Option<Alerting>,
    scrape_configs: Vec<Scrape>,
}

#[derive(Debug, Serialize)]
struct Global {
    scrape_interval: String,
    evaluation_interval: String,
}

#[derive(Debug, Serialize)]
struct Alerting {
    alertmanagers: Vec<Targets>,
}

#[derive(Debug, Serialize)]
struct Scrape {
    job_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    honor_labels: Option<bool>,
    #[serde(flatten)]
    access: Access,
    #[serde(flatten)]
    targets: Targets,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relabel_configs: Vec<Relabel>,
}

/// The access to a telemetry address that requires a token, or is served by TLS.
#[derive(Debug, Default, Serialize)]
struct Access {
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_config: Option<TlsConfig>,
}

#[derive(Debug, Serialize)]
struct Authorization {
    credentials_file: String,
}

#[derive(Debug, Serialize)]
struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
}

impl Access {
    fn new(settings: &Settings) -> Self {
        let access = &settings.telemetry;
        let (ca_file, server_name) = (access.ca_file.clone(), access.server_name.clone());
        let has_config = ca_file.is_some() || server_name.is_some();
        Self {
            scheme: access.is_tls().then_some("https"),
            authorization: access.token_file.clone().map(|credentials_file| Authorization { credentials_file }),
            tls_config: has_config.then_some(TlsConfig { ca_file, server_name }),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Targets {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_configs: Vec<Static>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    file_sd_configs: Vec<FileDiscovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http_sd_configs: Vec<HttpDiscovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_sd_configs: Vec<KubernetesDiscovery>,
}

#[derive(Debug, Serialize)]
struct Static {
    targets: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileDiscovery {
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HttpDiscovery {
    url: String,
    #[serde(flatten)]
    access: Access,
}

impl HttpDiscovery {
    /// The token is for the processes, which list themselves at `/sd`: no other server gets it.
    fn new(url: &str, settings: &Settings) -> Self {
        let access = if url.ends_with("/sd") {
            // The URL has the scheme.
            Access { scheme: None, ..Access::new(settings) }
        } else {
            Access::default()
        };
        Self { url: url.to_owned(), access }
    }
}

#[derive(Debug, Serialize)]
struct KubernetesDiscovery {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Namespaces>,
    selectors: Vec<PodSelector>,
}

#[derive(Debug, Serialize)]
struct Namespaces {
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PodSelector {
    role: &'static str,
    label: String,
}

#[derive(Debug, Default, Serialize)]
struct Relabel {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_label: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

impl Targets {
    fn fixed(targets: &[String]) -> Self {
        let configs = if targets.is_empty() { Vec::new() } else { vec![Static { targets: targets.to_vec() }] };
        Self { static_configs: configs, ..Self::default() }
    }
}

/// Returns a text as the replacement of a relabelling, in which `$` begins a reference.
pub(crate) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Returns the configuration that scrapes a service.
pub(crate) fn config(service: &Service, deployment: &Deployment) -> Config {
    let settings = &service.settings;
    let files = &settings.target_files;
    let targets = Targets {
        file_sd_configs: if files.is_empty() { Vec::new() } else { vec![FileDiscovery { files: files.clone() }] },
        http_sd_configs: settings.target_url.iter().map(|url| HttpDiscovery::new(url, settings)).collect(),
        ..Targets::fixed(&settings.targets)
    };
    let discovery = settings.kubernetes.discovery.then(|| pods(settings, deployment));
    let mut scrapes = Vec::new();
    if settings.has_targets() || discovery.is_none() {
        scrapes.push(Scrape {
            job_name: settings.job.clone(),
            honor_labels: None,
            access: Access::new(settings),
            targets,
            relabel_configs: Vec::new(),
        });
    }
    scrapes.extend(discovery);
    whole(settings, service.scale, scrapes, &settings.alertmanagers)
}

/// Returns the configuration that scrapes one process.
pub(crate) fn local(service: &Service, target: &str, alertmanager: &str) -> Config {
    let settings = &service.settings;
    let scrape = Scrape {
        job_name: settings.job.clone(),
        honor_labels: None,
        access: Access::new(settings),
        targets: Targets::fixed(&[target.to_owned()]),
        relabel_configs: Vec::new(),
    };
    whole(settings, service.scale, vec![scrape], &[alertmanager.to_owned()])
}

fn whole(settings: &Settings, scale: WindowScale, scrape_configs: Vec<Scrape>, alertmanagers: &[String]) -> Config {
    let interval = scale.interval(settings.scrape_interval);
    let alerting = || Alerting { alertmanagers: vec![Targets::fixed(alertmanagers)] };
    Config {
        global: Global { scrape_interval: interval.clone(), evaluation_interval: interval },
        rule_files: vec!["rules/*.yml", "alerts/*.yml"],
        alerting: (!alertmanagers.is_empty()).then(alerting),
        scrape_configs,
    }
}

/// Returns the job that finds the pods of a service, and gives their series the pods' labels.
fn pods(settings: &Settings, deployment: &Deployment) -> Scrape {
    let label = |name: &str| format!("__meta_kubernetes_pod_label_{name}");
    let pod = |name: &str| format!("__meta_kubernetes_pod_{name}");
    let copy = |source: String, target| Relabel {
        source_labels: vec![source],
        target_label: Some(target),
        ..Relabel::default()
    };
    let choose = |source: String, regex: &str, action| Relabel {
        source_labels: vec![source],
        regex: Some(regex.to_owned()),
        action: Some(action),
        ..Relabel::default()
    };
    Scrape {
        // A name of its own, because another job can have the name of the rules' job.
        job_name: format!("{}-kubernetes", settings.job),
        // A component's own `version` takes precedence over that of the pod.
        honor_labels: Some(true),
        access: Access::new(settings),
        targets: Targets {
            kubernetes_sd_configs: vec![KubernetesDiscovery {
                role: "pod",
                namespaces: settings.kubernetes.namespace.clone().map(|name| Namespaces { names: vec![name] }),
                selectors: vec![PodSelector {
                    role: "pod",
                    label: format!("app={},runtime={RUNTIME}", deployment.name),
                }],
            }],
            ..Targets::default()
        },
        relabel_configs: vec![
            // A pod is a target for each of its ports.
            choose(pod("container_port_name"), TELEMETRY, "keep"),
            choose(pod("phase"), "Succeeded|Failed", "drop"),
            copy(label("app"), "app"),
            copy(label("runtime"), "runtime"),
            copy(label("version"), "version"),
            copy("__meta_kubernetes_namespace".to_owned(), "namespace"),
            copy(pod("name"), "pod"),
            copy(pod("node_name"), "node"),
            Relabel { target_label: Some("job"), replacement: Some(literal(&settings.job)), ..Relabel::default() },
        ],
    }
}
