//! Alerts about instances: their traps, their memory and their number.

use super::request::histogram;
use super::{MINUTE, OWN, RANGE, percent, rate};
use crate::alert::proof::{Proof, STEP, Trial, counter, gauge, steps};
use crate::alert::{Alert, NUMBER, PERCENT, Requests, Severity, TENANT};
use crate::host::{self, MEMORY_RATIO_BOUNDS};
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
        requests: Some(Requests::BY_NAME),
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
        requests: Some(Requests::BY_NAME),
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
            // In ten minutes, whatever a minute is.
            vec![steps(host::TRAPS, &labels, factors[0] * threshold / 600.0 * STEP as f64)]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("OutOfMemory"),
        issue: "out-of-memory",
        requests: Some(Requests::BY_NAME),
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
    let by = ["component", "tenant", "le"];
    let buckets = Expr::sum(&by, Expr::rate(scope.select(host::MEMORY_PEAK_RATIO_BUCKET), RANGE));
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let labels = scope.series(group);
            let (share, starts) = (shares(factors[0], ratio), factors[1] * floor);
            let bucket = host::MEMORY_PEAK_RATIO_BUCKET;
            let mut series = histogram(bucket, &labels, &MEMORY_RATIO_BOUNDS, share, starts);
            series.push(counter(host::STARTS, &labels, starts));
            series
        },
        value: &|factors| shares(factors[0], ratio),
    };
    Alert {
        name: scope.alert("MemoryNearLimit"),
        issue: "memory-near-limit",
        requests: None,
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(0.95), buckets] }
            .above(ratio)
            .op("and", rate(scope, &OWN, host::STARTS).above(floor)),
        summary: format!("Instances of {{{{ $labels.component }}}}{TENANT} are near their memory limit"),
        description: format!(
            "One instance in 20 has had more than {PERCENT} of the linear memory that it may have; the threshold is {}.",
            percent(ratio)
        ),
    }
}

/// Returns the most of each process.
fn by_process(scope: &Scope<'_>, metric: &str) -> Expr {
    let process = Expr::call("avg_over_time", scope.select(metric).over(RANGE));
    Expr::sum(&["component", "tenant", "instance"], process)
}

pub(super) fn instances_saturated(scope: &Scope<'_>) -> Alert {
    let (ratio, limit) = (scope.settings.instance_ratio, f64::from(scope.component.instances));
    let hold = 5 * MINUTE;
    let trial = Trial {
        conditions: &["ratio"],
        settle: 0,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let series = scope.series(group);
            let mut other = series.clone();
            // Two processes below the limit are together above it.
            other.insert("instance".into(), "b:9464".into());
            vec![
                gauge(host::INSTANCES, &series, factors[0] * ratio * limit),
                gauge(host::INSTANCES_LIMIT, &series, limit),
                gauge(host::INSTANCES, &other, 0.75 * ratio * limit),
                gauge(host::INSTANCES_LIMIT, &other, limit),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    let share = by_process(scope, host::INSTANCES).op("/", by_process(scope, host::INSTANCES_LIMIT));
    Alert {
        name: scope.alert("InstancesSaturated"),
        issue: "instances-saturated",
        requests: None,
        severity: Severity::Warning,
        hold,
        expr: Expr::aggregate("max", &OWN, share).above(ratio),
        proofs: trial.proofs(),
        summary: format!("{{{{ $labels.component }}}}{TENANT} uses nearly all of its instances"),
        description: format!(
            "A process had on average {PERCENT} of the instances that it may have over 5 minutes; the threshold is {}.",
            percent(ratio)
        ),
    }
}

pub(super) fn requests_waiting(scope: &Scope<'_>) -> Alert {
    let threshold = scope.settings.waiting_requests;
    let hold = 5 * MINUTE;
    let trial = Trial {
        conditions: &["threshold"],
        settle: 0,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let mut other = scope.series(group);
            // Two processes below the threshold are together above it.
            other.insert("instance".into(), "b:9464".into());
            vec![
                gauge(host::WAITING, &scope.series(group), factors[0] * threshold),
                gauge(host::WAITING, &other, 0.75 * threshold),
            ]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("RequestsWaiting"),
        issue: "requests-waiting",
        requests: None,
        severity: Severity::Warning,
        hold,
        expr: Expr::aggregate("max", &OWN, by_process(scope, host::WAITING)).above(threshold),
        proofs: trial.proofs(),
        summary: format!("Requests of {{{{ $labels.component }}}}{TENANT} wait for instances"),
        description: format!(
            "In a process on average {NUMBER} requests waited for an instance over 5 minutes; the threshold is \
             {threshold}."
        ),
    }
}

pub(super) fn requests_refused(scope: &Scope<'_>) -> Alert {
    let (ratio, floor) = (scope.settings.refused_ratio, scope.settings.min_request_rate);
    let requests = || rate(scope, &OWN, host::REQUESTS);
    let hold = 5 * MINUTE;
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let with = |key: &str, value: &str| {
                let mut labels = scope.series(group);
                labels.insert(key.into(), value.into());
                labels
            };
            let total = factors[1] * floor;
            let refused = factors[0] * ratio * total;
            vec![
                counter(host::REQUESTS, &with("status", "200"), total - refused),
                counter(host::REQUESTS, &with("status", "503"), refused),
                counter(host::REFUSED, &with("reason", "queue_full"), 0.75 * refused),
                counter(host::REFUSED, &with("reason", "wait_timeout"), 0.25 * refused),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    Alert {
        name: scope.alert("RequestsRefused"),
        issue: "requests-refused",
        requests: None,
        severity: Severity::Critical,
        hold,
        proofs: trial.proofs(),
        expr: rate(scope, &OWN, host::REFUSED).op("/", requests()).above(ratio).op("and", requests().above(floor)),
        summary: format!("Requests of {{{{ $labels.component }}}}{TENANT} are refused with 503"),
        description: format!("{PERCENT} of the requests got no instance; the threshold is {}.", percent(ratio)),
    }
}

/// Returns a share of a limit that is this many times the threshold, but at most 1.
fn shares(factor: f64, threshold: f64) -> f64 {
    (factor * threshold).min(1.0)
}
