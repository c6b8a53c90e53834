//! The queue of a pipeline: bounded in records and bytes. Offering a record never waits.

mod lane;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use wasmetry_host::Identity;
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};

use self::lane::Lane;
use crate::push::after;
use crate::push::config::{Batch, Limits};
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};

/// A kind of record that pipelines carry.
pub(crate) trait Record: Send + Sync + 'static {
    /// The label of its signal in `wasmetry_dropped_total{signal}`.
    const SIGNAL: &'static str;

    /// Returns the approximate size in memory, in bytes.
    fn size(&self) -> usize;

    /// Returns `true` if it has the lane of audit records.
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
    audit: Lane<T>,
    normal: Lane<T>,
    /// The beginning of the schedule delay: the time at which the first waiting record was offered,
    /// or at which the last batch was taken. `None` if no record waits.
    delay_start: Option<Instant>,
}

/// A number of records and their bytes in memory.
#[derive(Clone, Copy, Debug, Default)]
struct BatchSize {
    records: usize,
    bytes: usize,
}

impl std::ops::Add for BatchSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl std::ops::Sub for BatchSize {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// Components, and the number of records of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners(Vec<(Arc<Identity>, u64)>);

impl Owners {
    fn add(&mut self, identity: &Arc<Identity>, records: u64) {
        // Mostly the one that came last.
        match self.0.iter_mut().rev().find(|(known, _)| known == identity) {
            Some((_, count)) => *count += records,
            None => self.0.push((Arc::clone(identity), records)),
        }
    }

    fn add_all(&mut self, others: &Self) {
        others.0.iter().for_each(|(identity, records)| self.add(identity, *records));
    }

    fn remove(&mut self, others: &Self) {
        for (identity, records) in &others.0 {
            if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == identity) {
                *count = count.saturating_sub(*records);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Returns each component with its number of records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Identity, u64)> {
        self.0.iter().map(|(identity, records)| (&**identity, *records))
    }

    /// Returns the number of all records.
    pub(crate) fn records(&self) -> u64 {
        self.0.iter().map(|(_, records)| records).sum()
    }

    /// Returns the component if all records are of one.
    pub(crate) fn sole(&self) -> Option<&Identity> {
        match &self.0[..] {
            [(identity, _)] => Some(identity),
            _ => None,
        }
    }
}

/// A part of a batch: its size and its owners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    size: BatchSize,
    pub(crate) owners: Owners,
}

impl Part {
    /// Returns the part that these entries are. `size_of` returns the bytes of one.
    fn of<T>(entries: &[Entry<T>], size_of: impl Fn(&Entry<T>) -> usize) -> Self {
        let mut part = Self::default();
        entries.iter().for_each(|entry| part.add(&entry.identity, size_of(entry)));
        part
    }

    /// Returns the part that these entries are.
    pub(crate) fn of_entries<T: Record>(entries: &[Entry<T>]) -> Self {
        Self::of(entries, size)
    }

    fn add(&mut self, identity: &Arc<Identity>, bytes: usize) {
        self.size = self.size + BatchSize { records: 1, bytes };
        self.owners.add(identity, 1);
    }

    /// Adds another part.
    pub(crate) fn add_part(&mut self, other: &Self) {
        self.size = self.size + other.size;
        self.owners.add_all(&other.owners);
    }

    fn remove(&mut self, other: &Self) {
        self.size = self.size - other.size;
        self.owners.remove(&other.owners);
    }

    /// Returns the number of records.
    pub(crate) fn records(&self) -> u64 {
        self.size.records as u64
    }
}

impl<T> State<T> {
    fn waiting(&self) -> BatchSize {
        self.audit.waiting() + self.normal.waiting()
    }

    fn records(&self) -> usize {
        (self.audit.size() + self.normal.size()).records
    }
}

impl<T: Record> Queue<T> {
    pub(crate) fn new(limits: Limits, batch: Batch, metrics: Arc<PipelineMetrics>) -> Self {
        let state = State { phase: Phase::Open, audit: Lane::new(), normal: Lane::new(), delay_start: None };
        Self { limits, batch, metrics, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Queues a record. If its lane is full, drops and counts a record of whoever has most there.
    ///
    /// Audit records have a lane of their own, of the same limits.
    pub(crate) fn offer(&self, entry: Entry<T>) {
        let size = size(&entry);
        let mut state = self.state();
        if state.phase != Phase::Open {
            drop(state);
            return self.metrics.dropped_of(ExportDropReason::Shutdown, &Part::of_entries(&[entry]).owners);
        }
        let before = state.waiting();
        let lane = if entry.record.is_audit() { &mut state.audit } else { &mut state.normal };
        let dropped = lane.push(entry, size, self.limits);
        let waiting = state.waiting();
        if before.records == 0 && waiting.records > 0 {
            state.delay_start = Some(Instant::now());
        }
        self.metrics.queued(state.records());
        drop(state);
        self.metrics.dropped_of(ExportDropReason::QueueFull, &dropped);
        // The worker waits for the first record, then for a full batch.
        if (before.records == 0 && waiting.records > 0) || (!self.fills_batch(before) && self.fills_batch(waiting)) {
            self.changed.notify_one();
        }
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

    /// Takes a batch of audit records, or of others if none waits.
    fn take(&self, state: &mut State<T>) -> Vec<Entry<T>> {
        let lane = if state.audit.waiting().records == 0 { &mut state.normal } else { &mut state.audit };
        let entries = lane.take(self.batch);
        state.delay_start = (state.waiting().records > 0).then(Instant::now);
        entries
    }

    /// Frees the room of a part of the batch whose result is known. Returns `false` if the queue
    /// was discarded, which has counted that part already.
    pub(crate) fn release(&self, part: &Part) -> bool {
        let mut state = self.state();
        // A batch is of one lane, and there is one batch at a time.
        let lane = if state.audit.taken().records() > 0 { &mut state.audit } else { &mut state.normal };
        lane.release(part);
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
        let mut owners = state.audit.owners();
        owners.add_all(&state.normal.owners());
        let is_first = state.phase != Phase::Discarded;
        (state.phase, state.audit, state.normal, state.delay_start) =
            (Phase::Discarded, Lane::new(), Lane::new(), None);
        self.metrics.queued(0);
        if is_first {
            self.metrics.dropped_of(ExportDropReason::Shutdown, &owners);
        }
        drop(state);
        self.changed.notify_one();
    }
}
