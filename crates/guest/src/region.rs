//! The region: the header, the list of registered metrics, and how the host learns of them.
//!
//! The layout is that of `crates/abi/FORMAT.md`, section 2; assertions below compare the two.

#![allow(unsafe_code, reason = "the region's memory is viewed as words, see `Words`")]

use core::mem::{offset_of, size_of};

use wasmetry_abi::LabelShape;
use wasmetry_abi::layout::{GuestDropReason, HEADER_VERSION, HEADER_WIDTH, LOSSES, MAGIC, Offsets, state};

#[cfg(wasmetry_component)]
use crate::batch::Piece;
use crate::host;
use crate::label::LabelSet;
use crate::observer;
use crate::record;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, add};

/// The start of a metric's storage.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    /// Bytes from the entry to the end of the cells, once the entry is registered; only batches need it.
    len: AtomicU64,
    entry: Entry,
}

/// The head of a metric's memory, as hosts read it.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    next: AtomicPtr<Entry>,
    state: AtomicU32,
    hash: AtomicU64,
}

/// The start of a region.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    magic: u32,
    version: u16,
    width: u8,
    reserved: u8,
    metrics: AtomicPtr<Entry>,
    pub(crate) ring: AtomicPtr<record::Head>,
    pub(crate) audit: AtomicPtr<record::Head>,
    count: AtomicU32,
    pub(crate) losses: [AtomicU64; LOSSES],
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
        && size_of::<Header>() == OFFSETS.header_size
);
const _: () = assert!(
    offset_of!(Entry, next) == OFFSETS.entry_next
        && offset_of!(Entry, state) == OFFSETS.entry_state
        && offset_of!(Entry, hash) == OFFSETS.entry_hash
        && size_of::<Entry>() == OFFSETS.entry_size
);

pub(crate) static HEADER: Header = Header {
    magic: MAGIC,
    version: wasmetry_abi::VERSION as u16,
    width: size_of::<usize>() as u8,
    reserved: 0,
    metrics: AtomicPtr::new(core::ptr::null_mut()),
    ring: AtomicPtr::new(core::ptr::null_mut()),
    audit: AtomicPtr::new(core::ptr::null_mut()),
    count: AtomicU32::new(0),
    losses: [const { AtomicU64::new(0) }; LOSSES],
};

/// Whether the host has been told about this region.
static ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// Whether the guest is where it must not call the host.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Memory that consists of 8-byte words and nothing else, all zero at first.
///
/// # Safety
///
/// A type that implements it consists of [`AtomicU64`]s without padding, so that its memory may be viewed as a slice of
/// them, and `ZERO` has all of them 0.
#[doc(hidden)]
pub unsafe trait Words: Sync + 'static {
    /// The value with every word 0.
    const ZERO: Self;
}

// SAFETY: it is one word, and `ZERO` is 0.
unsafe impl Words for AtomicU64 {
    const ZERO: Self = AtomicU64::new(0);
}

// SAFETY: an array has no padding between its elements, which consist of words themselves.
unsafe impl<W: Words, const N: usize> Words for [W; N] {
    const ZERO: Self = [const { W::ZERO }; N];
}

/// A scratch area and the cells behind it.
#[doc(hidden)]
#[repr(C)]
struct Block<S, C>(S, C);

// SAFETY: two types that consist of words, in `repr(C)`, have no padding between them.
unsafe impl<S: Words, C: Words> Words for Block<S, C> {
    const ZERO: Self = Self(S::ZERO, C::ZERO);
}

/// All memory of one metric: what the macros put into a `static`. `S` is its scratch area; most have none.
#[doc(hidden)]
#[repr(C)]
pub struct Storage<L: LabelSet, C: Words, S: Words = [AtomicU64; 0]> {
    head: Head,
    tables: L::Tables,
    block: Block<S, L::Cells<C>>,
}

impl<L: LabelSet, C: Words, S: Words> Storage<L, C, S> {
    /// Memory of a metric that is not registered.
    #[allow(
        clippy::new_without_default,
        reason = "it is only of use in a static, which cannot call a trait's function"
    )]
    pub const fn new() -> Self {
        Self {
            head: Head {
                len: AtomicU64::new(0),
                entry: Entry {
                    next: AtomicPtr::new(core::ptr::null_mut()),
                    state: AtomicU32::new(state::IDLE),
                    hash: AtomicU64::new(0),
                },
            },
            tables: L::EMPTY_TABLES,
            block: Words::ZERO,
        }
    }

    /// What a binary declares about each label.
    pub const fn shapes(&self) -> &'static [LabelShape<'static>] {
        L::SHAPES
    }

    /// The handle by which the metric types use this memory. `record` is the metric's declaration, for tests to read.
    #[cfg_attr(not(feature = "testing"), allow(unused_variables, reason = "only tests read it"))]
    pub(crate) const fn metric(&'static self, hash: u64, record: &'static [u8]) -> Metric<L> {
        let len = size_of::<Block<S, L::Cells<C>>>() / size_of::<AtomicU64>();
        let first = (&raw const self.block).cast::<AtomicU64>();
        // SAFETY: `block` implements `Words`, so it consists of `len` of them, and it lives as long as the static.
        let words = unsafe { core::slice::from_raw_parts(first, len) };
        Metric {
            place: Place { head: core::ptr::from_ref(self).cast() },
            tables: &self.tables,
            words,
            hash,
            #[cfg(feature = "testing")]
            record,
        }
    }
}

/// The address of a static [`Storage`], good for all of its memory.
#[derive(Clone, Copy)]
struct Place {
    head: *const Head,
}

// SAFETY: what it points to is a static that consists of atomics.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    const fn head(self) -> &'static Head {
        // SAFETY: a place is only made of a static storage, which begins with its head.
        unsafe { &*self.head }
    }

    #[inline]
    const fn entry(self) -> &'static Entry {
        &self.head().entry
    }
}

/// A metric's memory, without the types that only its size depends on.
pub(crate) struct Metric<L: LabelSet> {
    place: Place,
    tables: &'static L::Tables,
    words: &'static [AtomicU64],
    hash: u64,
    #[cfg(feature = "testing")]
    record: &'static [u8],
}

impl<L: LabelSet> Clone for Metric<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet> Copy for Metric<L> {}

impl<L: LabelSet> Metric<L> {
    /// Registers the metric on its first use: one load and one predicted branch ever after.
    #[inline]
    pub(crate) fn touch(&self) {
        if self.place.entry().state.load(Ordering::Relaxed) != state::READY {
            register(self.place, self.hash, self.words);
        }
    }

    /// The words of the series with these label values.
    #[inline]
    pub(crate) fn series(&self, words_each: usize, values: L::Values<'_>) -> &'static [AtomicU64] {
        let (words, position) = self.words(values);
        let start = position * words_each;
        // There always is such a position; if not, the event is dropped rather than the guest.
        words.get(start..start + words_each).unwrap_or(&[])
    }

    /// All words, the scratch area's first, and the position of the series with these label values.
    #[inline]
    pub(crate) fn words(&self, values: L::Values<'_>) -> (&'static [AtomicU64], usize) {
        #[cfg(feature = "testing")]
        let (tables, words) =
            crate::testing::memory(self.place.entry(), self.tables, self.words, self.record, L::values_at, || {
                L::EMPTY_TABLES
            });
        #[cfg(not(feature = "testing"))]
        let (tables, words) = (self.tables, self.words);
        (words, L::position(values, tables))
    }
}

/// Counts an event that was dropped or put into an overflow series.
#[cold]
pub(crate) fn lost(loss: GuestDropReason) {
    #[cfg(feature = "testing")]
    crate::testing::lost(loss);
    if let Some(word) = HEADER.losses.get(loss as usize) {
        add(word, 1);
    }
    announce();
}

/// Links an entry into the list and tells the host about the region. `cells` are the end of its memory.
#[cold]
#[inline(never)]
fn register(place: Place, hash: u64, cells: &'static [AtomicU64]) {
    let Head { len, entry } = place.head();
    if entry.state.compare_exchange(state::IDLE, state::LINKING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        entry.hash.store(hash, Ordering::Relaxed);
        len.store((cells.as_ptr_range().end.addr() - core::ptr::from_ref(entry).addr()) as u64, Ordering::Relaxed);
        let entry_pointer = place.head.wrapping_byte_add(offset_of!(Head, entry)).cast::<Entry>().cast_mut();
        let mut newest = HEADER.metrics.load(Ordering::Relaxed);
        loop {
            entry.next.store(newest, Ordering::Relaxed);
            // Release pairs with the Acquire of whoever reads the list: the entry's hash and link come before it.
            match HEADER.metrics.compare_exchange_weak(newest, entry_pointer, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => newest = found,
            }
        }
        HEADER.count.fetch_add(1, Ordering::Relaxed);
        entry.state.store(state::LINKED, Ordering::Relaxed);
    }
    if entry.state.load(Ordering::Relaxed) == state::LINKED && announce() {
        entry.state.store(state::READY, Ordering::Relaxed);
    }
}

/// Tells the host about the region, once. Returns whether it knows.
pub(crate) fn announce() -> bool {
    if ANNOUNCED.load(Ordering::Relaxed) {
        return true;
    }
    if is_quiet() {
        return false;
    }
    // Set first: the host may call back into this component while it answers.
    ANNOUNCED.store(true, Ordering::Relaxed);
    host::open(&HEADER);
    true
}

/// Tells the host that now is a good time to collect, and sees to what is observed before.
pub(crate) fn publish() {
    observer::observe();
    flush();
}

/// Tells the host that now is a good time to collect, from wherever something is recorded.
pub(crate) fn flush() {
    if !is_quiet() && announce() {
        host::flush();
    }
}

/// Whether the guest is where it must not call the host.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Says that a request has ended: a host that cannot look by itself is sent what was recorded.
pub(crate) fn end_request() {
    observer::observe();
    if ANNOUNCED.load(Ordering::Relaxed) && !is_quiet() {
        host::end_request();
    }
}

/// The memory of the region, the header first.
///
/// # Safety
///
/// Nothing records as long as the pieces are in use.
#[cfg(wasmetry_component)]
pub(crate) unsafe fn pieces() -> impl Iterator<Item = Piece> + Clone {
    // SAFETY: it is a static, which nothing writes to, by this function's own condition.
    let header = unsafe { Piece::new((&raw const HEADER).cast(), size_of::<Header>()) };
    // Acquire pairs with the Release in `register`.
    let mut next = HEADER.metrics.load(Ordering::Acquire).cast_const();
    let entries = core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        let head = next.wrapping_byte_sub(offset_of!(Head, entry)).cast::<Head>();
        // SAFETY: the list has only entries that `register` has put there, each the one of a static storage.
        let Head { len, entry } = unsafe { &*head };
        let start = next;
        next = entry.next.load(Ordering::Relaxed).cast_const();
        // SAFETY: `register` has measured the storage; and as above.
        Some(unsafe { Piece::new(start.cast(), len.load(Ordering::Relaxed) as usize) })
    });
    // SAFETY: they are statics, which nothing writes to, by this function's own condition.
    let records = record::unread().map(|(start, len)| unsafe { Piece::new(start, len) });
    core::iter::once(header).chain(entries).chain(records)
}

/// Runs `f` with the promise that recording in it does not call the host.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            QUIET.store(self.0, Ordering::Relaxed);
        }
    }
    let _restore = Restore(QUIET.swap(true, Ordering::Relaxed));
    f()
}
