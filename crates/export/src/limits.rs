//! The limits of the telemetry endpoint's clients and of the queues of pushing, each with its
//! reason.

use std::time::Duration;

#[cfg(feature = "push")]
use crate::push::Retry;

/// The time in which a client has to send the head of a request. It bounds idle keep-alive
/// connections too.
///
/// It differs from the common scrape intervals (10, 15, 30 and 60 s), so that a connection is not
/// closed at the moment at which a scraper uses it again.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// The time without progress of a write after which a client's connection is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for collecting and encoding a snapshot, after which the scrape is answered with 503.
///
/// Prometheus gives up after 10 s by default.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that [`Server::stop`](crate::scrape::Server::stop) waits for scrapes in progress.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections served at once. One more closes the oldest one that waits for its client, so idle
/// connections never keep a scraper out.
pub const MAX_CONNECTIONS: usize = 64;

/// Snapshots collected, encoded and compressed at once; further scrapes wait. Each has a whole
/// exposition in memory, and for a moment its compressed form.
pub const MAX_SNAPSHOTS: usize = 4;

/// Bytes of the head of a request. A scraper's has less than 1 KiB.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Header fields of a request. A scraper sends about six.
pub const MAX_HEADERS: usize = 64;

/// Media ranges of an `Accept` header that are read. Prometheus sends at most six.
pub const MAX_MEDIA_RANGES: usize = 32;

/// Codings of an `Accept-Encoding` header that are read. Browsers send at most five.
pub const MAX_CODINGS: usize = 16;

/// The minimum size of an exposition that is compressed. A smaller one fits into one packet.
pub const MIN_GZIP_BYTES: usize = 1024;

/// Bytes of the body of a request that changes recordings. A filter may have a level for each of
/// many targets.
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;

/// The delay of the next `accept` after one has failed, as it does when file descriptors have run
/// out.
#[cfg(feature = "server")]
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The time after which a scrape that was written to its socket counts as delivered: a client that
/// goes away before it has read the response resets the connection within it.
#[cfg(feature = "server")]
pub(crate) const DELIVERY_GRACE: Duration = Duration::from_millis(100);

/// The time that a client has to close its half of a connection after the last response.
#[cfg(feature = "server")]
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Records of one signal that a queue holds for one destination, including those that are being
/// sent.
///
/// OpenTelemetry's SDKs have 2,048, for one service. This process may have many, and their busiest
/// second must fit.
pub const QUEUE_RECORDS: usize = 65_536;

/// Bytes in memory of the records of one queue.
pub const QUEUE_BYTES: usize = 64 << 20;

/// Records in one request.
pub const BATCH_RECORDS: usize = 2048;

/// Bytes in memory of the records of one request, which is more than their size on the wire.
///
/// gRPC servers refuse messages of more than 4 MiB, and so does Loki.
pub const BATCH_BYTES: usize = 2 << 20;

/// The interval between exports of metrics; OpenTelemetry's default.
pub const METRIC_INTERVAL: Duration = Duration::from_secs(60);

/// The time after which an export of metrics is dropped; OpenTelemetry's default.
pub const METRIC_TIMEOUT: Duration = Duration::from_secs(30);

/// About how many bytes of Protocol Buffers a request with metrics has. In JSON it has up to five
/// times as many.
///
/// gRPC servers refuse messages of more than 4 MiB; OpenTelemetry's collector takes 20 MiB over
/// HTTP.
pub const METRIC_REQUEST_BYTES: usize = 1 << 20;

/// The timeout of a push to a Pushgateway, including its retries.
pub const GATEWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time after which a batch is sent though it is not full.
pub const SCHEDULE_DELAY: Duration = Duration::from_secs(1);

/// The timeout of one request to a destination; OpenTelemetry's default.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The first delay of a retry.
pub const RETRY_INITIAL: Duration = Duration::from_millis(500);

/// The longest delay of a retry, unless the destination asks for a longer one. So long a
/// destination may be without data after its return.
pub const RETRY_MAX: Duration = Duration::from_secs(10);

/// The time after the first attempt at which a batch is dropped. A destination restarts in less.
pub const RETRY_GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// The longest delay that a destination can ask for. A wrong date in its answer must not stop
/// exports for years.
pub const THROTTLE_MAX: Duration = Duration::from_secs(600);

/// Bytes of a response that are read. OTLP's responses have a few words.
#[cfg(feature = "push")]
pub(crate) const ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of a destination's message that are reported.
#[cfg(feature = "push")]
pub(crate) const CAUSE_BYTES: usize = 512;

/// The time between two reports about one destination, so that one that comes and goes does not
/// flood the log.
#[cfg(feature = "push")]
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of lines that are written at once. A pipe accepts that many whole or not at all
/// (`PIPE_BUF`; Linux has 4096).
#[cfg(feature = "push")]
pub(crate) const ATOMIC_WRITE: usize = 4096;

/// The delays between the attempts to write to stdout: a disk that is full for a moment should not
/// cost a line.
#[cfg(feature = "push")]
pub(crate) const LINE_RETRY: Retry =
    Retry::new(Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(60));
