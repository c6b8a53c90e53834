//! The queue of a pipeline: bounded in records and bytes. Offering a record never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};

use crate::push::after;
use crate::push::config::{Batch, Limits};
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};

/// A kind of record that pipelines carry.
pub(crate) trait Record: Send + Sync + 'static {
    /// The label of its signal in `wasmetry_dropped_total{signal}`.
    const SIGNAL: &'static str;

    /// Returns the approximate size in memory, in bytes.
    fn size(&self) -> usize;

    /// Returns `true` if it is dropped only after all other records.
    fn is_audit(&self) -> bool;
}

/// Returns the approximate size of an entry in memory, in bytes.
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

/// The records of one pipeline, from offer to result.
pub(crate) struct Queue<T> {
    limits: Limits,
    batch: Batch,
    metrics: Arc<PipelineMetrics>,
    state: Mutex<State<T>>,
    /// Wakes the worker. It keeps a wake-up that comes while the worker is busy.
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// New records are accepted.
    Open,
    /// No new records are accepted; those that wait are sent without delay.
    Closing,
    /// All records were dropped.
    Discarded,
}

struct State<T> {
    phase: Phase,
    audit: PriorityQueue<T>,
    normal: PriorityQueue<T>,
    /// The beginning of the schedule delay: the time at which the first waiting record was offered,
    /// or at which the last batch was taken. `None` if no record waits.
    delay_start: Option<Instant>,
}

/// The records of one priority. A batch holds records of one priority only.
struct PriorityQueue<T> {
    waiting: VecDeque<(Entry<T>, usize)>,
    waiting_bytes: usize,
    /// The size of the batch that the worker holds.
    taken: BatchSize,
}

/// A number of records and their bytes in memory.
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

impl std::ops::Add for BatchSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl<T> PriorityQueue<T> {
    const fn new() -> Self {
        Self { waiting: VecDeque::new(), waiting_bytes: 0, taken: BatchSize { records: 0, bytes: 0 } }
    }

    fn size(&self) -> BatchSize {
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

    /// Removes the oldest records that fit into a batch, at least one.
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
        let (audit, normal) = (&self.audit, &self.normal);
        BatchSize {
            records: audit.waiting.len() + normal.waiting.len(),
            bytes: audit.waiting_bytes + normal.waiting_bytes,
        }
    }

    fn records(&self) -> usize {
        self.audit.size().records + self.normal.size().records
    }
}

impl<T: Record> Queue<T> {
    pub(crate) fn new(limits: Limits, batch: Batch, metrics: Arc<PipelineMetrics>) -> Self {
        let state =
            State { phase: Phase::Open, audit: PriorityQueue::new(), normal: PriorityQueue::new(), delay_start: None };
        Self { limits, batch, metrics, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Queues a record, or drops and counts it if there is no room.
    ///
    /// An audit record takes the room of normal records, the oldest first.
    pub(crate) fn offer(&self, entry: Entry<T>) {
        let size = size(&entry);
        let mut state = self.state();
        if state.phase != Phase::Open {
            return self.metrics.dropped(ExportDropReason::Shutdown, 1);
        }
        let is_audit = entry.record.is_audit();
        // Normal records that are being sent cannot be evicted. They leave soon, so an audit record
        // does not wait for them.
        let kept_normal = if is_audit { BatchSize::default() } else { state.normal.size() };
        if !self.has_room(state.audit.size() + kept_normal, size) {
            return self.metrics.dropped(ExportDropReason::QueueFull, 1);
        }
        while is_audit && !self.has_room(state.audit.size() + state.normal.size(), size) && state.normal.pop().is_some()
        {
            self.metrics.dropped(ExportDropReason::QueueFull, 1);
        }
        let before = state.waiting();
        if is_audit { &mut state.audit } else { &mut state.normal }.push(entry, size);
        if before.records == 0 {
            state.delay_start = Some(Instant::now());
        }
        self.metrics.queued(state.records());
        let waiting = state.waiting();
        drop(state);
        // The worker waits for the first record, then for a full batch.
        if before.records == 0 || (!self.fills_batch(before) && self.fills_batch(waiting)) {
            self.changed.notify_one();
        }
    }

    /// Returns `true` if there is room for one more record of `size` bytes beside `held`.
    fn has_room(&self, held: BatchSize, size: usize) -> bool {
        held.records < self.limits.records && held.bytes + size <= self.limits.bytes
    }

    /// Returns `true` if as many records wait as fit into a batch.
    fn fills_batch(&self, waiting: BatchSize) -> bool {
        waiting.records >= self.batch.records || waiting.bytes >= self.batch.bytes
    }

    /// Waits for the next batch: of audit records only, or of normal records only. Returns `None`
    /// once the queue is closed and empty.
    ///
    /// There is one worker. It [`release`](Self::release)s all of a batch before it waits for the
    /// next one.
    pub(crate) async fn batch(&self) -> Option<Vec<Entry<T>>> {
        loop {
            let due = {
                let mut state = self.state();
                let full = self.fills_batch(state.waiting());
                let due = state.delay_start.map(|start| after(start, self.batch.schedule_delay));
                match (state.phase, due) {
                    (Phase::Discarded, _) | (Phase::Closing, None) => return None,
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
        let queue = if state.audit.waiting.is_empty() { &mut state.normal } else { &mut state.audit };
        let entries = queue.take(self.batch);
        state.delay_start = (state.waiting().records > 0).then(Instant::now);
        entries
    }

    /// Frees the room of a part of the batch whose result is known. Returns `false` if the queue
    /// was discarded, which has counted that part already.
    pub(crate) fn release(&self, part: BatchSize) -> bool {
        let mut state = self.state();
        // A batch is of one priority, and there is one batch at a time.
        let queue = if state.audit.taken.records > 0 { &mut state.audit } else { &mut state.normal };
        queue.taken.records = queue.taken.records.saturating_sub(part.records);
        queue.taken.bytes = queue.taken.bytes.saturating_sub(part.bytes);
        self.metrics.queued(state.records());
        state.phase != Phase::Discarded
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a queue, independent of its kind of records.
pub(crate) trait Close: Send + Sync {
    /// Accepts no more records, and lets those that wait be sent without delay.
    fn close(&self);

    /// Drops and counts all records that are left.
    fn discard(&self);
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

    fn discard(&self) {
        let mut state = self.state();
        if state.phase != Phase::Discarded {
            self.metrics.dropped(ExportDropReason::Shutdown, state.records() as u64);
        }
        (state.phase, state.audit, state.normal, state.delay_start) =
            (Phase::Discarded, PriorityQueue::new(), PriorityQueue::new(), None);
        self.metrics.queued(0);
        drop(state);
        self.changed.notify_one();
    }
}
