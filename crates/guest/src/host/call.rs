//! The permission to call the host.

use crate::sync::{AtomicBool, Ordering};

/// `true` while the guest must not call the host.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// Returns `true` while the guest must not call the host.
pub(super) fn is_forbidden() -> bool {
    FORBIDDEN.load(Ordering::Relaxed)
}

/// Runs `f`, in which recording does not call the host.
pub(crate) fn without_calls<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORBIDDEN.store(self.0, Ordering::Relaxed);
        }
    }
    let _restore = Restore(FORBIDDEN.swap(true, Ordering::Relaxed));
    f()
}
