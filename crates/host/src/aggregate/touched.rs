//! The series that one instance has touched, found when its region is read for the last time.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::series::Budget;
use super::{Aggregate, EntryBytes, Values};
use crate::memory::budget::ReadBudget;
use crate::request::SeriesLabels;
use crate::snapshot::labels::Labels;
use crate::{Identity, limits};

/// A series of a component, by numbers. It means the same series as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    aggregate: u32,
    row: u32,
    /// The place of the aggregate in its component, where another may be later.
    index: u32,
}

impl SeriesKey {
    /// The place of the aggregate in its component.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

/// The series that were found in one instance.
#[derive(Debug)]
pub(crate) struct TouchedSeries {
    pub(crate) keys: Vec<SeriesKey>,
    /// Series beyond [`limits::TOUCHED_SERIES`], and metrics that were not searched.
    pub(crate) cut: u32,
    /// The cells that are still searched.
    cells: u64,
}

impl Default for TouchedSeries {
    fn default() -> Self {
        Self { keys: Vec::new(), cut: 0, cells: limits::TOUCHED_CELLS }
    }
}

/// Returns a number that no other aggregate of this process has.
pub(super) fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed)
}

impl Aggregate {
    /// Adds the series of an entry that was just merged and in which its instance has recorded.
    /// `index` is the place of the aggregate in its component; `rows` are those that the instance
    /// keeps, if it does.
    pub(crate) fn touched(
        &mut self,
        index: u32,
        entry: EntryBytes<'_>,
        rows: Option<&[u32]>,
        budget: &mut Budget,
        read: &mut ReadBudget,
        touched: &mut TouchedSeries,
    ) {
        // A series of `info` is never touched.
        if self.is_withdrawn || matches!(self.values, Values::Info | Values::Removed) {
            return;
        }
        // The read's budget is for values, so that facts have one of their own.
        let Some(rest) = touched.cells.checked_sub(self.metric.series() as u64) else {
            touched.cut = touched.cut.saturating_add(1);
            return;
        };
        touched.cells = rest;
        for (position, cells) in entry.cells.chunks_exact(self.metric.words() * 8).enumerate() {
            if !self.values.is_used(cells) {
                continue;
            }
            let has_room = touched.keys.len() < limits::TOUCHED_SERIES;
            let row = if has_room { self.merged_row(position, entry.tables, rows, budget, read) } else { None };
            match row {
                Some(row) => touched.keys.push(SeriesKey { aggregate: self.id, row: row as u32, index }),
                None => touched.cut = touched.cut.saturating_add(1),
            }
        }
    }

    /// Returns the name and labels of a series, if it is one of this aggregate's.
    pub(crate) fn series_labels(&self, key: SeriesKey) -> Option<SeriesLabels> {
        if key.aggregate != self.id || key.row as usize >= self.table.len() {
            return None;
        }
        let table = self.table.labels();
        let labels = Labels::new(&table, key.row as usize)
            .pairs()
            .filter(|(key, _)| !Identity::KEYS.contains(key))
            .map(|(key, value)| (key.to_owned(), value.into_owned()))
            .collect();
        Some(SeriesLabels { metric: self.metric.name.as_str().into(), labels })
    }
}
