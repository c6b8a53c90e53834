//! The route table: the components that are served, and their mounts.
//!
//! In come a plan and the table in force; out comes the next table. It does not know requests.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use wasmetry_wasmtime::{HttpMetrics, Telemetry, Ticker};

use super::component::{Linked, ServedComponent};
use super::config::plan::{ComponentPlan, Plan};
use super::config::route::{Prefix, Routes};
use super::output::Output;
use crate::flag::export::ExportArgs;

/// A component under one route.
pub(super) struct Mount {
    pub(super) component: Arc<ServedComponent>,
    pub(super) route: Prefix,
    pub(super) metrics: HttpMetrics,
}

/// Everything that is served.
#[derive(Default)]
pub(super) struct RouteTable {
    pub(super) routes: Routes<Arc<Mount>>,
    pub(super) components: Vec<Arc<ServedComponent>>,
    mounts: Vec<Arc<Mount>>,
}

impl RouteTable {
    /// Writes the summaries of reports that were suppressed, for every component.
    pub(super) fn flush_reports(&self) {
        for component in &self.components {
            component.reporter.flush();
        }
    }

    /// Mounts a component at each host and prefix of its plan.
    fn mount(&mut self, plan: &ComponentPlan, component: &Arc<ServedComponent>, old: &RouteTable) -> Result<()> {
        // All hosts of a route share its metrics.
        let mut by_route: HashMap<&Prefix, Arc<Mount>> = HashMap::new();
        for (host, route) in &plan.mounts {
            let mount = by_route.entry(route).or_insert_with(|| {
                let is_same = |mount: &&Arc<Mount>| Arc::ptr_eq(&mount.component, component) && mount.route == *route;
                old.mounts.iter().find(is_same).cloned().unwrap_or_else(|| {
                    let metrics = component.observed.http(route.as_str());
                    Arc::new(Mount { component: Arc::clone(component), route: route.clone(), metrics })
                })
            });
            let added = self.routes.add(host.clone(), route.clone(), Arc::clone(mount));
            added.map_err(|_| ()).ok().context("two components have one route, which the plan would have refused")?;
        }
        self.mounts.extend(by_route.into_values());
        Ok(())
    }
}

/// Builds route tables from plans.
pub(super) struct TableBuilder {
    pub(super) telemetry: Telemetry,
    pub(super) ticker: Ticker,
    pub(super) export: ExportArgs,
    pub(super) stderr: Output,
}

/// A component of the next table.
enum Prepared {
    /// It is in the old table with the same specification, and is kept with its instances.
    Kept(Arc<ServedComponent>),
    New(Linked),
}

impl TableBuilder {
    /// Builds the table of a plan; components with the same specification are kept from the old
    /// one.
    ///
    /// Compiling takes seconds for large components. If it fails, nothing has changed.
    pub(super) fn build(&self, plan: &Plan, old: &RouteTable) -> Result<RouteTable> {
        let mut prepared = Vec::new();
        for plan in &plan.components {
            let kept = old.components.iter().find(|component| component.spec == plan.spec);
            prepared.push(match kept {
                Some(kept) => Prepared::Kept(Arc::clone(kept)),
                None => Prepared::New(Linked::new(plan).map_err(|error| plan.explain(error))?),
            });
        }
        // Before the new components are registered: a newer version takes over the names of its
        // metrics, even those that it declares differently.
        for component in &old.components {
            let is_kept = |other: &Prepared| matches!(other, Prepared::Kept(kept) if Arc::ptr_eq(kept, component));
            if !prepared.iter().any(is_kept) {
                component.observed.retire();
                component.reporter.flush();
            }
        }
        let mut table = RouteTable::default();
        for (plan, prepared) in plan.components.iter().zip(prepared) {
            let recording = self.export.recording(plan.recording.clone());
            let component = match prepared {
                Prepared::Kept(kept) => {
                    kept.set_recording(&recording);
                    kept
                }
                Prepared::New(linked) => {
                    let (telemetry, ticker, stderr) = (&self.telemetry, &self.ticker, &self.stderr);
                    let new = ServedComponent::register(plan, linked, recording, telemetry, ticker, stderr);
                    Arc::new(new.map_err(|error| plan.explain(error))?)
                }
            };
            table.mount(plan, &component, old)?;
            table.components.push(component);
        }
        for mount in &old.mounts {
            if !table.mounts.iter().any(|kept| Arc::ptr_eq(kept, mount)) {
                mount.metrics.retire();
            }
        }
        Ok(table)
    }
}
