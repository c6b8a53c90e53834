//! Alerts about what the telemetry says of itself: lost values, and a version that is new.

use super::{MINUTE, OWN, RANGE};
use crate::alert::proof::{self, Check, InputSeries, Labels, Proof, Trial, counter, rates, series};
use crate::alert::{Alert, NUMBER, Requests, Severity, TENANT};
use crate::host;
use crate::promql::Expr;
use crate::scope::Scope;

const HOUR: u64 = 60 * MINUTE;

/// The reasons for which values are counted in an overflow series.
const OVERFLOW: &str = "label_out_of_range|label_table_full|label_too_long|series_limit";

/// The reasons that are no loss of telemetry before export: those of overflow series, which have an
/// alert of their own, and what leaves the memory of the console.
const NOT_LOST: &str = "label_out_of_range|label_table_full|label_too_long|series_limit|console_memory";

pub(super) fn cardinality_overflow(scope: &Scope<'_>) -> Alert {
    let by = ["component", "tenant", "reason"];
    let window = 15 * MINUTE;
    let dropped = || scope.select(host::DROPPED).with("reason", "=~", OVERFLOW);
    let risen = Expr::sum(&by, Expr::call("increase", dropped().over(window))).above(0.0);
    // The series is made by the first drop, which `increase` does not contain.
    let new = Expr::sum(&by, dropped().now()).op("unless", Expr::sum(&by, dropped().before(window).now())).above(0.0);
    let faulty = scope.faulty(&[("reason", "series_limit")]);
    let with_signal = |reason: &str| {
        let mut labels = scope.series(&scope.faulty(&[]));
        labels.extend(proof::labels(&[("signal", "metrics"), ("reason", reason)]));
        series(host::DROPPED, &labels)
    };
    let overflow = with_signal("series_limit");
    let mut other_tenant = scope.series(&scope.other_tenant());
    other_tenant.extend(proof::labels(&[("signal", "metrics"), ("reason", "series_limit")]));
    let proof = |title: &str, values: &str, checks: Vec<(u64, Option<f64>)>| Proof {
        title: title.to_owned(),
        series: vec![
            InputSeries::steps(overflow.clone(), values),
            InputSeries::steps(with_signal("label_too_long"), "9+0x90"),
            InputSeries::steps(with_signal("overwritten"), "9+1x90"),
            InputSeries::steps(series(host::DROPPED, &other_tenant), "7+0x90"),
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
        requests: None,
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

pub(super) fn telemetry_dropped(scope: &Scope<'_>) -> Alert {
    let threshold = scope.settings.dropped_rate;
    let by = ["component", "tenant", "signal", "reason"];
    let dropped = scope.select(host::DROPPED).with("reason", "!~", NOT_LOST);
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["threshold"],
        settle: RANGE,
        hold,
        faulty: scope.faulty(&[("signal", "records"), ("reason", "overwritten")]),
        healthy: scope.faulty(&[("signal", "records"), ("reason", "ring")]),
        series: &|group, factors| {
            let not_lost = |reason: &str| {
                let mut labels = scope.series(group);
                labels.insert("reason".into(), reason.into());
                counter(host::DROPPED, &labels, 9.0 * threshold)
            };
            vec![
                counter(host::DROPPED, &scope.series(group), factors[0] * threshold),
                not_lost("series_limit"),
                not_lost("console_memory"),
            ]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: scope.alert("TelemetryDropped"),
        issue: "telemetry-dropped",
        requests: None,
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

pub(super) fn error_logs_rising(scope: &Scope<'_>) -> Alert {
    let (factor, floor) = (scope.settings.error_log_factor, scope.settings.error_log_rate);
    let errors = || scope.select(host::LOG_RECORDS).with("level", "=", "error");
    let now = || Expr::sum(&OWN, Expr::rate(errors(), RANGE));
    let before = Expr::sum(&OWN, Expr::rate(errors().before(HOUR), RANGE));
    let hold = 10 * MINUTE;
    // The rate rises after 70 minutes. At the end, an hour before is before that.
    let (rises, end) = (70_u64, 100);
    let trial = Trial {
        conditions: &["rise", "rate"],
        settle: end * MINUTE - hold - 10 * MINUTE,
        hold,
        faulty: scope.faulty(&[]),
        healthy: scope.other_tenant(),
        series: &|group, factors| {
            let mut labels = scope.series(group);
            labels.insert("level".into(), "error".into());
            let after = factors[1] * floor;
            let before = after / (factors[0] * factor);
            let errors = rates(host::LOG_RECORDS, &labels, &[(before, rises), (after, 60)]);
            // Another level does not count.
            labels.insert("level".into(), "warn".into());
            vec![errors, counter(host::LOG_RECORDS, &labels, 9.0 * factors[1] * floor)]
        },
        value: &|factors| factors[0] * factor,
    };
    let mut proofs = trial.proofs();
    // The rate is known five minutes after it has risen, and `for` lasts for ten.
    if let Some(fires) = proofs.first_mut() {
        fires.checks.insert(1, Check::new((rises + 9) * MINUTE, Vec::new()));
    }
    Alert {
        name: scope.alert("ErrorLogsRising"),
        issue: "error-logs-rising",
        requests: Some(Requests::BY_NAME),
        severity: Severity::Warning,
        hold,
        proofs,
        expr: now().op("/", before).above(factor).op("and", now().above(floor)),
        summary: format!("{{{{ $labels.component }}}}{TENANT} logs more errors than an hour ago"),
        description: format!(
            "It logs {NUMBER} times as many errors as an hour ago; the threshold is {factor}, at more than {floor} per \
             second."
        ),
    }
}

pub(super) fn new_version(scope: &Scope<'_>) -> Alert {
    let by = ["component", "tenant", "version"];
    let window = 15 * MINUTE;
    let starts = || scope.select(host::STARTS);
    let group = |by: &[&str], selector: crate::promql::Selector| Expr::aggregate("group", by, selector.now());
    let new = group(&by, starts()).op("unless", group(&by, starts().before(window)));
    let version_of = |mut labels: Labels, version: &str| {
        labels.insert("version".into(), version.into());
        series(host::STARTS, &labels)
    };
    let version = |version: &str| version_of(scope.series(&scope.faulty(&[])), version);
    let other_tenant = version_of(scope.series(&scope.other_tenant()), "1");
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
        requests: None,
        severity: Severity::Info,
        hold: 0,
        expr: new.op_on("and", &OWN, false, group(&OWN, starts().before(window))),
        proofs: vec![Proof {
            title: "fires for a version that follows another, for 15 minutes".into(),
            series: vec![
                InputSeries::steps(version("1"), "0+1x90"),
                InputSeries::steps(version("2"), "_x30 0+1x60"),
                InputSeries::steps(other_tenant, "0+1x90"),
            ],
            checks,
        }],
        summary: format!("{{{{ $labels.component }}}}{TENANT} has the new version {{{{ $labels.version }}}}"),
        description: "This version was not served 15 minutes ago, and another one was.".into(),
    }
}
