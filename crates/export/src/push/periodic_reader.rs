//! Reads all metrics again and again, and sends what it has read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_host::{Cursor, Snapshot};

use super::Snapshots;
use super::config::Temporality;
use super::export_request::{ExportClient, ExportRequest, ExportResult};
use super::pipeline::queue::Close;
use super::pipeline_metrics::{ExportDropReason, PipelineMetrics};

/// The metrics' way to a destination.
pub(super) struct PeriodicReader {
    pub(super) book: Arc<ExportState>,
    pub(super) process: Process,
    pub(super) encoding: Encoding,
    pub(super) interval: Duration,
    /// As many make a request.
    pub(super) bytes: usize,
    pub(super) delivery: ExportClient,
}

/// What was read at one time.
struct Collection {
    /// All of it, from which the next differences are made.
    all: Arc<Snapshot>,
    /// What the destination is to be told.
    news: Arc<Snapshot>,
    period: Period,
    time: u64,
    /// How far it has been sent, and how many series are left.
    cursor: Cursor,
    left: usize,
}

/// What has become of a reading.
enum Progress {
    /// The fate of all its points is known.
    Settled,
    /// None of it has arrived, and the next reading will have it.
    Merged,
    /// Some of it has arrived, and what is left has to follow: the next reading will not have it.
    Rest(Collection),
}

impl PeriodicReader {
    /// Reads and sends until the book is closed, and once more then.
    pub(super) async fn run(mut self) {
        let mut closing = self.book.closing.subscribe();
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        // A slow destination has readings left out.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rest = None;
        loop {
            let is_last = tokio::select! {
                biased;
                // Also when the exporter's end of it is gone.
                _ = closing.wait_for(|closing| *closing) => true,
                _ = ticks.tick() => false,
            };
            let mut next = match rest.take() {
                Some(rest) => self.send(rest).await,
                None => Progress::Settled,
            };
            if !matches!(next, Progress::Rest(_)) {
                next = match self.read().await {
                    Some(reading) => self.send(reading).await,
                    None => Progress::Settled,
                };
            }
            match next {
                Progress::Settled if is_last => return self.book.end(),
                Progress::Settled | Progress::Merged => {}
                Progress::Rest(reading) => rest = Some(reading),
            }
            if is_last {
                // No tick makes it wait any more.
                tokio::time::sleep(self.delivery.retry.initial).await;
            }
        }
    }

    /// RecordFilter a reading; nothing if the source panicked.
    async fn read(&mut self) -> Option<Collection> {
        let book = Arc::clone(&self.book);
        // It may wait for guests, and comparing takes its time.
        let reading = tokio::task::spawn_blocking(move || book.read()).await;
        if reading.is_err() {
            self.delivery.refuse("reading them failed; the process's stderr says why".to_owned(), 0);
        }
        reading.ok()
    }

    /// Sends what is left of a reading, part by part.
    async fn send(&mut self, mut reading: Collection) -> Progress {
        let metrics = Arc::clone(&self.delivery.metrics);
        loop {
            let mut cursor = reading.cursor;
            let Some(part) = reading.news.chunk(&mut cursor, self.bytes) else { return Progress::Settled };
            let (points, body) = self.encode(&part, reading.period);
            let parcel = ExportRequest { body, tenant: None, is_audit: false };
            let fate = match points {
                // What JSON cannot say.
                0 => ExportResult::Success { rejected: 0 },
                _ => self.delivery.deliver(parcel, points).await,
            };
            match fate {
                ExportResult::Success { rejected } => {
                    metrics.sent(points - rejected);
                    metrics.lost(ExportDropReason::Rejected, rejected);
                }
                ExportResult::Dropped(ExportDropReason::Rejected) => metrics.lost(ExportDropReason::Rejected, points),
                // It is given up for now.
                ExportResult::Dropped(loss) => return self.book.give_up(reading, loss),
            }
            reading.cursor = cursor;
            reading.left = reading.left.saturating_sub(part.series_count());
            self.book.settle(&reading);
        }
    }

    /// The body of a request, and how many points it has.
    fn encode(&self, part: &Snapshot, period: Period) -> (u64, bytes::Bytes) {
        let request = otlp::metrics(part, period, &self.process, self.encoding);
        let body = self.delivery.transport.prepare(self.encoding.encode(&request));
        (otlp::points(&request) as u64, body)
    }
}

/// What the destination has been told, and what is on its way to it.
pub(super) struct ExportState {
    source: Snapshots,
    temporality: Temporality,
    metrics: Arc<PipelineMetrics>,
    closing: watch::Sender<bool>,
    /// When counting began.
    start: u64,
    state: Mutex<State>,
}

struct State {
    /// What the differences are made from, and when it was read. Cumulative metrics have no need of it.
    told: Arc<Snapshot>,
    since: u64,
    /// Points that have been read, whose fate is not known, and that no later reading will have.
    waiting: usize,
    is_over: bool,
}

impl ExportState {
    /// Nothing has been told yet.
    pub(super) fn new(
        source: Snapshots,
        temporality: Temporality,
        metrics: Arc<PipelineMetrics>,
        closing: watch::Sender<bool>,
        start: u64,
    ) -> Self {
        let state = State { told: Arc::default(), since: start, waiting: 0, is_over: false };
        Self { source, temporality, metrics, closing, start, state: Mutex::new(state) }
    }

    /// Reads all metrics.
    fn read(&self) -> Collection {
        let all = Arc::new((self.source)());
        let time = now();
        let mut state = self.state();
        let (told, since) = (Arc::clone(&state.told), state.since);
        let news = self.news(&all, &told);
        let left = news.series_count();
        if self.temporality == Temporality::Cumulative {
            state.waiting = left;
        }
        self.metrics.queued(left);
        let period = match self.temporality {
            Temporality::Cumulative => Period::Cumulative { start: self.start, time },
            Temporality::Delta => Period::MonotonicDelta { start: self.start, since, time },
        };
        Collection { all, news, period, time, cursor: Cursor::default(), left }
    }

    /// What there is to tell of a snapshot.
    fn news(&self, all: &Arc<Snapshot>, told: &Snapshot) -> Arc<Snapshot> {
        match self.temporality {
            Temporality::Cumulative => Arc::clone(all),
            Temporality::Delta => Arc::new(all.monotonic_delta(told)),
        }
    }

    /// Notes that a part of a reading has met its fate.
    fn settle(&self, reading: &Collection) {
        let mut state = self.state();
        if self.temporality == Temporality::Delta {
            (state.told, state.since) = (Arc::clone(&reading.all), reading.time);
        }
        state.waiting = reading.left;
        self.metrics.queued(reading.left);
    }

    /// Says what becomes of the rest of a reading that is not tried any longer.
    fn give_up(&self, reading: Collection, loss: ExportDropReason) -> Progress {
        match self.temporality {
            Temporality::Cumulative => {
                self.metrics.lost(loss, reading.left as u64);
                self.state().waiting = 0;
                self.metrics.queued(0);
                Progress::Settled
            }
            Temporality::Delta if reading.cursor == Cursor::default() => Progress::Merged,
            Temporality::Delta => Progress::Rest(reading),
        }
    }

    /// Everything has been told.
    fn end(&self) {
        self.state().is_over = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Close for ExportState {
    /// Has everything read and sent once more, without delay.
    fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Counts as lost what the destination has not been told.
    fn abandon(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        // The last reading, which nobody will send.
        let all = catch_unwind(AssertUnwindSafe(|| (self.source)())).unwrap_or_default();
        let unread = self.news(&Arc::new(all), &state.told).series_count();
        self.metrics.lost(ExportDropReason::Shutdown, (state.waiting + unread) as u64);
        self.metrics.queued(0);
    }
}

/// The time by the wall clock, in nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
