//! The route table: the components that are served, and their mounts.
//!
//! In come a plan and the table in force; out comes the next table. It does not know requests.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use wasmetry_host::{Identity, Recording};
use wasmetry_wasmtime::{HttpMetrics, Telemetry, Ticker};

use super::component::{Compilation, Compiled, Compiler, GuestOutput, Limits, Owner, Reservation, ServedComponent};
use super::config::plan::{ComponentPlan, ComponentSpec, Plan, UnreadableComponent};
use super::config::route::{Host, Prefix, Routes};
use super::fault::MountFaults;
use super::limits;
use super::output::Output;
use crate::flag::export::ExportArgs;
use crate::guest::outgoing::Network;
use crate::process::system_error;
use crate::text;

/// A component under one route.
pub(super) struct Mount {
    pub(super) component: Arc<ServedComponent>,
    pub(super) route: Prefix,
    pub(super) metrics: HttpMetrics,
    /// The faults that drills inject, if they are allowed.
    pub(super) faults: Option<MountFaults>,
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

    /// Returns the mounts of a component, in the order of their routes.
    pub(super) fn mounts_of(&self, component: &Arc<ServedComponent>) -> Vec<Arc<Mount>> {
        let is_of = |mount: &&Arc<Mount>| Arc::ptr_eq(&mount.component, component);
        let mut mounts: Vec<Arc<Mount>> = self.mounts.iter().filter(is_of).cloned().collect();
        mounts.sort_by(|a, b| a.route.as_str().cmp(b.route.as_str()));
        mounts
    }

    /// Returns the number of tenants that have components, and of the components without a tenant.
    pub(super) fn owners(&self) -> usize {
        self.components.iter().map(|component| &component.owner).collect::<HashSet<_>>().len()
    }

    /// Returns the component of a tenant by its name.
    fn component(&self, tenant: &str, name: &str) -> Option<&Arc<ServedComponent>> {
        let key = |component: &ServedComponent| {
            let identity = &component.spec.identity;
            identity.tenant() == tenant && identity.component() == name
        };
        self.components.iter().find(|component| key(component))
    }

    /// Mounts a component at each host and prefix of its plan.
    fn mount(
        &mut self,
        mounts: &[(Host, Prefix)],
        component: &Arc<ServedComponent>,
        old: &RouteTable,
        allows_drills: bool,
    ) -> Result<()> {
        // All hosts of a route share its metrics.
        let mut by_route: HashMap<&Prefix, Arc<Mount>> = HashMap::new();
        for (host, route) in mounts {
            let mount = by_route.entry(route).or_insert_with(|| {
                let is_same = |mount: &&Arc<Mount>| Arc::ptr_eq(&mount.component, component) && mount.route == *route;
                old.mounts.iter().find(is_same).cloned().unwrap_or_else(|| {
                    let metrics = component.observed.http(route.as_str());
                    let faults = allows_drills.then(MountFaults::default);
                    Arc::new(Mount { component: Arc::clone(component), route: route.clone(), metrics, faults })
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
    /// The destination of what guests print.
    pub(super) output: GuestOutput,
    pub(super) network: Network,
    pub(super) compiler: Compiler,
    /// `true` if drills may inject faults.
    pub(super) allows_drills: bool,
}

/// A table, and the components of its plan that are not in it as they are planned.
pub(super) struct Built {
    pub(super) table: RouteTable,
    pub(super) failures: Vec<Failure>,
}

/// A component whose binary cannot be read, compiled or linked.
pub(super) struct Failure {
    component: String,
    tenant: String,
    /// `true` if its former version is in the table.
    is_kept: bool,
    pub(super) error: anyhow::Error,
}

impl Failure {
    /// Returns `true` if this is the component of this identity, in any version.
    pub(super) fn is_of(&self, identity: &Identity) -> bool {
        self.tenant == identity.tenant() && self.component == identity.component()
    }

    /// Returns the component, the version that is served, and the cause, for a message.
    pub(super) fn text(&self) -> String {
        let of_tenant =
            if self.tenant.is_empty() { String::new() } else { format!(" of the tenant `{}`", self.tenant) };
        let served = if self.is_kept {
            "its former version stays in force"
        } else {
            "it is left out, since it has no former version"
        };
        text::line(&format!("`{}`{of_tenant}: {served}: {:#}", self.component, self.error))
    }
}

/// A component of the next table.
enum Prepared {
    /// It is in the old table with the same specification, and is kept with its instances.
    Kept(Arc<ServedComponent>),
    New(Reservation),
}

/// A component of a plan, and where its requests come from.
#[derive(Clone, Copy)]
struct Planned<'a> {
    tenant: &'a str,
    name: &'a str,
    mounts: &'a [(Host, Prefix)],
    recording: &'a Recording,
    /// `None` if its binary cannot be read.
    component: Option<&'a ComponentPlan>,
}

impl<'a> Planned<'a> {
    fn readable(plan: &'a ComponentPlan) -> Self {
        let identity = &plan.spec.identity;
        Self {
            tenant: identity.tenant(),
            name: identity.component(),
            mounts: &plan.mounts,
            recording: &plan.recording,
            component: Some(plan),
        }
    }

    fn unreadable(plan: &'a UnreadableComponent) -> Self {
        let UnreadableComponent { tenant, name, mounts, recording, .. } = plan;
        Self { tenant, name, mounts, recording, component: None }
    }
}

impl TableBuilder {
    /// Forgets which binaries took too long to compile.
    pub(super) fn forget_late(&self) {
        self.compiler.forget_late();
    }

    /// Builds the table of a plan; components with the same specification are kept from the old
    /// one.
    ///
    /// Compiling takes seconds for large components. If a component cannot be compiled, linked or
    /// read, the table has its former version, or it is not in the table.
    ///
    /// # Errors
    ///
    /// Fails if none of the components is as it is planned, or at the start, if one of them is not:
    /// then nothing has changed.
    pub(super) fn build(&self, plan: &Plan, old: &RouteTable) -> Result<Built> {
        let prepared = if old.components.is_empty() {
            // Nothing is served meanwhile, so that there is no limit of time.
            plan.check_readable()?;
            self.prepare(&plan.components, old, compile_until_error)
        } else {
            self.prepare(&plan.components, old, |jobs| self.compiler.compile(jobs, plan.compile_timeout))
        };
        let readable = plan.components.iter().map(Planned::readable).zip(prepared);
        let unreadable = plan.unreadable.iter().map(Planned::unreadable);
        let unreadable = unreadable.zip(plan.unreadable.iter().map(|plan| Err(system_error::duplicate(&plan.error))));
        let mut failures = Vec::new();
        let mut next: Vec<(Planned<'_>, Prepared)> = Vec::new();
        let mut has_planned = false;
        for (planned, prepared) in readable.chain(unreadable) {
            let error = match prepared {
                Ok(prepared) => {
                    has_planned = true;
                    next.push((planned, prepared));
                    continue;
                }
                Err(error) if old.components.is_empty() => return Err(error),
                Err(error) => error,
            };
            let former = old.component(planned.tenant, planned.name);
            let (component, tenant) = (planned.name.to_owned(), planned.tenant.to_owned());
            failures.push(Failure { component, tenant, is_kept: former.is_some(), error });
            next.extend(former.map(|former| (planned, Prepared::Kept(Arc::clone(former)))));
        }
        if !has_planned {
            let first = failures.into_iter().next().map(|failure| failure.error);
            return Err(first.unwrap_or_else(|| anyhow!("there is no component")));
        }
        let table = self.table(next, old)?;
        Ok(Built { table, failures })
    }

    /// Makes a table of components that are prepared.
    fn table(&self, next: Vec<(Planned<'_>, Prepared)>, old: &RouteTable) -> Result<RouteTable> {
        // Before the new components are registered: a newer version takes over the names of its
        // metrics, even those that it declares differently.
        for component in &old.components {
            let is_kept = |other: &Prepared| matches!(other, Prepared::Kept(kept) if Arc::ptr_eq(kept, component));
            if !next.iter().any(|(_, prepared)| is_kept(prepared)) {
                component.observed.retire();
                component.reporter.flush();
            }
        }
        let mut table = RouteTable::default();
        for (planned, prepared) in next {
            let recording = self.export.recording(planned.recording.clone());
            let component = match (prepared, planned.component) {
                (Prepared::New(reservation), Some(plan)) => {
                    let (telemetry, network) = (&self.telemetry, &self.network);
                    let (stderr, output) = (&self.stderr, &self.output);
                    Arc::new(ServedComponent::register(
                        plan,
                        reservation,
                        recording,
                        telemetry,
                        network,
                        stderr,
                        output,
                    ))
                }
                (Prepared::Kept(kept), _) => {
                    kept.set_recording(&recording);
                    kept
                }
                (Prepared::New(_), None) => continue,
            };
            table.mount(planned.mounts, &component, old, self.allows_drills)?;
            table.components.push(component);
        }
        for mount in &old.mounts {
            if !table.mounts.iter().any(|kept| Arc::ptr_eq(kept, mount)) {
                mount.metrics.retire();
            }
        }
        Ok(table)
    }

    /// Finds the components to keep, and has the binaries of the others compiled: each binary once,
    /// by its content, for all components that are made of it.
    fn prepare(
        &self,
        plans: &[ComponentPlan],
        old: &RouteTable,
        compile: impl FnOnce(Vec<Compilation>) -> Vec<Result<Compiled>>,
    ) -> Vec<Result<Prepared>> {
        let known: Vec<&Arc<Compiled>> =
            old.components.iter().map(|component| component.reservation.compiled()).collect();
        let mut prepared: Vec<Option<Result<Prepared>>> = Vec::new();
        for plan in plans {
            let kept = old.components.iter().find(|component| component.spec == plan.spec);
            prepared.push(match kept {
                Some(kept) => Some(Ok(Prepared::Kept(Arc::clone(kept)))),
                None => {
                    known.iter().rev().find_map(|compiled| compiled.reserve(&plan.spec)).map(|new| checked(plan, new))
                }
            });
        }
        let missing: Vec<&ComponentPlan> =
            plans.iter().zip(&prepared).filter(|(_, prepared)| prepared.is_none()).map(|(plan, _)| plan).collect();
        let mut jobs: Vec<Compilation> = Vec::new();
        for plan in &missing {
            let owner = Owner::of(&plan.spec.identity);
            match jobs.iter_mut().find(|job| job.digest == plan.spec.digest) {
                Some(job) if job.owners.contains(&owner) => {}
                Some(job) => job.owners.push(owner),
                None => jobs.push(Compilation {
                    binary: Arc::clone(&plan.binary),
                    digest: plan.spec.digest,
                    pool: pool_limits(
                        missing.iter().map(|other| &other.spec).filter(|other| other.digest == plan.spec.digest),
                    ),
                    owners: vec![owner],
                }),
            }
        }
        let digests: Vec<_> = jobs.iter().map(|job| job.digest).collect();
        let compiled = compile(jobs).into_iter().map(|compiled| {
            compiled.map(|compiled| {
                self.telemetry.add_engine(compiled.engine());
                self.ticker.add_engine(compiled.engine());
                Arc::new(compiled)
            })
        });
        let compiled: HashMap<_, _> = digests.into_iter().zip(compiled).collect();
        let new = |plan: &ComponentPlan| match compiled.get(&plan.spec.digest) {
            Some(Ok(compiled)) => match compiled.reserve(&plan.spec) {
                Some(reservation) => checked(plan, reservation),
                None => Err(plan.explain(anyhow!("the pool of instances is too small"))),
            },
            Some(Err(error)) => Err(plan.explain(system_error::duplicate(error))),
            None => Err(plan.explain(anyhow!("it was not compiled"))),
        };
        plans.iter().zip(prepared).map(|(plan, prepared)| prepared.unwrap_or_else(|| new(plan))).collect()
    }
}

/// Compiles binaries for as long as it takes, up to the first that fails.
fn compile_until_error(jobs: Vec<Compilation>) -> Vec<Result<Compiled>> {
    let mut compiled = Vec::new();
    for job in jobs {
        compiled.push(Compiled::new(&job.binary, job.digest, job.pool));
        if compiled.last().is_some_and(Result::is_err) {
            break;
        }
    }
    compiled
}

/// Returns a component's instances, unless one needs more memory to start than it may have.
fn checked(plan: &ComponentPlan, reservation: Reservation) -> Result<Prepared> {
    reservation.check_memory(&plan.binary, plan.spec.memory).map_err(|error| plan.explain(error))?;
    Ok(Prepared::New(reservation))
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
    use crate::flag::outgoing::OutgoingArgs;

    fn spec(instances: u32, memory: u64) -> ComponentSpec {
        ComponentSpec {
            digest: Digest::default(),
            identity: Identity::new("a"),
            request_timeout: limits::REQUEST_TIMEOUT,
            memory,
            instances,
            waiting: 0,
            variables: Vec::new(),
            outgoing: OutgoingArgs::default(),
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
