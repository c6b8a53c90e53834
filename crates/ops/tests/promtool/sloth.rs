//! The real Sloth on the same objective: where its rules fire and where ours do, over the same
//! requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wasmetry_ops::{Kind, Service, generate};

use super::app::{Random, add_objective, every_alert};
use super::{promtools, run, write};

/// The hours of each timeline: longer than the longest window of the alerts.
const HOURS: usize = 96;

/// The minutes between two evaluations.
const STEP: usize = 5;

/// The requests of each minute, and how many of them fail.
#[derive(Clone)]
struct Timeline {
    good: Vec<u64>,
    bad: Vec<u64>,
}

/// Requests in a minute of the day, which is from 8 to 24, and the mean of all minutes.
const DAY: u64 = 900;
const MEAN: f64 = 600.2;

impl Timeline {
    /// Returns a timeline without failures, whose nights have a request every 20 minutes.
    fn healthy() -> Self {
        let of = |minute: usize| {
            let is_night = (minute / 60) % 24 < 8;
            if is_night { u64::from(minute.is_multiple_of(20)) } else { DAY }
        };
        let good: Vec<u64> = (0..HOURS * 60).map(of).collect();
        Self { bad: vec![0; good.len()], good }
    }

    /// Lets one request in `every` fail, from a minute on.
    fn fail(mut self, from: usize, minutes: usize, every: u64) -> Self {
        let mut count = 0;
        for minute in from..(from + minutes).min(self.good.len()) {
            let before = count / every;
            count += self.good[minute];
            let failed = count / every - before;
            self.good[minute] -= failed;
            self.bad[minute] += failed;
        }
        self
    }

    /// Returns the values of a counter that begins high, as promtool reads them.
    fn counter(minutes: &[u64]) -> String {
        let mut total = 1_000_000;
        let values = minutes.iter().map(|requests| {
            total += requests;
            total.to_string()
        });
        values.collect::<Vec<_>>().join(" ")
    }
}

/// Returns the installed Sloth. Prints a line if there is none.
///
/// # Panics
///
/// Panics if there is none and `CI` is `true`.
fn sloth() -> Option<PathBuf> {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let path = target.join("tools/backends/sloth/sloth");
    if path.is_file() {
        return Some(path);
    }
    let message = "sloth is not built: run `cargo xtask backends sloth`";
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

const OBJECTIVE: f64 = 99.9;

fn service() -> Service {
    let mut service = Service::new("store-front.wasm", every_alert().components);
    add_objective(&mut service, &format!("name = 'availability'\nobjective = {OBJECTIVE}"));
    service
}

/// Writes the rules of Sloth, and ours, on the same objective. Returns the files and their groups.
fn write_rules(sloth: &Path, directory: &Path) -> [Vec<String>; 2] {
    let query = |matchers: &str| {
        format!(
            "sum(rate(wasm_http_requests_total{{job=\"wasmetry\",component=\"store-front\"{matchers}}}[{{{{.window}}}}]))"
        )
    };
    let input = json!({
        "version": "prometheus/v1",
        "service": "store-front",
        "slos": [{
            "name": "availability",
            "objective": OBJECTIVE,
            "sli": { "events": { "error_query": query(",status=~\"5..\""), "total_query": query("") } },
            "alerting": { "name": "Sloth", "page_alert": {}, "ticket_alert": {} },
        }],
    });
    fs::write(directory.join("sloth-input.yml"), serde_saphyr::to_string(&input).unwrap()).unwrap();
    let mut command = Command::new(sloth);
    command.args(["generate", "-i", "sloth-input.yml", "-o", "sloth.yml"]).current_dir(directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    write(directory, &generate(&service(), Kind::Slo, false));
    let files = ["sloth.yml", "rules/slo.yml", "rules/slo-alerts.yml"].map(str::to_owned).to_vec();
    let groups = files.iter().flat_map(|file| {
        let text = fs::read_to_string(directory.join(file)).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("- name: ").map(str::to_owned));
        names.collect::<Vec<_>>()
    });
    // Sloth's groups are written with its records before its alerts, ours too.
    let groups: Vec<String> = groups.collect();
    assert_eq!(groups.len(), 6, "{groups:?}");
    [files, groups]
}

/// An expression, the minutes at which it is evaluated, and the only value or none.
struct Expectation {
    minutes: Vec<usize>,
    expr: String,
    value: Option<f64>,
}

fn test(name: &str, timeline: &Timeline, expectations: &[Expectation]) -> Value {
    let series = |status: &str, values: &[u64]| {
        let labels =
            format!("job=\"wasmetry\",instance=\"a:1\",component=\"store-front\",route=\"/\",status=\"{status}\"");
        json!({ "series": format!("wasm_http_requests_total{{{labels}}}"), "values": Timeline::counter(values) })
    };
    let checks = expectations.iter().flat_map(|expectation| {
        expectation.minutes.iter().map(|minute| {
            let samples: Vec<Value> =
                expectation.value.iter().map(|value| json!({ "labels": "{}", "value": value })).collect();
            json!({ "expr": expectation.expr, "eval_time": format!("{minute}m"), "exp_samples": samples })
        })
    });
    json!({
        "name": name,
        "interval": "1m",
        "input_series": [series("200", &timeline.good), series("503", &timeline.bad)],
        "promql_expr_test": checks.collect::<Vec<_>>(),
    })
}

/// Runs tests over the rules of both. Returns what promtool prints, if one fails.
fn compare(sloth: &Path, promtool: &Path, tests: &[Value]) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let [files, groups] = write_rules(sloth, directory.path());
    let file = json!({
        "rule_files": files,
        "group_eval_order": groups,
        "evaluation_interval": format!("{STEP}m"),
        "tests": tests,
    });
    let path = directory.path().join("compare.yml");
    fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
    let output = run(promtool, &["test", "rules"], &[path]);
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

const SLOTH_PAGES: &str = "count(ALERTS{alertname=\"Sloth\",sloth_severity=\"page\",alertstate=\"firing\"})";
const OURS_PAGES: &str = "count(ALERTS{alertname=\"StoreFrontAvailabilityBudgetBurn\",alertstate=\"firing\"})";
const SLOTH_WARNS: &str = "count(ALERTS{alertname=\"Sloth\",sloth_severity=\"ticket\",alertstate=\"firing\"})";
const OURS_WARNS: &str = "count(ALERTS{alertname=\"StoreFrontAvailabilitySlowBudgetBurn\",alertstate=\"firing\"})";

/// Returns the expression that has a value where Sloth fires and ours does not, although the
/// traffic of all windows is at the mean of the period or above.
fn missed(sloth: &str, ours: &str, windows: &[&str]) -> String {
    let mean = "sum(slo:events:rate30d{slo=\"availability\"})";
    let floor: Vec<String> = windows
        .iter()
        .map(|window| format!("(sum(slo:events:rate{window}{{slo=\"availability\"}}) >= {mean})"))
        .collect();
    // Within one evaluation: the windows of ours are means of rates over five minutes.
    let ours = ours
        .replace("count(ALERTS", "count(count_over_time(ALERTS")
        .replace("})", &format!("}}[{}m] offset -{STEP}m))", 3 * STEP));
    format!("{sloth} and on () {} unless on () {ours}", floor.join(" and on () "))
}

/// The minute of an hour of the last day.
const fn last_day(hour: usize) -> usize {
    (HOURS - 24 + hour) * 60
}

/// Above the mean of the traffic, ours fires wherever Sloth's rules do: during outages, for slow
/// burns, and in random timelines.
#[test]
fn sloth_fires_ours_fires() {
    let Some(sloth) = sloth() else { return };
    let page = missed(SLOTH_PAGES, OURS_PAGES, &["5m", "30m", "1h", "6h"]);
    let warning = missed(SLOTH_WARNS, OURS_WARNS, &["2h", "6h", "1d", "3d"]);
    let every: Vec<usize> = (last_day(0)..HOURS * 60 - STEP).step_by(STEP).collect();
    let nowhere = || {
        [
            Expectation { minutes: every.clone(), expr: page.clone(), value: None },
            Expectation { minutes: every.clone(), expr: warning.clone(), value: None },
        ]
    };
    let fires = |minute, expr: &str| Expectation { minutes: vec![minute], expr: expr.to_owned(), value: Some(1.0) };
    let silent = |minute, expr: &str| Expectation { minutes: vec![minute], expr: expr.to_owned(), value: None };
    let both_page = |minute| [fires(minute, SLOTH_PAGES), fires(minute, OURS_PAGES)];
    let both_warn = |minute| [fires(minute, SLOTH_WARNS), fires(minute, OURS_WARNS)];
    let neither = |minute| [SLOTH_PAGES, OURS_PAGES, SLOTH_WARNS, OURS_WARNS].map(|expr| silent(minute, expr));
    let with = |more: Vec<Expectation>| nowhere().into_iter().chain(more).collect::<Vec<_>>();
    let healthy = Timeline::healthy;
    let noon = last_day(12);
    let mut tests = vec![
        test(
            "an outage of 20 minutes, then 2% for two hours",
            &healthy().fail(last_day(10), 20, 1).fail(last_day(20), 120, 50),
            &with(
                [both_page(last_day(10) + 20), both_warn(last_day(11)), both_page(last_day(22) - 5)]
                    .into_iter()
                    .flatten()
                    .collect(),
            ),
        ),
        test("0.8% for ten hours", &healthy().fail(noon, 600, 125), &with(both_page(noon + 500).into())),
        test(
            "0.5% for a day and a half",
            &healthy().fail(last_day(0) - 720, 2160, 200),
            &with(both_warn(last_day(23)).into()),
        ),
        test("0.08%, which the objective allows", &healthy().fail(0, HOURS * 60, 1250), &with(neither(noon).into())),
    ];
    let mut random = Random::new(0x5107);
    for number in 0..4 {
        let mut timeline = healthy();
        for _ in 0..4 {
            let from = last_day(0) - 24 * 60 + random.below(48 * 60) as usize;
            timeline = timeline.fail(from, 5 + random.below(600) as usize, 1 + random.below(300));
        }
        tests.push(test(&format!("random {number}"), &timeline, &with(Vec::new())));
    }
    // The versions take turns: each timeline takes seconds.
    let promtools = promtools();
    for (number, promtool) in promtools.iter().enumerate() {
        let own: Vec<Value> = tests.iter().skip(number).step_by(promtools.len()).cloned().collect();
        compare(&sloth, promtool, &own).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// In a quiet night one request of three fails. Sloth pages; ours is silent, because some hundred
/// thousand requests a day have spent almost nothing of the budget.
#[test]
fn quiet_night_pages_sloth_only() {
    let Some(sloth) = sloth() else { return };
    // There is a request at 2:20, 2:40 and 3:00; the first one fails.
    let night = last_day(2) + 20;
    let quiet = Timeline::healthy().fail(night, 1, 1);
    // The same with a request every 5 minutes, so that Sloth's ratio is always a number.
    let mut steady = Timeline::healthy();
    for minute in (0..HOURS * 60).filter(|minute| (minute / 60) % 24 < 8 && minute.is_multiple_of(STEP)) {
        steady.good[minute] = 1;
    }
    let steady = steady.fail(night, 1, 1);
    let of = |minutes: Vec<usize>, expr: &str, value| Expectation { minutes, expr: expr.to_owned(), value };
    let later: Vec<usize> = (night..HOURS * 60).step_by(STEP).collect();
    let count =
        |record: &str, slo: &str, comparison: &str| format!("count({record}{{{slo}=\"availability\"}} {comparison})");
    let (theirs, ours) = ("slo:period_error_budget_remaining:ratio", "slo:error_budget:remaining_ratio");
    let is_nan = count(theirs, "sloth_slo", "!= slo:period_error_budget_remaining:ratio");
    let common = || {
        vec![
            of(vec![night], SLOTH_PAGES, Some(1.0)),
            of(later.clone(), OURS_PAGES, None),
            of(later.clone(), OURS_WARNS, None),
            of(vec![night], &count(ours, "slo", "> 0.999"), Some(1.0)),
        ]
    };
    let with = |more: Vec<Expectation>| common().into_iter().chain(more).collect::<Vec<_>>();
    let tests = [
        test("five minutes without a request", &quiet, &with(vec![of(vec![night], &is_nan, Some(1.0))])),
        test(
            "a request every five minutes",
            &steady,
            &with(vec![of(vec![night], &count(theirs, "sloth_slo", "< 0.2"), Some(1.0))]),
        ),
    ];
    for promtool in promtools() {
        compare(&sloth, &promtool, &tests).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A total outage in a night of a tenth of the mean traffic pages both: it spends the budget.
#[test]
fn night_outage_pages_both() {
    let Some(sloth) = sloth() else { return };
    let mut timeline = Timeline::healthy();
    let night = last_day(2);
    for minute in last_day(0)..last_day(8) {
        timeline.good[minute] = (MEAN / 10.0) as u64;
    }
    let timeline = timeline.fail(night, 60, 1);
    let fires = |expr: &str| Expectation { minutes: vec![night + 60], expr: expr.to_owned(), value: Some(1.0) };
    let tests = [test("an outage at night", &timeline, &[fires(SLOTH_PAGES), fires(OURS_PAGES)])];
    for promtool in promtools() {
        compare(&sloth, &promtool, &tests).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The comparison can fail: with a burn rate that ours does not alert on, it finds where Sloth
/// fires alone.
#[test]
fn missed_alert_is_found() {
    let Some(sloth) = sloth() else { return };
    let Some(promtool) = promtools().into_iter().next() else { return };
    let page = missed(SLOTH_PAGES, "count(ALERTS{alertname=\"None\"})", &["5m", "30m", "1h", "6h"]);
    let noon = last_day(16);
    let timeline = Timeline::healthy().fail(noon, 20, 1);
    let nowhere = Expectation { minutes: vec![noon + 20], expr: page.clone(), value: None };
    let error = compare(&sloth, &promtool, &[test("an outage", &timeline, &[nowhere])]).unwrap_err();
    assert!(error.contains("unless on ()"), "{error}");
}
