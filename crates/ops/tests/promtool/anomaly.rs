//! The alerts on anomalies, evaluated over four weeks of a real Prometheus, whose storage was
//! filled as a team would fill it: with samples, then with the recording rules over them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wasmetry_ops::{Kind, Service, generate};

use super::app::every_alert;
use super::prometheus::Prometheus;
use super::{assert_passes, promtools, run, write};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const WEEK: u64 = 7 * 24 * HOUR;

/// The time at which the alerts are evaluated, a multiple of two hours.
const NOW: u64 = 1_767_265_200 / (2 * HOUR) * (2 * HOUR);

/// The seconds between two scrapes.
const SCRAPE: u64 = 15;

/// The seconds for which the tenants have behaved as they do now. The alerts fire after 30 minutes,
/// and a rate over 5 minutes follows.
const SINCE: u64 = 40 * MINUTE;

/// The upper bounds of the buckets in seconds, with the share of usual and of slow requests up to
/// each.
const BUCKETS: [(&str, f64, f64); 6] = [
    ("0.05", 0.6, 0.6),
    ("0.1", 0.97, 0.7),
    ("0.25", 0.995, 0.8),
    ("0.4", 1.0, 0.97),
    ("0.5", 1.0, 1.0),
    ("+Inf", 1.0, 1.0),
];

/// A tenant: its usual requests per second, the factor of the rate now, and `true` if its requests
/// are slow now.
const TENANTS: [(&str, f64, f64, bool); 5] = [
    ("calm", 10.0, 1.02, false),
    ("busy", 10.0, 2.5, false),
    ("deserted", 10.0, 0.2, false),
    ("slow", 10.0, 1.0, true),
    // Below the floor of traffic: 5 requests in 100 seconds are no basis for a mean.
    ("night", 0.05, 8.0, true),
];

/// The factors of the rate one, two and three weeks ago, at the index 0 now.
const WEEKS: [f64; 4] = [1.0, 1.06, 0.98, 0.94];

/// Returns the exposition of all samples.
fn samples() -> String {
    let mut text = String::new();
    for (tenant, rate, factor, is_slow) in TENANTS {
        let labels =
            format!("job=\"wasmetry\",instance=\"a:1\",component=\"store-front\",tenant=\"{tenant}\",route=\"/\"");
        let mut lines = vec![(format!("wasm_http_requests_total{{{labels},method=\"GET\",status=\"200\"}}"), 1.0, 1.0)];
        lines.push((format!("wasm_http_request_duration_seconds_count{{{labels}}}"), 1.0, 1.0));
        let bucket = |(le, usual, slow): &(&str, f64, f64)| {
            (format!("wasm_http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}"), *usual, *slow)
        };
        lines.extend(BUCKETS.iter().map(bucket));
        for (line, usual, slow) in lines {
            for (weeks, week) in WEEKS.iter().enumerate().rev() {
                let at = NOW - weeks as u64 * WEEK;
                let mut total = 0.0;
                for time in (at - 2 * HOUR..=at + HOUR).step_by(SCRAPE as usize) {
                    if weeks == 0 && time > NOW {
                        break;
                    }
                    let is_unusual = weeks == 0 && time > NOW - SINCE;
                    let share = if is_unusual && is_slow { slow } else { usual };
                    let factor = if is_unusual { factor } else { 1.0 };
                    total += rate * week * factor * share * SCRAPE as f64;
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{line} {total} {time}");
                }
            }
        }
    }
    text + "# EOF\n"
}

/// Adds the blocks of the recording rules around the evaluation and one, two and three weeks
/// before.
fn record(promtool: &Path, prometheus: &Prometheus, directory: &Path) {
    for weeks in 0..WEEKS.len() as u64 {
        let at = NOW - weeks * WEEK;
        let (start, end) = (at - HOUR - SINCE, if weeks == 0 { at } else { at + HOUR });
        let arguments = [
            format!("--start={start}"),
            format!("--end={end}"),
            "--eval-interval=1m".to_owned(),
            format!("--url=http://{}", prometheus.address),
            format!("--output-dir={}", directory.join("data").display()),
        ];
        let arguments: Vec<&str> =
            ["tsdb", "create-blocks-from", "rules"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        assert_passes(promtool, &arguments, &[directory.join("rules/recording.yml")]);
    }
}

/// Returns the tenants for which an expression holds at each minute of the last half hour.
fn held(promtool: &Path, prometheus: &Prometheus, expr: &str) -> BTreeSet<String> {
    let (start, end) = (format!("--start={}", NOW - 30 * MINUTE), format!("--end={NOW}"));
    let url = PathBuf::from(format!("http://{}", prometheus.address));
    let arguments = ["query", "range", "--format=json", &start, &end, "--step=60s"];
    let output = run(promtool, &arguments, &[url, PathBuf::from(expr)]);
    assert!(output.status.success(), "{expr}: {}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut points: BTreeMap<String, usize> = BTreeMap::new();
    for series in &found {
        let tenant = series["metric"]["tenant"].as_str().unwrap().to_owned();
        *points.entry(tenant).or_default() += series["values"].as_array().unwrap().len();
    }
    points.into_iter().filter(|(_, points)| *points == 31).map(|(tenant, _)| tenant).collect()
}

/// The values of Grafana's variables in the queries on means and deviations.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "5m"), ("$component", ".+"), ("$tenant", ".*"), ("$instance", ".*")];

/// Returns the queries of dashboards and runbooks on seasonal means and deviations, with their
/// places.
fn seasonal_queries(service: &Service) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for file in generate(service, Kind::Dashboard, false).into_iter().filter(|file| file.path.ends_with(".json")) {
        collect(&file.path, &serde_json::from_str(&file.contents).unwrap(), &mut all);
    }
    let runbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks");
    for name in ["latency-anomaly.md", "traffic-anomaly.md"] {
        let text = fs::read_to_string(runbooks.join(name)).unwrap();
        let queries = text.split("```promql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
        all.extend(queries.map(|query| (name.to_owned(), query.to_owned())));
    }
    all.retain(|(_, query)| query.contains("mean3w") || query.contains("stddev3w"));
    all
}

/// Adds the queries that a value of a dashboard contains.
fn collect(place: &str, value: &Value, all: &mut BTreeSet<(String, String)>) {
    if let Some(text) = value.get("expr").and_then(Value::as_str) {
        let text = VARIABLES.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        all.insert((place.to_owned(), text));
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(place, item, all)),
        Value::Object(fields) => fields.values().for_each(|field| collect(place, field, all)),
        _ => {}
    }
}

/// Returns `true` if a query returns series at the time of the evaluation.
fn returns_data(promtool: &Path, prometheus: &Prometheus, query: &str) -> bool {
    let url = PathBuf::from(format!("http://{}", prometheus.address));
    let time = format!("--time={NOW}");
    let arguments = ["query", "instant", "--format=json", &time];
    let output = run(promtool, &arguments, &[url, PathBuf::from(query)]);
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found.as_array().is_some_and(|series| !series.is_empty())
}

/// More traffic, less traffic and slow requests are found, each by its alert only; a tenant that is
/// as it was, and one with little traffic, are not.
#[test]
fn anomalies_differ_from_earlier_weeks() {
    let service = every_alert();
    let alerts = service.alerts();
    let files = generate(&service, Kind::Rules, false);
    let seasonal = seasonal_queries(&service);
    assert!(seasonal.len() >= 8, "{seasonal:?}");
    for promtool in promtools() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &generate(&service, Kind::Prometheus, false));
        write(directory.path(), &files);
        let input = directory.path().join("input.txt");
        fs::write(&input, samples()).unwrap();
        let data = directory.path().join("data");
        assert_passes(&promtool, &["tsdb", "create-blocks-from", "openmetrics"], &[input, data]);

        // The seasonal means read what the first pass has recorded, which is loaded at a start.
        let program = promtool.with_file_name("prometheus");
        for _ in 0..2 {
            let prometheus = Prometheus::start(&program, directory.path());
            record(&promtool, &prometheus, directory.path());
        }

        let prometheus = Prometheus::start(&program, directory.path());
        let tenants = |issue: &str| {
            let alert = alerts.iter().find(|alert| alert.issue == issue).unwrap();
            assert_eq!(alert.hold, 30 * MINUTE);
            held(&promtool, &prometheus, &alert.expr.to_string())
        };
        let expected = |tenants: &[&str]| tenants.iter().map(|tenant| (*tenant).to_owned()).collect::<BTreeSet<_>>();
        let shown = promtool.display();
        assert_eq!(tenants("traffic-anomaly"), expected(&["busy", "deserted"]), "{shown}");
        assert_eq!(tenants("latency-anomaly"), expected(&["slow"]), "{shown}");
        for (place, query) in &seasonal {
            assert!(returns_data(&promtool, &prometheus, query), "{shown}: {place}: {query}");
        }
    }
}
