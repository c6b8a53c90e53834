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

use std::sync::Arc;

use wasmetry_abi::Kind;
use wasmetry_abi::layout::GuestDropReason;

use super::{Aggregates, ComponentState};
use crate::aggregate::Aggregate;
use crate::aggregate::exponential::counts::classic_bounds;
use crate::declaration::{Metric, Overlap, Rejected};
use crate::memory::layout::Resolved;
use crate::registry::drop_reason::HostDropReason;
use crate::registry::family::{Families, FamilyInfo, FamilyKind, Owner};
use crate::registry::start_time::Clock;
use crate::{Declarations, Identity, limits};

impl ComponentState {
    /// Makes aggregates for what a binary of this identity declares.
    ///
    /// `is_in_use` returns `true` for the hash of a metric that a binary in use declares.
    pub(crate) fn declare(
        &self,
        declarations: &Declarations,
        families: &mut Families,
        is_in_use: impl Fn(u64) -> bool,
    ) {
        let mut aggregates = self.aggregates();
        let mut conflicts = 0;
        for metric in declarations.metrics() {
            let known = aggregates.by_hash.get(&metric.hash);
            if known.is_some_and(|known| aggregates.get(*known).is_some_and(|known| !known.is_withdrawn())) {
                continue;
            }
            aggregates.withdraw_conflicting(metric, &is_in_use);
            let resolved = aggregates.declare(metric, &self.identity, families, &self.clock);
            conflicts += u64::from(resolved == Resolved::Conflict);
            aggregates.by_hash.insert(metric.hash, resolved);
            aggregates.layouts.clear();
        }
        if !declarations.sites().is_empty() {
            let sites = Arc::make_mut(&mut aggregates.sites);
            sites.extend(declarations.sites().iter().map(|site| (site.hash, site.clone())));
        }
        drop(aggregates);
        self.routes.declare(declarations.routes());
        if conflicts > 0 {
            self.count(HostDropReason::TypeConflict, conflicts);
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
        let aggregates = self.aggregates();
        let in_use = aggregates.in_use(is_in_use);
        let mut aggregates = aggregates.all.iter().zip(in_use);
        aggregates.any(|(aggregate, is_in_use)| is_in_use && aggregate.is_exported_as(name))
    }

    /// Returns `true` if the component exports a metric of this name.
    pub(crate) fn exports(&self, name: &str) -> bool {
        self.aggregates().exports(name)
    }

    /// Withdraws the metrics of this name.
    pub(crate) fn withdraw(&self, name: &str) {
        self.aggregates().withdraw(|metric| metric.name == name, |_| false);
    }

    /// Removes the metrics that no binary in use declares.
    pub(crate) fn remove_unused(&self, is_in_use: impl Fn(u64) -> bool) {
        self.aggregates().remove_unused(is_in_use);
    }
}

impl Aggregates {
    /// Returns the aggregate of a metric that is not in conflict.
    pub(super) fn get(&self, resolved: Resolved) -> Option<&Aggregate> {
        match resolved {
            Resolved::Metric(index) => self.all.get(index as usize),
            Resolved::Conflict => None,
        }
    }

    pub(super) fn exports(&self, name: &str) -> bool {
        self.all.iter().any(|aggregate| aggregate.is_exported_as(name))
    }

    /// Withdraws the metrics of the same name that are declared differently and not in use.
    pub(super) fn withdraw_conflicting(&mut self, metric: &Metric, is_in_use: impl Fn(u64) -> bool) {
        let conflicts = |other: &Metric| other.name == metric.name && Overlap::of(other, metric) == Overlap::Clash;
        self.withdraw(conflicts, is_in_use);
    }

    fn withdraw(&mut self, is_affected: impl Fn(&Metric) -> bool, is_in_use: impl Fn(u64) -> bool) {
        let in_use = self.in_use(is_in_use);
        for (aggregate, is_in_use) in self.all.iter_mut().zip(in_use) {
            if !is_in_use && !aggregate.is_withdrawn() && is_affected(aggregate.metric()) {
                aggregate.withdraw();
            }
        }
        self.gauges.mark_withdrawn(&self.all);
    }

    /// Returns for each aggregate whether its metric is in use.
    fn in_use(&self, is_in_use: impl Fn(u64) -> bool) -> Vec<bool> {
        let mut in_use = vec![false; self.all.len()];
        for (hash, resolved) in &self.by_hash {
            if let Resolved::Metric(index) = resolved {
                in_use[*index as usize] |= is_in_use(*hash);
            }
        }
        in_use
    }

    fn remove_unused(&mut self, is_in_use: impl Fn(u64) -> bool) {
        let mut kept = self.in_use(&is_in_use);
        let layouts = self.live.iter().filter_map(|live| live.layout.as_ref());
        for slot in layouts.flat_map(|layout| &layout.slots) {
            kept[slot.aggregate as usize] = true;
        }
        // A guest's handles keep their series, whatever metric has the hash now.
        self.gauges.aggregates().for_each(|index| kept[index] = true);
        for (kept, aggregate) in kept.iter_mut().zip(&self.all) {
            *kept |= aggregate.has_handles();
        }
        self.by_hash.retain(|hash, resolved| match resolved {
            Resolved::Metric(index) => kept[*index as usize],
            Resolved::Conflict => is_in_use(*hash),
        });
        for (index, (aggregate, _)) in self.all.iter_mut().zip(kept).enumerate().filter(|(_, (_, kept))| !kept) {
            if !self.removed.contains(&(index as u32)) {
                self.resolved -= usize::from(aggregate.is_resolved());
                aggregate.remove(&mut self.budget);
                self.removed.push(index as u32);
            }
        }
        // No live instance has one of the removed metrics.
        self.layouts.clear();
    }

    pub(super) fn declare(
        &mut self,
        metric: &Metric,
        identity: &Identity,
        families: &mut Families,
        clock: &Clock,
    ) -> Resolved {
        self.conflicts.retain(|conflict| conflict.name != metric.name);
        for (index, known) in self.all.iter().enumerate().filter(|(_, known)| known.is_exported_as(&metric.name)) {
            match Overlap::of(known.metric(), metric) {
                Overlap::Same => return Resolved::Metric(index as u32),
                Overlap::Disjoint => {}
                Overlap::Clash => {
                    let other = family_of(known.metric());
                    let reason = family_of(metric).conflict_with(&other, "this component", None);
                    return self.conflict(metric, reason);
                }
            }
        }
        let family = match families.claim(family_of(metric), Owner::Component(identity.clone())) {
            Ok(family) => family,
            Err(conflict) => return self.conflict(metric, conflict.describe(Some(identity))),
        };
        if let Some(Resolved::Metric(index)) = self.by_hash.get(&metric.hash) {
            // It was withdrawn, and continues with the values that it has.
            let index = *index;
            self.all[index as usize].restore(family);
            self.gauges.mark_withdrawn(&self.all);
            return Resolved::Metric(index);
        }
        let aggregate = Aggregate::new(metric, identity, family, clock);
        if let Some(index) = self.removed.pop() {
            self.all[index as usize] = aggregate;
            return Resolved::Metric(index);
        }
        self.all.push(aggregate);
        Resolved::Metric(self.all.len() as u32 - 1)
    }

    fn conflict(&mut self, metric: &Metric, reason: String) -> Resolved {
        if self.conflicts.len() < limits::REJECTED {
            self.conflicts.push(Rejected { name: metric.name.clone(), reason });
        }
        Resolved::Conflict
    }
}

/// Returns the family of a metric.
pub(crate) fn family_of(metric: &Metric) -> FamilyInfo {
    let kind = match metric.kind {
        Kind::CounterU64 | Kind::CounterF64 => FamilyKind::Counter,
        Kind::UpDownI64 | Kind::UpDownF64 => FamilyKind::UpDownCounter,
        Kind::GaugeI64 | Kind::GaugeF64 => FamilyKind::Gauge,
        Kind::Info => FamilyKind::Info,
        _ => FamilyKind::Histogram,
    };
    let bounds = if metric.kind.is_exponential() { &classic_bounds(&metric.unit) } else { &metric.buckets };
    FamilyInfo::new(&metric.name, kind, &metric.help, &metric.unit, bounds)
}
