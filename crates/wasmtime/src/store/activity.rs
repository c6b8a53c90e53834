//! The stores that run guest code at this moment. A scrape waits until they have been collected.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The activity of one store.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// `true` while the store's guest is polled.
    running: AtomicBool,
    /// The number of the last request for collection that was answered.
    answered: AtomicU64,
}

/// The activities of all stores of one [`Telemetry`](crate::Telemetry).
#[derive(Debug, Default)]
pub(crate) struct Activities {
    /// The number of the latest request for collection.
    requested: AtomicU64,
    waiting: AtomicUsize,
    stores: Mutex<Vec<Arc<Activity>>>,
    changed: Condvar,
}

impl Activities {
    /// Adds a store.
    pub(crate) fn add(&self) -> Arc<Activity> {
        let activity = Arc::new(Activity::default());
        self.lock().push(Arc::clone(&activity));
        activity
    }

    /// Removes a store.
    pub(crate) fn remove(&self, activity: &Arc<Activity>) {
        let mut stores = self.lock();
        if let Some(i) = stores.iter().position(|other| Arc::ptr_eq(other, activity)) {
            stores.swap_remove(i);
        }
        drop(stores);
        self.notify();
    }

    /// Returns `true` if collection was requested after the store was collected last.
    pub(crate) fn is_requested(&self, activity: &Activity) -> bool {
        activity.answered.load(Ordering::Relaxed) != self.requested.load(Ordering::Acquire)
    }

    /// Returns the request that a collection which begins now answers. Later requests need another
    /// collection.
    pub(crate) fn begin_answer(&self) -> u64 {
        self.requested.load(Ordering::Acquire)
    }

    /// Records that the store has been collected for `request`.
    pub(crate) fn answer(&self, activity: &Activity, request: u64) {
        // Release pairs with the Acquire in `collect_running`: what was collected is in the
        // registry before it.
        activity.answered.store(request, Ordering::Release);
        self.notify();
    }

    /// Records the begin or the end of a poll of the store's guest.
    pub(crate) fn set_running(&self, activity: &Activity, running: bool) {
        activity.running.store(running, Ordering::Release);
        if !running {
            self.notify();
        }
    }

    /// Requests collection, and waits until every running store has answered or stopped running, at
    /// most for `limit`.
    ///
    /// `interrupt` is called after the request is set; it makes running guests check for requests.
    pub(crate) fn collect_running(&self, limit: Duration, interrupt: impl FnOnce()) {
        let request = self.requested.fetch_add(1, Ordering::AcqRel) + 1;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        interrupt();
        let end = Instant::now() + limit;
        let mut stores = self.lock();
        while stores
            .iter()
            .any(|store| store.running.load(Ordering::Acquire) && store.answered.load(Ordering::Acquire) < request)
        {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            stores = self.changed.wait_timeout(stores, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(stores);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // With the lock, this happens after the waiter has checked the stores.
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn request_waits_for_running_store_only() {
        let activities = Activities::default();
        let (running, _idle) = (activities.add(), activities.add());
        activities.set_running(&running, true);
        thread::scope(|scope| {
            let store = scope.spawn(|| {
                while !activities.is_requested(&running) {
                    thread::yield_now();
                }
                let request = activities.begin_answer();
                activities.answer(&running, request);
            });
            activities.collect_running(Duration::from_secs(60), || {});
            store.join().unwrap();
        });
        assert!(!activities.is_requested(&running));
    }

    #[test]
    fn removed_store_is_not_waited_for() {
        let activities = Activities::default();
        let running = activities.add();
        activities.set_running(&running, true);
        activities.collect_running(Duration::from_secs(60), || activities.remove(&running));
    }
}
