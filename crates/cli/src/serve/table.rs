//! The route table: the components that are served, and their mounts.
//!
//! In come a plan and the table in force; out comes the next table. It does not know requests.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use wasmetry_wasmtime::{HttpMetrics, Telemetry, Ticker};

use super::component::{Compiled, Limits, Reservation, ServedComponent};
use super::config::plan::{ComponentPlan, ComponentSpec, Plan};
use super::config::route::{Prefix, Routes};
use super::limits;
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
    New(Reservation),
}

impl TableBuilder {
    /// Builds the table of a plan; components with the same specification are kept from the old
    /// one.
    ///
    /// Compiling takes seconds for large components. If it fails, nothing has changed.
    pub(super) fn build(&self, plan: &Plan, old: &RouteTable) -> Result<RouteTable> {
        let prepared = self.prepare(&plan.components, old)?;
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
                Prepared::New(reservation) => {
                    let (telemetry, stderr) = (&self.telemetry, &self.stderr);
                    Arc::new(ServedComponent::register(plan, reservation, recording, telemetry, stderr))
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

    /// Finds the components to keep, and compiles the binaries of the others: each binary once, by
    /// its content, for all components that are made of it.
    fn prepare(&self, plans: &[ComponentPlan], old: &RouteTable) -> Result<Vec<Prepared>> {
        let kept = |plan: &ComponentPlan| old.components.iter().find(|component| component.spec == plan.spec);
        let mut compiled: Vec<Arc<Compiled>> =
            old.components.iter().map(|component| Arc::clone(component.reservation.compiled())).collect();
        let mut prepared = Vec::new();
        for (at, plan) in plans.iter().enumerate() {
            if let Some(kept) = kept(plan) {
                prepared.push(Prepared::Kept(Arc::clone(kept)));
                continue;
            }
            let reservation = match compiled.iter().rev().find_map(|compiled| compiled.reserve(&plan.spec)) {
                Some(reservation) => reservation,
                None => {
                    let same = plans[at..].iter().filter(|other| other.spec.digest == plan.spec.digest);
                    let limits = pool_limits(same.filter(|other| kept(other).is_none()).map(|other| &other.spec));
                    let new = Compiled::new(&plan.binary, plan.spec.digest, limits);
                    let new = Arc::new(new.map_err(|error| plan.explain(error))?);
                    self.telemetry.add_engine(new.engine());
                    self.ticker.add_engine(new.engine());
                    let reservation = new.reserve(&plan.spec).context("the pool of instances is too small")?;
                    compiled.push(new);
                    reservation
                }
            };
            reservation.check_memory(&plan.binary, plan.spec.memory).map_err(|error| plan.explain(error))?;
            prepared.push(Prepared::New(reservation));
        }
        Ok(prepared)
    }
}

/// Returns the limits of a pool for these components.
///
/// If it has fewer instances than all of them may have together, half of its instances are divided
/// between them, and they share the others.
fn pool_limits<'a>(specs: impl Iterator<Item = &'a ComponentSpec>) -> Limits {
    let mut components = 0;
    let none = Limits { instances: 0, reserved: 0, memory: 0 };
    let whole = specs.inspect(|_| components += 1).fold(none, |all, spec| Limits {
        instances: all.instances.saturating_add(spec.instances),
        reserved: all.reserved.max(spec.instances),
        memory: all.memory.max(spec.memory),
    });
    let largest = limits::POOL_INSTANCES.max(whole.reserved);
    if whole.instances <= largest {
        return whole;
    }
    Limits { instances: largest, reserved: (largest / 2 / components).max(1), ..whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::Digest;
    use wasmetry_host::Identity;

    fn spec(instances: u32, memory: u64) -> ComponentSpec {
        ComponentSpec {
            digest: Digest::default(),
            identity: Identity::new("a"),
            request_timeout: limits::REQUEST_TIMEOUT,
            memory,
            instances,
            waiting: 0,
            variables: Vec::new(),
        }
    }

    #[test]
    fn pools_are_shared_up_to_limit() {
        let pool = |specs: &[ComponentSpec]| {
            let Limits { instances, reserved, memory } = pool_limits(specs.iter());
            (instances, reserved, memory)
        };
        assert_eq!(pool(&[spec(2, 7), spec(3, 9), spec(1, 8)]), (6, 3, 9));
        let most = limits::POOL_INSTANCES;
        assert_eq!(pool(&[spec(most, 7)]), (most, most, 7));
        assert_eq!(pool(&[spec(most + 1, 7)]), (most + 1, most + 1, 7));
        assert_eq!(pool(&[spec(2, 7), spec(most + 1, 9)]), (most + 1, most / 4, 9));
        assert_eq!(pool(&vec![spec(128, 7); 200]), (most, 10, 7));
        assert_eq!(pool(&vec![spec(128, 7); limits::MAX_COMPONENTS]), (most, 2, 7));
    }
}
