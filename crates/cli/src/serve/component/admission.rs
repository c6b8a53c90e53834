//! Who gets an instance: a bounded number at a time, and a bounded number that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out the right to have an instance.
pub(super) struct Admission {
    instances: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// Why a request gets no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many requests wait already.
    Full,
    /// It has waited for too long.
    Late,
}

impl Admission {
    pub(super) fn new(instances: usize, max_waiting: usize, patience: Duration) -> Self {
        Self { instances: Arc::new(Semaphore::new(instances)), waiting: AtomicUsize::new(0), max_waiting, patience }
    }

    /// Waits for an instance to be free, first come, first served; the permit gives it back when it is dropped.
    pub(super) async fn admit(&self) -> Result<OwnedSemaphorePermit, Refused> {
        if let Ok(permit) = Arc::clone(&self.instances).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place { waiting: &self.waiting };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(Refused::Full);
        }
        let admitted = tokio::time::timeout(self.patience, Arc::clone(&self.instances).acquire_owned()).await;
        drop(place);
        // The semaphore is never closed, so the inner error cannot occur.
        admitted.ok().and_then(Result::ok).ok_or(Refused::Late)
    }
}

/// A place in the queue, which must be made before it is counted; a client that goes away leaves it.
struct Place<'a> {
    waiting: &'a AtomicUsize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn instances_and_places_are_bounded() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(3600)));
        let first = admission.admit().await.unwrap();
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.admit().await.unwrap_err(), Refused::Full);
        drop(first);
        drop(second.await.unwrap().unwrap());
        assert!(admission.admit().await.is_ok());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn patience_ends() {
        let admission = Admission::new(1, 1, Duration::from_millis(1));
        let first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), Refused::Late);
        drop(first);
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_place() {
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
    async fn without_places_nobody_waits() {
        let admission = Admission::new(1, 0, Duration::from_secs(3600));
        let _first = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), Refused::Full);
    }
}
