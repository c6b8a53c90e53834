//! Alerts on the metrics that a binary declares, as their kind and unit allow.
//!
//! A counter whose name ends in `_failed_total` or `_errors_total` counts failures; a gauge with a
//! second gauge for its limit can be full; a histogram of durations can be slow. Nothing is
//! concluded from any other metric.

use std::collections::BTreeSet;

use wasmetry_host::alert_name::camel_case;
use wasmetry_host::{Kind, Metric};

use super::component::{MINUTE, OWN, RANGE, histogram, mean, percent, rate};
use super::proof::{Labels, Trial, counter, gauge};
use super::{Alert, NUMBER, PERCENT, Requests, Severity, TENANT};
use crate::promql::Expr;
use crate::scope::Scope;

/// Returns the alerts on a component's own metrics.
pub(crate) fn alerts(scope: &Scope<'_>) -> Vec<Alert> {
    let metrics = scope.component.exported();
    let counters: BTreeSet<&str> = names(&metrics, |kind| matches!(kind, Kind::CounterU64 | Kind::CounterF64));
    let gauges = names(&metrics, |kind| kind.type_name() == "gauge");
    let mut seen = BTreeSet::new();
    let mut alerts = Vec::new();
    for metric in metrics.iter().filter(|metric| seen.insert(metric.name.as_str())) {
        let name = metric.name.as_str();
        let alert = if counters.contains(name) {
            failures(scope, name, &counters)
        } else if gauges.contains(name) {
            limit_of(metric).find(|limit| gauges.contains(limit.as_str())).map(|limit| full(scope, name, &limit))
        } else if metric.kind == Kind::HistogramNanos || (metric.kind == Kind::HistogramF64 && metric.unit == "seconds")
        {
            slow(scope, metric)
        } else {
            None
        };
        alerts.extend(alert);
    }
    alerts
}

fn names<'a>(metrics: &[&'a Metric], is_kind: impl Fn(Kind) -> bool) -> BTreeSet<&'a str> {
    metrics.iter().filter(|metric| is_kind(metric.kind)).map(|metric| metric.name.as_str()).collect()
}

fn name(scope: &Scope<'_>, metric: &str, issue: &str) -> String {
    scope.alert(&format!("{}{issue}", camel_case(metric.strip_suffix("_total").unwrap_or(metric))))
}

/// Returns the alert on a counter of failures: their share of the attempts, if these are counted
/// too, or else their rate.
fn failures(scope: &Scope<'_>, metric: &str, counters: &BTreeSet<&str>) -> Option<Alert> {
    let stem = ["_failed_total", "_errors_total"].iter().find_map(|suffix| metric.strip_suffix(suffix))?;
    let settings = scope.settings;
    let attempts = [format!("{stem}_total"), format!("{stem}s_total")];
    let attempts = attempts.iter().find(|name| counters.contains(name.as_str())).map(String::as_str);
    let floor = settings.min_request_rate;
    let hold = 10 * MINUTE;
    let conditions: &[&'static str] = if attempts.is_some() { &["ratio", "traffic"] } else { &["rate"] };
    let value =
        |factors: &[f64]| factors[0] * if attempts.is_some() { settings.error_ratio } else { settings.failure_rate };
    let series = |group: &Labels, factors: &[f64]| {
        let labels = scope.series(group);
        match attempts {
            Some(attempts) => vec![
                counter(metric, &labels, value(factors) * factors[1] * floor),
                counter(attempts, &labels, factors[1] * floor),
            ],
            None => vec![counter(metric, &labels, value(factors))],
        }
    };
    let trial = Trial {
        conditions,
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &series,
        value: &value,
    };
    let (expr, description) = match attempts {
        Some(attempts) => (
            rate(scope, &OWN, metric)
                .op("/", rate(scope, &OWN, attempts))
                .above(settings.error_ratio)
                .op("and", rate(scope, &OWN, attempts).above(floor)),
            format!("{PERCENT} of {attempts} are in {metric}; the threshold is {}.", percent(settings.error_ratio)),
        ),
        None => (
            rate(scope, &OWN, metric).above(settings.failure_rate),
            format!("{metric} rises by {NUMBER} per second; the threshold is {}.", settings.failure_rate),
        ),
    };
    Some(Alert {
        name: name(scope, metric, "Rising"),
        issue: "declared-failures",
        requests: Some(Requests::BY_NAME),
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr,
        summary: format!("{metric} of {{{{ $labels.component }}}}{TENANT} rises"),
        description,
    })
}

/// Returns the names that a gauge with the limit of this gauge can have.
fn limit_of(metric: &Metric) -> impl Iterator<Item = String> + use<> {
    let unit = if metric.unit.is_empty() { String::new() } else { format!("_{}", metric.unit) };
    let stem = metric.name.strip_suffix(&unit).unwrap_or(&metric.name).to_owned();
    ["limit", "max", "capacity"].into_iter().map(move |word| format!("{stem}_{word}{unit}"))
}

fn full(scope: &Scope<'_>, metric: &str, limit: &str) -> Alert {
    let ratio = scope.settings.instance_ratio;
    let mean = |metric| mean(scope, metric);
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["ratio"],
        settle: 0,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let labels = scope.series(group);
            vec![gauge(metric, &labels, factors[0] * ratio * 40.0), gauge(limit, &labels, 40.0)]
        },
        value: &|factors| factors[0] * ratio,
    };
    Alert {
        name: name(scope, metric, "NearLimit"),
        issue: "declared-limit",
        requests: None,
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: mean(metric).op("/", mean(limit)).above(ratio),
        summary: format!("{metric} of {{{{ $labels.component }}}}{TENANT} is near its limit"),
        description: format!("It is at {PERCENT} of {limit}; the threshold is {}.", percent(ratio)),
    }
}

/// Returns the alert on a histogram of durations if its buckets can show the threshold.
fn slow(scope: &Scope<'_>, metric: &Metric) -> Option<Alert> {
    let (threshold, floor) = (scope.settings.latency, scope.settings.min_request_rate);
    let bounds = &metric.buckets;
    let (first, last) = (*bounds.first()?, *bounds.last()?);
    if first <= 0.0 || first >= 0.7 * threshold || last <= 1.6 * threshold {
        return None;
    }
    let (bucket, count) = (format!("{}_bucket", metric.name), format!("{}_count", metric.name));
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["threshold", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let labels = scope.series(group);
            let mut series = histogram(&bucket, &labels, bounds, factors[0] * threshold, factors[1] * floor);
            series.push(counter(&count, &labels, factors[1] * floor));
            series
        },
        value: &|factors| factors[0] * threshold,
    };
    let by = ["component", "tenant", "le"];
    let buckets = Expr::sum(&by, Expr::rate(scope.select(&bucket), RANGE));
    let quantile = Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(0.95), buckets] };
    Some(Alert {
        name: name(scope, &metric.name, "High"),
        issue: "declared-duration",
        requests: Some(Requests::slower_than(threshold)),
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: quantile.above(threshold).op("and", rate(scope, &OWN, &count).above(floor)),
        summary: format!("{} of {{{{ $labels.component }}}}{TENANT} is high", metric.name),
        description: format!("One value in 20 is above {NUMBER} s; the threshold is {threshold} s."),
    })
}
