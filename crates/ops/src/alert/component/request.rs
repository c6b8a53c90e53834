//! Alerts about requests: their errors, their durations, and what is unusual for the hour.

use super::{BY_ROUTE, MINUTE, RANGE, percent, rate};
use crate::alert::proof::{self, InputSeries, Labels, Trial, counter, gauge};
use crate::alert::{Alert, NUMBER, PERCENT, Requests, Severity, TENANT};
use crate::host::{self, DURATION_BOUNDS};
use crate::promql::Expr;
use crate::scope::Scope;

pub(super) fn high_error_rate(scope: &Scope<'_>) -> Alert {
    let (ratio, floor) = (scope.settings.error_ratio, scope.settings.min_request_rate);
    let failed = Expr::rate(scope.select(host::REQUESTS).with("status", "=~", "5.."), RANGE);
    let requests = || rate(scope, &BY_ROUTE, host::REQUESTS);
    let hold = 5 * MINUTE;
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[("route", "/faulty")]),
        healthy: scope.faulty(&[("route", "/healthy")]),
        series: &|group, factors| {
            let total = factors[1] * floor;
            let failed = factors[0] * ratio * total;
            let with = |status| {
                let mut labels = scope.series(group);
                labels.extend(proof::labels(&[("method", "GET"), ("status", status)]));
                labels
            };
            vec![
                counter(host::REQUESTS, &with("200"), total - failed),
                counter(host::REQUESTS, &with("500"), 0.75 * failed),
                counter(host::REQUESTS, &with("504"), 0.25 * failed),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    Alert {
        name: scope.alert("HighErrorRate"),
        issue: "high-error-rate",
        requests: Some(Requests::BY_NAME),
        severity: Severity::Critical,
        hold,
        proofs: trial.proofs(),
        expr: Expr::sum(&BY_ROUTE, failed).op("/", requests()).above(ratio).op("and", requests().above(floor)),
        summary: format!("{{{{ $labels.component }}}}{TENANT} fails requests of the route {{{{ $labels.route }}}}"),
        description: format!("{PERCENT} of the requests were answered with 5xx; the threshold is {}.", percent(ratio)),
    }
}

pub(super) fn high_latency(scope: &Scope<'_>) -> Alert {
    let (threshold, floor) = (scope.settings.latency, scope.settings.min_request_rate);
    let by = ["component", "tenant", "route", "le"];
    let buckets = Expr::sum(&by, Expr::rate(scope.select(host::DURATION_BUCKET), RANGE));
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["threshold", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[("route", "/faulty")]),
        healthy: scope.faulty(&[("route", "/healthy")]),
        series: &|group, factors| {
            let labels = scope.series(group);
            let mut series =
                histogram(host::DURATION_BUCKET, &labels, &DURATION_BOUNDS, factors[0] * threshold, factors[1] * floor);
            let mut labelled = labels.clone();
            labelled.extend(proof::labels(&[("method", "GET"), ("status", "200")]));
            series.push(counter(host::REQUESTS, &labelled, factors[1] * floor));
            series
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("HighLatency"),
        issue: "high-latency",
        requests: Some(Requests::slower_than(threshold)),
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(0.95), buckets] }
            .above(threshold)
            .op("and", rate(scope, &BY_ROUTE, host::REQUESTS).above(floor)),
        summary: format!("{{{{ $labels.component }}}}{TENANT} is slow on the route {{{{ $labels.route }}}}"),
        description: format!("One request in 20 takes longer than {NUMBER} s; the threshold is {threshold} s."),
    }
}

/// Returns the buckets of a histogram whose 95th percentile is `quantile`.
///
/// The percentile is interpolated in the bucket that contains it. So a part of the values is in
/// that bucket, the others below and above it. It must not be the first bucket.
pub(crate) fn histogram(metric: &str, group: &Labels, bounds: &[f64], quantile: f64, rate: f64) -> Vec<InputSeries> {
    const Q: f64 = 0.95;
    let at = bounds.partition_point(|bound| *bound < quantile);
    let low = if at == 0 { 0.0 } else { bounds[at - 1] };
    let position = (quantile - low) / (bounds[at] - low);
    let inside = ((1.0 - Q) / (1.0 - position).max(1e-6)).min(Q / position).min(0.5);
    let below = Q - position * inside;
    let count = |bound: f64| if bound <= low { below } else { below + inside };
    let mut all: Vec<(String, f64)> = bounds.iter().map(|bound| (format!("{bound:?}"), count(*bound))).collect();
    all.push(("+Inf".to_owned(), 1.0));
    all.into_iter()
        .map(|(le, share)| {
            let mut labels = group.clone();
            labels.insert("le".to_owned(), le);
            counter(metric, &labels, share * rate)
        })
        .collect()
}

pub(super) fn traffic_anomaly(scope: &Scope<'_>) -> Alert {
    let metric = ["component:wasm_http_requests:rate5m", "component:wasm_http_requests:mean3w"];
    anomaly(scope, "TrafficAnomaly", "traffic-anomaly", metric, "component:wasm_http_requests:stddev3w", true)
}

pub(super) fn latency_anomaly(scope: &Scope<'_>) -> Alert {
    let metric =
        ["component:wasm_http_request_duration_seconds:p95_5m", "component:wasm_http_request_duration_seconds:mean3w"];
    let deviation = "component:wasm_http_request_duration_seconds:stddev3w";
    anomaly(scope, "LatencyAnomaly", "latency-anomaly", metric, deviation, false)
}

/// Returns the alert on a recorded series that is far from its seasonal mean.
fn anomaly(
    scope: &Scope<'_>,
    name: &str,
    issue: &'static str,
    [now, mean]: [&str; 2],
    deviation: &str,
    is_traffic: bool,
) -> Alert {
    let settings = scope.settings;
    let (sigmas, share, floor) = (settings.anomaly_deviations, settings.anomaly_ratio, settings.min_request_rate);
    let recorded = |metric: &str| scope.recorded(metric).now();
    let distance = || {
        let difference = recorded(now).op("-", recorded(mean));
        if is_traffic { Expr::call("abs", difference) } else { difference }
    };
    let traffic = "component:wasm_http_requests:mean3w";
    let hold = 30 * MINUTE;
    let trial = Trial {
        conditions: &["deviation", "distance", "traffic"],
        settle: 0,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let typical = if is_traffic { factors[2] * floor } else { 0.2 };
            let distance = factors[1] * share * typical;
            let mut series = vec![
                gauge(now, group, typical + distance),
                gauge(mean, group, typical),
                gauge(deviation, group, distance / (factors[0] * sigmas)),
            ];
            if !is_traffic {
                series.push(gauge(traffic, group, factors[2] * floor));
            }
            series
        },
        value: &|factors| factors[0] * sigmas,
    };
    let subject = if is_traffic { "traffic" } else { "latency" };
    Alert {
        name: scope.alert(name),
        issue,
        requests: Some(Requests::BY_NAME),
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: distance()
            .op("/", recorded(deviation))
            .above(sigmas)
            .op("and", distance().op("/", recorded(mean)).above(share))
            .op("and", recorded(traffic).above(floor)),
        summary: format!("The {subject} of {{{{ $labels.component }}}}{TENANT} is unusual for this hour of the week"),
        description: format!(
            "It is {NUMBER} standard deviations from the mean of this hour in the last three weeks, and more than {} from \
             the mean.",
            percent(share)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::proof::ABOVE;
    use crate::settings::LATENCY;

    #[test]
    fn latencies_have_buckets() {
        let steps = (0..).map(|step| LATENCY.0 + 0.001 * f64::from(step));
        for threshold in steps.take_while(|latency| *latency < LATENCY.1).chain([LATENCY.1]) {
            for factor in ABOVE {
                let series = histogram("seconds_bucket", &Labels::new(), &DURATION_BOUNDS, factor * threshold, 1.0);
                assert_eq!(series.len(), DURATION_BOUNDS.len() + 1);
            }
        }
    }
}
