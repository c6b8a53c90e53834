//! The periodic reader: collects all metrics at an interval and pushes them by OTLP.
//!
//! One collection is in flight at a time. A slow destination makes collections less frequent; it
//! never makes recording wait.

mod export_state;
mod steady_clock;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_host::{Cursor, Snapshot};

pub(super) use self::export_state::ExportState;
pub(super) use self::steady_clock::SteadyClock;
use super::after;
use super::export_request::{ExportClient, ExportRequest, ExportResult};
use super::pipeline_metrics::ExportDropReason;

/// The reader of one process's metrics, with its destination.
pub(super) struct PeriodicReader {
    pub(super) state: Arc<ExportState>,
    pub(super) process: Process,
    pub(super) encoding: Encoding,
    pub(super) interval: Duration,
    /// About how many bytes of Protocol Buffers one request holds.
    pub(super) request_bytes: usize,
    pub(super) client: ExportClient,
}

/// The metrics of one moment, on their way to the destination.
pub(super) struct Collection {
    /// All metrics, to which the next deltas are relative.
    all: Arc<Snapshot>,
    /// The metrics to export: all of them, or their deltas.
    to_export: Arc<Snapshot>,
    period: Period,
    time: u64,
    /// The position after the last chunk whose export has ended, and the number of series after it.
    cursor: Cursor,
    remaining: usize,
}

impl Collection {
    /// Returns `true` if no chunk has a result yet.
    fn is_untouched(&self) -> bool {
        self.cursor == Cursor::default()
    }
}

/// The state of a collection after an attempt to export it.
pub(super) enum Progress {
    /// All its points have a result.
    Done,
    /// None of it arrived. The next collection has later values, which include these.
    Superseded,
    /// A part of it arrived, so the next collection cannot include it. The rest is exported first.
    Partial(Collection),
}

impl PeriodicReader {
    /// Collects and exports at each tick, and a last time at shutdown.
    pub(super) async fn run(mut self) {
        let mut closing = self.state.closing();
        let first = after(std::time::Instant::now(), self.interval);
        let mut ticks = tokio::time::interval_at(first.into(), self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut partial = None;
        loop {
            let is_last = tokio::select! {
                biased;
                // An error means that the exporter was dropped, which is a shutdown too.
                _ = closing.wait_for(|closing| *closing) => true,
                _ = ticks.tick() => false,
            };
            let rest = match partial.take() {
                Some(collection) => self.export(collection).await,
                None => Progress::Done,
            };
            let progress = match rest {
                Progress::Partial(collection) => Progress::Partial(collection),
                Progress::Done | Progress::Superseded => self.collect_and_export().await,
            };
            match progress {
                Progress::Done if is_last => return self.state.end(),
                Progress::Done | Progress::Superseded => {}
                Progress::Partial(collection) => partial = Some(collection),
            }
            if is_last {
                // After shutdown, no tick separates the attempts.
                tokio::time::sleep(self.client.retry.initial).await;
            }
        }
    }

    /// Exports a new collection. If the source panicked there is none, and the panic is reported.
    async fn collect_and_export(&mut self) -> Progress {
        let state = Arc::clone(&self.state);
        // Collecting may wait for guests, and deltas take time to compute.
        match tokio::task::spawn_blocking(move || state.collect()).await {
            Ok(collection) => self.export(collection).await,
            Err(_) => {
                self.client.reject("collecting them failed; see the panic on stderr".to_owned(), 0);
                Progress::Done
            }
        }
    }

    /// Exports the rest of a collection, chunk by chunk.
    async fn export(&mut self, mut collection: Collection) -> Progress {
        let metrics = Arc::clone(&self.client.metrics);
        loop {
            let mut cursor = collection.cursor;
            let Some(chunk) = collection.to_export.chunk(&mut cursor, self.request_bytes) else {
                return Progress::Done;
            };
            let (points, body) = self.encode(&chunk, collection.period);
            let request = ExportRequest::new(body, None, false);
            let result = match points {
                // JSON has no NaN, so a chunk may have no points to send.
                0 => ExportResult::Success { rejected: 0 },
                _ => self.client.export(request, points).await,
            };
            match result {
                ExportResult::Success { rejected } => {
                    metrics.sent(points - rejected);
                    metrics.dropped(ExportDropReason::Rejected, rejected);
                }
                ExportResult::Dropped(ExportDropReason::Rejected) => {
                    metrics.dropped(ExportDropReason::Rejected, points);
                }
                ExportResult::Dropped(reason) => return self.state.abandon(collection, reason),
            }
            collection.cursor = cursor;
            collection.remaining = collection.remaining.saturating_sub(chunk.series_count());
            self.state.record_result(&collection);
        }
    }

    /// Returns the number of points of a chunk and the body of its request.
    fn encode(&self, chunk: &Snapshot, period: Period) -> (u64, bytes::Bytes) {
        let request = otlp::metrics(chunk, period, &self.process, self.encoding);
        let body = self.client.transport.prepare(self.encoding.encode(&request));
        (otlp::points(&request) as u64, body)
    }
}
