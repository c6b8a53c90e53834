//! Pushing: sending copies of the region to a host that cannot read memory.

#![allow(unsafe_code, reason = "it reads the region's memory")]

use core::cell::UnsafeCell;

use wasmetry_abi::{Collection, Settings};

use crate::host::import::component as import;
use crate::host::settings;
use crate::region::batch::Buffer;
use crate::region::header::HEADER;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// `true` if the host asks for batches.
static IS_PUSHED: AtomicBool = AtomicBool::new(false);

/// The number by which the host knows the region.
static REGION: AtomicU32 = AtomicU32::new(0);

/// The next batch's sequence number.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// `true` during a push, which uses the buffer.
static PUSHING: AtomicBool = AtomicBool::new(false);

struct Shared(UnsafeCell<Buffer>);

// SAFETY: only the push that has set `PUSHING` uses it.
unsafe impl Sync for Shared {}

static BUFFER: Shared = Shared(UnsafeCell::new(Buffer::new()));

/// Applies the settings that the host has answered with when the region was opened.
pub(super) fn configure(settings: &Settings) {
    IS_PUSHED.store(settings.collection == Collection::Pushed as u8, Ordering::Relaxed);
    REGION.store(settings.region, Ordering::Relaxed);
}

/// Sends the region, if the host asks for batches. Returns `true` if it does.
pub(super) fn push() -> bool {
    if !IS_PUSHED.load(Ordering::Relaxed) {
        return false;
    }
    // Acquire pairs with the Release below.
    if PUSHING.swap(true, Ordering::Acquire) {
        return true;
    }
    let mut settings = Settings::UNKNOWN;
    // SAFETY: a component has one thread, which is here and records nothing before this function
    // returns.
    let pieces = unsafe { HEADER.pieces() };
    // SAFETY: by `PUSHING`, this is the only reference.
    let buffer = unsafe { &mut *BUFFER.0.get() };
    let (region, sequence) = (REGION.load(Ordering::Relaxed), SEQUENCE.load(Ordering::Relaxed));
    let next = buffer.push(region, sequence, pieces, |batch| settings = import::flush(batch));
    SEQUENCE.store(next, Ordering::Relaxed);
    settings::apply_after_read(&settings);
    IS_PUSHED.store(settings.collection == Collection::Pushed as u8, Ordering::Relaxed);
    // Release pairs with the Acquire above.
    PUSHING.store(false, Ordering::Release);
    true
}
