//! What waits to be sent: bounded in records and bytes, and never waited for by those who offer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};

use crate::push::config::{Batch, Limits};
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};

/// A kind of record that has queues.
pub(crate) trait Record: Send + Sync + 'static {
    /// The signal that it belongs to, as `wasmetry_dropped_total{signal}` shows it.
    const SIGNAL: &'static str;

    /// About how many bytes it takes.
    fn size(&self) -> usize;

    /// Whether it is dropped only after all others.
    fn is_audit(&self) -> bool;
}

/// About how many bytes an entry takes.
fn size<T: Record>(entry: &Entry<T>) -> usize {
    size_of::<Entry<T>>() + entry.record.size()
}

impl Record for LogRecord {
    const SIGNAL: &'static str = "logs";

    fn size(&self) -> usize {
        self.size()
    }

    fn is_audit(&self) -> bool {
        self.is_audit
    }
}

impl Record for SpanRecord {
    const SIGNAL: &'static str = "spans";

    fn size(&self) -> usize {
        self.size()
    }

    fn is_audit(&self) -> bool {
        false
    }
}

/// The records of one pipeline, from when they are offered until they are sent or lost.
pub(crate) struct Queue<T> {
    limits: Limits,
    batch: Batch,
    metrics: Arc<PipelineMetrics>,
    state: Mutex<State<T>>,
    /// Wakes the one worker; its permit makes up for a wake-up that comes while the worker is not waiting.
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Records are taken.
    Open,
    /// No more are taken, and what is there is sent without delay.
    Closing,
    /// What was there has been given up.
    Abandoned,
}

struct State<T> {
    phase: Phase,
    audit: PriorityQueue<T>,
    other: PriorityQueue<T>,
    /// When the oldest record began to wait for a batch, or later by no more than it takes to send one; none when none waits.
    since: Option<Instant>,
}

/// Records that are sent together, apart from those of the other lane.
struct PriorityQueue<T> {
    waiting: VecDeque<(Entry<T>, usize)>,
    waiting_bytes: usize,
    /// Taken by the worker, and not yet settled.
    taken: BatchSize,
}

/// So many records of so many bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchSize {
    pub(crate) records: usize,
    bytes: usize,
}

impl BatchSize {
    pub(crate) fn of<T: Record>(entries: &[Entry<T>]) -> Self {
        Self { records: entries.len(), bytes: entries.iter().map(size).sum() }
    }
}

impl<T> PriorityQueue<T> {
    const fn new() -> Self {
        Self { waiting: VecDeque::new(), waiting_bytes: 0, taken: BatchSize { records: 0, bytes: 0 } }
    }

    fn load(&self) -> BatchSize {
        BatchSize { records: self.waiting.len() + self.taken.records, bytes: self.waiting_bytes + self.taken.bytes }
    }

    fn push(&mut self, entry: Entry<T>, size: usize) {
        self.waiting.push_back((entry, size));
        self.waiting_bytes += size;
    }

    fn pop(&mut self) -> Option<(Entry<T>, usize)> {
        let (entry, size) = self.waiting.pop_front()?;
        self.waiting_bytes -= size;
        Some((entry, size))
    }

    /// RecordFilter the oldest records that fit into a batch, but at least one.
    fn take(&mut self, batch: Batch) -> Vec<Entry<T>> {
        let mut entries = Vec::with_capacity(self.waiting.len().min(batch.records));
        let mut taken = BatchSize::default();
        while let Some((_, size)) = self.waiting.front() {
            let fits = taken.records < batch.records && taken.bytes + size <= batch.bytes;
            if !fits && taken.records > 0 {
                break;
            }
            let Some((entry, size)) = self.pop() else { break };
            taken = BatchSize { records: taken.records + 1, bytes: taken.bytes + size };
            entries.push(entry);
        }
        self.taken = taken;
        entries
    }
}

impl<T> State<T> {
    fn waiting(&self) -> BatchSize {
        let (audit, other) = (&self.audit, &self.other);
        BatchSize {
            records: audit.waiting.len() + other.waiting.len(),
            bytes: audit.waiting_bytes + other.waiting_bytes,
        }
    }

    fn records(&self) -> usize {
        self.audit.load().records + self.other.load().records
    }
}

impl<T: Record> Queue<T> {
    pub(crate) fn new(limits: Limits, batch: Batch, metrics: Arc<PipelineMetrics>) -> Self {
        let state = State { phase: Phase::Open, audit: PriorityQueue::new(), other: PriorityQueue::new(), since: None };
        Self { limits, batch, metrics, state: Mutex::new(state), changed: Notify::new() }
    }

    /// RecordFilter a record, or counts it as lost where there is no room for it.
    ///
    /// An audit record takes the room of others, the oldest first.
    pub(crate) fn offer(&self, entry: Entry<T>) {
        let size = size(&entry);
        let mut state = self.state();
        if state.phase != Phase::Open {
            return self.metrics.lost(ExportDropReason::Shutdown, 1);
        }
        let is_audit = entry.record.is_audit();
        let fits = |audit: BatchSize, other: BatchSize| {
            audit.records + other.records < self.limits.records && audit.bytes + other.bytes + size <= self.limits.bytes
        };
        // Others that cannot be evicted because they are being sent leave soon, and keep no audit record out.
        let other = if is_audit { BatchSize::default() } else { state.other.load() };
        if !fits(state.audit.load(), other) {
            return self.metrics.lost(ExportDropReason::QueueFull, 1);
        }
        while is_audit && !fits(state.audit.load(), state.other.load()) && state.other.pop().is_some() {
            self.metrics.lost(ExportDropReason::QueueFull, 1);
        }
        let before = state.waiting();
        if is_audit { &mut state.audit } else { &mut state.other }.push(entry, size);
        if before.records == 0 {
            state.since = Some(Instant::now());
        }
        self.metrics.queued(state.records());
        let fills = |before: usize, now: usize, enough: usize| before < enough && now >= enough;
        let wakes = before.records == 0
            || fills(before.records, before.records + 1, self.batch.records)
            || fills(before.bytes, before.bytes + size, self.batch.bytes);
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Waits for the next batch, which holds audit records only or none; nothing once the queue is closed and empty.
    ///
    /// There is one worker, which [`settle`](Self::settle)s all of a batch before it asks for the next one.
    pub(crate) async fn batch(&self) -> Option<Vec<Entry<T>>> {
        loop {
            let due = {
                let mut state = self.state();
                let waiting = state.waiting();
                let full = waiting.records >= self.batch.records || waiting.bytes >= self.batch.bytes;
                let due = state.since.map(|since| since + self.batch.schedule_delay);
                match (state.phase, due) {
                    (Phase::Abandoned, _) | (Phase::Closing, None) => return None,
                    (Phase::Closing, Some(_)) => return Some(self.take(&mut state)),
                    (Phase::Open, Some(due)) if full || due <= Instant::now() => return Some(self.take(&mut state)),
                    (Phase::Open, due) => due,
                }
            };
            match due {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due.into(), self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn take(&self, state: &mut State<T>) -> Vec<Entry<T>> {
        let lane = if state.audit.waiting.is_empty() { &mut state.other } else { &mut state.audit };
        let entries = lane.take(self.batch);
        state.since = (state.waiting().records > 0).then(Instant::now);
        entries
    }

    /// Makes room for so much of the batch that was taken, and says whether its fate is still the worker's to tell.
    pub(crate) fn settle(&self, settled: BatchSize) -> bool {
        let mut state = self.state();
        // A batch is of one lane, and the other has nothing taken.
        let lane = if state.audit.taken.records > 0 { &mut state.audit } else { &mut state.other };
        lane.taken.records = lane.taken.records.saturating_sub(settled.records);
        lane.taken.bytes = lane.taken.bytes.saturating_sub(settled.bytes);
        self.metrics.queued(state.records());
        state.phase != Phase::Abandoned
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ends a queue, whatever is in it.
pub(crate) trait Close: Send + Sync {
    /// RecordFilter no more records, and has those that are there sent without delay.
    fn close(&self);

    /// Gives up what is there, and counts it as lost.
    fn abandon(&self);
}

impl<T: Record> Close for Queue<T> {
    fn close(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.changed.notify_one();
    }

    fn abandon(&self) {
        let mut state = self.state();
        if state.phase != Phase::Abandoned {
            self.metrics.lost(ExportDropReason::Shutdown, state.records() as u64);
        }
        (state.phase, state.audit, state.other, state.since) =
            (Phase::Abandoned, PriorityQueue::new(), PriorityQueue::new(), None);
        self.metrics.queued(0);
        drop(state);
        self.changed.notify_one();
    }
}
