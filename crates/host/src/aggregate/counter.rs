//! Counters and up/down counters: one number for each series.

use wasmetry_abi::Kind;

use super::EntryBytes;
use super::accumulator::Accumulator;
use super::sum::{FloatSum, count};
use crate::memory::region::words;
use crate::registry::drop_reason::DropCounts;
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};

/// The values of a counter or an up/down counter.
#[derive(Debug)]
pub(super) struct Counter {
    kind: Kind,
    /// The sum of the whole numbers in each series; an `i64` of an up/down counter.
    whole: Vec<u64>,
    /// The sum of the `f64` in each series. Empty for the kinds that count in whole numbers.
    sums: Vec<FloatSum>,
}

impl Counter {
    /// Words of a series that an instance keeps between two reads.
    pub(super) const LAST_SEEN_WORDS: usize = 1;

    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, whole: Vec::new(), sums: Vec::new() }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.whole.resize(rows, 0);
        if self.has_fractions() {
            self.sums.resize(rows, FloatSum::default());
        }
    }

    /// Returns `true` if an instance has recorded in a series.
    pub(super) fn is_used(cells: &[u8]) -> bool {
        words(cells).any(|word| word != 0)
    }

    /// Merges consecutive series from a row on that were never read before.
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, drops: &mut DropCounts) {
        match self.kind {
            Kind::CounterU64 => count::add_all_first(&mut self.whole[row..], entry.cells, drops),
            Kind::UpDownI64 => count::add_all_first_signed(&mut self.whole[row..], entry.cells),
            kind => {
                for (sum, word) in self.sums[row..].iter_mut().zip(words(entry.cells)) {
                    sum.merge_first(kind, word, drops);
                }
            }
        }
    }

    /// Merges the changes of consecutive series from a row on since the last read.
    pub(super) fn merge_delta(
        &mut self,
        row: usize,
        entry: EntryBytes<'_>,
        last_seen: &mut [u64],
        drops: &mut DropCounts,
    ) {
        match self.kind {
            Kind::CounterU64 => count::add_all_increases(&mut self.whole[row..], entry.cells, last_seen, drops),
            Kind::UpDownI64 => count::add_all_changes_signed(&mut self.whole[row..], entry.cells, last_seen),
            kind => {
                for ((sum, last_seen), word) in self.sums[row..].iter_mut().zip(last_seen).zip(words(entry.cells)) {
                    sum.merge_increase(kind, word, last_seen, drops);
                }
            }
        }
    }

    /// Moves in what guests have recorded by handles.
    pub(super) fn merge_accumulator(&mut self, row: usize, accumulator: &Accumulator) {
        let added = accumulator.take(&mut []);
        let whole = &mut self.whole[row];
        *whole = match self.kind {
            Kind::UpDownF64 => whole.wrapping_add(added.whole),
            _ => whole.saturating_add(added.whole),
        };
        if let Some(sum) = self.sums.get_mut(row) {
            sum.add(added.fractions);
        }
    }

    /// Returns `true` if a series has a value other than 0.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        self.whole[row] != 0 || self.sums.get(row).is_some_and(|sum| sum.value() != 0.0)
    }

    pub(super) fn snapshot(&self, rows: &Rows) -> Values {
        let indices = rows.indices(self.whole.len());
        match (self.kind, rows) {
            (Kind::CounterU64, Rows::All) => Values::Unsigned(self.whole.clone()),
            (Kind::CounterU64, Rows::Some(_)) => Values::Unsigned(indices.map(|row| self.whole[row]).collect()),
            (Kind::UpDownI64, _) => {
                Values::Numbers(indices.map(|row| Number::Signed(self.whole[row].cast_signed())).collect())
            }
            _ => Values::Numbers(indices.map(|row| self.number(row)).collect()),
        }
    }

    fn has_fractions(&self) -> bool {
        matches!(self.kind, Kind::CounterF64 | Kind::UpDownF64)
    }

    /// Returns the sum of the whole numbers and the others; a whole number if there are no others.
    fn number(&self, row: usize) -> Number {
        let (whole, sum) = (self.whole[row], self.sums[row].value());
        match self.kind {
            _ if whole == 0 => Number::Float(sum),
            Kind::UpDownF64 if sum == 0.0 => Number::Signed(whole.cast_signed()),
            Kind::UpDownF64 => Number::Float(whole.cast_signed() as f64 + sum),
            _ if sum == 0.0 => Number::Unsigned(whole),
            _ => Number::Float(whole as f64 + sum),
        }
    }
}
