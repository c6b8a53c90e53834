//! Operations from declarations: the Prometheus configuration, recording rules, alerts and service
//! level objectives of a service, the tests that prove the alerts, Grafana's dashboards, the
//! delivery of alerts by Alertmanager, and the shipping of logs and traces.
//!
//! ```
//! use wasmetry_ops::{Component, Kind, Service, generate};
//!
//! let declarations = wasmetry_host::Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
//! let service = Service::new("shop.wasm", vec![Component::new("shop", declarations)]);
//! let files = generate(&service, Kind::Rules, true);
//! let alerts = files.iter().find(|file| file.path == "alerts/wasm-alerts.yml").unwrap();
//! assert!(alerts.contents.contains("alert: ShopHighErrorRate"));
//! # Ok::<(), wasmetry_host::Error>(())
//! ```
//!
//! It deliberately does not read or write files, run a query, or know the command line.

#![forbid(unsafe_code)]

mod alert;
mod cost;
mod dashboard;
mod deployment;
pub mod diff;
pub mod drill;
mod error;
mod format;
mod host;
mod inhibition;
mod log;
pub mod logql;
pub mod promql;
mod recording;
mod scale;
mod scope;
mod settings;
mod slo;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use wasmetry_host::alert_name::{self, camel_case};
use wasmetry_host::{Declarations, Metric};

pub use alert::proof::{Check, InputSeries, Labels, Proof, Values};
pub use alert::{Alert, Requests, Severity};
pub use error::Error;
pub use inhibition::{Inhibition, Matcher};
pub use log::recipe::LogQuery;
pub use promql::syntax::SyntaxError;
pub use recording::Recording;
pub use scale::{InvalidScale, WindowScale};
pub use settings::{
    Chat, Dashboards, Day, Kubernetes, LogShipping, Pager, Receivers, Settings, TelemetryAccess, TraceShipping,
    TraceStore, WorkingHours,
};
pub use slo::objective::{Indicator, Objective};
pub use slo::openslo::{OpenSloError, Positioned, openslo};
pub use slo::report::{Answer, Month, RangeQuery, Report};

use deployment::Deployment;
use drill::Origin;
use scope::Scope;

/// A component of a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Component {
    /// The label `component` of its series.
    pub name: String,
    /// The label `tenant` of its series. If it is not known, every tenant is meant.
    pub tenant: Option<String>,
    /// The version, which is a label of its series.
    pub version: String,
    /// The path of its binary, as `wasmetry serve` opens it. The default is its name with `.wasm`.
    pub path: Option<String>,
    /// The instances that it may have in each process.
    pub instances: u32,
    /// The bytes of linear memory that one instance may have.
    pub memory: u64,
    /// The number of its routes.
    pub routes: u64,
    /// The metrics that its binary declares.
    pub declarations: Declarations,
    /// The names of declared metrics that are not exported because of a conflict.
    pub withdrawn: BTreeSet<String>,
}

impl Component {
    /// Returns a component with one route, and the default number and memory of instances.
    pub fn new(name: impl Into<String>, declarations: Declarations) -> Self {
        Self {
            name: name.into(),
            tenant: None,
            version: "0".to_owned(),
            path: None,
            instances: 128,
            memory: 64 << 20,
            routes: 1,
            declarations,
            withdrawn: BTreeSet::new(),
        }
    }

    /// The declared metrics that are exported.
    pub(crate) fn exported(&self) -> Vec<&Metric> {
        let metrics = self.declarations.metrics().iter().map(|metric| &**metric);
        metrics.filter(|metric| !self.withdrawn.contains(&metric.name)).collect()
    }
}

/// A service: the components that its processes serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Service {
    /// The arguments of `wasmetry ops KIND` that name the binary or the configuration.
    pub source: String,
    /// The files of OpenSLO documents that the command line names.
    pub openslo: Vec<String>,
    /// The components.
    pub components: Vec<Component>,
    /// The table `[ops]`.
    pub settings: Settings,
    /// The objectives, each of which was checked against the components.
    objectives: Vec<Objective>,
    /// `true` if a configuration is served, which is reloaded when it changes.
    pub is_reloaded: bool,
    /// The seconds for requests in progress after SIGTERM.
    pub shutdown_timeout: u64,
    /// The scale of durations. The default is 1; any other is for drills and tests only.
    pub scale: WindowScale,
}

impl Service {
    /// Returns a service with default settings.
    pub fn new(source: impl Into<String>, components: Vec<Component>) -> Self {
        let settings = Settings::default();
        Self {
            source: source.into(),
            openslo: Vec::new(),
            components,
            settings,
            objectives: Vec::new(),
            is_reloaded: false,
            shutdown_timeout: 30,
            scale: WindowScale::default(),
        }
    }

    /// Returns the alerts: those about the processes, then those of each component, then those of
    /// the objectives.
    pub fn alerts(&self) -> Vec<Alert> {
        self.alerts_with_origins().into_iter().map(|(alert, _)| alert).collect()
    }

    /// Returns the alerts, each with its origin.
    pub(crate) fn alerts_with_origins(&self) -> Vec<(Alert, Origin)> {
        let service = self.alert_name();
        let alerts = alert::process::alerts(self, &service).into_iter();
        let mut all: Vec<(Alert, Origin)> = alerts.map(|alert| (alert, Origin::Process)).collect();
        let prefixes = self.prefixes();
        for (at, (component, prefix)) in self.components.iter().zip(&prefixes).enumerate() {
            let scope = Scope { settings: &self.settings, component, prefix };
            let alerts = alert::component::alerts(&scope).into_iter().chain(alert::custom::alerts(&scope));
            all.extend(alerts.map(|alert| (alert, Origin::Component(at))));
        }
        let of = |slo: &slo::Slo<'_>| {
            let is_on = |component: &Component| slo.component.is_some_and(|on| std::ptr::eq(on, component));
            let component = self.components.iter().position(is_on);
            let with_origin = |alert: Alert| {
                let origin = slo.origin(alert.severity, component);
                (alert, origin)
            };
            slo.alerts().into_iter().map(with_origin).collect::<Vec<_>>()
        };
        all.extend(self.with_slos(|slos| slos.iter().flat_map(of).collect::<Vec<_>>()));
        make_unique(&mut all);
        all
    }

    /// Returns the recording rules, in the order of their evaluation: those of the requests, then
    /// those of the objectives.
    pub fn recordings(&self) -> Vec<Recording> {
        let mut recordings = recording::recordings(self);
        let of_slos = |slos: &[slo::Slo<'_>]| {
            let of = |slo: &slo::Slo<'_>| slo.recordings(slo.example().as_ref());
            slos.iter().flat_map(of).collect::<Vec<_>>()
        };
        recordings.extend(self.with_slos(of_slos));
        recordings
    }

    /// Calls a function with the objectives, each once for every component that it is on.
    pub(crate) fn with_slos<T>(&self, use_slos: impl FnOnce(&[slo::Slo<'_>]) -> T) -> T {
        let (prefixes, service) = (self.prefixes(), self.alert_name());
        use_slos(&slo::slos(self, &prefixes, &service))
    }

    /// Returns the prefix of the alerts about the whole service.
    fn alert_name(&self) -> String {
        let service = match (&self.settings.service, self.components.as_slice()) {
            (Some(name), _) => camel_case(name),
            (None, [only]) => camel_case(&only.name),
            (None, _) => String::new(),
        };
        if service.is_empty() { "Wasmetry".to_owned() } else { service }
    }

    /// Returns what queries metrics: alerts, those of objectives too, recording rules, and panels
    /// of declared metrics.
    pub fn uses(&self) -> Vec<diff::Use> {
        let recordings = self.recordings().into_iter();
        let recordings = recordings.map(|rule| {
            let (kind, name) = match rule.labels.get("slo").filter(|_| rule.is_of_objective()) {
                Some(objective) => ("objective", objective.clone()),
                None => ("recording rule", rule.record),
            };
            diff::Use { kind, name, expr: rule.expr }
        });
        let alerts = self.alerts().into_iter();
        let alerts = alerts.map(|alert| diff::Use { kind: "alert", name: alert.name, expr: alert.expr });
        alerts.chain(recordings).chain(dashboard::uses(self)).collect()
    }

    /// Returns the rules by which alerts silence each other.
    pub fn inhibitions(&self) -> Vec<Inhibition> {
        inhibition::inhibitions(self)
    }

    /// Returns queries of the logs.
    pub fn log_queries(&self) -> Vec<LogQuery> {
        log::recipe::queries(self)
    }

    /// Returns the prefix of the alerts of each component: its name, and its tenant if another
    /// component has the name too.
    fn prefixes(&self) -> Vec<String> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for component in &self.components {
            *names.entry(camel_case(&component.name)).or_default() += 1;
        }
        let prefix = |component: &Component| {
            let name = camel_case(&component.name);
            let tenant = component.tenant.as_deref().filter(|_| names.get(&name).is_some_and(|count| *count > 1));
            alert_name::prefix(&component.name, tenant)
        };
        self.components.iter().map(prefix).collect()
    }
}

/// Appends numbers to names that occur twice, so that each alert is tested by itself.
///
/// The console removes the number where it finds the component of an alert.
fn make_unique(alerts: &mut [(Alert, Origin)]) {
    let mut taken: BTreeSet<String> = alerts.iter().map(|(alert, _)| alert.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for (alert, _) in alerts {
        let mut number = 2;
        let name = alert.name.clone();
        while !seen.insert(alert.name.clone()) {
            loop {
                alert.name = format!("{name}{number}");
                number += 1;
                if taken.insert(alert.name.clone()) {
                    break;
                }
            }
        }
    }
}

/// A set of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The scrape configuration, the recording rules, and notes on cost.
    Prometheus,
    /// The alerts, and the recording rules that they use.
    Rules,
    /// All files.
    All,
    /// The recording rules and alerts of the objectives.
    Slo,
    /// Alertmanager's routes, inhibition and receivers, and the templates of its messages.
    Alertmanager,
    /// The configuration of log shippers, and queries of the logs.
    Logs,
    /// The configuration of an OpenTelemetry Collector for traces.
    Traces,
    /// Manifests, the container file and the rules of the Prometheus adapter.
    Kubernetes,
    /// The Compose file, its containers' configurations, the container file, and all rules.
    Compose,
    /// Grafana's dashboards and data sources, and the recording rules that they use.
    Dashboard,
}

impl Kind {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Rules => "rules",
            Self::All => "all",
            Self::Slo => "slo",
            Self::Alertmanager => "alertmanager",
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Kubernetes => "kubernetes",
            Self::Compose => "compose",
            Self::Dashboard => "dashboard",
        }
    }
}

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path in the output directory, with `/` between its parts.
    pub path: String,
    /// The contents.
    pub contents: String,
}

/// Generates files; with `with_tests` also those that `promtool test rules` runs. The same service
/// always gives the same bytes.
///
/// The files are valid together, in one directory: alerts and tests refer to the recording rules.
pub fn generate(service: &Service, kind: Kind, with_tests: bool) -> Vec<File> {
    let head = format::Head::new(service);
    let deployment = Deployment::new(service);
    let has = |kinds: &[Kind]| kind == Kind::All || kinds.contains(&kind);
    let mut files = Vec::new();
    if has(&[Kind::Prometheus]) {
        files.push(head.file("prometheus.yml", &format::scrape::config(service, &deployment)));
        files.push(cost::notes(service, &head));
    }
    if has(&[Kind::Prometheus, Kind::Rules, Kind::Dashboard, Kind::Compose]) {
        files.push(head.file("rules/recording.yml", &format::rule::recordings(service)));
        if with_tests {
            files.push(head.file("tests/recording.yml", &format::test::recordings(service)));
            files.push(head.file("tests/season.yml", &format::test::season(service)));
        }
    }
    if has(&[Kind::Rules, Kind::Compose]) {
        files.push(head.file("alerts/wasm-alerts.yml", &format::rule::alerts(service)));
        if with_tests {
            files.push(head.file("tests/alerts.yml", &format::test::alerts(service)));
        }
    }
    if has(&[Kind::Slo, Kind::Dashboard, Kind::Compose]) && !service.objectives.is_empty() {
        files.push(head.file("rules/slo.yml", &format::rule::slo_recordings(service)));
        if with_tests {
            files.push(head.file("tests/slo.yml", &format::test::slo_recordings(service)));
        }
    }
    if has(&[Kind::Slo, Kind::Compose]) && !service.objectives.is_empty() {
        files.push(head.file("rules/slo-alerts.yml", &format::rule::slo_alerts(service)));
        if with_tests {
            files.push(head.file("tests/slo-alerts.yml", &format::test::slo_alerts(service)));
        }
    }
    if has(&[Kind::Dashboard]) {
        files.extend(dashboard::files(service, &head));
    }
    if has(&[Kind::Alertmanager]) {
        files.extend(format::alertmanager::files(service, &head));
    }
    if has(&[Kind::Logs]) {
        files.extend(log::files(service, &head));
    }
    if has(&[Kind::Traces]) {
        files.extend(trace::files(&service.settings.traces, &head));
    }
    if has(&[Kind::Kubernetes]) {
        files.extend(format::kubernetes::files(service, &head, &deployment));
    }
    if has(&[Kind::Compose]) {
        files.extend(format::compose::files(service, &head, &deployment));
    }
    if has(&[Kind::Kubernetes, Kind::Compose]) {
        files.push(format::containerfile::file(&head, &deployment));
    }
    files
}

/// Returns a rule file with one alert, for tests that change it.
pub fn rule_file(service: &Service, alert: &Alert) -> String {
    format::yaml(&format::rule::one(service, alert))
}

/// Returns the test file of one alert for `promtool test rules`; it reads the rules from `rules`.
pub fn test_file(service: &Service, alert: &Alert, rules: &str) -> String {
    format::yaml(&format::test::of_alerts(service, std::slice::from_ref(alert), rules))
}
