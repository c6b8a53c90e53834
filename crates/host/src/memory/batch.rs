//! Batches: the copies of regions that guests send whose memory the host cannot read.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::batch::{Batch, Head};

use crate::ledger::{Charge, StoreMemory};
use crate::memory::route::RequestKey;
use crate::memory::view::{RegionView, Timestamp};
use crate::registry::drop_reason::HostDropReason;
use crate::{Component, Instance, RequestTelemetry, limits};

/// Receives the batches of one guest.
///
/// A host that cannot read its guests' memory answers `pushed` to `open`, with the number that
/// [`open`](Self::open) returns, and passes each batch to [`receive`](Self::receive). Every number
/// is exact up to the guest's last push; values recorded after it are lost.
///
/// ```
/// use std::time::Duration;
/// use wasmetry_host::{BatchReceiver, Declarations, Identity, Registry};
///
/// let registry = Registry::new();
/// let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
/// let component = registry.component(Identity::new("storefront"), declarations);
/// let mut receiver = BatchReceiver::new(component);
/// // The guest calls `open`, and later `flush`.
/// assert_eq!(receiver.open(), Some(1));
/// receiver.receive(b"no batch", Duration::from_secs(1).into(), None);
/// receiver.end(Duration::from_secs(2));
/// # Ok::<(), wasmetry_host::Error>(())
/// ```
#[derive(Debug)]
pub struct BatchReceiver {
    component: Component,
    memory: StoreMemory,
    regions: Vec<PushedRegion>,
}

/// One region, and the host's copy of it.
#[derive(Debug)]
struct PushedRegion {
    instance: Instance,
    /// The expected sequence number of the next batch.
    expected: u64,
    /// `true` while no batch of the current push is missing.
    is_whole: bool,
    base: u64,
    bytes: Vec<u8>,
    /// The memory of the copy.
    charge: Charge,
    /// The address of the header, once the copy is whole.
    header: Option<u64>,
}

impl BatchReceiver {
    /// Creates a receiver for a new instance of a component.
    pub fn new(component: Component) -> Self {
        let memory = component.store_memory();
        Self::new_in(component, memory)
    }

    /// Creates a receiver for a new instance of a component, in a store with this memory.
    pub fn new_in(component: Component, memory: StoreMemory) -> Self {
        Self { component, memory, regions: Vec::new() }
    }

    /// Opens a region. Returns its number, from 1, for the field `region` of the answer.
    ///
    /// Returns `None` if the guest has opened [`limits::PUSHED_REGIONS`] already; the answer is
    /// then `off`.
    pub fn open(&mut self) -> Option<u32> {
        if self.regions.len() == limits::PUSHED_REGIONS {
            self.component.count(HostDropReason::RegionLimit, 1);
            return None;
        }
        let instance = self.component.instance_in(&self.memory);
        self.regions.push(PushedRegion {
            instance,
            expected: 0,
            is_whole: false,
            base: 0,
            bytes: Vec::new(),
            charge: self.memory.charge(),
            header: None,
        });
        Some(self.regions.len() as u32)
    }

    /// Receives a batch. After the last batch of a push, the region is read as [`Instance::read`]
    /// does it.
    ///
    /// Returns the sequence number for the field `consumed` of the answer. Invalid, repeated and
    /// missing batches are counted in `wasmetry_dropped_total`.
    pub fn receive(&mut self, batch: &[u8], now: Timestamp, request: Option<&mut RequestTelemetry>) -> u64 {
        let received = Batch::decode(batch).map_err(|_| HostDropReason::Batch).and_then(|batch| {
            let index = batch.head.region.checked_sub(1).ok_or(HostDropReason::Batch)?;
            let region = self.regions.get_mut(index as usize).ok_or(HostDropReason::Batch)?;
            let lost = region.receive(&batch, now, request)?;
            Ok((lost, region.instance.consumed()))
        });
        match received {
            Ok((0, consumed)) => consumed,
            Ok((lost, consumed)) => {
                self.component.count(HostDropReason::BatchLost, lost);
                consumed
            }
            Err(reason) => {
                self.component.count(reason, 1);
                0
            }
        }
    }

    /// Reads the route that a request has set before the last push; see [`Instance::read_route`].
    pub fn read_route(&mut self, request: RequestKey) -> Option<Arc<str>> {
        let mut route = None;
        for PushedRegion { instance, base, bytes, header, .. } in &mut self.regions {
            let Some(header) = *header else { continue };
            let found = instance.read_route(RegionView { memory: bytes, base: *base, header }, request);
            route = found.or(route);
        }
        route
    }

    /// Ends the instance. `now` is the time since the moment that
    /// [`Registry::snapshot`](crate::Registry::snapshot) counts from; the instance's gauges are
    /// retained from then on.
    pub fn end(self, now: Duration) {
        for region in self.regions {
            region.instance.end(now);
        }
    }
}

impl PushedRegion {
    /// Receives a batch of this region. Returns the number of batches that were lost before it.
    fn receive(
        &mut self,
        batch: &Batch<'_>,
        now: Timestamp,
        request: Option<&mut RequestTelemetry>,
    ) -> Result<u64, HostDropReason> {
        let Head { first, last, region: _, sequence, base, len, header } = batch.head;
        let lost = sequence.checked_sub(self.expected).ok_or(HostDropReason::BatchRepeated)?;
        if lost > limits::BATCH_GAP || len > self.instance.region_bytes() {
            return Err(HostDropReason::Batch);
        }
        self.expected = sequence.saturating_add(1);
        self.header = None;
        self.is_whole = first || (self.is_whole && lost == 0);
        if base != self.base || len != self.bytes.len() as u64 {
            self.base = base;
            self.bytes = Vec::new();
            if !self.charge.resize(len as usize) {
                self.is_whole = false;
                return Err(HostDropReason::MemoryLimit);
            }
            self.bytes = vec![0; len as usize];
        }
        for (address, piece) in batch.pieces() {
            let start = (address - base) as usize;
            if let Some(bytes) = self.bytes.get_mut(start..start + piece.len()) {
                bytes.copy_from_slice(piece);
            }
        }
        // An incomplete region looks like another region. The next push has all of it.
        if last && self.is_whole {
            self.header = Some(header);
            self.instance.read(RegionView { memory: &self.bytes, base, header }, now, request);
        }
        Ok(lost)
    }
}
