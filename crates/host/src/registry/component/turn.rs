//! Turns: the order in which snapshots and reads lock a component.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gives a snapshot the next turn, however many reads want the lock.
///
/// The standard library's lock is not fair: a thread that releases it and locks it again comes
/// before those that wait. So reads would delay a snapshot as long as there are any.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The snapshots that wait.
    waiting: AtomicUsize,
    /// Held by a snapshot that waits.
    next: Mutex<()>,
}

impl Turns {
    /// Locks for a read, behind a snapshot that waits.
    #[inline]
    pub(super) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        if self.waiting.load(Relaxed) > 0 {
            drop(self.next.lock().unwrap_or_else(PoisonError::into_inner));
        }
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for a snapshot, before reads that begin now.
    pub(super) fn lock_next<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Relaxed);
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        drop(next);
        self.waiting.fetch_sub(1, Relaxed);
        guard
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A read that locks again at once comes behind a snapshot that waits.
    #[test]
    fn snapshot_gets_its_turn() {
        let (turns, mutex) = (Turns::default(), Mutex::new(Vec::new()));
        for _ in 0..100 {
            mutex.lock().unwrap().clear();
            thread::scope(|scope| {
                let read = turns.lock(&mutex);
                scope.spawn(|| turns.lock_next(&mutex).push("snapshot"));
                while turns.next.try_lock().is_ok() {
                    thread::yield_now();
                }
                drop(read);
                turns.lock(&mutex).push("read");
            });
            assert_eq!(*mutex.lock().unwrap(), ["snapshot", "read"]);
        }
        assert_eq!(turns.waiting.load(Relaxed), 0);
    }
}
