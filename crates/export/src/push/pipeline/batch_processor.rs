//! Sends the batches of a queue to a destination.
//!
//! Where each tenant has requests of its own, the destination has limits of each tenant: a request
//! that it throttles goes back to the queue with the rest of its tenant's records, and those of
//! others are sent meanwhile. A destination that fails stops all of its records.

use std::sync::Arc;

use http::HeaderValue;
use wasmetry_host::record::Entry;

use super::queue::{Close, HeldRequest, Part, Queue, Record};
use crate::push::export_request::{ExportClient, ExportRequest, ExportResult, Unsent};
use crate::push::pipeline_metrics::ExportDropReason;

/// Encodes the records of one request or one write. It may keep state from one to the next.
pub(crate) type Encode<T> = Box<dyn FnMut(&[Entry<T>]) -> Vec<u8> + Send>;

/// The pipeline of one signal to one destination.
pub(crate) struct BatchProcessor<T: Record> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) encode: Encode<T>,
    pub(crate) client: ExportClient,
}

/// A part of a batch with its request, or with the reason why there is none.
type PartRequest = (Part, Result<ExportRequest, String>);

/// The state of a part after its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has a result, or the queue has it again.
    Done,
    /// The destination refuses the records of several tenants together.
    Refused,
    /// The queue was discarded.
    Discarded,
}

impl<T: Record> BatchProcessor<T> {
    /// Sends batches, and requests that were held, until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        // On a panic too, no record stays uncounted.
        let _discard = DiscardOnDrop(Arc::clone(&self.queue));
        while let Some(work) = self.queue.work().await {
            let progress = match work.held {
                Some(held) => self.send((held.part, Ok(held.request))).await,
                None if self.client.is_by_tenant => self.send_by_tenant(work.batch).await,
                None => self.send_together(work.batch).await,
            };
            if progress == Progress::Discarded {
                return;
            }
        }
    }

    /// Sends a batch in one request. If the destination refuses what is in it, sends each tenant's
    /// records alone, so that the others' are not dropped with those that it refuses.
    async fn send_together(&mut self, mut batch: Vec<Entry<T>>) -> Progress {
        let is_divisible = self.client.is_atomic && is_mixed(&batch);
        let request = self.request(&batch);
        if !is_divisible {
            batch = Vec::new();
        }
        match self.send(request).await {
            Progress::Refused => self.send_by_tenant(batch).await,
            progress => progress,
        }
    }

    /// Sends a batch in one request for each tenant.
    async fn send_by_tenant(&mut self, mut batch: Vec<Entry<T>>) -> Progress {
        // The sort is stable, so each tenant's records stay in order.
        batch.sort_by(|one, other| one.identity.tenant().cmp(other.identity.tenant()));
        let requests: Vec<_> = batch.chunk_by(is_of_one_tenant).map(|entries| self.request(entries)).collect();
        drop(batch);
        for request in requests {
            if self.send(request).await == Progress::Discarded {
                return Progress::Discarded;
            }
        }
        Progress::Done
    }

    /// Builds the request of a part.
    fn request(&mut self, entries: &[Entry<T>]) -> PartRequest {
        let mut build = || {
            let first = entries.first().ok_or("there are no records")?;
            let tenant = match first.identity.tenant() {
                tenant if self.client.is_by_tenant && !tenant.is_empty() => Some(
                    HeaderValue::from_str(tenant)
                        .map_err(|_| format!("the tenant {tenant:?} cannot be the value of a header; rename it"))?,
                ),
                _ => None,
            };
            let body = self.client.transport.prepare((self.encode)(entries));
            Ok(ExportRequest::new(body, tenant, first.record.is_audit()).with_mixed(is_mixed(entries)))
        };
        (Part::of_entries(entries), build())
    }

    /// Sends the request of a part and counts its result, or puts it back if its tenant is
    /// throttled.
    async fn send(&mut self, (part, request): PartRequest) -> Progress {
        let records = part.records();
        let mut request = match request {
            Ok(request) => request,
            Err(cause) => {
                let result = self.client.reject(cause, records);
                return self.finish(&part, &result);
            }
        };
        match self.client.export_part(&mut request, records).await {
            Ok(result) => self.finish(&part, &result),
            Err(Unsent::Refused) => Progress::Refused,
            Err(Unsent::Throttled { end, is_exhausted: false }) => {
                let held = HeldRequest { part, request, due: end.at };
                if self.queue.hold(held, end) { Progress::Done } else { Progress::Discarded }
            }
            Err(Unsent::Throttled { end, is_exhausted: true }) => {
                self.queue.throttle(part.tenant(), end);
                self.finish(&part, &ExportResult::Dropped(ExportDropReason::RetryExhausted))
            }
        }
    }

    /// Frees the room of a part and counts its result.
    fn finish(&mut self, part: &Part, result: &ExportResult) -> Progress {
        if !self.queue.release(part) {
            return Progress::Discarded;
        }
        let metrics = &self.client.metrics;
        match *result {
            ExportResult::Success { rejected } => {
                metrics.sent(part.records() - rejected);
                metrics.rejected(rejected, &part.owners);
            }
            ExportResult::Dropped(reason) => metrics.dropped_of(reason, &part.owners),
        }
        Progress::Done
    }
}

/// Returns `true` if both records are of one tenant.
fn is_of_one_tenant<T>(one: &Entry<T>, other: &Entry<T>) -> bool {
    one.identity.tenant() == other.identity.tenant()
}

/// Returns `true` if the records are of several tenants.
fn is_mixed<T>(entries: &[Entry<T>]) -> bool {
    !entries.windows(2).all(|pair| is_of_one_tenant(&pair[0], &pair[1]))
}

/// Discards a queue when it is dropped.
struct DiscardOnDrop<T: Record>(Arc<Queue<T>>);

impl<T: Record> Drop for DiscardOnDrop<T> {
    fn drop(&mut self) {
        self.0.discard();
    }
}
