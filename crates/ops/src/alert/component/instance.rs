//! Alerts about instances: their traps, their memory and their number.

use super::{MINUTE, OWN, RANGE, mean, percent, rate};
use crate::alert::proof::{Proof, Trial, counter, gauge};
use crate::alert::{Alert, NUMBER, PERCENT, Severity, TENANT};
use crate::host;
use crate::promql::Expr;
use crate::scope::Scope;

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

pub(super) fn trap_rate(scope: &Scope<'_>) -> Alert {
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

pub(super) fn deadline_kills(scope: &Scope<'_>) -> Alert {
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

pub(super) fn out_of_memory(scope: &Scope<'_>) -> Alert {
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

pub(super) fn memory_near_limit(scope: &Scope<'_>) -> Alert {
    let (ratio, floor) = (scope.settings.memory_ratio, scope.settings.min_request_rate);
    let mean = |metric| mean(scope, metric);
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

pub(super) fn instances_saturated(scope: &Scope<'_>) -> Alert {
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

pub(super) fn requests_waiting(scope: &Scope<'_>) -> Alert {
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

/// Removes the rounding errors of a product.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
