//! Every query of rules, dashboards and runbooks, executed: it returns data.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use wasmetry_ops::WindowScale;
use wasmetry_tests::backend::daemon::until;
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::root;

use super::stage::SCALE;

/// The seconds between scrapes that are not scaled.
const INTERVAL: u64 = 15;

/// A part of each query, or of its place, that need not return data, and the reason.
const EXEMPT: [(&str, &str); 3] = [
    ("absent(", "it returns data only where there is none"),
    (":mean3w", "it reads three weeks, seven hours here: the suite `promtool` of `ops` fills them"),
    (":stddev3w", "as the mean"),
];

/// The queries that have one of these parts.
const EXEMPT_QUERIES: usize = 15;

/// A part of each query that returns data only while a version is new.
pub(crate) const NEW_VERSION: &str = "unless group by (component, tenant, version)";

/// A part of each query that returns data only while a reload has failed.
pub(crate) const RELOAD_FAILED: [&str; 2] =
    ["(1 - wasmetry_config_last_reload_successful{", "wasmetry_config_last_reload_successful{job=\"wasmetry\"} == 0"];

/// The values of Grafana's variables.
const VARIABLES: [(&str, &str); 12] = [
    ("${traces}", "jaeger"),
    ("$__rate_interval", "5m"),
    ("$__interval", "1m"),
    ("$__range", "1h"),
    ("$component", ".+"),
    ("$tenant", ".*"),
    ("$instance", ".*"),
    ("$route", ".*"),
    ("$namespace", "web"),
    ("$deployment", "shop"),
    ("$pod", "shop-.*"),
    ("$slo", ".*"),
];

/// A query, and its place.
struct Query {
    place: String,
    /// With scaled durations.
    text: String,
}

impl Query {
    /// Returns a query of a file whose durations are not scaled.
    fn unscaled(place: &str, text: &str) -> Self {
        let scale: WindowScale = SCALE.parse().unwrap();
        Self { place: place.to_owned(), text: scale.query(text, INTERVAL) }
    }

    fn has(&self, part: &str) -> bool {
        self.text.contains(part) || self.place.contains(part)
    }
}

/// Executes every query in a Prometheus until it returns data, but for those that return some only
/// for a while.
///
/// # Panics
///
/// Panics with all queries that return none within a minute.
pub(crate) fn check(prometheus: &Prometheus, directory: &Path) {
    let mut queries = all(prometheus, directory);
    let count = queries.len();
    let is_exempt = |query: &Query| EXEMPT.iter().any(|(part, _)| query.has(part));
    let exempt = queries.iter().filter(|query| is_exempt(query)).count();
    queries.retain(|query| {
        !is_exempt(query) && !query.has(NEW_VERSION) && !RELOAD_FAILED.iter().any(|part| query.has(part))
    });
    println!("{count} queries, of which {exempt} need not return data here");
    assert_eq!(exempt, EXEMPT_QUERIES, "of {count} queries");
    execute(prometheus, queries);
}

/// Executes the queries with one of these parts until each has returned data.
///
/// # Panics
///
/// As [`check`].
pub(crate) fn check_with(parts: &[&str], prometheus: &Prometheus, directory: &Path) {
    let mut queries = all(prometheus, directory);
    queries.retain(|query| parts.iter().any(|part| query.has(part)));
    assert!(queries.len() > 1, "{parts:?}");
    execute(prometheus, queries);
}

fn all(prometheus: &Prometheus, directory: &Path) -> Vec<Query> {
    let mut all = rules(prometheus);
    let of_rules = all.len();
    all.extend(dashboards(directory));
    let of_dashboards = all.len() - of_rules;
    all.extend(runbooks());
    let of_runbooks = all.len() - of_rules - of_dashboards;
    assert!(
        [of_rules, of_dashboards, of_runbooks].iter().all(|count| *count > 60),
        "{of_rules} {of_dashboards} {of_runbooks}"
    );
    all
}

fn execute(prometheus: &Prometheus, mut left: Vec<Query>) {
    let is_empty = |query: &Query| prometheus.series(&query.text).is_none_or(|series| series.is_empty());
    let done = until(
        || {
            left.retain(is_empty);
            left.is_empty().then_some(())
        },
        || false,
    );
    let missing: Vec<String> = left.iter().map(|query| format!("{}: {}", query.place, query.text)).collect();
    assert!(done.is_some(), "{} queries return nothing:\n{}", missing.len(), missing.join("\n"));
}

/// Returns the expressions of recording rules and, without their comparisons, of alerts.
fn rules(prometheus: &Prometheus) -> Vec<Query> {
    let rules = prometheus.request("rules", &[]).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| {
            let text = rule["query"].as_str().unwrap();
            let text = if rule["type"] == "alerting" { without_comparisons(text) } else { text.to_owned() };
            Query { place: format!("rule {}", rule["name"].as_str().unwrap()), text }
        })
        .collect()
}

/// Returns an expression without the comparisons with numbers.
fn without_comparisons(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((at, operator)) = [" > ", " == ", " < "].iter().filter_map(|of| Some((rest.find(of)?, of))).min() {
        let after = &rest[at + operator.len()..];
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '-' | '+');
        let end = after.find(|c| !is_number(c)).unwrap_or(after.len());
        kept.push_str(&rest[..at]);
        if end == 0 {
            kept.push_str(operator);
        }
        rest = &after[end..];
    }
    kept + rest
}

/// Returns the queries of all panels, variables and annotations.
fn dashboards(directory: &Path) -> Vec<Query> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("grafana-") || !name.ends_with(".json") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut texts = BTreeSet::new();
        collect(&dashboard, &mut texts);
        all.extend(texts.into_iter().map(|text| Query::unscaled(&name, &substituted(&text))));
    }
    all
}

/// Adds the queries in PromQL that a value of a dashboard contains.
fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    if let Some(object) = value.as_object() {
        if object.get("datasource").is_some_and(|source| source["type"] == "prometheus")
            && let Some(text) = object.get("expr").and_then(Value::as_str)
        {
            texts.insert(text.to_owned());
        }
        // A variable has the values of a label of the series that a query returns.
        if let Some(text) = object.get("query").and_then(|query| query["query"].as_str()) {
            let arguments = text.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')'));
            texts.insert(arguments.unwrap().rsplit_once(", ").unwrap().0.to_owned());
        }
        object.values().for_each(|value| collect(value, texts));
    } else if let Some(list) = value.as_array() {
        list.iter().for_each(|value| collect(value, texts));
    }
}

fn substituted(text: &str) -> String {
    VARIABLES.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Returns the queries of the runbooks.
fn runbooks() -> Vec<Query> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let place = path.file_name().unwrap().to_str().unwrap();
        let queries = text.split("```promql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned());
        all.extend(queries.map(|text| Query::unscaled(place, &text)));
    }
    all
}
