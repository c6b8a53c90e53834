//! The configuration of all pipelines.

mod env;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Uri};
use wasmetry_host::encode::otlp::Process;
pub use wasmetry_host::encode::pretty::Colors;
use wasmetry_host::propagation::Sampler;

pub use self::env::VariableError;
use crate::limits;

/// The destinations of all signals. The default has none.
///
/// [`from_env`](Self::from_env) reads OpenTelemetry's environment variables. A command may override
/// it by its own flags and files.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The attributes of this process, which all resources share.
    pub process: Process,
    /// The OTLP endpoint of log records.
    pub logs: Option<Otlp>,
    /// The OTLP endpoint of spans.
    pub spans: Option<Otlp>,
    /// The OTLP endpoint of metrics, and the interval of their export.
    pub metrics: Option<Metrics>,
    /// The Loki that receives log records.
    pub loki: Option<Loki>,
    /// The sampler of traces. It is configured here and applied by the host.
    pub sampler: Sampler,
    /// Messages about environment variables that are invalid and replaced by a default.
    pub warnings: Vec<String>,
    /// The format of log records on stdout, if they are written there.
    pub stdout: Option<LineFormat>,
    /// A file to which audit records are appended as JSON lines, instead of stdout.
    ///
    /// Each batch is on the disk before it counts as sent. A write that fails, as on a full disk,
    /// is retried until the process ends. The file may be rotated: when its path leads to another
    /// file, or to none, it is opened again. With a tool that renames the file, call
    /// [`Exporter::reopen_files`](super::Exporter::reopen_files) then (`logrotate`: `create` and
    /// SIGHUP). A tool that copies and truncates it (`copytruncate`) may lose records that are
    /// written in between; that is a limit of the method.
    pub audit: Option<PathBuf>,
    /// The growth of the audit file.
    pub audit_growth: AuditGrowth,
    /// The limits of the queue of log records, for each destination.
    pub log_limits: Limits,
    /// The limits of the queue of spans.
    pub span_limits: Limits,
    /// The batches of log records.
    pub log_batch: Batch,
    /// The batches of spans.
    pub span_batch: Batch,
    /// The retries of log records.
    pub log_retry: Retry,
    /// The retries of spans.
    pub span_retry: Retry,
}

/// The bytes that may be added to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Growth {
    /// At once.
    pub bytes: u64,
    /// In a second, for any length of time.
    pub per_second: u64,
}

impl Growth {
    /// Creates a growth of so many bytes at once, and so many in each second.
    pub const fn new(bytes: u64, per_second: u64) -> Self {
        Self { bytes, per_second }
    }
}

/// The growth of the audit file. Records beyond it are dropped and counted, so that no component
/// and no tenant fills the disk that all share, or keeps the records of others out of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditGrowth {
    /// By the records of one component.
    pub component: Growth,
    /// By the records of all components of one tenant. A component without a tenant has only its
    /// own.
    pub tenant: Growth,
    /// By all records. A tenant, or a component without one, may have as much of it as is left for
    /// the others.
    pub total: Growth,
}

impl Default for AuditGrowth {
    /// A component has 64 MiB at once and 1 MiB in each second, a tenant twice as much, and all
    /// together eight times as much.
    fn default() -> Self {
        Self {
            component: limits::AUDIT_GROWTH_OF_COMPONENT,
            tenant: limits::AUDIT_GROWTH_OF_TENANT,
            total: limits::AUDIT_GROWTH,
        }
    }
}

/// An OTLP endpoint for one signal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Otlp {
    /// The URL: with HTTP the whole one, such as `http://127.0.0.1:4318/v1/logs`, with gRPC only
    /// scheme and authority.
    pub endpoint: Uri,
    /// The protocol.
    pub protocol: Protocol,
    /// Further headers of each request, such as `authorization`.
    pub headers: HeaderMap,
    /// The compression of requests.
    pub compression: Compression,
    /// The timeout of one request.
    pub timeout: Duration,
    /// The certificates of an `https` endpoint.
    pub tls: Tls,
}

impl Otlp {
    /// Creates an endpoint without headers and compression, with a timeout of 10 seconds.
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

/// The periodic export of metrics by OTLP.
///
/// One collection is in flight at a time. While a destination is slow or down, there are fewer
/// collections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The endpoint.
    pub otlp: Otlp,
    /// The aggregation temporality of counters and histograms.
    pub temporality: Temporality,
    /// The interval between collections.
    pub interval: Duration,
    /// The retries of a request. After the last one, the rest of the collection is left to the next
    /// collection.
    pub retry: Retry,
    /// About how many bytes of Protocol Buffers one request holds, before compression. A large
    /// collection takes several requests.
    pub request_bytes: usize,
}

impl Metrics {
    /// Creates an export of cumulative metrics every 60 seconds, each retried for 30 seconds.
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

/// The aggregation temporality of counters and histograms. Up-down counters are always cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the start. A collection that is dropped costs its moment only.
    #[default]
    Cumulative,
    /// Differences to the last collection that arrived, of series that have changed. A collection
    /// that does not arrive is included in the next one.
    Delta,
}

/// A Loki, or another server with its push API.
///
/// The records of each tenant have requests of their own, with the tenant in `X-Scope-OrgID`, as
/// Loki's tenants have it. With a header of that name in `headers`, all records belong to that one
/// tenant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loki {
    /// The whole URL, such as `http://127.0.0.1:3100/loki/api/v1/push`.
    pub endpoint: Uri,
    /// The format of requests.
    pub format: LokiFormat,
    /// Further headers of each request, such as `authorization` or `x-scope-orgid`.
    pub headers: HeaderMap,
    /// The timeout of one request.
    pub timeout: Duration,
    /// The certificates of an `https` endpoint.
    pub tls: Tls,
}

impl Loki {
    /// Creates an endpoint without headers, with a timeout of 10 seconds.
    pub fn new(endpoint: Uri, format: LokiFormat) -> Self {
        let (headers, timeout) = (HeaderMap::new(), limits::REQUEST_TIMEOUT);
        Self { endpoint, format, headers, timeout, tls: Tls::default() }
    }
}

/// The format of pushes to Loki.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LokiFormat {
    /// Protocol Buffers, compressed with Snappy, as Loki's own clients send.
    Protobuf,
    /// JSON, compressed or not.
    Json(Compression),
}

/// The protocol of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
    /// `http/json`.
    HttpJson,
}

/// The compression of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
}

/// The certificates of an `https` endpoint and of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file with the trusted certificates, instead of Mozilla's.
    pub certificates: Option<PathBuf>,
    /// PEM files with the certificate chain of this process and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The format of log records on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// JSON, for a log shipper.
    Json,
    /// Text for a person.
    Pretty(Colors),
}

impl LineFormat {
    /// Returns the format for a person, with colours if stdout is a terminal and `NO_COLOR` is not
    /// set.
    ///
    /// Source: <https://no-color.org>. An empty value counts as unset.
    pub fn pretty() -> Self {
        Self::pretty_on(&std::io::stdout())
    }

    /// Returns the format for a person on another output.
    pub fn pretty_on(output: &impl IsTerminal) -> Self {
        let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_on = !is_off && output.is_terminal();
        Self::Pretty(if is_on { Colors::On } else { Colors::Off })
    }
}

/// The limits of a queue, which include the records that are being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes in memory, as [`LogRecord::size`](wasmetry_host::record::LogRecord::size) counts them.
    pub bytes: usize,
}

impl Limits {
    /// Creates limits in records and bytes.
    pub const fn new(records: usize, bytes: usize) -> Self {
        Self { records, bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(limits::QUEUE_RECORDS, limits::QUEUE_BYTES)
    }
}

/// The size and the delay of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The maximum number of records. A batch of this size is sent at once.
    pub records: usize,
    /// The maximum size in memory, in bytes. A larger record is sent alone.
    pub bytes: usize,
    /// The time after which a batch is sent though it is not full.
    pub schedule_delay: Duration,
}

impl Batch {
    /// Creates batches of at most so many records and bytes.
    pub const fn new(records: usize, bytes: usize, schedule_delay: Duration) -> Self {
        Self { records, bytes, schedule_delay }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new(limits::BATCH_RECORDS, limits::BATCH_BYTES, limits::SCHEDULE_DELAY)
    }
}

/// The delays of retries: exponential, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The first delay; each further one is twice as long. Half of each is random.
    pub initial: Duration,
    /// The longest delay, unless the destination asks for a longer one.
    pub max: Duration,
    /// The time after the first attempt at which a batch is dropped.
    pub give_up_after: Duration,
    /// The time after which an attempt in progress is cancelled, counted from the begin of the
    /// first one. The timeout of a request ends an attempt earlier.
    pub cancel_after: Duration,
}

impl Retry {
    /// Creates delays from `initial` to `max`, and a limit of all attempts. An attempt that has
    /// begun is not cancelled.
    pub const fn new(initial: Duration, max: Duration, give_up_after: Duration) -> Self {
        Self { initial, max, give_up_after, cancel_after: Duration::MAX }
    }

    /// Sets the time that an export may take, with all its attempts.
    pub(super) fn set_export_timeout(&mut self, timeout: Duration) {
        (self.give_up_after, self.cancel_after) = (timeout, timeout);
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(limits::RETRY_INITIAL, limits::RETRY_MAX, limits::RETRY_GIVE_UP_AFTER)
    }
}
