//! From a configuration to pipelines that run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wasmetry_host::Registry;
use wasmetry_host::encode::otlp::{self, Encoding, Process};
use wasmetry_host::encode::{json, loki, pretty};

use super::config::{Batch, Config, Limits, LineFormat, LokiFormat, Retry, Temporality};
use super::export_request::retry::{self, Pause};
use super::export_request::{ExportClient, Health};
use super::periodic_reader::{ExportState, PeriodicReader};
use super::pipeline::batch_processor::{BatchProcessor, Encode};
use super::pipeline::line_writer::{AuditFile, LineWriter, Output};
use super::pipeline::queue::{Close, Queue, Record};
use super::pipeline_metrics::PipelineMetrics;
use super::transport::{Http, TENANT, Transport};
use super::worker::{Job, Worker};
use super::{Exporter, LogQueue, RecordFilter, Report, Snapshots, periodic_reader};
use crate::Error;

/// The pipelines that are about to be started.
pub(super) struct Builder<'a> {
    config: Config,
    registry: &'a Registry,
    report: Report,
    exporter: Exporter,
    closing: watch::Receiver<bool>,
    jobs: Vec<Job>,
    queues: Vec<Arc<dyn Close>>,
}

/// Where a pipeline leads.
struct Destination {
    /// As the metrics show it.
    destination: &'static str,
    url: String,
    is_by_tenant: bool,
    transport: Transport,
    retry: Retry,
}

impl<'a> Builder<'a> {
    pub(super) fn new(mut config: Config, registry: &'a Registry, report: Report) -> Self {
        let (closing, is_closing) = watch::channel(false);
        let (logs, spans, metrics_of_pipelines, workers) = (Vec::new(), Vec::new(), Vec::new(), Mutex::default());
        let (reader, metrics) = (Mutex::default(), Mutex::default());
        let exporter = Exporter { logs, spans, metrics_of_pipelines, closing, workers, reader, metrics };
        // Two processes of one service must not write the same series. An attribute that is set counts, as it comes first.
        config.process.attributes.push(("service.instance.id".to_owned(), instance_id()));
        Self { config, registry, report, exporter, closing: is_closing, jobs: Vec::new(), queues: Vec::new() }
    }

    pub(super) fn start(mut self, output: Output) -> Result<Exporter, Error> {
        self.otlp_logs()?;
        self.otlp_spans()?;
        self.loki()?;
        self.metrics()?;
        // Whatever fails, dropping the exporter ends what has been started.
        if let Some(path) = self.config.audit.take() {
            let worker = self.audit(&path)?;
            self.started(worker);
        }
        if let Some(lines) = self.config.stdout {
            let worker = self.lines(lines, output)?;
            self.started(worker);
        }
        if !self.jobs.is_empty() {
            let (queues, jobs) = (std::mem::take(&mut self.queues), std::mem::take(&mut self.jobs));
            self.started(Worker::jobs(queues, jobs)?);
        }
        Ok(self.exporter)
    }

    fn started(&mut self, worker: Worker) {
        self.exporter.workers.get_mut().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    fn otlp_logs(&mut self) -> Result<(), Error> {
        let Some(otlp) = &self.config.logs else { return Ok(()) };
        let (transport, encoding) = Transport::otlp(otlp, "/opentelemetry.proto.collector.logs.v1.LogsService/Export")?;
        let process = self.config.process.clone();
        let encode: Encode<_> = Box::new(move |batch| encoding.encode(&otlp::logs(batch, &process, encoding)));
        let retry = self.config.log_retry;
        let way =
            Destination { destination: "otlp", url: otlp.endpoint.to_string(), is_by_tenant: false, transport, retry };
        let queue = self.pipeline(way, encode, self.config.log_limits, self.config.log_batch)?;
        self.exporter.logs.push(LogQueue { queue, takes: RecordFilter::All });
        Ok(())
    }

    fn otlp_spans(&mut self) -> Result<(), Error> {
        let Some(otlp) = &self.config.spans else { return Ok(()) };
        let (transport, encoding) =
            Transport::otlp(otlp, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")?;
        let process = self.config.process.clone();
        let encode: Encode<_> = Box::new(move |batch| encoding.encode(&otlp::traces(batch, &process, encoding)));
        let retry = self.config.span_retry;
        let way =
            Destination { destination: "otlp", url: otlp.endpoint.to_string(), is_by_tenant: false, transport, retry };
        let queue = self.pipeline(way, encode, self.config.span_limits, self.config.span_batch)?;
        self.exporter.spans.push(queue);
        Ok(())
    }

    /// Makes ready what is started once there is somebody to read from.
    fn metrics(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.metrics else { return Ok(()) };
        if config.interval.is_zero() || config.request_bytes == 0 {
            let cause =
                "between two readings there must be some time, and a request must have room for a byte at least";
            return Err(Error::Setting { name: "metrics", cause: cause.to_owned() });
        }
        let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let (transport, encoding) = Transport::otlp(&config.otlp, path)?;
        let metrics = Arc::new(PipelineMetrics::new(self.registry, "metrics", "otlp", None));
        self.exporter.metrics_of_pipelines.push(Arc::clone(&metrics));
        let (closing, is_closing) = watch::channel(false);
        let delivery = ExportClient {
            transport,
            retry: config.retry,
            metrics,
            health: Health::new(format!("metrics to {}", config.otlp.endpoint), Arc::clone(&self.report)),
            pause: Pause::new(is_closing),
            resume: None,
        };
        *self.exporter.metrics.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(MetricPipeline {
            delivery,
            encoding,
            closing,
            process: self.config.process.clone(),
            temporality: config.temporality,
            interval: config.interval,
            bytes: config.request_bytes,
            start: periodic_reader::now(),
        });
        Ok(())
    }

    fn loki(&mut self) -> Result<(), Error> {
        let Some(config) = &self.config.loki else { return Ok(()) };
        let name = self.config.process.service_name.clone();
        let encode: Encode<_> = match config.format {
            LokiFormat::Protobuf => Box::new(move |batch| loki::protobuf(batch, name.as_deref())),
            LokiFormat::Json(_) => Box::new(move |batch| loki::json(batch, name.as_deref()).into_bytes()),
        };
        let transport = Transport::Http(Http::loki(config)?);
        let retry = self.config.log_retry;
        let is_by_tenant = !config.headers.contains_key(TENANT);
        let way = Destination { destination: "loki", url: config.endpoint.to_string(), is_by_tenant, transport, retry };
        let queue = self.pipeline(way, encode, self.config.log_limits, self.config.log_batch)?;
        self.exporter.logs.push(LogQueue { queue, takes: RecordFilter::All });
        Ok(())
    }

    fn lines(&mut self, lines: LineFormat, output: Output) -> Result<Worker, Error> {
        // A line is written at once: what comes meanwhile makes the next batch.
        let batch = Batch { schedule_delay: Duration::ZERO, ..self.config.log_batch };
        let (queue, metrics) = self.queue("stdout", self.config.log_limits, batch)?;
        let encode: Encode<_> = match lines {
            LineFormat::Json => Box::new(|batch| json::encode(batch).into_bytes()),
            LineFormat::Pretty(colors) => Box::new(move |batch| pretty::encode(batch, colors).into_bytes()),
        };
        let has_audit_file = self.exporter.logs.iter().any(|queue| queue.takes == RecordFilter::Audit);
        let takes = if has_audit_file { RecordFilter::Others } else { RecordFilter::All };
        self.exporter.logs.push(LogQueue { queue: Arc::clone(&queue), takes });
        let health = Health::new("logs to stdout".to_owned(), Arc::clone(&self.report));
        let pause = Pause::new(self.closing.clone());
        Worker::lines(LineWriter { queue, encode, output, metrics, health, retry: None, pause })
    }

    fn audit(&mut self, path: &Path) -> Result<Worker, Error> {
        let output = Box::new(AuditFile::open(path)?);
        let batch = Batch { schedule_delay: Duration::ZERO, ..self.config.log_batch };
        let (queue, metrics) = self.queue("audit", self.config.log_limits, batch)?;
        let encode: Encode<_> = Box::new(|batch| json::encode(batch).into_bytes());
        self.exporter.logs.push(LogQueue { queue: Arc::clone(&queue), takes: RecordFilter::Audit });
        let health = Health::new(format!("audit records to {}", path.display()), Arc::clone(&self.report));
        let retry = Some(Retry { give_up_after: Duration::MAX, ..self.config.log_retry });
        let pause = Pause::new(self.closing.clone());
        Worker::lines(LineWriter { queue, encode, output, metrics, health, retry, pause })
    }

    fn pipeline<T: Record>(
        &mut self,
        way: Destination,
        encode: Encode<T>,
        limits: Limits,
        batch: Batch,
    ) -> Result<Arc<Queue<T>>, Error> {
        let (queue, metrics) = self.queue(way.destination, limits, batch)?;
        let delivery = ExportClient {
            transport: way.transport,
            retry: way.retry,
            metrics,
            health: Health::new(format!("{} to {}", T::SIGNAL, way.url), Arc::clone(&self.report)),
            pause: Pause::new(self.closing.clone()),
            resume: None,
        };
        let pipeline = BatchProcessor { queue: Arc::clone(&queue), encode, is_by_tenant: way.is_by_tenant, delivery };
        self.jobs.push(Box::pin(pipeline.run()));
        self.queues.push(Arc::<Queue<T>>::clone(&queue));
        Ok(queue)
    }

    fn queue<T: Record>(
        &mut self,
        destination: &str,
        limits: Limits,
        batch: Batch,
    ) -> Result<(Arc<Queue<T>>, Arc<PipelineMetrics>), Error> {
        check(limits, batch)?;
        let metrics = Arc::new(PipelineMetrics::new(self.registry, T::SIGNAL, destination, Some(limits.records)));
        self.exporter.metrics_of_pipelines.push(Arc::clone(&metrics));
        Ok((Arc::new(Queue::new(limits, batch, Arc::clone(&metrics))), metrics))
    }
}

/// Metrics that are pushed as soon as somebody says what they are.
pub(super) struct MetricPipeline {
    delivery: ExportClient,
    encoding: Encoding,
    closing: watch::Sender<bool>,
    process: Process,
    temporality: Temporality,
    interval: Duration,
    bytes: usize,
    start: u64,
}

impl MetricPipeline {
    /// Starts the thread that reads from `source`.
    pub(super) fn start(self, source: Snapshots) -> Result<Worker, Error> {
        let Self { delivery, encoding, closing, process, temporality, interval, bytes, start } = self;
        let metrics = Arc::clone(&delivery.metrics);
        let book = Arc::new(ExportState::new(source, temporality, metrics, closing, start));
        let reader = PeriodicReader { book: Arc::clone(&book), process, encoding, interval, bytes, delivery };
        Worker::jobs(vec![book], vec![Box::pin(reader.run())])
    }
}

/// A random UUID.
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
        "a batch must have room for a record; give it 1 record and 1 byte at least"
    } else if limits.records < batch.records || limits.bytes < batch.bytes {
        "a queue must have room for a batch; give it more room or make batches smaller"
    } else {
        return Ok(());
    };
    Err(Error::Setting { name: "queue and batch sizes", cause: cause.to_owned() })
}
