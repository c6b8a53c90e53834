//! Observers: functions that run before the host collects, to set observable metrics.
//!
//! A guest that registers none contains none of this: the list's head is then always null, which
//! the compiler can prove.

#![allow(unsafe_code, reason = "an observer is found by its address")]

use core::fmt;

use crate::host::call;
use crate::sync::{AtomicBool, AtomicPtr, Ordering, Publish as _};

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

/// `true` while the observers run.
static OBSERVING: AtomicBool = AtomicBool::new(false);

impl Observer {
    /// An observer that is not registered.
    pub const fn new(observe: fn()) -> Self {
        Self { next: AtomicPtr::new(core::ptr::null_mut()), is_registered: AtomicBool::new(false), observe }
    }

    /// Runs the function from now on, whenever the host collects. Returns `true` if it did not
    /// before.
    #[inline]
    pub(super) fn register(&'static self) -> bool {
        #[cfg(feature = "testing")]
        if crate::testing::capture::register(core::ptr::from_ref(self).addr(), self.observe) {
            return false;
        }
        !self.is_registered.load(Ordering::Relaxed) && self.link()
    }

    #[cold]
    #[inline(never)]
    fn link(&'static self) -> bool {
        if self.is_registered.swap(true, Ordering::Relaxed) {
            return false;
        }
        let mut newest = NEWEST.load(Ordering::Relaxed);
        loop {
            self.next.store(newest, Ordering::Relaxed);
            // The exchange's Release pairs with the Acquire in `observe`: the link comes before it.
            match NEWEST.exchange(newest, core::ptr::from_ref(self).cast_mut()) {
                Ok(()) => return true,
                Err(found) => newest = found,
            }
        }
    }
}

/// Runs every observer, unless they are running, or the guest must not call the host.
#[inline]
pub(crate) fn observe() {
    #[cfg(feature = "testing")]
    if crate::testing::capture::observe() {
        return;
    }
    // Acquire pairs with the Release in `link`.
    let newest = NEWEST.load(Ordering::Acquire);
    if !newest.is_null() {
        run_all(newest);
    }
}

#[cold]
#[inline(never)]
fn run_all(newest: *const Observer) {
    /// Ends the run, also if an observer unwinds.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            OBSERVING.store(false, Ordering::Relaxed);
        }
    }

    if call::is_forbidden() || is_unwinding() || OBSERVING.swap(true, Ordering::Relaxed) {
        return;
    }
    let _done = Done;
    let mut next = newest;
    // SAFETY: it is null or was made of a reference to a static in `link`.
    while let Some(observer) = unsafe { next.as_ref() } {
        (observer.observe)();
        next = observer.next.load(Ordering::Relaxed);
    }
}

/// Gives a metric to the function that sets it, so that the compiler infers the function's
/// parameter from the metric.
#[doc(hidden)]
pub fn set_by<M>(metric: &M, set: impl FnOnce(&M)) {
    set(metric);
}

/// Returns `true` if a panic drops the caller, so that nothing more should run.
#[cfg(not(target_family = "wasm"))]
fn is_unwinding() -> bool {
    extern crate std;

    std::thread::panicking()
}

/// Returns `false`: a panic ends the guest.
#[cfg(target_family = "wasm")]
const fn is_unwinding() -> bool {
    false
}
