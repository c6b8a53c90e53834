//! The memory of a ring of records, and the rings that are in use.
//!
//! A guest that records neither logs nor spans has no ring: everything that every guest runs finds
//! the rings by an address that the first record stores, so that the linker drops them.

#![allow(unsafe_code, reason = "a ring in use is found by its address")]

use core::mem::{offset_of, size_of};

use wasmetry_abi::ring::{CAPACITY, HEAD, HEADER_SIZE, RECORD_WORDS, TAIL};

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, Publish as _};

/// The start of a ring.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    capacity: AtomicU32,
    reserved: AtomicU32,
    /// The position of the oldest record.
    pub(crate) tail: AtomicU64,
    /// The position behind the newest record.
    pub(crate) head: AtomicU64,
}

const _: () = assert!(
    offset_of!(Head, capacity) == CAPACITY
        && offset_of!(Head, tail) == TAIL
        && offset_of!(Head, head) == HEAD
        && size_of::<Head>() == HEADER_SIZE
);

/// The memory of a ring with `N` words.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Memory<const N: usize> {
    head: Head,
    words: [AtomicU64; N],
}

impl<const N: usize> Memory<N> {
    pub(crate) const fn new() -> Self {
        assert!(N.is_power_of_two() && N >= 2 * RECORD_WORDS);
        Self {
            head: Head {
                capacity: AtomicU32::new(0),
                reserved: AtomicU32::new(0),
                tail: AtomicU64::new(0),
                head: AtomicU64::new(0),
            },
            words: [const { AtomicU64::new(0) }; N],
        }
    }
}

/// The state of a ring that only the guest reads.
#[derive(Debug)]
pub(crate) struct State {
    /// The next record's sequence number.
    pub(crate) sequence: AtomicU32,
    /// The position up to which the host has read, or has declined to read.
    pub(crate) settled: AtomicU64,
}

impl State {
    pub(crate) const fn new() -> Self {
        Self { sequence: AtomicU32::new(0), settled: AtomicU64::new(0) }
    }
}

/// A ring of records.
pub(crate) struct Ring {
    pub(crate) head: &'static Head,
    pub(crate) words: &'static [AtomicU64],
    pub(crate) state: &'static State,
    /// The word of the region's header that has the ring's address.
    pub(crate) link: &'static AtomicPtr<Head>,
    /// The index in [`IN_USE`].
    index: usize,
}

/// The number of rings: of logs and spans, of audit records, and the table of dynamic sites.
const RINGS: usize = if cfg!(feature = "dynamic") { 3 } else { 2 };

/// The addresses of the rings that are in use.
static IN_USE: [AtomicPtr<Ring>; RINGS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; RINGS];

/// The index of the ring of logs and spans. The host counts the records that it has read of this
/// ring, and reads both.
pub(crate) const MAIN: usize = 0;

/// The index of the ring of audit records.
pub(crate) const AUDIT: usize = 1;

/// The index of the table of dynamic sites.
#[cfg(feature = "dynamic")]
pub(crate) const SITES: usize = 2;

/// The rings that are in use.
#[cfg(wasmetry_component)]
fn in_use() -> impl Iterator<Item = &'static Ring> + Clone {
    IN_USE.iter().filter_map(|ring| {
        // Acquire pairs with the Release in `Ring::begin`.
        let ring = ring.load(Ordering::Acquire).cast_const();
        // SAFETY: it is null or the address of a static that nothing writes to.
        unsafe { ring.as_ref() }
    })
}

/// Notes that the host has read `consumed` records of the ring [`MAIN`], modulo 2³².
#[cfg(wasmetry_component)]
pub(crate) fn settle(consumed: u32) {
    let is_consumed = |ring: &Ring| consumed == ring.state.sequence.load(Ordering::Relaxed);
    if in_use().find(|ring| ring.index == MAIN).is_none_or(is_consumed) {
        for ring in in_use() {
            ring.state.settled.store(ring.head.head.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Ring {
    /// A ring with this memory, whose address goes to `link`.
    pub(crate) const fn new<const N: usize>(
        memory: &'static Memory<N>,
        state: &'static State,
        link: &'static AtomicPtr<Head>,
        index: usize,
    ) -> Self {
        Self { head: &memory.head, words: &memory.words, state, link, index }
    }

    /// Makes the ring known to the host and to this module.
    #[cold]
    pub(crate) fn begin(&'static self) {
        self.head.capacity.publish(self.words.len() as u32);
        if let Some(place) = IN_USE.get(self.index) {
            // Release pairs with the Acquire in `in_use`.
            place.store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
        }
        // The capacity comes before it.
        self.link.publish(core::ptr::from_ref(self.head).cast_mut());
    }

    /// The index of the word at a position; the length is a power of two.
    #[inline]
    pub(crate) fn index(&self, position: u64) -> usize {
        position as usize & (self.words.len() - 1)
    }
}

/// The memory of the rings that the host has not read, as starts and lengths in bytes: for each
/// ring that is in use its head, up to two runs of words, and its end.
#[cfg(wasmetry_component)]
pub(crate) fn unread() -> impl Iterator<Item = (*const u8, usize)> + Clone {
    in_use().flat_map(|ring| {
        let (tail, head) = (ring.head.tail.load(Ordering::Relaxed), ring.head.head.load(Ordering::Relaxed));
        let from = ring.state.settled.load(Ordering::Relaxed).clamp(tail, head);
        let first = ring.index(from);
        let count = (head - from) as usize;
        let before_end = count.min(ring.words.len() - first);
        let words = ring.words.as_ptr_range();
        [
            (core::ptr::from_ref(ring.head).cast(), size_of::<Head>()),
            (words.start.wrapping_add(first).cast(), 8 * before_end),
            (words.start.cast(), 8 * (count - before_end)),
            (words.end.cast(), 0),
        ]
    })
}
