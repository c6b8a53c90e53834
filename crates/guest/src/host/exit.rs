//! The end of a guest with WASI: its last observations, and its last push.
//!
//! The C library calls this module before it exits the program, by `std::process::exit` or at the
//! end of `main`. A guest that traps does not come here.

use crate::host::import::libc;
use crate::sync::{AtomicBool, Ordering};

/// `true` once the C library calls this module at the exit.
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Has the program collected when it exits.
#[cold]
pub(super) fn register(collect: extern "C" fn()) {
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // Without memory for it, the exit is as silent as a trap.
        let _ = libc::call_at_exit(collect);
    }
}
