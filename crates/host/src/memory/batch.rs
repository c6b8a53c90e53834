//! Guests that send what they have recorded, because their host cannot read their memory.

use std::time::Duration;

use wasmetry_abi::batch::{Batch, Head};

use crate::registry::drop_reason::HostDropReason;
use crate::{Component, Instance, RequestTelemetry, limits};

/// The regions of one guest that sends batches.
///
/// A host that cannot keep a view of its guests' memory answers `pushed` to `open`, with the number that
/// [`open`](Self::open) gives, and hands every batch to [`receive`](Self::receive). What the guest recorded after its last push is
/// not seen; before that, every number is exact.
///
/// ```
/// use std::time::Duration;
/// use wasmetry_host::{Declarations, Identity, BatchReceiver, Registry};
///
/// let registry = Registry::new();
/// let declarations = Declarations::from_wasm(b"\0asm\x0d\0\x01\0")?;
/// let component = registry.component(Identity::new("storefront"), declarations);
/// let mut receiver = BatchReceiver::new(component);
/// // The guest calls `open`, and later `flush`.
/// assert_eq!(receiver.open(), Some(1));
/// receiver.receive(b"no batch", Duration::from_secs(1));
/// receiver.end(Duration::from_secs(2));
/// # Ok::<(), wasmetry_host::Error>(())
/// ```
#[derive(Debug)]
pub struct BatchReceiver {
    component: Component,
    regions: Vec<Copied>,
}

/// One region, and the host's copy of it.
#[derive(Debug)]
struct Copied {
    instance: Instance,
    /// The sequence number that the next batch should have.
    expected: u64,
    /// Whether every batch of this push has come so far.
    is_whole: bool,
    base: u64,
    bytes: Vec<u8>,
}

impl BatchReceiver {
    /// An receiver for one new instance of a component.
    pub fn new(component: Component) -> Self {
        Self { component, regions: Vec::new() }
    }

    /// Opens a region: the number for the field `region` of the answer, from 1 on. Nothing if the guest has opened
    /// [`limits::PUSHED_REGIONS`] already; then the answer is `off`.
    pub fn open(&mut self) -> Option<u32> {
        if self.regions.len() == limits::PUSHED_REGIONS {
            self.component.offence(HostDropReason::RegionLimit, 1);
            return None;
        }
        let instance = self.component.instance();
        self.regions.push(Copied { instance, expected: 0, is_whole: false, base: 0, bytes: Vec::new() });
        Some(self.regions.len() as u32)
    }

    /// Takes a batch. Bytes that make no sense are counted in `wasmetry_dropped_total`, as are batches that came twice or
    /// did not come. `now` is the time since the moment that [`Registry::snapshot`](crate::Registry::snapshot) counts from.
    pub fn receive(&mut self, batch: &[u8], now: Duration) {
        self.take(batch, now, None);
    }

    /// Takes a batch as [`receive`](Self::receive) does, and the logs and spans in it into `request`, for whose request it
    /// may have exemplars (see [`Instance::read_for`]); `wall` is the wall clock, in
    /// nanoseconds since 1970-01-01 00:00 UTC. Returns the sequence number for the field `consumed` of the answer.
    pub fn receive_with_records(
        &mut self,
        batch: &[u8],
        now: Duration,
        request: &mut RequestTelemetry,
        wall: u64,
    ) -> u64 {
        self.take(batch, now, Some((request, wall)))
    }

    fn take(&mut self, batch: &[u8], now: Duration, request: Option<(&mut RequestTelemetry, u64)>) -> u64 {
        let taken = Batch::decode(batch).map_err(|_| HostDropReason::Batch).and_then(|batch| {
            let index = batch.head.region.checked_sub(1).ok_or(HostDropReason::Batch)?;
            let region = self.regions.get_mut(index as usize).ok_or(HostDropReason::Batch)?;
            let lost = region.take(&batch, now, request)?;
            Ok((lost, region.instance.consumed()))
        });
        match taken {
            Ok((0, consumed)) => consumed,
            Ok((lost, consumed)) => {
                self.component.offence(HostDropReason::BatchLost, lost);
                consumed
            }
            Err(offence) => {
                self.component.offence(offence, 1);
                0
            }
        }
    }

    /// Ends the instance: its gauges are retained from `now` on.
    pub fn end(self, now: Duration) {
        for region in self.regions {
            region.instance.end(now);
        }
    }
}

impl Copied {
    /// Takes a batch of this region; returns how many were lost before it.
    fn take(
        &mut self,
        batch: &Batch<'_>,
        now: Duration,
        request: Option<(&mut RequestTelemetry, u64)>,
    ) -> Result<u64, HostDropReason> {
        let Head { first, last, region: _, sequence, base, len, header } = batch.head;
        let lost = sequence.checked_sub(self.expected).ok_or(HostDropReason::BatchRepeated)?;
        if lost > limits::BATCH_GAP || len > limits::PUSHED_BYTES {
            return Err(HostDropReason::Batch);
        }
        self.expected = sequence.saturating_add(1);
        self.is_whole = first || (self.is_whole && lost == 0);
        if base != self.base || len != self.bytes.len() as u64 {
            self.base = base;
            self.bytes = vec![0; len as usize];
        }
        for (address, piece) in batch.pieces() {
            let start = (address - base) as usize;
            if let Some(place) = self.bytes.get_mut(start..start + piece.len()) {
                place.copy_from_slice(piece);
            }
        }
        // Part of a region would look like another one; the next push has it all again.
        if last && self.is_whole {
            match request {
                Some((request, wall)) => {
                    self.instance.read_for(&self.bytes, base, header, now, request, wall);
                    self.instance.read_records(&self.bytes, base, header, request, wall);
                }
                None => self.instance.read(&self.bytes, base, header, now),
            }
        }
        Ok(lost)
    }
}
