//! Resolving: the series that guests look up while they run, instead of declaring them in a binary.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge, Record};

use super::{Aggregates, ComponentState};
use crate::aggregate::{Accumulator, Aggregate, GaugeCell};
use crate::declaration::{self, Metric, Overlap};
use crate::limits;
use crate::memory::layout::Resolved;
use crate::registry::drop_reason::{DropCounts, HostDropReason, ReportedDrops};
use crate::registry::family::WantedFamily;
use crate::registry::name_table::NameTable;

/// A series that a guest requests. The labels are sorted by key.
#[derive(Debug)]
pub(crate) struct SeriesRequest<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) merge: Merge,
    pub(crate) bounds: &'a [f64],
    pub(crate) labels: Vec<(&'a str, &'a str)>,
}

impl SeriesRequest<'_> {
    /// Returns the hash that identifies the metric in its component, as a declaration's hash does.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.kind, self.merge, self.name, self.unit).hash(&mut hasher);
        for bound in self.bounds {
            bound.to_bits().hash(&mut hasher);
        }
        for (key, _) in &self.labels {
            key.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Returns `true` if the request is for this metric. The help may differ.
    fn is_for(&self, metric: &Metric) -> bool {
        let keys = metric.labels.iter().map(|label| label.key.as_str());
        (self.kind, self.merge, self.name, self.unit) == (metric.kind, metric.merge, &metric.name, &metric.unit)
            && *self.bounds == *metric.buckets
            && keys.eq(self.labels.iter().map(|(key, _)| *key))
            && metric.const_labels.is_empty()
    }

    /// Returns the metric, which follows the rules of every declaration.
    ///
    /// # Errors
    ///
    /// Returns the rule that the request breaks.
    pub(crate) fn metric(&self, hash: u64) -> Result<Metric, String> {
        // Label values are the host's, so that an instance has no table of them.
        let shape = LabelShape::Text { capacity: 0, max_len: 0 };
        let labels: Vec<_> = self.labels.iter().map(|(key, _)| LabelSpec { key, shape }).collect();
        let descriptor = Descriptor::new(self.kind, self.name, self.help)
            .with_unit(self.unit)
            .with_merge(self.merge)
            .with_labels(&labels)
            .with_bounds(self.bounds);
        declaration::metric(&Record { hash, bytes: &[], descriptor })
    }
}

/// The result of resolving a metric in a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The component has the metric.
    Found,
    /// The component has another metric of the name.
    Conflict,
    /// Another component of the tenant, or the host, has another metric of the name.
    Taken,
    /// The component has, or has resolved, as many metrics as it may.
    Full,
}

impl Resolution {
    /// Returns the reason to count if the metric was not resolved.
    pub(crate) fn drop_reason(self) -> Option<HostDropReason> {
        match self {
            Self::Found => None,
            Self::Conflict | Self::Taken => Some(HostDropReason::TypeConflict),
            Self::Full => Some(HostDropReason::MetricLimit),
        }
    }
}

/// The location of a series in its component.
#[derive(Debug)]
pub(crate) struct SeriesLocation {
    /// The index of the aggregate.
    pub(crate) aggregate: u32,
    pub(crate) row: u32,
    /// The accumulator for handles; `None` for a gauge.
    pub(crate) accumulator: Option<Arc<Accumulator>>,
}

impl ComponentState {
    /// Finds the series of a metric that the component has, by the metric's hash.
    pub(crate) fn find(&self, hash: u64, request: &SeriesRequest<'_>) -> Option<SeriesLocation> {
        let mut drops = DropCounts::default();
        let location = self.aggregates().find(hash, request, &mut drops);
        for (reason, count) in drops.to_report(&mut ReportedDrops::default()) {
            self.count(reason, count);
        }
        location
    }

    /// Makes an aggregate for a metric that a guest resolves.
    pub(crate) fn resolve(
        self: &Arc<Self>,
        metric: &Arc<Metric>,
        family: &WantedFamily,
        names: &mut NameTable,
        is_in_use: impl Fn(u64) -> bool,
    ) -> Resolution {
        self.aggregates_next().resolve(self, metric, family, names, is_in_use)
    }

    /// Adds a gauge of a live instance.
    pub(crate) fn add_gauge(&self, instance: u64, location: &SeriesLocation, cell: Arc<GaugeCell>) {
        let gauge = ResolvedGauge { aggregate: location.aggregate, row: location.row, cell };
        self.aggregates().gauges.by_instance.entry(instance).or_default().push(gauge);
    }

    /// Ends the gauges of an instance. `ended` is the time of the latest snapshot if none is given.
    pub(crate) fn end_gauges(&self, instance: u64, ended: Option<Duration>) {
        let mut aggregates = self.aggregates();
        let ended = ended.unwrap_or(aggregates.now);
        let Aggregates { gauges, all, .. } = &mut *aggregates;
        for ResolvedGauge { aggregate, row, cell } in gauges.by_instance.remove(&instance).unwrap_or_default() {
            all[aggregate as usize].end_gauge_cell(row, &cell, ended);
        }
    }
}

impl Aggregates {
    fn find(&mut self, hash: u64, request: &SeriesRequest<'_>, drops: &mut DropCounts) -> Option<SeriesLocation> {
        let Some(&Resolved::Metric(index)) = self.by_hash.get(&hash) else { return None };
        let aggregate = &mut self.all[index as usize];
        if aggregate.is_withdrawn() || !request.is_for(aggregate.metric()) {
            return None;
        }
        let mut labels = [""; limits::LABELS];
        for (label, (_, value)) in labels.iter_mut().zip(&request.labels) {
            *label = value;
        }
        let row = aggregate.resolve(&labels[..request.labels.len()], &mut self.budget, drops);
        Some(SeriesLocation { aggregate: index, row, accumulator: aggregate.accumulator(row) })
    }

    fn resolve(
        &mut self,
        state: &Arc<ComponentState>,
        metric: &Arc<Metric>,
        family: &WantedFamily,
        names: &mut NameTable,
        is_in_use: impl Fn(u64) -> bool,
    ) -> Resolution {
        self.withdraw_conflicting(state, metric, names, is_in_use);
        let same_name = self.by_name(&metric.name).iter().map(|index| self.all[*index as usize].metric());
        let mut overlaps = same_name.map(|known| Overlap::of(known, metric));
        if overlaps.any(|overlap| overlap == Overlap::Clash) {
            return Resolution::Conflict;
        }
        // Two metrics have one hash with a probability of 2⁻⁶⁴.
        if let Some(known) = self.by_hash.get(&metric.hash).and_then(|known| self.get(*known))
            && Overlap::of(known.metric(), metric) != Overlap::Same
        {
            return Resolution::Conflict;
        }
        // The names of a counter `x_total` and a gauge `x` conflict too.
        if names
            .conflicting(state.identity.tenant(), family)
            .is_some_and(|known| !self.by_name(known.name()).is_empty())
        {
            return Resolution::Conflict;
        }
        let has_room = (self.resolved as u64) < state.limits.resolved_metrics && self.take_metric();
        if !has_room {
            return Resolution::Full;
        }
        let before = self.metrics();
        let Resolved::Metric(index) = self.declare(state, metric, family, None, names) else {
            return Resolution::Taken;
        };
        if self.metrics() > before {
            self.all[index as usize].set_resolved();
            self.resolved += 1;
        }
        self.set_hash(metric.hash, Resolved::Metric(index));
        self.layouts.clear();
        Resolution::Found
    }
}

/// The gauges that live instances have resolved, by the number of the instance.
#[derive(Debug, Default)]
pub(super) struct GaugeCells {
    by_instance: HashMap<u64, Vec<ResolvedGauge>>,
}

#[derive(Debug)]
struct ResolvedGauge {
    aggregate: u32,
    row: u32,
    cell: Arc<GaugeCell>,
}

impl GaugeCells {
    /// Returns the indices of the aggregates that have such gauges.
    pub(super) fn aggregates(&self) -> impl Iterator<Item = usize> {
        self.by_instance.values().flatten().map(|gauge| gauge.aggregate as usize)
    }

    /// Marks the gauges whose metrics are withdrawn.
    pub(super) fn mark_withdrawn(&self, aggregates: &[Aggregate]) {
        for gauge in self.by_instance.values().flatten() {
            gauge.cell.set_withdrawn(aggregates[gauge.aggregate as usize].is_withdrawn());
        }
    }

    /// Adds the values of the gauges to a snapshot.
    pub(super) fn add_to_snapshot(&self, aggregates: &mut [Aggregate]) {
        for gauge in self.by_instance.values().flatten() {
            aggregates[gauge.aggregate as usize].add_gauge_cell(gauge.row, &gauge.cell);
        }
    }
}
