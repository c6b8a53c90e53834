//! The atomics that the region is made of.
//!
//! Values are `Relaxed` everywhere: on wasm32 that compiles to the load, add and store of a plain variable, while plain
//! cells would let the compiler merge or remove the stores that the host is to see.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Replaces the value of `word` by `change` of it.
///
/// Where a second thread may record at the same time this is a compare-and-swap loop; on wasm without threads nothing can
/// come between the load and the store.
#[inline]
pub(crate) fn update(word: &AtomicU64, change: impl Fn(u64) -> u64) {
    if cfg!(all(target_family = "wasm", not(target_feature = "atomics"))) {
        word.store(change(word.load(Ordering::Relaxed)), Ordering::Relaxed);
    } else {
        let mut current = word.load(Ordering::Relaxed);
        while let Err(found) =
            word.compare_exchange_weak(current, change(current), Ordering::Relaxed, Ordering::Relaxed)
        {
            current = found;
        }
    }
}

/// Adds to a counting word.
#[inline]
pub(crate) fn add(word: &AtomicU64, n: u64) {
    word.fetch_add(n, Ordering::Relaxed);
}

/// Adds to a word that holds the bits of an `f64`.
#[inline]
pub(crate) fn add_f64(word: &AtomicU64, value: f64) {
    update(word, |bits| (f64::from_bits(bits) + value).to_bits());
}
