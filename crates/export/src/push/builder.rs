//! Builds the pipelines of a configuration and starts their threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use wasmetry_host::Registry;
use wasmetry_host::encode::otlp::{self, Encoding, Process};
use wasmetry_host::encode::{json, loki, pretty};
use wasmetry_host::record::{self, LogRecord};

use super::config::{Batch, Config, Limits, LineFormat, LokiFormat, Otlp, Retry, Temporality};
use super::export_request::retry::{self, RetryTimer};
use super::export_request::{DestinationHealth, ExportClient};
use super::fault::ExportFaults;
use super::periodic_reader::{ExportState, PeriodicReader, SteadyClock};
use super::pipeline::batch_processor::{BatchProcessor, Encode};
use super::pipeline::line_writer::{AuditFile, LineOutput, LineWriter, Output, PlainOutput};
use super::pipeline::queue::{Close, Queue, Record};
use super::pipeline_metrics::PipelineMetrics;
use super::transport::{Http, TENANT, Transport};
use super::worker::{Task, Worker};
use super::{Exporter, LogQueue, RecordFilter, Report, Snapshots};
use crate::{Error, limits};

/// The pipelines of a configuration, before they are started.
pub(super) struct Builder<'a> {
    config: Config,
    registry: &'a Registry,
    report: Report,
    exporter: Exporter,
    closing: watch::Receiver<bool>,
    tasks: Vec<Task>,
    queues: Vec<Arc<dyn Close>>,
}

/// The destination of a pipeline.
struct Destination {
    /// Its label in metrics.
    label: &'static str,
    /// Its URL, without secrets.
    url: String,
    /// `true` if each tenant's records have requests and limits of their own.
    is_by_tenant: bool,
    /// `true` if it accepts all of a request or, if it responds with a failure, none.
    is_atomic: bool,
    transport: Transport,
    retry: Retry,
}

impl Destination {
    /// Returns an OTLP endpoint as a destination, and the encoding of its requests. `method` is the
    /// signal's gRPC method.
    fn otlp(config: &Otlp, method: &str, retry: Retry) -> Result<(Self, Encoding), Error> {
        let (transport, encoding) = Transport::otlp(config, method)?;
        let url = record::destination(&config.endpoint.to_string());
        Ok((Self { label: "otlp", url, is_by_tenant: false, is_atomic: true, transport, retry }, encoding))
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(mut config: Config, registry: &'a Registry, report: Report) -> Self {
        let (closing, is_closing) = watch::channel(false);
        let (logs, spans, pipelines, workers) = (Vec::new(), Vec::new(), Vec::new(), Mutex::default());
        let (reader, metrics, reopen) = (Mutex::default(), Mutex::default(), Arc::default());
        let faults = ExportFaults::default();
        let exporter = Exporter { logs, spans, pipelines, closing, workers, reader, metrics, reopen, faults };
        // Two processes of one service must not write the same series. Of equal keys the first one
        // counts: a value that was set.
        config.process.attributes.push(("service.instance.id".to_owned(), instance_id()));
        Self { config, registry, report, exporter, closing: is_closing, tasks: Vec::new(), queues: Vec::new() }
    }

    /// Starts all pipelines but that of metrics. After an error, dropping the exporter ends those
    /// that were started.
    pub(super) fn start(mut self, output: Output) -> Result<Exporter, Error> {
        self.otlp_logs()?;
        self.otlp_spans()?;
        self.loki()?;
        self.metrics()?;
        if let Some(path) = self.config.audit.take() {
            let worker = self.audit_file(&path)?;
            self.add_worker(worker);
        }
        if let Some(format) = self.config.stdout {
            let worker = self.stdout(format, output)?;
            self.add_worker(worker);
        }
        if !self.tasks.is_empty() {
            let (queues, tasks) = (std::mem::take(&mut self.queues), std::mem::take(&mut self.tasks));
            self.add_worker(Worker::tasks(queues, tasks)?);
        }
        Ok(self.exporter)
    }

    fn add_worker(&mut self, worker: Worker) {
        self.exporter.workers.get_mut().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    fn otlp_logs(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.logs else { return Ok(()) };
        let method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let (destination, encoding) = Destination::otlp(config, method, self.config.log_retry)?;
        let process = self.config.process.clone();
        let encode: Encode<_> = Box::new(move |batch| encoding.encode(&otlp::logs(batch, &process, encoding)));
        let queue = self.batch_processor(destination, encode, self.config.log_limits, self.config.log_batch)?;
        self.exporter.logs.push(LogQueue { queue, filter: RecordFilter::All });
        Ok(())
    }

    fn otlp_spans(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.spans else { return Ok(()) };
        let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let (destination, encoding) = Destination::otlp(config, method, self.config.span_retry)?;
        let process = self.config.process.clone();
        let encode: Encode<_> = Box::new(move |batch| encoding.encode(&otlp::traces(batch, &process, encoding)));
        let queue = self.batch_processor(destination, encode, self.config.span_limits, self.config.span_batch)?;
        self.exporter.spans.push(queue);
        Ok(())
    }

    /// Prepares the pipeline of metrics, which is started once it has a source.
    fn metrics(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.metrics else { return Ok(()) };
        if config.interval.is_zero() || config.request_bytes == 0 {
            let cause = "the interval and the size of a request must be more than 0";
            return Err(Error::Setting { name: "metrics", cause: cause.to_owned() });
        }
        let method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let (destination, encoding) = Destination::otlp(&config.otlp, method, config.retry)?;
        let metrics = Arc::new(PipelineMetrics::new(self.registry, "metrics", destination.label, None));
        let (closing, is_closing) = watch::channel(false);
        let pipeline = MetricPipeline {
            client: client(
                "metrics",
                destination,
                Arc::clone(&metrics),
                &self.report,
                is_closing,
                &self.exporter.faults,
            ),
            encoding,
            closing,
            process: self.config.process.clone(),
            temporality: config.temporality,
            interval: config.interval,
            request_bytes: config.request_bytes,
            clock: SteadyClock::start(),
        };
        self.exporter.pipelines.push(metrics);
        *self.exporter.metrics.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(pipeline);
        Ok(())
    }

    fn loki(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.loki else { return Ok(()) };
        let mut encoder = loki::Encoder::new(self.config.process.service_name.clone());
        let encode: Encode<_> = match config.format {
            LokiFormat::Protobuf => Box::new(move |batch| encoder.protobuf(batch)),
            LokiFormat::Json(_) => Box::new(move |batch| encoder.json(batch).into_bytes()),
        };
        let destination = Destination {
            label: "loki",
            url: record::destination(&config.endpoint.to_string()),
            is_by_tenant: !config.headers.contains_key(TENANT),
            // It stores the valid entries of a push that it refuses.
            is_atomic: false,
            transport: Transport::Http(Http::loki(config)?),
            retry: self.config.log_retry,
        };
        let queue = self.batch_processor(destination, encode, self.config.log_limits, self.config.log_batch)?;
        self.exporter.logs.push(LogQueue { queue, filter: RecordFilter::All });
        Ok(())
    }

    fn stdout(&mut self, format: LineFormat, output: Output) -> Result<Worker, Error> {
        let encode: Encode<_> = match format {
            LineFormat::Json => Box::new(|batch| json::encode(batch).into_bytes()),
            LineFormat::Pretty(colors) => Box::new(move |batch| pretty::encode(batch, colors).into_bytes()),
        };
        let has_audit_file = self.exporter.logs.iter().any(|queue| queue.filter == RecordFilter::Audit);
        let filter = if has_audit_file { RecordFilter::NonAudit } else { RecordFilter::All };
        let policy = self.config.log_retry;
        let retry = Retry {
            initial: policy.initial.min(limits::LINE_RETRY.initial),
            max: policy.max.min(limits::LINE_RETRY.max),
            give_up_after: policy.give_up_after.min(limits::LINE_RETRY.give_up_after),
            cancel_after: Duration::MAX,
        };
        self.line_writer("stdout", "logs to stdout".to_owned(), Box::new(PlainOutput(output)), encode, filter, retry)
    }

    fn audit_file(&mut self, path: &Path) -> Result<Worker, Error> {
        let output = Box::new(AuditFile::open(path)?);
        let encode: Encode<_> = Box::new(|batch| json::encode(batch).into_bytes());
        let name = format!("audit records to {}", path.display());
        let retry = Retry { give_up_after: Duration::MAX, ..self.config.log_retry };
        self.line_writer("audit", name, output, encode, RecordFilter::Audit, retry)
    }

    fn line_writer(
        &mut self,
        label: &'static str,
        name: String,
        output: Box<dyn LineOutput>,
        encode: Encode<LogRecord>,
        filter: RecordFilter,
        retry: Retry,
    ) -> Result<Worker, Error> {
        // Lines are written without delay; records that come during a write are the next batch.
        let batch = Batch { schedule_delay: Duration::ZERO, ..self.config.log_batch };
        let (queue, metrics) = self.queue(label, self.config.log_limits, batch)?;
        self.exporter.logs.push(LogQueue { queue: Arc::clone(&queue), filter });
        let health = DestinationHealth::new(name, Arc::clone(&self.report));
        let timer = RetryTimer::new(self.closing.clone());
        let reopen = match filter {
            RecordFilter::Audit => Arc::<Notify>::clone(&self.exporter.reopen),
            RecordFilter::All | RecordFilter::NonAudit => Arc::default(),
        };
        let growth = (filter == RecordFilter::Audit).then_some(self.config.audit_growth);
        Worker::lines(LineWriter { queue, encode, output, metrics, health, retry, timer, reopen, growth })
    }

    fn batch_processor<T: Record>(
        &mut self,
        destination: Destination,
        encode: Encode<T>,
        limits: Limits,
        batch: Batch,
    ) -> Result<Arc<Queue<T>>, Error> {
        let (queue, metrics) = self.queue(destination.label, limits, batch)?;
        let client = client(T::SIGNAL, destination, metrics, &self.report, self.closing.clone(), &self.exporter.faults);
        let processor = BatchProcessor { queue: Arc::clone(&queue), encode, client };
        self.tasks.push(Box::pin(processor.run()));
        self.queues.push(Arc::<Queue<T>>::clone(&queue));
        Ok(queue)
    }

    fn queue<T: Record>(
        &mut self,
        label: &str,
        limits: Limits,
        batch: Batch,
    ) -> Result<(Arc<Queue<T>>, Arc<PipelineMetrics>), Error> {
        check(limits, batch)?;
        let metrics = Arc::new(PipelineMetrics::new(self.registry, T::SIGNAL, label, Some(limits.records)));
        self.exporter.pipelines.push(Arc::clone(&metrics));
        Ok((Arc::new(Queue::new(limits, batch, Arc::clone(&metrics))), metrics))
    }
}

fn client(
    signal: &str,
    destination: Destination,
    metrics: Arc<PipelineMetrics>,
    report: &Report,
    closing: watch::Receiver<bool>,
    faults: &ExportFaults,
) -> ExportClient {
    faults.add_destination();
    ExportClient {
        transport: destination.transport,
        retry: destination.retry,
        metrics,
        health: DestinationHealth::new(
            format!("{signal} to {}", wasmetry_host::record::destination(&destination.url)),
            Arc::clone(report),
        ),
        timer: RetryTimer::new(closing),
        throttled_until: None,
        is_by_tenant: destination.is_by_tenant,
        is_atomic: destination.is_atomic,
        faults: faults.clone(),
    }
}

/// The pipeline of metrics, before it has a source.
pub(super) struct MetricPipeline {
    client: ExportClient,
    encoding: Encoding,
    closing: watch::Sender<bool>,
    process: Process,
    temporality: Temporality,
    interval: Duration,
    request_bytes: usize,
    clock: SteadyClock,
}

impl MetricPipeline {
    /// Starts the thread that collects from `source`.
    pub(super) fn start(self, source: Snapshots) -> Result<Worker, Error> {
        let Self { client, encoding, closing, process, temporality, interval, request_bytes, clock } = self;
        let metrics = Arc::clone(&client.metrics);
        let state = Arc::new(ExportState::new(source, temporality, metrics, closing, clock));
        let reader = PeriodicReader { state: Arc::clone(&state), process, encoding, interval, request_bytes, client };
        Worker::tasks(vec![state], vec![Box::pin(reader.run())])
    }
}

/// Returns a random UUID.
///
/// Source: RFC 9562, "UUID Version 4"; OpenTelemetry's semantic conventions, `service.instance.id`.
fn instance_id() -> String {
    let (high, low) = (retry::random_bits(), retry::random_bits());
    let (version, variant) = (0x4000 | high & 0xfff, 0x8000 | low >> 48 & 0x3fff);
    format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        low & 0xffff_ffff_ffff
    )
}

fn check(limits: Limits, batch: Batch) -> Result<(), Error> {
    let cause = if batch.records == 0 || batch.bytes == 0 {
        "a batch must hold a record; give it at least 1 record and 1 byte"
    } else if limits.records < batch.records || limits.bytes < batch.bytes {
        "a queue must hold a batch; make the queue larger or the batch smaller"
    } else {
        return Ok(());
    };
    Err(Error::Setting { name: "queue and batch sizes", cause: cause.to_owned() })
}
