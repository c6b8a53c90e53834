//! Histograms with explicit bounds: merges those of many instances into one.
//!
//! In a guest's memory, each series is a *cell*: a sum, then the count of each bucket, in words of
//! 64 bits. With the bounds 0.1 and 1, and the observations 0.05, 0.5 and 0.75:
//!
//! ```text
//! ┌──────┬─────────────┬───────────┬────────────┐
//! │ sum  │ up to 0.1   │ up to 1   │ up to +Inf │
//! ├──────┼─────────────┼───────────┼────────────┤
//! │ 1.3  │ 1           │ 2         │ 0          │
//! └──────┴─────────────┴───────────┴────────────┘
//! ```
//!
//! Each observation is counted in one bucket only. The sum is a number of nanoseconds
//! ([`Kind::HistogramNanos`]) or the bits of an `f64` ([`Kind::HistogramF64`]).
//!
//! Cells are cumulative. The first read of an instance adds the whole cell to the totals of its
//! series. Each later read adds the difference to the cell as it was *last seen*, a copy that the
//! instance keeps. A series is known by its *row*, its index in the totals.

use wasmetry_abi::Kind;

use super::EntryBytes;
use super::accumulator::{AccumulatedSums, Accumulator};
use super::exemplar::sole_observation;
use super::sum::{FloatSum, count};
use crate::memory::region::words;
use crate::registry::drop_reason::DropCounts;
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};

/// The totals of a histogram with explicit bounds: a sum and the counts of all buckets, for each
/// series.
#[derive(Debug)]
pub(super) struct Histogram {
    kind: Kind,
    bounds: Vec<f64>,
    /// One sum for each series.
    sums: Sums,
    /// The counts of the first series, then those of the second, and so on.
    counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn new(kind: Kind, bounds: &[f64]) -> Self {
        Self { kind, bounds: bounds.to_vec(), sums: Sums::new(kind), counts: Vec::new() }
    }

    /// Returns the number of words that an instance keeps of each series between two reads: all
    /// those of its cell.
    pub(super) fn last_seen_words(&self) -> usize {
        1 + self.buckets()
    }

    /// Sets the number of series. New ones are empty.
    pub(super) fn resize(&mut self, rows: usize) {
        self.sums.resize(rows);
        self.counts.resize(rows * self.buckets(), 0);
    }

    /// Returns the bytes of all series.
    pub(super) fn memory(&self) -> usize {
        size_of::<u64>() * (self.bounds.len() + self.counts.capacity()) + self.sums.memory()
    }

    /// Returns `true` if an instance has observed a value in any of these cells.
    pub(super) fn is_used(cells: &[u8]) -> bool {
        words(cells).any(|word| word != 0)
    }

    /// Adds the cells of an instance that is read for the first time.
    ///
    /// The first cell belongs to the series in `first_row`, the second to the one in the next row,
    /// and so on.
    pub(super) fn merge_first(&mut self, first_row: usize, entry: EntryBytes<'_>, drops: &mut DropCounts) {
        let cells = Cell::split(entry.cells, self.last_seen_words());
        for (row, cell) in (first_row..).zip(cells) {
            self.sums.merge_first(row, cell.sum, drops);
            count::add_all_first(self.counts_mut(row), cell.counts, drops);
        }
    }

    /// Adds the increases of an instance's cells since its last read, and keeps the cells for the
    /// next one. The rows are those of [`merge_first`](Self::merge_first).
    pub(super) fn merge_delta(
        &mut self,
        first_row: usize,
        entry: EntryBytes<'_>,
        last_seen: &mut [u64],
        drops: &mut DropCounts,
    ) {
        let cell_words = self.last_seen_words();
        let cells = Cell::split(entry.cells, cell_words).zip(last_seen.chunks_exact_mut(cell_words));
        for (row, (cell, last_seen)) in (first_row..).zip(cells) {
            let [last_sum, last_counts @ ..] = last_seen else { continue };
            self.sums.merge_increase(row, cell.sum, last_sum, drops);
            count::add_all_increases(self.counts_mut(row), cell.counts, last_counts, drops);
        }
    }

    /// Adds the values of one series that guests recorded through the handle API.
    pub(super) fn merge_accumulator(&mut self, row: usize, accumulator: &Accumulator) {
        let sums = accumulator.take(self.counts_mut(row));
        self.sums.add(row, sums);
    }

    /// Returns `true` if a series has a value, so that it is exported.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        self.counts(row).iter().any(|count| *count != 0) || !self.sums.is_zero(row)
    }

    /// Copies the totals of some series.
    pub(super) fn snapshot(&self, rows: &Rows) -> Values {
        let len = self.sums.len();
        let mut counts = Vec::new();
        rows.indices(len).for_each(|row| counts.extend_from_slice(self.counts(row)));
        let sums = rows.indices(len).map(|row| self.sums.number(row)).collect();
        Values::Histograms { counts, sums }
    }

    /// Returns the value that an instance has observed in a series since its last read, if it has
    /// observed exactly one: then one count is greater by 1, and the sum by the value.
    ///
    /// `last_seen` is `None` if the instance was never read.
    pub(super) fn sole_observation(&self, cell: &[u8], last_seen: Option<&[u64]>) -> Option<Number> {
        let cell = Cell::parse(cell)?;
        let (last_sum, last_counts) = match last_seen {
            Some([last_sum, last_counts @ ..]) => (*last_sum, last_counts),
            _ => (0, &[][..]),
        };
        let bucket = sole_increase(cell.counts, last_counts)?;
        let value = sole_observation::sum_increase(self.kind, cell.sum, last_sum)?;
        // A guest stores the count and the sum one after the other. If it is read in between, or is
        // hostile, they belong to different values.
        (bucket == sole_observation::bucket(&self.bounds, value)).then_some(value)
    }

    /// Returns the number of buckets of a series, including that of `+Inf`.
    fn buckets(&self) -> usize {
        self.bounds.len() + 1
    }

    fn counts(&self, row: usize) -> &[u64] {
        let buckets = self.buckets();
        &self.counts[row * buckets..][..buckets]
    }

    fn counts_mut(&mut self, row: usize) -> &mut [u64] {
        let buckets = self.buckets();
        &mut self.counts[row * buckets..][..buckets]
    }
}

/// Returns the index of the count that has increased by 1, if no other has changed.
///
/// The counts are words in a guest's memory. Those that were not seen before were 0.
fn sole_increase(counts: &[u8], last_counts: &[u64]) -> Option<usize> {
    let last_counts = last_counts.iter().copied().chain(std::iter::repeat(0));
    let increases = words(counts).zip(last_counts).map(|(count, last)| count.wrapping_sub(last));
    let mut increased = increases.enumerate().filter(|(_, increase)| *increase != 0);
    match (increased.next(), increased.next()) {
        (Some((bucket, 1)), None) => Some(bucket),
        _ => None,
    }
}

/// The cell of one series in a guest's memory.
#[derive(Clone, Copy, Debug)]
struct Cell<'a> {
    /// Nanoseconds, or the bits of an `f64`.
    sum: u64,
    /// The words of the counts.
    counts: &'a [u8],
}

impl<'a> Cell<'a> {
    fn parse(cell: &'a [u8]) -> Option<Self> {
        let (sum, counts) = cell.split_first_chunk()?;
        Some(Self { sum: u64::from_le_bytes(*sum), counts })
    }

    /// Splits the cells of consecutive series.
    fn split(cells: &'a [u8], cell_words: usize) -> impl Iterator<Item = Self> {
        cells.chunks_exact(8 * cell_words).filter_map(Self::parse)
    }
}

/// The sum of each series, in the number type of its kind.
#[derive(Debug)]
enum Sums {
    Nanos(Vec<u64>),
    Floats(Vec<FloatSum>),
}

impl Sums {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::HistogramNanos => Self::Nanos(Vec::new()),
            _ => Self::Floats(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nanos(sums) => sums.len(),
            Self::Floats(sums) => sums.len(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Nanos(sums) => size_of::<u64>() * sums.capacity(),
            Self::Floats(sums) => size_of::<FloatSum>() * sums.capacity(),
        }
    }

    fn resize(&mut self, rows: usize) {
        match self {
            Self::Nanos(sums) => sums.resize(rows, 0),
            Self::Floats(sums) => sums.resize(rows, FloatSum::default()),
        }
    }

    /// Adds the sum of a cell that was never read before.
    fn merge_first(&mut self, row: usize, sum: u64, drops: &mut DropCounts) {
        match self {
            Self::Nanos(sums) => count::add_first(&mut sums[row], sum, drops),
            Self::Floats(sums) => sums[row].merge_first(Kind::HistogramF64, sum, drops),
        }
    }

    /// Adds the increase of a cell's sum since the last read.
    fn merge_increase(&mut self, row: usize, sum: u64, last_sum: &mut u64, drops: &mut DropCounts) {
        match self {
            Self::Nanos(sums) => count::add_increase(&mut sums[row], sum, last_sum, drops),
            Self::Floats(sums) => sums[row].merge_increase(Kind::HistogramF64, sum, last_sum, drops),
        }
    }

    /// Adds the sums of values that were recorded through the handle API.
    fn add(&mut self, row: usize, added: AccumulatedSums) {
        match self {
            Self::Nanos(sums) => sums[row] = sums[row].saturating_add(added.whole),
            Self::Floats(sums) => sums[row].add(added.fractions),
        }
    }

    fn is_zero(&self, row: usize) -> bool {
        match self {
            Self::Nanos(sums) => sums[row] == 0,
            Self::Floats(sums) => sums[row].value() == 0.0,
        }
    }

    fn number(&self, row: usize) -> Number {
        match self {
            Self::Nanos(sums) => Number::Nanos(sums[row]),
            Self::Floats(sums) => Number::Float(sums[row].value()),
        }
    }
}
