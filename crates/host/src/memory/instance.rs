//! One guest region across reads.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::{NO_ROW, ReadContext, Wanted};
use crate::ledger::{Charge, StoreMemory};
use crate::limits;
use crate::memory::budget::ReadBudget;
use crate::memory::copy::MemoryCopy;
use crate::memory::layout::Layout;
use crate::memory::region::Region;
use crate::memory::ring;
use crate::memory::route::{self, Found, RequestKey};
use crate::memory::site_table::DynamicSites;
use crate::memory::view::{RegionView, Timestamp};
use crate::registry::component::{ComponentState, RegionRead};
use crate::registry::drop_reason::{DropCounts, HostDropReason, ReportedDrops};
use crate::registry::owner::SeriesOwner;
use crate::request::RequestTelemetry;
use crate::request::rate::RateKind;
use crate::request::ring_record::GuestSites;

/// One guest region across reads.
///
/// Values in the guest are cumulative, and a read merges their increase since the last read. So a
/// region can be read at any time and any number of times. When the instance ends or is dropped,
/// its component keeps the values of the last read.
///
/// Invalid bytes in a region are counted in `wasmetry_dropped_total`.
#[derive(Debug)]
pub struct Instance {
    component: Arc<ComponentState>,
    /// The index of the component's [`Live`] of this instance, after the first read.
    live: Option<u32>,
    reported: ReportedDrops,
    rings: [ring::Reader; 2],
    /// The number of the setting of a route that was read last.
    route: u64,
    /// The call sites that the guest has defined; most guests define none.
    sites: Option<Box<DynamicSites>>,
    /// The memory of the instance's store, if it was given.
    memory: Option<StoreMemory>,
    /// Keeps the component's series while the instance exists.
    _owner: SeriesOwner,
}

impl Instance {
    pub(crate) fn new(component: Arc<ComponentState>, owner: SeriesOwner, memory: Option<StoreMemory>) -> Self {
        Self {
            component,
            live: None,
            reported: ReportedDrops::default(),
            rings: Default::default(),
            route: 0,
            sites: None,
            memory,
            _owner: owner,
        }
    }

    /// Reads the region: its metrics, and its new logs and spans if there is a `request` that
    /// receives them.
    ///
    /// If the request's trace is exported, or may be, its metrics get exemplars. An exemplar needs
    /// a value, and memory only has sums: a histogram's series gets one if exactly one value was
    /// recorded in it since the last read.
    ///
    /// The read has a [`ReadBudget`] of its own. If a store has several regions, pass the same one
    /// to [`read_within`](Self::read_within) for each.
    #[inline]
    pub fn read(&mut self, view: RegionView<'_>, now: Timestamp, request: Option<&mut RequestTelemetry>) {
        self.read_within(view, now, &mut self.budget(), request);
    }

    /// Reads the region as [`read`](Self::read) does, as far as a budget allows.
    #[inline]
    pub fn read_within(
        &mut self,
        view: RegionView<'_>,
        now: Timestamp,
        budget: &mut ReadBudget,
        request: Option<&mut RequestTelemetry>,
    ) {
        match request {
            Some(request) => {
                let exemplars = &mut request.exemplar_context(now.wall);
                self.merge(view, now, false, budget, Wanted { exemplars: exemplars.as_mut(), touched: None });
                self.read_records_within(view, now, budget, request);
            }
            None => self.merge(view, now, false, budget, Wanted::default()),
        }
    }

    /// Reads the new logs and spans of the region into `request`, and leaves the metrics alone.
    ///
    /// [`read`](Self::read) does it too. Before a request [finishes](RequestTelemetry::finish), it
    /// needs the last records of its guest; after it, [`read_last`](Self::read_last) reads the
    /// metrics.
    pub fn read_records(&mut self, view: RegionView<'_>, now: Timestamp, request: &mut RequestTelemetry) {
        self.read_records_within(view, now, &mut self.budget(), request);
    }

    /// Reads the records as [`read_records`](Self::read_records) does, as far as a budget allows.
    /// Half of it is kept for audit records, which come last, as far as they need it. Beyond the
    /// [rate](crate::limits::RECORDS_PER_SECOND) of the component and its tenant, records are
    /// dropped.
    pub fn read_records_within(
        &mut self,
        view: RegionView<'_>,
        now: Timestamp,
        budget: &mut ReadBudget,
        request: &mut RequestTelemetry,
    ) {
        // A wrong header is counted when the metrics are read.
        let Ok(region) = Region::open(view) else { return };
        self.read_sites(&view, region.sites(), budget);
        let declared = request.declared_sites();
        let sites = GuestSites { declared: &declared, defined: self.sites.as_deref() };
        let [ring, audit] = region.rings();
        let mut aside = budget.set_aside(if audit == 0 { 0 } else { self.rings[1].unread_words(&view, audit) });
        for (index, address) in [ring, audit].into_iter().enumerate().filter(|(_, address)| *address != 0) {
            let mut drops = DropCounts::default();
            if index == 1 {
                budget.put_back(std::mem::take(&mut aside));
            }
            let receive = |record: &[u8], budget: &mut ReadBudget| {
                budget.spend_record_bytes(request.receive(record, index == 1, now.wall, sites));
            };
            // Most reads find none.
            let has_records = self.rings[index].unread_words(&view, address) > 0;
            let kind = if index == 1 { RateKind::Audit } else { RateKind::Recorded };
            let rate = has_records.then(|| self.component.rates().of(kind));
            let bound = rate.map(|rate| budget.bound_records(rate.left(now.wall)));
            let read = if ring == audit && index == 0 {
                // No guest has one ring for both.
                Err(HostDropReason::Ring)
            } else {
                self.rings[index].read(&view, address, budget, receive)
            };
            let (taken, is_over_rate) = bound.map_or((0, false), |bound| budget.end_bound(bound));
            if let Some(rate) = rate
                && taken > 0
            {
                rate.spend(taken);
            }
            let unread_reason = if is_over_rate { HostDropReason::RecordLimit } else { HostDropReason::RecordBudget };
            match read {
                Ok(unread) => {
                    drops.add(HostDropReason::Overwritten, unread.overwritten);
                    drops.add(unread_reason, unread.over_budget);
                }
                Err(reason) => drops.add(reason, 1),
            }
            for (reason, count) in drops.to_report(&mut self.reported) {
                self.component.count(reason, count);
            }
        }
    }

    /// Reads the new definitions of the table of dynamic sites, whose records follow in the rings.
    fn read_sites(&mut self, view: &RegionView<'_>, address: u64, budget: &mut ReadBudget) {
        if address == 0 {
            return;
        }
        let sites = self.sites.get_or_insert_with(|| {
            let memory = self.memory.get_or_insert_with(|| self.component.store_memory());
            Box::new(DynamicSites::new(memory.charge()))
        });
        let drops = sites.read(view, address, budget, self.component.defined_sites());
        for (reason, count) in drops.to_report(&mut self.reported) {
            self.component.count(reason, count);
        }
    }

    /// Reads the metrics of the region for the last time, and ends the instance.
    ///
    /// It is [`read`](Self::read) without records, then [`end`](Self::end). It is cheaper for an
    /// instance that was not read before, because nothing has to be kept for a next read. After the
    /// `request` has [finished](RequestTelemetry::finish), it is known whether its trace is
    /// exported, and no exemplar has to wait.
    #[inline]
    pub fn read_last(self, view: RegionView<'_>, now: Timestamp, request: Option<&mut RequestTelemetry>) {
        let mut budget = self.budget();
        self.read_last_within(view, now, &mut budget, request);
    }

    /// Reads the metrics as [`read_last`](Self::read_last) does, as far as a budget allows, and
    /// ends the instance.
    #[inline]
    pub fn read_last_within(
        mut self,
        view: RegionView<'_>,
        now: Timestamp,
        budget: &mut ReadBudget,
        request: Option<&mut RequestTelemetry>,
    ) {
        match request {
            Some(request) => {
                let mut touched = request.start_series();
                let exemplars = &mut request.exemplar_context(now.wall);
                let wanted = Wanted { exemplars: exemplars.as_mut(), touched: touched.as_mut() };
                self.merge(view, now, true, budget, wanted);
                if let Some(touched) = touched {
                    request.add_series(touched);
                }
            }
            None => self.merge(view, now, true, budget, Wanted::default()),
        }
        self.end(now.monotonic);
    }

    /// Returns the greatest number of bytes of a region of which the host has a copy.
    pub(crate) fn region_bytes(&self) -> u64 {
        self.component.limits().region_bytes
    }

    /// Returns the budget of a read of its own.
    fn budget(&self) -> ReadBudget {
        ReadBudget::new(self.component.limits().read())
    }

    fn merge(
        &mut self,
        view: RegionView<'_>,
        now: Timestamp,
        is_last: bool,
        budget: &mut ReadBudget,
        wanted: Wanted<'_, '_>,
    ) {
        let read = RegionRead { view, now: now.monotonic, is_last, memory: self.memory.as_ref(), budget };
        self.component.read(&mut self.live, &mut self.reported, read, wanted);
    }

    /// Reads the route that a request has set since the last read; `None` if it has set none.
    ///
    /// Of a component whose binary declares no routes, nothing is read. A route that is not
    /// declared is `other`, and is counted.
    #[inline]
    pub fn read_route(&mut self, view: RegionView<'_>, request: RequestKey) -> Option<Arc<str>> {
        if !self.component.has_routes() {
            return None;
        }
        let Found { stamp, hash } = route::read(view, request, self.route)?;
        self.route = stamp;
        Some(self.component.declared_route(hash))
    }

    /// Copies the region out of a memory that cannot be lent.
    ///
    /// `copy` fills its buffer with the guest's bytes from an address on, and returns `false` if
    /// the memory does not have all of them. It is called once for each entry of the region and a
    /// few times more, for at most [`REGION_BYTES`](crate::limits::REGION_BYTES) at once.
    /// `header` is the address of the region's header.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use wasmetry_host::{Declarations, Identity, Registry};
    /// # let registry = Registry::new();
    /// # let component = registry.component(Identity::new("shop"), Declarations::default());
    /// let mut instance = component.instance();
    /// let memory = [0u8; 4096];
    /// let copy = |address: u64, buffer: &mut [u8]| {
    ///     let bytes = memory.get(address as usize..).and_then(|bytes| bytes.get(..buffer.len()));
    ///     bytes.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    /// };
    /// let region = instance.copy(1024, copy);
    /// instance.read(region.view(), Duration::from_secs(1).into(), None);
    /// ```
    pub fn copy(&self, header: u64, copy: impl FnMut(u64, &mut [u8]) -> bool) -> MemoryCopy {
        MemoryCopy::new(header, copy, self.component.limits().region_bytes, |hash| self.component.entry_size(hash))
    }

    /// The sequence number of the first record in the first ring that was not read, for the field
    /// `consumed` of an answer.
    pub fn consumed(&self) -> u64 {
        self.rings[0].consumed()
    }

    /// Ends the instance. `now` is the time since the moment that
    /// [`Registry::snapshot`](crate::Registry::snapshot) counts from; the instance's gauges are
    /// retained from then on.
    pub fn end(mut self, now: Duration) {
        if let Some(live) = self.live.take() {
            self.component.end_instance(live, Some(now));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.component.end_instance(live, None);
        }
    }
}

/// A component's data of a live instance.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) layout: Option<Arc<Layout>>,
    /// The words of the last read, the oldest entry's first.
    pub(crate) words: Vec<u64>,
    /// The rows of series with text labels, or [`NO_ROW`].
    pub(crate) rows: Vec<u32>,
    pub(crate) losses: [u64; GuestDropReason::ALL.len()],
    /// The time of the last read.
    pub(crate) read: Duration,
    /// The memory of the words and rows.
    charge: Option<Charge>,
}

impl Live {
    /// Makes room for the entries of a read. Returns `false` unless they are the entries of the
    /// earlier reads with newer ones before them, and the host may keep their words.
    ///
    /// If the instance ends with this read, it may, as they go at once.
    pub(crate) fn extend(
        &mut self,
        layout: &Arc<Layout>,
        read: ReadContext,
        account: impl FnOnce() -> Charge,
        drops: &mut DropCounts,
    ) -> bool {
        self.read = read.now;
        match &self.layout {
            Some(known) if Arc::ptr_eq(known, layout) => return true,
            Some(known) if !layout.continues(known) => {
                drops.add(HostDropReason::ListChanged, 1);
                return false;
            }
            _ => {}
        }
        // Instances with equal lists share a layout, but each may have one of its own.
        let bytes = size_of::<u64>() * layout.words + size_of::<u32>() * layout.rows + layout.memory();
        let is_granted = self.charge.get_or_insert_with(account).resize(bytes);
        if !is_granted && !read.is_last {
            drops.add(HostDropReason::MemoryLimit, 1);
            return false;
        }
        layout.report(self.layout.as_deref(), drops);
        // A `Vec` would grow to twice its size.
        self.words.reserve_exact(layout.words.saturating_sub(self.words.len()));
        self.words.resize(layout.words, 0);
        self.rows.resize(layout.rows, NO_ROW);
        self.layout = Some(layout.clone());
        true
    }

    /// Returns the bytes of the buffers of an instance that has ended.
    pub(crate) fn spare_bytes(&self) -> usize {
        size_of::<u64>() * self.words.capacity() + size_of::<u32>() * self.rows.capacity()
    }

    /// Removes the instance's data. Small buffers are kept for the next instance, others are freed.
    pub(crate) fn clear(&mut self, keep: bool) {
        let (mut words, mut rows) = if keep && self.spare_bytes() <= limits::SPARE_BUFFER_BYTES {
            (std::mem::take(&mut self.words), std::mem::take(&mut self.rows))
        } else {
            (Vec::new(), Vec::new())
        };
        words.clear();
        rows.clear();
        *self = Self { words, rows, ..Self::default() };
    }
}
