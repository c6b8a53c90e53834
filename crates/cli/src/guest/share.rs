//! Things of which the process has a number, and each tenant a fair share or its turn: connections
//! of guests and of clients, lookups of names, threads that read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmetry_host::{Identity, limits};

/// The tenant of a component; without one, a component is an owner of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    name: Arc<str>,
    is_tenant: bool,
}

impl Owner {
    /// Returns the owner of what a component has.
    pub(crate) fn of(identity: &Identity) -> Self {
        let is_tenant = !identity.tenant().is_empty();
        let name = if is_tenant { identity.tenant() } else { identity.component() };
        Self { name: name.into(), is_tenant }
    }
}

/// The reason why an owner gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All are taken.
    Empty,
    /// The owner has its share.
    Share,
}

/// A number of equal things. A clone has the same ones.
#[derive(Clone, Debug)]
pub(crate) struct SharedPool(Arc<Mutex<State>>);

/// The bounds of what a pool grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The number of things.
    pub(crate) limit: usize,
    /// `true` if an owner gets no more than its [fair share](wasmetry_host::limits::is_fair_share),
    /// however few the others have.
    pub(crate) has_shares: bool,
    /// The most of one owner.
    pub(crate) per_owner: Option<usize>,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    taken: u64,
    /// The number of grants so far.
    grants: u64,
    /// Those that wait, of all owners. As long as there is none, giving one back costs the same for
    /// any number of owners.
    waiting: usize,
    /// The owners that have or want some.
    owners: HashMap<Owner, Held>,
}

/// The things that one owner has, and those that it waits for.
#[derive(Debug, Default)]
struct Held {
    taken: u64,
    /// The number of the latest grant.
    latest: u64,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

impl SharedPool {
    /// Makes a pool of which each owner has at most its
    /// [fair share](wasmetry_host::limits::is_fair_share), for what it may keep for long.
    #[cfg(test)]
    pub(crate) fn with_shares(limit: usize) -> Self {
        Self::new(Bounds { limit, has_shares: true, per_owner: None })
    }

    /// Makes a pool that one owner may have as a whole, until another one waits: for what it gives
    /// back soon. The next grant is for the one that has fewest and has waited longest.
    pub(crate) fn in_turns(limit: usize) -> Self {
        Self::new(Bounds { limit, has_shares: false, per_owner: None })
    }

    /// Makes a pool with these bounds.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State { bounds, taken: 0, grants: 0, waiting: 0, owners: HashMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Replaces the bounds. What is beyond them is not taken back.
    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        let granted = {
            let mut state = self.state();
            state.bounds = bounds;
            self.grant_waiting(&mut state)
        };
        send(granted);
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// Returns the reason if there is none for this owner.
    pub(crate) fn try_take(&self, owner: &Owner) -> Result<Slot, Refusal> {
        let mut state = self.state();
        state.check(state.owners.get(owner).map_or(0, |held| held.taken))?;
        state.grant(owner);
        Ok(Slot { pool: self.clone(), owner: owner.clone() })
    }

    /// Waits for one. Those that wait for one owner get theirs in their order.
    pub(crate) async fn take(&self, owner: &Owner) -> Slot {
        loop {
            let receiver = {
                let mut state = self.state();
                let held = state.owners.entry(owner.clone()).or_default();
                let before = held.waiting.len();
                held.waiting.retain(|waiting| !waiting.is_closed());
                let (waiting, taken) = (held.waiting.len(), held.taken);
                state.waiting -= before - waiting;
                if waiting == 0 && state.check(taken).is_ok() {
                    state.grant(owner);
                    return Slot { pool: self.clone(), owner: owner.clone() };
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting += 1;
                state.owners.entry(owner.clone()).or_default().waiting.push_back(sender);
                receiver
            };
            // The sender is not dropped before it has sent.
            if let Ok(slot) = receiver.await {
                return slot;
            }
        }
    }

    /// The number of those that are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        {
            let state = self.state();
            state.bounds.limit - state.taken as usize
        }
    }

    fn give_back(&self, owner: &Owner) {
        let granted = {
            let mut state = self.state();
            state.taken -= 1;
            if let Some(held) = state.owners.get_mut(owner) {
                held.taken -= 1;
                if held.taken == 0 && held.waiting.is_empty() {
                    state.owners.remove(owner);
                }
            }
            if state.waiting == 0 {
                return;
            }
            self.grant_waiting(&mut state)
        };
        send(granted);
    }

    /// Grants what is free to those that wait.
    fn grant_waiting(&self, state: &mut State) -> Vec<(oneshot::Sender<Slot>, Slot)> {
        let mut granted = Vec::new();
        while let Some((next, waiting)) = state.next() {
            state.grant(&next);
            granted.push((waiting, Slot { pool: self.clone(), owner: next }));
        }
        state.owners.retain(|_, held| held.taken > 0 || !held.waiting.is_empty());
        granted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what was granted, without the lock: one whose receiver has gone is given back at once.
fn send(granted: Vec<(oneshot::Sender<Slot>, Slot)>) {
    for (waiting, slot) in granted {
        drop(waiting.send(slot));
    }
}

impl State {
    /// Checks whether an owner that has so many gets another one.
    fn check(&self, taken: u64) -> Result<(), Refusal> {
        let Bounds { limit, has_shares, per_owner } = self.bounds;
        let free = (limit as u64).checked_sub(self.taken + 1).ok_or(Refusal::Empty)?;
        // The first is not refused while there are any: of few, a share is less than one.
        let is_fair = !has_shares || taken == 0 || limits::is_fair_share(taken + 1, free, limit as u64);
        let is_allowed = per_owner.is_none_or(|most| taken < most as u64);
        if is_fair && is_allowed { Ok(()) } else { Err(Refusal::Share) }
    }

    /// Removes the next one that waits and may have one: of the owner that has fewest, and of those
    /// that have as few, the one whose latest grant is longest ago.
    fn next(&mut self) -> Option<(Owner, oneshot::Sender<Slot>)> {
        for held in self.owners.values_mut() {
            while held.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                held.waiting.pop_front();
                self.waiting -= 1;
            }
        }
        let wanting = self.owners.iter().filter(|(_, held)| !held.waiting.is_empty());
        let (owner, held) = wanting.min_by_key(|(_, held)| (held.taken, held.latest))?;
        // Who has more gets none either.
        self.check(held.taken).ok()?;
        let owner = owner.clone();
        let waiting = self.owners.get_mut(&owner)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some((owner, waiting))
    }

    fn grant(&mut self, owner: &Owner) {
        self.taken += 1;
        self.grants += 1;
        let held = self.owners.entry(owner.clone()).or_default();
        held.taken += 1;
        held.latest = self.grants;
    }
}

/// One of a pool. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: SharedPool,
    owner: Owner,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.give_back(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    fn owner(tenant: &str) -> Owner {
        Owner::of(&Identity::new("component").with_tenant(tenant))
    }

    /// Takes as many as an owner gets.
    fn take_all(pool: &SharedPool, owner: &Owner) -> Vec<Slot> {
        std::iter::from_fn(|| pool.try_take(owner).ok()).collect()
    }

    /// Starts to wait for one.
    async fn start(pool: &SharedPool, owner: &Owner) -> JoinHandle<Slot> {
        let (pool, owner) = (pool.clone(), owner.clone());
        let task = tokio::spawn(async move { pool.take(&owner).await });
        tokio::task::yield_now().await;
        task
    }

    #[test]
    fn components_without_tenant_are_owners() {
        let plain = |name: &str| Owner::of(&Identity::new(name));
        assert_ne!(plain("a"), plain("b"));
        assert_ne!(plain("acme"), owner("acme"), "a tenant's name is not a component's");
        assert_eq!(Owner::of(&Identity::new("other").with_tenant("acme")), owner("acme"));
    }

    #[test]
    fn owners_in_sequence_leave_some() {
        const LIMIT: usize = 1000;
        let pool = SharedPool::with_shares(LIMIT);
        let first = take_all(&pool, &owner("0"));
        assert_eq!(first.len(), LIMIT / 2);
        assert_eq!(pool.try_take(&owner("0")).unwrap_err(), Refusal::Share);
        let mut hogs = vec![first];
        for number in 1..20 {
            hogs.push(take_all(&pool, &owner(&number.to_string())));
        }
        assert!(pool.free() > LIMIT / 41, "{}", pool.free());
        assert!(!take_all(&pool, &owner("honest")).is_empty());
        drop(hogs);
        assert_eq!(pool.free(), LIMIT);
        assert!(pool.state().owners.is_empty(), "no owner has any");
    }

    /// Of four, the first owner has two, and the next ones have one each.
    #[test]
    fn few_are_taken_to_the_last() {
        let pool = SharedPool::with_shares(4);
        let taken: Vec<_> = ["a", "b", "c", "d"].map(|name| take_all(&pool, &owner(name))).into();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 0]);
        assert_eq!(pool.try_take(&owner("d")).unwrap_err(), Refusal::Empty);
    }

    /// One that waits for its own share keeps no other waiting.
    #[tokio::test]
    async fn owner_above_share_waits_alone() {
        let pool = SharedPool::with_shares(100);
        let mut hog = take_all(&pool, &owner("evil"));
        let waiting = start(&pool, &owner("evil")).await;
        let honest = pool.take(&owner("bank")).await;
        assert!(!waiting.is_finished());
        drop(honest);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the share is as it was");
        hog.pop();
        drop(waiting.await.unwrap());
        drop(hog);
        assert_eq!(pool.free(), 100);
    }

    /// One that waits for its bound is served when the bound is raised.
    #[tokio::test]
    async fn raised_bounds_serve_those_that_wait() {
        let bounds = |limit, per_owner| Bounds { limit, has_shares: false, per_owner: Some(per_owner) };
        let pool = SharedPool::new(bounds(3, 1));
        let (evil, bank) = (owner("evil"), owner("bank"));
        let first = pool.try_take(&evil).unwrap();
        assert_eq!(pool.try_take(&evil).unwrap_err(), Refusal::Share);
        let waiting = start(&pool, &evil).await;
        let other = pool.try_take(&bank).unwrap();
        pool.set_bounds(bounds(3, 2));
        let second = waiting.await.unwrap();
        assert_eq!(pool.try_take(&bank).unwrap_err(), Refusal::Empty);
        pool.set_bounds(bounds(1, 1));
        drop((first, second));
        assert_eq!(pool.try_take(&evil).unwrap_err(), Refusal::Empty, "the bank has the only one");
        drop(other);
        assert!(pool.try_take(&evil).is_ok());
    }

    /// The second owner's only request is next, though many of the first came before it.
    #[tokio::test]
    async fn turns_alternate() {
        let pool = SharedPool::in_turns(1);
        let (evil, bank) = (owner("evil"), owner("bank"));
        let running = pool.try_take(&evil).unwrap();
        let mut line = Vec::new();
        for _ in 0..10 {
            line.push(start(&pool, &evil).await);
        }
        let honest = start(&pool, &bank).await;
        drop(running);
        let slot = honest.await.unwrap();
        assert!(line.iter().all(|task| !task.is_finished()));
        drop(slot);
        for task in line {
            drop(task.await.unwrap());
        }
        assert_eq!(pool.free(), 1);
    }

    #[tokio::test]
    async fn one_that_leaves_keeps_nothing() {
        let pool = SharedPool::in_turns(1);
        let running = pool.try_take(&owner("a")).unwrap();
        let leaving = start(&pool, &owner("b")).await;
        let next = start(&pool, &owner("b")).await;
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        drop(running);
        drop(next.await.unwrap());
        assert_eq!(pool.free(), 1);
        let state = pool.state();
        assert!(state.owners.is_empty() && state.waiting == 0);
    }
}
