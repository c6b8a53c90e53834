//! The Compose file: a service with Prometheus, Alertmanager, Grafana, Loki and Jaeger around it,
//! on one machine.
//!
//! Sources: the Compose Specification, and Grafana's "Provision Grafana". Tests load the file with
//! the specification's own library.

mod grafana;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::{Head, scrape};
use crate::deployment::{Deployment, HTTP_PORT, TELEMETRY_PORT, USER};
use crate::{File, Service, Settings};

/// The images beside the service's. The first three are the releases that tests run.
const PROMETHEUS: &str = "prom/prometheus:v3.16.0";
const ALERTMANAGER: &str = "prom/alertmanager:v0.35.0";
const JAEGER: &str = "jaegertracing/jaeger:2.13.0";
const GRAFANA: &str = "grafana/grafana:13.2.3";
const LOKI: &str = "grafana/loki:3.7.7";

/// A Compose file.
#[derive(Debug, Serialize)]
struct Compose {
    name: String,
    services: Services,
    volumes: BTreeMap<&'static str, Empty>,
}

/// A mapping without keys.
#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Services {
    app: Container,
    prometheus: Container,
    alertmanager: Container,
    grafana: Container,
    loki: Container,
    jaeger: Container,
}

#[derive(Debug, Default, Serialize)]
struct Container {
    image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<&'static str, &'static str>,
    ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'static str>,
    restart: &'static str,
    #[serde(flatten)]
    restrictions: Option<Restrictions>,
}

/// The restrictions of the service, which are those of its pods.
#[derive(Debug, Serialize)]
struct Restrictions {
    user: String,
    read_only: bool,
    cap_drop: [&'static str; 1],
    security_opt: [&'static str; 1],
    stop_grace_period: String,
    mem_limit: String,
}

/// A configuration of Alertmanager that sends nothing: its page shows the alerts.
#[derive(Debug, Serialize)]
struct AlertmanagerConfig {
    route: Route,
    receivers: [Receiver; 1],
}

#[derive(Debug, Serialize)]
struct Route {
    receiver: &'static str,
    group_by: [&'static str; 3],
}

#[derive(Debug, Serialize)]
struct Receiver {
    name: &'static str,
}

/// Returns the Compose file, and the files that its containers read.
pub(crate) fn files(service: &Service, head: &Head, deployment: &Deployment) -> Vec<File> {
    let prometheus = scrape::local(service, &format!("app:{TELEMETRY_PORT}"), "alertmanager:9093");
    let alertmanager = AlertmanagerConfig {
        route: Route { receiver: "none", group_by: ["alertname", "component", "tenant"] },
        receivers: [Receiver { name: "none" }],
    };
    vec![
        head.file("compose/compose.yml", &compose(&service.settings, deployment)),
        head.file("compose/prometheus.yml", &prometheus),
        head.file("compose/alertmanager.yml", &alertmanager),
        head.file("compose/grafana/datasources.yml", &grafana::datasources(&service.settings)),
        head.file("compose/grafana/dashboards.yml", &grafana::dashboards()),
    ]
}

/// Returns a port that only this machine reaches.
fn local(port: u16) -> String {
    format!("127.0.0.1:{port}:{port}")
}

fn compose(settings: &Settings, deployment: &Deployment) -> Compose {
    let backend = |image: &str, port| Container {
        image: image.to_owned(),
        ports: vec![local(port)],
        restart: "unless-stopped",
        ..Container::default()
    };
    Compose {
        name: deployment.name.clone(),
        services: Services {
            app: app(deployment),
            prometheus: Container {
                // The image's own, and exemplars.
                command: [
                    "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/prometheus",
                    "--enable-feature=exemplar-storage",
                ]
                .into(),
                volumes: prometheus_volumes(settings),
                ..backend(PROMETHEUS, 9090)
            },
            alertmanager: Container {
                volumes: vec!["./alertmanager.yml:/etc/alertmanager/alertmanager.yml:ro".into()],
                ..backend(ALERTMANAGER, 9093)
            },
            grafana: Container {
                // Everyone who reaches it may look; only its administrator may change anything.
                environment: BTreeMap::from([
                    ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
                    ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
                ]),
                volumes: vec![
                    "./grafana/datasources.yml:/etc/grafana/provisioning/datasources/wasmetry.yml:ro".into(),
                    "./grafana/dashboards.yml:/etc/grafana/provisioning/dashboards/wasmetry.yml:ro".into(),
                    grafana::MOUNT.into(),
                    "grafana-data:/var/lib/grafana".into(),
                ],
                ..backend(GRAFANA, 3000)
            },
            loki: Container { volumes: vec!["loki-data:/loki".into()], ..backend(LOKI, 3100) },
            jaeger: backend(JAEGER, 16_686),
        },
        volumes: ["grafana-data", "loki-data", "prometheus-data"].map(|name| (name, Empty {})).into(),
    }
}

/// Returns the files that Prometheus reads. The token and the certificates of the telemetry address
/// have the same path in the container.
fn prometheus_volumes(settings: &Settings) -> Vec<Cow<'static, str>> {
    let access = [&settings.telemetry.token_file, &settings.telemetry.ca_file].into_iter().flatten();
    [
        "./prometheus.yml:/etc/prometheus/prometheus.yml:ro",
        "../rules:/etc/prometheus/rules:ro",
        "../alerts:/etc/prometheus/alerts:ro",
        "prometheus-data:/prometheus",
    ]
    .map(Cow::from)
    .into_iter()
    .chain(access.map(|path| format!("{path}:{path}:ro").into()))
    .collect()
}

fn app(deployment: &Deployment) -> Container {
    Container {
        image: deployment.image.clone(),
        environment: BTreeMap::from([
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://jaeger:4318/v1/traces"),
            ("WASMETRY_LOKI_ENDPOINT", "http://loki:3100"),
        ]),
        ports: vec![local(HTTP_PORT), local(TELEMETRY_PORT)],
        depends_on: vec!["loki", "jaeger"],
        restart: "unless-stopped",
        restrictions: Some(Restrictions {
            user: format!("{USER}:{USER}"),
            read_only: true,
            cap_drop: ["ALL"],
            security_opt: ["no-new-privileges:true"],
            stop_grace_period: format!("{}s", deployment.grace),
            mem_limit: deployment.memory_limit.to_string(),
        }),
        ..Container::default()
    }
}
