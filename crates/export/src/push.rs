//! Sends logs, spans and metrics to their destinations. Recording never waits for a destination.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use wasmetry_export::push::{Config, Exporter};
//! use wasmetry_host::{Identity, Registry, Sink, record::{Level, LogRecord}};
//!
//! # fn main() -> Result<(), wasmetry_export::Error> {
//! let registry = Registry::new();
//! let exporter = Exporter::start(Config::default(), &registry, Arc::new(|text| eprintln!("{text}")))?;
//! let identity = Arc::new(Identity::new("storefront"));
//! exporter.log(&identity, LogRecord {
//!     time: 1_700_000_000_000_000_000,
//!     observed: 1_700_000_000_000_000_000,
//!     level: Level::Info,
//!     target: "shop::cart".into(),
//!     message: "cart loaded".into(),
//!     fields: Vec::new(),
//!     source: None,
//!     trace: None,
//!     is_audit: false,
//!     stream: None,
//! });
//! let dropped = exporter.stop(Duration::from_secs(5));
//! assert_eq!(dropped, 0, "the default configuration has no destination");
//! # Ok(())
//! # }
//! ```
//!
//! Logs and spans have one pipeline for each destination: a queue that is bounded in records and
//! bytes, batches, and retries with backoff. All pipelines share one thread, apart from the guests'
//! threads. Delivery is at least once: where the answer to a request is lost, the destination may
//! receive that batch twice.
//!
//! A destination that fails delays all of its records. Where each tenant has requests of its own,
//! as in Loki, a status 429 concerns that tenant: its records wait in its part of the queue, and
//! those of others are sent meanwhile.
//!
//! Metrics are collected periodically, on a thread of their own, after [`Exporter::push_metrics`]
//! has set their source, and a last time at shutdown. The records of this signal are data points:
//! one series in one collection.
//!
//! Every offered record is finally counted in
//! `wasmetry_export_records_total{signal,destination,outcome}`: as `sent`, or with one of these
//! reasons, under which `wasmetry_dropped_total` counts it too, with the component, version and
//! tenant that it is of. Data points have no owner there, and neither have the records of several
//! components of which a destination rejects some: it does not name them.
//!
//! | reason | meaning | remedy |
//! |---|---|---|
//! | `queue_full` | more was recorded than the destination accepts; the records dropped are those of the tenant and component that have most in the queue | a faster destination, or larger [`Limits`] for peaks |
//! | `rejected` | the destination refused the record | see the message of [`Report`] |
//! | `retry_exhausted` | the destination was down for longer than [`Retry::give_up_after`]; of cumulative metrics, only that moment is lost | |
//! | `shutdown` | the process ended before the record could be sent | a longer timeout for [`Exporter::stop`] |
//! | `growth_limit` | the component, its tenant or all together have added as much to the audit file as [`Config::audit_growth`] allows | fewer or shorter records, or more growth |
//!
//! Deltas that cannot be sent are not dropped ([`Temporality::Delta`]): the next collection
//! includes them, unless the component and its series are removed before.
//!
//! Audit records ([`LogRecord::is_audit`](field@LogRecord::is_audit)) have a stream of their own at
//! each destination, and may have a file of their own. In a queue they have a lane of their own, of
//! the same limits, which is emptied first. Audit records are retried until the process ends.

mod builder;
mod config;
mod export_request;
mod fault;
mod gateway;
mod periodic_reader;
mod pipeline;
mod pipeline_metrics;
mod transport;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};
use wasmetry_host::{Identity, Registry, Sink, Snapshot};

use self::builder::{Builder, MetricPipeline};
pub use self::config::{
    AuditGrowth, Batch, Colors, Compression, Config, Growth, Limits, LineFormat, Loki, LokiFormat, Metrics, Otlp,
    Protocol, Retry, Temporality, Tls, VariableError,
};
pub use self::fault::{ExportFault, ExportFaults};
pub use self::gateway::{Gateway, Group, Replaces};
use self::pipeline::line_writer;
pub use self::pipeline::line_writer::Output;
use self::pipeline::queue::{Queue, Record};
use self::pipeline_metrics::PipelineMetrics;
use self::worker::Worker;
use crate::Error;

/// Receives messages for the operator: a destination fails, or works again.
///
/// It is called on the exporter's threads and must not block.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Takes a snapshot of all metrics, as the telemetry endpoint's `Source` does.
///
/// It runs on a thread of its own and may block while metrics are collected. Shutdown waits for it.
pub type Snapshots = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Sends logs, spans and metrics to the destinations of a [`Config`].
///
/// Dropping it drops, and counts, the records that were not sent; see [`stop`](Self::stop).
pub struct Exporter {
    logs: Vec<LogQueue>,
    spans: Vec<Arc<Queue<SpanRecord>>>,
    pipelines: Vec<Arc<PipelineMetrics>>,
    closing: watch::Sender<bool>,
    workers: Mutex<Vec<Worker>>,
    /// The thread of the periodic reader, once it is started.
    reader: Mutex<Option<Worker>>,
    /// The parts of the periodic reader, until it is started.
    metrics: Mutex<Option<MetricPipeline>>,
    reopen: Arc<Notify>,
    faults: ExportFaults,
}

/// A queue of log records.
struct LogQueue {
    queue: Arc<Queue<LogRecord>>,
    filter: RecordFilter,
}

/// The log records that a destination receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordFilter {
    All,
    Audit,
    /// All but audit records.
    NonAudit,
}

impl RecordFilter {
    fn accepts(self, is_audit: bool) -> bool {
        match self {
            Self::All => true,
            Self::Audit => is_audit,
            Self::NonAudit => !is_audit,
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("logs", &self.logs.len()).field("spans", &self.spans.len()).finish()
    }
}

impl Exporter {
    /// Starts the pipelines of a configuration, with their metrics in `registry` and lines on
    /// stdout.
    ///
    /// No destination is contacted: a destination may start later than this process.
    ///
    /// # Errors
    ///
    /// If a certificate cannot be read, a setting is out of range, or no thread can be started.
    pub fn start(config: Config, registry: &Registry, report: Report) -> Result<Self, Error> {
        Self::start_with(config, registry, report, line_writer::stdout())
    }

    /// Starts the pipelines of a configuration, with lines on an output of the caller's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(config: Config, registry: &Registry, report: Report, output: Output) -> Result<Self, Error> {
        Builder::new(config, registry, report).start(output)
    }

    /// Returns `true` if log records have a destination.
    pub fn wants_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Returns `true` if spans have a destination.
    pub fn wants_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Returns the faults that are injected into requests to destinations.
    pub fn faults(&self) -> &ExportFaults {
        &self.faults
    }

    /// Starts to collect metrics from this source and to push them, if the configuration has a
    /// destination for them. Only the first call has an effect.
    ///
    /// Start the exporter before anything is counted: its start is the start time of the metrics.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn push_metrics(&self, source: Snapshots) -> Result<(), Error> {
        let Some(pipeline) = lock(&self.metrics).take() else { return Ok(()) };
        *lock(&self.reader) = Some(pipeline.start(source)?);
        Ok(())
    }

    /// Opens the file for audit records again, as its file was renamed by a log rotation, whose
    /// usual signal is SIGHUP.
    ///
    /// Without it, the rotation is noticed when the next audit record is written.
    pub fn reopen_files(&self) {
        self.reopen.notify_one();
    }

    /// Accepts no more records, sends those that wait and a last collection of the metrics, and
    /// returns the number of records that were dropped since the start.
    ///
    /// Records that cannot be sent within `timeout` are dropped and counted.
    pub fn stop(&self, timeout: Duration) -> u64 {
        let now = Instant::now();
        let deadline = after(now, timeout);
        self.closing.send_replace(true);
        let workers = std::mem::take(&mut *lock(&self.workers));
        for worker in &workers {
            worker.close();
        }
        if let Some(reader) = &*lock(&self.reader) {
            // The last collection follows the last records, so that it counts them; it waits for
            // them at most half the time.
            let half = after(now, timeout / 2);
            workers.iter().for_each(|worker| _ = worker.wait(half));
            reader.close();
        }
        for worker in workers {
            worker.end(deadline);
        }
        // A statement of its own: within the condition, the lock would be held until the end of the
        // block.
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            reader.end(deadline);
        }
        self.pipelines.iter().map(|metrics| metrics.all_dropped()).sum()
    }
}

impl Sink for Exporter {
    /// Queues a log record without waiting; a record that finds no room is dropped and counted.
    fn log(&self, of: &Arc<Identity>, log: LogRecord) {
        let is_audit = log.is_audit;
        let queues = self.logs.iter().filter(|queue| queue.filter.accepts(is_audit));
        offer(queues.map(|queue| &queue.queue), of, log);
    }

    /// Queues a span; see [`log`](Self::log).
    fn span(&self, of: &Arc<Identity>, span: SpanRecord) {
        offer(self.spans.iter(), of, span);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Returns a later time. One that an `Instant` cannot hold is replaced by one that is a century
/// away.
fn after(time: Instant, wait: Duration) -> Instant {
    time.checked_add(wait).unwrap_or_else(|| time + Duration::from_secs(u32::MAX.into()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn offer<'a, T: Record>(mut queues: impl Iterator<Item = &'a Arc<Queue<T>>>, identity: &Arc<Identity>, record: T) {
    let Some(first) = queues.next() else { return };
    let entry = Entry::new(Arc::clone(identity), record);
    for queue in queues {
        queue.offer(entry.clone());
    }
    first.offer(entry);
}
