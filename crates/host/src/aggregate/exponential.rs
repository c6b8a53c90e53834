//! Merging exponential histograms: each series' cell says where its counts are and how coarse. See `crates/abi/FORMAT.md`,
//! section 2.

use std::slice::from_mut;

use wasmetry_abi::Kind;
use wasmetry_abi::exponential::{
    BUCKETS, MAX_BUCKETS, SCRATCH_BUCKETS, STATE, SUM, State, ZERO, ZERO_THRESHOLD, index,
};

use super::{EntryBytes, cell, sole_observation};
use crate::aggregate::exponential_counts::Exponential;
use crate::declaration::Metric;
use crate::memory::region::u64_at;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::registry::family::FamilyInfo;
use crate::snapshot::number::Number;

/// One row: what all instances have counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) counts: Exponential,
    /// The sum of durations; that of other numbers is among the floating sums.
    pub(super) nanos: u64,
}

/// What all series of one metric have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) kind: Kind,
    pub(super) max_buckets: u16,
    /// The family's bounds.
    pub(super) bounds: &'a [f64],
}

impl<'a> Shape<'a> {
    pub(super) fn of(metric: &Metric, family: &'a FamilyInfo) -> Self {
        Self { kind: metric.kind, max_buckets: metric.max_buckets, bounds: &family.bounds }
    }

    fn words(self) -> usize {
        BUCKETS + usize::from(self.max_buckets)
    }
}

/// The counts that a cell has: those of `len` indices from the first one on.
struct Found {
    state: State,
    counts: [u64; MAX_BUCKETS as usize],
}

impl Found {
    /// Reads a cell of which nobody has vouched for a byte.
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

/// Adds cells of consecutive series that were never read before.
pub(super) fn add_once(
    rows: &mut [Row],
    sums: &mut [f64],
    entry: EntryBytes<'_>,
    shape: Shape<'_>,
    drops: &mut DropCounts,
) {
    let scratch = scratch(entry, shape);
    let cells = entry.cells.chunks_exact(8 * shape.words()).enumerate();
    for (at, cell) in cells.filter(|(_, cell)| is_used(cell)) {
        let Some(found) = Found::read(cell, scratch, shape.max_buckets) else {
            drops.add(HostDropReason::Buckets, 1);
            continue;
        };
        let row = &mut rows[at];
        if shape.kind == Kind::ExponentialNanos {
            cell::add(from_mut(&mut row.nanos), bytes(cell, SUM), drops);
        } else {
            match cell::sum(shape.kind, bytes(cell, SUM), 0.0) {
                Ok(latest) => cell::add_float(&mut sums[at], latest),
                Err(offence) => drops.add(offence, 1),
            }
        }
        cell::add(from_mut(&mut row.counts.zero), bytes(cell, ZERO), drops);
        row.add(found.state, found.counts(), 0, shape, drops);
    }
}

impl Row {
    /// Adds counts to the buckets of a state, without those that are none but a decrease; there are `decreases` others.
    fn add(&mut self, state: State, counts: &[u64], mut decreases: u64, shape: Shape<'_>, drops: &mut DropCounts) {
        let mut increases = [0; MAX_BUCKETS as usize];
        for (increase, count) in increases.iter_mut().zip(counts) {
            let is_decrease = *count > cell::GREATEST_INCREASE;
            decreases += u64::from(is_decrease);
            *increase = if is_decrease { 0 } else { *count };
        }
        if decreases > 0 {
            drops.add(HostDropReason::Decrease, decreases);
        }
        let increases = &increases[..counts.len()];
        self.counts.add(i32::from(state.scale), state.first(), increases, shape.max_buckets, shape.bounds);
    }
}

/// Adds what cells of consecutive series have grown by since `memory` was read, and remembers them: the sum, the state, the
/// zero count, then the counts from the first index on.
pub(super) fn add_since(
    rows: &mut [Row],
    entry: EntryBytes<'_>,
    memory: &mut [u64],
    shape: Shape<'_>,
    drops: &mut DropCounts,
) {
    let scratch = scratch(entry, shape);
    let cells = entry.cells.chunks_exact(8 * shape.words()).zip(memory.chunks_exact_mut(shape.words()));
    let is_known = |memory: &[u64]| memory[..BUCKETS].iter().any(|word| *word != 0);
    for ((cell, memory), row) in cells.zip(rows).filter(|((cell, memory), _)| is_used(cell) || is_known(memory)) {
        let Some(found) = Found::read(cell, scratch, shape.max_buckets) else {
            drops.add(HostDropReason::Buckets, 1);
            continue;
        };
        if shape.kind == Kind::ExponentialNanos {
            cell::add_since(from_mut(&mut row.nanos), bytes(cell, SUM), &mut memory[SUM..=SUM], drops);
        } else {
            match cell::sum(shape.kind, bytes(cell, SUM), f64::from_bits(memory[SUM])) {
                Ok(latest) => memory[SUM] = latest.to_bits(),
                Err(offence) => drops.add(offence, 1),
            }
        }
        cell::add_since(from_mut(&mut row.counts.zero), bytes(cell, ZERO), &mut memory[ZERO..=ZERO], drops);

        let (head, counts) = memory.split_at_mut(BUCKETS);
        let mut known = State::from_word(head[STATE]);
        let is_finer = known.len > 0 && (found.state.len == 0 || found.state.scale > known.scale);
        if is_finer {
            // It begins anew, so that what it has is no increase of anything.
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

/// Makes remembered counts as coarse as `scale`.
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
        // No index moves up, so none is overwritten before it has moved itself.
        counts[to] = counts[to].wrapping_add(count);
        len = to + 1;
    }
    State { base: first, len: len as u8, scale, ..known }
}

/// What counts have grown by since the remembered ones, and how many of those are gone.
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

/// The only new value of one cell since `memory` was read, or ever where there is none.
pub(super) fn single(entry: EntryBytes<'_>, memory: Option<&[u64]>, shape: Shape<'_>) -> Option<Number> {
    let cell = entry.cells;
    if !is_used(cell) {
        return None;
    }
    let found = Found::read(cell, scratch(entry, shape), shape.max_buckets)?;
    let (mut known, mut counts) = (State::default(), [0; MAX_BUCKETS as usize]);
    let (mut sum, mut zeros) = (0, 0);
    if let Some((head, remembered)) = memory.and_then(|memory| memory.split_at_checked(BUCKETS)) {
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
    let value = sole_observation::added(shape.kind, word(cell, SUM), sum)?;
    let is_there = match (word(cell, ZERO).wrapping_sub(zeros), first) {
        (1, None) => (0.0..=ZERO_THRESHOLD).contains(&value.as_f64()),
        (0, Some((1, at))) => {
            value.as_f64() > ZERO_THRESHOLD && index(value.as_f64(), i32::from(found.state.scale)) == at
        }
        _ => false,
    };
    (is_there && other.is_none() && gone == 0).then_some(value)
}

/// Whether a series has ever been recorded in: else its first words are 0.
pub(super) fn is_used(cell: &[u8]) -> bool {
    cell[..8 * BUCKETS].iter().any(|byte| *byte != 0)
}

/// The scratch area, which lies behind the tables.
fn scratch<'a>(entry: EntryBytes<'a>, shape: Shape<'_>) -> &'a [u8] {
    let len = 8 * wasmetry_abi::layout::scratch_words(shape.kind, shape.max_buckets);
    &entry.tables[entry.tables.len().saturating_sub(len)..]
}

fn bytes(cell: &[u8], word: usize) -> &[u8] {
    &cell[8 * word..8 * word + 8]
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64_at(bytes, 8 * at).unwrap_or(0)
}
