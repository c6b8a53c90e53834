//! The data that a read of an instance passes to an aggregate.

use std::time::Duration;

use super::exemplar::ExemplarContext;
use super::touched::TouchedSeries;

/// The bytes of an entry in a guest's memory, behind its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryBytes<'a> {
    /// The bytes between the head and the cells: the tables, and the scratch area if there is one.
    pub(crate) tables: &'a [u8],
    /// The cells of consecutive series.
    pub(crate) cells: &'a [u8],
}

/// The state of an entry that an instance keeps between two reads.
#[derive(Debug)]
pub(crate) struct LastSeen<'a> {
    /// The words of the cells at the last read, or what their kind needs of them.
    pub(crate) words: &'a mut [u64],
    /// The row of each cell; empty if it is the cell's position.
    pub(crate) rows: &'a mut [u32],
}

/// The read in which values are merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadContext {
    /// The number of the read in its component: a later read has a greater one.
    pub(crate) order: u64,
    /// The time since the moment that the registry counts from.
    pub(crate) now: Duration,
    /// `true` if the instance ends with this read.
    pub(crate) is_last: bool,
}

/// The purposes of a read beside its values.
#[derive(Default)]
pub(crate) struct Wanted<'a, 'b> {
    /// The request that the guest serves, if its values may become exemplars.
    pub(crate) exemplars: Option<&'a mut ExemplarContext<'b>>,
    /// The list of the series that the instance has touched.
    pub(crate) touched: Option<&'a mut TouchedSeries>,
}
