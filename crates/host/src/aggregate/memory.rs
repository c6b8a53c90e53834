//! The memory of an aggregate, for the ledger.

use std::sync::Arc;

use super::exemplar::Exemplars;
use super::{Accumulator, Aggregate, Extras, Values};
use crate::declaration::share;
use crate::snapshot::labels::ALLOCATION;

/// The bytes of an aggregate that do not change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FixedBytes {
    /// Those that it shares with the other holders of the declaration.
    metric: u32,
    /// Those that it shares with the other aggregates of the family.
    family: u32,
    own: u32,
}

/// Bytes of a metric's places in the component's and the registry's indexes by hash and name.
const INDEX: usize = 64;

impl FixedBytes {
    /// Returns the bytes of an aggregate that has no series yet, or all that it will ever have.
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let Aggregate { metric, family, table, .. } = aggregate;
        let series = if table.is_dynamic() { 0 } else { aggregate.value_bytes() };
        let own = size_of::<Aggregate>() + INDEX + table.schema_memory() + series;
        let [metric, family, own] = [metric.memory(), family.memory(), own].map(|bytes| bytes as u32);
        Self { metric, family, own }
    }
}

impl Aggregate {
    /// Returns the approximate bytes of the aggregate, its declaration, and all of its series. What
    /// it shares with other components is divided between them.
    pub(crate) fn memory(&self) -> usize {
        let Self { metric, family, fixed, values, table, extras, shown, .. } = self;
        if matches!(values, Values::Removed) {
            return size_of::<Self>();
        }
        // One reference of a family is each accumulator's, and two are the table of names'.
        let accumulators = extras.as_deref().map_or(const { &Vec::new() }, |extras| &extras.accumulators);
        let family = share(family, fixed.family as usize, 2 + accumulators.len());
        // One reference is the binary's declarations, and one the family's that was made for it.
        let metric = share(metric, fixed.metric as usize, 1 + usize::from(self.family.is_declared_by(metric)));
        let handles = match accumulators.last() {
            Some(Some(last)) => {
                let size = size_of::<Accumulator>() + ALLOCATION + last.bucket_bytes();
                size_of::<Option<Arc<Accumulator>>>() * accumulators.capacity() + size * accumulators.len()
            }
            _ => 0,
        };
        let values = if table.is_dynamic() { self.value_bytes() } else { 0 };
        let series = values + table.memory() + shown.memory();
        let extras_of = |extras: &Extras| size_of::<Extras>() + ALLOCATION + Exemplars::BYTES * extras.exemplars.len();
        let extras = extras.as_deref().map_or(0, extras_of);
        fixed.own as usize + metric + family + series + handles + extras
    }

    /// Returns the bytes of the values and start times of all series.
    pub(super) fn value_bytes(&self) -> usize {
        self.values.memory() + self.start_times.memory()
    }
}
