//! The values of one metric, by its kind. A new kind is a new variant here, and a file beside this
//! one with the same methods.

use wasmetry_abi::Kind;

use super::counter::Counter;
use super::entry::{EntryBytes, ReadContext};
use super::exponential::ExponentialHistogram;
use super::gauge::Gauge;
use super::histogram::Histogram;
use crate::declaration::Metric;
use crate::registry::drop_reason::DropCounts;
use crate::registry::family::FamilyInfo;
use crate::snapshot::labels::ALLOCATION;
use crate::snapshot::{Rows, Values as SnapshotValues};

/// The values of a metric, by its kind.
#[derive(Debug)]
pub(super) enum Values {
    Counter(Counter),
    // Boxed, because there may be some million counters.
    Gauge(Box<Gauge>),
    Histogram(Box<Histogram>),
    Exponential(Box<ExponentialHistogram>),
    /// A constant 1.
    Info,
    /// The metric was removed.
    Removed,
}

impl Values {
    pub(super) fn new(metric: &Metric, family: &FamilyInfo) -> Self {
        match metric.kind {
            Kind::GaugeI64 | Kind::GaugeF64 => Self::Gauge(Box::new(Gauge::new(metric.kind, metric.merge))),
            Kind::HistogramF64 | Kind::HistogramNanos => {
                Self::Histogram(Box::new(Histogram::new(metric.kind, family.bounds())))
            }
            Kind::ExponentialF64 | Kind::ExponentialNanos => {
                let values = ExponentialHistogram::new(metric.kind, metric.max_buckets, family.bounds());
                Self::Exponential(Box::new(values))
            }
            Kind::Info => Self::Info,
            _ => Self::Counter(Counter::new(metric.kind, metric.is_dense() && metric.series() == 1)),
        }
    }

    /// Sets the number of rows.
    pub(super) fn resize(&mut self, rows: usize) {
        match self {
            Self::Counter(counter) => counter.resize(rows),
            Self::Gauge(gauge) => gauge.resize(rows),
            Self::Histogram(histogram) => histogram.resize(rows),
            Self::Exponential(exponential) => exponential.resize(rows),
            Self::Info | Self::Removed => {}
        }
    }

    /// Returns the approximate bytes of the values of all rows.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Counter(counter) => counter.memory(),
            Self::Gauge(gauge) => size_of::<Gauge>() + ALLOCATION + gauge.memory(),
            Self::Histogram(histogram) => size_of::<Histogram>() + ALLOCATION + histogram.memory(),
            Self::Exponential(exponential) => size_of::<ExponentialHistogram>() + ALLOCATION + exponential.memory(),
            Self::Info | Self::Removed => 0,
        }
    }

    /// Returns the words of a series that an instance keeps between two reads.
    pub(super) fn last_seen_words(&self) -> usize {
        match self {
            Self::Counter(_) => Counter::LAST_SEEN_WORDS,
            Self::Gauge(_) => Gauge::LAST_SEEN_WORDS,
            Self::Histogram(histogram) => histogram.last_seen_words(),
            Self::Exponential(exponential) => exponential.last_seen_words(),
            Self::Info | Self::Removed => 0,
        }
    }

    /// Returns `true` if an instance has recorded in any of these cells.
    #[inline]
    pub(super) fn is_used(&self, cells: &[u8]) -> bool {
        match self {
            Self::Counter(_) => Counter::is_used(cells),
            Self::Gauge(_) => Gauge::is_used(cells),
            Self::Histogram(_) => Histogram::is_used(cells),
            Self::Exponential(_) => ExponentialHistogram::is_used(cells),
            Self::Info | Self::Removed => false,
        }
    }

    /// Merges consecutive cells of an instance that is read for the first and last time. `row` is
    /// the row of the first cell.
    #[inline]
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, read: ReadContext, drops: &mut DropCounts) {
        match self {
            Self::Counter(counter) => counter.merge_first(row, entry, drops),
            Self::Gauge(gauge) => gauge.merge_first(row, entry, read, drops),
            Self::Histogram(histogram) => histogram.merge_first(row, entry, drops),
            Self::Exponential(exponential) => exponential.merge_first(row, entry, drops),
            Self::Info | Self::Removed => {}
        }
    }

    /// Merges the changes of consecutive cells since the instance was last read.
    #[inline]
    pub(super) fn merge_delta(
        &mut self,
        row: usize,
        entry: EntryBytes<'_>,
        last_seen: &mut [u64],
        read: ReadContext,
        drops: &mut DropCounts,
    ) {
        match self {
            Self::Counter(counter) => counter.merge_delta(row, entry, last_seen, drops),
            Self::Gauge(gauge) => gauge.merge_delta(entry, last_seen, read, drops),
            Self::Histogram(histogram) => histogram.merge_delta(row, entry, last_seen, drops),
            Self::Exponential(exponential) => exponential.merge_delta(row, entry, last_seen, drops),
            Self::Info | Self::Removed => {}
        }
    }

    /// Returns `true` if a row has a value.
    #[inline]
    pub(super) fn is_touched(&self, row: usize) -> bool {
        match self {
            Self::Counter(counter) => counter.is_touched(row),
            Self::Gauge(gauge) => gauge.is_touched(row),
            Self::Histogram(histogram) => histogram.is_touched(row),
            Self::Exponential(exponential) => exponential.is_touched(row),
            Self::Info | Self::Removed => false,
        }
    }

    /// Copies the values of some rows.
    #[inline]
    pub(super) fn snapshot(&self, rows: &Rows) -> SnapshotValues {
        match self {
            Self::Counter(counter) => counter.snapshot(rows),
            Self::Gauge(gauge) => gauge.snapshot(rows),
            Self::Histogram(histogram) => histogram.snapshot(rows),
            Self::Exponential(exponential) => exponential.snapshot(rows),
            Self::Info => SnapshotValues::Unsigned(vec![1]),
            Self::Removed => SnapshotValues::Unsigned(Vec::new()),
        }
    }
}
