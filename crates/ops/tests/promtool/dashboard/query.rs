//! The queries of dashboards, with values in place of Grafana's variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{array, panels};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    PromQl,
    LogQl,
}

/// A query of a panel, a variable or an annotation.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) language: Language,
    pub(super) text: String,
}

/// Returns the queries of a dashboard in PromQL and LogQL.
pub(super) fn queries(dashboard: &Value) -> Vec<Query> {
    let mut all = Vec::new();
    for target in panels(dashboard).into_iter().flat_map(|panel| array(&panel["targets"])) {
        let language = match target["datasource"]["type"].as_str().unwrap() {
            "prometheus" => Language::PromQl,
            "loki" => Language::LogQl,
            _ => continue,
        };
        all.push(Query { language, text: target["expr"].as_str().unwrap().to_owned() });
    }
    for variable in array(&dashboard["templating"]["list"]) {
        if let Some(text) = variable["query"]["query"].as_str() {
            let arguments = text.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')')).unwrap();
            let selector = arguments.rsplit_once(", ").unwrap().0.to_owned();
            all.push(Query { language: Language::PromQl, text: selector });
        }
    }
    for annotation in array(&dashboard["annotations"]["list"]) {
        all.push(Query { language: Language::PromQl, text: annotation["expr"].as_str().unwrap().to_owned() });
    }
    all
}

/// Returns the queries in PromQL of all panels.
pub(super) fn of_panels(dashboard: &Value) -> BTreeSet<String> {
    let targets = panels(dashboard).into_iter().flat_map(|panel| array(&panel["targets"]));
    let promql = targets.filter(|target| target["datasource"]["type"] == "prometheus");
    promql.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The values of variables.
const VALUES: [(&str, &str); 11] = [
    ("__rate_interval", "5m"),
    ("__auto", "1m"),
    ("component", ".+"),
    ("tenant", ".*"),
    ("instance", ".*"),
    ("route", ".*"),
    ("slo", "(availability|latency)"),
    ("namespace", "web"),
    ("deployment", "shop"),
    ("pod", "(shop-1|shop-2)"),
    ("traces", "jaeger"),
];

/// Replaces variables as Grafana does: `$name`, `${name}`, `${name:format}` and `[[name]]`.
///
/// # Panics
///
/// Panics for a variable that has no value: in Grafana, it would stay in the query.
pub(super) fn substituted(text: &str) -> String {
    let value = |name: &str| {
        let found = VALUES.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no variable `{name}` in {text}")).1
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['$', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let braced = rest.strip_prefix("${").and_then(|inner| inner.split_once('}'));
        let bracketed = rest.strip_prefix("[[").and_then(|inner| inner.split_once("]]"));
        let bare =
            rest.strip_prefix('$').map(|inner| inner.split_at(inner.find(|c| !is_word(c)).unwrap_or(inner.len())));
        let name = |inner: &str| !inner.is_empty() && inner.chars().all(is_word);
        match (braced, bracketed, bare) {
            (Some((inner, after)), ..) if name(inner.split([':', '.']).next().unwrap()) => {
                out.push_str(value(inner.split([':', '.']).next().unwrap()));
                rest = after;
            }
            (_, Some((inner, after)), _) if name(inner) => {
                out.push_str(value(inner));
                rest = after;
            }
            (_, _, Some((inner, after))) if name(inner) => {
                out.push_str(value(inner));
                rest = after;
            }
            _ => {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// The labels of all series in the test of queries.
const LABELS: [(&str, &str); 32] = [
    ("component", "shop"),
    ("tenant", "acme"),
    ("instance", "a:9464"),
    ("job", "wasmetry"),
    ("version", "1"),
    ("route", "/"),
    ("method", "GET"),
    ("status", "500"),
    ("reason", "unreachable"),
    ("signal", "logs"),
    ("destination", "loki"),
    ("outcome", "sent"),
    ("listener", "http"),
    ("slo", "latency"),
    ("namespace", "web"),
    ("deployment", "shop"),
    ("pod", "shop-1"),
    ("container", "wasmetry"),
    ("phase", "Running"),
    ("condition", "true"),
    ("horizontalpodautoscaler", "shop"),
    ("alertstate", "firing"),
    ("exported_component", "x"),
    ("exported_tenant", "x"),
    ("exported_exported_tenant", "x"),
    ("queue", "a"),
    ("peer", "a"),
    ("pool", "a"),
    ("item", "a"),
    ("commit", "1a2b"),
    ("resource", "cpu"),
    ("le", "0.1"),
];

/// Returns the metrics that a query selects, each with the values of labels that it requires.
fn selected(query: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in query.match_indices('{') {
        let name = query[..at].rsplit(|c| !is_name(c)).next().unwrap().to_owned();
        let (mut labels, mut rest) = (BTreeMap::new(), &query[at + 1..]);
        while !rest.starts_with('}') {
            let end = rest.find(['=', '!']).unwrap();
            let label = rest[..end].to_owned();
            let operator = if rest[end..].starts_with("=\"") { "=" } else { "other" };
            let start = rest.find('"').unwrap();
            let mut length = 0;
            let bytes = &rest.as_bytes()[start + 1..];
            while bytes[length] != b'"' {
                length += if bytes[length] == b'\\' { 2 } else { 1 };
            }
            let value = &rest[start + 1..start + 1 + length];
            if operator == "=" {
                labels.insert(label, value.to_owned());
            }
            rest = rest[start + length + 2..].trim_start_matches(',');
        }
        found.push((name, labels));
    }
    found
}

/// Returns a test file for `promtool test rules`: every series exists that a query selects, and
/// every query returns data.
pub(super) fn test_file(queries: &BTreeSet<String>) -> String {
    let queries: Vec<String> = queries.iter().map(|query| substituted(query)).collect();
    let mut series = BTreeSet::new();
    for (metric, required) in queries.iter().flat_map(|query| selected(query)) {
        let is_bucket = metric.ends_with("_bucket");
        let mut labels: BTreeMap<&str, &str> =
            LABELS.into_iter().filter(|(key, _)| is_bucket || *key != "le").collect();
        labels.extend(required.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let bounds: &[&str] = if is_bucket { &["0.1", "+Inf"] } else { &[""] };
        for bound in bounds {
            if is_bucket {
                labels.insert("le", bound);
            }
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            series.insert(format!("{metric}{{{}}}", labels.join(",")));
        }
    }
    // Selectors without braces are of tests only.
    for metric in queries.iter().filter(|query| !query.contains('{')).flat_map(|query| query.split(['(', ')'])) {
        if metric.len() == 1 {
            series.insert(format!("{metric}{{component=\"shop\",tenant=\"acme\"}}"));
        }
    }
    let series: Vec<Value> =
        series.into_iter().map(|series| serde_json::json!({ "series": series, "values": "1+1x60" })).collect();
    let test = |query: &String| {
        let samples = [serde_json::json!({ "labels": "{}", "value": 1 })];
        serde_json::json!({ "expr": format!("group({query})"), "eval_time": "30m", "exp_samples": samples })
    };
    let tests: Vec<Value> = queries.iter().map(test).collect();
    let file = serde_json::json!({
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": series, "promql_expr_test": tests }],
    });
    file.to_string()
}
