//! The queue of a pipeline: bounded in records and bytes. Offering a record never waits.

mod lane;
mod part;
mod throttle;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use wasmetry_host::record::{Entry, LogRecord, SpanRecord};

use self::lane::Lane;
use self::part::BatchSize;
pub(crate) use self::part::{Owners, Part};
pub(crate) use self::throttle::ThrottleEnd;
use self::throttle::ThrottledTenants;
use crate::push::after;
use crate::push::config::{Batch, Limits};
use crate::push::export_request::ExportRequest;
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

/// The request of a tenant that the destination throttles. It is sent again as it is.
pub(crate) struct HeldRequest {
    /// Its part of the batch from which it was made.
    pub(crate) part: Part,
    pub(crate) request: ExportRequest,
    /// The time at which it may be sent again.
    pub(crate) due: Instant,
}

/// The next work of a queue's worker: a held request that is due, or a batch.
pub(crate) struct Work<T> {
    pub(crate) held: Option<HeldRequest>,
    /// Records of one lane. There are none if there is a held request.
    pub(crate) batch: Vec<Entry<T>>,
}

struct State<T> {
    phase: Phase,
    audit: Lane<T>,
    normal: Lane<T>,
    throttled: ThrottledTenants,
    /// `true` if the last work was a held request, so that batches and these take turns.
    was_held: bool,
    /// The beginning of the schedule delay: the time at which the first record that may leave was
    /// offered, or at which the last batch was taken. `None` if there is no such record.
    delay_start: Option<Instant>,
}

impl<T> State<T> {
    /// Returns the size of the records that may leave.
    fn ready(&self) -> BatchSize {
        self.audit.ready() + self.normal.ready()
    }

    fn records(&self) -> usize {
        (self.audit.size() + self.normal.size()).records
    }

    fn lane(&mut self, is_audit: bool) -> &mut Lane<T> {
        if is_audit { &mut self.audit } else { &mut self.normal }
    }

    fn throttle(&mut self, tenant: &str, end: ThrottleEnd) {
        self.throttled.insert(tenant, end);
        self.audit.set_throttled(tenant, true);
        self.normal.set_throttled(tenant, true);
    }

    /// Lets the records and held requests of these tenants leave.
    fn resume(&mut self, tenants: &[String]) {
        for tenant in tenants {
            self.audit.set_throttled(tenant, false);
            self.normal.set_throttled(tenant, false);
        }
        self.update_delay();
    }

    /// Starts the schedule delay with the first record that may leave, and ends it with the last.
    fn update_delay(&mut self) {
        let is_ready = self.ready().records > 0;
        self.delay_start = self.delay_start.or_else(|| Some(Instant::now())).filter(|_| is_ready);
    }

    /// Takes a held request that is due: that of audit records first.
    ///
    /// The records behind it may leave then. The one worker takes them after the request's result.
    fn take_held(&mut self) -> Option<HeldRequest> {
        let held = self.audit.take_held().or_else(|| self.normal.take_held());
        self.update_delay();
        held
    }
}

impl<T: Record> Queue<T> {
    pub(crate) fn new(limits: Limits, batch: Batch, metrics: Arc<PipelineMetrics>) -> Self {
        let state = State {
            phase: Phase::Open,
            audit: Lane::new(),
            normal: Lane::new(),
            throttled: ThrottledTenants::default(),
            was_held: false,
            delay_start: None,
        };
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
        let before = state.ready();
        let is_throttled = state.throttled.contains(entry.identity.tenant());
        let dropped = state.lane(entry.record.is_audit()).push(entry, size, self.limits, is_throttled);
        let ready = state.ready();
        state.update_delay();
        self.metrics.queued(state.records());
        drop(state);
        self.metrics.dropped_of(ExportDropReason::QueueFull, &dropped);
        // The worker waits for the first record, then for a full batch.
        if (before.records == 0 && ready.records > 0) || (!self.fills_batch(before) && self.fills_batch(ready)) {
            self.changed.notify_one();
        }
    }

    /// Returns `true` if these are as many records as fit into a batch.
    fn fills_batch(&self, ready: BatchSize) -> bool {
        ready.records >= self.batch.records || ready.bytes >= self.batch.bytes
    }

    /// Waits for the next batch of a queue that has no held requests: of audit records only, or of
    /// normal records only. Returns `None` once the queue is closed and empty.
    pub(crate) async fn batch(&self) -> Option<Vec<Entry<T>>> {
        self.work().await.map(|work| work.batch)
    }

    /// Waits for the next batch, or for a held request that is due. Returns `None` once the queue
    /// is closed and empty.
    ///
    /// There is one worker. It [`release`](Self::release)s or [`hold`](Self::hold)s all of its work
    /// before it waits for the next.
    pub(crate) async fn work(&self) -> Option<Work<T>> {
        loop {
            let next = {
                let mut state = self.state();
                let now = Instant::now();
                let ended = state.throttled.remove_ended(now);
                state.resume(&ended);
                let is_closing = match state.phase {
                    Phase::Discarded => return None,
                    Phase::Closing if state.audit.is_empty() && state.normal.is_empty() => return None,
                    phase => phase == Phase::Closing,
                };
                let due = state.delay_start.map(|start| after(start, self.batch.schedule_delay));
                let is_due = due.is_some_and(|due| is_closing || due <= now || self.fills_batch(state.ready()));
                let held = if is_due && state.was_held { None } else { state.take_held() };
                state.was_held = held.is_some();
                if held.is_some() {
                    return Some(Work { held, batch: Vec::new() });
                }
                if is_due {
                    return Some(Work { held: None, batch: self.take(&mut state) });
                }
                due.into_iter().chain(state.throttled.next_end()).min()
            };
            match next {
                Some(next) => {
                    let _ = tokio::time::timeout_at(next.into(), self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes a batch of audit records, or of others if none may leave.
    fn take(&self, state: &mut State<T>) -> Vec<Entry<T>> {
        let is_audit = state.audit.ready().records > 0;
        let entries = state.lane(is_audit).take(self.batch);
        state.delay_start = None;
        state.update_delay();
        entries
    }

    /// Frees the room of a part of the work whose result is known. Returns `false` if the queue was
    /// discarded, which has counted that part already.
    pub(crate) fn release(&self, part: &Part) -> bool {
        let mut state = self.state();
        state.lane(part.is_audit).release(part);
        self.metrics.queued(state.records());
        state.phase != Phase::Discarded
    }

    /// Lets no record of a tenant leave until the end of its throttling.
    pub(crate) fn throttle(&self, tenant: &str, end: ThrottleEnd) {
        let mut state = self.state();
        if state.phase != Phase::Discarded {
            state.throttle(tenant, end);
            state.update_delay();
        }
    }

    /// Takes a request of the worker back, before the records of its tenant, which is throttled.
    /// Returns `false` if the queue was discarded, which has counted its part already.
    pub(crate) fn hold(&self, mut held: HeldRequest, end: ThrottleEnd) -> bool {
        // The room that its compression did not need is freed.
        held.request.body = Bytes::copy_from_slice(&held.request.body);
        let mut state = self.state();
        if state.phase == Phase::Discarded {
            return false;
        }
        state.throttle(held.part.tenant(), end);
        let dropped = state.lane(held.part.is_audit).hold(held, self.limits);
        state.update_delay();
        self.metrics.queued(state.records());
        drop(state);
        self.metrics.dropped_of(ExportDropReason::QueueFull, &dropped);
        true
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
            // A last attempt is made at once, unless the destination has requested to wait.
            let tenants = state.throttled.remove_unrequested();
            state.resume(&tenants);
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
        state.throttled = ThrottledTenants::default();
        self.metrics.queued(0);
        if is_first {
            self.metrics.dropped_of(ExportDropReason::Shutdown, &owners);
        }
        drop(state);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmetry_host::{Identity, Registry};

    use super::*;

    /// A record, which is for audit if it is `true`.
    impl Record for bool {
        const SIGNAL: &'static str = "logs";

        fn size(&self) -> usize {
            1
        }

        fn is_audit(&self) -> bool {
            *self
        }
    }

    fn queue() -> Queue<bool> {
        let metrics = PipelineMetrics::new(&Registry::new(), "logs", "test", None);
        Queue::new(Limits::new(100, 1 << 20), Batch::new(10, 1 << 20, Duration::ZERO), Arc::new(metrics))
    }

    fn offer(queue: &Queue<bool>, tenant: &str, is_audit: bool) {
        queue.offer(Entry::new(Arc::new(Identity::new("shop").with_tenant(tenant)), is_audit));
    }

    fn end(after: Duration) -> ThrottleEnd {
        ThrottleEnd { at: Instant::now() + after, is_requested: true }
    }

    /// Takes the next work, and returns its tenants: first that of a held request, which is put
    /// back, or those of a batch, which is released.
    async fn work(queue: &Queue<bool>, again: ThrottleEnd) -> (Option<String>, Vec<String>) {
        let Work { held, batch } = queue.work().await.unwrap();
        let batch_tenants = batch.iter().map(|entry| entry.identity.tenant().to_owned()).collect();
        queue.release(&Part::of_entries(&batch));
        let tenant = held.map(|held| {
            let tenant = held.part.tenant().to_owned();
            assert!(queue.hold(HeldRequest { due: again.at, ..held }, again));
            tenant
        });
        (tenant, batch_tenants)
    }

    /// Takes a batch and puts it back as a request of its first tenant.
    async fn hold(queue: &Queue<bool>, end: ThrottleEnd) {
        let batch = queue.batch().await.unwrap();
        let request = ExportRequest::new(Bytes::from_static(b"body"), None, false);
        let due = Instant::now();
        assert!(queue.hold(HeldRequest { part: Part::of_entries(&batch), request, due }, end));
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    // Requests that are throttled again and again leave batches their turn, and each of them has
    // one.
    #[test]
    fn held_requests_and_batches_alternate() {
        runtime().block_on(async {
            let queue = queue();
            for tenant in ["evil", "mallory"] {
                offer(&queue, tenant, false);
                hold(&queue, end(Duration::from_secs(3600))).await;
            }
            ["evil", "mallory"].iter().for_each(|tenant| queue.throttle(tenant, end(Duration::ZERO)));
            let mut seen = Vec::new();
            for _ in 0..2 {
                offer(&queue, "bank", false);
                seen.push(work(&queue, end(Duration::ZERO)).await.0.unwrap());
                assert_eq!(work(&queue, end(Duration::ZERO)).await, (None, vec!["bank".to_owned()]));
            }
            assert_eq!(seen, ["evil", "mallory"]);
        });
    }

    // A tenant is throttled in both lanes. When it is no more, its audit records are the first.
    #[test]
    fn throttling_concerns_both_lanes() {
        runtime().block_on(async {
            let queue = queue();
            offer(&queue, "evil", true);
            hold(&queue, end(Duration::from_secs(3600))).await;
            offer(&queue, "evil", false);
            offer(&queue, "evil", true);
            offer(&queue, "bank", false);
            let later = end(Duration::from_secs(3600));
            assert_eq!(work(&queue, later).await, (None, vec!["bank".to_owned()]));
            assert_eq!(queue.state().ready().records, 0);
            queue.throttle("evil", end(Duration::ZERO));
            assert_eq!(work(&queue, later).await, (Some("evil".to_owned()), Vec::new()));
            let state = queue.state();
            assert_eq!((state.ready().records, state.records()), (0, 3));
        });
    }

    // A closed queue is empty once its held requests have a result.
    #[test]
    fn closed_queue_keeps_held_requests() {
        runtime().block_on(async {
            let queue = queue();
            offer(&queue, "evil", false);
            hold(&queue, ThrottleEnd { is_requested: false, ..end(Duration::from_secs(3600)) }).await;
            queue.close();
            let held = queue.work().await.unwrap().held.unwrap();
            assert!(queue.hold(held, end(Duration::ZERO)));
            let held = queue.work().await.unwrap().held.unwrap();
            assert!(queue.release(&held.part));
            assert!(queue.work().await.is_none());
        });
    }
}
