//! The open connections of the service: their number is bounded, and one that waits for its client
//! never keeps another client out.
//!
//! A client that sends half a head, or the beginning of a body, or nothing, has a connection until
//! another client needs its place. So clients cannot close the service by connecting.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use wasmetry_host::{Counter, Registry};

use crate::process::connection::closed_connections;
use crate::serve::limits;
use crate::serve::limits::service::{ServiceLimits, time};

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::serve) enum Phase {
    /// No request is in progress.
    Idle,
    /// A part of a request's head has arrived.
    Head,
    /// A request's body arrives, and no instance waits for it.
    Body,
    /// A request is in progress.
    Busy,
    /// The response is complete, and parts of it are not written yet.
    Sent,
    /// The last response is written, and what the client still sends is dropped.
    Closing,
}

impl Phase {
    fn from_u8(phase: u8) -> Self {
        [Self::Idle, Self::Head, Self::Body, Self::Sent, Self::Closing]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Self::Busy)
    }
}

/// The activity of one connection. A clone is of the same connection.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Activity(Arc<State>);

#[derive(Debug)]
struct State {
    begin: Instant,
    phase: AtomicU8,
    /// The time of the last change, in milliseconds since the beginning.
    since: AtomicU64,
    /// `true` once the connection has had a request.
    is_used: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            begin: Instant::now(),
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
        }))
    }

    /// Enters a phase.
    pub(in crate::serve) fn enter(&self, phase: Phase) {
        let milliseconds = u64::try_from(self.0.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.since.store(milliseconds, Ordering::Relaxed);
        self.0.phase.store(phase as u8, Ordering::Relaxed);
        if matches!(phase, Phase::Body | Phase::Busy) {
            self.0.is_used.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that bytes have arrived. Between two requests they are the beginning of a head.
    pub(super) fn received(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Notes that all that was to be written is written.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Sent {
            self.enter(Phase::Idle);
        }
    }

    /// Returns `true` if the connection has had a request.
    pub(super) fn is_used(&self) -> bool {
        self.0.is_used.load(Ordering::Relaxed)
    }

    fn phase(&self) -> Phase {
        Phase::from_u8(self.0.phase.load(Ordering::Relaxed))
    }

    /// The time at which the connection has entered its phase.
    fn since(&self) -> Instant {
        self.0.begin + Duration::from_millis(self.0.since.load(Ordering::Relaxed))
    }
}

/// The open connections.
pub(super) struct ConnectionSet {
    open: Mutex<Vec<OpenConnection>>,
    /// Closed because the head did not arrive in time.
    late: Counter,
    /// Closed to make room for another client.
    evicted: Counter,
    /// Closed because the client read a response too slowly.
    slow: Counter,
    /// Closed because the client had as many as it may have.
    refused: Counter,
}

struct OpenConnection {
    activity: Activity,
    task: AbortHandle,
}

impl ConnectionSet {
    pub(super) fn new(registry: &Registry) -> Self {
        let closed = closed_connections(registry);
        let closed = |reason| closed.with(&["service", reason]);
        Self {
            open: Mutex::default(),
            late: closed("head_timeout"),
            evicted: closed("no_room"),
            slow: closed("slow_reader"),
            refused: closed("client_limit"),
        }
    }

    /// Adds a connection, whose task `spawn` starts.
    pub(super) fn add(&self, spawn: impl FnOnce(Activity) -> AbortHandle) {
        let activity = Activity::new();
        let task = spawn(activity.clone());
        self.lock().push(OpenConnection { activity, task });
    }

    /// Counts a connection that is closed at once, because its client has as many as it may have.
    pub(super) fn refuse(&self) {
        self.refused.inc();
    }

    /// Closes the connection that has waited for its client for the longest time: one without a
    /// whole request first, then one between two requests, then one of either that waits for a
    /// moment only, and last one whose client reads a response. Returns `false` if there is none.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let mut open = self.lock();
        Self::remove_ended(&mut open);
        let waiting = open.iter().enumerate().filter_map(|(index, connection)| {
            let (activity, since) = (&connection.activity, connection.activity.since());
            // Else new clients would close each other's connections, and those of clients that
            // have just had a response and send their next request.
            let is_new = now.saturating_duration_since(since) < limits::ARRIVAL_TIME;
            let phase = activity.phase();
            let rank = match phase {
                Phase::Busy => return None,
                Phase::Closing => 0,
                Phase::Sent => 3,
                _ if is_new => 2,
                Phase::Idle if activity.is_used() => 1,
                Phase::Idle | Phase::Head | Phase::Body => 0,
            };
            Some((rank, since, index, phase == Phase::Sent))
        });
        let Some((.., index, is_sent)) = waiting.min() else { return false };
        open.swap_remove(index).task.abort();
        if is_sent { &self.slow } else { &self.evicted }.inc();
        true
    }

    /// Closes connections on which half a head has waited for its rest for too long, or a complete
    /// response for its reader.
    pub(super) fn close_late(&self, now: Instant, limits: &ServiceLimits) {
        let mut open = self.lock();
        Self::remove_ended(&mut open);
        let has_had = |activity: &Activity, time| now.saturating_duration_since(activity.since()) >= time;
        open.retain(|OpenConnection { activity, task }| {
            let closed = match activity.phase() {
                Phase::Head if has_had(activity, time(limits.request_head_time)) => &self.late,
                Phase::Sent if has_had(activity, time(limits.response_read_time)) => &self.slow,
                _ => return true,
            };
            task.abort();
            closed.inc();
            false
        });
    }

    fn remove_ended(open: &mut Vec<OpenConnection>) {
        open.retain(|connection| !connection.task.is_finished());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OpenConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set with connections in these phases, each a task that ends only if it is closed.
    fn set(phases: &[(Phase, bool)]) -> (ConnectionSet, Vec<Activity>, tokio::task::JoinSet<()>) {
        let set = ConnectionSet::new(&Registry::new());
        let (mut activities, mut tasks) = (Vec::new(), tokio::task::JoinSet::new());
        for (milliseconds, (phase, is_used)) in phases.iter().enumerate() {
            set.add(|activity| {
                activity.0.is_used.store(*is_used, Ordering::Relaxed);
                activity.0.phase.store(*phase as u8, Ordering::Relaxed);
                activity.0.since.store(milliseconds as u64, Ordering::Relaxed);
                activities.push(activity);
                tasks.spawn(std::future::pending())
            });
        }
        (set, activities, tasks)
    }

    fn phases(set: &ConnectionSet) -> Vec<Phase> {
        let mut open: Vec<_> = set.lock().iter().map(|open| open.activity.clone()).collect();
        open.sort_by_key(|activity| activity.0.since.load(Ordering::Relaxed));
        open.iter().map(Activity::phase).collect()
    }

    #[tokio::test]
    async fn unfinished_requests_make_room_first() {
        let (set, _activities, _tasks) = set(&[
            (Phase::Busy, true),
            (Phase::Idle, true),
            (Phase::Head, false),
            (Phase::Body, true),
            (Phase::Idle, false),
            (Phase::Sent, true),
            (Phase::Closing, true),
        ]);
        let late = Instant::now() + 2 * limits::ARRIVAL_TIME;
        for left in [
            &[Phase::Busy, Phase::Idle, Phase::Body, Phase::Idle, Phase::Sent, Phase::Closing][..],
            &[Phase::Busy, Phase::Idle, Phase::Idle, Phase::Sent, Phase::Closing],
            &[Phase::Busy, Phase::Idle, Phase::Sent, Phase::Closing],
            &[Phase::Busy, Phase::Idle, Phase::Sent],
            &[Phase::Busy, Phase::Sent],
            &[Phase::Busy],
        ] {
            assert!(set.make_room(late));
            assert_eq!(phases(&set), left);
        }
        assert!(!set.make_room(late), "the last one has a request in progress");
        assert_eq!((set.evicted.get(), set.slow.get()), (5, 1));
    }

    /// A client that has just connected is not the first to leave for the next one.
    #[tokio::test]
    async fn new_clients_leave_last() {
        let (set, activities, _tasks) =
            set(&[(Phase::Idle, true), (Phase::Idle, false), (Phase::Body, true), (Phase::Sent, true)]);
        // The first one has been idle for so long.
        let now = activities[0].0.begin + limits::ARRIVAL_TIME;
        assert!(set.make_room(now));
        assert_eq!(phases(&set), [Phase::Idle, Phase::Body, Phase::Sent], "the one that is used has no request");
        for left in [&[Phase::Body, Phase::Sent][..], &[Phase::Sent], &[]] {
            assert!(set.make_room(now));
            assert_eq!(phases(&set), left);
        }
        assert_eq!((set.evicted.get(), set.slow.get()), (3, 1));
    }

    /// New clients that send nothing do not close the connection of one that sends its requests one
    /// after the other.
    #[tokio::test]
    async fn busy_clients_stay() {
        let (set, activities, _tasks) = set(&[(Phase::Head, false), (Phase::Idle, false), (Phase::Idle, true)]);
        let now = activities[0].0.begin;
        for left in [&[Phase::Idle, Phase::Idle][..], &[Phase::Idle]] {
            assert!(set.make_room(now));
            assert_eq!(phases(&set), left);
        }
        assert!(set.lock()[0].activity.is_used());
    }

    #[tokio::test]
    async fn late_heads_are_closed() {
        let (set, activities, _tasks) = set(&[(Phase::Idle, true), (Phase::Head, true), (Phase::Busy, true)]);
        let begin = activities[1].0.begin;
        let limits = ServiceLimits::default();
        let limit = time(limits.request_head_time);
        set.close_late(begin + limit - Duration::from_secs(1), &limits);
        assert_eq!(set.late.get(), 0);
        set.close_late(begin + limit + Duration::from_secs(1), &limits);
        assert_eq!((set.late.get(), phases(&set)), (1, vec![Phase::Idle, Phase::Busy]));
    }

    #[tokio::test]
    async fn unread_responses_are_closed() {
        let (set, activities, _tasks) = set(&[(Phase::Sent, true), (Phase::Busy, true)]);
        let begin = activities[0].0.begin;
        let limits = ServiceLimits::default();
        let limit = time(limits.response_read_time);
        set.close_late(begin + limit - Duration::from_secs(1), &limits);
        assert_eq!(set.slow.get(), 0);
        set.close_late(begin + limit + Duration::from_secs(1), &limits);
        assert_eq!((set.slow.get(), phases(&set)), (1, vec![Phase::Busy]));
    }

    #[test]
    fn first_byte_begins_a_head() {
        let activity = Activity::new();
        activity.received();
        assert_eq!((activity.phase(), activity.is_used()), (Phase::Head, false));
        activity.enter(Phase::Busy);
        activity.received();
        activity.flushed();
        assert_eq!((activity.phase(), activity.is_used()), (Phase::Busy, true));
        activity.enter(Phase::Sent);
        activity.received();
        assert_eq!(activity.phase(), Phase::Sent);
        activity.flushed();
        assert_eq!(activity.phase(), Phase::Idle);
    }
}
