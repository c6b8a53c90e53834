//! Histograms with explicit bounds. Each series has one sum, and one count for each bucket.
//!
//! A series is a row of words, laid out as in the guest's memory.

use wasmetry_abi::Kind;

use super::accumulator::Accumulator;
use super::counter::latest;
use super::sum::FloatSum;
use super::{EntryBytes, count, sole_observation};
use crate::memory::region::words;
use crate::registry::drop_reason::DropCounts;
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};

/// The values of a histogram with explicit bounds.
#[derive(Debug)]
pub(super) struct Histogram {
    kind: Kind,
    bounds: Vec<f64>,
    /// The words of each series, as in an entry: the sum, then the count of each bucket. The sum of
    /// a histogram of `f64` is 0 here.
    words: Vec<u64>,
    /// The sum of each series of a histogram of `f64`, else empty.
    sums: Vec<FloatSum>,
}

impl Histogram {
    pub(super) fn new(kind: Kind, bounds: &[f64]) -> Self {
        Self { kind, bounds: bounds.to_vec(), words: Vec::new(), sums: Vec::new() }
    }

    /// Returns the number of words of one series: the sum and a count for each bucket. An instance
    /// keeps a copy of all of them between two reads.
    pub(super) fn last_seen_words(&self) -> usize {
        self.bounds.len() + 2
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.words.resize(rows * self.last_seen_words(), 0);
        if self.kind == Kind::HistogramF64 {
            self.sums.resize(rows, FloatSum::default());
        }
    }

    /// Returns `true` if an instance has recorded in a series.
    pub(super) fn is_used(cells: &[u8]) -> bool {
        words(cells).any(|word| word != 0)
    }

    /// Merges consecutive series from a row on that were never read before.
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, drops: &mut DropCounts) {
        let len = self.last_seen_words();
        let totals = &mut self.words[row * len..];
        if self.kind == Kind::HistogramNanos {
            return count::merge_first(totals, entry.cells, drops);
        }
        let cells = entry.cells.chunks_exact(8 * len);
        for ((totals, sum), cells) in totals.chunks_exact_mut(len).zip(&mut self.sums[row..]).zip(cells) {
            match latest(self.kind, first_word(cells), 0.0) {
                Ok(latest) => sum.add(latest),
                Err(reason) => drops.add(reason, 1),
            }
            count::merge_first(&mut totals[1..], &cells[8..], drops);
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
        let len = self.last_seen_words();
        let totals = &mut self.words[row * len..];
        if self.kind == Kind::HistogramNanos {
            return count::merge_delta(totals, entry.cells, last_seen, drops);
        }
        let series = totals.chunks_exact_mut(len).zip(&mut self.sums[row..]).zip(last_seen.chunks_exact_mut(len));
        for (((totals, sum), last_seen), cells) in series.zip(entry.cells.chunks_exact(8 * len)) {
            let last = f64::from_bits(last_seen[0]);
            match latest(self.kind, first_word(cells), last) {
                Ok(latest) => {
                    sum.add_increase(latest, last);
                    last_seen[0] = latest.to_bits();
                }
                Err(reason) => drops.add(reason, 1),
            }
            count::merge_delta(&mut totals[1..], &cells[8..], &mut last_seen[1..], drops);
        }
    }

    /// Adds the values of a series that guests recorded through the handle API.
    pub(super) fn merge_accumulator(&mut self, row: usize, accumulator: &Accumulator) {
        let len = self.last_seen_words();
        let (sum, buckets) = self.words[row * len..][..len].split_at_mut(1);
        let fractions = accumulator.take(&mut sum[0], buckets);
        if let Some(sum) = self.sums.get_mut(row) {
            sum.add(fractions);
        }
    }

    /// Returns `true` if a series has a value in any instance, so that it is exported.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        let len = self.last_seen_words();
        self.words[row * len..][..len].iter().any(|word| *word != 0)
            || self.sums.get(row).is_some_and(|sum| sum.value() != 0.0)
    }

    pub(super) fn snapshot(&self, rows: &Rows) -> Values {
        let len = self.last_seen_words();
        let (mut counts, mut sums) = (Vec::new(), Vec::new());
        for row in rows.indices(self.words.len() / len) {
            let words = &self.words[row * len..][..len];
            counts.extend_from_slice(&words[1..]);
            sums.push(self.sums.get(row).map_or(Number::Nanos(words[0]), |sum| Number::Float(sum.value())));
        }
        Values::Histograms { counts, sums }
    }

    /// Returns the value of one series if it was the only one since the last read.
    pub(super) fn sole_observation(&self, cells: &[u8], last_seen: Option<&[u64]>) -> Option<Number> {
        let last = |at: usize| last_seen.and_then(|words| words.get(at)).copied().unwrap_or(0);
        let mut words = words(cells);
        let sum = words.next()?;
        let mut risen = None;
        for (at, count) in words.enumerate() {
            match count.wrapping_sub(last(at + 1)) {
                0 => {}
                1 if risen.is_none() => risen = Some(at),
                _ => return None,
            }
        }
        let value = sole_observation::sum_increase(self.kind, sum, last(0))?;
        // Sum and bucket disagree if the guest was read between their two stores, or is hostile.
        (risen? == sole_observation::bucket(&self.bounds, value)).then_some(value)
    }
}

fn first_word(cells: &[u8]) -> u64 {
    words(cells).next().unwrap_or(0)
}
