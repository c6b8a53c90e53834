//! The set of open connections. It has a maximum, and neither idle connections nor slow readers
//! fill it.
//!
//! | a new client finds the set full | closed for it |
//! |---|---|
//! | a connection is idle | the oldest idle one |
//! | a response without an end is watched | the oldest such connection |
//! | another address has more connections than the client's would have | the slowest reader of the address that has most, at once |
//! | else | the slowest reader, or else the oldest that waits for its response, if it has had its patience |

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};

/// The reason why the endpoint closed a connection before its client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Closure {
    /// Another client needed the place of a connection without a response to read.
    NoRoom,
    /// The client read a response too slowly: it took too long, or another client needed its place.
    SlowReader,
}

impl Closure {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::NoRoom, Self::SlowReader];

    /// Returns the name of the reason as the value of a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// The activity of one connection. A clone is of the same connection.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The beginning of the phase.
    since: Instant,
    /// `true` once the connection has had a request.
    is_used: bool,
    /// `true` if the response was cut because its client reads too slowly, which was counted.
    is_cut: bool,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The connection waits for its client.
    Idle,
    /// The client watches a response without an end.
    Endless,
    /// A response is being made.
    Answering,
    /// The client reads a response, of which more is to come.
    Reading,
    /// The client reads a response, all of which is in the connection's buffer.
    Buffered,
}

impl Default for Activity {
    fn default() -> Self {
        let state = State { phase: Phase::Idle, since: Instant::now(), is_used: false, is_cut: false };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Activity {
    /// Notes that a response is being made, until the guard is dropped.
    pub(super) fn begin_response(&self) -> Response {
        let mut state = self.lock();
        state.is_used = true;
        state.enter(Phase::Answering);
        Response(self.clone())
    }

    /// Notes that all of the connection's buffer was written.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Buffered {
            state.enter(Phase::Idle);
        }
    }

    /// Notes that the response was cut, so that the connection is closed.
    pub(super) fn cut(&self) {
        self.lock().is_cut = true;
    }

    /// Returns `true` if the connection has had a request.
    pub(super) fn is_used(&self) -> bool {
        self.lock().is_used
    }

    /// Returns `true` if the client reads a response for longer than `timeout`.
    fn is_overdue(&self, timeout: Duration) -> bool {
        let state = self.lock();
        state.closure() == Closure::SlowReader && state.since.elapsed() >= timeout
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        // The time in which a client has to read begins when it gets the first byte.
        if phase != Phase::Buffered {
            self.since = Instant::now();
        }
        self.phase = phase;
    }

    /// The reason with which the connection is closed for another client.
    fn closure(&self) -> Closure {
        match self.phase {
            Phase::Idle | Phase::Endless | Phase::Answering => Closure::NoRoom,
            Phase::Reading | Phase::Buffered => Closure::SlowReader,
        }
    }
}

/// The response to a request. Dropping it means that no more of it is to come.
#[derive(Debug)]
pub(super) struct Response(Activity);

impl Response {
    /// Notes that the client can begin to read.
    pub(super) fn send(&self, is_endless: bool) {
        self.0.lock().enter(if is_endless { Phase::Endless } else { Phase::Reading });
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let is_read = state.phase == Phase::Reading;
        state.enter(if is_read { Phase::Buffered } else { Phase::Idle });
    }
}

/// The open connections, each a task.
pub(super) struct ConnectionSet {
    max: usize,
    /// See [`Config::delivery_patience`](super::Config).
    patience: Duration,
    /// The oldest connection comes first.
    open: VecDeque<OpenConnection>,
    tasks: JoinSet<()>,
}

struct OpenConnection {
    /// The client's network.
    network: IpAddr,
    activity: Activity,
    task: AbortHandle,
}

/// The place for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is one.
    Free,
    /// A connection was closed for it.
    Made(Closure),
    /// There is none.
    Full,
}

impl ConnectionSet {
    pub(super) fn new(max: usize, patience: Duration) -> Self {
        Self { max, patience, open: VecDeque::new(), tasks: JoinSet::new() }
    }

    /// Makes room for one more connection, of a client in `network`; see the module.
    pub(super) fn make_room(&mut self, network: IpAddr) -> Room {
        self.remove_ended();
        if self.open.len() < self.max {
            return Room::Free;
        }
        let oldest = |phase: Phase| self.open.iter().position(|connection| connection.activity.lock().phase == phase);
        let is_cut = |connection: &OpenConnection| connection.activity.lock().is_cut;
        let cut = self.open.iter().position(is_cut);
        let waiting = cut.or_else(|| oldest(Phase::Idle)).or_else(|| oldest(Phase::Endless));
        let chosen = waiting.or_else(|| self.slowest_reader(network));
        let Some(connection) = chosen.and_then(|index| self.open.remove(index)) else { return Room::Full };
        connection.task.abort();
        let closure = connection.activity.lock().closure();
        if cut.is_some() { Room::Free } else { Room::Made(closure) }
    }

    /// Returns the index of the reader that leaves for a client in `network`: one that reads before
    /// one that waits for its response, then the one that does so for the longest time.
    fn slowest_reader(&self, network: IpAddr) -> Option<usize> {
        let mut connections = HashMap::<IpAddr, usize>::new();
        for connection in &self.open {
            *connections.entry(connection.network).or_default() += 1;
        }
        let own = connections.get(&network).copied().unwrap_or(0);
        let most = connections.values().copied().max().unwrap_or(0);
        let is_unfair = most > own + 1;
        let candidates = self.open.iter().enumerate().filter_map(|(index, connection)| {
            let state = connection.activity.lock();
            let may_leave = match is_unfair {
                true => connections.get(&connection.network) == Some(&most),
                false => state.since.elapsed() >= self.patience,
            };
            may_leave.then_some((state.closure() == Closure::NoRoom, state.since, index))
        });
        candidates.min().map(|(.., index)| index)
    }

    /// Closes the connections whose clients read a response for longer than `timeout`, and those
    /// whose responses were cut. Returns the number of the former.
    pub(super) fn close_overdue(&mut self, timeout: Duration) -> usize {
        self.remove_ended();
        let mut overdue = 0;
        self.open.retain(|connection| {
            let is_cut = connection.activity.lock().is_cut;
            let is_overdue = !is_cut && connection.activity.is_overdue(timeout);
            overdue += usize::from(is_overdue);
            if is_cut || is_overdue {
                connection.task.abort();
            }
            !is_cut && !is_overdue
        });
        overdue
    }

    /// Returns `true` if no connection is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Runs a connection of a client in `network` as a task.
    pub(super) fn spawn(
        &mut self,
        network: IpAddr,
        activity: Activity,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(connection);
        self.open.push_back(OpenConnection { network, activity, task });
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// A full set with connections of these networks, in these phases for this number of seconds.
    fn set(connections: &[(u8, Phase, u64)]) -> ConnectionSet {
        let mut set = ConnectionSet::new(connections.len(), PATIENCE);
        for &(network, phase, seconds) in connections {
            let activity = Activity::default();
            let mut state = activity.lock();
            (state.phase, state.since) = (phase, Instant::now() - Duration::from_secs(seconds));
            drop(state);
            set.spawn(address(network), activity, std::future::pending());
        }
        set
    }

    fn seconds(set: &ConnectionSet) -> Vec<u64> {
        set.open.iter().map(|connection| connection.activity.lock().since.elapsed().as_secs()).collect()
    }

    #[tokio::test]
    async fn idle_connection_is_closed_first() {
        let mut set = set(&[(1, Phase::Endless, 9), (1, Phase::Reading, 8), (1, Phase::Idle, 1), (2, Phase::Idle, 2)]);
        assert_eq!(set.make_room(address(3)), Room::Made(Closure::NoRoom));
        assert_eq!(seconds(&set), [9, 8, 2]);
        assert_eq!(set.make_room(address(3)), Room::Free);
        // A page that is watched loses its events last.
        for left in [&[9, 8][..], &[8]] {
            set.max -= 1;
            assert_eq!(set.make_room(address(3)), Room::Made(Closure::NoRoom));
            assert_eq!(seconds(&set), left);
        }
    }

    #[tokio::test]
    async fn largest_address_loses_slowest_reader() {
        let mut set =
            set(&[(1, Phase::Reading, 9), (2, Phase::Answering, 4), (2, Phase::Buffered, 2), (2, Phase::Reading, 3)]);
        // No patience is needed.
        assert_eq!(set.make_room(address(3)), Room::Made(Closure::SlowReader));
        assert_eq!(seconds(&set), [9, 4, 2]);
    }

    #[tokio::test]
    async fn equal_addresses_need_patience() {
        let mut set = set(&[(1, Phase::Reading, 4), (2, Phase::Answering, 3)]);
        assert_eq!(set.make_room(address(3)), Room::Full);
        set.open[0].activity.lock().since -= Duration::from_secs(1);
        assert_eq!(set.make_room(address(3)), Room::Made(Closure::SlowReader));
    }

    #[tokio::test]
    async fn overdue_readers_are_closed() {
        let mut set = set(&[
            (1, Phase::Idle, 99),
            (1, Phase::Answering, 99),
            (1, Phase::Buffered, 99),
            (1, Phase::Reading, 59),
            (1, Phase::Reading, 1),
        ]);
        set.open[4].activity.cut();
        assert_eq!(set.close_overdue(Duration::from_secs(60)), 1, "the other one was cut before");
        assert_eq!(seconds(&set), [99, 99, 59]);
    }

    // The time to read is that of all of a response, its end in the connection's buffer included.
    #[test]
    fn response_is_read_when_flushed() {
        let activity = Activity::default();
        let response = activity.begin_response();
        assert!(!activity.is_overdue(Duration::ZERO) && activity.is_used());
        response.send(false);
        activity.flushed();
        assert!(activity.is_overdue(Duration::ZERO), "more is to come");
        let since = activity.lock().since;
        drop(response);
        assert!(activity.is_overdue(Duration::ZERO) && activity.lock().since == since);
        activity.flushed();
        assert!(!activity.is_overdue(Duration::ZERO));
    }
}
