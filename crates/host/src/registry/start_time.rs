//! Start times of series, if the registry has a clock.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::snapshot::Rows;

/// The wall clock of a registry, in nanoseconds since 1970-01-01 00:00 UTC, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Clock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.0.is_some()).finish()
    }
}

impl Clock {
    pub(crate) fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    pub(crate) fn now(&self) -> Option<u64> {
        self.0.as_ref().map(|now| now())
    }
}

/// The start times of the rows of a metric.
#[derive(Debug, Default)]
pub(crate) enum StartTimes {
    /// There is no clock, or the values are no sums since a start.
    #[default]
    Unknown,
    /// All rows have one start time.
    Together(u64),
    /// Each row has its own.
    Each(Clock, Vec<u64>),
}

impl StartTimes {
    /// Creates the start times of rows that start now, and of later ones if `grows`.
    pub(crate) fn new(clock: &Clock, grows: bool) -> Self {
        match clock.now() {
            None => Self::Unknown,
            Some(_) if grows => Self::Each(clock.clone(), Vec::new()),
            Some(now) => Self::Together(now),
        }
    }

    /// Sets the number of rows. New ones start now.
    pub(crate) fn resize(&mut self, rows: usize) {
        if let Self::Each(clock, times) = self
            && times.len() < rows
        {
            times.resize(rows, clock.now().unwrap_or_default());
        }
    }

    /// Returns the start time of a row.
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Together(time) => Some(*time),
            Self::Each(_, times) => times.get(row).copied(),
        }
    }

    /// Keeps the start times of these rows, in this order.
    pub(crate) fn only(self, rows: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Each(clock, times) => {
                let left = rows.map(|row| times.get(row).copied().unwrap_or_default()).collect();
                Self::Each(clock, left)
            }
            other => other,
        }
    }

    /// Returns the start times of some rows, for a snapshot.
    pub(crate) fn of(&self, rows: &Rows) -> Created {
        match (self, rows) {
            (Self::Unknown, _) => Created::Unknown,
            (Self::Together(time), _) => Created::Together(*time),
            (Self::Each(_, times), Rows::All) => Created::Each(times.clone()),
            (Self::Each(_, times), Rows::Some(rows)) => {
                Created::Each(rows.iter().map(|row| times.get(*row as usize).copied().unwrap_or_default()).collect())
            }
        }
    }
}

/// The start times of the series of a block.
#[derive(Clone, Debug, Default)]
pub(crate) enum Created {
    #[default]
    Unknown,
    Together(u64),
    /// In the order of the values.
    Each(Vec<u64>),
}

impl Created {
    /// Returns the start times of consecutive series.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::Each(times) => Self::Each(times.get(range).unwrap_or_default().to_vec()),
            other => other.clone(),
        }
    }

    /// Returns the start time of the series at an index.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Together(time) => Some(*time),
            Self::Each(times) => times.get(index).copied(),
        }
    }
}
