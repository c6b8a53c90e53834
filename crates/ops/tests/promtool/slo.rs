//! The recording rules of objectives at values that change: quiet windows, expressions without
//! series, successes that become old, histograms with exponential buckets.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wasmetry_ops::{Component, Kind, Objective, Service, generate};

use super::app::{add_objective, every_alert};
use super::{assert_passes, promtools, run, write};

fn service(objective: &str) -> Service {
    let mut service = Service::new("store-front.wasm", every_alert().components);
    add_objective(&mut service, objective);
    service
}

/// The minute of an evaluation, a record, and the sum of its series, or `None` if it has none.
type Expected<'a> = (u64, &'a str, Option<f64>);

/// Evaluates the rules of a service over series: names with values, as promtool reads them.
fn evaluate(service: &Service, promtool: &Path, series: &[(&str, &str)], expected: &[Expected<'_>]) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &generate(service, Kind::Slo, false));
    let input: Vec<Value> =
        series.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
    let checks: Vec<Value> = expected
        .iter()
        .map(|(minute, record, value)| {
            let samples: Vec<Value> = value.iter().map(|value| json!({ "labels": "{}", "value": value })).collect();
            json!({ "expr": format!("round(sum({record}), 0.001)"), "eval_time": format!("{minute}m"), "exp_samples": samples })
        })
        .collect();
    let file = json!({
        "rule_files": ["rules/slo.yml"],
        "group_eval_order": ["wasmetry.slo.period", "wasmetry.slo"],
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": input, "promql_expr_test": checks }],
    });
    let path = directory.path().join("test.yml");
    fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
    assert_passes(promtool, &["test", "rules"], &[path]);
}

/// A window with less traffic than the period's mean is measured against the mean, or against
/// `min-rate` if that is more.
#[test]
fn quiet_windows_use_the_mean() {
    let events = "slo:events:rate5m{slo=\"a\",component=\"store-front\",tenant=\"t\"}";
    let bad = "slo:bad_events:rate5m{slo=\"a\",component=\"store-front\",tenant=\"t\"}";
    // Three hours of 10 events per second, then one of 2 of which a tenth is bad: the mean is 8.
    let series = [(events, "10+0x179 2+0x59"), (bad, "0+0x179 0.2+0x59")];
    let record = "slo:burn_rate:ratio30m";
    for promtool in promtools() {
        // 0.2 / 8 / 0.001; the first hours have no bad events, and their own traffic.
        let of_mean = [(100, record, Some(0.0)), (239, record, Some(25.0))];
        evaluate(&service("name = 'a'\nobjective = 99.9"), &promtool, &series, &of_mean);
        let floor = service("name = 'a'\nobjective = 99.9\nmin-rate = 16");
        evaluate(&floor, &promtool, &series, &[(239, record, Some(12.5))]);
        // A mean of 0.05 bad events of 8 is 6.25 times the budget.
        let remaining = "slo:error_budget:remaining_ratio";
        let achieved = [(239, remaining, Some(-5.25)), (239, "slo:good_events:ratio", Some(0.994))];
        evaluate(&service("name = 'a'\nobjective = 99.9"), &promtool, &series, &achieved);
    }
}

/// Without series of failures nothing is bad; without series of successes everything is.
#[test]
fn missing_series_are_counted() {
    let (events, bad) = ("slo:events:rate5m", "slo:bad_events:rate5m");
    let total = [("orders_total", "0+60x60")];
    let requests = [(
        "wasm_http_requests_total{job=\"wasmetry\",component=\"store-front\",tenant=\"t\",status=\"200\"}",
        "0+60x60",
    )];
    let of = |keys: &str| service(&format!("name = 'a'\nobjective = 99\n{keys}\ntotal = 'rate(orders_total[5m])'"));
    for promtool in promtools() {
        let all = |value| [(30, events, Some(1.0)), (30, bad, Some(value))];
        evaluate(&of("bad = 'rate(orders_lost_total[5m])'"), &promtool, &total, &all(0.0));
        evaluate(&of("good = 'rate(orders_paid_total[5m])'"), &promtool, &total, &all(1.0));
        evaluate(&service("name = 'a'\nobjective = 99"), &promtool, &requests, &all(0.0));
        // More good events than events are not a credit.
        evaluate(&of("good = '3 * rate(orders_total[5m])'"), &promtool, &total, &all(0.0));
        // Scalars, and an objective on no component.
        let component = |name: &str| Component::new(name, every_alert().components[0].declarations.clone());
        let mut two = Service::new("two.toml", vec![component("one"), component("two")]);
        add_objective(&mut two, "name = 'a'\nobjective = 99\ngood = '0.25'\ntotal = '1'");
        let of_none = "slo:bad_events:rate5m{slo=\"a\",component=\"\"}";
        evaluate(&two, &promtool, &[], &[(5, of_none, Some(0.75))]);
    }
}

/// A success is fresh until it is too old, also if the process has restarted or is gone.
#[test]
fn successes_become_stale() {
    let labels = "{job=\"wasmetry\",component=\"store-front\",tenant=\"t\"}";
    let (gauge, counter) = (format!("import_success_seconds{labels}"), format!("export_success_total{labels}"));
    let (events, bad) = ("slo:events:rate5m", "slo:bad_events:rate5m");
    for promtool in promtools() {
        let of = |metric: &str| service(&format!("name = 'a'\nobjective = 99\nfreshness = '1h'\nmetric = '{metric}'"));
        // The success is at minute 20. At minute 30 the process restarts, at minute 40 it is gone.
        let series = [(gauge.as_str(), "0+0x19 1200+0x9 0+0x9 stale")];
        let of_gauge = [
            (10, bad, Some(0.0)),
            (35, bad, Some(0.0)),
            (79, bad, Some(0.0)),
            (82, bad, Some(1.0)),
            (200, bad, Some(1.0)),
        ];
        evaluate(&of("import_success_seconds"), &promtool, &series, &of_gauge);
        evaluate(
            &of("import_success_seconds"),
            &promtool,
            &series,
            &[(35, events, Some(1.0)), (200, events, Some(1.0))],
        );
        // The first success is at minute 10, the second at minute 100.
        let series = [(counter.as_str(), "0+0x9 1+0x89 2+0x100")];
        let of_counter = [
            (5, bad, Some(1.0)),
            (15, bad, Some(0.0)),
            (65, bad, Some(0.0)),
            (75, bad, Some(1.0)),
            (105, bad, Some(0.0)),
        ];
        evaluate(&of("export_success_total"), &promtool, &series, &of_counter);
    }
}

/// A threshold of a histogram with exponential buckets is interpolated between its buckets.
#[test]
fn exponential_buckets_have_fractions() {
    // Prometheus 2.42 has no notation for them in tests.
    let is_new = |promtool: &&std::path::PathBuf| promtool.to_string_lossy().contains("backends");
    let Some(promtool) = promtools().iter().find(is_new).cloned() else { return };
    let service = service("name = 'a'\nobjective = 99\nlatency = '500ms'\nmetric = 'checkout_duration_seconds'");
    let series = "checkout_duration_seconds{job=\"wasmetry\",component=\"store-front\",tenant=\"t\"}";
    // Each minute 45 values from 0.25 s to 0.5 s, and 15 from 0.5 s to 1 s.
    let values =
        "{{schema:0 count:0 sum:0 offset:-1 buckets:[0 0]}}+{{schema:0 count:60 sum:30 offset:-1 buckets:[45 15]}}x60";
    let expected = [
        (30, "slo:events:rate5m", Some(1.0)),
        (30, "slo:bad_events:rate5m", Some(0.25)),
        (30, "slo:burn_rate:ratio5m", Some(25.0)),
    ];
    evaluate(&service, &promtool, &[(series, values)], &expected);
    // Without values nothing is bad.
    let idle = "{{schema:0 count:9 sum:9 offset:-1 buckets:[4 5]}}x60";
    evaluate(&service, &promtool, &[(series, idle)], &[(30, "slo:bad_events:rate5m", Some(0.0))]);
}

/// Returns `true` if an objective can have an expression.
fn is_accepted(expression: &str) -> bool {
    let table = json!({ "name": "a", "objective": 99.5, "good": expression, "total": "a" });
    serde_json::from_value::<Objective>(table).is_ok()
}

/// Compares the check of expressions with both versions: what it accepts is PromQL, and what it
/// refuses is not.
#[test]
fn accepted_expressions_are_promql() {
    let accepted = [
        "a",
        "sum",
        "a:b{c=\"d\", e!~'f|g',}",
        "{__name__=\"a\"}",
        "{a=~'.+'}",
        "sum by (a, b) (rate(c_total{d=~\"5..\"}[5m]))",
        "sum(rate(c[5m])) without (x)",
        "sum by () (a)",
        "-a ^ 2 + 3 * b / ignoring(c) group_left(d) e",
        "a and on (b) c or d unless e",
        "a > bool 5 and b <= 3",
        "topk(3, a) + quantile(0.9, b)",
        "count_values('b', a)",
        "histogram_quantile(0.95, sum by (le) (rate(a_bucket[5m])))",
        "histogram_fraction(0, 0.5, a)",
        "max_over_time((time() - a)[1h:5m]) / vector(1)",
        "max_over_time(rate(a[5m])[1h30m:])",
        "rate(a[5m] offset 1h) + a offset -1d",
        "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
        "label_join(a, 'b', '-', 'c', 'd')",
        "round(a) + round(a, 5) + hour() + day_of_week(b)",
        "1e3 + .5 + 0x1F + Inf + NaN + 1e-3",
        "1 == bool 2",
        "a == on () group_right b",
        "SUM(a) AND b",
        "a{b='\\\\d+\\'', c=`\\d`}",
        "a atan2 b % c",
        "clamp(a, 0, scalar(b))",
    ];
    let refused = [
        "",
        "sum(a",
        "rate(a)",
        "sum(a[5m])",
        "(a)[5m]",
        "rates(a[5m])",
        "rate()",
        "rate(a[5m], 2)",
        "1 > 2",
        "1 and a",
        "{}",
        "{a=~'.*'}",
        "a{b}",
        "a{b=c}",
        "a 'b'",
        "a{b='c",
        "a{b='\\q'}",
        "sum by a (b)",
        "-'a'",
        "a + 'b'",
        "a or",
        "a offset b",
        "a + on (b) 1",
        "a and group_left () b",
        "topk(a)",
        "5m5h",
    ];
    for expression in accepted {
        assert!(is_accepted(expression), "{expression}");
    }
    let check = |promtool: &Path, expressions: &[&str]| {
        let rule = |expr: &&str| json!({ "record": "a", "expr": expr });
        let rules: Vec<Value> = expressions.iter().map(rule).collect();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("rules.yml");
        fs::write(&path, json!({ "groups": [{ "name": "a", "rules": rules }] }).to_string()).unwrap();
        // Rules of one name are no mistake here.
        run(promtool, &["check", "rules", "--lint=none"], &[path])
    };
    for promtool in promtools() {
        let output = check(&promtool, &accepted);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for expression in refused {
            assert!(!is_accepted(expression), "{expression}");
            assert!(!check(&promtool, &[expression]).status.success(), "{expression}");
        }
    }
}
