//! The functions that facades run when the level changes that the host asks for.

#![allow(unsafe_code, reason = "it holds a function's address in an atomic")]

use wasmetry_abi::Level;

use crate::host::{self, settings};
use crate::sync::{AtomicPtr, Ordering};

/// The number of facades in one guest.
const FACADES: usize = 4;

static LISTENERS: [AtomicPtr<fn(Level)>; FACADES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; FACADES];

/// Runs `listener` now, after the host has answered, and each time that the level changes.
///
/// With the feature `testing`, each thread may have a level of its own, so the level is always the
/// finest one.
pub(crate) fn listen(listener: &'static fn(Level)) {
    host::announce();
    let new = core::ptr::from_ref(listener).cast_mut();
    for place in &LISTENERS {
        // AcqRel: the Release half pairs with the Acquire in `notify`.
        match place.compare_exchange(core::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => break,
            Err(found) if found == new => break,
            Err(_) => {}
        }
    }
    listener(current());
}

/// The finest level that may be recorded.
pub(crate) fn current() -> Level {
    if cfg!(feature = "testing") { Level::Trace } else { settings::recorded() }
}

/// Runs the listeners.
#[cold]
pub(super) fn notify(level: Level) {
    if cfg!(feature = "testing") {
        return;
    }
    for place in &LISTENERS {
        // SAFETY: it is null or was made of a reference to a static in `listen`; Acquire pairs with
        // the Release there.
        if let Some(listener) = unsafe { place.load(Ordering::Acquire).as_ref() } {
            listener(level);
        }
    }
}
