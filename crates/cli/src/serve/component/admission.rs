//! Admission of requests: a bounded number has an instance at a time, and a bounded number waits
//! for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Grants requests the right to an instance.
pub(in crate::serve) struct Admission {
    instances: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    max_wait: Duration,
}

/// The reason for which a request gets no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Refused {
    /// The maximum number of requests is waiting.
    QueueFull,
    /// The request has waited for the maximum time.
    TimedOut,
}

impl Admission {
    pub(super) fn new(instances: usize, max_waiting: usize, max_wait: Duration) -> Self {
        Self { instances: Arc::new(Semaphore::new(instances)), waiting: AtomicUsize::new(0), max_waiting, max_wait }
    }

    /// Waits for a free instance, first come, first served. Dropping the permit frees the instance.
    pub(in crate::serve) async fn admit(&self) -> Result<OwnedSemaphorePermit, Refused> {
        if let Ok(permit) = Arc::clone(&self.instances).try_acquire_owned() {
            return Ok(permit);
        }
        let slot = QueueSlot { waiting: &self.waiting };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(Refused::QueueFull);
        }
        let admitted = tokio::time::timeout(self.max_wait, Arc::clone(&self.instances).acquire_owned()).await;
        drop(slot);
        // The semaphore is never closed, so the inner error cannot occur.
        admitted.ok().and_then(Result::ok).ok_or(Refused::TimedOut)
    }
}

/// A slot in the queue. It exists before it is counted, so that the future of a client that leaves
/// always uncounts it.
struct QueueSlot<'a> {
    waiting: &'a AtomicUsize,
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn instances_and_queue_are_bounded() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(3600)));
        let first = admission.admit().await.unwrap();
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.admit().await.unwrap_err(), Refused::QueueFull);
        drop(first);
        drop(second.await.unwrap().unwrap());
        assert!(admission.admit().await.is_ok());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn wait_is_bounded() {
        let admission = Admission::new(1, 1, Duration::from_millis(1));
        let first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), Refused::TimedOut);
        drop(first);
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test]
    async fn client_that_leaves_frees_slot() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(3600)));
        let _first = admission.admit().await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await.map(drop) }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn queue_of_zero_refuses_at_once() {
        let admission = Admission::new(1, 0, Duration::from_secs(3600));
        let _first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), Refused::QueueFull);
    }
}
