//! Aggregates: the values of each metric, added up over the instances of its component.
//!
//! In come the bytes of entries that a read has found, and what guests record by handles. Out come the values of each series for a
//! snapshot. It does not know where in a guest's memory the bytes lay, nor of other components.

mod accumulator;
mod cell;
pub(crate) mod exemplar;
mod exponential;
pub(crate) mod exponential_counts;
mod gauge;
mod series;
mod sole_observation;

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::Kind;

use crate::aggregate::exemplar::{Exemplar, Exemplars};
use crate::aggregate::exponential_counts::ExponentialValue;
use crate::declaration::Metric;
use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::registry::family::FamilyInfo;
use crate::registry::start_time::{Clock, StartTimes};
use crate::snapshot::number::Number;
use crate::snapshot::{Block, Rows, Values};
use crate::{Identity, limits};
pub(crate) use accumulator::{Accumulator, GaugeCell};
use gauge::{Reading, Retained};
pub(crate) use series::Budget;
use series::Table;
pub(crate) use sole_observation::SoleObservation;

/// Words that an instance remembers of each gauge series: the value, how often it was set, which read has found that.
const GAUGE_WORDS: usize = 3;

/// A row that is not known yet.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// The totals of one metric in one component: of each of its series, one row.
#[derive(Debug)]
pub(crate) struct Aggregate {
    metric: Metric,
    family: Arc<FamilyInfo>,
    series: usize,
    words: usize,
    /// Counters and histograms: the words of each row, added up over all instances. A floating number's word has the whole amounts
    /// that were recorded by handles.
    counts: Vec<u64>,
    /// Floating counters and histograms' floating sums: the sum of the instances that have ended.
    sums: Vec<f64>,
    /// Exponential histograms: each row's counts and integer sum, added up over all instances.
    exponentials: Vec<exponential::Row>,
    /// Gauges: what the instances that have ended leave.
    retained: Vec<Retained>,
    /// Histograms: values whose traces are known.
    exemplars: Exemplars,
    beginnings: StartTimes,
    table: Table,
    /// What guests record in by handles, of the rows that were resolved.
    pending: Vec<Option<Arc<Accumulator>>>,
    /// Whether its name belongs to another metric, so that it is not exported.
    is_withdrawn: bool,
    /// Whether it was made for a guest that has resolved it.
    is_resolved: bool,
}

/// An entry's bytes in a guest's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryBytes<'a> {
    /// What lies between the head and the cells: the tables, and the scratch area if there is one.
    pub(crate) tables: &'a [u8],
    pub(crate) cells: &'a [u8],
}

/// What an instance remembers of an entry.
#[derive(Debug)]
pub(crate) struct LastSeen<'a> {
    pub(crate) words: &'a mut [u64],
    pub(crate) rows: &'a mut [u32],
}

/// The read that values are merged in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) order: u64,
    pub(crate) now: Duration,
}

impl Aggregate {
    pub(crate) fn new(metric: &Metric, identity: &Identity, family: Arc<FamilyInfo>, clock: &Clock) -> Self {
        let (series, words) = (metric.series(), metric.words());
        let is_declared = series as u64 <= limits::DECLARED_SERIES;
        let beginnings =
            if family.kind.has_beginning() { StartTimes::new(clock, !metric.is_dense()) } else { StartTimes::Unknown };
        let mut total = Self {
            metric: metric.clone(),
            family,
            series,
            words,
            counts: Vec::new(),
            sums: Vec::new(),
            exponentials: Vec::new(),
            retained: Vec::new(),
            exemplars: Exemplars::default(),
            beginnings,
            table: Table::new(metric, identity, is_declared && !is_gauge(metric.kind)),
            pending: Vec::new(),
            is_withdrawn: false,
            is_resolved: false,
        };
        if metric.is_dense() {
            total.resize(series);
        }
        total
    }

    pub(crate) fn metric(&self) -> &Metric {
        &self.metric
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn
    }

    /// Whether it was made for a guest that has resolved it, and not for a declaration.
    pub(crate) fn is_resolved(&self) -> bool {
        self.is_resolved
    }

    /// Says that it is made for a guest that has resolved it.
    pub(crate) fn set_resolved(&mut self) {
        self.is_resolved = true;
    }

    /// Takes it from the output.
    pub(crate) fn withdraw(&mut self) {
        self.set_withdrawn(true);
    }

    fn set_withdrawn(&mut self, is_withdrawn: bool) {
        self.is_withdrawn = is_withdrawn;
        for pending in self.pending.iter().flatten() {
            pending.set_withdrawn(is_withdrawn);
        }
    }

    /// Whether a guest has a handle of one of its series, but a gauge's.
    pub(crate) fn has_handles(&self) -> bool {
        self.pending.iter().flatten().any(|pending| Arc::strong_count(pending) > 1)
    }

    /// Puts it into the output again.
    pub(crate) fn restore(&mut self, family: Arc<FamilyInfo>) {
        self.family = family;
        self.set_withdrawn(false);
    }

    /// Gives back what it has kept; no instance may have it.
    pub(crate) fn vacate(&mut self, budget: &mut Budget) {
        self.set_withdrawn(true);
        budget.give_back(std::mem::take(&mut self.exemplars).len());
        self.beginnings = StartTimes::Unknown;
        self.is_resolved = false;
        (self.counts, self.sums, self.exponentials, self.retained, self.table) = Default::default();
        self.pending = Vec::new();
    }

    /// Bytes between an entry's head and its cells.
    pub(crate) fn before_cells(&self) -> usize {
        self.metric.tables() + self.metric.scratch()
    }

    /// Bytes of the cells in an entry.
    pub(crate) fn cells(&self) -> usize {
        self.series * self.words * 8
    }

    /// Bytes of an entry behind its head.
    pub(crate) fn entry_size(&self) -> usize {
        self.before_cells() + self.cells()
    }

    /// Words that an instance remembers of an entry.
    pub(crate) fn remembered(&self) -> usize {
        self.series * self.stride()
    }

    /// Series of an entry whose rows an instance remembers.
    pub(crate) fn dynamic_series(&self) -> usize {
        if self.table.is_dynamic() { self.series } else { 0 }
    }

    /// Whether its values are needed as they are now, and not only added up.
    pub(crate) fn is_current(&self) -> bool {
        is_gauge(self.metric.kind) || has_float_sum(self.metric.kind)
    }

    /// The row of the series with these texts for its labels, made now if there is none and there is room for it.
    pub(crate) fn resolve(&mut self, labels: &[&str], budget: &mut Budget, drops: &mut DropCounts) -> u32 {
        // What is pending takes as much again, and what stands around it.
        let row = self.table.row_of(labels, 2 * self.words + PENDING_WORDS, budget, drops);
        self.resize(self.table.len());
        row as u32
    }

    /// What guests record in by handles in a row that was resolved, unless it is a gauge's.
    pub(crate) fn pending(&mut self, row: u32) -> Arc<Accumulator> {
        let row = row as usize;
        if self.pending.len() <= row {
            self.pending.resize(row + 1, None);
        }
        let (kind, metric) = (self.metric.kind, self.metric.hash);
        let pending = || Arc::new(Accumulator::new(kind, &self.family, metric, row as u32));
        self.pending[row].get_or_insert_with(pending).clone()
    }

    /// Adds what guests have recorded by handles since the last time.
    pub(crate) fn absorb(&mut self) {
        for (row, pending) in self.pending.iter().enumerate() {
            let Some(pending) = pending else { continue };
            let counts = &mut self.counts[row * self.words..][..self.words];
            let part = pending.take(counts);
            if let Some(sum) = self.sums.get_mut(row) {
                cell::add_float(sum, part);
            }
        }
    }

    /// Merges a gauge that an instance has set by a handle.
    pub(crate) fn add_setting(&self, current: &mut Current, row: u32, setting: &GaugeCell) {
        let (Some(reading), Some(gauge)) = (setting.reading(), current.gauges.get_mut(row as usize)) else { return };
        *gauge = Some(gauge.map_or(reading, |other| other.merge(reading, self.metric.merge)));
    }

    /// Keeps what an instance leaves of a gauge that it has set by a handle.
    pub(crate) fn retire_setting(&mut self, row: u32, setting: &GaugeCell, ended: Duration) {
        if let (Some(reading), Some(retained)) = (setting.reading(), self.retained.get_mut(row as usize)) {
            retained.keep(reading, ended, self.metric.merge);
        }
    }

    /// Merges an entry of an instance that is read for the first and last time.
    pub(crate) fn merge_once(
        &mut self,
        entry: EntryBytes<'_>,
        moment: Moment,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) {
        if !self.table.is_dynamic() {
            return self.add_once(0, entry, moment, drops);
        }
        for (position, cells) in entry.cells.chunks_exact(self.words * 8).enumerate() {
            if self.is_used(cells) {
                let row = self.row(position, entry.tables, budget, drops);
                self.add_once(row, EntryBytes { cells, ..entry }, moment, drops);
            }
        }
    }

    /// Merges an entry of an instance, of which `memory` says what was merged before.
    pub(crate) fn merge(
        &mut self,
        entry: EntryBytes<'_>,
        memory: LastSeen<'_>,
        moment: Moment,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) {
        if !self.table.is_dynamic() {
            return self.add_since(0, entry, memory.words, moment, drops);
        }
        let remembered = memory.words.chunks_exact_mut(self.stride()).zip(memory.rows);
        let cells = entry.cells.chunks_exact(self.words * 8);
        for (position, (cells, (words, row))) in cells.zip(remembered).enumerate() {
            if *row == NO_ROW {
                if !self.is_used(cells) {
                    continue;
                }
                *row = self.row(position, entry.tables, budget, drops) as u32;
            }
            self.add_since(*row as usize, EntryBytes { cells, ..entry }, words, moment, drops);
        }
    }

    /// The row of a series whose entry was merged just now; `rows` is what the instance remembers, if it does.
    pub(crate) fn merged_row(
        &mut self,
        position: usize,
        tables: &[u8],
        rows: Option<&[u32]>,
        budget: &mut Budget,
    ) -> usize {
        match rows {
            _ if !self.table.is_dynamic() => position,
            Some(rows) => rows[position] as usize,
            // What is wrong with its labels has been counted.
            None => self.row(position, tables, budget, &mut DropCounts::default()),
        }
    }

    /// Keeps the exemplar of a bucket.
    pub(crate) fn keep(&mut self, row: usize, bucket: u32, mut exemplar: Exemplar, budget: &mut Budget) {
        // A series that was met by this read has begun a little after the time that the read was told.
        exemplar.time = exemplar.time.max(self.beginnings.get(row).unwrap_or(0));
        if row < self.table.len() && !self.is_withdrawn {
            self.exemplars.keep(row as u32, bucket, exemplar, || budget.take_exemplar());
        }
    }

    /// Keeps what an instance leaves that has ended.
    pub(crate) fn retire(&mut self, memory: LastSeen<'_>, ended: Duration) {
        if !self.is_current() {
            return;
        }
        let (kind, rule, stride) = (self.metric.kind, self.metric.merge, self.stride());
        for (position, words) in memory.words.chunks_exact(stride).enumerate() {
            let Some(row) = self.remembered_row(position, memory.rows) else { continue };
            if has_float_sum(kind) {
                cell::add_float(&mut self.sums[row], f64::from_bits(words[0]));
            } else if let Some(reading) = remembered_reading(kind, words) {
                self.retained[row].keep(reading, ended, rule);
            }
        }
    }

    /// The values that are needed as they are now, to which those of the live instances are added.
    pub(crate) fn current(&self, now: Duration) -> Current {
        let rule = self.metric.merge;
        Current {
            sums: self.sums.clone(),
            gauges: self.retained.iter().map(|retained| retained.reading(now, rule)).collect(),
        }
    }

    /// Adds what an instance that is alive has now.
    pub(crate) fn add_current(&self, current: &mut Current, words: &[u64], rows: &[u32]) {
        let (kind, rule) = (self.metric.kind, self.metric.merge);
        for (position, words) in words.chunks_exact(self.stride()).enumerate() {
            let Some(row) = self.remembered_row(position, rows) else { continue };
            if has_float_sum(kind) {
                cell::add_float(&mut current.sums[row], f64::from_bits(words[0]));
            } else if let Some(reading) = remembered_reading(kind, words) {
                let gauge = &mut current.gauges[row];
                *gauge = Some(gauge.map_or(reading, |other| other.merge(reading, rule)));
            }
        }
    }

    /// The values for a snapshot.
    pub(crate) fn collect(&mut self, current: &Current) -> (Arc<FamilyInfo>, Block) {
        let kind = self.metric.kind;
        let rows = if self.table.is_declared() {
            Rows::All
        } else {
            let (counts, words) = (&self.counts, self.words);
            let is_touched = |row: &u32| {
                let row = *row as usize;
                if is_gauge(kind) {
                    return current.gauges[row].is_some();
                }
                if kind.is_exponential() {
                    return !self.exponentials[row].counts.is_empty();
                }
                self.pending.get(row).is_some_and(Option::is_some)
                    || counts[row * words..][..words].iter().any(|word| *word != 0)
                    || current.sums.get(row).is_some_and(|sum| *sum != 0.0)
            };
            Rows::Some(self.table.order().filter(is_touched).collect())
        };
        let labels = self.table.labels(&rows);
        let values = match kind {
            Kind::GaugeI64 | Kind::GaugeF64 => {
                let reading = |row: usize| current.gauges[row].map_or(Number::Float(0.0), |reading| reading.number);
                Values::Numbers(self.indices(&rows).map(reading).collect())
            }
            Kind::CounterF64 | Kind::UpDownF64 => {
                let number = |row: usize| cell::number(kind, self.counts[row], current.sums[row]);
                Values::Numbers(self.indices(&rows).map(number).collect())
            }
            Kind::UpDownI64 => {
                let signed = |row: usize| Number::Signed(self.counts[row].cast_signed());
                Values::Numbers(self.indices(&rows).map(signed).collect())
            }
            Kind::Info => Values::Unsigned(vec![1]),
            Kind::HistogramF64 | Kind::HistogramNanos => {
                let mut counts = Vec::new();
                let mut sums = Vec::new();
                for row in self.indices(&rows) {
                    let words = &self.counts[row * self.words..][..self.words];
                    counts.extend_from_slice(&words[1..]);
                    sums.push(match kind {
                        Kind::HistogramF64 => Number::Float(current.sums[row]),
                        _ => Number::Nanos(words[0]),
                    });
                }
                Values::Histograms { counts, sums }
            }
            Kind::ExponentialF64 | Kind::ExponentialNanos => {
                let value = |row: usize| {
                    let exponential::Row { counts, nanos } = &self.exponentials[row];
                    let sum = current.sums.get(row).map_or(Number::Nanos(*nanos), |sum| Number::Float(*sum));
                    ExponentialValue { counts: counts.clone(), sum }
                };
                Values::Exponentials(self.indices(&rows).map(value).collect())
            }
            _ => match &rows {
                Rows::All => Values::Unsigned(self.counts.clone()),
                Rows::Some(rows) => Values::Unsigned(rows.iter().map(|row| self.counts[*row as usize]).collect()),
            },
        };
        let (created, exemplars) = (self.beginnings.of(&rows), self.exemplars.of(&rows));
        (self.family.clone(), Block { labels, rows, values, created, exemplars })
    }

    fn indices<'a>(&self, rows: &'a Rows) -> Box<dyn Iterator<Item = usize> + 'a> {
        match rows {
            Rows::All => Box::new(0..self.series),
            Rows::Some(rows) => Box::new(rows.iter().map(|row| *row as usize)),
        }
    }

    /// Whether an instance has recorded in a series.
    fn is_used(&self, cells: &[u8]) -> bool {
        if self.metric.kind.is_exponential() { exponential::is_used(cells) } else { words(cells).any(|word| word != 0) }
    }

    fn stride(&self) -> usize {
        if is_gauge(self.metric.kind) { GAUGE_WORDS } else { self.words }
    }

    /// The row of a series of an instance, if it has ever had a value.
    fn remembered_row(&self, position: usize, rows: &[u32]) -> Option<usize> {
        if self.table.is_dynamic() {
            rows.get(position).filter(|row| **row != NO_ROW).map(|row| *row as usize)
        } else {
            Some(position)
        }
    }

    /// The row of a series with text labels, made now if there is none.
    fn row(&mut self, position: usize, tables: &[u8], budget: &mut Budget, drops: &mut DropCounts) -> usize {
        let row = self.table.row(position, tables, self.words, budget, drops);
        self.resize(self.table.len());
        row
    }

    fn resize(&mut self, rows: usize) {
        self.beginnings.resize(rows);
        match self.metric.kind {
            Kind::GaugeI64 | Kind::GaugeF64 => self.retained.resize_with(rows, Retained::default),
            kind if kind.is_exponential() => self.exponentials.resize_with(rows, exponential::Row::default),
            _ => self.counts.resize(rows * self.words, 0),
        }
        if has_float_sum(self.metric.kind) {
            self.sums.resize(rows, 0.0);
        }
    }

    /// Adds cells of consecutive series that begin at a row and that were never read before.
    fn add_once(&mut self, row: usize, entry: EntryBytes<'_>, moment: Moment, drops: &mut DropCounts) {
        let (kind, rule, cells) = (self.metric.kind, self.metric.merge, entry.cells);
        match kind {
            Kind::GaugeI64 | Kind::GaugeF64 => {
                for (retained, cell) in self.retained[row..].iter_mut().zip(cells.chunks_exact(16)) {
                    let mut cell = words(cell);
                    let (word, sets) = (cell.next().unwrap_or(0), cell.next().unwrap_or(0));
                    match gauge::number(kind, word) {
                        _ if sets == 0 => {}
                        Some(number) => retained.keep(Reading { number, order: moment.order }, moment.now, rule),
                        None => drops.add(HostDropReason::NotFinite, 1),
                    }
                }
            }
            Kind::UpDownI64 => cell::add_signed(&mut self.counts[row..], cells),
            Kind::ExponentialF64 | Kind::ExponentialNanos => {
                let shape = exponential::Shape::of(&self.metric, &self.family);
                let sums = self.sums.get_mut(row..).unwrap_or_default();
                exponential::add_once(&mut self.exponentials[row..], sums, entry, shape, drops);
            }
            Kind::CounterF64 | Kind::UpDownF64 | Kind::HistogramF64 => {
                let counts = self.counts[row * self.words..].chunks_exact_mut(self.words);
                let cells = cells.chunks_exact(self.words * 8);
                for ((counts, sum), cells) in counts.zip(&mut self.sums[row..]).zip(cells) {
                    match cell::sum(kind, &cells[..8], 0.0) {
                        Ok(latest) => cell::add_float(sum, latest),
                        Err(offence) => drops.add(offence, 1),
                    }
                    cell::add(&mut counts[1..], &cells[8..], drops);
                }
            }
            _ => cell::add(&mut self.counts[row * self.words..], cells, drops),
        }
    }

    /// Adds cells of consecutive series that begin at a row, of which `memory` holds what was added before.
    fn add_since(
        &mut self,
        row: usize,
        entry: EntryBytes<'_>,
        memory: &mut [u64],
        moment: Moment,
        drops: &mut DropCounts,
    ) {
        let (kind, cells) = (self.metric.kind, entry.cells);
        match kind {
            Kind::GaugeI64 | Kind::GaugeF64 => {
                for (memory, cell) in memory.chunks_exact_mut(GAUGE_WORDS).zip(cells.chunks_exact(16)) {
                    let mut cell = words(cell);
                    let (word, sets) = (cell.next().unwrap_or(0), cell.next().unwrap_or(0));
                    if sets == 0 {
                        continue;
                    }
                    if gauge::number(kind, word).is_none() {
                        drops.add(HostDropReason::NotFinite, 1);
                        continue;
                    }
                    let order = if memory[1] == sets { memory[2] } else { moment.order };
                    memory.copy_from_slice(&[word, sets, order]);
                }
            }
            Kind::UpDownI64 => cell::add_signed_since(&mut self.counts[row..], cells, memory),
            Kind::ExponentialF64 | Kind::ExponentialNanos => {
                let shape = exponential::Shape::of(&self.metric, &self.family);
                exponential::add_since(&mut self.exponentials[row..], entry, memory, shape, drops);
            }
            Kind::CounterF64 | Kind::UpDownF64 | Kind::HistogramF64 => {
                let counts = self.counts[row * self.words..].chunks_exact_mut(self.words);
                let cells = cells.chunks_exact(self.words * 8);
                for ((counts, memory), cells) in counts.zip(memory.chunks_exact_mut(self.words)).zip(cells) {
                    match cell::sum(kind, &cells[..8], f64::from_bits(memory[0])) {
                        Ok(latest) => memory[0] = latest.to_bits(),
                        Err(offence) => drops.add(offence, 1),
                    }
                    cell::add_since(&mut counts[1..], &cells[8..], &mut memory[1..], drops);
                }
            }
            _ => cell::add_since(&mut self.counts[row * self.words..], cells, memory, drops),
        }
    }
}

/// Words that what is pending of a series takes beside its values.
const PENDING_WORDS: usize = 12;

/// The values of a total that are needed as they are now.
#[derive(Debug)]
pub(crate) struct Current {
    sums: Vec<f64>,
    gauges: Vec<Option<Reading>>,
}

/// Whether the first word of a series is a floating number that is added up.
fn has_float_sum(kind: Kind) -> bool {
    matches!(kind, Kind::CounterF64 | Kind::UpDownF64 | Kind::HistogramF64 | Kind::ExponentialF64)
}

fn is_gauge(kind: Kind) -> bool {
    matches!(kind, Kind::GaugeI64 | Kind::GaugeF64)
}

fn remembered_reading(kind: Kind, words: &[u64]) -> Option<Reading> {
    let [word, sets, order] = *words else { return None };
    let number = gauge::number(kind, word)?;
    (sets != 0).then_some(Reading { number, order })
}
