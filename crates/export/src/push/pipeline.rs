//! From a queue to a destination.

use std::sync::Arc;

use wasmetry_host::record::Entry;

use super::account::Loss;
use super::delivery::{Delivery, Fate};
use super::queue::{Close, Queue, Record};

/// Makes the body of a request.
pub(crate) type Encode<T> = Box<dyn Fn(&[Entry<T>]) -> Vec<u8> + Send>;

/// One signal's way to one destination.
pub(crate) struct Pipeline<T: Record> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) encode: Encode<T>,
    pub(crate) delivery: Delivery,
}

impl<T: Record> Pipeline<T> {
    /// Sends what the queue holds until it is closed and empty.
    pub(crate) async fn run(mut self) {
        // Whatever ends this, nothing stays uncounted.
        let _abandoned = Abandon(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.batch().await {
            let records = batch.len() as u64;
            let body = self.delivery.transport.prepare((self.encode)(&batch));
            drop(batch);
            let fate = self.delivery.deliver(body, records).await;
            if !self.queue.settle() {
                return;
            }
            let account = &self.delivery.account;
            match fate {
                Fate::Sent { rejected } => {
                    account.sent(records - rejected);
                    account.lost(Loss::Rejected, rejected);
                }
                Fate::Lost(loss) => account.lost(loss, records),
            }
        }
    }
}

/// Gives up a queue when it is dropped.
struct Abandon<T: Record>(Arc<Queue<T>>);

impl<T: Record> Drop for Abandon<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
