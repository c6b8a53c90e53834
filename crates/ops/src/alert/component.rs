//! Alerts about one component: its requests, its instances and its telemetry.

mod instance;
mod request;
mod telemetry;

use super::proof::{Check, Labels, Proof, gauge, labels, rates};
use super::{Alert, Severity, TENANT};
use crate::host;
use crate::promql::Expr;
use crate::scope::Scope;

pub(crate) use request::histogram;

/// The range of rates, in seconds.
pub(crate) const RANGE: u64 = 300;

/// The seconds of a minute.
pub(crate) const MINUTE: u64 = 60;
/// The labels that name a component.
pub(crate) const OWN: [&str; 2] = ["component", "tenant"];
const BY_ROUTE: [&str; 3] = ["component", "tenant", "route"];

/// Returns the alerts of a component.
pub(crate) fn alerts(scope: &Scope<'_>) -> Vec<Alert> {
    vec![
        absent(scope),
        no_traffic(scope),
        request::high_error_rate(scope),
        request::high_latency(scope),
        request::traffic_anomaly(scope),
        request::latency_anomaly(scope),
        instance::trap_rate(scope),
        instance::deadline_kills(scope),
        instance::out_of_memory(scope),
        instance::memory_near_limit(scope),
        instance::instances_saturated(scope),
        instance::requests_waiting(scope),
        instance::requests_refused(scope),
        telemetry::error_logs_rising(scope),
        telemetry::cardinality_overflow(scope),
        telemetry::telemetry_dropped(scope),
        telemetry::new_version(scope),
    ]
}

/// Returns the rate of a counter by these labels.
pub(crate) fn rate(scope: &Scope<'_>, by: &[&str], metric: &str) -> Expr {
    Expr::sum(by, Expr::rate(scope.select(metric), RANGE))
}

/// Returns the mean of a gauge over the last minutes.
pub(crate) fn mean(scope: &Scope<'_>, metric: &str) -> Expr {
    Expr::sum(&OWN, Expr::call("avg_over_time", scope.select(metric).over(RANGE)))
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
        requests: None,
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
        let values: &[(f64, u64)] = if stops { &[(rate, 60), (0.0, 120)] } else { &[(rate, 180)] };
        rates(host::REQUESTS, &scope.series(group), values)
    };
    let fires = vec![(faulty.clone(), 0.0)];
    Alert {
        name: scope.alert("NoTraffic"),
        issue: "no-traffic",
        requests: None,
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

/// Returns a ratio as a percentage.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{}%", super::significant(ratio * 100.0))
}
