//! What is sent where, and how.

mod env;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Uri};
use wasmetry_host::encode::otlp::Process;
pub use wasmetry_host::encode::pretty::Colors;
use wasmetry_host::propagation::Sampler;

use crate::limits;

/// What is sent where. The default sends nothing anywhere.
///
/// [`from_env`](Self::from_env) reads OpenTelemetry's standard environment variables; a command may then change what
/// its own flags and files say otherwise.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// What all resources have in common.
    pub process: Process,
    /// Where log records go by OTLP.
    pub logs: Option<Otlp>,
    /// Where spans go by OTLP.
    pub spans: Option<Otlp>,
    /// Where metrics go by OTLP, and how often.
    pub metrics: Option<Metrics>,
    /// Where log records go by Loki's push API.
    pub loki: Option<Loki>,
    /// Which traces are sampled; not this crate's to apply, but where it is set.
    pub sampler: Sampler,
    /// What environment variables said that was not understood and is not taken as they said it; for a person to read.
    pub warnings: Vec<String>,
    /// Whether and how log records go to stdout.
    pub stdout: Option<LineFormat>,
    /// A file to which audit records go, as JSON lines at its end; they do not go to stdout then.
    ///
    /// Each batch is on the disk before it counts as sent. What cannot be written, as on a full disk, is tried again for as
    /// long as the process lives. A file that is rotated must stay the same one (`copytruncate`).
    pub audit: Option<PathBuf>,
    /// How many log records can wait, for each destination.
    pub log_limits: Limits,
    /// How many spans can wait.
    pub span_limits: Limits,
    /// How many log records make a request.
    pub log_batch: Batch,
    /// How many spans make a request.
    pub span_batch: Batch,
    /// When a batch of log records that did not arrive is sent again.
    pub log_retry: Retry,
    /// When a batch of spans that did not arrive is sent again.
    pub span_retry: Retry,
}

/// An OTLP endpoint for one signal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Otlp {
    /// Where to; with HTTP the whole URL, such as `http://127.0.0.1:4318/v1/logs`, with gRPC only scheme and authority.
    pub endpoint: Uri,
    /// How the records are carried.
    pub protocol: Protocol,
    /// Further headers of each request, such as `authorization`.
    pub headers: HeaderMap,
    /// Whether requests are compressed.
    pub compression: Compression,
    /// How long one request may take.
    pub timeout: Duration,
    /// How an `https` endpoint and this process know each other.
    pub tls: Tls,
}

impl Otlp {
    /// An endpoint without headers and compression, and with a timeout of 10 seconds.
    pub fn new(endpoint: Uri, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            headers: HeaderMap::new(),
            compression: Compression::None,
            timeout: limits::REQUEST_TIMEOUT,
            tls: Tls::default(),
        }
    }
}

/// Metrics by OTLP: all of them are read again and again, and what was read is sent.
///
/// What one reading has is sent before there is another one, so that a destination that is slow or away has readings left out,
/// and never makes any wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Where to.
    pub otlp: Otlp,
    /// What its numbers tell.
    pub temporality: Temporality,
    /// How often they are read.
    pub interval: Duration,
    /// When a request that did not arrive is sent again. What is given up of a reading, the next one makes up for.
    pub retry: Retry,
    /// About how many bytes of Protocol Buffers make a request, before they are compressed; a large reading makes several.
    pub request_bytes: usize,
}

impl Metrics {
    /// Cumulative metrics, every 60 seconds, each reading tried for 30 seconds.
    pub fn new(otlp: Otlp) -> Self {
        Self {
            otlp,
            temporality: Temporality::default(),
            interval: limits::METRIC_INTERVAL,
            retry: Retry { give_up_after: limits::METRIC_TIMEOUT, ..Retry::default() },
            request_bytes: limits::METRIC_REQUEST_BYTES,
        }
    }
}

/// What the numbers of counters and histograms tell; up-down counters are always cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// What has come together since the start. A reading that is lost costs nothing but its moment.
    #[default]
    Cumulative,
    /// What was added since the last reading that arrived, of series to which something was. What cannot be sent is in the next one.
    Delta,
}

/// A Loki, or what takes its pushes.
///
/// The records of components with a tenant are pushed in requests of their own, with the tenant in `X-Scope-OrgID`, which is
/// what Loki calls a tenant. With a header of that name in `headers`, all records are that one's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loki {
    /// Where to: the whole URL, such as `http://127.0.0.1:3100/loki/api/v1/push`.
    pub endpoint: Uri,
    /// How the records are carried.
    pub format: LokiFormat,
    /// Further headers of each request, such as `authorization` or `x-scope-orgid`.
    pub headers: HeaderMap,
    /// How long one request may take.
    pub timeout: Duration,
    /// How an `https` endpoint and this process know each other.
    pub tls: Tls,
}

impl Loki {
    /// An endpoint without headers, and with a timeout of 10 seconds.
    pub fn new(endpoint: Uri, format: LokiFormat) -> Self {
        let (headers, timeout) = (HeaderMap::new(), limits::REQUEST_TIMEOUT);
        Self { endpoint, format, headers, timeout, tls: Tls::default() }
    }
}

/// How pushes to Loki are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LokiFormat {
    /// Protocol Buffers, compressed with Snappy: what Loki's own clients send.
    Protobuf,
    /// JSON, compressed or not.
    Json(Compression),
}

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
    /// `http/json`.
    HttpJson,
}

/// Whether requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// With gzip.
    Gzip,
}

/// How an `https` endpoint and this process know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file of the certificates that are trusted, in the place of Mozilla's.
    pub certificates: Option<PathBuf>,
    /// PEM files with this process's own certificate chain and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How log records are written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// As JSON, for a log shipper.
    Json,
    /// For a person.
    Pretty(Colors),
}

impl LineFormat {
    /// For a person, with colours if stdout is a terminal and `NO_COLOR` is not set.
    ///
    /// Source: <https://no-color.org>: an empty value is as good as none.
    pub fn pretty() -> Self {
        Self::pretty_on(&std::io::stdout())
    }

    /// The same, on another output than stdout.
    pub fn pretty_on(output: &impl IsTerminal) -> Self {
        let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_on = !is_off && output.is_terminal();
        Self::Pretty(if is_on { Colors::On } else { Colors::Off })
    }
}

/// How much can wait to be sent, what is being sent included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes that they take in memory, counted as [`LogRecord::size`](wasmetry_host::record::LogRecord::size) does.
    pub bytes: usize,
}

impl Limits {
    /// So many records, of at most so many bytes in all.
    pub const fn new(records: usize, bytes: usize) -> Self {
        Self { records, bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(limits::QUEUE_RECORDS, limits::QUEUE_BYTES)
    }
}

/// How many records make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Records in a request at most; with as many, it is sent at once.
    pub records: usize,
    /// Bytes that they take in memory at most, but for a single record that takes more.
    pub bytes: usize,
    /// How long a record may wait for others to be sent with.
    pub schedule_delay: Duration,
}

impl Batch {
    /// At most so many records of so many bytes, sent after so long at the latest.
    pub const fn new(records: usize, bytes: usize, schedule_delay: Duration) -> Self {
        Self { records, bytes, schedule_delay }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new(limits::BATCH_RECORDS, limits::BATCH_BYTES, limits::SCHEDULE_DELAY)
    }
}

/// When a batch that did not arrive is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The first wait; each further one is twice as long. Up to half of each is random.
    pub initial: Duration,
    /// The longest wait, where the destination asks for no longer one.
    pub max: Duration,
    /// How long after its first attempt a batch is given up.
    pub give_up_after: Duration,
}

impl Retry {
    /// Waits between these, and gives up after so long.
    pub const fn new(initial: Duration, max: Duration, give_up_after: Duration) -> Self {
        Self { initial, max, give_up_after }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(limits::RETRY_INITIAL, limits::RETRY_MAX, limits::RETRY_GIVE_UP_AFTER)
    }
}
