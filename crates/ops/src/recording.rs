//! Recording rules: rates, errors, latency, Apdex and saturation by component, route and tenant,
//! and the seasonal means that anomalies are measured against.

use crate::Service;
use crate::alert::component::RANGE;
use crate::alert::proof::Labels;
use crate::host;
use crate::promql::{Expr, Selector, escaped_regex};
use crate::scope::job;
use crate::slo;

const HOUR: u64 = 3600;
const WEEK: u64 = 168 * HOUR;

/// The weeks of a seasonal mean.
const WEEKS: u64 = 3;

/// The Apdex target in seconds, up to which a request satisfies, and four times it, up to which one
/// is tolerated.
const APDEX: (f64, f64) = (0.1, 0.4);

/// The levels: the prefix of the records' names, and the labels that they keep.
const LEVELS: [(&str, &[&str]); 3] = [
    ("component", &["component", "tenant"]),
    ("component_route", &["component", "tenant", "route"]),
    ("tenant", &["tenant"]),
];

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The group, which is evaluated at once.
    pub group: &'static str,
    /// The name of the recorded series.
    pub record: String,
    /// The expression.
    pub expr: Expr,
    /// The labels that the rule adds.
    pub labels: Labels,
    /// The labels and values of the series in the test of all recording rules.
    pub expected: Vec<(Labels, f64)>,
}

impl Recording {
    /// Returns `true` if the rule belongs to an objective.
    pub(crate) fn is_of_objective(&self) -> bool {
        [slo::record::GROUP, slo::record::PERIOD_GROUP].contains(&self.group)
    }
}

/// Returns the rules of a service.
pub(crate) fn recordings(service: &Service) -> Vec<Recording> {
    let mut all = Vec::new();
    for (level, by) in LEVELS {
        all.extend(of_level(service, level, by));
    }
    all.extend(saturation(service));
    all.extend(season(service, "component:wasm_http_requests", "component:wasm_http_requests:rate5m"));
    let latency = "component:wasm_http_request_duration_seconds";
    all.extend(season(service, latency, &format!("{latency}:p95_5m")));
    all
}

/// Selects a metric of all components.
fn select(service: &Service, metric: &str) -> Selector {
    let mut names: Vec<String> = service.components.iter().map(|component| escaped_regex(&component.name)).collect();
    names.sort();
    names.dedup();
    job(&service.settings, metric).with("component", "=~", &names.join("|"))
}

fn of_level(service: &Service, level: &str, by: &[&str]) -> Vec<Recording> {
    let rate = |selector: Selector| Expr::sum(by, Expr::rate(selector, RANGE));
    let requests = || select(service, host::REQUESTS);
    let buckets = || select(service, host::DURATION_BUCKET);
    let count = format!("{}_count", host::DURATION);
    let le = |bound: f64| rate(buckets().with("le", "=", &format!("{bound:?}")));
    let by_bucket: Vec<&str> = by.iter().copied().chain(["le"]).collect();
    let record = |name: &str, expr, value| Recording {
        group: "requests",
        record: format!("{level}:{name}"),
        expr,
        labels: Labels::new(),
        expected: vec![(example::labels(service, by), value)],
    };
    let mut all = vec![
        record("wasm_http_requests:rate5m", rate(requests()), example::REQUESTS),
        record(
            "wasm_http_requests:error_ratio5m",
            rate(requests().with("status", "=~", "5..")).op("/", rate(requests())),
            example::ERROR_RATIO,
        ),
        record(
            "wasm_http_requests:apdex5m",
            le(APDEX.0).op("+", le(APDEX.1)).op("/", Expr::Number(2.0)).op("/", rate(select(service, &count))),
            0.5,
        ),
    ];
    for (name, quantile) in [("p50_5m", 0.5), ("p95_5m", 0.95), ("p99_5m", 0.99)] {
        let buckets = Expr::sum(&by_bucket, Expr::rate(buckets(), RANGE));
        let expr = Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(quantile), buckets] };
        all.push(record(&format!("{}:{name}", host::DURATION), expr, example::quantile(quantile)));
    }
    all
}

fn saturation(service: &Service) -> Vec<Recording> {
    let by = ["component", "tenant"];
    let mean = |metric| Expr::sum(&by, Expr::call("avg_over_time", select(service, metric).over(RANGE)));
    let limit = Expr::aggregate("max", &by, select(service, host::MEMORY_LIMIT).now());
    let record = |name: &str, expr, value| Recording {
        group: "saturation",
        record: format!("component:{name}"),
        expr,
        labels: Labels::new(),
        expected: vec![(example::labels(service, &by), value)],
    };
    let of_process = |metric| {
        let process = Expr::call("avg_over_time", select(service, metric).over(RANGE));
        Expr::sum(&["component", "tenant", "instance"], process)
    };
    let instances = of_process(host::INSTANCES).op("/", of_process(host::INSTANCES_LIMIT));
    vec![
        record(
            "wasm_linear_memory:ratio5m",
            mean(host::MEMORY).op("/", mean(host::INSTANCES).op("*", limit)),
            example::MEMORY_RATIO,
        ),
        record(
            "wasm_guest_busy_seconds:rate5m",
            Expr::sum(&by, Expr::rate(select(service, host::BUSY), RANGE)),
            example::BUSY,
        ),
        record(
            "wasm_instances:ratio5m",
            Expr::aggregate("max", &by, instances),
            example::INSTANCES / example::INSTANCES_LIMIT,
        ),
    ]
}

/// Returns the mean and the standard deviation of a record at this hour of earlier weeks.
fn season(service: &Service, name: &str, record: &str) -> Vec<Recording> {
    let windows = || {
        (1..=WEEKS).map(|weeks| {
            let mut selector = select(service, record);
            // Recorded series have no `job`.
            selector.matchers.retain(|(label, ..)| label != "job");
            selector.before(weeks * WEEK - HOUR).over(2 * HOUR)
        })
    };
    let mean_of = |terms: Vec<Expr>| {
        let sum = terms.into_iter().reduce(|sum, term| sum.op("+", term)).unwrap_or(Expr::Number(0.0));
        sum.op("/", Expr::Number(WEEKS as f64))
    };
    let average = |window: Expr| Expr::call("avg_over_time", window);
    let square = |expr: Expr| expr.op("^", Expr::Number(2.0));
    let mean = mean_of(windows().map(average).collect());
    let of_squares =
        windows().map(|window| Expr::call("stdvar_over_time", window.clone()).op("+", square(average(window))));
    let variance = mean_of(of_squares.collect()).op("-", square(mean.clone()));
    let variance = Expr::Call { function: "clamp_min", arguments: vec![variance, Expr::Number(0.0)] };
    let labels = example::labels(service, &["component", "tenant"]);
    let record = |suffix: &str, expr, value| Recording {
        group: "season",
        record: format!("{name}:{suffix}"),
        expr,
        labels: Labels::new(),
        expected: vec![(labels.clone(), value)],
    };
    let (typical, deviation) = example::season();
    vec![record("mean3w", mean, typical), record("stddev3w", Expr::call("sqrt", variance), deviation)]
}

/// The series of the recording rules' tests, and the values that are expected.
pub(crate) mod example {
    use super::{Labels, Service, host};
    use crate::alert::proof::{InputSeries, counter, gauge};
    use crate::scope::Scope;

    /// Requests per second.
    pub(super) const REQUESTS: f64 = 2.0;
    /// The share of 5xx.
    pub(super) const ERROR_RATIO: f64 = 0.1;
    /// The share of the memory limit.
    pub(super) const MEMORY_RATIO: f64 = 0.5;
    /// Seconds of guest time per second.
    pub(super) const BUSY: f64 = 0.25;
    /// Live instances.
    pub(super) const INSTANCES: f64 = 3.0;
    /// Instances that a process may have.
    pub(super) const INSTANCES_LIMIT: f64 = 16.0;
    /// The bucket that has all requests, in seconds.
    const BUCKET: (f64, f64) = (0.1, 0.25);
    /// The values of the weeks before, the last one first.
    const WEEKS: [f64; 3] = [15.0, 10.0, 8.0];

    pub(super) fn quantile(quantile: f64) -> f64 {
        BUCKET.0 + quantile * (BUCKET.1 - BUCKET.0)
    }

    pub(super) fn season() -> (f64, f64) {
        let mean = WEEKS.iter().sum::<f64>() / 3.0;
        let variance = WEEKS.iter().map(|week| (week - mean).powi(2)).sum::<f64>() / 3.0;
        (mean, variance.sqrt())
    }

    /// Returns the labels of the example that a rule keeps.
    pub(super) fn labels(service: &Service, by: &[&str]) -> Labels {
        let Some(component) = service.components.first() else { return Labels::new() };
        let scope = Scope { settings: &service.settings, component, prefix: "" };
        let mut all = scope.faulty(&[("route", "/")]);
        all.retain(|label, _| by.contains(&label.as_str()));
        all
    }

    /// Returns the series of the first component.
    pub(crate) fn series(service: &Service) -> Vec<InputSeries> {
        let Some(component) = service.components.first() else { return Vec::new() };
        let scope = Scope { settings: &service.settings, component, prefix: "" };
        let own = scope.series(&scope.faulty(&[]));
        let route = scope.series(&scope.faulty(&[("route", "/")]));
        let with = |label: &str, value: &str| {
            let mut labels = route.clone();
            labels.insert(label.into(), value.into());
            labels
        };
        let limit = 65_536.0;
        let mut series = vec![
            counter(host::REQUESTS, &with("status", "200"), REQUESTS * (1.0 - ERROR_RATIO)),
            counter(host::REQUESTS, &with("status", "500"), REQUESTS * ERROR_RATIO),
            counter(&format!("{}_count", host::DURATION), &route, REQUESTS),
            gauge(host::INSTANCES, &own, INSTANCES),
            gauge(host::INSTANCES_LIMIT, &own, INSTANCES_LIMIT),
            gauge(host::MEMORY_LIMIT, &own, limit),
            gauge(host::MEMORY, &own, INSTANCES * limit * MEMORY_RATIO),
            counter(host::BUSY, &own, BUSY),
        ];
        let bounds = host::DURATION_BOUNDS.map(|bound| (format!("{bound:?}"), bound));
        for (le, bound) in bounds.into_iter().chain([("+Inf".to_owned(), f64::INFINITY)]) {
            let rate = if bound < BUCKET.1 { 0.0 } else { REQUESTS };
            series.push(counter(host::DURATION_BUCKET, &with("le", &le), rate));
        }
        series
    }

    /// Returns hourly values of a record over four weeks.
    pub(crate) fn weeks(service: &Service, record: &str) -> InputSeries {
        let labels = labels(service, &["component", "tenant"]);
        let [last, middle, first] = WEEKS;
        let values = format!("{first}+0x167 {middle}+0x167 {last}+0x167 1+0x167");
        InputSeries::steps(crate::alert::proof::series(record, &labels), values)
    }
}
