//! The budget of a read: the work that one read of a guest may cost its host.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::ReadLimits;
use crate::memory::layout::{Layout, Slot};
use crate::memory::view::RegionView;

/// The cells between two looks at the clock, and before the first one: a small read is never cut
/// because its thread had to wait.
const UNITS_BETWEEN_CLOCKS: u64 = 1 << 14;

/// The cells that the host could merge in the time in which it reads a record.
const CELLS_PER_RECORD: u64 = 64;

/// The bytes that are taken for an entry of a list, whatever its size.
const ENTRY_BYTES: u64 = 64;

/// The cells that are taken for an entry of a list.
const ENTRY_CELLS: u64 = 8;

/// The words of the shortest record of a log.
const MIN_LOG_WORDS: u64 = 7;

/// The work that one read of a guest may cost: the bytes, cells, label texts, records and time of
/// all regions of its store together.
///
/// A read takes from the budget before it does the work. When a part of the budget has run out, the
/// rest of the read that needs it is left out, and is counted in `wasmetry_dropped_total` with the
/// reason `read_budget`. Values in a guest's memory are cumulative, so that only the last read of
/// an instance loses something; records that are left out are lost.
///
/// A memory that several regions share is merged once: an entry that lies in memory which this
/// budget has paid for already is left out, and is counted with the reason `overlap`. So all views
/// that are read within one budget must exist at the same time: between copies, the regions are
/// [forgotten](Self::forget_regions), because the next copy may lie at the place of the last one.
///
/// The defaults are in [`limits`](crate::limits). They let a read take some ten milliseconds at
/// most.
///
/// ```
/// use std::time::Duration;
/// use wasmetry_host::{Declarations, Identity, ReadBudget, ReadLimits, RegionView, Registry};
///
/// let component = Registry::new().component(Identity::new("shop"), Declarations::default());
/// let (mut first, mut second) = (component.instance(), component.instance());
/// let memory = [0; 64];
/// let view = RegionView { memory: &memory, base: 1024, header: 1024 };
/// // Both regions of the store together.
/// let mut budget = ReadBudget::new(ReadLimits::default().with_records(1000));
/// for region in [&mut first, &mut second] {
///     region.read_within(view, Duration::from_secs(1).into(), &mut budget, None);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReadBudget {
    /// The rest.
    left: ReadLimits,
    /// The records that were taken.
    taken_records: u64,
    clock: Option<Clock>,
    /// `true` if the time is over.
    is_over: bool,
    regions: MergedRegions,
}

/// The part of a budget that is kept for audit records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SetAside {
    bytes: u64,
    records: u64,
    record_bytes: u64,
}

/// A bound of the records that one ring's read takes, whatever is left of the budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordBound {
    /// The records of the budget beyond the bound.
    withheld: u64,
    /// The records that were taken before.
    taken_before: u64,
}

/// The clock by which a read ends.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: fn() -> Duration,
    end: Duration,
    /// The units until it is read again.
    unchecked: u64,
}

/// Settings.
impl ReadBudget {
    /// Creates the budget of a read with these limits. Their time counts from
    /// [`with_deadline`](Self::with_deadline) on.
    pub fn new(limits: ReadLimits) -> Self {
        Self { left: limits, ..Self::default() }
    }

    /// Forgets which memory was merged, before a region that is read in a copy of its own. What is
    /// left of the budget stays.
    pub fn forget_regions(&mut self) {
        self.regions = MergedRegions::default();
    }

    /// Sets the time at which the read ends, by a clock that only goes forward. Without it, the
    /// other parts of the budget bound the time.
    ///
    /// The clock is read once for some ten thousand cells.
    #[must_use]
    pub fn with_deadline(self, clock: fn() -> Duration, end: Duration) -> Self {
        Self { clock: Some(Clock { now: clock, end, unchecked: UNITS_BETWEEN_CLOCKS }), ..self }
    }
}

/// Taking.
impl ReadBudget {
    /// Takes the entries of a list. Returns `false` if they do not fit.
    #[inline]
    pub(crate) fn take_list(&mut self, entries: usize) -> bool {
        self.take(ENTRY_BYTES * entries as u64, ENTRY_CELLS * entries as u64)
    }

    /// Takes an entry of this many bytes and cells. Returns `false` if it does not fit.
    #[inline]
    pub(crate) fn take(&mut self, bytes: u64, cells: u64) -> bool {
        if bytes > self.left.bytes || cells > self.left.cells || self.is_late(cells) {
            return false;
        }
        self.left.bytes -= bytes;
        self.left.cells -= cells;
        true
    }

    /// Takes the text of a label. Returns `false` if it does not fit.
    pub(crate) fn take_label(&mut self, bytes: usize) -> bool {
        let rest = self.left.label_bytes.checked_sub(bytes as u64);
        // Shorter ones would fit, but the series that follow shall have the same fate.
        self.left.label_bytes = rest.unwrap_or(0);
        rest.is_some() && !self.is_late(bytes as u64 / 64)
    }

    /// Takes a record of this many bytes in its ring. Returns `false` if it does not fit.
    pub(crate) fn take_record(&mut self, bytes: u64) -> bool {
        if self.left.records == 0
            || self.left.record_bytes == 0
            || bytes > self.left.bytes
            || self.is_late(CELLS_PER_RECORD)
        {
            return false;
        }
        self.left.records -= 1;
        self.left.bytes -= bytes;
        self.taken_records += 1;
        true
    }

    /// Leaves at most this many records until [`end_bound`](Self::end_bound).
    pub(crate) fn bound_records(&mut self, most: u64) -> RecordBound {
        let withheld = self.left.records.saturating_sub(most);
        self.left.records -= withheld;
        RecordBound { withheld, taken_before: self.taken_records }
    }

    /// Ends a bound. Returns the number of records that were taken, and `true` if the next one was
    /// beyond the bound, and not beyond the budget.
    pub(crate) fn end_bound(&mut self, RecordBound { withheld, taken_before }: RecordBound) -> (u64, bool) {
        let is_reached = withheld > 0 && self.left.records == 0 && !self.is_over;
        if !self.is_over {
            self.left.records += withheld;
        }
        (self.taken_records - taken_before, is_reached)
    }

    /// Takes what audit records of this many words need, at most half of what is left, until
    /// [`put_back`](Self::put_back): other records, which are read before them, leave it to them.
    pub(crate) fn set_aside(&mut self, words: u64) -> SetAside {
        if words == 0 {
            return SetAside::default();
        }
        let aside = SetAside {
            bytes: (8 * words).min(self.left.bytes / 2),
            records: words.div_ceil(MIN_LOG_WORDS).min(self.left.records / 2),
            record_bytes: self.left.record_bytes / 2,
        };
        self.left.bytes -= aside.bytes;
        self.left.records -= aside.records;
        self.left.record_bytes -= aside.record_bytes;
        aside
    }

    /// Puts back what was set aside, unless the time is over.
    pub(crate) fn put_back(&mut self, aside: SetAside) {
        if !self.is_over {
            self.left.bytes += aside.bytes;
            self.left.records += aside.records;
            self.left.record_bytes += aside.record_bytes;
        }
    }

    /// Takes the bytes of a log or span that was made of a record.
    pub(crate) fn spend_record_bytes(&mut self, bytes: usize) {
        self.left.record_bytes = self.left.record_bytes.saturating_sub(bytes as u64);
    }

    /// Returns `true` if the time is over, after which no part of the budget is left.
    #[inline]
    fn is_late(&mut self, units: u64) -> bool {
        let Some(clock) = &mut self.clock else { return false };
        clock.unchecked = clock.unchecked.saturating_sub(units + 1);
        clock.unchecked == 0 && self.check()
    }

    #[cold]
    fn check(&mut self) -> bool {
        let Some(clock) = &mut self.clock else { return false };
        clock.unchecked = UNITS_BETWEEN_CLOCKS;
        let is_over = (clock.now)() >= clock.end;
        if is_over {
            self.is_over = true;
            self.left = ReadLimits::NOTHING;
        }
        is_over
    }

    /// Begins to merge a region.
    #[inline]
    pub(crate) fn begin_region(&mut self, view: &RegionView<'_>, layout: &Arc<Layout>) -> RegionPlace {
        self.regions.begin(view, layout)
    }

    /// Takes the memory of an entry. Returns `false` if a part of it was merged for another region.
    #[inline]
    pub(crate) fn take_place(&mut self, place: RegionPlace, slot: &Slot) -> bool {
        !place.is_checked || self.regions.take(place.range(slot))
    }
}

/// The place of a region's window in the host's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionPlace {
    /// The difference of an address of the host and that of the guest.
    offset: usize,
    /// `true` if another region was merged before.
    is_checked: bool,
}

impl RegionPlace {
    /// The place of an entry's tables and cells.
    fn range(self, slot: &Slot) -> Range<usize> {
        let start = self.offset.wrapping_add(slot.tables as usize);
        start..self.offset.wrapping_add(slot.cells as usize + slot.size)
    }
}

/// The regions that were merged, in terms of the host's memory. Different memories of one store
/// have equal addresses for their guests.
#[derive(Clone, Debug, Default)]
struct MergedRegions {
    /// The first one. Nearly all stores have no other.
    first: Option<(usize, Arc<Layout>)>,
    /// The ends of the entries of all regions by their starts, as soon as there are two.
    ranges: BTreeMap<usize, usize>,
}

impl MergedRegions {
    #[inline]
    fn begin(&mut self, view: &RegionView<'_>, layout: &Arc<Layout>) -> RegionPlace {
        let offset = view.memory.as_ptr().addr().wrapping_sub(view.base as usize);
        let is_checked = self.first.is_some();
        if is_checked {
            self.add_first();
        } else {
            self.first = Some((offset, Arc::clone(layout)));
        }
        RegionPlace { offset, is_checked }
    }

    /// Adds the entries of the first region.
    #[cold]
    fn add_first(&mut self) {
        if let Some((offset, layout)) = &self.first
            && self.ranges.is_empty()
        {
            let place = RegionPlace { offset: *offset, is_checked: true };
            for range in layout.slots.iter().map(|slot| place.range(slot)).filter(|range| !range.is_empty()) {
                self.ranges.insert(range.start, range.end);
            }
        }
    }

    /// Adds a range. Returns `false` if it overlaps one that is there.
    fn take(&mut self, range: Range<usize>) -> bool {
        let before = self.ranges.range(..range.end).next_back();
        let is_free = before.is_none_or(|(_, end)| *end <= range.start);
        if is_free && !range.is_empty() {
            self.ranges.insert(range.start, range.end);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn ranges_are_taken_once() {
        let mut regions = MergedRegions::default();
        assert!(regions.take(100..200));
        assert!(regions.take(200..300));
        assert!(regions.take(50..100));
        for range in [100..200, 0..51, 299..400, 0..1000, 150..151, 60..250] {
            assert!(!regions.take(range.clone()), "{range:?}");
        }
        assert!(regions.take(300..300));
        assert!(regions.take(300..301));
    }

    #[test]
    fn parts_run_out_apart() {
        let mut budget =
            ReadBudget::new(ReadLimits::default().with_bytes(100).with_cells(2).with_label_bytes(10).with_records(2));
        assert!(!budget.take(101, 1));
        assert!(budget.take(60, 1), "what is refused is not taken");
        assert!(!budget.take(10, 2));
        assert!(budget.take_label(8));
        assert!(!budget.take_label(3));
        assert!(!budget.take_label(1), "the rest is gone");
        assert!(budget.take_record(40));
        assert!(!budget.take_record(1), "no byte is left");
        assert!(budget.take_record(0));
        assert!(!budget.take_record(0), "two were taken");
    }

    #[test]
    fn bound_keeps_rest_of_budget() {
        let mut budget = ReadBudget::new(ReadLimits::default().with_records(5));
        let bound = budget.bound_records(2);
        assert_eq!((0..4).filter(|_| budget.take_record(8)).count(), 2);
        assert_eq!(budget.end_bound(bound), (2, true));
        let bound = budget.bound_records(9);
        assert_eq!((0..9).filter(|_| budget.take_record(8)).count(), 3, "the rest");
        assert_eq!(budget.end_bound(bound), (3, false));
    }

    #[test]
    fn last_record_may_exceed_bytes() {
        let mut budget = ReadBudget::new(ReadLimits::default().with_record_bytes(10));
        assert!(budget.take_record(8));
        budget.spend_record_bytes(1000);
        assert!(!budget.take_record(8));
    }

    #[test]
    fn time_ends_every_part() {
        static NOW: AtomicU64 = AtomicU64::new(1);
        fn clock() -> Duration {
            Duration::from_secs(NOW.load(Relaxed))
        }
        let mut budget = ReadBudget::default().with_deadline(clock, Duration::from_secs(2));
        assert!(budget.take(8, 1));
        NOW.store(2, Relaxed);
        // The clock is not read for each cell.
        let taken = (0..u64::MAX).take_while(|_| budget.take(8, 1)).count() as u64;
        assert!(taken <= UNITS_BETWEEN_CLOCKS, "{taken}");
        assert!(!budget.take_label(1) && !budget.take_record(8) && !budget.take_list(1));
    }
}
