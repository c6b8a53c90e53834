//! The start of the region, from which a host finds everything else.

#![cfg_attr(wasmetry_component, allow(unsafe_code, reason = "it lends the region's memory to batches"))]

use core::mem::{offset_of, size_of};

use wasmetry_abi::layout::{
    GuestDropReason, HAS_SITES, HEADER_FLAGS, HEADER_VERSION, HEADER_WIDTH, LOSSES, MAGIC, Offsets,
};

#[cfg(wasmetry_component)]
use crate::region::batch::Piece;
#[cfg(wasmetry_component)]
use crate::region::entry;
use crate::region::entry::{Address, Entry};
use crate::region::ring;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, Publish as _, add};

/// The start of a region.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    magic: u32,
    version: u16,
    width: u8,
    flags: u8,
    metrics: AtomicPtr<Entry>,
    /// The ring of logs and spans.
    pub(crate) ring: AtomicPtr<ring::Head>,
    /// The ring of audit records.
    pub(crate) audit: AtomicPtr<ring::Head>,
    count: AtomicU32,
    losses: [AtomicU64; LOSSES],
    /// The table of dynamic sites.
    #[cfg(feature = "dynamic")]
    pub(crate) sites: AtomicPtr<ring::Head>,
}

const OFFSETS: Offsets = match Offsets::for_width(size_of::<usize>() as u8) {
    Some(offsets) => offsets,
    None => panic!("wasmetry supports pointers of 4 and 8 bytes"),
};
const _: () = assert!(
    offset_of!(Header, version) == HEADER_VERSION
        && offset_of!(Header, width) == HEADER_WIDTH
        && offset_of!(Header, metrics) == OFFSETS.header_metrics
        && offset_of!(Header, ring) == OFFSETS.header_ring
        && offset_of!(Header, audit) == OFFSETS.header_audit
        && offset_of!(Header, count) == OFFSETS.header_count
        && offset_of!(Header, losses) == OFFSETS.header_losses
        && offset_of!(Header, flags) == HEADER_FLAGS
        && (cfg!(feature = "dynamic") || size_of::<Header>() == OFFSETS.header_size)
        && size_of::<Header>().is_multiple_of(8)
);
#[cfg(feature = "dynamic")]
const _: () = assert!(offset_of!(Header, sites) == OFFSETS.header_size);

/// The region of this copy of the crate.
pub(crate) static HEADER: Header = Header {
    magic: MAGIC,
    version: wasmetry_abi::VERSION as u16,
    width: size_of::<usize>() as u8,
    flags: if cfg!(feature = "dynamic") { HAS_SITES } else { 0 },
    metrics: AtomicPtr::new(core::ptr::null_mut()),
    ring: AtomicPtr::new(core::ptr::null_mut()),
    audit: AtomicPtr::new(core::ptr::null_mut()),
    count: AtomicU32::new(0),
    losses: [const { AtomicU64::new(0) }; LOSSES],
    #[cfg(feature = "dynamic")]
    sites: AtomicPtr::new(core::ptr::null_mut()),
};

impl Header {
    /// Links a metric's entry into the list, once; see [`Address::link`].
    pub(crate) fn link(&self, address: Address, hash: u64, end: usize) {
        if address.link(&self.metrics, hash, end) {
            let mut count = self.count.load(Ordering::Relaxed);
            while let Err(found) = self.count.exchange(count, count + 1) {
                count = found;
            }
        }
    }

    /// Counts a dropped event.
    pub(crate) fn count_drop(&self, reason: GuestDropReason) {
        if let Some(word) = self.losses.get(reason as usize) {
            add(word, 1);
        }
    }

    /// The events that were dropped for a reason.
    #[cfg(test)]
    pub(crate) fn dropped(&self, reason: GuestDropReason) -> u64 {
        self.losses[reason as usize].load(Ordering::Relaxed)
    }

    /// The memory of the region, the header first.
    ///
    /// # Safety
    ///
    /// Nothing records as long as the pieces are in use.
    #[cfg(wasmetry_component)]
    pub(crate) unsafe fn pieces(&'static self) -> impl Iterator<Item = Piece> + Clone {
        // SAFETY: it is a static, which nothing writes to, by this function's own condition.
        let header = unsafe { Piece::new(core::ptr::from_ref(self).cast(), size_of::<Self>()) };
        // SAFETY: nothing records meanwhile, by this function's own condition.
        let entries = unsafe { entry::pieces(&self.metrics) };
        // SAFETY: they are statics, which nothing writes to, by this function's own condition.
        let records = ring::unread().map(|(start, len)| unsafe { Piece::new(start, len) });
        core::iter::once(header).chain(entries).chain(records)
    }
}
