//! Atomics, and the order in which a host sees their stores.
//!
//! A host may read the region between any two stores of the guest. On wasm without threads, LLVM
//! turns atomics into plain loads and stores when it generates code, and may then reorder them.
//! Volatile stores keep the program's order, so every store to memory that a host reads goes
//! through [`Publish`], [`add`] or [`update`].

#![allow(unsafe_code, reason = "volatile stores keep their order on wasm without threads")]

pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// `true` where the guest has one thread, so that nothing comes between two of its operations.
const IS_SINGLE_THREADED: bool = cfg!(all(target_family = "wasm", not(target_feature = "atomics")));

/// Stores in the program's order.
pub(crate) trait Publish {
    /// The type of the value.
    type Value;

    /// Stores `value`. A host sees it after every store of this module before it, and before every
    /// one after it.
    fn publish(&self, value: Self::Value);

    /// Replaces `expected` by `new`, in the same order.
    ///
    /// # Errors
    ///
    /// Returns the value that was found in the place of `expected`.
    fn exchange(&self, expected: Self::Value, new: Self::Value) -> Result<(), Self::Value>;
}

macro_rules! publish {
    ([$($parameter:ident)?] $atomic:ty: $value:ty) => {
        impl$(<$parameter>)? Publish for $atomic {
            type Value = $value;

            #[inline]
            fn publish(&self, value: $value) {
                if IS_SINGLE_THREADED {
                    // SAFETY: the pointer comes from a reference to the atomic, and no other thread
                    // accesses it.
                    unsafe { self.as_ptr().write_volatile(value) };
                } else {
                    // Release pairs with the Acquire of whoever reads the region.
                    self.store(value, Ordering::Release);
                }
            }

            #[inline]
            fn exchange(&self, expected: $value, new: $value) -> Result<(), $value> {
                if IS_SINGLE_THREADED {
                    let found = self.load(Ordering::Relaxed);
                    if found != expected {
                        return Err(found);
                    }
                    self.publish(new);
                    Ok(())
                } else {
                    // Release pairs with the Acquire of whoever reads the region.
                    self.compare_exchange(expected, new, Ordering::Release, Ordering::Relaxed).map(drop)
                }
            }
        }
    };
}

publish!([] AtomicU8: u8);
publish!([] AtomicU32: u32);
publish!([] AtomicU64: u64);
publish!([T] AtomicPtr<T>: *mut T);

/// Replaces the value of `word` by `change` of it.
///
/// With several threads this is a compare-and-swap loop.
#[inline]
pub(crate) fn update(word: &AtomicU64, change: impl Fn(u64) -> u64) {
    if IS_SINGLE_THREADED {
        word.publish(change(word.load(Ordering::Relaxed)));
    } else {
        let mut current = word.load(Ordering::Relaxed);
        while let Err(found) =
            word.compare_exchange_weak(current, change(current), Ordering::Relaxed, Ordering::Relaxed)
        {
            current = found;
        }
    }
}

/// Adds to a word that holds an integer.
#[inline]
pub(crate) fn add(word: &AtomicU64, n: u64) {
    if IS_SINGLE_THREADED {
        word.publish(word.load(Ordering::Relaxed).wrapping_add(n));
    } else {
        word.fetch_add(n, Ordering::Relaxed);
    }
}

/// Adds to a word that holds the bits of an `f64`.
#[inline]
pub(crate) fn add_f64(word: &AtomicU64, value: f64) {
    update(word, |bits| (f64::from_bits(bits) + value).to_bits());
}

/// A lock on a word; dropping it unlocks.
pub(crate) struct Exclusive<'a>(&'a AtomicU64);

/// Waits until no other thread holds the lock on `word`, and takes it.
///
/// With one thread this does nothing, so a guest that is ended while it holds the lock leaves
/// nothing locked.
#[inline]
pub(crate) fn exclusive(word: &AtomicU64) -> Exclusive<'_> {
    // Acquire pairs with the Release in `drop`.
    while !IS_SINGLE_THREADED && word.swap(1, Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    Exclusive(word)
}

impl Drop for Exclusive<'_> {
    #[inline]
    fn drop(&mut self) {
        if !IS_SINGLE_THREADED {
            // Release pairs with the Acquire in `exclusive`.
            self.0.store(0, Ordering::Release);
        }
    }
}
