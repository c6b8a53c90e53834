//! The values of series at the steps of a range.
//!
//! Columns hold changes, so the values of the past are computed from the latest ones backwards.

use std::borrow::Cow;

use wasmetry_host::Number;

use super::column::Column;
use super::family::Family;
use super::value::{StepBack, Value};
use super::{SeriesStore, seconds_of};
use crate::limits;

/// The steps of a range.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// The end of the step before the first one.
    pub(crate) start: u32,
    /// The length of each step of the grid, in steps of the store.
    pub(crate) span: u32,
    pub(crate) len: usize,
    /// The number of steps of the store in each step of the grid; 0 where nothing is known.
    pub(crate) covered: Vec<u32>,
    /// The steps of the store: the end and the length of each.
    columns: Vec<(u32, u32)>,
    /// The seconds from the begin of the host to the last snapshot of the grid.
    age: f64,
}

/// The time that exists of the series of a group, within a grid.
#[derive(Debug)]
pub(crate) struct Lifetime<'a> {
    covered: Cow<'a, [u32]>,
    age: f64,
}

impl Lifetime<'_> {
    /// The seconds that exist of a step.
    pub(crate) fn seconds(&self, at: usize) -> Option<f64> {
        let covered = self.covered.get(at).copied().filter(|covered| *covered > 0)?;
        Some((u64::from(covered) * limits::STEP_SECONDS) as f64)
    }

    /// The seconds that exist of the whole range: not more than the host has run.
    pub(crate) fn all_seconds(&self) -> Option<f64> {
        let covered: u64 = self.covered.iter().map(|covered| u64::from(*covered)).sum();
        let seconds = (covered * limits::STEP_SECONDS) as f64;
        (covered > 0).then(|| seconds.min(self.age.max(limits::LEAST_AGE)))
    }
}

impl Grid {
    /// Returns the time that exists of series of which the first was seen in the step `born`: from
    /// the snapshot before on. What came before is no time without events.
    pub(crate) fn since(&self, born: u32) -> Lifetime<'_> {
        let is_older = self.columns.first().is_none_or(|(end, _)| born <= *end);
        let covered = if is_older {
            Cow::Borrowed(&*self.covered)
        } else {
            let mut covered = vec![0; self.len];
            for (end, span) in self.columns.iter().filter(|(end, _)| *end >= born) {
                if let Some(at) = self.index(*end) {
                    // The column in which it began covers it in part.
                    covered[at] += (*span).min(end - born + 1);
                }
            }
            Cow::Owned(covered)
        };
        Lifetime { covered, age: self.age }
    }

    /// Returns the whole range as one step.
    pub(crate) fn whole(&self) -> Self {
        let covered = vec![self.covered.iter().sum()];
        let span = (self.end() - self.start).max(1);
        Self { start: self.start, span, len: 1, covered, columns: self.columns.clone(), age: self.age }
    }

    /// Returns the step of the grid that has this step of the store.
    fn index(&self, end: u32) -> Option<usize> {
        let at = (end.checked_sub(self.start + 1)? / self.span) as usize;
        (at < self.len).then_some(at)
    }

    /// The end of the last step.
    pub(crate) fn end(&self) -> u32 {
        self.start + self.len as u32 * self.span
    }

    /// The end of the first step, in seconds.
    pub(crate) fn first_seconds(&self) -> u64 {
        seconds_of(self.start + self.span)
    }

    pub(crate) fn step_seconds(&self) -> u64 {
        u64::from(self.span) * limits::STEP_SECONDS
    }
}

/// The group of each slot of a family; `None` for a slot that is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) of_slot: Vec<Option<u32>>,
    pub(crate) len: usize,
}

impl Groups {
    /// Returns for each group the step in which the first of its series was seen; `u32::MAX` for a
    /// group without one.
    pub(crate) fn born(&self, family: &Family) -> Vec<u32> {
        let mut born = vec![u32::MAX; self.len];
        for (at, _, slot) in family.used() {
            if let Some(Some(group)) = self.of_slot.get(at) {
                let first = &mut born[*group as usize];
                *first = slot.born.min(*first);
            }
        }
        born
    }
}

/// One number for each group and step.
#[derive(Debug)]
pub(crate) struct Totals {
    values: Vec<f64>,
    steps: usize,
}

impl Totals {
    pub(crate) fn new(groups: usize, steps: usize) -> Self {
        Self { values: vec![0.0; groups * steps], steps }
    }

    /// The values of a group.
    pub(crate) fn of(&self, group: usize) -> &[f64] {
        &self.values[group * self.steps..][..self.steps]
    }

    /// The sum of a group's values.
    pub(crate) fn sum(&self, group: usize) -> f64 {
        self.of(group).iter().sum()
    }

    /// Returns the totals of `len` groups, of which each has those with its number in `place`.
    pub(crate) fn united(&self, place: &[u32], len: usize) -> Self {
        let mut united = Self::new(len, self.steps);
        for (group, place) in place.iter().enumerate() {
            let into = &mut united.values[*place as usize * self.steps..][..self.steps];
            into.iter_mut().zip(self.of(group)).for_each(|(sum, value)| *sum += value);
        }
        united
    }
}

/// The counts of the buckets of each group and step, and the sums.
#[derive(Debug)]
pub(crate) struct HistogramSteps {
    counts: Vec<u32>,
    sums: Totals,
    steps: usize,
    buckets: usize,
}

impl HistogramSteps {
    fn new(groups: usize, steps: usize, buckets: usize) -> Self {
        Self { counts: vec![0; groups * steps * buckets], sums: Totals::new(groups, steps), steps, buckets }
    }

    /// Returns the observations of each group and step.
    pub(crate) fn observations(&self) -> Totals {
        let count = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>() as f64;
        Totals { values: self.counts.chunks(self.buckets).map(count).collect(), steps: self.steps }
    }

    /// Returns the steps of `len` groups, of which each has those with its number in `place`.
    pub(crate) fn united(&self, place: &[u32], len: usize) -> Self {
        let size = self.steps * self.buckets;
        let mut united = Self { sums: self.sums.united(place, len), ..Self::new(len, self.steps, self.buckets) };
        for (group, place) in place.iter().enumerate() {
            let into = &mut united.counts[*place as usize * size..][..size];
            let counts = &self.counts[group * size..][..size];
            into.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        }
        united
    }

    /// The counts of a group's buckets in a step.
    pub(crate) fn counts(&self, group: usize, step: usize) -> &[u32] {
        &self.counts[(group * self.steps + step) * self.buckets..][..self.buckets]
    }

    /// The sums of a group's values.
    pub(crate) fn sums(&self, group: usize) -> &[f64] {
        self.sums.of(group)
    }

    /// The counts of a group's buckets in all steps.
    pub(crate) fn all(&self, group: usize) -> Vec<u64> {
        let mut all = vec![0; self.buckets];
        for step in 0..self.steps {
            for (sum, count) in all.iter_mut().zip(self.counts(group, step)) {
                *sum += u64::from(*count);
            }
        }
        all
    }
}

/// The function that joins the values of gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Max,
    Min,
    Avg,
}

/// The increase from one value to the next. A value that has fallen has begun again.
fn increase(before: Number, after: Number) -> f64 {
    match (before, after) {
        (Number::Unsigned(before), Number::Unsigned(after)) => after.checked_sub(before).unwrap_or(after) as f64,
        (Number::Nanos(before), Number::Nanos(after)) => after.checked_sub(before).unwrap_or(after) as f64 / 1e9,
        (before, after) => {
            let (before, after) = (before.as_f64(), after.as_f64());
            if after < before { after } else { after - before }
        }
    }
}

impl SeriesStore {
    /// Returns the grid of a range: the `steps` up to the step `end`, in at most `points` steps of
    /// equal length.
    pub(crate) fn grid(&self, end: u32, steps: u32, points: usize) -> Grid {
        let start = end.saturating_sub(steps.max(1));
        let columns = || self.columns.iter().filter(|column| column.end > start && column.end <= end);
        let coarsest = columns().map(|column| column.span).filter(|span| *span <= 12).max().unwrap_or(1);
        let span = coarsest.max(steps.div_ceil(points.max(1) as u32)).max(1);
        let len = steps.div_ceil(span).max(1);
        let mut grid = Grid {
            start: end.saturating_sub(len * span),
            span,
            len: len as usize,
            covered: vec![0; len as usize],
            columns: Vec::new(),
            age: 0.0,
        };
        for column in &self.columns {
            if let Some(at) = grid.index(column.end) {
                grid.covered[at] += column.span;
                grid.columns.push((column.end, column.span));
                grid.age = column.time.saturating_sub(self.begin) as f64 / 1e9;
            }
        }
        grid
    }

    /// Calls `visit` with each change of the slots in a group within the grid, newest first: with
    /// the group and the step.
    fn walk(&self, family: &Family, groups: &Groups, grid: &Grid, mut visit: impl FnMut(usize, usize, StepBack<'_>)) {
        let mut values: Vec<Value> = family.slots.iter().map(|slot| slot.value.clone()).collect();
        let mut buckets = Vec::new();
        for column in self.columns.iter().rev().take_while(|column| column.end > grid.start) {
            let Some(mut reader) = column.changes(family) else { continue };
            let step = grid.index(column.end);
            let mut next = 0;
            while !reader.is_empty() {
                let slot = next + reader.get() as usize;
                let Some(value) = values.get_mut(slot) else { break };
                value.step_back(&mut reader, &mut buckets, |change| {
                    if let (Some(step), Some(Some(group))) = (step, groups.of_slot.get(slot)) {
                        visit(*group as usize, step, change);
                    }
                });
                next = slot + 1;
            }
        }
    }

    /// Returns the increases of counters, or of the observations of histograms.
    pub(crate) fn increases(&self, family: &Family, groups: &Groups, grid: &Grid) -> Totals {
        let mut totals = Totals::new(groups.len, grid.len);
        if family.is_histogram() {
            return self.histograms(family, groups, grid).observations();
        }
        self.walk(family, groups, grid, |group, step, change| {
            if let StepBack::Number { after, before } = change {
                totals.values[group * grid.len + step] += increase(before, after);
            }
        });
        totals
    }

    /// Returns the increases of histograms' buckets and sums.
    pub(crate) fn histograms(&self, family: &Family, groups: &Groups, grid: &Grid) -> HistogramSteps {
        let mut steps = HistogramSteps::new(groups.len, grid.len, family.bounds.len() + 1);
        let buckets = steps.buckets;
        self.walk(family, groups, grid, |group, step, change| {
            let StepBack::Histogram { after, buckets: changed, sum } = change else { return };
            let at = group * grid.len + step;
            let counts = &mut steps.counts[at * buckets..][..buckets];
            let has_restarted = changed.iter().any(|(_, change)| *change < 0);
            for (bucket, change) in changed {
                let (Some(count), Some(all)) = (counts.get_mut(*bucket as usize), after.counts.get(*bucket as usize))
                else {
                    continue;
                };
                let more = if has_restarted { *all } else { *change as u64 };
                *count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
            }
            let after = after.sum.as_f64();
            steps.sums.values[at] += if has_restarted { after } else { after - sum.as_f64() };
        });
        steps
    }

    /// Returns the values of gauges at the end of each step.
    pub(crate) fn gauges(
        &self,
        family: &Family,
        groups: &Groups,
        grid: &Grid,
        aggregation: Aggregation,
    ) -> Vec<Vec<Option<f64>>> {
        // The slots of the last snapshot first, then what changed before it.
        let mut values: Vec<Option<Value>> =
            family.slots.iter().zip(&groups.of_slot).map(|(slot, group)| group.map(|_| slot.value.clone())).collect();
        let mut points: Vec<Vec<Option<f64>>> = vec![vec![None; grid.len]; groups.len];
        let mut columns = self.columns.iter().rev().peekable();
        for step in (0..grid.len).rev() {
            let end = grid.start + (step as u32 + 1) * grid.span;
            let mut undo = |column: &Column| {
                column.visit(family, |slot, change| {
                    if let Some(Some(value)) = values.get_mut(slot) {
                        value.undo(change);
                    }
                });
            };
            while let Some(column) = columns.next_if(|column| column.end > end) {
                undo(column);
            }
            let Some(latest) = columns.peek().map(|column| column.end).filter(|end| grid.index(*end) == Some(step))
            else {
                continue;
            };
            let mut counts = vec![0u32; groups.len];
            for (at, slot) in family.slots.iter().enumerate() {
                let (Some(Some(group)), Some(value)) = (groups.of_slot.get(at), &values[at]) else { continue };
                if slot.born > latest || slot.last < latest {
                    continue;
                }
                let (value, point) = (value.number().as_f64(), &mut points[*group as usize][step]);
                counts[*group as usize] += 1;
                *point = Some(match (*point, aggregation) {
                    (None, _) => value,
                    (Some(known), Aggregation::Sum | Aggregation::Avg) => known + value,
                    (Some(known), Aggregation::Max) => known.max(value),
                    (Some(known), Aggregation::Min) => known.min(value),
                });
            }
            if aggregation == Aggregation::Avg {
                for (group, count) in counts.iter().enumerate() {
                    points[group][step] = points[group][step].map(|sum| sum / f64::from(*count));
                }
            }
        }
        points
    }
}

/// Returns a quantile of the values in buckets, interpolated within its bucket.
///
/// Source: Prometheus, `histogram_quantile`.
pub(crate) fn quantile(quantile: f64, bounds: &[f64], counts: &[u64]) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = quantile * all as f64;
    let mut below = 0.0;
    for (at, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if below + count >= rank && count > 0.0 {
            let Some(upper) = bounds.get(at) else { return bounds.last().copied() };
            let lower = match at.checked_sub(1) {
                Some(before) => bounds[before],
                None if *upper <= 0.0 => return Some(*upper),
                None => 0.0,
            };
            return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    bounds.last().copied()
}
