//! Drills: the fault that each alert is about, so that a host can inject it and the alert fires.
//!
//! In come the alerts of a service with the thresholds that they have. Out come faults and the
//! share of requests that they need. The module does not know how a host injects them.

use wasmetry_host::Kind;

use crate::slo::Slo;
use crate::slo::objective::Indicator;
use crate::{Alert, Component, Service, Settings, Severity};

/// The largest share of requests that a drill makes fail. Some succeed, so that a client that
/// retries is served.
pub const MAX_SHARE: f64 = 0.9;

/// The share of requests for faults that fail none.
const HARMLESS_SHARE: f64 = 0.5;

/// A delay as a multiple of the latency that is alerted on.
const SLOWNESS: f64 = 2.0;

/// The seconds for which a request waits.
const WAIT: f64 = 2.0;

/// The least share of requests that a drill of errors makes fail, so that a few requests suffice.
const LEAST_SHARE: f64 = 0.25;

/// The share of requests that fail in a drill of a warning, as a share of the threshold of errors.
const BELOW_ERRORS: f64 = 0.7;

/// The share that is injected is at least this multiple of a threshold.
const MARGIN: f64 = 1.2;

/// The share of requests to destinations that have a fault: the host injects three of four.
const EXPORT_SHARE: f64 = 0.75;

/// The share of bad events that a drill of an objective injects is at least this multiple of the
/// share at which its alert fires.
const BURN_MARGIN: f64 = 1.5;

/// The seconds of steady traffic within which the alert of an objective fires, if the largest share
/// suffices.
const BURN_TIME: f64 = 20.0 * 60.0;

/// A fault that a host injects.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The request is answered with 500.
    Error,
    /// The request is delayed by these seconds before it gets an instance.
    Delay(f64),
    /// The instance of the request ends in a trap.
    Trap,
    /// The instance of the request reaches its deadline.
    Deadline,
    /// The instance of the request is denied memory and ends in a trap.
    OutOfMemory,
    /// The instance of the request has this share of its memory limit.
    Memory(f64),
    /// This share of the component's instances is taken.
    Instances(f64),
    /// The request waits for these seconds as if no instance were free.
    Wait(f64),
    /// The request is refused as if too many were waiting.
    Refusal,
    /// The request logs an error.
    ErrorLog,
    /// Telemetry of the request is dropped.
    Drop,
    /// The request records a label that is too long.
    Overflow,
    /// Requests to destinations of telemetry fail, and are sent again.
    ExportFailure,
    /// Requests to destinations of telemetry are refused, so that their records are dropped.
    ExportRefusal,
    /// The request counts a failure in a declared counter.
    Counter(DeclaredMetric),
    /// A declared gauge is at its limit, which the second one has.
    Gauge(DeclaredMetric, DeclaredMetric),
    /// The request records these seconds in a declared histogram.
    Histogram(DeclaredMetric, f64),
}

impl Fault {
    /// The name, as tables and JSON show it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Delay(_) => "delay",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::OutOfMemory => "out_of_memory",
            Self::Memory(_) => "memory",
            Self::Instances(_) => "instances",
            Self::Wait(_) => "wait",
            Self::Refusal => "refusal",
            Self::ErrorLog => "error_log",
            Self::Drop => "drop",
            Self::Overflow => "overflow",
            Self::ExportFailure => "export_failure",
            Self::ExportRefusal => "export_refusal",
            Self::Counter(_) => "counter",
            Self::Gauge(..) => "gauge",
            Self::Histogram(..) => "histogram",
        }
    }
}

/// A metric that a binary declares.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeclaredMetric {
    /// The name.
    pub name: String,
    /// The help text.
    pub help: String,
    /// The unit.
    pub unit: String,
    /// `true` for an up/down counter, to which differences are added.
    pub is_up_down: bool,
    /// The keys of its labels.
    pub labels: Vec<String>,
    /// Its labels with constant values.
    pub const_labels: Vec<(String, String)>,
    /// The bounds of a histogram.
    pub bounds: Vec<f64>,
}

/// An alert, and how it is drilled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drill {
    /// The alert's name.
    pub alert: String,
    /// The issue: the name of its runbook.
    pub issue: &'static str,
    /// The urgency.
    pub severity: Severity,
    /// The seconds for which the alert's expression must hold.
    pub hold: u64,
    /// The component's index in the service; `None` for an alert about processes.
    pub component: Option<usize>,
    /// The route whose requests are meant, if only one is.
    pub route: Option<String>,
    /// The fault and the share of requests that have it, or the reason why there is none.
    pub fault: Result<(Fault, f64), &'static str>,
}

/// The origin of an alert.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a service has one for each alert")]
pub(crate) enum Origin {
    Process,
    Component(usize),
    Objective { component: Option<usize>, route: Option<String>, fault: Result<(Fault, f64), &'static str> },
}

impl Service {
    /// Returns how each alert is drilled, in the order of [`alerts`](Self::alerts).
    pub fn drills(&self) -> Vec<Drill> {
        let of = |(alert, origin): (Alert, Origin)| {
            let (component, route, fault) = match origin {
                Origin::Process => (None, None, of_alert(&alert, &self.settings, None)),
                Origin::Component(at) => (Some(at), None, of_alert(&alert, &self.settings, self.components.get(at))),
                Origin::Objective { component, route, fault } => (component, route, fault),
            };
            let Alert { name, issue, severity, hold, .. } = alert;
            Drill { alert: name, issue, severity, hold, component, route, fault }
        };
        self.alerts_with_origins().into_iter().map(of).collect()
    }
}

/// Returns a share of requests that is above a threshold, if there is one.
fn above(threshold: f64) -> Option<f64> {
    let share = (2.0 * threshold).clamp(LEAST_SHARE, MAX_SHARE);
    (share >= MARGIN * threshold).then_some(share)
}

/// Returns a share above a threshold that does not make the alert on errors fire, which would
/// silence this one. If there is none, it is above the threshold.
fn below_errors(threshold: f64, settings: &Settings) -> Option<f64> {
    let share = BELOW_ERRORS * settings.error_ratio;
    if share >= MARGIN * threshold { Some(share) } else { above(threshold) }
}

fn of_alert(alert: &Alert, settings: &Settings, component: Option<&Component>) -> Result<(Fault, f64), &'static str> {
    const TOO_HIGH: &str = "its threshold is above the share of requests that a drill may make fail, which is 0.9";
    let requests = |fault, share: Option<f64>| share.map(|share| (fault, share)).ok_or(TOO_HIGH);
    let harmless = |fault| Ok((fault, HARMLESS_SHARE));
    match alert.issue {
        "high-error-rate" => requests(Fault::Error, above(settings.error_ratio)),
        "high-latency" => harmless(Fault::Delay(SLOWNESS * settings.latency)),
        "trap-rate" => requests(Fault::Trap, above(settings.trap_ratio)),
        "deadline-kills" => requests(Fault::Deadline, below_errors(settings.trap_ratio, settings)),
        "out-of-memory" => requests(Fault::OutOfMemory, Some(BELOW_ERRORS * settings.error_ratio)),
        "memory-near-limit" => harmless(Fault::Memory(f64::midpoint(settings.memory_ratio, 1.0))),
        "instances-saturated" => {
            let instances = component.map_or(0.0, |component| f64::from(component.instances));
            let taken = (f64::midpoint(settings.instance_ratio, 1.0) * instances).floor().min(instances - 1.0);
            if taken <= settings.instance_ratio * instances {
                return Err("its component has too few instances to take most of them and leave one");
            }
            Ok((Fault::Instances(taken / instances), taken / instances))
        }
        "requests-waiting" => harmless(Fault::Wait(WAIT)),
        "requests-refused" => requests(Fault::Refusal, above(settings.refused_ratio)),
        "error-logs-rising" => harmless(Fault::ErrorLog),
        "telemetry-dropped" => harmless(Fault::Drop),
        "cardinality-overflow" => harmless(Fault::Overflow),
        "export-failing" => Ok((Fault::ExportFailure, EXPORT_SHARE)),
        "export-dropping" => Ok((Fault::ExportRefusal, EXPORT_SHARE)),
        "declared-failures" | "declared-limit" | "declared-duration" => {
            let Some(component) = component else { return Err("its component is not known") };
            declared(alert, settings, component).map(|fault| (fault, HARMLESS_SHARE))
        }
        "down" => Err("it is about a process that does not answer: stop one"),
        "absent" => Err("it is about a component that no process serves: remove it from one"),
        "no-traffic" => Err("it is about traffic that ends: stop the traffic"),
        "traffic-anomaly" | "latency-anomaly" => Err("it is about weeks of history"),
        "new-version" => Err("it is about a deployment: deploy a version"),
        "config-reload-failed" => Err("it is about a file: write a wrong configuration"),
        _ => Err("no fault is known for it"),
    }
}

/// Returns the fault of an alert on a declared metric.
fn declared(alert: &Alert, settings: &Settings, component: &Component) -> Result<Fault, &'static str> {
    const UNKNOWN: &str = "its metric is not declared";
    let metric = |name: &str| {
        let exported = component.exported();
        let found = exported.iter().find(|metric| metric.name == name).ok_or(UNKNOWN)?;
        let labels = found.labels.iter().map(|label| label.key.clone()).collect();
        Ok(DeclaredMetric {
            name: name.to_owned(),
            help: found.help.clone(),
            unit: found.unit.clone(),
            is_up_down: matches!(found.kind, Kind::UpDownI64 | Kind::UpDownF64),
            labels,
            const_labels: found.const_labels.to_vec(),
            bounds: found.buckets.to_vec(),
        })
    };
    let selectors = alert.expr.selectors();
    let name = |at: usize| selectors.get(at).map(|selector| selector.metric.as_str()).ok_or(UNKNOWN);
    match alert.issue {
        "declared-failures" => Ok(Fault::Counter(metric(name(0)?)?)),
        "declared-limit" => Ok(Fault::Gauge(metric(name(0)?)?, metric(name(1)?)?)),
        _ => {
            let bucket = name(0)?;
            let metric = metric(bucket.strip_suffix("_bucket").unwrap_or(bucket))?;
            Ok(Fault::Histogram(metric, SLOWNESS * settings.latency))
        }
    }
}

impl Slo<'_> {
    /// Returns the origin of an alert of the objective. Its component is the one at an index of
    /// the service.
    pub(crate) fn origin(&self, severity: Severity, component: Option<usize>) -> Origin {
        let (fault, route) = match &self.objective.indicator {
            Indicator::Availability { route } => (Some(Fault::Error), route.clone()),
            Indicator::Latency { threshold, metric: None, route } => {
                (Some(Fault::Delay(SLOWNESS * threshold)), route.clone())
            }
            _ => (None, None),
        };
        let fault = match (fault, self.drilled_share(severity)) {
            (None, _) => Err("its objective is on the service's own metrics"),
            (Some(fault), Some(share)) => Ok((fault, share)),
            _ => Err("its burn rate needs a larger share of requests than a drill may make fail, which is 0.9"),
        };
        Origin::Objective { component, route, fault }
    }

    /// Returns the share of requests that makes the alert of a severity fire, if there is one.
    ///
    /// A long window knows the traffic before the drill too: in [`BURN_TIME`] it has only that part
    /// of the bad events. The short windows have more of them.
    fn drilled_share(&self, severity: Severity) -> Option<f64> {
        let of = |(long, share): (u64, f64)| {
            let is_reached = BURN_MARGIN * share < MAX_SHARE * MARGIN;
            is_reached.then(|| share * BURN_MARGIN.max(long as f64 / BURN_TIME))
        };
        self.bad_shares(severity).filter_map(of).reduce(f64::min).map(|share| share.min(MAX_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::Objective;
    use wasmetry_host::Declarations;

    fn service() -> Service {
        let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0").unwrap();
        let mut service = Service::new("w.toml", vec![Component::new("shop", declarations)]);
        service.is_reloaded = true;
        service
    }

    /// Each alert has a fault, or is one that is tested directly.
    #[test]
    fn every_alert_has_fault() {
        let drills = service().drills();
        let without: Vec<&str> = drills.iter().filter(|drill| drill.fault.is_err()).map(|drill| drill.issue).collect();
        let direct = [
            "down",
            "config-reload-failed",
            "absent",
            "no-traffic",
            "traffic-anomaly",
            "latency-anomaly",
            "new-version",
        ];
        assert_eq!(without, direct);
        assert_eq!(drills.len(), service().alerts().len());
        for drill in &drills {
            assert_eq!(
                drill.component.is_none(),
                ["down", "config-reload-failed", "export-failing", "export-dropping"].contains(&drill.issue)
            );
            if let Ok((_, share)) = &drill.fault {
                assert!((0.0..=MAX_SHARE.max(0.96)).contains(share) && *share > 0.0, "{drill:?}");
            }
        }
    }

    /// The share of an objective's drill is that of the window that needs the least.
    #[test]
    fn burns_need_long_windows() {
        let shares = |percentage: f64, days: u64| {
            let mut service = service();
            let indicator = Indicator::Availability { route: None };
            let (window, component) = (days * 86_400, Some("shop".to_owned()));
            let objective =
                Objective { name: "a".into(), component, objective: percentage, window, min_rate: None, indicator };
            service.add_objective(objective).unwrap();
            let drills = service.drills().into_iter().filter(|drill| drill.issue == "budget-burn");
            drills.map(|drill| drill.fault.map(|(_, share)| (share * 1e4).round() / 1e4)).collect::<Vec<_>>()
        };
        // 0.0144 over 1h, of which 20 minutes are a third; 0.003 over 1d.
        assert_eq!(shares(99.9, 30), [Ok(0.0432), Ok(0.216)]);
        assert_eq!(shares(99.0, 30), [Ok(0.432), Ok(MAX_SHARE)]);
        // 0.672 over 1h, 0.14 over 1d.
        assert_eq!(shares(90.0, 14), [Ok(MAX_SHARE), Ok(MAX_SHARE)]);
        // 0.864 over 1h is out of reach; 0.36 over 6h, 0.18 over 1d.
        assert_eq!(shares(94.0, 30), [Ok(MAX_SHARE), Ok(MAX_SHARE)]);
    }

    /// A share is above its threshold, and below that of errors where a warning would be silenced.
    #[test]
    fn shares_exceed_thresholds() {
        let mut service = service();
        let share = |service: &Service, issue: &str| {
            let drills = service.drills();
            drills.into_iter().find(|drill| drill.issue == issue).unwrap().fault.map(|(_, share)| share)
        };
        let deadline = share(&service, "deadline-kills").unwrap();
        assert!(deadline > service.settings.trap_ratio && deadline < service.settings.error_ratio, "{deadline}");
        assert_eq!(share(&service, "high-error-rate"), Ok(0.25));
        service.settings.trap_ratio = 0.95;
        assert!(share(&service, "trap-rate").unwrap_err().contains("0.9"));
        service.settings.trap_ratio = 0.3;
        assert_eq!(share(&service, "deadline-kills"), Ok(0.6));
        service.components[0].instances = 4;
        assert!(share(&service, "instances-saturated").unwrap_err().contains("too few instances"));
    }
}
