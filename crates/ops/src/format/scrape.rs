//! The configuration of Prometheus.

use serde::Serialize;

use crate::Settings;
use crate::promql::duration;

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
    #[serde(flatten)]
    targets: Targets,
}

#[derive(Debug, Serialize)]
struct Targets {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_configs: Vec<Static>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    file_sd_configs: Vec<FileDiscovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http_sd_configs: Vec<HttpDiscovery>,
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
}

fn fixed(targets: &[String]) -> Vec<Static> {
    if targets.is_empty() { Vec::new() } else { vec![Static { targets: targets.to_vec() }] }
}

/// Returns the configuration that scrapes a service.
pub(crate) fn config(settings: &Settings) -> Config {
    let interval = duration(settings.scrape_interval);
    let files = &settings.target_files;
    let targets = Targets {
        static_configs: fixed(&settings.targets),
        file_sd_configs: if files.is_empty() { Vec::new() } else { vec![FileDiscovery { files: files.clone() }] },
        http_sd_configs: settings.target_url.iter().map(|url| HttpDiscovery { url: url.clone() }).collect(),
    };
    let alertmanagers = Targets {
        static_configs: fixed(&settings.alertmanagers),
        file_sd_configs: Vec::new(),
        http_sd_configs: Vec::new(),
    };
    Config {
        global: Global { scrape_interval: interval.clone(), evaluation_interval: interval },
        rule_files: vec!["rules/*.yml"],
        alerting: (!settings.alertmanagers.is_empty()).then(|| Alerting { alertmanagers: vec![alertmanagers] }),
        scrape_configs: vec![Scrape { job_name: settings.job.clone(), targets }],
    }
}
