//! Gauges: the latest values of several instances become one, by the metric's merge rule.

use std::cmp::Ordering;
use std::time::Duration;

use wasmetry_abi::{Kind, Merge};

use super::accumulator::GaugeCell;
use super::{EntryBytes, ReadContext};
use crate::limits;
use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};

/// The values of a gauge.
#[derive(Debug)]
pub(super) struct Gauge {
    kind: Kind,
    rule: Merge,
    /// The values of ended instances, for each series.
    retained: Vec<Retained>,
    /// The values of the snapshot that is being taken, for each series.
    current: Vec<Option<Reading>>,
}

impl Gauge {
    /// Words of a series that an instance keeps between two reads: the value, the number of times
    /// it was set, and the order of the read that found it so.
    pub(super) const LAST_SEEN_WORDS: usize = 3;

    /// Words of a series in an entry.
    const CELL_WORDS: usize = 2;

    pub(super) fn new(kind: Kind, rule: Merge) -> Self {
        Self { kind, rule, retained: Vec::new(), current: Vec::new() }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.retained.resize_with(rows, Retained::default);
        self.current.resize(rows, None);
    }

    /// Returns the greatest number of bytes that all series take.
    pub(super) fn memory(&self) -> usize {
        let values = match self.rule {
            Merge::Sum => 0,
            Merge::Last => 1,
            Merge::Max | Merge::Min => limits::RETAINED_VALUES,
        };
        let retained = size_of::<Retained>() + values * size_of::<(Reading, Duration)>();
        retained * self.retained.capacity() + size_of::<Option<Reading>>() * self.current.capacity()
    }

    /// Returns `true` if an instance has recorded in a series.
    pub(super) fn is_used(cells: &[u8]) -> bool {
        words(cells).any(|word| word != 0)
    }

    /// Merges consecutive series from a row on of an instance that ends with this read.
    pub(super) fn merge_first(&mut self, row: usize, entry: EntryBytes<'_>, read: ReadContext, drops: &mut DropCounts) {
        for (retained, cell) in self.retained[row..].iter_mut().zip(entry.cells.chunks_exact(8 * Self::CELL_WORDS)) {
            if let Some((_, number)) = found(self.kind, cell, drops) {
                retained.keep(Reading { number, order: read.order }, read.now, self.rule);
            }
        }
    }

    /// Keeps the values of consecutive series of an instance that goes on.
    pub(super) fn merge_delta(
        &self,
        entry: EntryBytes<'_>,
        last_seen: &mut [u64],
        read: ReadContext,
        drops: &mut DropCounts,
    ) {
        let series = last_seen.chunks_exact_mut(Self::LAST_SEEN_WORDS);
        for (last_seen, cell) in series.zip(entry.cells.chunks_exact(8 * Self::CELL_WORDS)) {
            if let Some(([word, sets], _)) = found(self.kind, cell, drops) {
                let order = if last_seen[1] == sets { last_seen[2] } else { read.order };
                last_seen.copy_from_slice(&[word, sets, order]);
            }
        }
    }

    /// Retains the value of a series of an instance that has ended.
    pub(super) fn end_instance(&mut self, row: usize, last_seen: &[u64], ended: Duration) {
        if let Some(reading) = kept(self.kind, last_seen) {
            self.retained[row].keep(reading, ended, self.rule);
        }
    }

    /// Retains the value of a gauge that an ended instance has set by a handle.
    pub(super) fn end_cell(&mut self, row: u32, cell: &GaugeCell, ended: Duration) {
        if let (Some(reading), Some(retained)) = (cell.reading(), self.retained.get_mut(row as usize)) {
            retained.keep(reading, ended, self.rule);
        }
    }

    /// Begins a snapshot with the values of the ended instances.
    pub(super) fn begin_snapshot(&mut self, now: Duration) {
        for (current, retained) in self.current.iter_mut().zip(&self.retained) {
            *current = retained.reading(now, self.rule);
        }
    }

    /// Adds the value of a live instance to a snapshot.
    pub(super) fn add_live(&mut self, row: usize, last_seen: &[u64]) {
        if let Some(reading) = kept(self.kind, last_seen) {
            self.add(row, reading);
        }
    }

    /// Adds the value of a gauge that a live instance has set by a handle to a snapshot.
    pub(super) fn add_cell(&mut self, row: u32, cell: &GaugeCell) {
        if let Some(reading) = cell.reading() {
            self.add(row as usize, reading);
        }
    }

    /// Returns `true` if a series has a value in the snapshot that is being taken.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        self.current[row].is_some()
    }

    pub(super) fn snapshot(&self, rows: &Rows) -> Values {
        let number = |row: usize| self.current[row].map_or(Number::Float(0.0), |reading| reading.number);
        Values::Numbers(rows.indices(self.current.len()).map(number).collect())
    }

    fn add(&mut self, row: usize, reading: Reading) {
        if let Some(current) = self.current.get_mut(row) {
            *current = Some(current.map_or(reading, |other| other.merge(reading, self.rule)));
        }
    }
}

/// Returns the words of a series and the number in them, if it was set to one.
fn found(kind: Kind, cell: &[u8], drops: &mut DropCounts) -> Option<([u64; 2], Number)> {
    let mut words = words(cell);
    let (word, sets) = (words.next()?, words.next()?);
    if sets == 0 {
        return None;
    }
    let number = number(kind, word);
    if number.is_none() {
        drops.add(HostDropReason::NotANumber, 1);
    }
    Some(([word, sets], number?))
}

/// Returns the reading in the words that an instance has kept, if it has set the series.
fn kept(kind: Kind, last_seen: &[u64]) -> Option<Reading> {
    let [word, sets, order] = *last_seen else { return None };
    let number = number(kind, word)?;
    (sets != 0).then_some(Reading { number, order })
}

/// Returns the number in a gauge's word, unless it is NaN.
fn number(kind: Kind, word: u64) -> Option<Number> {
    match kind {
        Kind::GaugeI64 => Some(Number::Signed(word.cast_signed())),
        _ => Some(f64::from_bits(word)).filter(|value| !value.is_nan()).map(Number::Float),
    }
}

/// One instance's value of a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) number: Number,
    /// The order of the read that has found it set; a later read has a greater one.
    pub(super) order: u64,
}

impl Reading {
    /// Combines the readings of two instances.
    fn merge(self, other: Self, rule: Merge) -> Self {
        match rule {
            Merge::Sum => Self { number: sum(self.number, other.number), order: self.order.max(other.order) },
            _ if other.beats(self, rule) => other,
            _ => self,
        }
    }

    fn beats(self, other: Self, rule: Merge) -> bool {
        match rule {
            Merge::Max => compare(self.number, other.number) == Ordering::Greater,
            Merge::Min => compare(self.number, other.number) == Ordering::Less,
            Merge::Sum | Merge::Last => self.order > other.order,
        }
    }
}

fn sum(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Signed(a), Number::Signed(b)) => Number::Signed(a.saturating_add(b)),
        (a, b) => Number::Float(a.as_f64() + b.as_f64()),
    }
}

fn compare(a: Number, b: Number) -> Ordering {
    match (a, b) {
        (Number::Signed(a), Number::Signed(b)) => a.cmp(&b),
        (a, b) => a.as_f64().total_cmp(&b.as_f64()),
    }
}

/// The readings of ended instances of one gauge series that can still be exported.
#[derive(Clone, Debug, Default)]
struct Retained {
    /// Each reading, and when its instance ended.
    values: Vec<(Reading, Duration)>,
}

impl Retained {
    /// Keeps the reading of an instance that ended at `ended`.
    fn keep(&mut self, reading: Reading, ended: Duration, rule: Merge) {
        match rule {
            Merge::Sum => return,
            // Until a later one, however long that takes.
            Merge::Last => {
                let last = self.values.first().map_or(reading, |(other, _)| other.merge(reading, rule));
                self.values.clear();
                // A `Vec` would make room for four.
                self.values.reserve_exact(1);
                self.values.push((last, ended));
                return;
            }
            Merge::Max | Merge::Min => {}
        }
        // An older reading that does not win will never be exported again.
        self.values.retain(|(other, since)| {
            let is_past = *since <= ended && !other.beats(reading, rule);
            !is_past && !is_expired(*since, ended)
        });
        if self.values.iter().any(|(other, since)| *since >= ended && !reading.beats(*other, rule)) {
            return;
        }
        if self.values.len() < limits::RETAINED_VALUES {
            self.values.push((reading, ended));
        } else if let Some((_, since)) = self.values.last_mut() {
            // The next better reading stands for this one, a little longer than it should.
            *since = ended.max(*since);
        }
    }

    /// Returns the reading that is left at `now`.
    fn reading(&self, now: Duration, rule: Merge) -> Option<Reading> {
        let kept = self.values.iter().filter(|(_, since)| rule == Merge::Last || !is_expired(*since, now));
        kept.map(|(reading, _)| *reading).reduce(|a, b| a.merge(b, rule))
    }
}

fn is_expired(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) > limits::GAUGE_RETENTION
}
