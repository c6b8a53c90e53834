//! Rule files of Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::promql::duration;
use crate::{Alert, Service};

/// A rule file.
#[derive(Debug, Serialize)]
pub(crate) struct RuleFile {
    pub(crate) groups: Vec<Group>,
}

/// A group of rules, which are evaluated one after another.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Rule {
    Record {
        record: String,
        expr: String,
    },
    Alert {
        alert: String,
        expr: String,
        #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
        hold: Option<String>,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    },
}

/// Returns the file of all recording rules.
pub(crate) fn recordings(service: &Service) -> RuleFile {
    let mut groups: Vec<Group> = Vec::new();
    for recording in service.recordings() {
        let name = format!("wasmetry.{}", recording.group);
        if groups.last().is_none_or(|group| group.name != name) {
            // Seasons change slowly, and read three weeks.
            let interval = (recording.group == "season").then(|| "5m".to_owned());
            groups.push(Group { name, interval, rules: Vec::new() });
        }
        let rule = Rule::Record { record: recording.record, expr: recording.expr.to_string() };
        if let Some(group) = groups.last_mut() {
            group.rules.push(rule);
        }
    }
    RuleFile { groups }
}

/// Returns the file of all alerts.
pub(crate) fn alerts(service: &Service) -> RuleFile {
    let rules = service.alerts().iter().map(|found| alert(service, found)).collect();
    RuleFile { groups: vec![Group { name: "wasmetry.alerts".to_owned(), interval: None, rules }] }
}

/// Returns the file of one alert.
pub(crate) fn one(service: &Service, changed: &Alert) -> RuleFile {
    let rules = vec![alert(service, changed)];
    RuleFile { groups: vec![Group { name: "wasmetry.alerts".to_owned(), interval: None, rules }] }
}

fn alert(service: &Service, alert: &Alert) -> Rule {
    Rule::Alert {
        alert: alert.name.clone(),
        expr: alert.expr.to_string(),
        hold: (alert.hold > 0).then(|| duration(alert.hold)),
        labels: BTreeMap::from([("severity".to_owned(), alert.severity.name().to_owned())]),
        annotations: alert.annotations(&service.settings),
    }
}
