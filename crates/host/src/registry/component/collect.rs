//! Collecting: the reads of a component's instances, and the values of its series.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::route;

use super::{Aggregates, ComponentState};
use crate::aggregate::exemplar::{Exemplar, ExemplarContext, PendingExemplar};
use crate::aggregate::{Aggregate, EntryBytes, LastSeen, ReadContext, SoleObservation};
use crate::limits;
use crate::memory::instance::Live;
use crate::memory::layout::{Layout, Resolved};
use crate::memory::region::Region;
use crate::memory::view::RegionView;
use crate::record::TraceContext;
use crate::registry::drop_reason::{DropCounts, ReportedDrops};
use crate::registry::family::FamilyInfo;
use crate::snapshot::Block;

impl ComponentState {
    /// Reads a region and merges it. `live` is the index of the instance's data, which is made at
    /// the first read unless it `is_last`; `exemplars` is the request that the guest serves, if its
    /// values may become exemplars.
    pub(crate) fn read(
        &self,
        live: &mut Option<u32>,
        reported: &mut ReportedDrops,
        view: RegionView<'_>,
        now: Duration,
        is_last: bool,
        // An argument of its own, so that hosts which never have one are built without the code for
        // it.
        exemplars: Option<&mut ExemplarContext<'_>>,
    ) {
        let mut drops = DropCounts::default();
        match Region::open(view) {
            Ok(region) => {
                let read = ReadContext { order: self.next_order(), now, is_last };
                self.aggregates().read(live, &region, read, exemplars, &mut drops);
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

    /// Adds the values of all series to a snapshot.
    pub(crate) fn collect(&self, now: Duration, blocks: &mut Vec<(Arc<FamilyInfo>, Block)>) {
        let mut aggregates = self.aggregates();
        aggregates.now = now;
        let Aggregates { all, live, gauges, .. } = &mut *aggregates;
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
        blocks.extend(exported.map(Aggregate::snapshot));
    }
}

impl Aggregates {
    fn read(
        &mut self,
        live: &mut Option<u32>,
        region: &Region<'_>,
        read: ReadContext,
        exemplars: Option<&mut ExemplarContext<'_>>,
        drops: &mut DropCounts,
    ) {
        self.now = read.now;
        let layout = self.layouts.find(region, &self.all, &self.by_hash, drops);
        // Nothing has to be kept of an instance that is read only once.
        let Some(index) = live.or_else(|| (!read.is_last).then(|| self.start_instance())) else {
            layout.report(None, drops);
            add_guest_drops(&mut [0; GuestDropReason::ALL.len()], region, drops);
            return self.merge(region, &layout, None, read, exemplars, drops);
        };
        *live = Some(index);
        let Some(place) = self.live.get_mut(index as usize) else { return };
        let mut data = std::mem::take(place);
        if data.extend(&layout, read.now, drops) {
            add_guest_drops(&mut data.losses, region, drops);
            self.merge(region, &layout, Some(&mut data), read, exemplars, drops);
        }
        self.live[index as usize] = data;
    }

    fn merge(
        &mut self,
        region: &Region<'_>,
        layout: &Layout,
        mut live: Option<&mut Live>,
        read: ReadContext,
        mut exemplars: Option<&mut ExemplarContext<'_>>,
        drops: &mut DropCounts,
    ) {
        for slot in &layout.slots {
            let tables = region.window.slice(slot.tables, (slot.cells - slot.tables) as usize);
            let (Some(tables), Some(cells)) = (tables, region.window.slice(slot.cells, slot.size)) else { continue };
            let entry = EntryBytes { tables, cells };
            let aggregate = &mut self.all[slot.aggregate as usize];
            // Before the values are merged, and only for a request whose trace may be exported.
            let observations = match &exemplars {
                Some(_) => {
                    let last_seen = live.as_deref().map(|live| &live.words[slot.words.clone()]);
                    aggregate.sole_observations(entry, last_seen)
                }
                None => Vec::new(),
            };
            match &mut live {
                None => aggregate.merge_first(entry, read, &mut self.budget, drops),
                Some(live) => {
                    let last_seen = LastSeen {
                        words: &mut live.words[slot.words.clone()],
                        rows: &mut live.rows[slot.rows.clone()],
                    };
                    aggregate.merge_delta(entry, last_seen, read, &mut self.budget, drops);
                }
            }
            let Some(exemplars) = &mut exemplars else { continue };
            let rows = live.as_deref().map(|live| &live.rows[slot.rows.clone()]);
            for SoleObservation { position, bucket, value } in observations {
                let row = aggregate.merged_row(position, tables, rows, &mut self.budget);
                let metric = aggregate.metric().hash;
                let pending = PendingExemplar { metric, row: row as u32, bucket, value };
                if !exemplars.hold(pending) {
                    let exemplar = Exemplar::new(value, exemplars.context, exemplars.time);
                    aggregate.keep_exemplar(row, bucket, exemplar, &mut self.budget);
                }
            }
        }
    }

    /// Makes room for the data of an instance; returns its index.
    fn start_instance(&mut self) -> u32 {
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
