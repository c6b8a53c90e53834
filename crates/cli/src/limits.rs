//! What a guest can take, where no flag says it.

use std::time::Duration;

/// The unit of linear memory.
pub(crate) const WASM_PAGE: u64 = 64 * 1024;

/// All that a component can address; components of WASI 0.2 are 32-bit.
pub(crate) const MAX_MEMORY: u64 = 1 << 32;

/// How often a running guest is interrupted: to let other tasks run, to be collected for a scrape, and to be
/// ended at its deadline.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// How much later than its deadline a guest is ended that does not run but waits in a host call, so that one
/// that runs is ended by its epoch callback.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_millis(50);

/// How long guests have to end when the shutdown timeout is over.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(1);
