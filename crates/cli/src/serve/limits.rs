//! Limits of clients and guests of the service, and the defaults of its flags. Those that
//! `--limit` sets are in [`service`].

pub(crate) mod service;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) use crate::guest::limits::{DEADLINE_GRACE, EPOCH, KILL_TIMEOUT, WASM_PAGE};

/// The default of `--addr`.
pub(super) const ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The default of `--telemetry-addr`; the port is OpenTelemetry's for Prometheus exporters.
pub(super) const TELEMETRY_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The default of `--request-timeout`.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The default of `--max-memory`, in bytes.
pub(super) const MEMORY: u64 = 64 << 20;

/// The default of `--max-concurrent-requests`.
pub(super) const CONCURRENT_REQUESTS: u32 = 128;

/// The default of `--max-waiting-requests`.
pub(super) const WAITING_REQUESTS: usize = 1024;

/// The maximum of `--max-concurrent-requests`. Each instance reserves 4 GiB of addresses (not of
/// memory), so that guests need no bounds checks, and a process has 128 TiB.
pub(super) const MAX_CONCURRENT_REQUESTS: i64 = 10_000;

/// Instances of a pool for several components of one binary. If they may have more together, half
/// of these are divided between them, and they share the other half. A pool is one range of
/// addresses, and these are 16 TiB: a larger range may not be free.
pub(super) const POOL_INSTANCES: u32 = 4096;

/// Linear memory of an ended instance that is cleared by writing zeros rather than returned to the
/// system, so that the next one does not fault those pages in again.
///
/// A Rust guest dirties the end of its 1 MiB stack and its static data behind it. Where Linux can
/// tell which pages were written (since 6.7), only those are cleared, and this bounds their bytes:
/// the storefront's requests take 31 to 36 us of guest time with 64 KiB, 256 KiB and 2 MiB, and 53
/// to 60 us with none. Elsewhere this many bytes are cleared from the memory's begin for every
/// request, so more is not better.
pub(super) const KEEP_RESIDENT: usize = 256 * 1024;

/// Elements of a table. Interpreters compiled to WebAssembly have some ten thousand functions.
pub(super) const TABLE_ELEMENTS: usize = 200_000;

/// Bytes of the runtime's own metadata of one instance.
pub(super) const INSTANCE_METADATA: usize = 16 << 20;

/// The number of task polls after which a busy thread polls sockets and timers again.
///
/// A poll of a guest that spins takes an epoch, so that with tokio's default of 61 a new request
/// would wait for 600 ms beside such guests. Polling sockets costs about a microsecond.
pub(super) const TURNS_BETWEEN_EVENTS: u32 = 4;

/// The time in which a large guest is collected that has used all of its request's time, its wait
/// for a thread included.
pub(super) const READ_GRACE: Duration = Duration::from_millis(250);

/// Bytes of a mount's prefix, which becomes a label value.
pub(super) const MAX_PREFIX: usize = 256;

/// Labels of a request's host that are matched against wildcards; no valid name has more.
pub(super) const MAX_HOST_LABELS: usize = 128;

/// Components in one configuration.
pub(super) const MAX_COMPONENTS: usize = 1000;

/// Bytes of a configuration.
pub(super) const MAX_CONFIG: u64 = 4 << 20;

/// The default of `--compile-timeout`: a binary of 40 MiB takes some 30 s on two cores.
pub(super) const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);

/// Compilations that a reload awaits at a time, each of another tenant. Each takes memory and
/// processor time; those that take too long are not awaited, of which a tenant has one.
pub(super) const COMPILATIONS: usize = 4;

/// Compilations that took too long and still go on, of all tenants. Beyond them, nothing new is
/// compiled.
pub(super) const ABANDONED_COMPILATIONS: usize = 16;

/// The interval at which the configuration and its components are checked for changes. A change is
/// taken when the next check finds the same version, so that a file is not read while it is
/// written.
pub(super) const RELOAD_INTERVAL: Duration = Duration::from_millis(500);

/// The maximum delay of the retry of a reload that failed with an error of the system.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The interval at which late heads are looked for.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The interval at which a new client that finds all places taken has another connection closed
/// that waits for its client.
pub(super) const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// The time in which the request of a new client arrives, which follows the handshake of its
/// connection. Until it is over, other connections make room first.
pub(super) const ARRIVAL_TIME: Duration = Duration::from_millis(500);

/// Bytes of a body that are received before the request has an instance. The last part of them may
/// be as large as the [buffer](READ_BUFFER).
pub(super) const PREFETCHED_BYTES: u64 = 64 * 1024;

/// Bytes that are read from a client at once, or as many as a head may have if these are more.
pub(super) const READ_BUFFER: usize = 64 * 1024;

/// The time that a request without an instance waits for its body. Most bodies are in the packet of
/// their head, or in the next.
pub(super) const PREFETCH_TIME: Duration = Duration::from_millis(100);

/// The interval at which instances are checked for clients that stall.
pub(super) const STALL_INTERVAL: Duration = Duration::from_millis(500);

/// The pause after a failed `accept`, which fails while file descriptors have run out.
pub(super) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The time over which reports of failed requests are counted.
pub(super) const REPORT_WINDOW: Duration = Duration::from_secs(1);

/// Failed requests of a component that are reported on stderr in one window; the others are
/// counted.
pub(super) const REPORTS_PER_SECOND: u32 = 10;

/// New kinds of drops that are reported on stderr in one window. The others follow in the next
/// ones.
pub(super) const NEW_DROPS: usize = 32;

/// Characters of a request's path in a report.
pub(super) const REPORTED_PATH: usize = 200;

/// Bytes that a guest may write to a raw stdout or stderr in one call.
pub(super) const STDIO_CHUNK: usize = 8 * 1024;

/// Lines of the host that wait to be written to stdout, and to stderr.
pub(super) const STDIO_CHUNKS: usize = 128;

/// Chunks of one tenant, or of a component without one, that wait to be written to stdout, and to
/// stderr: 256 KiB. A guest that finds them full waits.
pub(super) const STDIO_LANE_CHUNKS: usize = 32;

/// The delay of the first retry of a write that failed; it doubles with each further one.
pub(super) const STDIO_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The maximum delay of a retry, after which the output is dropped.
pub(super) const MAX_STDIO_RETRY_DELAY: Duration = Duration::from_millis(320);

/// The time in which each output must be written when the process ends.
pub(super) const STDIO_TIMEOUT: Duration = Duration::from_millis(500);

/// The time in which queued telemetry must be exported at shutdown. Orchestrators kill a process
/// after 30 s, of which the last requests may have taken some.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest lease of a drill. A client renews it every few seconds; when it does not, its drill
/// ends within this time.
pub(super) const DRILL_LEASE: Duration = Duration::from_secs(60);

/// The longest drill. Alerts hold for ten minutes after a range of ten at most, and those of
/// objectives fire within 20 minutes where the largest share suffices.
pub(super) const DRILL: Duration = Duration::from_secs(3600);

/// The deadline of a request that a drill lets reach it: it waits for nothing.
pub(super) const DRILL_DEADLINE: Duration = Duration::from_millis(20);
