//! Layouts: the entries that a read has found, and the aggregate of each.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use wasmetry_abi::route;

use crate::aggregate::Aggregate;
use crate::limits;
use crate::memory::budget::ReadBudget;
use crate::memory::region::{Entry, Region};
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// The metric of a descriptor's hash in one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The metric with this aggregate.
    Metric(u32),
    /// A metric that was refused because another one has its name.
    Conflict,
}

/// The entries of a region, with the aggregates of its component.
#[derive(Debug)]
pub(crate) struct Layout {
    pointer: usize,
    /// In the order of the list: newest first.
    entries: Vec<Entry>,
    /// Oldest first, so that a longer list begins with the slots of the shorter one.
    pub(crate) slots: Vec<Slot>,
    /// The indices of the slots of gauges.
    gauges: Vec<u32>,
    /// The number of words that are kept of an instance with this layout.
    pub(crate) words: usize,
    /// The number of series with text labels in an instance with this layout.
    pub(crate) rows: usize,
    extent: Range<u64>,
    unknown: u64,
    conflicts: u64,
}

/// One entry whose values are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The index of the aggregate.
    pub(crate) aggregate: u32,
    /// The address of the text labels' tables. The scratch area follows them, if there is one.
    pub(crate) tables: u64,
    /// The address of the cells.
    pub(crate) cells: u64,
    /// Bytes of the cells.
    pub(crate) size: usize,
    /// The number of cells.
    pub(crate) series: usize,
    /// The range of the entry's words in the instance's.
    pub(crate) words: Range<usize>,
    /// The range of the entry's rows in the instance's; empty if every series is known in advance.
    pub(crate) rows: Range<usize>,
}

impl Layout {
    fn new(
        region: &Region<'_>,
        entries: &[Entry],
        aggregates: &[Aggregate],
        by_hash: &HashMap<u64, Resolved>,
        drops: &mut DropCounts,
    ) -> (Self, bool) {
        let mut layout = Self {
            pointer: region.offsets.pointer,
            entries: entries.to_vec(),
            slots: Vec::new(),
            gauges: Vec::new(),
            words: 0,
            rows: 0,
            extent: 0..0,
            unknown: 0,
            conflicts: 0,
        };
        let mut is_sound = true;
        let mut size = 0;
        for entry in entries.iter().rev() {
            let index = match by_hash.get(&entry.hash) {
                Some(Resolved::Metric(index)) => *index,
                Some(Resolved::Conflict) => {
                    layout.conflicts += 1;
                    continue;
                }
                // The routes of requests are read apart.
                None if entry.hash == route::ENTRY_HASH => continue,
                None => {
                    layout.unknown += 1;
                    continue;
                }
            };
            let aggregate = &aggregates[index as usize];
            let tables = entry.address + region.offsets.entry_size as u64;
            let (before, cells) = (aggregate.bytes_before_cells(), aggregate.cell_bytes());
            let whole = region.offsets.entry_size + before + cells;
            size += whole;
            // Entries that share bytes would let a small guest use much memory of the host. So all
            // entries together must fit in the window.
            let fits = region.window.slice(entry.address, whole).is_some()
                && size <= region.window.memory.len()
                && layout.words + aggregate.last_seen_words() <= limits::WORDS_PER_REGION;
            if !fits {
                drops.add(HostDropReason::EntryBounds, 1);
                is_sound = false;
                size -= whole;
                continue;
            }
            if aggregate.is_gauge() {
                layout.gauges.push(layout.slots.len() as u32);
            }
            layout.slots.push(Slot {
                aggregate: index,
                tables,
                cells: tables + before as u64,
                size: cells,
                series: aggregate.metric().series(),
                words: layout.words..layout.words + aggregate.last_seen_words(),
                rows: layout.rows..layout.rows + aggregate.last_seen_rows(),
            });
            layout.words += aggregate.last_seen_words();
            layout.rows += aggregate.last_seen_rows();
            let (start, end) = (entry.address, entry.address + whole as u64);
            layout.extent = match &layout.extent {
                empty if empty.is_empty() => start..end,
                extent => extent.start.min(start)..extent.end.max(end),
            };
        }
        (layout, is_sound)
    }

    /// Returns the approximate bytes of the layout.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&self.entries[..])
            + size_of_val(&self.slots[..])
            + size_of_val(&self.gauges[..])
    }

    /// Returns `true` if this layout is `older`, or begins with it.
    pub(crate) fn continues(&self, older: &Self) -> bool {
        self.pointer == older.pointer && self.entries.ends_with(&older.entries) && self.slots.starts_with(&older.slots)
    }

    /// The slots of gauges, whose values a snapshot needs from each live instance.
    pub(crate) fn gauge_slots(&self) -> impl Iterator<Item = &Slot> {
        self.gauges.iter().map(|slot| &self.slots[*slot as usize])
    }

    /// Counts the entries that cannot be merged and that the instance's older layout does not have.
    pub(crate) fn report(&self, older: Option<&Self>, drops: &mut DropCounts) {
        let (unknown, conflicts) = older.map_or((0, 0), |older| (older.unknown, older.conflicts));
        drops.add(HostDropReason::UnknownDescriptor, self.unknown.saturating_sub(unknown));
        drops.add(HostDropReason::TypeConflict, self.conflicts.saturating_sub(conflicts));
    }

    fn is(&self, region: &Region<'_>, entries: &[Entry]) -> bool {
        let Range { start, end } = self.extent;
        let size = (end - start) as usize;
        self.pointer == region.offsets.pointer
            && self.entries == entries
            && (size == 0 || region.window.slice(start, size).is_some())
    }
}

/// The layouts of the instances of one component.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    /// Each with its fingerprint, which is compared first; the oldest first.
    known: VecDeque<(u64, Arc<Layout>)>,
    /// The entries of all of them.
    kept: usize,
    /// The entries of the last read; kept to reuse the allocation.
    entries: Vec<Entry>,
}

impl Layouts {
    /// Returns the approximate bytes of all layouts.
    pub(crate) fn memory(&self) -> usize {
        let entry = size_of::<Entry>() + size_of::<Slot>();
        entry * self.kept + size_of::<Layout>() * self.known.len() + size_of::<Entry>() * self.entries.capacity()
    }

    /// Removes all layouts, because the metric of a hash may have changed.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.kept = 0;
    }

    /// Returns the layout of a region: a known one, or a new one. Returns `None` if there is no
    /// budget for its entries.
    pub(crate) fn find(
        &mut self,
        region: &Region<'_>,
        aggregates: &[Aggregate],
        by_hash: &HashMap<u64, Resolved>,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) -> Option<Arc<Layout>> {
        region.walk(&mut self.entries, drops);
        if !budget.take_list(self.entries.len()) {
            drops.add(HostDropReason::ReadBudget, self.entries.len() as u64);
            return None;
        }
        let fingerprint = fingerprint(&self.entries);
        let known = self.known.iter().filter(|(known, _)| *known == fingerprint);
        if let Some((_, layout)) = known.into_iter().find(|(_, layout)| layout.is(region, &self.entries)) {
            return Some(layout.clone());
        }
        let (layout, is_sound) = Layout::new(region, &self.entries, aggregates, by_hash, drops);
        let layout = Arc::new(layout);
        if is_sound {
            self.keep(fingerprint, &layout);
        }
        Some(layout)
    }

    /// Keeps a layout, for which the oldest ones make room.
    fn keep(&mut self, fingerprint: u64, layout: &Arc<Layout>) {
        self.kept += layout.entries.len();
        self.known.push_back((fingerprint, layout.clone()));
        while self.known.len() > limits::LAYOUTS || self.kept > limits::LAYOUT_ENTRIES {
            let Some((_, oldest)) = self.known.pop_front() else { break };
            self.kept -= oldest.entries.len();
        }
    }
}

/// Hashes a list. It need not resist an attacker: a collision only costs a comparison.
fn fingerprint(entries: &[Entry]) -> u64 {
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    entries.iter().fold(entries.len() as u64, |sum, entry| mix(mix(sum, entry.address), entry.hash))
}
