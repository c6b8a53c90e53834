//! Metrics that guests resolve while they run, rather than declare in their binary.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge, Record};

use super::{Aggregates, ComponentState, family_of};
use crate::aggregate::{Accumulator, Aggregate, Current, GaugeCell};
use crate::declaration::{self, Metric, Overlap};
use crate::limits;
use crate::memory::layout::Resolved;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::registry::family::Families;

/// A series as a guest asks for it. The labels are sorted by key.
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
    /// What stands for the metric in the component, as a declaration's hash does.
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

    /// Whether this is the metric; the help may differ.
    fn is(&self, metric: &Metric) -> bool {
        let keys = metric.labels.iter().map(|label| label.key.as_str());
        (self.kind, self.merge, self.name, self.unit) == (metric.kind, metric.merge, &metric.name, &metric.unit)
            && self.bounds == metric.buckets
            && keys.eq(self.labels.iter().map(|(key, _)| *key))
            && metric.const_labels.is_empty()
    }

    /// The metric, by the rules that every declaration keeps.
    pub(crate) fn metric(&self, hash: u64) -> Result<Metric, String> {
        // Its texts lie on the host, so that an instance has no table.
        let shape = LabelShape::Text { capacity: 0, max_len: limits::LABEL_VALUE as u32 };
        let labels: Vec<_> = self.labels.iter().map(|(key, _)| LabelSpec { key, shape }).collect();
        let descriptor = Descriptor::new(self.kind, self.name, self.help)
            .with_unit(self.unit)
            .with_merge(self.merge)
            .with_labels(&labels)
            .with_bounds(self.bounds);
        declaration::metric(&Record { hash, bytes: &[], descriptor })
    }
}

/// Whether a component has a metric that one of its guests has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It has the metric.
    Known,
    /// It has another one of the name.
    Clash,
    /// Another component has the name, or the host.
    Taken,
    /// It has as many as it may have.
    Full,
}

/// Where a series lies in a component.
#[derive(Debug)]
pub(crate) struct SeriesLocation {
    pub(crate) total: u32,
    pub(crate) row: u32,
    /// What is recorded in, unless it is a gauge.
    pub(crate) pending: Option<Arc<Accumulator>>,
}

impl ComponentState {
    /// Finds the series of a metric that the component has, by the metric's hash.
    pub(crate) fn find(&self, hash: u64, wanted: &SeriesRequest<'_>) -> Option<SeriesLocation> {
        let mut drops = DropCounts::default();
        let place = self.totals().find(hash, wanted, &mut drops);
        for (offence, count) in drops.charge(&mut Default::default()) {
            self.count(offence, count);
        }
        place
    }

    /// Makes totals for a metric that a guest has asked for.
    pub(crate) fn adopt(
        &self,
        metric: &Metric,
        families: &mut Families,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Resolution {
        self.totals().adopt(self, metric, families, is_wanted)
    }

    /// Keeps a gauge of an instance for as long as the instance lives.
    pub(crate) fn hold(&self, instance: u64, place: &SeriesLocation, setting: Arc<GaugeCell>) {
        let held = ResolvedGauge { total: place.total, row: place.row, setting };
        self.totals().settings.by_instance.entry(instance).or_default().push(held);
    }

    /// Keeps what an instance leaves of its gauges; `ended` is the moment of the latest snapshot where none is given.
    pub(crate) fn release(&self, instance: u64, ended: Option<Duration>) {
        let mut totals = self.totals();
        let ended = ended.unwrap_or(totals.now);
        let Aggregates { settings, totals, .. } = &mut *totals;
        for ResolvedGauge { total, row, setting } in settings.by_instance.remove(&instance).unwrap_or_default() {
            totals[total as usize].retire_setting(row, &setting, ended);
        }
    }
}

impl Aggregates {
    fn find(&mut self, hash: u64, wanted: &SeriesRequest<'_>, drops: &mut DropCounts) -> Option<SeriesLocation> {
        let Some(Resolved::Metric(index)) = self.meanings.get(&hash) else { return None };
        let total = &mut self.totals[*index as usize];
        if total.is_withdrawn() || !wanted.is(total.metric()) {
            return None;
        }
        let mut labels = [""; limits::LABELS];
        for (label, (_, value)) in labels.iter_mut().zip(&wanted.labels) {
            *label = value;
        }
        let row = total.resolve(&labels[..wanted.labels.len()], &mut self.budget, drops);
        let is_gauge = matches!(wanted.kind, Kind::GaugeI64 | Kind::GaugeF64);
        Some(SeriesLocation { total: *index, row, pending: (!is_gauge).then(|| total.pending(row)) })
    }

    fn adopt(
        &mut self,
        state: &ComponentState,
        metric: &Metric,
        families: &mut Families,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Resolution {
        self.give_way(metric, is_wanted);
        let namesakes = self.totals.iter().filter(|total| !total.is_withdrawn() && total.metric().name == metric.name);
        let mut overlaps = namesakes.map(|total| Overlap::of(total.metric(), metric));
        if overlaps.any(|overlap| overlap == Overlap::Clash) {
            return Resolution::Clash;
        }
        // Two metrics with one hash are one chance in 2⁶⁴, which is not worth more than a refusal.
        if let Some(known) = self.meanings.get(&metric.hash).and_then(|known| self.total(*known))
            && Overlap::of(known.metric(), metric) != Overlap::Same
        {
            return Resolution::Clash;
        }
        // A counter `x_total` and a gauge `x` have a name in common too.
        if families.in_the_way(&family_of(metric)).is_some_and(|family| self.exports(&family)) {
            return Resolution::Clash;
        }
        if self.resolved >= limits::RESOLVED_METRICS {
            return Resolution::Full;
        }
        let before = self.totals.len() - self.vacant.len();
        let Resolved::Metric(index) = self.declare(metric, &state.identity, families, &state.clock) else {
            return Resolution::Taken;
        };
        if self.totals.len() - self.vacant.len() > before {
            self.totals[index as usize].set_resolved();
            self.resolved += 1;
        }
        self.meanings.insert(metric.hash, Resolved::Metric(index));
        self.layouts.clear();
        Resolution::Known
    }
}

/// The gauges that instances which are alive have resolved, by the instance's number.
#[derive(Debug, Default)]
pub(super) struct GaugeCells {
    by_instance: HashMap<u64, Vec<ResolvedGauge>>,
}

#[derive(Debug)]
struct ResolvedGauge {
    total: u32,
    row: u32,
    setting: Arc<GaugeCell>,
}

impl GaugeCells {
    /// The totals that have such gauges, by their index.
    pub(super) fn totals(&self) -> impl Iterator<Item = usize> {
        self.by_instance.values().flatten().map(|held| held.total as usize)
    }

    /// Tells each gauge whether its metric is shown.
    pub(super) fn mark(&self, totals: &[Aggregate]) {
        for ResolvedGauge { total, setting, .. } in self.by_instance.values().flatten() {
            setting.set_withdrawn(totals[*total as usize].is_withdrawn());
        }
    }

    /// Adds the values that the gauges have now.
    pub(super) fn add_to(&self, current: &mut [Current], totals: &[Aggregate]) {
        for ResolvedGauge { total, row, setting } in self.by_instance.values().flatten() {
            let total = *total as usize;
            totals[total].add_setting(&mut current[total], *row, setting);
        }
    }
}

/// What to count where a metric is not resolved.
impl Resolution {
    pub(crate) fn offence(self) -> Option<HostDropReason> {
        match self {
            Self::Known => None,
            Self::Clash | Self::Taken => Some(HostDropReason::TypeConflict),
            Self::Full => Some(HostDropReason::MetricLimit),
        }
    }
}
