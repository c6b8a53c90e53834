//! The limits of the telemetry endpoint's clients and of the queues of pushing, each with its
//! reason.

use std::time::Duration;

#[cfg(feature = "push")]
use crate::push::{Growth, Retry};

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

/// Scrapes that have a snapshot at once, from before it is collected until it is delivered; further
/// ones wait.
///
/// A snapshot is a copy of the numbers, 8 bytes for each and 4 for the place of each series, and
/// shares names and labels with the registry. A number is a line of the exposition, so a snapshot
/// has at most about half of [`wasmetry_host::limits::EXPOSITION_BYTES`], and usually a tenth. Of
/// the exposition itself a few chunks are in memory.
pub const MAX_SNAPSHOTS: usize = 4;

/// Bytes of a chunk of an exposition, which is encoded when the client has read the one before.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The time in which a client has to read a response. Its connection is closed then, and the
/// snapshot of an exposition dropped.
///
/// Prometheus gives up after its `scrape_timeout`, 10 s by default and rarely more than a minute.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// The time after which a client that still reads an exposition loses it if another scrape waits
/// for a snapshot, so that clients which do not read keep no scraper out. It is the same for a
/// client whose connection another client needs.
pub const DELIVERY_PATIENCE: Duration = Duration::from_secs(5);

/// The last scrapes by whose times addresses are ranked that wait for a snapshot: those that many
/// scrapers end in a minute.
#[cfg(feature = "server")]
pub(crate) const PAST_SCRAPES: usize = 64;

/// The interval at which responses are looked for that clients read too slowly.
#[cfg(feature = "server")]
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The same for a configuration with shorter times.
#[cfg(feature = "server")]
pub(crate) const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// Answers of a console that may be made and compressed at once, beside the snapshots.
pub const MAX_PAGES: usize = 2;

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

/// Bytes of the body of a request. A filter that changes recordings may have a level for each of
/// many targets.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The time in which a client has to send the body of a request. Until then its connection counts
/// as idle.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a token. The shortest has 64 bits if it is written in hexadecimal digits, which cannot
/// be guessed at the rate of [`GUESS_INTERVAL`].
pub const MIN_TOKEN_BYTES: usize = 16;

/// The most bytes of a token. It must fit into the head of a request.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Wrong tokens that an address may send at once: a person mistypes, and a scraper repeats itself
/// until its configuration is mended.
pub const GUESSES: u32 = 10;

/// The time after which an address may send one more wrong token.
pub const GUESS_INTERVAL: Duration = Duration::from_secs(2);

/// Addresses whose wrong tokens are counted one by one, in about 100 KiB. Those beyond share one
/// count.
pub const MAX_GUESSERS: usize = 1024;

/// Sessions of browsers that are open at once. One more ends the oldest.
pub const MAX_SESSIONS: usize = 64;

/// The time after which a browser must log in again: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Bytes of a file with certificates or a key. A chain has about 5 KiB.
pub const MAX_PEM_BYTES: u64 = 1 << 20;

/// The delay of the next `accept` after one has failed, as it does when file descriptors have run
/// out.
#[cfg(feature = "server")]
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The time after which a scrape that was written to its socket counts as delivered: a client that
/// goes away before it has read the response resets the connection within it.
#[cfg(feature = "server")]
pub(crate) const DELIVERY_GRACE: Duration = Duration::from_millis(100);

/// The time that a client has to close its half of a connection after the last response. What it
/// still sends until then is read and dropped, since the system would reset the connection
/// otherwise, and the client might lose the response.
///
/// Source: RFC 9112, section 9.6.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are read and dropped until then: heads and bodies many times as large as accepted
/// ones.
pub const CLOSE_BYTES: usize = 1 << 20;

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

/// The longest delay that a destination can ask for, of all requests or of one tenant's. A wrong
/// date in its answer must not stop exports for years.
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

/// The bytes that one component may add to the audit file: 64 MiB at once, and 1 MiB in a second.
///
/// Linux' audit daemon keeps 40 MiB by default (`num_logs` times `max_log_file` of `auditd.conf`),
/// and `journald` 10,000 messages in 30 s for each service.
#[cfg(feature = "push")]
pub(crate) const AUDIT_GROWTH_OF_COMPONENT: Growth = Growth::new(64 << 20, 1 << 20);

/// The bytes that all components of one tenant may add to the audit file: those of two, such as two
/// versions of one.
#[cfg(feature = "push")]
pub(crate) const AUDIT_GROWTH_OF_TENANT: Growth = Growth::new(128 << 20, 2 << 20);

/// The bytes that all may add to the audit file: those of four tenants.
#[cfg(feature = "push")]
pub(crate) const AUDIT_GROWTH: Growth = Growth::new(512 << 20, 8 << 20);

/// Components, and tenants, whose growth of the audit file is remembered before those are forgotten
/// that may add all again.
#[cfg(feature = "push")]
pub(crate) const GROWING_OWNERS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/limits.md");

    /// The rows of docs/limits.md have the values of the constants.
    #[test]
    fn documented_constants_have_values() {
        let seconds = |value: Duration| format!("{} s", value.as_secs());
        let minutes = |value: Duration| format!("{} min", value.as_secs() / 60);
        let kib = |value: usize| format!("{} KiB", value >> 10);
        for (name, value) in [
            ("MAX_SNAPSHOTS", MAX_SNAPSHOTS.to_string()),
            ("SNAPSHOT_TIMEOUT", seconds(SNAPSHOT_TIMEOUT)),
            ("CHUNK_BYTES", kib(CHUNK_BYTES)),
            ("DELIVERY_TIMEOUT", minutes(DELIVERY_TIMEOUT)),
            ("DELIVERY_PATIENCE", seconds(DELIVERY_PATIENCE)),
            ("MAX_CONNECTIONS", MAX_CONNECTIONS.to_string()),
            ("HEADER_TIMEOUT", seconds(HEADER_TIMEOUT)),
            ("MAX_HEAD_BYTES", format!("{}, {MAX_HEADERS} fields", kib(MAX_HEAD_BYTES))),
            ("MAX_BODY_BYTES", format!("{}, {}", kib(MAX_BODY_BYTES), seconds(BODY_TIMEOUT))),
            ("WRITE_TIMEOUT", seconds(WRITE_TIMEOUT)),
            ("CLOSE_TIMEOUT", format!("{}, {} MiB", seconds(CLOSE_TIMEOUT), CLOSE_BYTES >> 20)),
            ("MAX_PAGES", MAX_PAGES.to_string()),
            ("GUESSES", format!("{GUESSES}, then one every {}", seconds(GUESS_INTERVAL))),
            ("MAX_GUESSERS", format!("{},{:03}", MAX_GUESSERS / 1000, MAX_GUESSERS % 1000)),
            ("MAX_SESSIONS", format!("{MAX_SESSIONS}, {} h", SESSION_LIFETIME.as_secs() / 3600)),
            ("MAX_PEM_BYTES", format!("{} MiB", MAX_PEM_BYTES >> 20)),
            (
                "RETRY_INITIAL",
                format!(
                    "after {} ms, then twice as long each time, up to {}; for {}",
                    RETRY_INITIAL.as_millis(),
                    seconds(RETRY_MAX),
                    minutes(RETRY_GIVE_UP_AFTER)
                ),
            ),
            ("THROTTLE_MAX", minutes(THROTTLE_MAX)),
        ] {
            let start = format!("| `{name}`");
            let row = DOCS.lines().find(|line| line.starts_with(&start));
            let default = row.and_then(|row| row.split(" | ").nth(1));
            assert_eq!(default, Some(value.as_str()), "{name}");
        }
    }
}
