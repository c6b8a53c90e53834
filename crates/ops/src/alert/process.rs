//! Alerts about a process that serves components: its endpoint, its configuration, its exports.

use super::component::{self, MINUTE};
use super::proof::{Check, InputSeries, Labels, Proof, Trial, counter, gauge, labels, series};
use super::{Alert, NUMBER, PERCENT, Severity};
use crate::host;
use crate::promql::Expr;
use crate::scope::job;
use crate::{Service, Settings};

/// Returns the alerts about the processes of a service. `prefix` begins their names.
pub(crate) fn alerts(service: &Service, prefix: &str) -> Vec<Alert> {
    let settings = &service.settings;
    let mut alerts = vec![down(settings, prefix)];
    if service.is_reloaded {
        alerts.push(reload_failed(settings, prefix));
    }
    alerts.extend([export_failing(settings, prefix), export_dropping(settings, prefix)]);
    alerts
}

fn process(settings: &Settings, instance: &str) -> Labels {
    labels(&[("job", &settings.job), ("instance", instance)])
}

/// Returns the tests of an alert on a gauge of each process that is 1 or 0.
fn flag_proofs(settings: &Settings, metric: &str, hold: u64) -> Vec<Proof> {
    let (faulty, healthy) = (process(settings, "a:9464"), process(settings, "b:9464"));
    vec![
        Proof {
            title: "fires at 0 beside a healthy process, not before `for` ends".into(),
            series: vec![gauge(metric, &faulty, 0.0), gauge(metric, &healthy, 1.0)],
            checks: vec![
                Check::new(hold - MINUTE, Vec::new()),
                Check::new(hold + 10 * MINUTE, vec![(faulty.clone(), 0.0)]),
            ],
        },
        Proof {
            title: "silent after it is 1 again".into(),
            series: vec![InputSeries::steps(series(metric, &faulty), format!("0+0x{} 1+0x60", hold / MINUTE - 1))],
            checks: vec![Check::new(hold + 10 * MINUTE, Vec::new())],
        },
    ]
}

fn down(settings: &Settings, prefix: &str) -> Alert {
    let hold = 2 * MINUTE;
    Alert {
        name: format!("{prefix}Down"),
        issue: "down",
        requests: None,
        severity: Severity::Critical,
        hold,
        expr: job(settings, "up").now().op("==", Expr::Number(0.0)),
        proofs: flag_proofs(settings, "up", hold),
        summary: "{{ $labels.instance }} of the job {{ $labels.job }} is down".into(),
        description: "Prometheus could not scrape its telemetry endpoint for 2 minutes.".into(),
    }
}

fn reload_failed(settings: &Settings, prefix: &str) -> Alert {
    let hold = 5 * MINUTE;
    Alert {
        name: format!("{prefix}ConfigReloadFailed"),
        issue: "config-reload-failed",
        requests: None,
        severity: Severity::Warning,
        hold,
        expr: job(settings, host::RELOAD).now().op("==", Expr::Number(0.0)),
        proofs: flag_proofs(settings, host::RELOAD, hold),
        summary: "{{ $labels.instance }} could not reload its configuration".into(),
        description: "It serves the last valid one; the cause is on its stderr.".into(),
    }
}

const DESTINATION: [&str; 3] = ["instance", "signal", "destination"];

/// Returns the labels of a process's destination in tests.
fn destination(settings: &Settings, name: &str) -> Labels {
    let mut all = process(settings, "a:9464");
    all.remove("job");
    all.extend(labels(&[("signal", "logs"), ("destination", name)]));
    all
}

fn export_failing(settings: &Settings, prefix: &str) -> Alert {
    // Metrics are pushed once a minute.
    const FLOOR: f64 = 0.01;
    let ratio = settings.export_failure_ratio;
    let rate = |selector| Expr::sum(&DESTINATION, Expr::rate(selector, 10 * MINUTE));
    let requests = || job(settings, host::EXPORT_REQUESTS);
    let hold = 10 * MINUTE;
    let trial = Trial {
        conditions: &["ratio", "traffic"],
        settle: 10 * MINUTE,
        hold,
        faulty: destination(settings, "faulty:4318"),
        healthy: destination(settings, "healthy:4318"),
        series: &|group, factors| {
            let total = factors[1] * FLOOR;
            let failed = factors[0] * ratio * total;
            let with = |outcome: &str| {
                let mut labels = group.clone();
                labels.extend(super::proof::labels(&[("job", &settings.job), ("outcome", outcome)]));
                labels
            };
            vec![
                counter(host::EXPORT_REQUESTS, &with("accepted"), total - failed),
                counter(host::EXPORT_REQUESTS, &with("retried"), 0.5 * failed),
                counter(host::EXPORT_REQUESTS, &with("refused"), 0.5 * failed),
            ]
        },
        value: &|factors| factors[0] * ratio,
    };
    Alert {
        name: format!("{prefix}ExportFailing"),
        issue: "export-failing",
        requests: None,
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: rate(requests().with("outcome", "!=", "accepted"))
            .op("/", rate(requests()))
            .above(ratio)
            .op("and", rate(requests()).above(FLOOR)),
        summary: "{{ $labels.instance }} fails to export {{ $labels.signal }} to {{ $labels.destination }}".into(),
        description: format!(
            "{PERCENT} of the requests were not accepted; the threshold is {}.",
            component::percent(ratio)
        ),
    }
}

fn export_dropping(settings: &Settings, prefix: &str) -> Alert {
    let threshold = settings.dropped_rate;
    let by = ["instance", "signal", "destination", "outcome"];
    let dropped = job(settings, host::EXPORT_RECORDS).with("outcome", "!=", "sent");
    let hold = 10 * MINUTE;
    let with = |name: &str, outcome: &str| {
        let mut labels = destination(settings, name);
        labels.insert("outcome".into(), outcome.into());
        labels
    };
    let trial = Trial {
        conditions: &["threshold"],
        settle: component::RANGE,
        hold,
        faulty: with("faulty:4318", "queue_full"),
        healthy: with("healthy:4318", "queue_full"),
        series: &|group, factors| {
            let mut labels = group.clone();
            labels.insert("job".into(), settings.job.clone());
            let mut sent = labels.clone();
            sent.insert("outcome".into(), "sent".into());
            vec![
                counter(host::EXPORT_RECORDS, &labels, factors[0] * threshold),
                counter(host::EXPORT_RECORDS, &sent, 9.0 * threshold),
            ]
        },
        value: &|factors| factors[0] * threshold,
    };
    Alert {
        name: format!("{prefix}ExportDropping"),
        issue: "export-dropping",
        requests: None,
        severity: Severity::Warning,
        hold,
        proofs: trial.proofs(),
        expr: Expr::sum(&by, Expr::rate(dropped, component::RANGE)).above(threshold),
        summary: "{{ $labels.instance }} drops {{ $labels.signal }} for {{ $labels.destination }}".into(),
        description: format!(
            "{NUMBER} records per second are dropped with the reason {{{{ $labels.outcome }}}}; the threshold is {threshold}."
        ),
    }
}
