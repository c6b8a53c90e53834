//! Exemplars: values with the trace in which they were observed.

pub(super) mod sole_observation;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

use crate::limits;
use crate::snapshot::Rows;
use crate::snapshot::number::Number;

/// A value, and the trace in which it was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// The value, which is in the bucket of the exemplar.
    pub value: Number,
    /// The trace.
    pub trace_id: TraceId,
    /// The span of the request in which it was observed: the host's server span.
    pub span_id: SpanId,
    /// The time at which it was read, by the wall clock, in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
}

impl Exemplar {
    pub(crate) fn new(value: Number, context: TraceContext, time: u64) -> Self {
        Self { value, trace_id: context.trace_id, span_id: context.span_id, time }
    }
}

/// The latest exemplar of each bucket that has one, by row and bucket.
#[derive(Debug, Default)]
pub(crate) struct Exemplars {
    latest: BTreeMap<(u32, u32), Exemplar>,
}

impl Exemplars {
    /// The approximate bytes of an exemplar, and of its place in the tree.
    pub(crate) const BYTES: usize = 2 * size_of::<((u32, u32), Exemplar)>();

    /// Replaces the exemplar of a bucket. A first one is added if `may_grow` returns `true`.
    pub(crate) fn keep(&mut self, row: u32, bucket: u32, exemplar: Exemplar, may_grow: impl FnOnce() -> bool) {
        match self.latest.entry((row, bucket)) {
            Entry::Occupied(mut place) => _ = place.insert(exemplar),
            Entry::Vacant(place) if may_grow() => _ = place.insert(exemplar),
            Entry::Vacant(_) => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.latest.len()
    }

    /// Returns the exemplars of some rows, for a snapshot.
    pub(crate) fn of(&self, rows: &Rows) -> Vec<SeriesExemplar> {
        // Nearly all metrics have none.
        if self.latest.is_empty() {
            return Vec::new();
        }
        let at = |index: usize, ((_, bucket), exemplar): (&(u32, u32), &Exemplar)| SeriesExemplar {
            index,
            bucket: *bucket,
            exemplar: *exemplar,
        };
        match rows {
            Rows::All => self.latest.iter().map(|latest| at(latest.0.0 as usize, latest)).collect(),
            Rows::Some(rows) => {
                let of_row = |(index, row): (usize, &u32)| {
                    self.latest.range((*row, 0)..=(*row, u32::MAX)).map(move |latest| at(index, latest))
                };
                rows.iter().enumerate().flat_map(of_row).collect()
            }
        }
    }
}

/// An exemplar in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SeriesExemplar {
    /// The series, by its index in the block.
    pub(crate) index: usize,
    pub(crate) bucket: u32,
    pub(crate) exemplar: Exemplar,
}

/// A value that becomes an exemplar if the trace of its request is exported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingExemplar {
    /// The hash of the metric.
    pub(crate) metric: u64,
    pub(crate) row: u32,
    pub(crate) bucket: u32,
    pub(crate) value: Number,
}

/// The request that a guest serves while it is read, whose trace exemplars point to.
#[derive(Debug)]
pub(crate) struct ExemplarContext<'a> {
    pub(crate) context: TraceContext,
    /// The wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) time: u64,
    /// The exemplars that wait until it is known whether the trace is exported; `None` if it is.
    pub(crate) held: Option<&'a mut Vec<PendingExemplar>>,
}

impl ExemplarContext<'_> {
    /// Keeps an exemplar until the request has ended. Returns `false` if its trace is exported
    /// already.
    pub(crate) fn hold(&mut self, candidate: PendingExemplar) -> bool {
        let Some(held) = &mut self.held else { return false };
        if held.len() < limits::PENDING_EXEMPLARS {
            held.push(candidate);
        }
        true
    }
}
