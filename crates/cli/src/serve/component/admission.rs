//! Admission of requests: a bounded number has an instance at a time, and a bounded number waits
//! for one.
//!
//! A request whose body is still on its way is an upload. Uploads have at most half of the
//! instances and of the places in the queue, so that clients that send slowly leave the other half
//! to the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmetry_host::Gauge;
use wasmetry_wasmtime::RefusalReason;

/// The instances that one component may have.
pub(super) struct Instances {
    /// The most at a time.
    pub(super) limit: usize,
    /// Those that it has for itself. It takes these first.
    pub(super) reserved: usize,
    /// Those that it shares with others.
    pub(super) shared: Arc<Semaphore>,
}

/// Grants requests the right to an instance.
pub(in crate::serve) struct Admission {
    limit: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    /// The instances that uploads may have.
    uploads: Arc<Semaphore>,
    /// The uploads that wait until they may have an instance.
    waiting_uploads: AtomicUsize,
    max_wait: Duration,
    /// The exported number of waiting requests.
    gauge: Gauge,
}

/// The right to an instance. Dropping it frees the instance.
#[derive(Debug)]
pub(in crate::serve) struct Permit {
    _limit: OwnedSemaphorePermit,
    _instance: OwnedSemaphorePermit,
}

/// The right of an upload to one of the instances that uploads may have.
#[derive(Debug)]
pub(in crate::serve) struct UploadPermit {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(instances: Instances, max_waiting: usize, max_wait: Duration, gauge: Gauge) -> Self {
        Self {
            limit: Arc::new(Semaphore::new(instances.limit)),
            reserved: Arc::new(Semaphore::new(instances.reserved)),
            shared: instances.shared,
            waiting: AtomicUsize::new(0),
            max_waiting,
            uploads: Arc::new(Semaphore::new(instances.limit.div_ceil(2))),
            waiting_uploads: AtomicUsize::new(0),
            max_wait,
            gauge,
        }
    }

    /// Waits for a free instance, first come, first served.
    pub(in crate::serve) async fn admit(&self) -> Result<Permit, RefusalReason> {
        self.admit_by(Instant::now() + self.max_wait).await
    }

    async fn admit_by(&self, end: Instant) -> Result<Permit, RefusalReason> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let slot = QueueSlot { waiting: &self.waiting, gauge: &self.gauge };
        self.gauge.add(1);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(RefusalReason::QueueFull);
        }
        let admitted = tokio::time::timeout_at(end, self.wait()).await;
        drop(slot);
        // The semaphores are never closed, so the inner error cannot occur.
        admitted.ok().and_then(Result::ok).ok_or(RefusalReason::WaitTimeout)
    }

    /// Waits for an instance of an upload. The second permit is to be dropped when the body has
    /// arrived whole.
    pub(in crate::serve) async fn admit_upload(&self) -> Result<(Permit, UploadPermit), RefusalReason> {
        // One wait for both permits.
        let end = Instant::now() + self.max_wait;
        let upload = match Arc::clone(&self.uploads).try_acquire_owned() {
            Ok(upload) => upload,
            Err(_) => {
                let slot = QueueSlot { waiting: &self.waiting_uploads, gauge: &self.gauge };
                self.gauge.add(1);
                if self.waiting_uploads.fetch_add(1, Ordering::Relaxed) >= self.max_waiting.div_ceil(2) {
                    return Err(RefusalReason::QueueFull);
                }
                let waited = tokio::time::timeout_at(end, Arc::clone(&self.uploads).acquire_owned()).await;
                drop(slot);
                // The semaphore is never closed.
                waited.ok().and_then(Result::ok).ok_or(RefusalReason::WaitTimeout)?
            }
        };
        Ok((self.admit_by(end).await?, UploadPermit { _permit: upload }))
    }

    /// Returns `true` if requests wait for an instance.
    pub(in crate::serve) fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) + self.waiting_uploads.load(Ordering::Relaxed) > 0
    }

    /// Waits in the queue as if no instance were free, for a drill.
    pub(in crate::serve) async fn wait_for(&self, wait: Duration) {
        let _slot = QueueSlot { waiting: &self.waiting, gauge: &self.gauge };
        self.gauge.add(1);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.max_waiting {
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns a permit if an instance is free.
    pub(in crate::serve) fn try_admit(&self) -> Option<Permit> {
        let limit = Arc::clone(&self.limit).try_acquire_owned().ok()?;
        let reserved = Arc::clone(&self.reserved).try_acquire_owned();
        let instance = reserved.or_else(|_| Arc::clone(&self.shared).try_acquire_owned()).ok()?;
        Some(Permit { _limit: limit, _instance: instance })
    }

    /// Waits until an instance is free.
    async fn wait(&self) -> Result<Permit, AcquireError> {
        let limit = Arc::clone(&self.limit).acquire_owned().await?;
        let instance = tokio::select! {
            biased;
            reserved = Arc::clone(&self.reserved).acquire_owned() => reserved?,
            shared = Arc::clone(&self.shared).acquire_owned() => shared?,
        };
        Ok(Permit { _limit: limit, _instance: instance })
    }
}

/// A slot in the queue. It exists before it is counted, so that the future of a client that leaves
/// always uncounts it.
struct QueueSlot<'a> {
    waiting: &'a AtomicUsize,
    gauge: &'a Gauge,
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.gauge.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instances of a component that shares none.
    fn own(limit: usize) -> Instances {
        Instances { limit, reserved: limit, shared: Arc::new(Semaphore::new(0)) }
    }

    #[tokio::test]
    async fn instances_and_queue_are_bounded() {
        let admission = Arc::new(Admission::new(own(1), 1, Duration::from_secs(3600), Gauge::default()));
        let first = admission.admit().await.unwrap();
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.admit().await.unwrap_err(), RefusalReason::QueueFull);
        drop(first);
        drop(second.await.unwrap().unwrap());
        assert!(admission.admit().await.is_ok());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn wait_is_bounded() {
        let admission = Admission::new(own(1), 1, Duration::from_millis(1), Gauge::default());
        let first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), RefusalReason::WaitTimeout);
        drop(first);
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test]
    async fn client_that_leaves_frees_slot() {
        let admission = Arc::new(Admission::new(own(1), 1, Duration::from_secs(3600), Gauge::default()));
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
        let admission = Admission::new(own(1), 0, Duration::from_secs(3600), Gauge::default());
        let _first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), RefusalReason::QueueFull);
    }

    // Uploads that never end leave half of the instances, and half of the queue, to other requests.
    #[tokio::test]
    async fn uploads_leave_half_of_instances() {
        let admission = Arc::new(Admission::new(own(4), 4, Duration::from_secs(3600), Gauge::default()));
        let uploads = [admission.admit_upload().await.unwrap(), admission.admit_upload().await.unwrap()];
        assert!(!admission.is_contended());
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let admission = Arc::clone(&admission);
                tokio::spawn(async move { admission.admit_upload().await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(admission.admit_upload().await.unwrap_err(), RefusalReason::QueueFull);
        assert!(admission.is_contended());
        let others = [admission.admit().await.unwrap(), admission.admit().await.unwrap()];
        drop(others);
        let [(first, upload), (_second, _)] = uploads;
        // The body of the first has arrived: another upload may begin, while its instance goes on.
        drop(upload);
        for task in waiting {
            task.await.unwrap().unwrap();
        }
        drop(first);
        assert!(!admission.is_contended());
    }

    /// Two components have an instance each, and share a third one.
    #[tokio::test]
    async fn shared_instances_leave_reserved_ones() {
        let shared = Arc::new(Semaphore::new(1));
        let component = |waiting| {
            let instances = Instances { limit: 2, reserved: 1, shared: Arc::clone(&shared) };
            Arc::new(Admission::new(instances, waiting, Duration::from_secs(3600), Gauge::default()))
        };
        let (one, other) = (component(1), component(0));
        let (first, second) = (one.admit().await.unwrap(), one.admit().await.unwrap());
        let own = other.admit().await.unwrap();
        assert_eq!(other.admit().await.unwrap_err(), RefusalReason::QueueFull, "the shared one is taken");
        drop(own);
        // An instance that is free again is its own component's.
        assert!(other.admit().await.is_ok());
        let third = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.admit().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        third.await.unwrap().unwrap();
        drop((second, one));
        let _own = other.admit().await.unwrap();
        assert!(other.admit().await.is_ok(), "the shared one is free");
    }

    #[tokio::test]
    async fn waiting_request_takes_shared_instance() {
        let shared = Arc::new(Semaphore::new(0));
        let instances = Instances { limit: 2, reserved: 1, shared: Arc::clone(&shared) };
        let admission = Arc::new(Admission::new(instances, 1, Duration::from_secs(3600), Gauge::default()));
        let _own = admission.admit().await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        shared.add_permits(1);
        let taken = waiting.await.unwrap().unwrap();
        assert_eq!(shared.available_permits(), 0);
        drop(taken);
        assert_eq!(shared.available_permits(), 1);
    }
}
