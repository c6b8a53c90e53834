//! The metrics that the destination has received, and those that are on their way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wasmetry_host::encode::otlp::Period;
use wasmetry_host::{Cursor, Snapshot};

use super::{Collection, Progress, SteadyClock};
use crate::push::Snapshots;
use crate::push::config::Temporality;
use crate::push::pipeline::queue::Close;
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};

/// The export state of all metrics at one destination.
pub(in crate::push) struct ExportState {
    source: Snapshots,
    temporality: Temporality,
    metrics: Arc<PipelineMetrics>,
    closing: watch::Sender<bool>,
    /// The start time of the metrics.
    start: u64,
    state: Mutex<State>,
}

struct State {
    clock: SteadyClock,
    /// The snapshot to which deltas are relative, and its time. Unused for cumulative metrics.
    last_exported: Arc<Snapshot>,
    last_exported_time: u64,
    /// Points of the current collection that have no result, and that no later collection will
    /// include.
    in_flight: usize,
    has_ended: bool,
}

impl ExportState {
    /// Creates the state before the first export. The clock's current time is the start time of the
    /// metrics.
    pub(in crate::push) fn new(
        source: Snapshots,
        temporality: Temporality,
        metrics: Arc<PipelineMetrics>,
        closing: watch::Sender<bool>,
        clock: SteadyClock,
    ) -> Self {
        let start = clock.last();
        let state =
            State { clock, last_exported: Arc::default(), last_exported_time: start, in_flight: 0, has_ended: false };
        Self { source, temporality, metrics, closing, start, state: Mutex::new(state) }
    }

    /// Returns a receiver that shutdown sets to `true`.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Collects all metrics.
    pub(super) fn collect(&self) -> Collection {
        let all = Arc::new((self.source)());
        let mut state = self.state();
        let time = state.clock.now();
        let since = state.last_exported_time;
        let to_export = self.to_export(&all, &state.last_exported);
        let remaining = to_export.series_count();
        if self.temporality == Temporality::Cumulative {
            state.in_flight = remaining;
        }
        self.metrics.queued(remaining);
        let period = match self.temporality {
            Temporality::Cumulative => Period::Cumulative { start: self.start, time },
            Temporality::Delta => Period::MonotonicDelta { start: self.start, since, time },
        };
        Collection { all, to_export, period, time, cursor: Cursor::default(), remaining }
    }

    /// Returns the metrics to export of a snapshot.
    fn to_export(&self, all: &Arc<Snapshot>, last_exported: &Snapshot) -> Arc<Snapshot> {
        match self.temporality {
            Temporality::Cumulative => Arc::clone(all),
            Temporality::Delta => Arc::new(all.monotonic_delta(last_exported)),
        }
    }

    /// Records that one more chunk of a collection has a result.
    pub(super) fn record_result(&self, collection: &Collection) {
        let mut state = self.state();
        if self.temporality == Temporality::Delta {
            (state.last_exported, state.last_exported_time) = (Arc::clone(&collection.all), collection.time);
        }
        state.in_flight = collection.remaining;
        self.metrics.queued(collection.remaining);
    }

    /// Ends the attempts to export the rest of a collection: drops it, or keeps it for later.
    pub(super) fn abandon(&self, collection: Collection, reason: ExportDropReason) -> Progress {
        match self.temporality {
            Temporality::Cumulative => {
                self.metrics.dropped(reason, collection.remaining as u64);
                self.state().in_flight = 0;
                self.metrics.queued(0);
                Progress::Done
            }
            Temporality::Delta if collection.is_untouched() => Progress::Superseded,
            Temporality::Delta => Progress::Partial(collection),
        }
    }

    /// Records that the last collection was exported.
    pub(super) fn end(&self) {
        self.state().has_ended = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Close for ExportState {
    /// Requests a last collection without delay.
    fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Drops and counts the points that the destination has not received.
    fn discard(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.has_ended, true) {
            return;
        }
        // The last collection, which will not be sent.
        let all = catch_unwind(AssertUnwindSafe(|| (self.source)())).unwrap_or_default();
        let unsent = self.to_export(&Arc::new(all), &state.last_exported).series_count();
        self.metrics.dropped(ExportDropReason::Shutdown, (state.in_flight + unsent) as u64);
        self.metrics.queued(0);
    }
}
