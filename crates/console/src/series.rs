//! The recent past of all series, in bounded memory.
//!
//! In come snapshots, every 5 s. Out come values for the steps of a range. For each step there is a
//! column with the changes since the one before: a series that did not change takes nothing. When
//! the columns need more than they may, neighbours are united, and the changes of a longer step are
//! exact. Series that find no room are refused and counted: each tenant gets a fair share. The
//! folder does not know requests or formats.

mod account;
mod column;
mod family;
mod grid;
mod label_set;
mod value;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wasmetry_host::{FamilySnapshot, Snapshot};

use crate::limits;
use crate::record::drop::Dropped;
use account::{Account, Refused, Room};
use column::Column;
use column::ColumnWriter;
pub(crate) use family::Family;
pub(crate) use grid::{Aggregation, Grid, Groups, HistogramSteps, Totals, quantile};
pub(crate) use label_set::{LabelSets, Labels};

/// The ages in steps from which columns are united, and to how many steps, for each level of
/// coarsening.
const LEVELS: [&[(u32, u32)]; 6] = [&[], &[(180, 3)], &[(180, 12)], &[(60, 3), (180, 12)], &[(60, 12)], &[(12, 12)]];

/// The recent past of all series.
#[derive(Debug)]
pub(crate) struct SeriesStore {
    limit: usize,
    /// The time at which the host began, in nanoseconds since 1970-01-01 00:00 UTC. All series are
    /// younger.
    begin: u64,
    labels: LabelSets,
    /// By their names. Others of the same name, as of several tenants, follow with a number.
    families: BTreeMap<(String, u32), Family>,
    next_family: u32,
    /// The oldest comes first.
    columns: VecDeque<Column>,
    column_bytes: usize,
    family_bytes: usize,
    level: usize,
    /// Series of the last snapshot that found no room.
    refused: usize,
    refused_of: Refused,
    kept: usize,
    last: LastSnapshot,
}

/// The last snapshot that was stored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastSnapshot {
    /// The time, in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) time: u64,
    /// The time that it took to collect and store it.
    pub(crate) took: Duration,
    /// Its series.
    pub(crate) series: usize,
}

impl SeriesStore {
    pub(crate) fn new(limit: usize, begin: u64) -> Self {
        Self {
            limit,
            begin,
            labels: LabelSets::default(),
            families: BTreeMap::new(),
            next_family: 0,
            columns: VecDeque::new(),
            column_bytes: 0,
            family_bytes: 0,
            level: 0,
            refused: 0,
            refused_of: Refused::default(),
            kept: 0,
            last: LastSnapshot::default(),
        }
    }

    /// Stores a snapshot that was taken at `time`, in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn store(&mut self, snapshot: &Snapshot, time: u64) {
        let mut end = step_of(time);
        let last_end = self.columns.back().map(|column| column.end);
        if let Some(last) = last_end {
            if end + limits::STEPS_BACK < last {
                // The clock was set back: the past has times that are still to come.
                self.columns.clear();
                self.column_bytes = 0;
                self.families.values_mut().for_each(|family| family.set_born_by(end));
            } else {
                end = end.max(last + 1);
            }
        }
        self.begin = self.begin.min(time);
        let span = self.columns.back().map_or(1, |last| end - last.end);
        let mut writer = ColumnWriter::default();
        (self.refused, self.kept, self.refused_of) = (0, 0, Refused::default());
        // What the host knows of all comes first, whatever the names of guests' metrics.
        for is_of_host in [true, false] {
            for info in snapshot.families().filter(|info| is_host(info) == is_of_host) {
                self.store_family(info, is_of_host, end, &mut writer);
            }
        }
        let series = self.kept + self.refused;
        let column = writer.finish(end, span, time);
        self.column_bytes += column.bytes();
        self.columns.push_back(column);
        self.last = LastSnapshot { time, took: Duration::ZERO, series };
        self.bound(end);
    }

    /// Stores the series of a metric.
    fn store_family(&mut self, info: &FamilySnapshot, is_of_host: bool, end: u32, writer: &mut ColumnWriter) {
        let mut text = Vec::new();
        let Some(key) = self.find_family(info, is_of_host) else {
            for series in info.series() {
                LabelSets::write(series.labels(), &mut text);
                self.refused += 1;
                self.refused_of.add(&Labels::of(&text));
            }
            return;
        };
        let Some(family) = self.families.get_mut(&key) else { return };
        family.update(info, end);
        writer.begin_family(family.id);
        let limit = self.limit / limits::FIXED_PARTS.1 * limits::FIXED_PARTS.0;
        let room = Room { limit, used: self.family_bytes - family.counted };
        let exemplars = family.exemplar_limit(&self.labels, room);
        for series in info.series() {
            LabelSets::write(series.labels(), &mut text);
            match family.slot(&text, end, room, &mut self.labels) {
                Some(slot) => {
                    self.kept += 1;
                    if family.change(slot, series.value(), end, &mut self.labels, writer) {
                        family.keep_exemplars(&series, slot, exemplars);
                    }
                }
                None => {
                    self.refused += 1;
                    family.refused += 1;
                    self.refused_of.add(&Labels::of(&text));
                }
            }
        }
        family.charge(&mut self.labels);
        self.family_bytes = room.used + family.bytes();
        family.counted = family.bytes();
    }

    /// Returns the key of a snapshot's metric, which is added if there is room. Its first series
    /// has to find room for it.
    fn find_family(&mut self, info: &FamilySnapshot, is_of_host: bool) -> Option<(String, u32)> {
        let namesakes =
            self.families.range((info.name().to_owned(), 0)..).take_while(|((name, _), _)| name == info.name());
        let mut free = 0;
        for (key, family) in namesakes {
            if family.is_of(info, is_of_host) {
                return Some(key.clone());
            }
            // The numbers rise. One that is left out is free.
            free += u32::from(free == key.1);
        }
        let account = match info.series().next() {
            _ if is_of_host => Account::Host,
            Some(first) => {
                let mut text = Vec::new();
                LabelSets::write(first.labels(), &mut text);
                self.labels.accounts.account(&Labels::of(&text), is_of_host)
            }
            None => Account::Empty,
        };
        let limit = self.limit / limits::FIXED_PARTS.1 * limits::FIXED_PARTS.0;
        let room = Room { limit, used: self.labels.bytes() + self.family_bytes };
        if !self.labels.accounts.may_add(account, family::size(info), room) {
            return None;
        }
        self.next_family += 1;
        let key = (info.name().to_owned(), free);
        self.families.insert(key.clone(), Family::new(self.next_family, info, is_of_host));
        Some(key)
    }

    /// Takes the series of the last snapshot that found no room, by component.
    pub(crate) fn take_refused(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.refused_of).into_drops()
    }

    /// Sets how long the last snapshot took.
    pub(crate) fn set_took(&mut self, took: Duration) {
        self.last.took = took;
    }

    /// Removes what is too old, and makes columns coarser until all fit.
    fn bound(&mut self, now: u32) {
        while self.columns.front().is_some_and(|column| column.end + limits::STEPS <= now) {
            self.drop_oldest();
        }
        self.coarsen(now);
        while self.bytes() > self.limit && self.columns.len() > 1 {
            if self.level + 1 < LEVELS.len() {
                self.level += 1;
                self.coarsen(now);
            } else {
                self.drop_oldest();
            }
        }
        if self.level > 0 && self.bytes() < self.limit / 2 {
            self.level -= 1;
        }
        if now.is_multiple_of(limits::STEPS_BETWEEN_SWEEPS) || self.bytes() > self.limit {
            self.remove_ended(now);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(column) = self.columns.pop_front() {
            self.column_bytes -= column.bytes();
        }
    }

    /// Removes the series and metrics of which no column has a value any more.
    fn remove_ended(&mut self, now: u32) {
        let oldest = self.columns.front().map_or(now, |column| column.end - column.span);
        let mut bytes = 0;
        self.families.retain(|_, family| {
            family.remove_ended(oldest, &mut self.labels);
            family.counted = family.bytes();
            let is_kept = !family.is_empty() || family.last == now;
            if is_kept {
                bytes += family.counted;
                family.charge(&mut self.labels);
            } else {
                family.discharge(&mut self.labels);
            }
            is_kept
        });
        self.family_bytes = bytes;
        self.labels.accounts.forget_empty();
    }

    /// Unites the columns that are old enough at this level.
    fn coarsen(&mut self, now: u32) {
        for (age, span) in LEVELS[self.level] {
            let mut united = VecDeque::with_capacity(self.columns.len());
            let mut columns = std::mem::take(&mut self.columns).into_iter().peekable();
            while let Some(mut column) = columns.next() {
                let group = column.end.div_ceil(*span);
                // A group is united as a whole, once all of it is old enough.
                if group * span + age <= now {
                    while let Some(next) = columns.next_if(|next| next.end.div_ceil(*span) == group) {
                        self.column_bytes -= column.bytes() + next.bytes();
                        column = column.unite(&next, &self.families);
                        self.column_bytes += column.bytes();
                    }
                }
                united.push_back(column);
            }
            self.columns = united;
        }
    }

    /// The bytes of all that is kept.
    pub(crate) fn bytes(&self) -> usize {
        self.column_bytes + self.family_bytes + self.labels.bytes()
    }

    /// The number of series of the last snapshot that are kept, and of those that found no room.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.kept, self.refused)
    }

    /// The last snapshot.
    pub(crate) fn last(&self) -> LastSnapshot {
        self.last
    }

    /// The start of the oldest step, in seconds.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.columns.front().map(|column| seconds_of(column.end - column.span))
    }

    /// The end of the latest step.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.columns.back().map(|column| column.end)
    }

    /// The lengths of the steps, in seconds, with the age from which each holds.
    pub(crate) fn steps(&self) -> Vec<(u64, u64)> {
        let mut steps = vec![(limits::STEP_SECONDS, 0)];
        steps.extend(
            LEVELS[self.level]
                .iter()
                .map(|(age, span)| (u64::from(*span) * limits::STEP_SECONDS, u64::from(*age) * limits::STEP_SECONDS)),
        );
        steps
    }

    /// Returns all metrics, by name.
    pub(crate) fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.values()
    }

    /// Returns a metric. Of several with one name, it is that of the latest snapshot.
    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        self.namesakes(name).reduce(|latest, other| if other.last > latest.last { other } else { latest })
    }

    /// Returns the metrics of a name: several, if tenants or versions declare it differently.
    pub(crate) fn namesakes(&self, name: &str) -> impl Iterator<Item = &Family> {
        let families = self.families.range((name.to_owned(), 0)..).map(|(_, family)| family);
        families.take_while(move |family| family.name == name)
    }

    /// Returns the labels of a series.
    pub(crate) fn labels(&self, set: u32) -> Labels<'_> {
        self.labels.labels(set)
    }
}

/// Returns `true` if a metric is the host's: guests cannot have its name, or its series have no
/// component.
fn is_host(info: &FamilySnapshot) -> bool {
    limits::HOST_PREFIXES.iter().any(|prefix| info.name().starts_with(prefix))
        || info.series().next().is_some_and(|series| series.labels().all(|(key, _)| key != "component"))
}

/// Returns the number of the step in which a time is, the end of the step included.
pub(crate) fn step_of(nanos: u64) -> u32 {
    let step = nanos.div_ceil(1_000_000_000 * limits::STEP_SECONDS);
    u32::try_from(step).unwrap_or(u32::MAX / 2)
}

/// Returns the end of a step, in seconds.
pub(crate) fn seconds_of(step: u32) -> u64 {
    u64::from(step) * limits::STEP_SECONDS
}

#[cfg(test)]
mod tests;
