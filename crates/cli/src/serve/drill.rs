//! Drills: the faults of alerts, injected into the requests of one mount while a lease lasts.
//!
//! In come leases from the endpoint `/drill`; out go injections into mounts, instances and exports.
//! `wasmetry-ops` selects the fault of each alert.

mod occupation;
mod telemetry;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Handle;
use wasmetry_export::push::{ExportFault, ExportFaults};
use wasmetry_export::scrape::{Drill, DrillRefusal, Drills, Lease};
use wasmetry_host::{Counter, Family, Identity, Registry, Sink};
use wasmetry_ops::drill::{Drill as Plan, Fault, MAX_SHARE};

use super::component::ServedComponent;
use super::fault::{Injection, InstanceFault, MountFaults, RequestFault};
use super::limits;
use super::table::{Mount, RouteTable};
use crate::text;
use occupation::Occupation;
use telemetry::TelemetryFault;

/// The parts of a process that faults are injected into.
pub(super) struct Parts {
    pub(super) registry: Registry,
    pub(super) exports: ExportFaults,
    /// The destination of log records, if there is one.
    pub(super) sink: Option<Arc<dyn Sink>>,
    /// The runtime of the service.
    pub(super) runtime: Handle,
}

/// The drills of a process. A clone is the same.
#[derive(Clone)]
pub(super) struct DrillControl(Arc<Shared>);

struct Shared {
    parts: Parts,
    /// Counts the injected faults.
    injected: Family<Counter>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Vec<Known>,
    active: Vec<Active>,
}

/// An alert of the components in service.
struct Known {
    plan: Plan,
    component: Option<Arc<ServedComponent>>,
    /// The mounts of the component, in the order of their routes.
    mounts: Vec<Arc<Mount>>,
}

/// A drill that is under way.
struct Active {
    alert: String,
    begin: Instant,
    until: Instant,
    /// The share of requests that have the fault.
    share: f64,
    /// The mount whose requests have the fault.
    mount: Option<Arc<Mount>>,
    injected: Counter,
    fault: ActiveFault,
}

enum ActiveFault {
    Requests,
    Export(ExportFault),
    Instances(Occupation),
}

impl Active {
    fn faults(&self) -> Option<&MountFaults> {
        self.mount.as_ref().and_then(|mount| mount.faults.as_ref())
    }

    /// Returns an error if a lease is not one of this drill.
    fn check(&self, lease: &Lease) -> Result<(), DrillRefusal> {
        let route = self.mount.as_ref().map(|mount| mount.route.as_str());
        let alert = &self.alert;
        let text = match (lease.share, lease.route.as_deref()) {
            (Some(share), _) if share != self.share => {
                format!("{alert} is drilled, and has the share {}; end it first, or leave out `share`", self.share)
            }
            (_, Some(of)) if route.is_some_and(|route| route != of) => {
                let route = text::line(route.unwrap_or_default());
                format!("{alert} is drilled, and has the route `{route}`; end it first, or leave out `route`")
            }
            _ => return Ok(()),
        };
        Err(DrillRefusal::Impossible(text))
    }

    fn renew(&mut self, until: Instant, parts: &Parts) {
        self.until = until;
        match &self.fault {
            ActiveFault::Requests => {
                if let Some(faults) = self.faults() {
                    faults.renew(until);
                }
            }
            ActiveFault::Export(fault) => parts.exports.inject(*fault, until, self.injected.clone()),
            ActiveFault::Instances(occupation) => occupation.renew(until),
        }
    }

    fn end(&self, parts: &Parts) {
        match &self.fault {
            ActiveFault::Requests => {
                if let Some(faults) = self.faults() {
                    faults.end();
                }
            }
            ActiveFault::Export(_) => parts.exports.end(),
            ActiveFault::Instances(occupation) => occupation.end(),
        }
    }
}

impl DrillControl {
    pub(super) fn new(parts: Parts) -> Self {
        let keys = [&Identity::KEYS[..], &["route", "alert"]].concat();
        let help =
            "Faults that drills have injected: requests, instances that are taken, and requests to destinations.";
        let injected = parts.registry.counter("wasmetry_drill_faults_total", help, &keys);
        Self(Arc::new(Shared { parts, injected, state: Mutex::default() }))
    }

    /// Replaces the alerts by those of a service whose components are in the table.
    pub(super) fn set(&self, service: &wasmetry_ops::Service, table: &RouteTable) {
        let known = service.drills().into_iter().map(|plan| {
            let component = plan.component.and_then(|at| table.components.get(at)).cloned();
            let mounts = component.as_ref().map_or_else(Vec::new, |component| table.mounts_of(component));
            Known { plan, component, mounts }
        });
        let known = known.collect();
        let mut state = self.state();
        state.known = known;
        // The mounts of components that were replaced get no more requests.
        state.active.retain(|active| {
            let is_in = |mount: &Arc<Mount>| table.components.iter().any(|of| Arc::ptr_eq(of, &mount.component));
            let is_kept = active.mount.as_ref().is_none_or(is_in);
            if !is_kept {
                active.end(&self.0.parts);
            }
            is_kept
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.active.retain(|active| {
            let is_over = active.until <= now;
            if is_over {
                active.end(&self.0.parts);
            }
            !is_over
        });
        state
    }

    /// Ends a drill when its lease does, also if there are no requests.
    fn end_with_lease(&self, alert: &str, begin: Instant, until: Instant) {
        let (control, alert, mut until) = (self.clone(), alert.to_owned(), until);
        self.0.parts.runtime.spawn(async move {
            loop {
                tokio::time::sleep_until(until.into()).await;
                let state = control.state();
                match state.active.iter().find(|active| active.alert == alert && active.begin == begin) {
                    Some(renewed) => until = renewed.until,
                    None => return,
                }
            }
        });
    }

    /// Returns the counter of a drill's faults.
    fn injected(&self, known: &Known, mount: Option<&Arc<Mount>>) -> Counter {
        let [component, version, tenant] =
            known.component.as_ref().map_or([""; 3], |component| component.spec.identity.values());
        let route = mount.map_or("", |mount| mount.route.as_str());
        self.0.injected.with(&[component, version, tenant, route, &known.plan.alert])
    }

    /// Returns an alert as clients see it.
    fn shown(&self, state: &State, known: &Known) -> Drill {
        let active = state.active.iter().find(|active| active.alert == known.plan.alert);
        let mount = active.map_or_else(|| known.mount(None).ok(), |active| active.mount.clone());
        let identity = known.component.as_ref().map(|component| &component.spec.identity);
        let (fault, share, refused) = match &known.plan.fault {
            Ok((fault, share)) => {
                let share = active.map_or(*share, |active| active.share);
                (fault.name(), share, self.obstacle(known, fault))
            }
            Err(reason) => ("", 0.0, Some((*reason).to_owned())),
        };
        Drill {
            alert: known.plan.alert.clone(),
            issue: known.plan.issue.to_owned(),
            severity: known.plan.severity.name().to_owned(),
            hold_seconds: known.plan.hold,
            component: identity.map_or_else(String::new, |identity| identity.component().to_owned()),
            tenant: identity.map_or_else(String::new, |identity| identity.tenant().to_owned()),
            route: mount.as_ref().map_or_else(String::new, |mount| mount.route.as_str().to_owned()),
            fault: fault.to_owned(),
            share,
            is_share_fixed: known.is_share_fixed(),
            refused,
            is_active: active.is_some(),
            faults: active.map_or(0, |active| active.injected.get()),
        }
    }

    /// Returns the reason why a fault cannot be injected into this process.
    fn obstacle(&self, known: &Known, fault: &Fault) -> Option<String> {
        match fault {
            Fault::ExportFailure | Fault::ExportRefusal if !self.0.parts.exports.has_destinations() => {
                Some("this process exports to no destination; give it one, such as --otlp".to_owned())
            }
            Fault::ErrorLog if self.0.parts.sink.is_none() => Some(
                "this process has no destination of log records; give it one, such as --log-format json".to_owned(),
            ),
            Fault::ExportFailure | Fault::ExportRefusal => None,
            _ => known.mount(None).err(),
        }
    }

    fn start(&self, known: &Known, lease: &Lease, until: Instant) -> Result<Active, DrillRefusal> {
        let (fault, share) =
            known.plan.fault.as_ref().map_err(|reason| DrillRefusal::Impossible(reason.to_string()))?;
        if let Some(obstacle) = self.obstacle(known, fault) {
            return Err(DrillRefusal::Impossible(obstacle));
        }
        let share = lease.share.unwrap_or(*share);
        let parts = &self.0.parts;
        let export = match fault {
            Fault::ExportFailure => Some(ExportFault::Failure),
            Fault::ExportRefusal => Some(ExportFault::Refusal),
            _ => None,
        };
        let mount = match export {
            Some(_) => None,
            None => Some(known.mount(lease.route.as_deref()).map_err(DrillRefusal::Impossible)?),
        };
        let injected = self.injected(known, mount.as_ref());
        let active = |fault| Active {
            alert: known.plan.alert.clone(),
            begin: Instant::now(),
            until,
            share,
            mount: mount.clone(),
            injected: injected.clone(),
            fault,
        };
        if let Some(export) = export {
            parts.exports.inject(export, until, injected.clone());
            return Ok(active(ActiveFault::Export(export)));
        }
        let Some(mount) = &mount else { return Err(DrillRefusal::Impossible("there is no mount".to_owned())) };
        if let Fault::Instances(taken) = fault {
            let count = (taken * f64::from(mount.component.spec.instances)).round() as usize;
            let occupation =
                Occupation::start(&parts.runtime, Arc::clone(&mount.component), count, until, injected.clone());
            return Ok(active(ActiveFault::Instances(occupation)));
        }
        let Some(faults) = &mount.faults else {
            return Err(DrillRefusal::Impossible("the mount has no drills".to_owned()));
        };
        let identity = &mount.component.spec.identity;
        let record = |fault: TelemetryFault| {
            let record = fault.recorder(&parts.registry, identity, parts.sink.clone());
            record.map(|record| RequestFault::Record(Arc::new(record))).map_err(DrillRefusal::Impossible)
        };
        let fault = match fault {
            Fault::Delay(seconds) => RequestFault::Delay(Duration::from_secs_f64(*seconds)),
            Fault::Trap => RequestFault::Instance(InstanceFault::Trap),
            Fault::Deadline => RequestFault::Instance(InstanceFault::Deadline),
            Fault::OutOfMemory => RequestFault::Instance(InstanceFault::OutOfMemory),
            Fault::Memory(share) => RequestFault::Instance(InstanceFault::Memory(*share)),
            Fault::Wait(seconds) => RequestFault::Wait(Duration::from_secs_f64(*seconds)),
            Fault::Refusal => RequestFault::Refusal,
            Fault::Error => RequestFault::Error,
            Fault::ErrorLog => record(TelemetryFault::ErrorLog)?,
            Fault::Drop => record(TelemetryFault::Drop)?,
            Fault::Overflow => record(TelemetryFault::Overflow)?,
            Fault::Counter(metric) => record(TelemetryFault::Counter(metric.clone()))?,
            Fault::Gauge(metric, limit) => record(TelemetryFault::Gauge(metric.clone(), limit.clone()))?,
            Fault::Histogram(metric, seconds) => record(TelemetryFault::Histogram(metric.clone(), *seconds))?,
            _ => return Err(DrillRefusal::Impossible("this version injects no such fault".to_owned())),
        };
        faults.inject(Injection { fault, share, until, injected: injected.clone(), due: 0.0 });
        Ok(active(ActiveFault::Requests))
    }
}

impl Known {
    /// Returns `true` if no lease changes the share.
    fn is_share_fixed(&self) -> bool {
        let fault = self.plan.fault.as_ref().map(|(fault, _)| fault);
        matches!(fault, Ok(Fault::Instances(_) | Fault::ExportFailure | Fault::ExportRefusal))
    }

    /// Returns an error if a lease has a value that the fault does not have.
    fn check(&self, lease: &Lease) -> Result<(), DrillRefusal> {
        let fault = self.plan.fault.as_ref().map(|(fault, _)| fault);
        let is_export = matches!(fault, Ok(Fault::ExportFailure | Fault::ExportRefusal));
        if lease.share.is_some() && self.is_share_fixed() {
            return Err(DrillRefusal::Invalid("this fault has a fixed share; leave out `share`".to_owned()));
        }
        if lease.route.is_some() && is_export {
            return Err(DrillRefusal::Invalid("this fault has no route; leave out `route`".to_owned()));
        }
        Ok(())
    }

    /// Returns the mount whose requests have the fault: that of a route, or the first one.
    fn mount(&self, route: Option<&str>) -> Result<Arc<Mount>, String> {
        let routes = || {
            let routes: Vec<&str> = self.mounts.iter().map(|mount| mount.route.as_str()).collect();
            text::line(&routes.join(", "))
        };
        let route = route.or(self.plan.route.as_deref());
        let found = self.mounts.iter().find(|mount| route.is_none_or(|route| mount.route.as_str() == route));
        found.cloned().ok_or_else(|| match route {
            Some(route) => {
                format!(
                    "its component has no mount with the route `{}`; its mounts are {}",
                    text::line(route),
                    routes()
                )
            }
            None => "its component is not mounted".to_owned(),
        })
    }
}

impl Drills for DrillControl {
    fn all(&self) -> Vec<Drill> {
        let state = self.state();
        state.known.iter().map(|known| self.shown(&state, known)).collect()
    }

    fn renew(&self, lease: &Lease) -> Result<Drill, DrillRefusal> {
        let longest = limits::DRILL_LEASE.as_secs_f64();
        if !(lease.seconds > 0.0 && lease.seconds <= longest) {
            return Err(DrillRefusal::Invalid(format!("`seconds` is not above 0 and up to {longest}")));
        }
        if lease.share.is_some_and(|share| !(share > 0.0 && share <= MAX_SHARE)) {
            return Err(DrillRefusal::Invalid(format!("`share` is not above 0 and up to {MAX_SHARE}")));
        }
        let until = Instant::now() + Duration::from_secs_f64(lease.seconds);
        let mut state = self.state();
        let State { known, active } = &mut *state;
        let known = find(known, &lease.alert)?;
        known.check(lease)?;
        match active.iter_mut().find(|active| active.alert == lease.alert) {
            Some(active) if active.begin.elapsed() > limits::DRILL => {
                let most = limits::DRILL.as_secs() / 60;
                return Err(DrillRefusal::Impossible(format!("the drill has lasted for {most} minutes; end it first")));
            }
            Some(active) => {
                active.check(lease)?;
                active.renew(until, &self.0.parts);
            }
            None => {
                let is_same = |other: &&Active| match (&other.mount, known.component.as_ref()) {
                    (Some(mount), Some(component)) => Arc::ptr_eq(&mount.component, component),
                    (None, None) => true,
                    _ => false,
                };
                if let Some(other) = active.iter().find(is_same) {
                    let text = format!("{} is drilled on the same component; one at a time", other.alert);
                    return Err(DrillRefusal::Impossible(text));
                }
                let started = self.start(known, lease, until)?;
                self.end_with_lease(&started.alert, started.begin, until);
                active.push(started);
            }
        }
        let known = find(&state.known, &lease.alert)?;
        Ok(self.shown(&state, known))
    }

    fn end(&self, alert: &str) -> Result<Drill, DrillRefusal> {
        let mut state = self.state();
        state.active.retain(|active| {
            let is_ended = active.alert == alert;
            if is_ended {
                active.end(&self.0.parts);
            }
            !is_ended
        });
        let known = find(&state.known, alert)?;
        Ok(self.shown(&state, known))
    }
}

fn find<'a>(known: &'a [Known], alert: &str) -> Result<&'a Known, DrillRefusal> {
    known.iter().find(|known| known.plan.alert == alert).ok_or_else(|| {
        DrillRefusal::Unknown(format!("there is no alert `{}`; GET /drill lists all", text::line(alert)))
    })
}
