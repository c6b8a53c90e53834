//! The conversation with the host: it learns of the region, collects it, and answers with settings.
//!
//! Entries to link and drops to count come in; imports are called, and the settings that come back
//! are kept for others to read. Nothing here knows metrics, records or spans. No other module calls
//! the host.

pub(crate) mod clock;
#[cfg(wasmetry_component)]
mod import;
#[cfg(wasmetry_component)]
mod push;
pub(crate) mod random;
pub(crate) mod settings;
pub(crate) mod time;
#[cfg(wasmetry_wasip1)]
mod wasip1;

use wasmetry_abi::layout::GuestDropReason;

use crate::region::entry::Address;
use crate::region::header::HEADER;
use crate::sync::{AtomicBool, Ordering};

/// `true` once the host knows the region.
static ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// `true` while the guest must not call the host.
static WITHOUT_CALLS: AtomicBool = AtomicBool::new(false);

/// Links a metric into the region and announces the region to the host. `end` is the address behind
/// the metric's memory.
#[cold]
#[inline(never)]
pub(crate) fn register(metric: Address, hash: u64, end: usize) {
    HEADER.link(metric, hash, end);
    if metric.is_linked() && announce() {
        metric.set_ready();
    }
}

/// Counts an event that was dropped or redirected to an overflow series.
#[cold]
pub(crate) fn count_drop(reason: GuestDropReason) {
    #[cfg(feature = "testing")]
    crate::testing::capture::count_drop(reason);
    HEADER.count_drop(reason);
    announce();
}

/// Announces the region to the host, once. Returns `true` if the host knows it.
pub(crate) fn announce() -> bool {
    if ANNOUNCED.load(Ordering::Relaxed) {
        return true;
    }
    if is_without_calls() {
        return false;
    }
    // Set first: the host may call back into this component while it answers.
    ANNOUNCED.store(true, Ordering::Relaxed);
    open();
    true
}

/// Opens the region, and lends the host the window on the static data if the host reads memory.
#[cfg(wasmetry_component)]
fn open() {
    use wasmetry_abi::Collection;

    let settings = import::open();
    push::configure(&settings);
    settings::apply(&settings);
    if settings.collection == Collection::Mapped as u8 {
        import::attach(&HEADER);
    }
}

/// There is no host to call: natively the process itself reads the region, and a core module's host
/// finds it by an export. Most hosts record up to the level debug.
#[cfg(not(wasmetry_component))]
fn open() {
    use wasmetry_abi::{Level, Settings};

    settings::apply(&Settings { record_level: Level::Debug as u8, ..Settings::UNKNOWN });
}

/// Asks the host to collect now.
pub(crate) fn flush() {
    if !is_without_calls() && announce() {
        #[cfg(wasmetry_component)]
        if !push::push() {
            settings::apply(&import::flush(&[]));
        }
    }
}

/// Sends the region to a host that cannot read memory, if there is anything to send.
pub(crate) fn send() {
    if ANNOUNCED.load(Ordering::Relaxed) && !is_without_calls() {
        #[cfg(wasmetry_component)]
        push::push();
    }
}

/// Returns `true` while the guest must not call the host.
pub(crate) fn is_without_calls() -> bool {
    WITHOUT_CALLS.load(Ordering::Relaxed)
}

/// Runs `f`, in which recording does not call the host.
pub(crate) fn without_calls<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            WITHOUT_CALLS.store(self.0, Ordering::Relaxed);
        }
    }
    let _restore = Restore(WITHOUT_CALLS.swap(true, Ordering::Relaxed));
    f()
}
