//! Files of `promtool test rules`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alert::proof::{InputSeries, Labels, STEP, series};
use crate::alert::render;
use crate::recording::example;
use crate::{Alert, Recording, Service, slo};

/// A test file.
#[derive(Debug, Serialize)]
pub(crate) struct TestFile {
    rule_files: Vec<String>,
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

/// Returns the series of a test with steps of these seconds.
fn inputs(service: &Service, step: u64, series: &[InputSeries]) -> Vec<Input> {
    let step = step as f64 * service.scale.factor();
    series.iter().map(|of| Input { series: of.series.clone(), values: of.values.notation(step) }).collect()
}

/// Returns the tests of the alerts but for those of objectives.
pub(crate) fn alerts(service: &Service) -> TestFile {
    let alerts: Vec<Alert> = service.alerts().into_iter().filter(|alert| alert.issue != slo::alert::ISSUE).collect();
    of_alerts(service, &alerts, "../alerts/wasm-alerts.yml")
}

/// Returns the tests of the alerts of objectives.
pub(crate) fn slo_alerts(service: &Service) -> TestFile {
    let alerts: Vec<Alert> = service.alerts().into_iter().filter(|alert| alert.issue == slo::alert::ISSUE).collect();
    of_alerts(service, &alerts, "../rules/slo-alerts.yml")
}

/// Returns the tests of alerts that are in a rule file.
pub(crate) fn of_alerts(service: &Service, alerts: &[Alert], rules: &str) -> TestFile {
    TestFile {
        rule_files: vec![rules.to_owned()],
        evaluation_interval: service.scale.duration(STEP),
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
        interval: service.scale.duration(STEP),
        input_series: inputs(service, STEP, &proof.series),
        alert_rule_test: proof
            .checks
            .iter()
            .map(|check| AlertTest {
                eval_time: service.scale.duration(check.at),
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

/// A value from which on only whole numbers are compared: more digits than a float has depend on
/// the order of its operations.
const LARGE: f64 = 1e6;

/// Returns the tests of the values of records.
fn values<'a>(service: &Service, recordings: impl Iterator<Item = &'a Recording>, at: u64) -> Vec<ExprTest> {
    let of = |recording: &Recording| {
        let is_large = recording.expected.iter().any(|(_, value)| value.abs() >= LARGE);
        let (step, decimals) = if is_large { ("1", 1.0) } else { ("0.000001", DECIMALS) };
        ExprTest {
            expr: format!("round({}, {step})", selected(recording)),
            eval_time: service.scale.duration(at),
            exp_samples: recording
                .expected
                .iter()
                .map(|(labels, value)| Sample {
                    labels: series("", labels),
                    value: (value * decimals + 0.5).floor() / decimals,
                })
                .collect(),
        }
    };
    recordings.filter(|recording| !recording.expected.is_empty()).map(of).collect()
}

/// Returns the selector of a record, whose name other rules may have with other labels.
fn selected(recording: &Recording) -> String {
    if recording.labels.is_empty() { recording.record.clone() } else { series(&recording.record, &recording.labels) }
}

/// Returns the tests of the records of these groups.
fn records(service: &Service, name: &str, step: u64, at: u64, input_series: Vec<Input>, is_season: bool) -> TestFile {
    let recordings = service.recordings();
    let tested = recordings
        .iter()
        .filter(|recording| !recording.is_of_objective() && (recording.group == "season") == is_season);
    TestFile {
        rule_files: vec!["../rules/recording.yml".to_owned()],
        evaluation_interval: service.scale.duration(step),
        tests: vec![Test {
            name: name.to_owned(),
            interval: service.scale.duration(step),
            input_series,
            alert_rule_test: Vec::new(),
            promql_expr_test: values(service, tested, at),
        }],
    }
}

/// Returns the tests of the recording rules of objectives: for each, one of its rates and one of
/// what follows from them.
pub(crate) fn slo_recordings(service: &Service) -> TestFile {
    let test = |name: String, series: &[InputSeries], recordings: &[Recording]| Test {
        name,
        interval: service.scale.duration(STEP),
        input_series: inputs(service, STEP, series),
        alert_rule_test: Vec::new(),
        promql_expr_test: values(service, recordings.iter(), 20 * STEP),
    };
    let tests = service.with_slos(|slos| {
        let examples = slos.iter().filter_map(|slo| slo.example().map(|example| (slo, example)));
        let of = |(slo, example): (&slo::Slo<'_>, slo::record::Example)| {
            let recordings = slo.recordings(Some(&example));
            let (rates, others) = recordings.split_at(slo::record::RATES);
            let name = |of: &str| format!("{}: {of}", slo.objective.name);
            let (of_rates, of_others) = if example.recorded.is_empty() {
                (test(name("all records"), &example.scraped, &recordings), None)
            } else {
                let of_others = test(name("burn rates and budget"), &example.recorded, others);
                (test(name("rates"), &example.scraped, rates), Some(of_others))
            };
            (!example.scraped.is_empty()).then_some(of_rates).into_iter().chain(of_others)
        };
        examples.flat_map(of).collect()
    });
    TestFile {
        rule_files: vec!["../rules/slo.yml".to_owned()],
        evaluation_interval: service.scale.duration(STEP),
        tests,
    }
}

/// Returns the test of the recording rules but for the seasonal ones.
pub(crate) fn recordings(service: &Service) -> TestFile {
    let series = inputs(service, STEP, &example::series(service));
    records(service, "rates, errors, latency, Apdex and saturation", STEP, 20 * STEP, series, false)
}

/// Returns the test of the seasonal recording rules, over four weeks of hourly values.
pub(crate) fn season(service: &Service) -> TestFile {
    let sources = ["component:wasm_http_requests:rate5m", "component:wasm_http_request_duration_seconds:p95_5m"];
    let series = inputs(service, 3600, &sources.map(|record| example::weeks(service, record)));
    records(service, "the mean and deviation of three weeks", 3600, 588 * 3600, series, true)
}
