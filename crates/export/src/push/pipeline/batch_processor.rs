//! Sends the batches of a queue to a destination.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use wasmetry_host::record::Entry;

use super::queue::{Close, Part, Queue, Record};
use crate::push::export_request::{ExportClient, ExportRequest, ExportResult};

/// Encodes the records of one request or one write. It may keep state from one to the next.
pub(crate) type Encode<T> = Box<dyn FnMut(&[Entry<T>]) -> Vec<u8> + Send>;

/// The pipeline of one signal to one destination.
pub(crate) struct BatchProcessor<T: Record> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) encode: Encode<T>,
    /// `true` if each tenant's records have requests of their own, with the tenant in a header.
    pub(crate) is_by_tenant: bool,
    pub(crate) client: ExportClient,
}

impl<T: Record> BatchProcessor<T> {
    /// Sends batches until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        // On a panic too, no record stays uncounted.
        let _discard = DiscardOnDrop(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.batch().await {
            for (part, request) in self.requests(batch) {
                let records = part.records();
                let result = match request {
                    Ok(request) => self.client.export(request, records).await,
                    Err(cause) => self.client.reject(cause, records),
                };
                if !self.queue.release(&part) {
                    return;
                }
                let metrics = &self.client.metrics;
                match result {
                    ExportResult::Success { rejected } => {
                        metrics.sent(records - rejected);
                        metrics.rejected(rejected, &part.owners);
                    }
                    ExportResult::Dropped(reason) => metrics.dropped_of(reason, &part.owners),
                }
            }
        }
    }

    /// Builds the requests of a batch, each with its part of the batch, or the reason why it
    /// cannot be built.
    fn requests(&mut self, mut batch: Vec<Entry<T>>) -> Vec<(Part, Result<ExportRequest, String>)> {
        let is_by_tenant = self.is_by_tenant;
        if is_by_tenant {
            // The sort is stable, so each tenant's records stay in order.
            batch.sort_by(|one, other| one.identity.tenant().cmp(other.identity.tenant()));
        }
        let is_together =
            |one: &Entry<T>, other: &Entry<T>| !is_by_tenant || one.identity.tenant() == other.identity.tenant();
        let mut request = |entries: &[Entry<T>]| {
            let first = entries.first().ok_or("there are no records")?;
            let tenant = match first.identity.tenant() {
                tenant if is_by_tenant && !tenant.is_empty() => Some(
                    HeaderValue::from_str(tenant)
                        .map_err(|_| format!("the tenant {tenant:?} cannot be the value of a header; rename it"))?,
                ),
                _ => None,
            };
            let body: Bytes = self.client.transport.prepare((self.encode)(entries));
            Ok(ExportRequest { body, tenant, is_audit: first.record.is_audit() })
        };
        batch.chunk_by(is_together).map(|entries| (Part::of_entries(entries), request(entries))).collect()
    }
}

/// Discards a queue when it is dropped.
struct DiscardOnDrop<T: Record>(Arc<Queue<T>>);

impl<T: Record> Drop for DiscardOnDrop<T> {
    fn drop(&mut self) {
        self.0.discard();
    }
}
