//! From a queue to a destination.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use wasmetry_host::record::Entry;

use super::queue::{BatchSize, Close, Queue, Record};
use crate::push::export_request::{ExportClient, ExportRequest, ExportResult};
use crate::push::pipeline_metrics::ExportDropReason;

/// Makes the body of a request.
pub(crate) type Encode<T> = Box<dyn Fn(&[Entry<T>]) -> Vec<u8> + Send>;

/// One signal's way to one destination.
pub(crate) struct BatchProcessor<T: Record> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) encode: Encode<T>,
    /// Whether the records of each tenant have requests of their own, which name it.
    pub(crate) is_by_tenant: bool,
    pub(crate) delivery: ExportClient,
}

impl<T: Record> BatchProcessor<T> {
    /// Sends what the queue holds until it is closed and empty.
    pub(crate) async fn run(mut self) {
        // Whatever ends this, nothing stays uncounted.
        let _abandoned = Discard(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.batch().await {
            for (load, parcel) in self.pack(batch) {
                let fate = match parcel {
                    Ok(parcel) => self.delivery.deliver(parcel, load.records as u64).await,
                    Err(cause) => self.delivery.refuse(cause, load.records as u64),
                };
                if !self.queue.settle(load) {
                    return;
                }
                let (metrics, records) = (&self.delivery.metrics, load.records as u64);
                match fate {
                    ExportResult::Success { rejected } => {
                        metrics.sent(records - rejected);
                        metrics.lost(ExportDropReason::Rejected, rejected);
                    }
                    ExportResult::Dropped(loss) => metrics.lost(loss, records),
                }
            }
        }
    }

    /// Makes requests of a batch, or says why one cannot be made.
    fn pack(&self, mut batch: Vec<Entry<T>>) -> Vec<(BatchSize, Result<ExportRequest, String>)> {
        if self.is_by_tenant {
            // This keeps the order of each tenant's records.
            batch.sort_by(|one, other| one.identity.tenant().cmp(other.identity.tenant()));
        }
        let is_together =
            |one: &Entry<T>, other: &Entry<T>| !self.is_by_tenant || one.identity.tenant() == other.identity.tenant();
        let pack = |part: &[Entry<T>]| {
            let first = part.first().ok_or("there are no records")?;
            let tenant = match first.identity.tenant() {
                tenant if self.is_by_tenant && !tenant.is_empty() => Some(
                    HeaderValue::from_str(tenant)
                        .map_err(|_| format!("the tenant {tenant:?} cannot be a header's value; rename it"))?,
                ),
                _ => None,
            };
            let body: Bytes = self.delivery.transport.prepare((self.encode)(part));
            Ok(ExportRequest { body, tenant, is_audit: first.record.is_audit() })
        };
        batch.chunk_by(is_together).map(|part| (BatchSize::of(part), pack(part))).collect()
    }
}

/// Gives up a queue when it is dropped.
struct Discard<T: Record>(Arc<Queue<T>>);

impl<T: Record> Drop for Discard<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
