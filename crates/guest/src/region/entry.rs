//! The head of a metric's memory: what links it into the list that a host walks.

#![allow(unsafe_code, reason = "a static storage is found by its address")]

use core::mem::{offset_of, size_of};

use wasmetry_abi::layout::{Offsets, state};

#[cfg(wasmetry_component)]
use crate::region::batch::Piece;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, Publish as _};

/// The start of a metric's storage.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    /// Bytes from the entry to the end of the cells, once the entry is linked; only batches need
    /// it.
    len: AtomicU64,
    entry: Entry,
}

/// The head of a metric's memory, as hosts read it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    next: AtomicPtr<Entry>,
    state: AtomicU32,
    hash: AtomicU64,
}

const OFFSETS: Offsets = match Offsets::for_width(size_of::<usize>() as u8) {
    Some(offsets) => offsets,
    None => panic!("wasmetry supports pointers of 4 and 8 bytes"),
};
const _: () = assert!(
    offset_of!(Entry, next) == OFFSETS.entry_next
        && offset_of!(Entry, state) == OFFSETS.entry_state
        && offset_of!(Entry, hash) == OFFSETS.entry_hash
        && size_of::<Entry>() == OFFSETS.entry_size
);

impl Head {
    /// A head that is not linked.
    pub(crate) const fn new() -> Self {
        Self {
            len: AtomicU64::new(0),
            entry: Entry {
                next: AtomicPtr::new(core::ptr::null_mut()),
                state: AtomicU32::new(state::IDLE),
                hash: AtomicU64::new(0),
            },
        }
    }
}

/// The address of a static storage, which begins with its head.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    head: *const Head,
}

// SAFETY: it points to a static that consists of atomics.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    /// The address of a storage.
    ///
    /// # Safety
    ///
    /// `head` is the first byte of a static that begins with a [`Head`], and may be used for all of
    /// that static.
    pub(crate) const unsafe fn new(head: *const Head) -> Self {
        Self { head }
    }

    const fn head(self) -> &'static Head {
        // SAFETY: an address is one of a static storage, which begins with its head.
        unsafe { &*self.head }
    }

    /// The entry.
    #[inline]
    const fn entry(self) -> &'static Entry {
        &self.head().entry
    }

    /// A number that no other storage has.
    #[cfg(feature = "testing")]
    pub(crate) fn number(self) -> usize {
        self.head.addr()
    }

    /// Returns `true` if the host knows the entry, or knows where to find it.
    #[inline]
    pub(crate) fn is_ready(self) -> bool {
        self.entry().state.load(Ordering::Relaxed) == state::READY
    }

    /// Returns `true` if the entry is in the list, but the host may not know the region yet.
    pub(crate) fn is_linked(self) -> bool {
        self.entry().state.load(Ordering::Relaxed) == state::LINKED
    }

    /// Notes that the host knows the region.
    pub(crate) fn set_ready(self) {
        self.entry().state.publish(state::READY);
    }

    /// Puts the entry at the front of `list`, once. Returns `true` if this call has done it.
    ///
    /// `end` is the address of the byte behind the metric's memory.
    pub(crate) fn link(self, list: &AtomicPtr<Entry>, hash: u64, end: usize) -> bool {
        let Head { len, entry } = self.head();
        if entry.state.exchange(state::IDLE, state::LINKING).is_err() {
            return false;
        }
        entry.hash.publish(hash);
        len.publish((end - core::ptr::from_ref(entry).addr()) as u64);
        let pointer = self.head.wrapping_byte_add(offset_of!(Head, entry)).cast::<Entry>().cast_mut();
        let mut newest = list.load(Ordering::Relaxed);
        loop {
            entry.next.publish(newest);
            // The entry's hash and link come before it.
            match list.exchange(newest, pointer) {
                Ok(()) => break,
                Err(found) => newest = found,
            }
        }
        entry.state.publish(state::LINKED);
        true
    }
}

/// The memory of all entries in `list`.
///
/// # Safety
///
/// Nothing records as long as the pieces are in use.
#[cfg(wasmetry_component)]
pub(crate) unsafe fn pieces(list: &AtomicPtr<Entry>) -> impl Iterator<Item = Piece> + Clone {
    // Acquire pairs with the Release in `link`.
    let mut next = list.load(Ordering::Acquire).cast_const();
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        let head = next.wrapping_byte_sub(offset_of!(Head, entry)).cast::<Head>();
        // SAFETY: the list has only entries that `link` has put there, each the one of a static
        // storage.
        let Head { len, entry } = unsafe { &*head };
        let start = next;
        next = entry.next.load(Ordering::Relaxed).cast_const();
        // SAFETY: `link` has stored the storage's length, and nothing writes to it, by this
        // function's own condition.
        Some(unsafe { Piece::new(start.cast(), len.load(Ordering::Relaxed) as usize) })
    })
}
