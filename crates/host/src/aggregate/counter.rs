//! Counters and up/down counters: one number for each series.

use wasmetry_abi::Kind;

use super::EntryBytes;
use super::accumulator::Accumulator;
use super::count;
use super::sum::FloatSum;
use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
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
            Kind::CounterU64 => count::merge_first(&mut self.whole[row..], entry.cells, drops),
            Kind::UpDownI64 => count::merge_first_signed(&mut self.whole[row..], entry.cells),
            kind => {
                for (sum, word) in self.sums[row..].iter_mut().zip(words(entry.cells)) {
                    match latest(kind, word, 0.0) {
                        Ok(latest) => sum.add(latest),
                        Err(reason) => drops.add(reason, 1),
                    }
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
            Kind::CounterU64 => count::merge_delta(&mut self.whole[row..], entry.cells, last_seen, drops),
            Kind::UpDownI64 => count::merge_delta_signed(&mut self.whole[row..], entry.cells, last_seen),
            kind => {
                for ((sum, last), word) in self.sums[row..].iter_mut().zip(last_seen).zip(words(entry.cells)) {
                    match latest(kind, word, f64::from_bits(*last)) {
                        Ok(latest) => {
                            sum.add_increase(latest, f64::from_bits(*last));
                            *last = word;
                        }
                        Err(reason) => drops.add(reason, 1),
                    }
                }
            }
        }
    }

    /// Moves in what guests have recorded by handles.
    pub(super) fn merge_accumulator(&mut self, row: usize, accumulator: &Accumulator) {
        let fractions = accumulator.take(&mut self.whole[row], &mut []);
        if let Some(sum) = self.sums.get_mut(row) {
            sum.add(fractions);
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

/// Returns the `f64` in a word, unless it is NaN, or a counter that has fallen below its last
/// value.
///
/// An infinity is a sum that has overflowed in the guest.
pub(super) fn latest(kind: Kind, word: u64, last: f64) -> Result<f64, HostDropReason> {
    let latest = f64::from_bits(word);
    if latest.is_nan() {
        Err(HostDropReason::NotANumber)
    } else if kind == Kind::CounterF64 && latest < last {
        Err(HostDropReason::Decrease)
    } else {
        Ok(latest)
    }
}
