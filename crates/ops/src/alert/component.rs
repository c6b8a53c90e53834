//! Alerts about one component: its requests, its instances and its telemetry.

use super::proof::{Check, Labels, Proof, STEP, Trial, counter, gauge, labels, series};
use super::{Alert, NUMBER, PERCENT, Severity, TENANT};
use crate::host::{self, DURATION_BOUNDS};
use crate::promql::Expr;
use crate::scope::Scope;

/// The range of rates, in seconds.
pub(crate) const RANGE: u64 = 300;

const MINUTE: u64 = 60;
const OWN: [&str; 2] = ["component", "tenant"];
const BY_ROUTE: [&str; 3] = ["component", "tenant", "route"];

/// Returns the alerts of a component.
pub(crate) fn alerts(scope: &Scope<'_>) -> Vec<Alert> {
    vec![
        absent(scope),
        no_traffic(scope),
        high_error_rate(scope),
        high_latency(scope),
        traffic_anomaly(scope),
        latency_anomaly(scope),
        trap_rate(scope),
        deadline_kills(scope),
        out_of_memory(scope),
        memory_near_limit(scope),
        instances_saturated(scope),
        requests_waiting(scope),
        cardinality_overflow(scope),
        telemetry_dropped(scope),
        new_version(scope),
    ]
}

fn rate(scope: &Scope<'_>, by: &[&str], metric: &str) -> Expr {
    Expr::sum(by, Expr::rate(scope.select(metric), RANGE))
}

fn absent(scope: &Scope<'_>) -> Alert {
    let starts = scope.select(host::STARTS);
    // `absent` has the labels of the selector.
    let pairs: Vec<_> = starts.matchers.iter().map(|(key, _, value)| (key.as_str(), value.as_str())).collect();
    let fired = labels(&pairs);
    let proof = |title: &str, series, firing| Proof {
        title: title.to_owned(),
        series: vec![series],
        checks: vec![Check::new(4 * MINUTE, Vec::new()), Check::new(10 * MINUTE, firing)],
    };
    Alert {
        name: scope.alert("Absent"),
        issue: "absent",
        severity: Severity::Critical,
        hold: 5 * MINUTE,
        expr: Expr::call("absent", starts.clone().now()),
        summary: "{{ $labels.component }} is not served by any process that Prometheus scrapes".into(),
        description: format!(
            "For 5 minutes no target of the job {{{{ $labels.job }}}} had {} of {{{{ $labels.component }}}}.",
            host::STARTS
        ),
        proofs: vec![
            proof(
                "fires without series",
                gauge(host::STARTS, &scope.series(&labels(&[("component", "another")])), 0.0),
                vec![(fired, 1.0)],
            ),
            proof("silent with a series", gauge(host::STARTS, &scope.series(&scope.faulty(&[])), 0.0), Vec::new()),
        ],
    }
}

fn no_traffic(scope: &Scope<'_>) -> Alert {
    let floor = scope.settings.min_request_rate;
    let requests = || scope.select(host::REQUESTS);
    let now = Expr::sum(&OWN, Expr::rate(requests(), 10 * MINUTE));
    let before = Expr::sum(&OWN, Expr::rate(requests().before(3600), 10 * MINUTE));
    let (faulty, healthy) = (scope.faulty(&[]), scope.other_tenant());
    let series = |group: &Labels, rate: f64, stops: bool| {
        let step = rate * STEP as f64;
        let values = if stops {
            format!("1000000+{step}x60 {}+0x120", 1_000_000.0 + 60.0 * step)
        } else {
            format!("1000000+{step}x180")
        };
        (series(host::REQUESTS, &scope.series(group)), values)
    };
    let fires = vec![(faulty.clone(), 0.0)];
    Alert {
        name: scope.alert("NoTraffic"),
        issue: "no-traffic",
        severity: Severity::Warning,
        hold: 10 * MINUTE,
        expr: now.op("==", Expr::Number(0.0)).op("and", before.above(floor)),
        summary: format!("{{{{ $labels.component }}}}{TENANT} receives no requests"),
        description: format!("For 10 minutes there was no request, but an hour earlier more than {floor} per second."),
        proofs: vec![
            Proof {
                title: "fires when traffic of 1.5x the floor stops, not before `for` ends".into(),
                series: vec![series(&faulty, 1.5 * floor, true), series(&healthy, 1.5 * floor, false)],
                checks: vec![Check::new(78 * MINUTE, Vec::new()), Check::new(90 * MINUTE, fires)],
            },
            Proof {
                title: "silent when traffic of 0.75x the floor stops".into(),
                series: vec![series(&faulty, 0.75 * floor, true)],
                checks: vec![Check::new(90 * MINUTE, Vec::new())],
            },
        ],
    }
}

fn high_error_rate(scope: &Scope<'_>) -> Alert {
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
                labels.extend(super::proof::labels(&[("method", "GET"), ("status", status)]));
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
        severity: Severity::Critical,
        hold,
        proofs: trial.proofs(),
        expr: Expr::sum(&BY_ROUTE, failed).op("/", requests()).above(ratio).op("and", requests().above(floor)),
        summary: format!("{{{{ $labels.component }}}}{TENANT} fails requests of the route {{{{ $labels.route }}}}"),
        description: format!("{PERCENT} of the requests were answered with 5xx; the threshold is {}.", percent(ratio)),
    }
}

fn high_latency(scope: &Scope<'_>) -> Alert {
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
            let mut labels = labels.clone();
            labels.extend(super::proof::labels(&[("method", "GET"), ("status", "200")]));
            series.push(counter(host::REQUESTS, &labels, factors[1] * floor));
            series
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("HighLatency"),
        issue: "high-latency",
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
pub(crate) fn histogram(
    metric: &str,
    group: &Labels,
    bounds: &[f64],
    quantile: f64,
    rate: f64,
) -> Vec<(String, String)> {
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

fn traffic_anomaly(scope: &Scope<'_>) -> Alert {
    let metric = ["component:wasm_http_requests:rate5m", "component:wasm_http_requests:mean3w"];
    anomaly(scope, "TrafficAnomaly", "traffic-anomaly", metric, "component:wasm_http_requests:stddev3w", true)
}

fn latency_anomaly(scope: &Scope<'_>) -> Alert {
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

/// Returns the alert on the share of instances that end for a reason.
fn trap_share(scope: &Scope<'_>, matcher: (&'static str, &str), by_reason: bool) -> (Expr, Vec<Proof>, u64) {
    let (ratio, floor) = (scope.settings.trap_ratio, scope.settings.min_request_rate);
    let by: &[&str] = if by_reason { &["component", "tenant", "reason"] } else { &OWN };
    let traps = Expr::sum(by, Expr::rate(scope.select(host::TRAPS).with("reason", matcher.0, matcher.1), RANGE));
    let starts = || rate(scope, &OWN, host::STARTS);
    let hold = 5 * MINUTE;
    let reason = if by_reason { "unreachable" } else { matcher.1 };
    let (faulty, healthy) = if by_reason {
        (scope.faulty(&[("reason", reason)]), scope.faulty(&[("reason", "stack_overflow")]))
    } else {
        (scope.faulty(&[]), scope.other_tenant())
    };
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: RANGE,
        hold,
        faulty,
        healthy,
        series: &|group, factors| {
            let mut own = group.clone();
            let group_reason = own.remove("reason").unwrap_or_else(|| reason.to_owned());
            let own = scope.series(&own);
            let with = |reason: &str| {
                let mut labels = own.clone();
                labels.insert("reason".into(), reason.into());
                labels
            };
            let starts = factors[1] * floor;
            vec![
                counter(host::STARTS, &own, starts),
                counter(host::TRAPS, &with(&group_reason), factors[0] * ratio * starts),
                // Many of another kind, which has an alert of its own.
                counter(host::TRAPS, &with(if by_reason { "deadline" } else { "unreachable" }), starts),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    let share = traps.op_on("/", &OWN, by_reason, starts()).above(ratio);
    (share.op_on("and", &OWN, false, starts().above(floor)), trial.proofs(), hold)
}

fn trap_rate(scope: &Scope<'_>) -> Alert {
    let (expr, proofs, hold) = trap_share(scope, ("!~", "deadline|exit|killed|out_of_memory"), true);
    Alert {
        name: scope.alert("TrapRate"),
        issue: "trap-rate",
        severity: Severity::Critical,
        hold,
        expr,
        proofs,
        summary: format!("Instances of {{{{ $labels.component }}}}{TENANT} end in traps ({{{{ $labels.reason }}}})"),
        description: format!(
            "{PERCENT} of the instances ended with {{{{ $labels.reason }}}}; the threshold is {}.",
            percent(scope.settings.trap_ratio)
        ),
    }
}

fn deadline_kills(scope: &Scope<'_>) -> Alert {
    let (expr, proofs, hold) = trap_share(scope, ("=", "deadline"), false);
    Alert {
        name: scope.alert("DeadlineKills"),
        issue: "deadline-kills",
        severity: Severity::Warning,
        hold,
        expr,
        proofs,
        summary: format!("Requests of {{{{ $labels.component }}}}{TENANT} reach their deadline"),
        description: format!(
            "{PERCENT} of the instances were ended at the deadline of their request; the threshold is {}.",
            percent(scope.settings.trap_ratio)
        ),
    }
}

fn out_of_memory(scope: &Scope<'_>) -> Alert {
    let threshold = scope.settings.out_of_memory;
    let traps = scope.select(host::TRAPS).with("reason", "=", "out_of_memory");
    let trial = Trial {
        conditions: &["threshold"],
        settle: 10 * MINUTE,
        hold: 0,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let mut labels = scope.series(group);
            labels.insert("reason".into(), "out_of_memory".into());
            vec![counter(host::TRAPS, &labels, factors[0] * threshold / 600.0)]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("OutOfMemory"),
        issue: "out-of-memory",
        severity: Severity::Warning,
        hold: 0,
        proofs: trial.proofs(),
        expr: Expr::sum(&OWN, Expr::call("increase", traps.over(10 * MINUTE))).above(threshold),
        summary: format!("Instances of {{{{ $labels.component }}}}{TENANT} run out of memory"),
        description: format!(
            "{NUMBER} instances reached their memory limit within 10 minutes; the threshold is {threshold}."
        ),
    }
}

fn memory_near_limit(scope: &Scope<'_>) -> Alert {
    let (ratio, floor) = (scope.settings.memory_ratio, scope.settings.min_request_rate);
    let mean = |metric| Expr::sum(&OWN, Expr::call("avg_over_time", scope.select(metric).over(RANGE)));
    let limit = Expr::aggregate("max", &OWN, scope.select(host::MEMORY_LIMIT).now());
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let labels = scope.series(group);
            vec![
                gauge(host::MEMORY, &labels, factors[0] * ratio * 3.0 * 67_108_864.0),
                gauge(host::INSTANCES, &labels, 3.0),
                gauge(host::MEMORY_LIMIT, &labels, 67_108_864.0),
                counter(host::STARTS, &labels, factors[1] * floor),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    Alert {
        name: scope.alert("MemoryNearLimit"),
        issue: "memory-near-limit",
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: mean(host::MEMORY)
            .op("/", mean(host::INSTANCES).op("*", limit))
            .above(ratio)
            .op("and", rate(scope, &OWN, host::STARTS).above(floor)),
        summary: format!("Instances of {{{{ $labels.component }}}}{TENANT} are near their memory limit"),
        description: format!(
            "An average instance had {PERCENT} of the linear memory that it may have; the threshold is {}.",
            percent(ratio)
        ),
    }
}

/// Returns the alert on a gauge of each process that is above a limit.
fn saturation(scope: &Scope<'_>, metric: &'static str, threshold: f64) -> (Expr, Vec<Proof>, u64) {
    let by_process = ["component", "tenant", "instance"];
    let process = Expr::sum(&by_process, Expr::call("avg_over_time", scope.select(metric).over(RANGE)));
    let hold = 5 * MINUTE;
    let trial = Trial {
        conditions: &["threshold"],
        settle: 0,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let mut other = scope.series(group);
            // Two processes below the limit are together above it.
            other.insert("instance".into(), "b:9464".into());
            vec![gauge(metric, &scope.series(group), factors[0] * threshold), gauge(metric, &other, 0.75 * threshold)]
        },
        value: &|factors| factors[0] * threshold,
    };
    (Expr::aggregate("max", &OWN, process).above(threshold), trial.proofs(), hold)
}

fn instances_saturated(scope: &Scope<'_>) -> Alert {
    let limit = f64::from(scope.component.instances);
    let (expr, proofs, hold) = saturation(scope, host::INSTANCES, rounded(scope.settings.instance_ratio * limit));
    Alert {
        name: scope.alert("InstancesSaturated"),
        issue: "instances-saturated",
        severity: Severity::Warning,
        hold,
        expr,
        proofs,
        summary: format!("{{{{ $labels.component }}}}{TENANT} uses nearly all of its instances"),
        description: format!(
            "A process had on average {NUMBER} instances over 5 minutes; its configuration allows {limit}."
        ),
    }
}

fn requests_waiting(scope: &Scope<'_>) -> Alert {
    let limit = f64::from(scope.component.instances);
    let (expr, proofs, hold) = saturation(scope, host::IN_FLIGHT, limit);
    Alert {
        name: scope.alert("RequestsWaiting"),
        issue: "requests-waiting",
        severity: Severity::Warning,
        hold,
        expr,
        proofs,
        summary: format!("Requests of {{{{ $labels.component }}}}{TENANT} wait for instances"),
        description: format!(
            "A process had on average {NUMBER} requests in progress over 5 minutes, more than the {limit} instances \
             that its configuration allows."
        ),
    }
}

/// The reasons for which values are counted in an overflow series.
const OVERFLOW: &str = "label_out_of_range|label_table_full|label_too_long|series_limit";

fn cardinality_overflow(scope: &Scope<'_>) -> Alert {
    let by = ["component", "tenant", "reason"];
    let window = 15 * MINUTE;
    let dropped = || scope.select(host::DROPPED).with("reason", "=~", OVERFLOW);
    let risen = Expr::sum(&by, Expr::call("increase", dropped().over(window))).above(0.0);
    // The series is made by the first drop, which `increase` does not contain.
    let new = Expr::sum(&by, dropped().now()).op("unless", Expr::sum(&by, dropped().before(window).now())).above(0.0);
    let faulty = scope.faulty(&[("reason", "series_limit")]);
    let with_signal = |reason: &str| {
        let mut labels = scope.series(&scope.faulty(&[]));
        labels.extend(super::proof::labels(&[("signal", "metrics"), ("reason", reason)]));
        series(host::DROPPED, &labels)
    };
    let overflow = with_signal("series_limit");
    let proof = |title: &str, values: &str, checks: Vec<(u64, Option<f64>)>| Proof {
        title: title.to_owned(),
        series: vec![
            (overflow.clone(), values.to_owned()),
            (with_signal("label_too_long"), "9+0x90".to_owned()),
            (with_signal("overwritten"), "9+1x90".to_owned()),
        ],
        checks: checks
            .into_iter()
            .map(|(at, value)| {
                Check::new(at * MINUTE, value.map(|value| (faulty.clone(), value)).into_iter().collect())
            })
            .collect(),
    };
    Alert {
        name: scope.alert("CardinalityOverflow"),
        issue: "cardinality-overflow",
        severity: Severity::Warning,
        hold: 0,
        expr: risen.op("or", new),
        proofs: vec![
            proof("fires when a counter rises, and only then", "8+0x29 8+2x60", vec![(25, None), (60, Some(30.0))]),
            proof("fires at the first drop", "_x30 4+0x60", vec![(29, None), (40, Some(4.0)), (60, None)]),
        ],
        summary: format!("Values of {{{{ $labels.component }}}}{TENANT} lose their labels ({{{{ $labels.reason }}}})"),
        description: format!(
            "{NUMBER} values were counted in an overflow series within 15 minutes: a label has more values than fit."
        ),
    }
}

fn telemetry_dropped(scope: &Scope<'_>) -> Alert {
    let threshold = scope.settings.dropped_rate;
    let by = ["component", "tenant", "signal", "reason"];
    let dropped = scope.select(host::DROPPED).with("reason", "!~", OVERFLOW);
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["threshold"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[("signal", "records"), ("reason", "overwritten")]),
        healthy: scope.faulty(&[("signal", "records"), ("reason", "ring")]),
        series: &|group, factors| {
            let mut overflow = scope.series(group);
            overflow.insert("reason".into(), "series_limit".into());
            vec![
                counter(host::DROPPED, &scope.series(group), factors[0] * threshold),
                counter(host::DROPPED, &overflow, 9.0 * threshold),
            ]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("TelemetryDropped"),
        issue: "telemetry-dropped",
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: Expr::sum(&by, Expr::rate(dropped, RANGE)).above(threshold),
        summary: format!("Telemetry of {{{{ $labels.component }}}}{TENANT} is lost ({{{{ $labels.reason }}}})"),
        description: format!(
            "{NUMBER} {{{{ $labels.signal }}}} per second are dropped with the reason {{{{ $labels.reason }}}}; the \
             threshold is {threshold}."
        ),
    }
}

fn new_version(scope: &Scope<'_>) -> Alert {
    let by = ["component", "tenant", "version"];
    let window = 15 * MINUTE;
    let starts = || scope.select(host::STARTS);
    let group = |by: &[&str], selector: crate::promql::Selector| Expr::aggregate("group", by, selector.now());
    let new = group(&by, starts()).op("unless", group(&by, starts().before(window)));
    let version = |version: &str| {
        let mut labels = scope.series(&scope.faulty(&[]));
        labels.insert("version".into(), version.into());
        series(host::STARTS, &labels)
    };
    let fires = (scope.faulty(&[("version", "2")]), 1.0);
    let checks = vec![
        Check::new(5 * MINUTE, Vec::new()),
        Check::new(20 * MINUTE, Vec::new()),
        Check::new(35 * MINUTE, vec![fires]),
        Check::new(60 * MINUTE, Vec::new()),
    ];
    Alert {
        name: scope.alert("NewVersion"),
        issue: "new-version",
        severity: Severity::Info,
        hold: 0,
        expr: new.op_on("and", &OWN, false, group(&OWN, starts().before(window))),
        proofs: vec![Proof {
            title: "fires for a version that follows another, for 15 minutes".into(),
            series: vec![(version("1"), "0+1x90".into()), (version("2"), "_x30 0+1x60".into())],
            checks,
        }],
        summary: format!("{{{{ $labels.component }}}}{TENANT} has the new version {{{{ $labels.version }}}}"),
        description: "This version was not served 15 minutes ago, and another one was.".into(),
    }
}

/// Returns a ratio as a percentage.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{}%", super::significant(ratio * 100.0))
}

/// Removes the rounding errors of a product.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
