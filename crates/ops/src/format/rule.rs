//! Rule files of Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Alert, Recording, Service, slo};

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
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
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

/// Returns the file of the recording rules of requests and seasons.
pub(crate) fn recordings(service: &Service) -> RuleFile {
    groups(service, service.recordings().into_iter().filter(|recording| !recording.is_of_objective()))
}

/// Returns the file of the recording rules of objectives.
pub(crate) fn slo_recordings(service: &Service) -> RuleFile {
    groups(service, service.recordings().into_iter().filter(Recording::is_of_objective))
}

/// Returns rules in their groups, each of which has its rules in their order.
fn groups(service: &Service, recordings: impl Iterator<Item = Recording>) -> RuleFile {
    let mut groups: Vec<Group> = Vec::new();
    for recording in recordings {
        let name = format!("wasmetry.{}", recording.group);
        let expr = service.scale.expr(&recording.expr, service.settings.scrape_interval);
        let rule = Rule::Record { record: recording.record, expr, labels: recording.labels };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.rules.push(rule),
            None => {
                let interval = match recording.group {
                    // Seasons change slowly, and read three weeks.
                    "season" => Some(300),
                    // It reads weeks, but is younger than Prometheus' look-back of 5 minutes.
                    slo::record::PERIOD_GROUP => Some(120),
                    _ => None,
                };
                let interval = interval.map(|seconds| service.scale.interval(seconds));
                groups.push(Group { name, interval, rules: vec![rule] });
            }
        }
    }
    RuleFile { groups }
}

/// Returns the file of the alerts but for those of objectives.
pub(crate) fn alerts(service: &Service) -> RuleFile {
    of_alerts(service, "wasmetry.alerts", |alert| alert.issue != slo::alert::ISSUE)
}

/// Returns the file of the alerts of objectives.
pub(crate) fn slo_alerts(service: &Service) -> RuleFile {
    of_alerts(service, "wasmetry.slo.alerts", |alert| alert.issue == slo::alert::ISSUE)
}

fn of_alerts(service: &Service, name: &str, is_in: fn(&Alert) -> bool) -> RuleFile {
    let rules = service.alerts().iter().filter(|alert| is_in(alert)).map(|found| alert(service, found)).collect();
    RuleFile { groups: vec![Group { name: name.to_owned(), interval: None, rules }] }
}

/// Returns the file of one alert.
pub(crate) fn one(service: &Service, changed: &Alert) -> RuleFile {
    let rules = vec![alert(service, changed)];
    RuleFile { groups: vec![Group { name: "wasmetry.alerts".to_owned(), interval: None, rules }] }
}

fn alert(service: &Service, alert: &Alert) -> Rule {
    Rule::Alert {
        alert: alert.name.clone(),
        expr: service.scale.expr(&alert.expr, service.settings.scrape_interval),
        hold: (alert.hold > 0).then(|| service.scale.duration(alert.hold)),
        labels: BTreeMap::from([("severity".to_owned(), alert.severity.name().to_owned())]),
        annotations: alert.annotations(&service.settings),
    }
}
