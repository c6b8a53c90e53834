//! Files of `promtool test rules`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alert::proof::{Labels, STEP, series};
use crate::alert::render;
use crate::promql::duration;
use crate::recording::example;
use crate::{Alert, Service};

/// A test file.
#[derive(Debug, Serialize)]
pub(crate) struct TestFile {
    pub(crate) rule_files: Vec<String>,
    evaluation_interval: String,
    tests: Vec<Test>,
}

#[derive(Debug, Serialize)]
struct Test {
    name: String,
    interval: String,
    input_series: Vec<Input>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alert_rule_test: Vec<AlertTest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Debug, Serialize)]
struct Input {
    series: String,
    values: String,
}

#[derive(Debug, Serialize)]
struct AlertTest {
    eval_time: String,
    alertname: String,
    exp_alerts: Vec<Expected>,
}

#[derive(Debug, Serialize)]
struct Expected {
    exp_labels: Labels,
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ExprTest {
    expr: String,
    eval_time: String,
    exp_samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Sample {
    labels: String,
    value: f64,
}

fn inputs(series: &[(String, String)]) -> Vec<Input> {
    series.iter().map(|(series, values)| Input { series: series.clone(), values: values.clone() }).collect()
}

/// Returns the tests of alerts.
pub(crate) fn alerts(service: &Service, alerts: &[Alert]) -> TestFile {
    TestFile {
        rule_files: vec!["../rules/alerts.yml".to_owned()],
        evaluation_interval: duration(STEP),
        tests: alerts.iter().flat_map(|alert| tests(service, alert)).collect(),
    }
}

fn tests(service: &Service, alert: &Alert) -> Vec<Test> {
    let expected = |labels: &Labels, value: f64| {
        let mut exp_labels = labels.clone();
        exp_labels.insert("severity".to_owned(), alert.severity.name().to_owned());
        let mut exp_annotations = alert.annotations(&service.settings);
        for template in exp_annotations.values_mut() {
            *template = render(template, labels, value);
        }
        Expected { exp_labels, exp_annotations }
    };
    let test = |proof: &crate::Proof| Test {
        name: format!("{}: {}", alert.name, proof.title),
        interval: duration(STEP),
        input_series: inputs(&proof.series),
        alert_rule_test: proof
            .checks
            .iter()
            .map(|check| AlertTest {
                eval_time: duration(check.at),
                alertname: alert.name.clone(),
                exp_alerts: check.firing.iter().map(|(labels, value)| expected(labels, *value)).collect(),
            })
            .collect(),
        promql_expr_test: Vec::new(),
    };
    alert.proofs.iter().map(test).collect()
}

/// The decimals to which recorded values are compared.
const DECIMALS: f64 = 1e6;

/// Returns the tests of the records of these groups.
fn records(service: &Service, name: &str, step: u64, at: u64, input_series: Vec<Input>, is_season: bool) -> TestFile {
    let is_in = |recording: &crate::Recording| (recording.group == "season") == is_season;
    let recordings = service.recordings();
    let tested = recordings.iter().filter(|recording| is_in(recording) && !recording.expected.is_empty());
    let promql_expr_test = tested
        .map(|recording| ExprTest {
            expr: format!("round({}, 0.000001)", recording.record),
            eval_time: duration(at),
            exp_samples: recording
                .expected
                .iter()
                .map(|(labels, value)| Sample {
                    labels: series("", labels),
                    value: (value * DECIMALS + 0.5).floor() / DECIMALS,
                })
                .collect(),
        })
        .collect();
    TestFile {
        rule_files: vec!["../rules/recording.yml".to_owned()],
        evaluation_interval: duration(step),
        tests: vec![Test {
            name: name.to_owned(),
            interval: duration(step),
            input_series,
            alert_rule_test: Vec::new(),
            promql_expr_test,
        }],
    }
}

/// Returns the test of the recording rules but for the seasonal ones.
pub(crate) fn recordings(service: &Service) -> TestFile {
    let series = inputs(&example::series(service));
    records(service, "rates, errors, latency, Apdex and saturation", STEP, 20 * STEP, series, false)
}

/// Returns the test of the seasonal recording rules, over four weeks of hourly values.
pub(crate) fn season(service: &Service) -> TestFile {
    let sources = ["component:wasm_http_requests:rate5m", "component:wasm_http_request_duration_seconds:p95_5m"];
    let series = inputs(&sources.map(|record| example::weeks(service, record)));
    records(service, "the mean and deviation of three weeks", 3600, 588 * 3600, series, true)
}
