//! What a client of the telemetry endpoint can take, what can wait to be pushed, and why each number is what it is.

use std::time::Duration;

#[cfg(feature = "push")]
use crate::push::Retry;

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

/// How long [`Server::stop`](crate::scrape::Server::stop) waits for scrapes in progress.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections served at once. One more, and the oldest one that waits for its client is closed: idle
/// connections can never keep a scraper out.
pub const MAX_CONNECTIONS: usize = 64;

/// Snapshots taken, encoded and compressed at once; further scrapes wait. Each holds a whole exposition in memory, and, where
/// its client takes gzip, a compressed one for a moment.
pub const MAX_SNAPSHOTS: usize = 4;

/// Bytes of a request's head. A scraper's is under 1 KiB.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Header fields of a request. A scraper sends about six.
pub const MAX_HEADERS: usize = 64;

/// Media ranges of an `Accept` header that are looked at. Prometheus sends at most six.
pub const MAX_MEDIA_RANGES: usize = 32;

/// Codings of an `Accept-Encoding` header that are looked at. Browsers send at most five.
pub const MAX_CODINGS: usize = 16;

/// Bytes from which on an exposition is compressed: below, it fits into one packet anyway.
pub const MIN_GZIP_BYTES: usize = 1024;

/// Bytes of a request's body that changes what is recorded: the filter of a level for each of many targets.
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;

/// How long the accept loop rests after `accept` failed, as it does when file descriptors have run out.
#[cfg(feature = "server")]
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Records of one signal that can wait for one destination, those being sent included.
///
/// OpenTelemetry's SDKs have 2,048, for one service; this process may have many, and their busiest second must find room.
pub const QUEUE_RECORDS: usize = 65_536;

/// Bytes that the records of one signal that wait for one destination can take.
pub const QUEUE_BYTES: usize = 64 << 20;

/// Records in one request.
pub const BATCH_RECORDS: usize = 2048;

/// Bytes that the records of one request can take in memory, which is more than they take on the wire.
///
/// gRPC servers refuse messages of more than 4 MiB, and so does Loki.
pub const BATCH_BYTES: usize = 2 << 20;

/// How often metrics are pushed by OTLP; OpenTelemetry's default.
pub const METRIC_INTERVAL: Duration = Duration::from_secs(60);

/// How long one reading of the metrics is tried to be pushed; OpenTelemetry's default.
pub const METRIC_TIMEOUT: Duration = Duration::from_secs(30);

/// About how many bytes of Protocol Buffers make a request with metrics, which is up to five times as many in JSON.
///
/// gRPC servers refuse messages of more than 4 MiB; OpenTelemetry's collector takes 20 MiB over HTTP.
pub const METRIC_REQUEST_BYTES: usize = 1 << 20;

/// How long a final push to a Pushgateway may take, with all that it is tried again.
pub const GATEWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a record may wait for others to be sent with.
pub const SCHEDULE_DELAY: Duration = Duration::from_secs(1);

/// How long one request to a destination may take; OpenTelemetry's default.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The first wait before a request is sent again.
pub const RETRY_INITIAL: Duration = Duration::from_millis(500);

/// The longest wait before a request is sent again, where the destination asks for no longer one: how long after its return
/// a destination may still be without data.
pub const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long after its first attempt a batch is given up; longer than a destination takes to restart.
pub const RETRY_GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// For how long a destination can ask to be left alone; a slip of its clock does not silence this process for years.
pub const THROTTLE_MAX: Duration = Duration::from_secs(600);

/// Bytes of a destination's answer that are read; OTLP's are a few words long.
#[cfg(feature = "push")]
pub(crate) const ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of a destination's own words that are repeated to the operator.
#[cfg(feature = "push")]
pub(crate) const CAUSE_BYTES: usize = 512;

/// How long a destination's complaints are not told after one was, so that one that comes and goes floods nobody.
#[cfg(feature = "push")]
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of lines that are written at once. A pipe accepts that many whole or not at all (`PIPE_BUF`; Linux has 4096).
#[cfg(feature = "push")]
pub(crate) const ATOMIC_WRITE: usize = 4096;

/// The delays between the attempts to write to stdout: a disk that is full for a moment should not cost a line.
#[cfg(feature = "push")]
pub(crate) const LINE_RETRY: Retry =
    Retry::new(Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(60));
