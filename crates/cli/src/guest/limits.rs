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

/// Rejected declarations of a component that a line on stderr names; `wasmetry inspect` lists them.
pub(crate) const NAMED_DECLARATIONS: usize = 8;

/// Characters of a rejected declaration's name, and of the reason, in that line.
pub(crate) const DECLARATION_NAME: usize = 64;
pub(crate) const DECLARATION_REASON: usize = 160;

/// Bytes of the name of a host. The domain name system has no longer ones.
pub(crate) const HOST_BYTES: usize = 253;

/// Names that the system's resolver looks up at a time, for all guests, of which each tenant gets
/// its fair share; others wait until their deadline. Each occupies one of the runtime's 512 threads
/// for calls that block, as long as a name server is silent.
pub(crate) const LOOKUPS: usize = 256;

/// The same for the guests of one tenant, at most.
pub(crate) const LOOKUPS_PER_TENANT: usize = 64;

/// Connections to other services that one store may have open at a time. A browser has six to a
/// host.
pub(crate) const OUTGOING_PER_STORE: usize = 64;

/// Bytes of the head of another service's response.
pub(crate) const RESPONSE_HEAD: usize = 64 * 1024;

/// Bytes that the host buffers of a request or response body which a guest writes.
pub(crate) const BODY_CHUNK: usize = 64 * 1024;

/// The bytes at which one resource that WASI keeps for a guest is charged: header fields, requests,
/// responses, bodies, streams, timers. It is the most that one of them has, as the limits of
/// fields, heads and chunks have it.
pub(crate) const RESOURCE: usize = 64 * 1024;

/// The resources of a store that are not charged to the limit of its guest's memory, so that a
/// small guest can answer too. They are 16 MiB.
pub(crate) const FREE_RESOURCES: usize = 256;

/// The most resources that a store may have at a time, which are 1 GiB. A request to another
/// service takes about ten.
pub(crate) const MAX_RESOURCES: usize = 16 * 1024;

/// Random bytes that a guest gets by one call.
pub(crate) const RANDOM_BYTES: u64 = 1 << 20;

/// Bytes that a guest passes to the host by one call.
pub(crate) const HOST_CALL: usize = 16 << 20;

/// Bytes that a guest may write to stdout or stderr in one call.
pub(crate) const OUTPUT_WRITE: usize = 64 * 1024;
