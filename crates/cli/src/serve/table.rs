//! What is served now: components that are ready to be instantiated, and where they are mounted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use wasmetry_host::Recording;
use wasmetry_wasmtime::{HttpMetrics, ObservedComponent, Telemetry, Ticker};
use wasmtime::Engine;

use super::admission::Admission;
use super::engine;
use super::handler::Pre;
use super::plan::{Plan, Planned, Spec};
use super::report::Reporter;
use super::route::{Prefix, Routes};
use super::stdio::Output;
use crate::export::ExportArgs;
use crate::text;

/// One component that is ready to be instantiated.
pub(super) struct Unit {
    pub(super) spec: Spec,
    pub(super) pre: Pre,
    pub(super) component: ObservedComponent,
    pub(super) admission: Admission,
    pub(super) reporter: Reporter,
    /// What the configuration said last, so that what was changed otherwise stays as long as that stays the same.
    recording: Mutex<Recording>,
}

impl Unit {
    /// Records as the configuration says, if that is something new.
    fn set_recording(&self, recording: &Recording) {
        let mut last = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != *recording {
            last.clone_from(recording);
            self.component.set_recording(recording.clone());
        }
    }
}

/// A component under one route.
pub(super) struct Mount {
    pub(super) unit: Arc<Unit>,
    pub(super) route: Prefix,
    pub(super) metrics: HttpMetrics,
}

/// Everything that is served.
#[derive(Default)]
pub(super) struct Table {
    pub(super) routes: Routes<Arc<Mount>>,
    pub(super) units: Vec<Arc<Unit>>,
    mounts: Vec<Arc<Mount>>,
}

/// Makes tables.
pub(super) struct Builder {
    pub(super) telemetry: Telemetry,
    pub(super) ticker: Ticker,
    pub(super) export: ExportArgs,
    pub(super) stderr: Output,
}

/// A component that is compiled and not registered yet.
struct Compiled {
    engine: Engine,
    pre: Pre,
}

impl Builder {
    /// Makes the table of a plan; what is as it was in `old` is taken over from there.
    ///
    /// Compiling takes seconds for large components. Where it fails, nothing has changed.
    pub(super) fn build(&self, plan: &Plan, old: &Table) -> Result<Table> {
        let mut prepared = Vec::new();
        for planned in &plan.components {
            let known = old.units.iter().find(|unit| unit.spec == planned.spec);
            let compiled = match known {
                Some(_) => None,
                None => Some(compile(planned).map_err(|error| planned.explain(error))?),
            };
            prepared.push((planned, known.cloned(), compiled));
        }
        // A newer version takes the names of its metrics over, also where it declares them otherwise.
        for unit in &old.units {
            if !prepared.iter().any(|(_, known, _)| known.as_ref().is_some_and(|known| Arc::ptr_eq(known, unit))) {
                unit.component.retire();
                unit.reporter.flush();
            }
        }
        let mut table = Table::default();
        for (planned, known, compiled) in prepared {
            let unit = match (known, compiled) {
                (Some(unit), _) => unit,
                (None, Some(compiled)) => Arc::new(self.unit(planned, compiled)?),
                (None, None) => unreachable!("what is not known is compiled"),
            };
            unit.set_recording(&self.export.recording(planned.recording.clone()));
            table.mount(planned, &unit, old)?;
            table.units.push(unit);
        }
        for mount in &old.mounts {
            if !table.mounts.iter().any(|kept| Arc::ptr_eq(kept, mount)) {
                mount.metrics.retire();
            }
        }
        Ok(table)
    }

    fn unit(&self, planned: &Planned, compiled: Compiled) -> Result<Unit> {
        let spec = planned.spec.clone();
        self.telemetry.add_engine(&compiled.engine);
        self.ticker.add_engine(&compiled.engine);
        let component = self
            .telemetry
            .component(spec.identity.clone(), &planned.binary.bytes)
            .map_err(|error| planned.explain(anyhow!("{}: {error}", planned.binary.path.display())))?;
        for rejected in component.conflicts() {
            let name = text::line(spec.identity.component());
            self.stderr.line(format!("{name}: {}: its values are dropped", text::line(&rejected.to_string())));
        }
        let recording = self.export.recording(planned.recording.clone());
        component.set_recording(recording.clone());
        Ok(Unit {
            admission: Admission::new(spec.instances as usize, spec.waiting, spec.request_timeout),
            reporter: Reporter::new(spec.identity.component(), self.stderr.clone()),
            recording: Mutex::new(recording),
            pre: compiled.pre,
            component,
            spec,
        })
    }
}

fn compile(planned: &Planned) -> Result<Compiled> {
    let limits = engine::Limits { instances: planned.spec.instances, memory: planned.spec.memory };
    let (engine, component) = engine::compile(&planned.binary, limits)?;
    let pre = engine::link(&planned.binary, &engine, &component)?;
    Ok(Compiled { engine, pre })
}

impl Table {
    /// Mounts a unit wherever the plan says.
    fn mount(&mut self, planned: &Planned, unit: &Arc<Unit>, old: &Table) -> Result<()> {
        // The metrics of a route are those of all hosts that have it.
        let mut by_route: HashMap<&Prefix, Arc<Mount>> = HashMap::new();
        for (host, route) in &planned.mounts {
            let mount = by_route.entry(route).or_insert_with(|| {
                let known = old.mounts.iter().find(|mount| Arc::ptr_eq(&mount.unit, unit) && mount.route == *route);
                known.cloned().unwrap_or_else(|| {
                    let metrics = unit.component.http(route.as_str());
                    Arc::new(Mount { unit: Arc::clone(unit), route: route.clone(), metrics })
                })
            });
            let added = self.routes.add(host.clone(), route.clone(), Arc::clone(mount));
            added.map_err(|_| ()).ok().context("two components have one route, which the plan would have refused")?;
        }
        self.mounts.extend(by_route.into_values());
        Ok(())
    }
}
