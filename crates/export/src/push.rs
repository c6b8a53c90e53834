//! Sends logs, spans and metrics to their destinations, and never holds up whoever recorded them.
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
//! });
//! let lost = exporter.stop(Duration::from_secs(5));
//! assert_eq!(lost, 0, "the default configuration sends nothing anywhere");
//! # Ok(())
//! # }
//! ```
//!
//! Each signal has for each destination a pipeline: a queue bounded in records and bytes, batches, and a worker that retries
//! with backoff. They share a thread that is not the guests'. Records are sent at least once: where a destination's answer is
//! lost, it may have a batch twice.
//!
//! Metrics are read again and again, on a thread of their own, from when [`Exporter::push_metrics`] says from whom, and once more
//! at the end. Their records are points: one series in one reading.
//!
//! Every record that was offered is in the end counted in `wasmetry_export_records_total{signal,destination,outcome}`, as
//! `sent` or for one of these reasons, for which `wasmetry_dropped_total{signal,reason}` counts it too:
//!
//! | reason | what it means | remedy |
//! |---|---|---|
//! | `queue_full` | more was recorded than the destination takes | a faster destination, or larger [`Limits`] against peaks |
//! | `rejected` | the destination has refused it | what [`Report`] says |
//! | `retry_exhausted` | the destination was away for longer than [`Retry::give_up_after`]; of cumulative metrics, only that moment is lost | |
//! | `shutdown` | the process ended before it could be sent | a longer timeout for [`Exporter::stop`] |
//!
//! Differences that cannot be sent are not lost ([`Temporality::Delta`]): the next reading has them too, unless
//! a component that has gone has taken its series along by then.
//!
//! Audit records ([`LogRecord::is_audit`](field@LogRecord::is_audit)) have a stream of their own at each destination, and may have a file of their own.
//! A full queue drops all others before them, and they are sent again for as long as the process lives.

mod builder;
mod config;
mod export_request;
mod gateway;
mod periodic_reader;
mod pipeline;
mod pipeline_metrics;
mod transport;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};
use wasmetry_host::{Identity, Registry, Sink, Snapshot};

use self::builder::{Builder, MetricPipeline};
pub use self::config::{
    Batch, Colors, Compression, Config, Limits, LineFormat, Loki, LokiFormat, Metrics, Otlp, Protocol, Retry,
    Temporality, Tls,
};
pub use self::gateway::{Gateway, Group, Replaces};
pub use self::pipeline::line_writer::Output;
use self::pipeline::queue::{Queue, Record};
use self::pipeline_metrics::PipelineMetrics;
use self::worker::Worker;
use crate::Error;

/// Is told, in words for the operator, when a destination fails and when it works again.
///
/// It is called on the exporter's threads and must not block.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// RecordFilter a snapshot of all metrics, as the telemetry endpoint's `Source` does.
///
/// It runs on a thread of its own and may block for as long as collecting takes, which is added to the end of the process too.
pub type Snapshots = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Sends logs, spans and metrics to the destinations of a [`Config`].
///
/// Dropping it loses, and counts, what was not sent yet; see [`stop`](Self::stop).
pub struct Exporter {
    logs: Vec<LogQueue>,
    spans: Vec<Arc<Queue<SpanRecord>>>,
    metrics_of_pipelines: Vec<Arc<PipelineMetrics>>,
    closing: watch::Sender<bool>,
    workers: Mutex<Vec<Worker>>,
    /// What reads the metrics, and what it is made of as long as it has not been started.
    reader: Mutex<Option<Worker>>,
    metrics: Mutex<Option<MetricPipeline>>,
}

/// A queue of log records.
struct LogQueue {
    queue: Arc<Queue<LogRecord>>,
    takes: RecordFilter,
}

/// Which log records a destination is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordFilter {
    All,
    /// Audit records.
    Audit,
    /// All but audit records.
    Others,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("logs", &self.logs.len()).field("spans", &self.spans.len()).finish()
    }
}

impl Exporter {
    /// Starts the pipelines of a configuration, with their metrics in `registry` and lines on stdout.
    ///
    /// No destination is asked whether it is there: it may come later.
    ///
    /// # Errors
    ///
    /// If a certificate cannot be read, a setting makes no sense, or no thread can be started.
    pub fn start(config: Config, registry: &Registry, report: Report) -> Result<Self, Error> {
        Self::start_with(config, registry, report, Box::new(std::io::stdout()))
    }

    /// Starts the pipelines of a configuration, with lines on an output of the caller's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(config: Config, registry: &Registry, report: Report, output: Output) -> Result<Self, Error> {
        Builder::new(config, registry, report).start(output)
    }

    /// Whether log records go anywhere.
    pub fn wants_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Whether spans go anywhere.
    pub fn wants_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Reads the metrics of this source from now on and pushes them, if the configuration says where to; at the first call only.
    ///
    /// Start the exporter before anything is counted: the metrics say that counting began then.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn push_metrics(&self, source: Snapshots) -> Result<(), Error> {
        let Some(prepared) = lock(&self.metrics).take() else { return Ok(()) };
        *lock(&self.reader) = Some(prepared.start(source)?);
        Ok(())
    }

    /// RecordFilter no more records, sends those that wait and the metrics as they are then, and returns how many were lost since the
    /// start.
    ///
    /// What could not be sent within `timeout` is lost and counted.
    pub fn stop(&self, timeout: Duration) -> u64 {
        let now = Instant::now();
        // One that is too far away to be told is as good as none.
        let after = |timeout| now.checked_add(timeout).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        let deadline = after(timeout);
        self.closing.send_replace(true);
        let workers = std::mem::take(&mut *lock(&self.workers));
        for worker in &workers {
            worker.close();
        }
        if let Some(reader) = &*lock(&self.reader) {
            // The last metrics tell what has become of the records, unless that takes too long.
            let half = after(timeout / 2);
            workers.iter().for_each(|worker| _ = worker.wait(half));
            reader.close();
        }
        for worker in workers {
            worker.end(deadline);
        }
        // Not in the condition, where it would stay locked.
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            reader.end(deadline);
        }
        self.metrics_of_pipelines.iter().map(|metrics| metrics.losses()).sum()
    }
}

impl Sink for Exporter {
    /// RecordFilter a log record, without waiting for anything; what there is no room for is lost and counted.
    fn log(&self, of: &Arc<Identity>, log: LogRecord) {
        let is_audit = log.is_audit;
        let is_for = |queue: &&LogQueue| match queue.takes {
            RecordFilter::All => true,
            RecordFilter::Audit => is_audit,
            RecordFilter::Others => !is_audit,
        };
        offer(self.logs.iter().filter(is_for).map(|queue| &queue.queue), of, log);
    }

    /// RecordFilter a span; see [`log`](Self::log).
    fn span(&self, of: &Arc<Identity>, span: SpanRecord) {
        offer(self.spans.iter(), of, span);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
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
