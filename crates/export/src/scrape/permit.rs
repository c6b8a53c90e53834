//! The permits of expositions, which are fair by the addresses of their clients.
//!
//! A scrape has a permit from before its snapshot is taken until it is delivered. No address has
//! all permits, however many clients it has. The next free one goes to the address that has fewest,
//! then to the one that has had them for the shortest time of late, then to the newest scrape:
//! older ones have waited for so long that their clients may give up. If a scrape waits, a delivery
//! that takes longer than the patience ends, of the address that has most permits.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::exposition::OpenDelivery;
use crate::limits;

/// All permits. A clone is of the same.
#[derive(Clone)]
pub(super) struct Permits(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    max: usize,
    patience: Duration,
}

#[derive(Default)]
struct State {
    next_id: u64,
    held: Vec<Held>,
    /// The scrapes without a permit, the oldest first.
    waiting: Vec<Waiting>,
    /// The networks of the last permits that were given back, and the times for which they were
    /// held: of deliveries, those of their clients.
    past: VecDeque<(IpAddr, Duration)>,
}

struct Held {
    id: u64,
    network: IpAddr,
    /// The time of the grant, or that at which the delivery began.
    since: Instant,
    /// `None` until the exposition is being delivered.
    delivery: Option<OpenDelivery>,
}

struct Waiting {
    network: IpAddr,
    /// Receives the identifier of the permit.
    granted: oneshot::Sender<u64>,
}

impl Held {
    /// Returns the mean time in which the client reads a chunk.
    fn time_per_chunk(&self) -> Duration {
        let chunks = self.delivery.as_ref().map_or(0, OpenDelivery::chunks);
        self.since.elapsed() / u32::try_from(chunks.max(1)).unwrap_or(u32::MAX)
    }
}

/// The permit of one exposition. Dropping it gives it back.
pub(super) struct Permit {
    permits: Permits,
    id: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.give_back(self.id);
    }
}

impl Permit {
    /// Notes that the exposition is being delivered, and may be ended for another scrape.
    pub(super) fn set_delivery(&self, delivery: OpenDelivery) {
        let mut state = self.permits.lock();
        if let Some(held) = state.held.iter_mut().find(|held| held.id == self.id) {
            // Its client's time does not include that of the snapshot.
            held.since = Instant::now();
            held.delivery = Some(delivery);
        }
    }
}

/// A scrape that waits for its permit.
struct Waiter {
    permits: Permits,
    granted: oneshot::Receiver<u64>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A permit that was granted and not taken has no owner.
        self.granted.close();
        if let Ok(id) = self.granted.try_recv() {
            self.permits.give_back(id);
        }
    }
}

impl Permits {
    pub(super) fn new(max: usize, patience: Duration) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), max: max.max(1), patience }))
    }

    /// Waits for a permit for a client in `network`.
    pub(super) async fn acquire(&self, network: IpAddr) -> Option<Permit> {
        let mut waiter = self.enqueue(network);
        loop {
            tokio::select! {
                biased;
                id = &mut waiter.granted => return id.ok().map(|id| Permit { permits: self.clone(), id }),
                () = tokio::time::sleep_until(self.next_end(network).into()) => self.end_slowest(network),
            }
        }
    }

    fn enqueue(&self, network: IpAddr) -> Waiter {
        let (sender, granted) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.push(Waiting { network, granted: sender });
        self.grant(&mut state);
        Waiter { permits: self.clone(), granted }
    }

    /// The permits that one address may have: all but one.
    fn share(&self) -> usize {
        self.0.max.saturating_sub(1).max(1)
    }

    /// Gives free permits to scrapes that wait.
    fn grant(&self, state: &mut State) {
        state.waiting.retain(|waiting| !waiting.granted.is_closed());
        while state.held.len() < self.0.max {
            let ranks = state.waiting.iter().enumerate().map(|(index, waiting)| {
                let network = waiting.network;
                (state.held_by(network), state.past_of(network), Reverse(index))
            });
            let Some((_, _, Reverse(index))) = ranks.filter(|(held, ..)| *held < self.share()).min() else { return };
            let Waiting { network, granted } = state.waiting.remove(index);
            let id = state.next_id;
            state.next_id += 1;
            // A scrape that has gone away takes none.
            if granted.send(id).is_ok() {
                state.held.push(Held { id, network, since: Instant::now(), delivery: None });
            }
        }
    }

    fn give_back(&self, id: u64) {
        let mut state = self.lock();
        let Some(index) = state.held.iter().position(|held| held.id == id) else { return };
        let held = state.held.swap_remove(index);
        if state.past.len() == limits::PAST_SCRAPES {
            state.past.pop_front();
        }
        state.past.push_back((held.network, held.since.elapsed()));
        self.grant(&mut state);
    }

    /// Returns the time at which a delivery is ended for a scrape of `network` that waits.
    fn next_end(&self, network: IpAddr) -> Instant {
        let state = self.lock();
        let oldest = self.replaceable(&state, network).map(|held| held.since).min();
        // Snapshots that are being taken become deliveries, or are dropped.
        oldest.unwrap_or_else(Instant::now) + self.0.patience
    }

    /// Ends a delivery that has had its patience: of the address that has most permits, the one
    /// whose client reads most slowly.
    fn end_slowest(&self, network: IpAddr) {
        let state = self.lock();
        let over = self.replaceable(&state, network).filter(|held| held.since.elapsed() >= self.0.patience);
        let chosen = over.min_by_key(|held| (Reverse(state.held_by(held.network)), Reverse(held.time_per_chunk())));
        let delivery = chosen.and_then(|held| held.delivery.clone());
        // Ending it gives its permit back.
        drop(state);
        if let Some(delivery) = delivery {
            delivery.end();
        }
    }

    /// Returns the deliveries that may be ended for a scrape of `network`. An address that has its
    /// share gets none of the others'.
    fn replaceable<'a>(&self, state: &'a State, network: IpAddr) -> impl Iterator<Item = &'a Held> + 'a {
        let is_at_share = state.held_by(network) >= self.share();
        let delivered = state.held.iter().filter(|held| held.delivery.is_some());
        delivered.filter(move |held| !is_at_share || held.network == network)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held_by(&self, network: IpAddr) -> usize {
        self.held.iter().filter(|held| held.network == network).count()
    }

    /// Returns the time for which a network has had permits of late.
    fn past_of(&self, network: IpAddr) -> Duration {
        self.past.iter().filter(|(past, _)| *past == network).map(|(_, time)| *time).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    /// Takes the permit that was granted.
    fn granted(mut waiter: Waiter) -> Option<Permit> {
        let id = waiter.granted.try_recv().ok()?;
        Some(Permit { permits: waiter.permits.clone(), id })
    }

    #[test]
    fn one_address_never_has_all() {
        let permits = Permits::new(4, Duration::from_secs(5));
        let first: Vec<_> = (0..12).map(|_| permits.enqueue(address(1))).collect();
        let held: Vec<_> = first.into_iter().filter_map(granted).collect();
        assert_eq!(held.len(), 3);
        assert!(granted(permits.enqueue(address(2))).is_some());
    }

    #[test]
    fn address_with_fewest_is_next() {
        let permits = Permits::new(2, Duration::from_secs(5));
        let one = granted(permits.enqueue(address(1))).unwrap();
        let two = granted(permits.enqueue(address(2))).unwrap();
        let [again, other] = [2, 3].map(|last| permits.enqueue(address(last)));
        drop(one);
        let other = granted(other).unwrap();
        drop(two);
        assert!(granted(again).is_some());
        drop(other);
    }

    // A new client comes before those that have had permits for long.
    #[test]
    fn past_time_ranks_last() {
        let permits = Permits::new(1, Duration::from_secs(5));
        let slow = granted(permits.enqueue(address(1))).unwrap();
        permits.lock().held[0].since -= Duration::from_secs(9);
        let [again, other] = [1, 2].map(|last| permits.enqueue(address(last)));
        drop(slow);
        let other = granted(other).unwrap();
        drop(other);
        assert!(granted(again).is_some());
    }

    #[test]
    fn newest_scrape_is_next() {
        let permits = Permits::new(1, Duration::from_secs(5));
        let held = granted(permits.enqueue(address(1))).unwrap();
        let [old, new] = [1, 1].map(|last| permits.enqueue(address(last)));
        drop(held);
        let new = granted(new).unwrap();
        drop(new);
        assert!(granted(old).is_some());
    }

    #[test]
    fn abandoned_permits_are_given_back() {
        let permits = Permits::new(1, Duration::from_secs(5));
        let granted_and_left = permits.enqueue(address(1));
        let left = permits.enqueue(address(2));
        let waits = permits.enqueue(address(3));
        drop(left);
        drop(granted_and_left);
        assert!(granted(waits).is_some());
        assert!(permits.lock().held.is_empty() && permits.lock().waiting.is_empty());
    }
}
