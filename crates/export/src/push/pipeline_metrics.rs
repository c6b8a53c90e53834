//! The metrics of a pipeline: the outcome of every record, the requests, and the queue.

use std::time::Duration;

use wasmetry_host::{Counter, Gauge, Histogram, Registry};

use super::pipeline::queue::Owners;
use super::transport::Response;

/// Bounds of the duration of a request, in seconds.
const REQUEST_BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The reason for which a record did not reach its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExportDropReason {
    /// The queue was full: its destination accepts less than is offered.
    QueueFull,
    /// The destination rejected the record.
    Rejected,
    /// The destination did not accept the record before the retry limit.
    RetryExhausted,
    /// The process ended before the record could be sent.
    Shutdown,
    /// The component had added as much to the audit file as it may.
    GrowthLimit,
}

impl ExportDropReason {
    /// Every reason, in the order of the variants, with its label in
    /// `wasmetry_dropped_total{reason}`.
    const TABLE: [(Self, &str); 5] = [
        (Self::QueueFull, "queue_full"),
        (Self::Rejected, "rejected"),
        (Self::RetryExhausted, "retry_exhausted"),
        (Self::Shutdown, "shutdown"),
        (Self::GrowthLimit, "growth_limit"),
    ];

    /// The reason in `wasmetry_dropped_total{reason}`.
    const fn label(self) -> &'static str {
        Self::TABLE[self as usize].1
    }
}

/// The outcome of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RequestOutcome {
    Accepted,
    Retried,
    Refused,
}

impl RequestOutcome {
    /// Returns the outcome of a request with this response.
    pub(crate) fn of(response: &Response) -> Self {
        match response {
            Response::Success { .. } | Response::UnrecognizedSuccess { .. } => Self::Accepted,
            Response::Retryable { .. } | Response::Throttled { .. } => Self::Retried,
            Response::NonRetryable { .. } | Response::InvalidContent { .. } => Self::Refused,
        }
    }
}

/// The metrics of one pipeline. Every offered record is finally counted, as sent or as dropped.
#[derive(Debug)]
pub(crate) struct PipelineMetrics {
    sent: Counter,
    /// For each reason, the records of this destination.
    dropped: [Counter; ExportDropReason::TABLE.len()],
    signal: String,
    registry: Registry,
    queued: Gauge,
    requests: [Counter; 3],
    durations: Histogram,
}

impl PipelineMetrics {
    /// Creates the metrics of a signal's pipeline to a destination. `limit` is the number of
    /// records that its queue holds, if it has one.
    pub(crate) fn new(registry: &Registry, signal: &str, destination: &str, limit: Option<usize>) -> Self {
        let keys = ["signal", "destination"];
        let with_outcome = ["signal", "destination", "outcome"];
        let records = registry.counter(
            "wasmetry_export_records_total",
            "Records (of metrics: data points) that were sent to their destination, or dropped for a reason.",
            &with_outcome,
        );
        let requests = registry.counter(
            "wasmetry_export_requests_total",
            "Requests to a destination: accepted, to be retried, or refused.",
            &with_outcome,
        );
        let durations = registry.histogram(
            "wasmetry_export_request_duration_seconds",
            "Time from sending a request to a destination to its response or failure.",
            &keys,
            &REQUEST_BOUNDS,
        );
        let queued =
            registry.gauge("wasmetry_export_queue_records", "Records that wait to be sent or are being sent.", &keys);
        let labels = [signal, destination];
        if let Some(limit) = limit {
            let limits = registry.gauge(
                "wasmetry_export_queue_limit_records",
                "Records that each lane of the queue holds; when it is full, records of whoever has most are dropped.",
                &keys,
            );
            limits.with(&labels).set(limit as f64);
        }
        // Those of records without an owner start at 0, so that `increase()` sees the first one.
        for (_, reason) in ExportDropReason::TABLE {
            registry.dropped(signal, reason);
        }
        let request = |outcome| requests.with(&[signal, destination, outcome]);
        Self {
            sent: records.with(&[signal, destination, "sent"]),
            dropped: ExportDropReason::TABLE.map(|(_, reason)| records.with(&[signal, destination, reason])),
            signal: signal.to_owned(),
            registry: registry.clone(),
            queued: queued.with(&labels),
            requests: [request("accepted"), request("retried"), request("refused")],
            durations: durations.with(&labels),
        }
    }

    pub(crate) fn sent(&self, records: u64) {
        self.sent.add(records);
    }

    /// Counts records whose owner is not known: data points, and those that a destination rejects
    /// without their names.
    pub(crate) fn dropped(&self, reason: ExportDropReason, records: u64) {
        self.registry.dropped(&self.signal, reason.label()).add(records);
        self.dropped[reason as usize].add(records);
    }

    /// Counts records by their owners.
    pub(crate) fn dropped_of(&self, reason: ExportDropReason, owners: &Owners) {
        for (identity, records) in owners.iter() {
            self.registry.count_dropped(identity, &self.signal, reason.label(), records);
            self.dropped[reason as usize].add(records);
        }
    }

    /// Counts some of the records of these owners that the destination has rejected. It does not
    /// name them, so they have an owner only if there is one, or if it has rejected all.
    pub(crate) fn rejected(&self, records: u64, owners: &Owners) {
        let reason = ExportDropReason::Rejected;
        match owners.sole() {
            _ if records == owners.records() => self.dropped_of(reason, owners),
            Some(identity) if records > 0 => {
                self.registry.count_dropped(identity, &self.signal, reason.label(), records);
                self.dropped[reason as usize].add(records);
            }
            _ => self.dropped(reason, records),
        }
    }

    /// Returns the number of records that were dropped so far, for any reason.
    pub(crate) fn all_dropped(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    pub(crate) fn queued(&self, records: usize) {
        self.queued.set(records as f64);
    }

    pub(crate) fn request(&self, outcome: RequestOutcome, duration: Duration) {
        self.requests[outcome as usize].inc();
        self.durations.observe(duration.as_secs_f64());
    }
}
