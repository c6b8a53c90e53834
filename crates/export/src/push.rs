//! Sends logs and spans to their destinations, and never holds up whoever recorded them.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use wasmetry_export::push::{Config, Exporter};
//! use wasmetry_host::{Identity, Registry, record::{Level, LogRecord}};
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
//! Every record that was offered is in the end counted in `wasmetry_export_records_total{signal,destination,outcome}`, as
//! `sent` or for one of these reasons, for which `wasmetry_dropped_total{signal,reason}` counts it too:
//!
//! | reason | what it means | remedy |
//! |---|---|---|
//! | `queue_full` | more was recorded than the destination takes | a faster destination, or larger [`Limits`] against peaks |
//! | `rejected` | the destination has refused it | what [`Report`] says |
//! | `retry_exhausted` | the destination was away for longer than [`Retry::give_up_after`] | |
//! | `shutdown` | the process ended before it could be sent | a longer timeout for [`Exporter::stop`] |

mod account;
mod config;
mod delivery;
mod pipeline;
mod queue;
mod retry;
mod transport;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wasmetry_host::encode::otlp::{self, Encoding};
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};
use wasmetry_host::{Identity, Registry};

use self::account::Account;
pub use self::config::{Batch, Compression, Config, Limits, Lines, Otlp, Protocol, Retry, Tls};
use self::delivery::{Delivery, Health};
use self::pipeline::{Encode, Pipeline};
use self::queue::{Close, Queue, Record};
use self::transport::Transport;
use crate::Error;

/// Is told, in words for the operator, when a destination fails and when it works again.
///
/// It is called on the exporter's thread and must not block.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Sends logs and spans to the destinations of a [`Config`].
///
/// Dropping it loses, and counts, what was not sent yet; see [`stop`](Self::stop).
pub struct Exporter {
    logs: Vec<Arc<Queue<LogRecord>>>,
    spans: Vec<Arc<Queue<SpanRecord>>>,
    accounts: Vec<Arc<Account>>,
    closing: watch::Sender<bool>,
    push: Option<Worker>,
}

/// A thread that works on queues.
struct Worker {
    queues: Vec<Arc<dyn Close>>,
    /// Is sent to when the thread is to end, whatever is left.
    end: watch::Sender<bool>,
    /// Is disconnected when the thread has done its work.
    done: Mutex<mpsc::Receiver<()>>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").field("logs", &self.logs.len()).field("spans", &self.spans.len()).finish()
    }
}

impl Exporter {
    /// Starts the pipelines of a configuration, with their metrics in `registry`.
    ///
    /// No destination is asked whether it is there: it may come later.
    ///
    /// # Errors
    ///
    /// If a certificate cannot be read, a setting makes no sense, or no thread can be started.
    pub fn start(config: Config, registry: &Registry, report: Report) -> Result<Self, Error> {
        let (closing, is_closing) = watch::channel(false);
        let mut exporter = Self { logs: Vec::new(), spans: Vec::new(), accounts: Vec::new(), closing, push: None };
        let mut tasks = Tasks { registry, report, closing: is_closing, jobs: Vec::new(), queues: Vec::new() };
        if let Some(otlp) = &config.logs {
            let transport = Transport::otlp(otlp, "/opentelemetry.proto.collector.logs.v1.LogsService/Export")?;
            let (process, encoding) = (config.process.clone(), encoding(otlp));
            let encode: Encode<LogRecord> =
                Box::new(move |batch| encoding.encode(&otlp::logs(batch, &process, encoding)));
            let way = Way { destination: "otlp", url: otlp.endpoint.to_string(), transport, retry: config.log_retry };
            let (queue, account) = tasks.add(way, encode, config.log_limits, config.log_batch)?;
            exporter.logs.push(queue);
            exporter.accounts.push(account);
        }
        if let Some(otlp) = &config.spans {
            let transport = Transport::otlp(otlp, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")?;
            let (process, encoding) = (config.process.clone(), encoding(otlp));
            let encode: Encode<SpanRecord> =
                Box::new(move |batch| encoding.encode(&otlp::traces(batch, &process, encoding)));
            let way = Way { destination: "otlp", url: otlp.endpoint.to_string(), transport, retry: config.span_retry };
            let (queue, account) = tasks.add(way, encode, config.span_limits, config.span_batch)?;
            exporter.spans.push(queue);
            exporter.accounts.push(account);
        }
        exporter.push = tasks.start()?;
        Ok(exporter)
    }

    /// Whether log records go anywhere.
    pub fn wants_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Whether spans go anywhere.
    pub fn wants_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Takes a log record of a component, without waiting for anything; what there is no room for is lost and counted.
    pub fn log(&self, identity: &Arc<Identity>, record: LogRecord) {
        offer(&self.logs, identity, record);
    }

    /// Takes a span of a component; see [`log`](Self::log).
    pub fn span(&self, identity: &Arc<Identity>, record: SpanRecord) {
        offer(&self.spans, identity, record);
    }

    /// Takes no more records, sends those that wait, and returns how many were lost since the start.
    ///
    /// What could not be sent within `timeout` is lost and counted.
    pub fn stop(mut self, timeout: Duration) -> u64 {
        self.end(timeout);
        self.accounts.iter().map(|account| account.losses()).sum()
    }

    fn end(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.closing.send_replace(true);
        let Some(worker) = self.push.take() else { return };
        for queue in &worker.queues {
            queue.close();
        }
        // Nothing is ever sent: the thread drops its end.
        let done = worker.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        worker.end.send_replace(true);
        // A panic of that thread was already reported, and what it had to send is counted below.
        let _ = worker.thread.join();
        for queue in &worker.queues {
            queue.abandon();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn offer<T: Record>(queues: &[Arc<Queue<T>>], identity: &Arc<Identity>, record: T) {
    let Some((last, others)) = queues.split_last() else { return };
    let entry = Entry::new(Arc::clone(identity), record);
    for queue in others {
        queue.offer(entry.clone());
    }
    last.offer(entry);
}

fn encoding(otlp: &Otlp) -> Encoding {
    match otlp.protocol {
        Protocol::HttpJson => Encoding::Json,
        Protocol::Grpc | Protocol::HttpProtobuf => Encoding::Protobuf,
    }
}

/// Where a pipeline leads.
struct Way {
    /// As the metrics show it.
    destination: &'static str,
    url: String,
    transport: Transport,
    retry: Retry,
}

/// Works on one queue until that is closed and empty.
type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The pipelines that are about to be started.
struct Tasks<'a> {
    registry: &'a Registry,
    report: Report,
    closing: watch::Receiver<bool>,
    jobs: Vec<Job>,
    queues: Vec<Arc<dyn Close>>,
}

impl Tasks<'_> {
    fn add<T: Record>(
        &mut self,
        way: Way,
        encode: Encode<T>,
        limits: Limits,
        batch: Batch,
    ) -> Result<(Arc<Queue<T>>, Arc<Account>), Error> {
        check(limits, batch)?;
        let account = Arc::new(Account::new(self.registry, T::SIGNAL, way.destination));
        let queue = Arc::new(Queue::new(limits, batch, Arc::clone(&account)));
        let delivery = Delivery {
            transport: way.transport,
            retry: way.retry,
            account: Arc::clone(&account),
            health: Health::new(format!("{} to {}", T::SIGNAL, way.url), Arc::clone(&self.report)),
            closing: self.closing.clone(),
            hurried: false,
            resume: None,
        };
        self.jobs.push(Box::pin(Pipeline { queue: Arc::clone(&queue), encode, delivery }.run()));
        self.queues.push(Arc::<Queue<T>>::clone(&queue));
        Ok((queue, account))
    }

    /// Starts the thread; none where there is nothing to do.
    fn start(self) -> Result<Option<Worker>, Error> {
        if self.jobs.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("telemetry-names")
            .build()
            .map_err(Error::Thread)?;
        let (end, ended) = watch::channel(false);
        let (alive, done) = mpsc::channel::<()>();
        let jobs = self.jobs;
        let thread = std::thread::Builder::new()
            .name("telemetry-push".to_owned())
            .spawn(move || work(runtime, jobs, ended, alive))
            .map_err(Error::Thread)?;
        Ok(Some(Worker { queues: self.queues, end, done: Mutex::new(done), thread }))
    }
}

fn work(runtime: Runtime, jobs: Vec<Job>, mut ended: watch::Receiver<bool>, alive: mpsc::Sender<()>) {
    runtime.block_on(async {
        let mut tasks: JoinSet<()> = jobs.into_iter().collect();
        tokio::select! {
            // Also when the exporter's end of it is gone.
            _ = ended.wait_for(|end| *end) => {}
            () = async { while tasks.join_next().await.is_some() {} } => {}
        }
    });
    drop(alive);
    // A look-up of a name that takes its time is not waited for.
    runtime.shutdown_background();
}

fn check(limits: Limits, batch: Batch) -> Result<(), Error> {
    let cause = if batch.records == 0 || batch.bytes == 0 {
        "a batch must have room for a record; give it 1 record and 1 byte at least"
    } else if limits.records < batch.records || limits.bytes < batch.bytes {
        "a queue must have room for a batch; give it more room or make batches smaller"
    } else {
        return Ok(());
    };
    Err(Error::Setting { name: "queue and batch sizes", cause: cause.to_owned() })
}
