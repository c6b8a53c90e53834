//! Exponential histograms: a sum, and counts of buckets whose width follows the values, for each
//! series. A cell's state has the place of its counts and the width of its buckets; see
//! `crates/abi/FORMAT.md`, section 2.

pub(crate) mod counts;

use wasmetry_abi::Kind;
use wasmetry_abi::exponential::{
    BUCKETS, MAX_BUCKETS, SCRATCH_BUCKETS, STATE, SUM, State, ZERO, ZERO_THRESHOLD, index,
};

use super::EntryBytes;
use super::exemplar::sole_observation;
use super::sum::{FloatSum, count};
use crate::memory::region::u64_at;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};
use counts::{ExponentialCounts, ExponentialValue};

/// The values of an exponential histogram.
#[derive(Debug)]
pub(super) struct ExponentialHistogram {
    shape: Shape,
    rows: Vec<Row>,
}

/// The properties that all series of one metric share.
#[derive(Debug)]
struct Shape {
    kind: Kind,
    max_buckets: u16,
    /// The bounds under which the text formats show the series.
    bounds: Vec<f64>,
}

impl Shape {
    fn words(&self) -> usize {
        BUCKETS + usize::from(self.max_buckets)
    }
}

/// The values of one series.
#[derive(Clone, Debug, Default)]
struct Row {
    counts: ExponentialCounts,
    /// The sum of durations.
    nanos: u64,
    /// The sum of other values.
    sum: FloatSum,
}

impl ExponentialHistogram {
    pub(super) fn new(kind: Kind, max_buckets: u16, bounds: &[f64]) -> Self {
        Self { shape: Shape { kind, max_buckets, bounds: bounds.to_vec() }, rows: Vec::new() }
    }

    /// Returns the words of a series that an instance keeps between two reads: the sum, the state,
    /// the zero count, then the counts from the lowest index on.
    pub(super) fn last_seen_words(&self) -> usize {
        self.shape.words()
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.rows.resize_with(rows, Row::default);
    }

    /// Returns the greatest number of bytes that all series take: those of the counts of all their
    /// buckets, and of a floor for each bound.
    pub(super) fn memory(&self) -> usize {
        let Shape { max_buckets, bounds, .. } = &self.shape;
        let words = usize::from(*max_buckets) + bounds.len() + 1;
        size_of::<u64>() * (bounds.len() + words * self.rows.len()) + size_of::<Row>() * self.rows.capacity()
    }

    /// Returns `true` if an instance has recorded in a series. Else its first words are 0.
    pub(super) fn is_used(cell: &[u8]) -> bool {
        cell[..8 * BUCKETS].iter().any(|byte| *byte != 0)
    }

    /// Merges consecutive series from a row on that were never read before.
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, drops: &mut DropCounts) {
        let shape = &self.shape;
        let scratch = scratch(entry, shape);
        let cells = entry.cells.chunks_exact(8 * shape.words()).zip(&mut self.rows[row..]);
        for (cell, row) in cells.filter(|(cell, _)| Self::is_used(cell)) {
            let Some(found) = Found::read(cell, scratch, shape.max_buckets) else {
                drops.add(HostDropReason::Buckets, 1);
                continue;
            };
            let sum = word(cell, SUM);
            match shape.kind {
                Kind::ExponentialNanos => count::add_first(&mut row.nanos, sum, drops),
                kind => row.sum.merge_first(kind, sum, drops),
            }
            count::add_first(&mut row.counts.zero, word(cell, ZERO), drops);
            row.add(found.state, found.counts(), 0, shape, drops);
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
        let shape = &self.shape;
        let scratch = scratch(entry, shape);
        let cells = entry.cells.chunks_exact(8 * shape.words()).zip(last_seen.chunks_exact_mut(shape.words()));
        let was_used = |last_seen: &[u64]| last_seen[..BUCKETS].iter().any(|word| *word != 0);
        let series = cells.zip(&mut self.rows[row..]);
        for ((cell, last_seen), row) in series.filter(|((cell, last), _)| Self::is_used(cell) || was_used(last)) {
            let Some(found) = Found::read(cell, scratch, shape.max_buckets) else {
                drops.add(HostDropReason::Buckets, 1);
                continue;
            };
            let sum = word(cell, SUM);
            match shape.kind {
                Kind::ExponentialNanos => count::add_increase(&mut row.nanos, sum, &mut last_seen[SUM], drops),
                kind => row.sum.merge_increase(kind, sum, &mut last_seen[SUM], drops),
            }
            count::add_increase(&mut row.counts.zero, word(cell, ZERO), &mut last_seen[ZERO], drops);

            let (head, counts) = last_seen.split_at_mut(BUCKETS);
            let mut known = State::from_word(head[STATE]);
            let is_finer = known.len > 0 && (found.state.len == 0 || found.state.scale > known.scale);
            if is_finer {
                // The guest has started again, so that its counts are no increase of the last ones.
                drops.add(HostDropReason::Decrease, 1);
            } else {
                if known.len > 0 {
                    known = coarsen(known, counts, found.state.scale);
                }
                let (differences, gone) = differences(&found, known, counts);
                row.add(found.state, &differences[..found.counts().len()], gone, shape, drops);
            }
            let State { len, scale, .. } = found.state;
            head[STATE] = State { base: found.state.first(), below: 0, len, scale, in_scratch: false }.to_word();
            counts[..found.counts().len()].copy_from_slice(found.counts());
        }
    }

    /// Returns `true` if a series has values.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        !self.rows[row].counts.is_empty()
    }

    pub(super) fn snapshot(&self, rows: &Rows) -> Values {
        let value = |row: usize| {
            let Row { counts, nanos, sum } = &self.rows[row];
            let is_duration = self.shape.kind == Kind::ExponentialNanos;
            let sum = if is_duration { Number::Nanos(*nanos) } else { Number::Float(sum.value()) };
            ExponentialValue { counts: counts.clone(), sum }
        };
        Values::Exponentials(rows.indices(self.rows.len()).map(value).collect())
    }

    /// Returns the value of one series if it was the only one since the last read.
    pub(super) fn sole_observation(&self, entry: EntryBytes<'_>, last_seen: Option<&[u64]>) -> Option<Number> {
        let (cell, shape) = (entry.cells, &self.shape);
        if !Self::is_used(cell) {
            return None;
        }
        let found = Found::read(cell, scratch(entry, shape), shape.max_buckets)?;
        let (mut known, mut counts) = (State::default(), [0; MAX_BUCKETS as usize]);
        let (mut sum, mut zeros) = (0, 0);
        if let Some((head, remembered)) = last_seen.and_then(|words| words.split_at_checked(BUCKETS)) {
            (sum, zeros, known) = (head[SUM], head[ZERO], State::from_word(head[STATE]));
            counts.iter_mut().zip(remembered).for_each(|(count, remembered)| *count = *remembered);
            if known.len > 0 {
                if found.state.len == 0 || found.state.scale > known.scale {
                    return None;
                }
                known = coarsen(known, &mut counts, found.state.scale);
            }
        }
        let (differences, gone) = differences(&found, known, &counts);
        let mut risen = differences.iter().zip(found.state.first()..).filter(|(difference, _)| **difference != 0);
        let (first, other) = (risen.next(), risen.next());
        let value = sole_observation::sum_increase(shape.kind, word(cell, SUM), sum)?;
        let is_there = match (word(cell, ZERO).wrapping_sub(zeros), first) {
            (1, None) => (0.0..=ZERO_THRESHOLD).contains(&value.as_f64()),
            (0, Some((1, at))) => {
                value.as_f64() > ZERO_THRESHOLD && index(value.as_f64(), i32::from(found.state.scale)) == at
            }
            _ => false,
        };
        (is_there && other.is_none() && gone == 0).then_some(value)
    }
}

impl Row {
    /// Adds increases of the counts of a state. Those that are decreases are dropped, as are
    /// `decreases` others.
    fn add(&mut self, state: State, counts: &[u64], mut decreases: u64, shape: &Shape, drops: &mut DropCounts) {
        let mut increases = [0; MAX_BUCKETS as usize];
        for (increase, count) in increases.iter_mut().zip(counts) {
            let is_decrease = *count > count::GREATEST_INCREASE;
            decreases += u64::from(is_decrease);
            *increase = if is_decrease { 0 } else { *count };
        }
        if decreases > 0 {
            drops.add(HostDropReason::Decrease, decreases);
        }
        let scale = i32::from(state.scale);
        // Guests with an older threshold have buckets for values that are zeros here.
        let zeros = usize::try_from(index(ZERO_THRESHOLD, scale) - state.first()).unwrap_or(0).min(counts.len());
        let (zeros, increases) = increases[..counts.len()].split_at(zeros);
        let first = state.first() + zeros.len() as i32;
        self.counts.zero = zeros.iter().fold(self.counts.zero, |sum, count| sum.saturating_add(*count));
        self.counts.add(scale, first, increases, shape.max_buckets, &shape.bounds);
    }
}

/// The counts of a cell: those of `len` indices from the lowest on.
struct Found {
    state: State,
    counts: [u64; MAX_BUCKETS as usize],
}

impl Found {
    /// Reads a cell, no byte of which is trusted. Returns `None` if no guest can have such buckets.
    fn read(cell: &[u8], scratch: &[u8], max_buckets: u16) -> Option<Self> {
        let state = State::decode(word(cell, STATE), max_buckets)?;
        let mut found = Self { state, counts: [0; MAX_BUCKETS as usize] };
        for ((offset, index), count) in (0..).zip(state.first()..).zip(&mut found.counts[..usize::from(state.len)]) {
            *count = if state.in_scratch {
                word(scratch, SCRATCH_BUCKETS + offset)
            } else {
                word(cell, BUCKETS + state.slot(index, max_buckets))
            };
        }
        Some(found)
    }

    fn counts(&self) -> &[u64] {
        &self.counts[..usize::from(self.state.len)]
    }
}

/// Makes kept counts as coarse as `scale`.
fn coarsen(known: State, counts: &mut [u64], scale: i8) -> State {
    let shift = known.scale - scale;
    if shift == 0 {
        return known;
    }
    let first = known.base >> shift;
    let mut len = 0;
    for (at, index) in (0..usize::from(known.len)).zip(known.base..) {
        let to = ((index >> shift) - first) as usize;
        let count = std::mem::take(&mut counts[at]);
        // No index moves up, so each count has moved before its place is overwritten.
        counts[to] = counts[to].wrapping_add(count);
        len = to + 1;
    }
    State { base: first, len: len as u8, scale, ..known }
}

/// Returns the increases of counts since the kept ones, and how many of those are not there any
/// more.
fn differences(found: &Found, known: State, counts: &[u64]) -> ([u64; MAX_BUCKETS as usize], u64) {
    let mut differences = found.counts;
    let mut gone = 0;
    for (index, count) in (known.base..).zip(&counts[..usize::from(known.len)]) {
        match usize::try_from(index - found.state.first()) {
            Ok(at) if at < found.counts().len() => differences[at] = differences[at].wrapping_sub(*count),
            _ => gone += u64::from(*count != 0),
        }
    }
    (differences, gone)
}

/// Returns the scratch area, which lies behind the tables.
fn scratch<'a>(entry: EntryBytes<'a>, shape: &Shape) -> &'a [u8] {
    let len = 8 * wasmetry_abi::layout::scratch_words(shape.kind, shape.max_buckets);
    &entry.tables[entry.tables.len().saturating_sub(len)..]
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64_at(bytes, 8 * at).unwrap_or(0)
}
