//! What a client or a guest of the service can take, where no flag says it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) use crate::limits::{DEADLINE_GRACE, EPOCH, KILL_TIMEOUT, WASM_PAGE};

/// Where services listen, unless told otherwise.
pub(super) const ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where the telemetry is, unless told otherwise: the port that OpenTelemetry has for Prometheus' exporters.
pub(super) const TELEMETRY_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How long a request may take, unless told otherwise.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Linear memory of one request, unless told otherwise.
pub(super) const MEMORY: u64 = 64 << 20;

/// Instances of a component at a time, unless told otherwise.
pub(super) const CONCURRENT_REQUESTS: u32 = 128;

/// Requests of a component that wait, unless told otherwise.
pub(super) const WAITING_REQUESTS: usize = 1024;

/// The most instances at a time. Each reserves 4 GiB of addresses (not of memory), so that guests need no
/// bounds checks, and a process has 128 TiB.
pub(super) const MAX_CONCURRENT_REQUESTS: i64 = 10_000;

/// Linear memory of an ended instance that is cleared by writing zeros rather than returned to the system, so
/// that the next one does not fault those pages in again.
///
/// A Rust guest dirties the end of its 1 MiB stack and its static data behind it. Where Linux can tell which
/// pages were written (since 6.7), only those are cleared, and this bounds their bytes: the storefront's
/// requests take 31 to 36 us of guest time with 64 KiB, 256 KiB and 2 MiB, and 53 to 60 us with none. Elsewhere
/// this many bytes are cleared from the memory's begin for every request, so more is not better.
pub(super) const KEEP_RESIDENT: usize = 256 * 1024;

/// The elements that a table may have; interpreters compiled to WebAssembly have some ten thousand functions.
pub(super) const TABLE_ELEMENTS: usize = 200_000;

/// The runtime's own bookkeeping for one instance.
pub(super) const INSTANCE_METADATA: usize = 16 << 20;

/// How many turns of tasks a busy thread takes before it looks at sockets and timers again.
///
/// A guest that spins takes turns as long as an epoch, so with tokio's 61 a new request would wait for 600 ms beside such
/// guests; a look costs about a microsecond.
pub(super) const TURNS_BETWEEN_EVENTS: u32 = 4;

/// Bytes of a mount's prefix, which is the value of a label.
pub(super) const MAX_PREFIX: usize = 256;

/// Labels of a request's host that are looked at for a wildcard; no name has more.
pub(super) const MAX_HOST_LABELS: usize = 128;

/// Components in one configuration.
pub(super) const MAX_COMPONENTS: usize = 1000;

/// Bytes of a configuration.
pub(super) const MAX_CONFIG: u64 = 4 << 20;

/// How often the configuration and its components are looked at. A change is taken when the next look finds no other, so that a
/// file that is being written is not read.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How long a client may take to send a request's head; it covers idle keep-alive connections too.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a write to a client may make no progress before its connection is dropped.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Connections open at once; further ones wait to be accepted.
pub(super) const MAX_CONNECTIONS: usize = 10_000;

/// How long the accept loop rests after `accept` failed, as it does when file descriptors have run out.
pub(super) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The time over which reports of failed requests are counted.
pub(super) const REPORT_WINDOW: Duration = Duration::from_secs(1);

/// Traps reported on stderr in one second; the others are counted.
pub(super) const REPORTS_PER_SECOND: u32 = 10;

/// Characters of a request's path in a report.
pub(super) const REPORTED_PATH: usize = 200;

/// Bytes that a guest may write to stdout or stderr at once.
pub(super) const STDIO_CHUNK: usize = 8 * 1024;

/// Chunks for stdout, and for stderr, that wait to be written; with that many, guests that write wait.
pub(super) const STDIO_CHUNKS: usize = 128;

/// How long each output has to be written out when the process ends.
pub(super) const STDIO_TIMEOUT: Duration = Duration::from_millis(500);

/// How long what waits to be exported may take at shutdown; orchestrators kill after 30 s, of which requests may have had some.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
