//! Observers: functions that set metrics when a host is about to look.
//!
//! A guest that registers none has nothing of this: the list's head is then always null, and the compiler knows it.

#![allow(unsafe_code, reason = "an observer is found by its address")]

use core::fmt;

use crate::region;
use crate::sync::{AtomicBool, AtomicPtr, Ordering};

/// A function that sets one metric, as a macro puts it into a `static`.
#[doc(hidden)]
pub struct Observer {
    next: AtomicPtr<Observer>,
    is_registered: AtomicBool,
    observe: fn(),
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("is_registered", &self.is_registered).finish_non_exhaustive()
    }
}

/// The observer that was registered last.
static NEWEST: AtomicPtr<Observer> = AtomicPtr::new(core::ptr::null_mut());

/// Whether the observers are being called.
static OBSERVING: AtomicBool = AtomicBool::new(false);

impl Observer {
    /// An observer that is not registered.
    pub const fn new(observe: fn()) -> Self {
        Self { next: AtomicPtr::new(core::ptr::null_mut()), is_registered: AtomicBool::new(false), observe }
    }

    /// Calls the function from now on.
    #[inline]
    pub(crate) fn register(&'static self) {
        #[cfg(feature = "testing")]
        if crate::testing::register(self) {
            return;
        }
        if !self.is_registered.load(Ordering::Relaxed) {
            self.link();
        }
    }

    #[cold]
    #[inline(never)]
    fn link(&'static self) {
        if self.is_registered.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut newest = NEWEST.load(Ordering::Relaxed);
        loop {
            self.next.store(newest, Ordering::Relaxed);
            // Release pairs with the Acquire in `observe`: the link comes before it.
            match NEWEST.compare_exchange_weak(
                newest,
                core::ptr::from_ref(self).cast_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(found) => newest = found,
            }
        }
    }

    /// Calls the function.
    pub(crate) fn call(&self) {
        (self.observe)();
    }
}

/// Calls every observer, unless that is being done, or the host must not be called.
#[inline]
pub(crate) fn observe() {
    #[cfg(feature = "testing")]
    if crate::testing::observe() {
        return;
    }
    // Acquire pairs with the Release in `link`.
    let newest = NEWEST.load(Ordering::Acquire);
    if !newest.is_null() {
        call_all(newest);
    }
}

#[cold]
#[inline(never)]
fn call_all(newest: *const Observer) {
    /// It ends also if an observer unwinds.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            OBSERVING.store(false, Ordering::Relaxed);
        }
    }

    if region::is_quiet() || is_unwinding() || OBSERVING.swap(true, Ordering::Relaxed) {
        return;
    }
    let _done = Done;
    let mut next = newest;
    // SAFETY: it is null or was made of a reference to a static in `link`.
    while let Some(observer) = unsafe { next.as_ref() } {
        observer.call();
        next = observer.next.load(Ordering::Relaxed);
    }
}

/// Hands a metric to the function that sets it; the type of one is known from the other.
#[doc(hidden)]
pub fn set_by<M>(metric: &M, set: impl FnOnce(&M)) {
    set(metric);
}

/// Whether the caller is dropped by a panic, in which nothing more should be run.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn is_unwinding() -> bool {
    extern crate std;

    std::thread::panicking()
}

/// A panic ends the guest.
#[cfg(target_family = "wasm")]
pub(crate) const fn is_unwinding() -> bool {
    false
}
