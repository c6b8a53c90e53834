//! The atomics that the region is made of.
//!
//! Values are `Relaxed` everywhere: on wasm32 that compiles to the load, add and store of a plain variable, while plain
//! cells would let the compiler merge or remove the stores that the host is to see.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// Whether nothing can come between two operations, because there is one thread.
const IS_ALONE: bool = cfg!(all(target_family = "wasm", not(target_feature = "atomics")));

/// Replaces the value of `word` by `change` of it.
///
/// Where a second thread may record at the same time this is a compare-and-swap loop; on wasm without threads nothing can
/// come between the load and the store.
#[inline]
pub(crate) fn update(word: &AtomicU64, change: impl Fn(u64) -> u64) {
    if IS_ALONE {
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

/// Keeps other threads out until it is dropped.
pub(crate) struct Exclusive<'a>(&'a AtomicU64);

/// Waits until no other thread has `word`, and takes it: for the few changes that are more than one operation.
///
/// Where there is one thread this does nothing, so that a guest which is ended in between leaves nothing locked.
#[inline]
pub(crate) fn exclusive(word: &AtomicU64) -> Exclusive<'_> {
    // Acquire pairs with the Release in `drop`.
    while !IS_ALONE && word.swap(1, Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    Exclusive(word)
}

impl Drop for Exclusive<'_> {
    #[inline]
    fn drop(&mut self) {
        if !IS_ALONE {
            // Release pairs with the Acquire in `exclusive`.
            self.0.store(0, Ordering::Release);
        }
    }
}
