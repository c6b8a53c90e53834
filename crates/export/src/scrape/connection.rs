//! The set of open connections: bounded, and never full of idle ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::AbortHandle;

/// The requests of one connection that are being answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    answering: Arc<AtomicUsize>,
    used: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Activity {
    /// Marks a request as being answered until the guard is dropped.
    pub(crate) fn answering(&self) -> Answering {
        self.used.store(true, Ordering::Relaxed);
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// Marks the connection as ended when the guard is dropped.
    pub(crate) fn open(&self) -> Open {
        Open(self.clone())
    }

    /// Returns `true` if the connection has had a request.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Answering(Activity);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in progress.
#[derive(Debug)]
pub(crate) struct Open(Activity);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// The open connections, oldest first.
pub(crate) struct Connections {
    open: VecDeque<(Activity, AbortHandle)>,
    max: usize,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Self {
        Self { open: VecDeque::new(), max }
    }

    /// Makes room for one more connection, by closing the oldest that is not being answered.
    ///
    /// Returns `false` if all of them are being answered.
    pub(crate) fn make_room(&mut self) -> bool {
        self.open.retain(|(activity, _)| !activity.ended.load(Ordering::Relaxed));
        if self.open.len() < self.max {
            return true;
        }
        let Some(idle) = self.open.iter().position(|(activity, _)| !activity.is_answering()) else { return false };
        if let Some((_, task)) = self.open.remove(idle) {
            task.abort();
        }
        true
    }

    pub(crate) fn add(&mut self, activity: Activity, task: AbortHandle) {
        self.open.push_back((activity, task));
    }
}
