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
    Each(Box<EachTime>),
}

/// The start time of each row, and the clock for later ones.
#[derive(Debug)]
pub(crate) struct EachTime {
    clock: Clock,
    times: Vec<u64>,
}

impl StartTimes {
    /// Creates the start times of rows that start now, and of later ones if `grows`.
    pub(crate) fn new(clock: &Clock, grows: bool) -> Self {
        match clock.now() {
            None => Self::Unknown,
            Some(_) if grows => Self::Each(Box::new(EachTime { clock: clock.clone(), times: Vec::new() })),
            Some(now) => Self::Together(now),
        }
    }

    /// Sets the number of rows. New ones start now.
    pub(crate) fn resize(&mut self, rows: usize) {
        if let Self::Each(each) = self
            && each.times.len() < rows
        {
            each.times.resize(rows, each.clock.now().unwrap_or_default());
        }
    }

    /// Returns the bytes of the start times.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Unknown | Self::Together(_) => 0,
            Self::Each(each) => size_of::<EachTime>() + size_of::<u64>() * each.times.capacity(),
        }
    }

    /// Returns the start time of a row.
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Together(time) => Some(*time),
            Self::Each(each) => each.times.get(row).copied(),
        }
    }

    /// Keeps the start times of these rows, in this order.
    pub(crate) fn only(self, rows: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Each(mut each) => {
                each.times = rows.map(|row| each.times.get(row).copied().unwrap_or_default()).collect();
                Self::Each(each)
            }
            other => other,
        }
    }

    /// Returns the start times of some rows, for a snapshot.
    pub(crate) fn of(&self, rows: &Rows) -> Created {
        match (self, rows) {
            (Self::Unknown, _) => Created::Unknown,
            (Self::Together(time), _) => Created::Together(*time),
            (Self::Each(each), Rows::All) => Created::Each(each.times.clone()),
            (Self::Each(each), Rows::Some(rows)) => {
                let time = |row: &u32| each.times.get(*row as usize).copied().unwrap_or_default();
                Created::Each(rows.iter().map(time).collect())
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
