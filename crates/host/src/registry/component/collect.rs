//! Collecting: the reads of a component's instances, and the values of its series.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::route;

use super::{Aggregates, ComponentState};
use crate::aggregate::exemplar::{Exemplar, PendingExemplar};
use crate::aggregate::{Aggregate, EntryBytes, LastSeen, ReadContext, SeriesKey, SoleObservation, Wanted};
use crate::ledger::{Charge, StoreMemory};
use crate::limits;
use crate::memory::budget::{ReadBudget, RegionPlace};
use crate::memory::instance::Live;
use crate::memory::layout::{Layout, Resolved, Slot};
use crate::memory::region::Region;
use crate::memory::view::RegionView;
use crate::record::TraceContext;
use crate::registry::drop_reason::{DropCounts, HostDropReason, ReportedDrops};
use crate::registry::family::FamilyInfo;
use crate::request::SeriesLabels;
use crate::snapshot::Block;

/// One read of a region.
pub(crate) struct RegionRead<'a> {
    pub(crate) view: RegionView<'a>,
    pub(crate) now: Duration,
    /// `true` if the instance ends with this read.
    pub(crate) is_last: bool,
    /// The memory of the store; `None` stands for the component's.
    pub(crate) memory: Option<&'a StoreMemory>,
    pub(crate) budget: &'a mut ReadBudget,
}

impl ComponentState {
    /// Reads a region and merges it. `live` is the index of the instance's data, which is made at
    /// the first read unless it is the last one.
    ///
    /// A large read is done in turns, between which others have the lock.
    pub(crate) fn read(
        &self,
        live: &mut Option<u32>,
        reported: &mut ReportedDrops,
        read: RegionRead<'_>,
        // An argument of its own, so that hosts which want nothing are built without the code for
        // it.
        mut wanted: Wanted<'_, '_>,
    ) {
        let RegionRead { view, now, is_last, memory, budget } = read;
        let mut drops = DropCounts::default();
        match Region::open(view) {
            Ok(region) => {
                let read = ReadContext { order: self.next_order(), now, is_last };
                let charge = || memory.map_or_else(|| self.store_charge(), StoreMemory::charge);
                let mut aggregates = self.turns.lock(&self.aggregates);
                if let Some(mut merge) = aggregates.begin(live, &region, read, charge, budget, &mut drops) {
                    while !aggregates.merge(&mut merge, budget, &mut wanted, &mut drops) {
                        drop(aggregates);
                        aggregates = self.turns.lock(&self.aggregates);
                    }
                }
            }
            Err(reason) => drops.add(reason, 1),
        }
        for (reason, count) in drops.to_report(reported) {
            self.count(reason, count);
        }
        for (reason, count) in GuestDropReason::ALL.into_iter().zip(drops.guest).filter(|(_, count)| *count != 0) {
            self.count_guest_drop(reason, count);
        }
    }

    /// Returns the bytes of an entry with this hash behind its head; 0 if the hash is not known.
    pub(crate) fn entry_size(&self, hash: u64) -> usize {
        let aggregates = self.aggregates();
        match aggregates.by_hash.get(&hash) {
            Some(Resolved::Metric(index)) => aggregates.all[*index as usize].entry_bytes(),
            _ if hash == route::ENTRY_HASH => route::SLOTS_SIZE,
            _ => 0,
        }
    }

    /// Ends an instance. `ended` is the time of its last read if none is given.
    pub(crate) fn end_instance(&self, live: u32, ended: Option<Duration>) {
        self.aggregates().end_instance(live, ended);
    }

    /// Keeps the exemplars of a request whose trace is exported.
    pub(crate) fn keep_exemplars(&self, pending: Vec<PendingExemplar>, context: TraceContext, time: u64) {
        if pending.is_empty() {
            return;
        }
        let mut aggregates = self.aggregates();
        let Aggregates { all, by_hash, budget, .. } = &mut *aggregates;
        for PendingExemplar { metric, row, bucket, value } in pending {
            let Some(Resolved::Metric(index)) = by_hash.get(&metric) else { continue };
            all[*index as usize].keep_exemplar(row as usize, bucket, Exemplar::new(value, context, time), budget);
        }
    }

    /// Returns the name and labels of a series; `None` if it was removed.
    pub(crate) fn series_labels(&self, key: SeriesKey) -> Option<SeriesLabels> {
        self.aggregates().all.get(key.index())?.series_labels(key)
    }

    /// Adds the values of all series to a snapshot.
    pub(crate) fn collect(&self, now: Duration, blocks: &mut Vec<(Arc<FamilyInfo>, Block)>) {
        // Reads that begin now come after it.
        let mut aggregates = self.turns.lock_next(&self.aggregates);
        aggregates.now = now;
        aggregates.free_idle();
        self.charge(&mut aggregates);
        self.accounts.memory.correct_gauge();
        let Aggregates { all, live, gauges, room, .. } = &mut *aggregates;
        all.iter_mut().for_each(|aggregate| aggregate.begin_snapshot(now));
        for live in live {
            let Some(layout) = &live.layout else { continue };
            for slot in layout.gauge_slots() {
                let (words, rows) = (&live.words[slot.words.clone()], &live.rows[slot.rows.clone()]);
                all[slot.aggregate as usize].add_live(words, rows);
            }
        }
        gauges.add_to_snapshot(all);
        let exported = all.iter_mut().filter(|aggregate| !aggregate.is_withdrawn());
        let mut hidden = 0;
        // Filtered, their number is not known.
        blocks.reserve(exported.size_hint().1.unwrap_or(0));
        blocks.extend(exported.filter_map(|aggregate| aggregate.snapshot(room, &mut hidden)));
        drop(aggregates);
        if hidden > 0 {
            self.count(HostDropReason::ExpositionLimit, hidden);
        }
    }

    /// Charges what the host keeps for the component beside its stores: its series, its
    /// declarations, and what makes the next reads cheap. It is in use already, so that it is
    /// charged beyond a limit too; new series are refused then.
    pub(super) fn charge(&self, aggregates: &mut Aggregates) {
        let (bytes, series) = aggregates.used();
        aggregates.budget.set_used(size_of::<Self>() + bytes + self.defined_sites.memory(), series);
        aggregates.declared.set(aggregates.metrics());
    }
}

/// A region that is being merged.
struct Merge<'a> {
    region: Region<'a>,
    layout: Arc<Layout>,
    place: RegionPlace,
    /// The index of the next slot.
    next: usize,
    /// The index of the instance's data, if it has any.
    live: Option<u32>,
    read: ReadContext,
}

impl Aggregates {
    /// Begins a read. Returns `None` if there is nothing to merge.
    fn begin<'a>(
        &mut self,
        live: &mut Option<u32>,
        region: &Region<'a>,
        read: ReadContext,
        charge: impl FnOnce() -> Charge,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) -> Option<Merge<'a>> {
        self.now = read.now;
        let layout = self.layouts.find(region, &self.all, &self.by_hash, budget, drops)?;
        // Nothing has to be kept of an instance that is read only once.
        let live = match live.or_else(|| (!read.is_last).then(|| self.start_instance())) {
            None => {
                layout.report(None, drops);
                add_guest_drops(&mut [0; GuestDropReason::ALL.len()], region, drops);
                None
            }
            Some(index) => {
                *live = Some(index);
                let data = self.live.get_mut(index as usize)?;
                if !data.extend(&layout, read, charge, drops) {
                    return None;
                }
                add_guest_drops(&mut data.losses, region, drops);
                Some(index)
            }
        };
        let place = budget.begin_region(&region.window, &layout);
        Some(Merge { region: *region, layout, place, next: 0, live, read })
    }

    /// Merges the entries of one turn. Returns `true` if they were the last ones.
    fn merge(
        &mut self,
        merge: &mut Merge<'_>,
        budget: &mut ReadBudget,
        wanted: &mut Wanted<'_, '_>,
        drops: &mut DropCounts,
    ) -> bool {
        let Merge { region, layout, place, next, live, read } = merge;
        let mut data = live.map(|index| std::mem::take(&mut self.live[index as usize]));
        let first = *next;
        let mut cells_left = limits::CELLS_PER_TURN;
        while let Some(slot) = layout.slots.get(*next) {
            // A turn has one entry, however large.
            let rest = cells_left.checked_sub(slot.series as u64).or((*next == first).then_some(0));
            let Some(rest) = rest else { break };
            cells_left = rest;
            *next += 1;
            let tables = region.window.slice(slot.tables, (slot.cells - slot.tables) as usize);
            let (Some(tables), Some(cells)) = (tables, region.window.slice(slot.cells, slot.size)) else { continue };
            if !budget.take_place(*place, slot) {
                drops.add(HostDropReason::Overlap, 1);
                continue;
            }
            if !budget.take((tables.len() + cells.len()) as u64, slot.series as u64) {
                drops.add(HostDropReason::ReadBudget, 1);
                continue;
            }
            self.merge_entry(slot, EntryBytes { tables, cells }, data.as_mut(), *read, budget, wanted, drops);
        }
        if let (Some(index), Some(data)) = (*live, data) {
            self.live[index as usize] = data;
        }
        *next == layout.slots.len()
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of the read are borrowed apart")]
    fn merge_entry(
        &mut self,
        slot: &Slot,
        entry: EntryBytes<'_>,
        mut live: Option<&mut Live>,
        read: ReadContext,
        budget: &mut ReadBudget,
        Wanted { exemplars, touched }: &mut Wanted<'_, '_>,
        drops: &mut DropCounts,
    ) {
        let aggregate = &mut self.all[slot.aggregate as usize];
        // Before the values are merged, and only for a request whose trace may be exported.
        let observations = match exemplars {
            Some(_) => {
                let last_seen = live.as_deref().map(|live| &live.words[slot.words.clone()]);
                aggregate.sole_observations(entry, last_seen)
            }
            None => Vec::new(),
        };
        match &mut live {
            None => aggregate.merge_first(entry, read, &mut self.budget, budget, drops),
            Some(live) => {
                let last_seen =
                    LastSeen { words: &mut live.words[slot.words.clone()], rows: &mut live.rows[slot.rows.clone()] };
                aggregate.merge_delta(entry, last_seen, read, &mut self.budget, budget, drops);
            }
        }
        if let Some(touched) = touched {
            let rows = live.as_deref().map(|live| &live.rows[slot.rows.clone()]);
            aggregate.touched(slot.aggregate, entry, rows, &mut self.budget, budget, touched);
        }
        let Some(exemplars) = exemplars else { return };
        let rows = live.as_deref().map(|live| &live.rows[slot.rows.clone()]);
        for SoleObservation { position, bucket, value } in observations {
            let row = aggregate.merged_row(position, entry.tables, rows, &mut self.budget, budget);
            let Some(row) = row else { continue };
            let metric = aggregate.metric().hash;
            let pending = PendingExemplar { metric, row: row as u32, bucket, value };
            if !exemplars.hold(pending) {
                let exemplar = Exemplar::new(value, exemplars.context, exemplars.time);
                aggregate.keep_exemplar(row, bucket, exemplar, &mut self.budget);
            }
        }
    }

    /// Returns the approximate bytes of everything but the words and rows of live instances, which
    /// their stores are charged for, and the number of series with text labels.
    fn used(&self) -> (usize, usize) {
        let sum = |(bytes, series): (usize, usize), aggregate: &Aggregate| {
            (bytes + aggregate.memory(), series + aggregate.text_series())
        };
        let (bytes, series) = self.all.iter().fold((0, 0), sum);
        let spare = self.ended.iter().filter_map(|index| self.live.get(*index as usize)).map(Live::spare_bytes);
        let idle = size_of::<Live>() * self.live.capacity() + spare.sum::<usize>();
        (bytes + self.layouts.memory() + self.site_bytes + idle, series)
    }

    /// Frees the buffers of ended instances, if none has started since the latest snapshot.
    fn free_idle(&mut self) {
        if !std::mem::take(&mut self.is_busy) && self.ended.len() == self.live.len() {
            (self.live, self.ended) = (Vec::new(), Vec::new());
        }
    }

    /// Makes room for the data of an instance; returns its index.
    fn start_instance(&mut self) -> u32 {
        self.is_busy = true;
        self.ended.pop().unwrap_or_else(|| {
            self.live.push(Live::default());
            self.live.len() as u32 - 1
        })
    }

    fn end_instance(&mut self, index: u32, ended: Option<Duration>) {
        let Some(live) = self.live.get_mut(index as usize) else { return };
        if let Some(layout) = live.layout.take() {
            let ended = ended.unwrap_or(live.read);
            for slot in layout.gauge_slots() {
                let last_seen =
                    LastSeen { words: &mut live.words[slot.words.clone()], rows: &mut live.rows[slot.rows.clone()] };
                self.all[slot.aggregate as usize].end_instance(&last_seen, ended);
            }
        }
        live.clear(self.ended.len() < limits::SPARE_BUFFERS);
        self.ended.push(index);
    }
}

/// Adds the increases of the counters in which the guest counts its own drops.
fn add_guest_drops(last: &mut [u64; GuestDropReason::ALL.len()], region: &Region<'_>, drops: &mut DropCounts) {
    for ((last, count), increase) in last.iter_mut().zip(region.losses()).zip(&mut drops.guest) {
        let difference = count.wrapping_sub(*last);
        *last = count;
        if difference <= i64::MAX as u64 {
            *increase = difference;
        }
    }
}
