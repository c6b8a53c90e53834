//! Kubernetes' manifests: the objects that run a service, and those that watch it.
//!
//! In comes a [`Deployment`], out come files with one object each. The folder does not know how
//! memory and names are computed.
//!
//! Sources: the API reference of Kubernetes 1.37, and the Prometheus operator's. Tests decode each
//! file into their own types.

mod availability;
mod monitor;
mod network;
mod workload;

use std::collections::BTreeMap;

use serde::Serialize;

use super::Head;
use super::adapter;
use crate::deployment::{Deployment, RUNTIME};
use crate::{File, Service};

/// Labels of an object.
type Labels = BTreeMap<String, String>;

/// An object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: S,
}

/// The metadata of an object.
#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    labels: Labels,
}

/// The labels that select the pods of a service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Labels,
}

/// A plan and the settings, from which objects are made.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    service: &'a Service,
    deployment: &'a Deployment,
}

impl Context<'_> {
    fn settings(&self) -> &crate::settings::Kubernetes {
        &self.service.settings.kubernetes
    }

    /// Returns an object with the labels of the pods.
    fn manifest<S>(&self, api_version: &'static str, kind: &'static str, spec: S) -> Manifest<S> {
        Manifest {
            api_version,
            kind,
            metadata: Metadata {
                name: self.deployment.name.clone(),
                namespace: self.settings().namespace.clone(),
                labels: self.labels(),
            },
            spec,
        }
    }

    /// Returns an object that a Prometheus of the operator selects.
    fn monitor<S>(&self, kind: &'static str, spec: S) -> Manifest<S> {
        let mut manifest = self.manifest("monitoring.coreos.com/v1", kind, spec);
        manifest.metadata.labels.extend(self.settings().monitor_labels.clone());
        manifest
    }

    /// The labels of the pods, which become labels of their series.
    fn labels(&self) -> Labels {
        let version = &self.deployment.version;
        [("app", self.deployment.name.as_str()), ("runtime", RUNTIME), ("version", version)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// The labels that select the pods. They cannot be changed later, so the version is not among
    /// them.
    fn selector(&self) -> Labels {
        Labels::from([("app".to_owned(), self.deployment.name.clone())])
    }

    fn pods(&self) -> Selector {
        Selector { match_labels: self.selector() }
    }
}

/// Returns the manifests of a service, and the rules of the Prometheus adapter, by which the
/// autoscaler reads its metrics.
pub(crate) fn files(service: &Service, head: &Head, deployment: &Deployment) -> Vec<File> {
    let context = Context { service, deployment };
    vec![
        head.file("kubernetes/deployment.yml", &workload::deployment(context)),
        head.file("kubernetes/service.yml", &network::service(context)),
        head.file("kubernetes/service-monitor.yml", &monitor::service_monitor(context)),
        head.file("kubernetes/prometheus-rule.yml", &monitor::rules(context)),
        head.file("kubernetes/horizontal-pod-autoscaler.yml", &availability::autoscaler(context)),
        head.file("kubernetes/pod-disruption-budget.yml", &availability::disruption_budget(context)),
        head.file("kubernetes/network-policy.yml", &network::policy(context)),
        head.file("prometheus-adapter.yml", &adapter::rules(service)),
    ]
}
