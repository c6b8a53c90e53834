//! The memory of one metric, and the handle by which the metric types use it.

#![allow(unsafe_code, reason = "a metric's memory is viewed as words, see `Words`")]

use core::mem::size_of;

use wasmetry_abi::LabelShape;

use crate::host;
use crate::metric::label::set::LabelSet;
use crate::region::entry::{Address, Head};
use crate::region::words::{Pair, Words};
use crate::sync::AtomicU64;

/// All memory of one metric: the macros put it into a `static`. `S` is its scratch area; most
/// metrics have none.
#[doc(hidden)]
#[repr(C)]
pub struct Storage<L: LabelSet, C: Words, S: Words = [AtomicU64; 0]> {
    head: Head,
    tables: L::Tables,
    block: Pair<S, L::Cells<C>>,
}

/// Labels by which the macros name a metric's memory, rather than by [`Storage`].
///
/// A type that is no label is one error then: the type of the memory is unknown, so everything that
/// uses it stays silent.
#[doc(hidden)]
pub trait Labelled {
    /// The memory of a metric with these labels.
    type Storage<C: Words, S: Words>;
    /// The shapes of the labels, as a binary declares them.
    const SHAPES: &'static [LabelShape<'static>];
}

impl<L: LabelSet> Labelled for L {
    type Storage<C: Words, S: Words> = Storage<L, C, S>;
    const SHAPES: &'static [LabelShape<'static>] = L::SHAPES;
}

/// Bytes of a metric that no compiler is asked to fill with zeros.
const MOST_BYTES: usize = 1 << 30;

impl<L: LabelSet, C: Words, S: Words> Storage<L, C, S> {
    /// The memory of a metric that is not registered.
    ///
    /// # Panics
    ///
    /// Panics (at compile time) if it would take a gigabyte, which the compiler need not try.
    #[allow(
        clippy::new_without_default,
        reason = "it is only of use in a static, which cannot call a trait's function"
    )]
    #[track_caller]
    pub const fn new() -> Self {
        assert!(size_of::<Self>() < MOST_BYTES, "the metric takes more than a gigabyte");
        Self { head: Head::new(), tables: L::EMPTY_TABLES, block: Words::ZERO }
    }

    /// The metric's handle. `record` is its declaration, for tests to read.
    #[cfg_attr(not(feature = "testing"), allow(unused_variables, reason = "only tests read it"))]
    pub(crate) const fn metric(&'static self, hash: u64, record: &'static [u8]) -> Metric<L> {
        let len = size_of::<Pair<S, L::Cells<C>>>() / size_of::<AtomicU64>();
        let first = (&raw const self.block).cast::<AtomicU64>();
        // SAFETY: `block` implements `Words`, so it consists of `len` of them, and it lives as long
        // as the static.
        let words = unsafe { core::slice::from_raw_parts(first, len) };
        // SAFETY: the pointer comes from a reference to the whole storage, a static, whose first
        // field is the head.
        let address = unsafe { Address::new(core::ptr::from_ref(self).cast()) };
        Metric {
            address,
            tables: &self.tables,
            words,
            hash,
            #[cfg(feature = "testing")]
            record,
        }
    }
}

/// A metric's memory, without the types that only its size depends on.
pub(crate) struct Metric<L: LabelSet> {
    address: Address,
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
    /// Registers the metric on its first use. Afterwards this is one load and one predicted branch.
    #[inline]
    pub(crate) fn touch(&self) {
        if !self.address.is_ready() {
            register(self.address, self.hash, self.words);
        }
    }

    /// All words, of memory that captures of tests do not have.
    pub(crate) const fn memory(&self) -> &'static [AtomicU64] {
        self.words
    }

    /// The words of the series with these label values.
    #[inline]
    pub(crate) fn series(&self, words_each: usize, values: L::Values<'_>) -> &'static [AtomicU64] {
        let (words, position) = self.words(values);
        let start = position * words_each;
        // There always is such a position; if not, the event is dropped rather than the guest
        // ended.
        words.get(start..start + words_each).unwrap_or(&[])
    }

    /// All words, the scratch area's first, and the position of the series with these label values.
    #[inline]
    pub(crate) fn words(&self, values: L::Values<'_>) -> (&'static [AtomicU64], usize) {
        #[cfg(feature = "testing")]
        let (tables, words) = {
            let address = self.address.number();
            crate::testing::capture::memory(address, self.tables, self.words, self.record, L::values_at, || {
                L::EMPTY_TABLES
            })
        };
        #[cfg(not(feature = "testing"))]
        let (tables, words) = (self.tables, self.words);
        (words, L::position(values, tables))
    }
}

#[cold]
#[inline(never)]
fn register(metric: Address, hash: u64, words: &'static [AtomicU64]) {
    host::register(metric, hash, words.as_ptr_range().end.addr());
}
