//! The set of open connections. It has a maximum, and idle connections never fill it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::{AbortHandle, JoinSet};

/// The requests of one connection. A clone is of the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    /// The number of requests that are being answered.
    in_progress: AtomicUsize,
    /// `true` once the connection has had a request.
    is_used: AtomicBool,
}

impl Activity {
    /// Marks a request as in progress until the guard is dropped.
    pub(super) fn begin_request(&self) -> RequestInProgress {
        self.0.is_used.store(true, Ordering::Relaxed);
        self.0.in_progress.fetch_add(1, Ordering::Relaxed);
        RequestInProgress(self.clone())
    }

    /// Returns `true` if the connection has had a request.
    pub(super) fn is_used(&self) -> bool {
        self.0.is_used.load(Ordering::Relaxed)
    }

    /// Returns `true` if no request is in progress.
    fn is_idle(&self) -> bool {
        self.0.in_progress.load(Ordering::Relaxed) == 0
    }
}

/// Marks a request as in progress.
#[derive(Debug)]
pub(super) struct RequestInProgress(Activity);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections, each a task.
pub(super) struct ConnectionSet {
    max: usize,
    /// The oldest connection comes first.
    open: VecDeque<OpenConnection>,
    tasks: JoinSet<()>,
}

struct OpenConnection {
    activity: Activity,
    task: AbortHandle,
}

impl ConnectionSet {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: VecDeque::new(), tasks: JoinSet::new() }
    }

    /// Makes room for one more connection: if the set is full, closes the oldest idle one.
    ///
    /// Returns `false` if the set is full and no connection is idle.
    pub(super) fn make_room(&mut self) -> bool {
        self.remove_ended();
        if self.open.len() < self.max {
            return true;
        }
        let oldest_idle = self.open.iter().position(|connection| connection.activity.is_idle());
        let Some(connection) = oldest_idle.and_then(|index| self.open.remove(index)) else { return false };
        connection.task.abort();
        true
    }

    /// Runs a connection as a task.
    pub(super) fn spawn(&mut self, activity: Activity, connection: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(connection);
        self.open.push_back(OpenConnection { activity, task });
    }

    /// Waits until all connections have ended.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn remove_ended(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
        while self.tasks.try_join_next().is_some() {}
    }
}
