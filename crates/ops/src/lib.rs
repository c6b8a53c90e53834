//! Operations from declarations: the Prometheus configuration, recording rules and alerts of a
//! service, and the tests that prove the alerts.
//!
//! ```
//! use wasmetry_ops::{Component, Kind, Service, generate};
//!
//! let declarations = wasmetry_host::Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
//! let service = Service::new("shop.wasm", vec![Component::new("shop", declarations)]);
//! let files = generate(&service, Kind::Rules, true);
//! let alerts = files.iter().find(|file| file.path == "rules/alerts.yml").unwrap();
//! assert!(alerts.contents.contains("alert: ShopHighErrorRate"));
//! # Ok::<(), wasmetry_host::Error>(())
//! ```
//!
//! It deliberately does not read or write files, run a query, or know the command line.

#![forbid(unsafe_code)]

mod alert;
mod cost;
mod deployment;
mod format;
mod host;
pub mod promql;
mod recording;
mod scope;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use wasmetry_host::{Declarations, Metric};

pub use alert::proof::{Check, InputSeries, Labels, Proof};
pub use alert::{Alert, Severity};
pub use recording::Recording;
pub use settings::{Kubernetes, Settings};

use deployment::Deployment;
use scope::{Scope, camel_case};

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
        self.declarations.metrics().iter().filter(|metric| !self.withdrawn.contains(&metric.name)).collect()
    }
}

/// A service: the components that its processes serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Service {
    /// The arguments of `wasmetry ops KIND` that name the binary or the configuration.
    pub source: String,
    /// The components.
    pub components: Vec<Component>,
    /// The table `[ops]`.
    pub settings: Settings,
    /// `true` if a configuration is served, which is reloaded when it changes.
    pub is_reloaded: bool,
    /// The seconds for requests in progress after SIGTERM.
    pub shutdown_timeout: u64,
}

impl Service {
    /// Returns a service with default settings.
    pub fn new(source: impl Into<String>, components: Vec<Component>) -> Self {
        Self {
            source: source.into(),
            components,
            settings: Settings::default(),
            is_reloaded: false,
            shutdown_timeout: 30,
        }
    }

    /// Returns the alerts: those about the processes, then those of each component.
    pub fn alerts(&self) -> Vec<Alert> {
        let service = match (&self.settings.service, self.components.as_slice()) {
            (Some(name), _) => camel_case(name),
            (None, [only]) => camel_case(&only.name),
            (None, _) => String::new(),
        };
        let service = if service.is_empty() { "Wasmetry".to_owned() } else { service };
        let mut alerts = alert::process::alerts(self, &service);
        for (component, prefix) in self.components.iter().zip(self.prefixes()) {
            let scope = Scope { settings: &self.settings, component, prefix: &prefix };
            alerts.extend(alert::component::alerts(&scope));
            alerts.extend(alert::custom::alerts(&scope));
        }
        make_unique(&mut alerts);
        alerts
    }

    /// Returns the recording rules, in the order of their evaluation.
    pub fn recordings(&self) -> Vec<Recording> {
        recording::recordings(self)
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
            let name = name + &tenant.map(camel_case).unwrap_or_default();
            if name.is_empty() { "Component".to_owned() } else { name }
        };
        self.components.iter().map(prefix).collect()
    }
}

/// Appends numbers to names that occur twice, so that each alert is tested by itself.
fn make_unique(alerts: &mut [Alert]) {
    let mut taken: BTreeSet<String> = alerts.iter().map(|alert| alert.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for alert in alerts {
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
    /// Manifests, the container file and the rules of the Prometheus adapter.
    Kubernetes,
    /// The Compose file, its containers' configurations, the container file, and all rules.
    Compose,
}

impl Kind {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Rules => "rules",
            Self::All => "all",
            Self::Kubernetes => "kubernetes",
            Self::Compose => "compose",
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
    let is = |kinds: &[Kind]| kind == Kind::All || kinds.contains(&kind);
    let mut files = Vec::new();
    if is(&[Kind::Prometheus]) {
        files.push(head.file("prometheus.yml", &format::scrape::config(service, &deployment)));
        files.push(cost::notes(service, &head));
    }
    let has_recordings = is(&[Kind::Prometheus, Kind::Rules, Kind::Compose]);
    let has_alerts = is(&[Kind::Rules, Kind::Compose]);
    if has_recordings {
        files.push(head.file("rules/recording.yml", &format::rule::recordings(service)));
    }
    if has_alerts {
        files.push(head.file("rules/alerts.yml", &format::rule::alerts(service)));
    }
    if with_tests && has_alerts {
        files.push(head.file("tests/alerts.yml", &format::test::alerts(service, &service.alerts())));
    }
    if with_tests && has_recordings {
        files.push(head.file("tests/recording.yml", &format::test::recordings(service)));
        files.push(head.file("tests/season.yml", &format::test::season(service)));
    }
    if is(&[Kind::Kubernetes]) {
        files.extend(format::kubernetes::files(service, &head, &deployment));
    }
    if is(&[Kind::Compose]) {
        files.extend(format::compose::files(service, &head, &deployment));
    }
    if is(&[Kind::Kubernetes, Kind::Compose]) {
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
    let mut file = format::test::alerts(service, std::slice::from_ref(alert));
    file.rule_files = vec![rules.to_owned()];
    format::yaml(&file)
}
