//! Inhibition: which alerts are not sent while another one fires.
//!
//! In come the alerts of a service with the labels that their tests show. Out come rules that only
//! compare labels which both sides have. The module does not know Alertmanager's file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::promql::{escaped_regex, quoted};
use crate::{Alert, Labels, Service, Severity};

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matcher {
    /// The label.
    pub label: &'static str,
    /// `true` if the label has one of the values, `false` if it has none of them.
    pub is_positive: bool,
    /// The values. An absent label has the value `""`.
    pub values: Vec<String>,
}

impl Matcher {
    pub(crate) fn is(label: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { label, is_positive: true, values: values.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn is_not(label: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { is_positive: false, ..Self::is(label, values) }
    }

    pub(crate) fn severity(severity: Severity) -> Self {
        Self::is("severity", [severity.name()])
    }

    /// Returns `true` if these labels meet the condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(self.label).map_or("", String::as_str);
        self.values.iter().any(|of| of == value) == self.is_positive
    }
}

impl fmt::Display for Matcher {
    /// Writes it as Alertmanager reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values.as_slice() {
            [value] => {
                let operator = if self.is_positive { "=" } else { "!=" };
                write!(f, "{}{operator}{}", self.label, quoted(value))
            }
            values => {
                let operator = if self.is_positive { "=~" } else { "!~" };
                let values: Vec<String> = values.iter().map(|value| escaped_regex(value)).collect();
                write!(f, "{}{operator}{}", self.label, quoted(&values.join("|")))
            }
        }
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A rule: while an alert of the source fires, those of the target are not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inhibition {
    /// The conditions on the alert that fires.
    pub source: Vec<Matcher>,
    /// The conditions on the alerts that are not sent.
    pub target: Vec<Matcher>,
    /// The labels that have the same value in both.
    pub equal: Vec<String>,
}

/// Returns the rules of a service: down and absent silence what follows from them, and critical
/// alerts the warnings of the same component.
pub(crate) fn inhibitions(service: &Service) -> Vec<Inhibition> {
    let alerts = service.alerts();
    let of_issue = |issue: &str| names(&alerts, |alert| alert.issue == issue);
    let (down, absent) = (of_issue("down"), of_issue("absent"));
    let of_process = names(&alerts, |alert| alert.issue != "down" && alert.label_keys().contains("instance"));
    let mut components: Vec<&str> = service.components.iter().map(|component| component.name.as_str()).collect();
    components.sort_unstable();
    components.dedup();

    let mut rules = Vec::new();
    let mut rule = |source: Vec<Matcher>, target: Vec<Matcher>, equal: &[&str]| {
        if source.iter().chain(&target).all(|matcher| !matcher.values.is_empty()) {
            rules.push(Inhibition { source, target, equal: equal.iter().map(|label| (*label).to_owned()).collect() });
        }
    };
    let is_down = || vec![Matcher::is("alertname", &down)];
    // A process that does not answer neither exports nor reloads.
    rule(is_down(), vec![Matcher::is("alertname", &of_process)], &["instance"]);
    // Its load moves to the others. Errors and traps of the others are still sent.
    rule(is_down(), vec![Matcher::severity(Severity::Warning), Matcher::is("component", components)], &[]);
    rule(is_down(), vec![Matcher::is("alertname", &absent)], &[]);
    // An absent component whose tenant is not known has no label of a tenant.
    for has_tenant in [true, false] {
        let is_of = |alert: &Alert| alert.issue == "absent" && alert.label_keys().contains("tenant") == has_tenant;
        let equal: &[&str] = if has_tenant { &["component", "tenant"] } else { &["component"] };
        let target = vec![Matcher::is_not("component", [""]), Matcher::is_not("alertname", &absent)];
        rule(vec![Matcher::is("alertname", names(&alerts, is_of))], target, equal);
    }
    let with = |severity| vec![Matcher::severity(severity), Matcher::is_not("component", [""])];
    rule(with(Severity::Critical), with(Severity::Warning), &["component", "tenant"]);
    rules.extend(of_same_issue(&alerts));
    rules
}

/// Returns the rules by which a critical alert silences the warnings of its issue: such as a fast
/// burn of an error budget the slow burn of the same one. All their labels are compared.
fn of_same_issue(alerts: &[Alert]) -> Vec<Inhibition> {
    // The issue and the labels of alerts; the names of the critical ones, and of the warnings.
    let mut issues: BTreeMap<_, [BTreeSet<&str>; 2]> = BTreeMap::new();
    for alert in alerts {
        let side = match alert.severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
            Severity::Info => continue,
        };
        issues.entry((alert.issue, alert.label_keys())).or_default()[side].insert(&alert.name);
    }
    let rule = |((_, keys), [critical, warnings]): ((_, BTreeSet<&str>), [BTreeSet<&str>; 2])| {
        let is_rule = !critical.is_empty() && !warnings.is_empty() && !keys.is_empty();
        is_rule.then(|| Inhibition {
            source: vec![Matcher::is("alertname", critical)],
            target: vec![Matcher::is("alertname", warnings)],
            equal: keys.into_iter().map(str::to_owned).collect(),
        })
    };
    issues.into_iter().filter_map(rule).collect()
}

fn names(alerts: &[Alert], is_in: impl Fn(&Alert) -> bool) -> BTreeSet<String> {
    alerts.iter().filter(|alert| is_in(alert)).map(|alert| alert.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Component;
    use wasmetry_host::Declarations;

    fn service(tenants: &[Option<&str>]) -> Service {
        let component = |(number, tenant): (usize, &Option<&str>)| {
            let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0").unwrap();
            let mut component = Component::new(format!("shop.{}", number / 2), declarations);
            component.tenant = tenant.map(str::to_owned);
            component
        };
        let mut service = Service::new("w.toml", tenants.iter().enumerate().map(component).collect());
        service.is_reloaded = true;
        service
    }

    /// Returns the labels of every alert in its tests.
    fn firing(service: &Service) -> Vec<Labels> {
        let mut all = Vec::new();
        for alert in service.alerts() {
            for (labels, _) in alert.proofs.iter().flat_map(|proof| &proof.checks).flat_map(|check| &check.firing) {
                let mut labels = labels.clone();
                labels.insert("alertname".to_owned(), alert.name.clone());
                labels.insert("severity".to_owned(), alert.severity.name().to_owned());
                all.push(labels);
            }
        }
        all
    }

    /// Both sides of each rule have alerts, and these have the labels that are compared.
    #[test]
    fn compared_labels_exist() {
        for tenants in [&[None][..], &[Some("acme")], &[Some("acme"), Some("beta"), None, None]] {
            let service = service(tenants);
            let alerts = firing(&service);
            let rules = service.inhibitions();
            assert!(rules.len() >= 5, "{rules:?}");
            for rule in rules {
                for side in [&rule.source, &rule.target] {
                    let matching: Vec<_> =
                        alerts.iter().filter(|labels| side.iter().all(|matcher| matcher.matches(labels))).collect();
                    assert!(!matching.is_empty(), "{side:?} matches no alert");
                    // An absent component whose tenant is not known has no such label.
                    let has = |labels: &&&Labels| rule.equal.iter().all(|label| labels.contains_key(label));
                    assert!(matching.iter().any(|labels| has(&labels)), "{side:?} {:?}", rule.equal);
                    let missing = |labels: &&&Labels| rule.equal.iter().any(|label| !labels.contains_key(label));
                    let missing: Vec<_> = matching.iter().filter(|labels| missing(labels)).collect();
                    let is_absent = |labels: &&&Labels| labels["alertname"].contains("Absent");
                    assert!(missing.iter().all(is_absent), "{side:?} {:?} {missing:?}", rule.equal);
                }
            }
        }
    }

    /// A critical alert silences the warning of its issue that has the same labels.
    #[test]
    fn same_issue_is_silenced() {
        let alerts = service(&[None]).alerts();
        let find = |issue: &str| alerts.iter().find(|alert| alert.issue == issue).unwrap().clone();
        let named = |alert: &Alert, name: &str, severity| Alert { name: name.into(), severity, ..alert.clone() };
        let (errors, traps) = (find("high-error-rate"), Alert { issue: "high-error-rate", ..find("trap-rate") });
        assert_eq!(of_same_issue(&alerts), []);
        let rules = of_same_issue(&[
            named(&errors, "Fast", Severity::Critical),
            named(&errors, "Slow", Severity::Warning),
            named(&traps, "OfOtherLabels", Severity::Warning),
            named(&find("high-latency"), "OfOtherIssue", Severity::Warning),
        ]);
        let expected = Inhibition {
            source: vec![Matcher::is("alertname", ["Fast"])],
            target: vec![Matcher::is("alertname", ["Slow"])],
            equal: ["component", "route", "tenant"].map(str::to_owned).to_vec(),
        };
        assert_eq!(rules, [expected]);
    }

    #[test]
    fn matchers_are_escaped() {
        let matcher = Matcher::is("component", ["a.b", "c\"d"]);
        assert_eq!(matcher.to_string(), r#"component=~"a\\.b|c\"d""#);
        assert_eq!(Matcher::is_not("component", [""]).to_string(), r#"component!="""#);
        let labels = Labels::from([("component".to_owned(), "a.b".to_owned())]);
        assert!(matcher.matches(&labels) && !matcher.matches(&Labels::new()));
    }
}
