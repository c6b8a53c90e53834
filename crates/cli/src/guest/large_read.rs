//! The reads of large guests, which are bounded for the process and take turns by tenant, so that
//! the other threads are free for requests.

use std::sync::LazyLock;

use wasmetry_host::Identity;

use super::share::{Owner, SharedPool, Slot};

/// The reads of this process: half of its processors, and at least one.
static READS: LazyLock<SharedPool> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    SharedPool::in_turns((processors / 2).max(1))
});

/// Waits for the right to read a large guest of this component.
pub(crate) fn slot(identity: &Identity) -> impl Future<Output = Slot> + Send + use<> {
    let owner = Owner::of(identity);
    async move { READS.take(&owner).await }
}
