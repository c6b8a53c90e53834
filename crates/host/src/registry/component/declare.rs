//! Declaring: which metrics of a component are exported, and what happens to one whose name another
//! metric needs.
//!
//! A metric is in one of three states. Its values are merged in the first two.
//!
//! ```text
//!              declare, resolve                  withdraw: a newer binary needs the name,
//!                                                and no binary in use declares this metric
//!   (absent) --------------------> exported ---------------------------------> withdrawn
//!       ^                           |    ^                                      |    |
//!       |                           |    +--------------------------------------+    |
//!       |                           |       restore: it is declared again            |
//!       |                           |                                                |
//!       +---------------------------+------------------------------------------------+
//!           remove: no binary in use declares it, and no instance or handle has it
//! ```

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use wasmetry_abi::Kind;
use wasmetry_abi::layout::GuestDropReason;

use super::{Aggregates, ComponentState};
use crate::aggregate::Aggregate;
use crate::aggregate::exponential::counts::classic_bounds;
use crate::declaration::site::Site;
use crate::declaration::{Metric, Overlap, Rejected, share};
use crate::memory::layout::Resolved;
use crate::registry::drop_reason::HostDropReason;
use crate::registry::family::{FamilyInfo, FamilyKind, WantedFamily};
use crate::registry::name_table::{Conflict, NameTable};
use crate::registry::start_time::Clock;
use crate::registry::step::step;
use crate::snapshot::labels::ComponentLabels;
use crate::{Declarations, Identity, limits};

/// The families and aggregates that a binary's declarations need, made before the registry is
/// locked.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// In the order of the declarations.
    families: Vec<WantedFamily>,
    /// In the order of the declarations; `None` for metrics that the component has.
    aggregates: Vec<Option<Aggregate>>,
}

impl Prepared {
    /// Prepares the declarations for a component, which is `None` if it is not registered.
    pub(crate) fn new(
        declarations: &Declarations,
        identity: &Identity,
        component: Option<&ComponentState>,
        clock: &Clock,
    ) -> Self {
        let metrics = declarations.metrics();
        let tenant: Arc<str> = identity.tenant().into();
        let family = |metric: &Arc<Metric>| WantedFamily::new(family_of(metric, &tenant));
        let families: Vec<_> = metrics.iter().map(family).collect();
        let is_known: Vec<bool> = match component.map(ComponentState::aggregates) {
            Some(aggregates) => metrics.iter().map(|metric| aggregates.by_hash.contains_key(&metric.hash)).collect(),
            None => vec![false; metrics.len()],
        };
        let labels = component.map_or_else(|| ComponentLabels::new(identity), |component| component.labels.clone());
        let new = |((metric, family), is_known): ((&Arc<Metric>, &WantedFamily), bool)| {
            (!is_known).then(|| Aggregate::new(metric, &labels, family.info.clone(), clock))
        };
        let aggregates = metrics.iter().zip(&families).zip(is_known).map(new).collect();
        Self { families, aggregates }
    }

    pub(crate) fn families(&self) -> &[WantedFamily] {
        &self.families
    }
}

/// The reason of a metric that is not exported because of a limit.
const OVER_LIMIT: &str = "the component or its tenant has as many metrics as it may have; retire older versions or other \
                          components of the tenant, or raise the limit `metrics` or `tenant-metrics`";

/// The reason of a metric that is not exported because its values are large.
const NO_ROOM: &str = "its series, all of which are known in advance, are large, and the host keeps as much memory for \
                       the tenant as it may; declare fewer series or buckets, retire other components of the tenant, \
                       or raise the limit `tenant-memory` or `telemetry-memory`";

impl ComponentState {
    /// Adds the aggregates for what a binary of this identity declares.
    ///
    /// `is_in_use` returns `true` for the hash of a metric that a binary in use declares.
    pub(crate) fn declare(
        self: &Arc<Self>,
        declarations: &Declarations,
        prepared: Prepared,
        names: &mut NameTable,
        is_in_use: impl Fn(u64) -> bool,
    ) {
        let mut aggregates = self.aggregates_next();
        let (mut conflicts, mut over_limit, mut without_room) = (0, 0, 0);
        aggregates.reserve(prepared.aggregates.iter().flatten().count());
        let prepared = prepared.families.iter().zip(prepared.aggregates);
        for (metric, (family, aggregate)) in declarations.metrics().iter().zip(prepared) {
            step();
            let known = aggregates.by_hash.get(&metric.hash);
            if known.is_some_and(|known| aggregates.get(*known).is_some_and(|known| !known.is_withdrawn())) {
                continue;
            }
            // One in conflict has no aggregate yet. A withdrawn one has its place.
            let is_new = !matches!(known, Some(Resolved::Metric(_)));
            if is_new && !aggregates.take_metric() {
                over_limit += 1;
                aggregates.conflict(metric, OVER_LIMIT.to_owned());
                continue;
            }
            let large = aggregate.as_ref().and_then(Aggregate::large_values);
            if large.is_some_and(|bytes| !aggregates.budget.take_memory(bytes)) {
                without_room += 1;
                aggregates.conflict(metric, NO_ROOM.to_owned());
                continue;
            }
            aggregates.withdraw_conflicting(self, metric, names, &is_in_use);
            let resolved = aggregates.declare(self, metric, family, aggregate, names);
            conflicts += u64::from(resolved == Resolved::Conflict);
            aggregates.set_hash(metric.hash, resolved);
            aggregates.layouts.clear();
        }
        if !declarations.sites().is_empty() {
            let sites = Arc::make_mut(&mut aggregates.sites);
            sites.extend(declarations.sites().iter().map(|site| (site.hash, site.clone())));
            // One reference is the binary's declarations.
            let site_bytes = |site: &Arc<Site>| size_of::<(u64, Arc<Site>)>() + share(site, site.memory(), 1);
            aggregates.site_bytes = aggregates.sites.values().map(site_bytes).sum();
        }
        self.charge(&mut aggregates);
        drop(aggregates);
        self.routes.declare(declarations.routes());
        let rejected = declarations.rejected_counts();
        for (reason, count) in [
            (HostDropReason::TypeConflict, conflicts),
            (HostDropReason::MetricLimit, over_limit),
            (HostDropReason::MemoryLimit, without_room),
            (HostDropReason::InvalidDeclaration, rejected.metrics),
            (HostDropReason::InvalidSite, rejected.sites),
        ] {
            if count > 0 {
                self.count(reason, count);
            }
        }
        // Counters of drops start at 0, so that `increase()` sees the first drop.
        if !declarations.metrics().is_empty() {
            for reason in GuestDropReason::ALL.into_iter().filter(|reason| reason.signal() == "metrics") {
                self.count_guest_drop(reason, 0);
            }
        }
    }

    /// Returns `true` if a binary in use declares an exported metric of this name.
    pub(crate) fn needs(&self, name: &str, is_in_use: impl Fn(u64) -> bool) -> bool {
        let aggregates = self.aggregates_next();
        aggregates.by_name(name).iter().any(|index| aggregates.is_in_use(*index, &is_in_use))
    }

    /// Withdraws the metrics of this name. The family is not released.
    pub(crate) fn withdraw(&self, name: &str) {
        let mut aggregates = self.aggregates_next();
        let exported = aggregates.by_name(name).to_vec();
        aggregates.withdraw(&exported);
    }

    /// Withdraws the metrics of this name, because the host has it now, and counts them. The family
    /// is not released.
    pub(crate) fn yield_to_host(&self, name: &str, host: &Arc<FamilyInfo>) {
        let mut aggregates = self.aggregates_next();
        let exported = aggregates.by_name(name).to_vec();
        for index in &exported {
            let aggregate = &aggregates.all[*index as usize];
            let reason = Conflict::with_host(aggregate.family(), host).describe(Some(&self.identity));
            let metric = aggregate.metric().clone();
            aggregates.conflict(&metric, reason);
        }
        aggregates.withdraw(&exported);
        drop(aggregates);
        self.count(HostDropReason::TypeConflict, exported.len() as u64);
    }

    /// Removes the metrics that no owner has.
    pub(crate) fn remove_unused(&self, names: &mut NameTable, has_owner: impl Fn(u64) -> bool) {
        self.aggregates_next().remove_unused(self, names, has_owner);
    }

    /// Releases the names of all metrics.
    pub(crate) fn release_names(&self, names: &mut NameTable) {
        let mut aggregates = self.aggregates_next();
        for index in std::mem::take(&mut aggregates.by_name) {
            names.release(aggregates.all[index as usize].family(), self);
        }
    }
}

impl Aggregates {
    /// Takes the room of one more metric. Returns `false` if the component or its tenant has none.
    pub(super) fn take_metric(&mut self) -> bool {
        self.declared.has(self.metrics() + 1) || self.declared.resize(self.metrics() + 1)
    }

    /// Makes room for this many more metrics, if their accounts have it for all of them. It is
    /// given back where it is not taken.
    fn reserve(&mut self, metrics: usize) {
        self.all.reserve_exact(metrics.saturating_sub(self.removed.len()));
        self.by_name.reserve_exact(metrics);
        self.by_hash.reserve(metrics);
        self.declared.resize(self.metrics() + metrics);
    }

    /// The number of metrics.
    pub(super) fn metrics(&self) -> usize {
        self.all.len() - self.removed.len()
    }

    /// Returns the aggregate of a metric that is not in conflict.
    pub(super) fn get(&self, resolved: Resolved) -> Option<&Aggregate> {
        match resolved {
            Resolved::Metric(index) => self.all.get(index as usize),
            Resolved::Conflict => None,
        }
    }

    /// Returns the indices of the metrics that are exported under a name.
    pub(super) fn by_name(&self, name: &str) -> &[u32] {
        &self.by_name[self.places(name)]
    }

    /// Returns the places of a name in the index by names.
    fn places(&self, name: &str) -> Range<usize> {
        let name_of = |index: &u32| self.all[*index as usize].metric().name.as_str();
        let len = self.by_name.len();
        // Declarations are sorted by name.
        if self.by_name.last().is_none_or(|last| name_of(last) < name) {
            return len..len;
        }
        let start = self.by_name.partition_point(|index| name_of(index) < name);
        let namesakes = self.by_name[start..].iter().take_while(|index| name_of(index) == name);
        start..start + namesakes.count()
    }

    /// Returns the hashes of the metric with this index.
    fn hashes(&self, index: u32) -> &[u64] {
        match self.other_hashes.get(&index) {
            Some(hashes) => hashes,
            None => slice::from_ref(&self.all[index as usize].metric().hash),
        }
    }

    /// Returns `true` if a binary in use declares the metric with this index.
    fn is_in_use(&self, index: u32, is_in_use: impl Fn(u64) -> bool) -> bool {
        self.hashes(index).iter().any(|hash| is_in_use(*hash))
    }

    /// Sets the metric of a descriptor's hash.
    pub(super) fn set_hash(&mut self, hash: u64, resolved: Resolved) {
        let old = self.by_hash.insert(hash, resolved);
        if old == Some(resolved) {
            return;
        }
        if let Some(Resolved::Metric(old)) = old {
            let left = self.hashes(old).iter().copied().filter(|other| *other != hash).collect();
            self.other_hashes.insert(old, left);
        }
        if let Resolved::Metric(index) = resolved {
            let hashes = self.hashes(index);
            // Nearly all have their own only.
            if !hashes.contains(&hash) {
                let hashes = hashes.iter().copied().chain([hash]).collect();
                self.other_hashes.insert(index, hashes);
            }
        }
    }

    /// Withdraws the metrics of the same name that are declared differently and not in use.
    pub(super) fn withdraw_conflicting(
        &mut self,
        state: &ComponentState,
        metric: &Metric,
        names: &mut NameTable,
        is_in_use: impl Fn(u64) -> bool,
    ) {
        let conflicts = |index: &u32| {
            step();
            Overlap::of(self.all[*index as usize].metric(), metric) == Overlap::Clash
                && !self.is_in_use(*index, &is_in_use)
        };
        let affected: Vec<u32> = self.by_name(&metric.name).iter().copied().filter(conflicts).collect();
        self.withdraw(&affected);
        if let Some(index) = affected.first()
            && self.by_name(&metric.name).is_empty()
        {
            names.release(self.all[*index as usize].family(), state);
        }
    }

    fn withdraw(&mut self, indices: &[u32]) {
        for index in indices {
            step();
            self.all[*index as usize].withdraw();
            self.remove_name(*index);
        }
        if !indices.is_empty() {
            self.gauges.mark_withdrawn(&self.all);
        }
    }

    fn remove_name(&mut self, index: u32) {
        let mut places = self.places(&self.all[index as usize].metric().name);
        if let Some(place) = places.find(|place| self.by_name[*place] == index) {
            self.by_name.remove(place);
        }
    }

    fn remove_unused(&mut self, state: &ComponentState, names: &mut NameTable, has_owner: impl Fn(u64) -> bool) {
        let mut kept: Vec<bool> = (0..self.all.len() as u32).map(|index| self.is_in_use(index, &has_owner)).collect();
        let layouts = self.live.iter().filter_map(|live| live.layout.as_ref());
        for slot in layouts.flat_map(|layout| &layout.slots) {
            kept[slot.aggregate as usize] = true;
        }
        // A guest's handles keep their series, whatever metric has the hash now.
        self.gauges.aggregates().for_each(|index| kept[index] = true);
        for (kept, aggregate) in kept.iter_mut().zip(&self.all) {
            *kept |= aggregate.has_handles() || aggregate.is_removed();
        }
        self.by_hash.retain(|hash, resolved| match resolved {
            Resolved::Metric(index) => kept[*index as usize],
            Resolved::Conflict => has_owner(*hash),
        });
        for (index, _) in kept.into_iter().enumerate().filter(|(_, kept)| !kept) {
            step();
            self.remove_name(index as u32);
            if self.by_name(&self.all[index].metric().name).is_empty() {
                names.release(self.all[index].family(), state);
            }
            let aggregate = &mut self.all[index];
            self.resolved -= usize::from(aggregate.is_resolved());
            aggregate.remove(&mut self.budget, &mut self.room);
            self.other_hashes.remove(&(index as u32));
            self.removed.push(index as u32);
        }
        self.declared.set(self.metrics());
        // No live instance has one of the removed metrics.
        self.layouts.clear();
    }

    /// Exports a metric, unless another one has its name. `prepared` is its aggregate, if it was
    /// made before.
    pub(super) fn declare(
        &mut self,
        state: &Arc<ComponentState>,
        metric: &Arc<Metric>,
        wanted: &WantedFamily,
        prepared: Option<Aggregate>,
        names: &mut NameTable,
    ) -> Resolved {
        self.conflicts.remove(&metric.name);
        for index in self.by_name(&metric.name) {
            step();
            let known = &self.all[*index as usize];
            match Overlap::of(known.metric(), metric) {
                Overlap::Same => return Resolved::Metric(*index),
                Overlap::Disjoint => {}
                Overlap::Clash => {
                    let reason = wanted.info.conflict_with(known.family(), "this component", None);
                    return self.conflict(metric, reason);
                }
            }
        }
        let identity = &state.identity;
        let family = match names.export(wanted, state) {
            Ok(family) => family,
            Err(conflict) => return self.conflict(metric, conflict.describe(Some(identity))),
        };
        let index = if let Some(Resolved::Metric(index)) = self.by_hash.get(&metric.hash).copied() {
            // It was withdrawn, and continues with the values that it has.
            self.all[index as usize].restore(family, &mut self.room);
            self.gauges.mark_withdrawn(&self.all);
            index
        } else {
            let aggregate = match prepared {
                Some(mut aggregate) => {
                    aggregate.restore(family, &mut self.room);
                    aggregate
                }
                None => Aggregate::new(metric, &state.labels, family, &state.clock),
            };
            match self.removed.pop() {
                Some(index) => {
                    self.all[index as usize] = aggregate;
                    index
                }
                None => {
                    self.all.push(aggregate);
                    self.all.len() as u32 - 1
                }
            }
        };
        let place = self.places(&metric.name).end;
        self.by_name.insert(place, index);
        Resolved::Metric(index)
    }

    fn conflict(&mut self, metric: &Metric, reason: String) -> Resolved {
        if self.conflicts.len() < limits::REJECTED {
            self.conflicts.insert(metric.name.clone(), Rejected { name: metric.name.clone(), reason });
        }
        Resolved::Conflict
    }
}

/// Returns the family of a metric in a tenant.
pub(crate) fn family_of(metric: &Arc<Metric>, tenant: &Arc<str>) -> FamilyInfo {
    let kind = match metric.kind {
        Kind::CounterU64 | Kind::CounterF64 => FamilyKind::Counter,
        Kind::UpDownI64 | Kind::UpDownF64 => FamilyKind::UpDownCounter,
        Kind::GaugeI64 | Kind::GaugeF64 => FamilyKind::Gauge,
        Kind::Info => FamilyKind::Info,
        _ => FamilyKind::Histogram,
    };
    let bounds = if metric.kind.is_exponential() { &classic_bounds(&metric.unit)[..] } else { &metric.buckets };
    FamilyInfo::declared(kind, metric, tenant, bounds)
}
