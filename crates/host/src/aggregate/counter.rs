//! Counters and up/down counters: one number for each series.

use std::slice;

use wasmetry_abi::Kind;

use super::EntryBytes;
use super::accumulator::Accumulator;
use super::sum::{FloatSum, count};
use crate::memory::region::words;
use crate::registry::drop_reason::DropCounts;
use crate::snapshot::labels::ALLOCATION;
use crate::snapshot::number::Number;
use crate::snapshot::{Rows as ShownRows, Values};

/// The values of a counter or an up/down counter.
#[derive(Debug)]
pub(super) struct Counter {
    kind: Kind,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// The sum of a counter of whole numbers that never has another series. Most counters are such.
    One(u64),
    Many(Box<ManyRows>),
}

#[derive(Debug, Default)]
struct ManyRows {
    /// The sum of the whole numbers in each series; an `i64` of an up/down counter.
    whole: Vec<u64>,
    /// The sum of the `f64` in each series. Empty for the kinds that count in whole numbers.
    sums: Vec<FloatSum>,
}

impl Counter {
    /// Words of a series that an instance keeps between two reads.
    pub(super) const LAST_SEEN_WORDS: usize = 1;

    /// Creates the values of a counter without series, or of one that has a single one.
    pub(super) fn new(kind: Kind, is_single: bool) -> Self {
        let rows = if is_single && !has_fractions(kind) { Rows::One(0) } else { Rows::Many(Box::default()) };
        Self { kind, rows }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        if let Rows::Many(many) = &mut self.rows {
            many.whole.resize(rows, 0);
            if has_fractions(self.kind) {
                many.sums.resize(rows, FloatSum::default());
            }
        }
    }

    /// Returns the bytes of all series.
    pub(super) fn memory(&self) -> usize {
        let Rows::Many(many) = &self.rows else { return 0 };
        size_of::<ManyRows>()
            + ALLOCATION
            + size_of::<u64>() * many.whole.capacity()
            + size_of::<FloatSum>() * many.sums.capacity()
    }

    fn whole(&self) -> &[u64] {
        match &self.rows {
            Rows::One(whole) => slice::from_ref(whole),
            Rows::Many(many) => &many.whole,
        }
    }

    fn whole_mut(&mut self) -> &mut [u64] {
        match &mut self.rows {
            Rows::One(whole) => slice::from_mut(whole),
            Rows::Many(many) => &mut many.whole,
        }
    }

    fn sums(&self) -> &[FloatSum] {
        match &self.rows {
            Rows::One(_) => &[],
            Rows::Many(many) => &many.sums,
        }
    }

    fn sums_mut(&mut self) -> &mut [FloatSum] {
        match &mut self.rows {
            Rows::One(_) => &mut [],
            Rows::Many(many) => &mut many.sums,
        }
    }

    /// Returns `true` if an instance has recorded in a series.
    pub(super) fn is_used(cells: &[u8]) -> bool {
        words(cells).any(|word| word != 0)
    }

    /// Merges consecutive series from a row on that were never read before.
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, drops: &mut DropCounts) {
        match self.kind {
            Kind::CounterU64 => count::add_all_first(&mut self.whole_mut()[row..], entry.cells, drops),
            Kind::UpDownI64 => count::add_all_first_signed(&mut self.whole_mut()[row..], entry.cells),
            kind => {
                for (sum, word) in self.sums_mut()[row..].iter_mut().zip(words(entry.cells)) {
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
            Kind::CounterU64 => count::add_all_increases(&mut self.whole_mut()[row..], entry.cells, last_seen, drops),
            Kind::UpDownI64 => count::add_all_changes_signed(&mut self.whole_mut()[row..], entry.cells, last_seen),
            kind => {
                for ((sum, last_seen), word) in self.sums_mut()[row..].iter_mut().zip(last_seen).zip(words(entry.cells))
                {
                    sum.merge_increase(kind, word, last_seen, drops);
                }
            }
        }
    }

    /// Moves in what guests have recorded by handles.
    pub(super) fn merge_accumulator(&mut self, row: usize, accumulator: &Accumulator) {
        let added = accumulator.take(&mut []);
        let kind = self.kind;
        let whole = &mut self.whole_mut()[row];
        *whole = match kind {
            Kind::UpDownF64 => whole.wrapping_add(added.whole),
            _ => whole.saturating_add(added.whole),
        };
        if let Some(sum) = self.sums_mut().get_mut(row) {
            sum.add(added.fractions);
        }
    }

    /// Returns `true` if a series has a value other than 0.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        self.whole()[row] != 0 || self.sums().get(row).is_some_and(|sum| sum.value() != 0.0)
    }

    pub(super) fn snapshot(&self, rows: &ShownRows) -> Values {
        let whole = self.whole();
        let indices = rows.indices(whole.len());
        match (self.kind, rows) {
            (Kind::CounterU64, ShownRows::All) => Values::Unsigned(whole.to_vec()),
            (Kind::CounterU64, ShownRows::Some(_)) => Values::Unsigned(indices.map(|row| whole[row]).collect()),
            (Kind::UpDownI64, _) => {
                Values::Numbers(indices.map(|row| Number::Signed(whole[row].cast_signed())).collect())
            }
            _ => Values::Numbers(indices.map(|row| self.number(row)).collect()),
        }
    }

    /// Returns the sum of the whole numbers and the others; a whole number if there are no others.
    fn number(&self, row: usize) -> Number {
        let (whole, sum) = (self.whole()[row], self.sums()[row].value());
        match self.kind {
            _ if whole == 0 => Number::Float(sum),
            Kind::UpDownF64 if sum == 0.0 => Number::Signed(whole.cast_signed()),
            Kind::UpDownF64 => Number::Float(whole.cast_signed() as f64 + sum),
            _ if sum == 0.0 => Number::Unsigned(whole),
            _ => Number::Float(whole as f64 + sum),
        }
    }
}

fn has_fractions(kind: Kind) -> bool {
    matches!(kind, Kind::CounterF64 | Kind::UpDownF64)
}
