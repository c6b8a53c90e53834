//! Aggregates: the values of each metric, added up over the instances of its component.
//!
//! In come the bytes of entries that a read has found, and values of the handle API.
//! Out come the values of each series for a snapshot. It does not know where in a guest's memory
//! the bytes lie, nor other components.
//!
//! A metric is an *entry* in a guest's memory. An entry has a *cell* for each series, at a
//! *position* by the series' label values:
//!
//! ```text
//! guest A    entry: head | cell 0 | cell 1 | cell 2          a cell is one or more 64-bit words
//! guest B    entry: head | cell 0 | cell 1 | cell 2
//!                            │        │        │
//! aggregate                row 0    row 1    row 2           a row has the totals of one series
//! ```
//!
//! If all label values are known in advance, a cell's position is its row. Labels with free text
//! have a table of their own in each guest. Then rows are added as series are found, and each
//! instance keeps the row of each of its cells.

mod accumulator;
mod counter;
mod entry;
pub(crate) mod exemplar;
pub(crate) mod exponential;
mod gauge;
mod histogram;
mod memory;
mod series;
mod shown;
mod sum;
mod touched;
mod values;

use std::sync::Arc;
use std::time::Duration;

use crate::declaration::Metric;
use crate::memory::budget::ReadBudget;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::registry::exposition::ComponentRoom;
use crate::registry::family::FamilyInfo;
use crate::registry::start_time::{Clock, StartTimes};
use crate::snapshot::labels::ComponentLabels;
use crate::snapshot::{Block, Rows};
use crate::{FamilyKind, limits};
pub(crate) use accumulator::{Accumulator, GaugeCell};
pub(crate) use entry::{EntryBytes, LastSeen, ReadContext, Wanted};
pub(crate) use exemplar::sole_observation::SoleObservation;
use exemplar::{Exemplar, Exemplars, sole_observation};
use gauge::Gauge;
use memory::FixedBytes;
pub(crate) use series::Budget;
use series::Table;
use shown::ShownRows;
pub use touched::SeriesKey;
pub(crate) use touched::TouchedSeries;
use values::Values;

/// A row that is not known yet.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// The values of one metric in one component, with one row for each of its series.
#[derive(Debug)]
pub(crate) struct Aggregate {
    /// The number of the aggregate in this process.
    id: u32,
    metric: Arc<Metric>,
    family: Arc<FamilyInfo>,
    values: Values,
    table: Table,
    shown: ShownRows,
    start_times: StartTimes,
    /// The parts that few metrics have.
    extras: Option<Box<Extras>>,
    fixed: FixedBytes,
    /// `true` if another metric has the name, so that this one is not exported.
    is_withdrawn: bool,
    /// `true` if a guest has resolved the metric and no binary declares it.
    is_resolved: bool,
}

/// The parts of an aggregate that few metrics have.
#[derive(Debug, Default)]
struct Extras {
    /// Histograms: values whose traces are exported.
    exemplars: Exemplars,
    /// The values that guests record by handles, for each row that was resolved.
    accumulators: Vec<Option<Arc<Accumulator>>>,
}

impl Aggregate {
    /// Creates the aggregate of a metric in a component that has these labels.
    pub(crate) fn new(
        metric: &Arc<Metric>,
        component: &ComponentLabels,
        family: Arc<FamilyInfo>,
        clock: &Clock,
    ) -> Self {
        let series = metric.series();
        let start_times = if family.kind().has_start_time() {
            StartTimes::new(clock, !metric.is_dense())
        } else {
            StartTimes::Unknown
        };
        let values = Values::new(metric, &family);
        let is_declared = series as u64 <= limits::DECLARED_SERIES && !matches!(values, Values::Gauge(_));
        let mut aggregate = Self {
            id: touched::next_id(),
            metric: metric.clone(),
            family,
            values,
            table: Table::new(metric, component, is_declared),
            shown: ShownRows::default(),
            start_times,
            extras: None,
            fixed: FixedBytes::default(),
            is_withdrawn: false,
            is_resolved: false,
        };
        if metric.is_dense() {
            aggregate.resize(series);
        }
        aggregate.fixed = FixedBytes::of(&aggregate);
        aggregate
    }

    /// Returns the number of series with text labels, without overflow series.
    pub(crate) fn text_series(&self) -> usize {
        self.table.regular()
    }

    pub(crate) fn metric(&self) -> &Arc<Metric> {
        &self.metric
    }

    pub(crate) fn family(&self) -> &Arc<FamilyInfo> {
        &self.family
    }

    /// Returns `true` if another metric has the name.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn
    }

    /// Returns `true` if the values were [removed](Self::remove).
    pub(crate) fn is_removed(&self) -> bool {
        matches!(self.values, Values::Removed)
    }

    /// Returns `true` if a guest has resolved the metric and no binary declares it.
    pub(crate) fn is_resolved(&self) -> bool {
        self.is_resolved
    }

    /// Marks the metric as resolved by a guest.
    pub(crate) fn set_resolved(&mut self) {
        self.is_resolved = true;
    }

    /// Returns `true` if a guest has a handle of one of the series, other than a gauge's.
    pub(crate) fn has_handles(&self) -> bool {
        self.accumulators().iter().flatten().any(|accumulator| Arc::strong_count(accumulator) > 1)
    }

    fn accumulators(&self) -> &[Option<Arc<Accumulator>>] {
        self.extras.as_deref().map_or(&[], |extras| &extras.accumulators)
    }

    /// Takes the metric out of the output. Its values are merged on.
    pub(crate) fn withdraw(&mut self) {
        self.set_withdrawn(true);
    }

    /// Puts the metric back into the output.
    pub(crate) fn restore(&mut self, family: Arc<FamilyInfo>, room: &mut ComponentRoom) {
        self.shown.replace_family(&self.family, &family, room);
        self.family = family;
        self.set_withdrawn(false);
    }

    /// Removes the values. No instance may have the metric.
    pub(crate) fn remove(&mut self, budget: &mut Budget, room: &mut ComponentRoom) {
        self.shown.remove(room);
        self.set_withdrawn(true);
        if let Some(extras) = self.extras.take() {
            budget.return_exemplars(extras.exemplars.len());
        }
        budget.return_texts(self.table.taken());
        self.start_times = StartTimes::Unknown;
        self.is_resolved = false;
        self.id = touched::next_id();
        self.values = Values::Removed;
        self.table = Table::default();
    }

    fn set_withdrawn(&mut self, is_withdrawn: bool) {
        self.is_withdrawn = is_withdrawn;
        for accumulator in self.accumulators().iter().flatten() {
            accumulator.set_withdrawn(is_withdrawn);
        }
    }

    /// Returns the bytes between an entry's head and its cells.
    pub(crate) fn bytes_before_cells(&self) -> usize {
        self.metric.tables() + self.metric.scratch()
    }

    /// Returns the bytes of the cells in an entry.
    pub(crate) fn cell_bytes(&self) -> usize {
        self.metric.series() * self.metric.words() * 8
    }

    /// Returns the bytes of an entry behind its head.
    pub(crate) fn entry_bytes(&self) -> usize {
        self.bytes_before_cells() + self.cell_bytes()
    }

    /// Returns the words of an entry that an instance keeps between two reads.
    pub(crate) fn last_seen_words(&self) -> usize {
        self.metric.series() * self.values.last_seen_words()
    }

    /// Returns the series of an entry whose rows an instance keeps between two reads.
    pub(crate) fn last_seen_rows(&self) -> usize {
        if self.table.is_dynamic() { self.metric.series() } else { 0 }
    }

    /// Returns the bytes of the values that the metric has from the start, if they are many.
    pub(crate) fn large_values(&self) -> Option<usize> {
        let is_fixed = !self.table.is_dynamic();
        is_fixed.then(|| self.value_bytes()).filter(|bytes| *bytes > limits::SMALL_METRIC)
    }

    /// Returns `true` if a snapshot needs the values of the live instances: those of all other
    /// kinds are merged when they are read.
    pub(crate) fn is_gauge(&self) -> bool {
        matches!(self.values, Values::Gauge(_))
    }

    /// Returns the row of the series with these label values. It is made if there is none and there
    /// is room for it.
    pub(crate) fn resolve(&mut self, labels: &[&str], budget: &mut Budget, drops: &mut DropCounts) -> u32 {
        // The accumulator has as many words again, and a few more.
        let words = 2 * self.metric.words() + ACCUMULATOR_WORDS;
        let row = self.table.row_of(labels, words, budget, drops);
        self.resize(self.table.len());
        row as u32
    }

    /// Returns the accumulator of a row, which is made if there is none. A gauge has none.
    pub(crate) fn accumulator(&mut self, row: u32) -> Option<Arc<Accumulator>> {
        if self.is_gauge() {
            return None;
        }
        let at = row as usize;
        let accumulators = &mut self.extras.get_or_insert_default().accumulators;
        if accumulators.len() <= at {
            accumulators.resize(at + 1, None);
        }
        let (kind, hash) = (self.metric.kind, self.metric.hash);
        let new = || Arc::new(Accumulator::new(kind, &self.family, hash, row));
        Some(accumulators[at].get_or_insert_with(new).clone())
    }

    /// Merges an entry of an instance that is read for the first and last time.
    ///
    /// Series for whose labels the read has no budget are merged into the overflow series.
    pub(crate) fn merge_first(
        &mut self,
        entry: EntryBytes<'_>,
        read: ReadContext,
        room: &mut Budget,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) {
        if !self.table.is_dynamic() {
            return self.values.merge_first(0, entry, read, drops);
        }
        for (position, cells) in entry.cells.chunks_exact(self.metric.words() * 8).enumerate() {
            if self.values.is_used(cells) {
                let row = self.row(position, entry.tables, room, budget, drops);
                let row = row.unwrap_or_else(|| self.overflow_row(position, room, drops));
                self.values.merge_first(row, EntryBytes { cells, ..entry }, read, drops);
            }
        }
    }

    /// Merges the changes of an entry since the last read, and keeps its words for the next one.
    ///
    /// Series for whose labels the read has no budget wait for the next one. If there is none, they
    /// are merged into the overflow series.
    pub(crate) fn merge_delta(
        &mut self,
        entry: EntryBytes<'_>,
        last_seen: LastSeen<'_>,
        read: ReadContext,
        room: &mut Budget,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) {
        if !self.table.is_dynamic() {
            return self.values.merge_delta(0, entry, last_seen.words, read, drops);
        }
        let kept = last_seen.words.chunks_exact_mut(self.values.last_seen_words()).zip(last_seen.rows);
        let cells = entry.cells.chunks_exact(self.metric.words() * 8);
        for (position, (cells, (words, row))) in cells.zip(kept).enumerate() {
            if *row == NO_ROW {
                if !self.values.is_used(cells) {
                    continue;
                }
                let found = match self.row(position, entry.tables, room, budget, drops) {
                    Some(found) => found,
                    None if read.is_last => self.overflow_row(position, room, drops),
                    None => continue,
                };
                *row = found as u32;
            }
            self.values.merge_delta(*row as usize, EntryBytes { cells, ..entry }, words, read, drops);
        }
    }

    /// Keeps the values of an instance that has ended and that a snapshot may still need.
    pub(crate) fn end_instance(&mut self, last_seen: &LastSeen<'_>, ended: Duration) {
        let Values::Gauge(gauge) = &mut self.values else { return };
        for (position, words) in last_seen.words.chunks_exact(Gauge::LAST_SEEN_WORDS).enumerate() {
            if let Some(row) = row_of(&self.table, position, last_seen.rows) {
                gauge.end_instance(row, words, ended);
            }
        }
    }

    /// Keeps the value of a gauge that an ended instance has set by a handle.
    pub(crate) fn end_gauge_cell(&mut self, row: u32, cell: &GaugeCell, ended: Duration) {
        if let Values::Gauge(gauge) = &mut self.values {
            gauge.end_cell(row, cell, ended);
        }
    }

    /// Begins a snapshot: merges what guests have recorded by handles, and the gauges of ended
    /// instances.
    pub(crate) fn begin_snapshot(&mut self, now: Duration) {
        let accumulators = self.extras.as_deref().map_or(&[][..], |extras| &extras.accumulators);
        for (row, accumulator) in accumulators.iter().enumerate() {
            let Some(accumulator) = accumulator else { continue };
            match &mut self.values {
                Values::Counter(counter) => counter.merge_accumulator(row, accumulator),
                Values::Histogram(histogram) => histogram.merge_accumulator(row, accumulator),
                // No handle records in the others.
                Values::Gauge(_) | Values::Exponential(_) | Values::Info | Values::Removed => {}
            }
        }
        if let Values::Gauge(gauge) = &mut self.values {
            gauge.begin_snapshot(now);
        }
    }

    /// Adds the gauges of a live instance to a snapshot.
    pub(crate) fn add_live(&mut self, words: &[u64], rows: &[u32]) {
        let Values::Gauge(gauge) = &mut self.values else { return };
        for (position, words) in words.chunks_exact(Gauge::LAST_SEEN_WORDS).enumerate() {
            if let Some(row) = row_of(&self.table, position, rows) {
                gauge.add_live(row, words);
            }
        }
    }

    /// Adds a gauge that a live instance has set by a handle to a snapshot.
    pub(crate) fn add_gauge_cell(&mut self, row: u32, cell: &GaugeCell) {
        if let Values::Gauge(gauge) = &mut self.values {
            gauge.add_cell(row, cell);
        }
    }

    /// Ends a snapshot: returns the values of all series that are shown, or `None` if there is no
    /// room for the family. Adds the number of series for which there is none, and that are not
    /// counted yet, to `hidden`; the family counts as one.
    pub(crate) fn snapshot(&mut self, room: &mut ComponentRoom, hidden: &mut u64) -> Option<(Arc<FamilyInfo>, Block)> {
        let labels = self.table.labels();
        let rows = if self.table.is_declared() && self.shown.all(&self.family, &labels, room) {
            Rows::All
        } else {
            let is_declared = self.table.is_declared();
            let accumulators = self.extras.as_deref().map_or(&[][..], |extras| &extras.accumulators);
            let is_touched = |row: &u32| {
                let row = *row as usize;
                is_declared || accumulators.get(row).is_some_and(Option::is_some) || self.values.is_touched(row)
            };
            let rows = self.table.order().filter(is_touched);
            Rows::Some(self.shown.select(rows, &self.family, &labels, room, hidden)?)
        };
        let values = self.values.snapshot(&rows);
        let created = self.start_times.of(&rows);
        let exemplars = self.extras.as_deref().map_or_else(Vec::new, |extras| extras.exemplars.of(&rows));
        Some((self.family.clone(), Block { labels, rows, values, created, exemplars }))
    }

    /// Returns the values of an entry that are the only ones of their series since the last read.
    ///
    /// It must be called before the entry is merged. `last_seen` is `None` if the instance was
    /// never read.
    pub(crate) fn sole_observations(&self, entry: EntryBytes<'_>, last_seen: Option<&[u64]>) -> Vec<SoleObservation> {
        if self.family.kind() != FamilyKind::Histogram {
            return Vec::new();
        }
        let words = self.metric.words();
        let sole = |(position, cells): (usize, &[u8])| {
            let last_seen = last_seen.and_then(|all| all.get(position * words..(position + 1) * words));
            let value = match &self.values {
                Values::Histogram(histogram) => histogram.sole_observation(cells, last_seen)?,
                Values::Exponential(exponential) => {
                    exponential.sole_observation(EntryBytes { cells, ..entry }, last_seen)?
                }
                _ => return None,
            };
            let bucket = sole_observation::bucket(self.family.bounds(), value) as u32;
            Some(SoleObservation { position, bucket, value })
        };
        entry.cells.chunks_exact(words * 8).enumerate().filter_map(sole).collect()
    }

    /// Returns the row of a series whose entry was just merged, if it has one. `rows` are those
    /// that the instance keeps, if it does.
    pub(crate) fn merged_row(
        &mut self,
        position: usize,
        tables: &[u8],
        rows: Option<&[u32]>,
        room: &mut Budget,
        budget: &mut ReadBudget,
    ) -> Option<usize> {
        match rows {
            _ if !self.table.is_dynamic() => Some(position),
            Some(rows) => Some(rows[position]).filter(|row| *row != NO_ROW).map(|row| row as usize),
            // Wrong labels were counted when the entry was merged.
            None => self.row(position, tables, room, budget, &mut DropCounts::default()),
        }
    }

    /// Keeps the exemplar of a bucket.
    pub(crate) fn keep_exemplar(&mut self, row: usize, bucket: u32, mut exemplar: Exemplar, budget: &mut Budget) {
        // A series that this read has found starts a little after the time that the read was given.
        exemplar.time = exemplar.time.max(self.start_times.get(row).unwrap_or(0));
        if row < self.table.len() && !self.is_withdrawn {
            let exemplars = &mut self.extras.get_or_insert_default().exemplars;
            exemplars.keep(row as u32, bucket, exemplar, || budget.take_exemplar());
        }
    }

    /// Returns the row of a series with text labels, which is made if there is none. Returns `None`
    /// if the read has no budget for the labels.
    fn row(
        &mut self,
        position: usize,
        tables: &[u8],
        room: &mut Budget,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) -> Option<usize> {
        let row = self.table.row(position, tables, self.metric.words(), room, budget, drops);
        self.resize(self.table.len());
        row
    }

    /// Returns the row of the overflow series that a position belongs to. It counts that the read
    /// had no budget for the position's labels.
    #[cold]
    fn overflow_row(&mut self, position: usize, room: &mut Budget, drops: &mut DropCounts) -> usize {
        drops.add(HostDropReason::ReadBudget, 1);
        let row = self.table.overflow_row(position, self.metric.words(), room, drops);
        self.resize(self.table.len());
        row
    }

    fn resize(&mut self, rows: usize) {
        self.start_times.resize(rows);
        self.values.resize(rows);
    }
}

/// Words that an accumulator takes beside its values.
const ACCUMULATOR_WORDS: usize = 12;

/// Returns the row of a series of an instance, if it has ever had a value.
fn row_of(table: &Table, position: usize, rows: &[u32]) -> Option<usize> {
    if table.is_dynamic() {
        rows.get(position).filter(|row| **row != NO_ROW).map(|row| *row as usize)
    } else {
        Some(position)
    }
}
