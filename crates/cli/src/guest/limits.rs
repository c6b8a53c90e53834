//! Limits of guests in all commands.

use std::time::Duration;

/// Bytes of a page of linear memory.
pub(crate) const WASM_PAGE: u64 = 64 * 1024;

/// The maximum of `--max-memory`: all that a component can address, since WASI 0.2 is 32-bit.
pub(crate) const MAX_MEMORY: u64 = 1 << 32;

/// The interval at which a running guest is interrupted: to let other tasks run, to be collected
/// for a scrape, and to be ended at its deadline.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// The delay after its deadline at which a guest is ended that waits in a host call. A guest that
/// runs is ended by its epoch callback before.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_millis(50);

/// The time in which guests must end when the shutdown timeout is over.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The default of each timeout of a guest's outgoing request, for guests that set none. A request
/// of the guest ends long before.
pub(crate) const OUTGOING_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes that a guest may write to stdout or stderr in one call.
pub(crate) const OUTPUT_WRITE: usize = 64 * 1024;
