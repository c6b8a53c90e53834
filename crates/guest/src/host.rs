//! The conversation with the host: it learns of the region, collects it, and answers with settings.
//!
//! Entries to link and drops to count come in; imports are called, and the settings that come back
//! are kept for others to read. Nothing here knows metrics, records or spans. No other module calls
//! the host.

pub(crate) mod call;
pub(crate) mod clock;
#[cfg(target_os = "wasi")]
mod exit;
#[cfg(wasmetry_module)]
mod export;
mod import;
#[cfg(feature = "dynamic")]
pub(crate) mod level;
pub(crate) mod observer;
#[cfg(wasmetry_component)]
mod push;
pub(crate) mod random;
pub(crate) mod settings;
pub(crate) mod time;

use wasmetry_abi::layout::GuestDropReason;

use crate::host::observer::{Observer, observe};
use crate::region::entry::Address;
use crate::region::header::HEADER;
use crate::sync::{AtomicBool, Ordering};

/// `true` once the host knows the region.
static ANNOUNCED: AtomicBool = AtomicBool::new(false);

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
    if call::is_forbidden() {
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

    let settings = import::component::open();
    push::configure(&settings);
    settings::apply(&settings);
    if settings.collection == Collection::Mapped as u8 {
        import::component::attach(&HEADER);
    } else if settings.collection == Collection::Pushed as u8 {
        collect_at_exit();
    }
}

/// There is no host to call: natively the process itself reads the region, and a core module's host
/// finds it by an export. Most hosts record up to the level debug, and they sample by themselves.
#[cfg(not(wasmetry_component))]
fn open() {
    use wasmetry_abi::{Level, Settings};

    settings::apply(&Settings { record_level: Level::Debug as u8, sample_ratio: 1.0, ..Settings::UNKNOWN });
}

/// Has a metric observed from now on, whenever the host collects.
#[inline]
pub(crate) fn register_observer(observer: &'static Observer) {
    if observer.register() {
        collect_at_exit();
    }
}

/// Has the host collect when the program exits: a host that cannot read memory would get nothing
/// more, and no host would get observations.
fn collect_at_exit() {
    #[cfg(target_os = "wasi")]
    {
        extern "C" fn collect() {
            end_request();
        }
        exit::register(collect);
    }
}

/// Asks the host to collect now.
pub(crate) fn flush() {
    if !call::is_forbidden() && announce() {
        #[cfg(wasmetry_component)]
        if !push::push() {
            settings::apply_after_read(&import::component::flush(&[]));
        }
    }
}

/// Runs the observers and asks the host to collect.
pub(crate) fn publish() {
    observe();
    flush();
}

/// Ends a request: runs the observers, and sends the region to a host that cannot read memory.
pub(crate) fn end_request() {
    observe();
    push_unasked();
}

/// Sends the region to a host that cannot read memory, without running observers: the guest is
/// about to trap.
pub(crate) fn push_unasked() {
    if ANNOUNCED.load(Ordering::Relaxed) && !call::is_forbidden() {
        #[cfg(wasmetry_component)]
        push::push();
    }
}
