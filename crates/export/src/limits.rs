//! What a client of the telemetry endpoint can take, and why each number is what it is.

use std::time::Duration;

/// How long a client may take to send a request's head; it covers idle keep-alive connections too.
///
/// It is no common scrape interval (10, 15, 30 or 60 s), so that a connection is not closed at the very
/// moment a scraper uses it again.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a write to a client may make no progress before its connection is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long taking and encoding a snapshot may take before the scrape is answered with 503.
///
/// Prometheus gives up after 10 s by default.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`Server::stop`](crate::Server::stop) waits for scrapes in progress.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections served at once. One more, and the oldest one that waits for its client is closed: idle
/// connections can never keep a scraper out.
pub const MAX_CONNECTIONS: usize = 64;

/// Snapshots taken and encoded at once; further scrapes wait. Each holds a whole exposition in memory.
pub const MAX_SNAPSHOTS: usize = 4;

/// Bytes of a request's head. A scraper's is under 1 KiB.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Header fields of a request. A scraper sends about six.
pub const MAX_HEADERS: usize = 64;

/// Media ranges of an `Accept` header that are looked at. Prometheus sends at most six.
pub const MAX_MEDIA_RANGES: usize = 32;

/// How long the accept loop rests after `accept` failed, as it does when file descriptors have run out.
#[cfg(feature = "server")]
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
