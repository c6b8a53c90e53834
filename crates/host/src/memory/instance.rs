//! One guest region's state across reads.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::NO_ROW;
use crate::memory::copy;
use crate::memory::layout::Layout;
use crate::memory::region::{Region, Window};
use crate::memory::ring;
use crate::registry::component::{ComponentState, Extent, Visit};
use crate::registry::drop_reason::{DropCounts, HostDropReason, ReportedDrops};
use crate::registry::owner::SeriesOwner;
use crate::request::RequestTelemetry;

/// One guest region's state across reads.
///
/// Values are cumulative in the guest; a read merges what they have grown by, so that a region can be read at any time
/// and any number of times. When the instance ends or is dropped, what was read last is kept in its component's totals.
#[derive(Debug)]
pub struct Instance {
    component: Arc<ComponentState>,
    /// What the component remembers of this instance, once there was a read.
    live: Option<u32>,
    reported: ReportedDrops,
    rings: [ring::Reader; 2],
    /// Keeps the component's series for as long as there is an instance of it.
    _lease: SeriesOwner,
}

impl Instance {
    pub(crate) fn new(component: Arc<ComponentState>, owner: SeriesOwner) -> Self {
        Self { component, live: None, reported: ReportedDrops::default(), rings: Default::default(), _lease: owner }
    }

    /// Reads the region.
    ///
    /// `memory` is the window that the guest has lent, `base` the address of its first byte in the guest's memory, and
    /// `header` the address of the region's header. Bytes that make no sense are counted in `wasmetry_dropped_total`.
    /// `now` is the time since the moment that [`Registry::snapshot`](crate::Registry::snapshot) counts from.
    pub fn read(&mut self, memory: &[u8], base: u64, header: u64, now: Duration) {
        let visit = Visit { now, extent: Extent::Goes };
        self.component.read(&mut self.live, &mut self.reported, Window::new(memory, base), header, visit, None);
    }

    /// Reads the region as [`read`](Self::read) does, and takes exemplars from it for the request that `request` follows, if
    /// the trace of that is exported.
    ///
    /// Where a series of a histogram has got exactly one value since the last read, its sum tells the value, which becomes the
    /// exemplar of its bucket. Of a series that has got several, nothing is known of any of them, and no exemplar is taken.
    /// `wall` is the wall clock, in nanoseconds since 1970-01-01 00:00 UTC.
    pub fn read_for(
        &mut self,
        memory: &[u8],
        base: u64,
        header: u64,
        now: Duration,
        request: &mut RequestTelemetry,
        wall: u64,
    ) {
        let (visit, mut witness) = (Visit { now, extent: Extent::Goes }, request.witness(wall));
        let window = Window::new(memory, base);
        self.component.read(&mut self.live, &mut self.reported, window, header, visit, witness.as_mut());
    }

    /// Reads the region of a guest whose memory cannot be lent, only copied from.
    ///
    /// `copy` fills its buffer with the guest's bytes from an address on; it says no where they are not all there. It is
    /// called once for each entry of the region and a few times more, for at most
    /// [`limits::PUSHED_BYTES`](crate::limits::PUSHED_BYTES) at once. The other arguments are those of [`read`](Self::read).
    ///
    /// ```
    /// use std::time::Duration;
    /// # use wasmetry_host::{Declarations, Identity, Registry};
    /// # let registry = Registry::new();
    /// # let component = registry.component(Identity::new("shop"), Declarations::default());
    /// let mut instance = component.instance();
    /// let memory = [0u8; 4096];
    /// let copy = |address: u64, buffer: &mut [u8]| {
    ///     let bytes = usize::try_from(address).ok().and_then(|start| memory.get(start..)?.get(..buffer.len()));
    ///     bytes.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    /// };
    /// instance.read_copied(copy, 1024, Duration::from_secs(1));
    /// ```
    pub fn read_copied(&mut self, copy: impl FnMut(u64, &mut [u8]) -> bool, header: u64, now: Duration) {
        let (bytes, base) = copy::copy(header, copy, |hash| self.component.entry_size(hash));
        self.read(&bytes, base, header, now);
    }

    /// Reads the region for the last time and ends the instance.
    ///
    /// It is the same as [`read`](Self::read) and then [`end`](Self::end); for an instance that was not read before, it
    /// is cheaper, because nothing has to be remembered.
    pub fn read_last(mut self, memory: &[u8], base: u64, header: u64, now: Duration) {
        let visit = Visit { now, extent: Extent::Ends };
        self.component.read(&mut self.live, &mut self.reported, Window::new(memory, base), header, visit, None);
        self.end(now);
    }

    /// Reads the region for the last time as [`read_last`](Self::read_last) does, and takes exemplars as
    /// [`read_for`](Self::read_for) does.
    ///
    /// Where `request` has [finished](RequestTelemetry::finish) before, it is known whether the request's trace is exported, and nothing
    /// has to be kept until then.
    pub fn read_last_for(
        mut self,
        memory: &[u8],
        base: u64,
        header: u64,
        now: Duration,
        request: &mut RequestTelemetry,
        wall: u64,
    ) {
        let (visit, mut witness) = (Visit { now, extent: Extent::Ends }, request.witness(wall));
        let window = Window::new(memory, base);
        self.component.read(&mut self.live, &mut self.reported, window, header, visit, witness.as_mut());
        self.end(now);
    }

    /// Reads the logs and spans that are new in the region's rings, into `request`.
    ///
    /// `memory`, `base` and `header` are as for [`read`](Self::read); `now` is the wall clock, in nanoseconds since 1970-01-01
    /// 00:00 UTC.
    pub fn read_records(&mut self, memory: &[u8], base: u64, header: u64, request: &mut RequestTelemetry, now: u64) {
        let window = Window::new(memory, base);
        // What is wrong with the header is counted when the metrics are read.
        let Ok(region) = Region::open(window, header) else { return };
        for (index, address) in region.rings().into_iter().enumerate().filter(|(_, address)| *address != 0) {
            let take = |record: &[u8]| request.take(record, index == 1, now);
            let mut drops = DropCounts::default();
            match self.rings[index].read(&window, address, take) {
                Ok(lost) => drops.add(HostDropReason::Overwritten, lost),
                Err(offence) => drops.add(offence, 1),
            }
            for (offence, count) in drops.charge(&mut self.reported) {
                self.component.count(offence, count);
            }
        }
    }

    /// The sequence number up to which the first ring was read, for the field `consumed` of an answer.
    pub fn consumed(&self) -> u64 {
        self.rings[0].consumed()
    }

    /// Reads the region of a guest whose memory can only be copied from, for the last time, and ends the instance; see
    /// [`read_copied`](Self::read_copied) and [`read_last`](Self::read_last).
    pub fn read_copied_last(self, copy: impl FnMut(u64, &mut [u8]) -> bool, header: u64, now: Duration) {
        let (bytes, base) = copy::copy(header, copy, |hash| self.component.entry_size(hash));
        self.read_last(&bytes, base, header, now);
    }

    /// Ends the instance: its gauges are retained from `now` on.
    pub fn end(mut self, now: Duration) {
        if let Some(live) = self.live.take() {
            self.component.retire(live, Some(now));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.component.retire(live, None);
        }
    }
}

/// What a component remembers of an instance that is alive.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) layout: Option<Arc<Layout>>,
    /// The words that were read last, the oldest entry's first.
    pub(crate) words: Vec<u64>,
    /// The rows of series with text labels, or [`NO_ROW`].
    pub(crate) rows: Vec<u32>,
    pub(crate) losses: [u64; GuestDropReason::ALL.len()],
    /// When it was read last.
    pub(crate) read: Duration,
}

impl Live {
    /// Makes room for the entries that a read has found; says no where they are not those of the earlier reads with newer
    /// ones before them.
    pub(crate) fn adopt(&mut self, layout: &Arc<Layout>, now: Duration, drops: &mut DropCounts) -> bool {
        self.read = now;
        match &self.layout {
            Some(known) if Arc::ptr_eq(known, layout) => return true,
            Some(known) if !layout.continues(known) => {
                drops.add(HostDropReason::ListChanged, 1);
                return false;
            }
            known => layout.report(known.as_deref(), drops),
        }
        self.words.resize(layout.words, 0);
        self.rows.resize(layout.rows, NO_ROW);
        self.layout = Some(layout.clone());
        true
    }

    /// Forgets the instance, with its buffers kept for the next one or given back.
    pub(crate) fn clear(&mut self, keep: bool) {
        let (mut words, mut rows) = if keep {
            (std::mem::take(&mut self.words), std::mem::take(&mut self.rows))
        } else {
            (Vec::new(), Vec::new())
        };
        words.clear();
        rows.clear();
        *self = Self { words, rows, ..Self::default() };
    }
}
