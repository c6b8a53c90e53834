//! What becomes of each record, in metrics.

use std::time::Duration;

use wasmetry_host::{Counter, Gauge, Histogram, Registry};

/// Bounds of the time that a request takes, in seconds.
const REQUEST_BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Why a record did not reach its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExportDropReason {
    /// There was no room for it, because its destination takes less than is offered.
    QueueFull,
    /// The destination has refused it.
    Rejected,
    /// The destination did not take it for as long as is tried.
    RetryExhausted,
    /// The process ended before it could be sent.
    Shutdown,
}

impl ExportDropReason {
    const ALL: [Self; 4] = [Self::QueueFull, Self::Rejected, Self::RetryExhausted, Self::Shutdown];

    /// The reason, as `wasmetry_dropped_total{reason}` shows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::RetryExhausted => "retry_exhausted",
            Self::Shutdown => "shutdown",
        }
    }
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RequestEnd {
    Accepted,
    Retried,
    Refused,
}

/// The metrics_of_pipelines of one pipeline: every record that was offered is, in the end, sent or lost.
#[derive(Debug)]
pub(crate) struct PipelineMetrics {
    sent: Counter,
    /// By reason: in all destinations of the signal, and in this one.
    lost: [(Counter, Counter); ExportDropReason::ALL.len()],
    queued: Gauge,
    requests: [Counter; 3],
    durations: Histogram,
}

impl PipelineMetrics {
    /// The metrics_of_pipelines of a signal's pipeline to a destination, for which so many records can wait, if that is limited.
    pub(crate) fn new(registry: &Registry, signal: &str, destination: &str, limit: Option<usize>) -> Self {
        let keys = ["signal", "destination"];
        let with_outcome = ["signal", "destination", "outcome"];
        let records = registry.counter(
            "wasmetry_export_records_total",
            "Records (of metrics, points) whose fate is known: sent to their destination, or lost for a reason.",
            &with_outcome,
        );
        let requests = registry.counter(
            "wasmetry_export_requests_total",
            "Requests to a destination: accepted, to be retried, or refused.",
            &with_outcome,
        );
        let durations = registry.histogram(
            "wasmetry_export_request_duration_seconds",
            "Time from sending a request to a destination to its answer or failure.",
            &keys,
            &REQUEST_BOUNDS,
        );
        let queued =
            registry.gauge("wasmetry_export_queue_records", "Records that wait to be sent or are being sent.", &keys);
        let place = [signal, destination];
        if let Some(limit) = limit {
            let limits = registry.gauge(
                "wasmetry_export_queue_limit_records",
                "Records that can wait; with as many, further ones are lost.",
                &keys,
            );
            limits.with(&place).set(limit as f64);
        }
        let request = |outcome| requests.with(&[signal, destination, outcome]);
        Self {
            sent: records.with(&[signal, destination, "sent"]),
            lost: ExportDropReason::ALL
                .map(|loss| (registry.dropped(signal, loss.name()), records.with(&[signal, destination, loss.name()]))),
            queued: queued.with(&place),
            requests: [request("accepted"), request("retried"), request("refused")],
            durations: durations.with(&place),
        }
    }

    pub(crate) fn sent(&self, records: u64) {
        self.sent.add(records);
    }

    pub(crate) fn lost(&self, loss: ExportDropReason, records: u64) {
        let (signal, destination) = &self.lost[loss as usize];
        signal.add(records);
        destination.add(records);
    }

    /// Everything that was lost so far.
    pub(crate) fn losses(&self) -> u64 {
        self.lost.iter().map(|(_, destination)| destination.get()).sum()
    }

    pub(crate) fn queued(&self, records: usize) {
        self.queued.set(records as f64);
    }

    pub(crate) fn request(&self, end: RequestEnd, took: Duration) {
        self.requests[end as usize].inc();
        self.durations.observe(took.as_secs_f64());
    }
}
