//! When series began, where somebody tells the time of day.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::snapshot::Rows;

/// What tells the time of day, in nanoseconds since 1970-01-01 00:00 UTC, if anything does.
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

/// When the rows of a metric's totals began.
#[derive(Debug, Default)]
pub(crate) enum StartTimes {
    /// Nobody tells the time, or what the metric has does not begin: it is not added up.
    #[default]
    Unknown,
    /// All of them at once.
    Together(u64),
    /// One by one.
    Each(Clock, Vec<u64>),
}

impl StartTimes {
    /// Those of rows that begin now, and of others that come later if `grows`.
    pub(crate) fn new(clock: &Clock, grows: bool) -> Self {
        match clock.now() {
            None => Self::Unknown,
            Some(_) if grows => Self::Each(clock.clone(), Vec::new()),
            Some(now) => Self::Together(now),
        }
    }

    /// There are this many rows now.
    pub(crate) fn resize(&mut self, rows: usize) {
        if let Self::Each(clock, times) = self
            && times.len() < rows
        {
            times.resize(rows, clock.now().unwrap_or_default());
        }
    }

    /// When a row began.
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Together(time) => Some(*time),
            Self::Each(_, times) => times.get(row).copied(),
        }
    }

    /// Those of the rows that are left, in their new order.
    pub(crate) fn only(self, rows: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Each(clock, times) => {
                let left = rows.map(|row| times.get(row).copied().unwrap_or_default()).collect();
                Self::Each(clock, left)
            }
            other => other,
        }
    }

    /// Those of some rows, for a snapshot.
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

/// When the series of a block began.
#[derive(Clone, Debug, Default)]
pub(crate) enum Created {
    #[default]
    Unknown,
    Together(u64),
    /// Each one, in the order of the values.
    Each(Vec<u64>),
}

impl Created {
    /// Those of some series, which follow each other.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::Each(times) => Self::Each(times.get(range).unwrap_or_default().to_vec()),
            other => other.clone(),
        }
    }

    /// When the series at an index began.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Together(time) => Some(*time),
            Self::Each(times) => times.get(index).copied(),
        }
    }
}
