//! Types that consist of 8-byte words, so that a metric's memory can be viewed as one slice of
//! them.

#![allow(unsafe_code, reason = "it defines what a word is")]

use crate::sync::AtomicU64;

/// Memory that consists of 8-byte words and nothing else, all zero at first.
///
/// # Safety
///
/// A type that implements it consists of [`AtomicU64`]s without padding, so that its memory may be
/// viewed as a slice of them, and `ZERO` has all of them 0.
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

/// Two types in a row: a metric's scratch area and its cells, or `N` cells and one more, which `[C;
/// N + 1]` cannot express.
#[doc(hidden)]
#[repr(C)]
pub struct Pair<A, B>(A, B);

// SAFETY: two types that consist of words have no padding between them in `repr(C)`.
unsafe impl<A: Words, B: Words> Words for Pair<A, B> {
    const ZERO: Self = Self(A::ZERO, B::ZERO);
}
