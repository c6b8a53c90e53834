//! The places of requests in progress among the connections of clients.
//!
//! A connection whose request waits for an instance, or runs, is closed for no other client. So a
//! tenant whose requests are slow could have all connections, and another tenant's clients would
//! find none. Each such request has a place, and a tenant has a fair share of the places.
//!
//! A place is a connection: the service speaks HTTP/1.1, in which a connection has one request at a
//! time. With HTTP/2, whose connections have many at a time, each of these would take a place, too:
//! a tenant's connections would be no more than its places, and the rule stricter than needed.

use std::sync::{Mutex, PoisonError};

use crate::guest::share::{Bounds, Owner, SharedPool, Slot};

/// The places of all requests in progress.
#[derive(Debug)]
pub(in crate::serve) struct RequestPlaces {
    rule: Mutex<Rule>,
    pool: SharedPool,
}

/// The rule by which places are granted.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// The connections that clients may have.
    connections: usize,
    /// The tenants that are served, and the components without one.
    owners: usize,
    /// The most of one of them; `None` for its fair share.
    per_owner: Option<usize>,
}

impl Rule {
    /// Returns the bounds of the pool. One owner alone keeps no other out, and has all.
    fn bounds(&self) -> Bounds {
        let Self { connections, owners, per_owner } = *self;
        Bounds { limit: connections, has_shares: per_owner.is_none() && owners > 1, per_owner }
    }
}

impl RequestPlaces {
    /// Makes the places of a service whose clients may have so many connections, for this number of
    /// owners. Each has `per_owner` at most, or its fair share.
    pub(super) fn new(connections: usize, owners: usize, per_owner: Option<usize>) -> Self {
        let rule = Rule { connections, owners, per_owner };
        Self { rule: Mutex::new(rule), pool: SharedPool::new(rule.bounds()) }
    }

    /// Replaces the number of owners, for requests from now on.
    pub(super) fn set_owners(&self, owners: usize) {
        self.update(|rule| rule.owners = owners);
    }

    /// Replaces the most of one owner, for requests from now on.
    pub(super) fn set_per_owner(&self, per_owner: Option<usize>) {
        self.update(|rule| rule.per_owner = per_owner);
    }

    /// Takes a place, to be dropped at the end of the response's body. Returns `None` if the owner
    /// has its share.
    pub(super) fn take(&self, owner: &Owner) -> Option<Slot> {
        self.pool.try_take(owner).ok()
    }

    fn update(&self, change: impl FnOnce(&mut Rule)) {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rule);
        self.pool.set_bounds(rule.bounds());
    }
}

#[cfg(test)]
mod tests {
    use wasmetry_host::Identity;

    use super::*;

    /// The connections of clients at 1,024 open files.
    const CONNECTIONS: usize = 640;

    fn tenant(component: &str, name: &str) -> Owner {
        Owner::of(&Identity::new(component).with_tenant(name))
    }

    /// Takes as many places as an owner gets.
    fn take_all(places: &RequestPlaces, owner: &Owner) -> Vec<Slot> {
        std::iter::from_fn(|| places.take(owner)).collect()
    }

    /// A tenant leaves half to others, with all of its components. Each next one finds some.
    #[test]
    fn busy_tenants_leave_places() {
        let places = RequestPlaces::new(CONNECTIONS, 4, None);
        let mut busy = take_all(&places, &tenant("first", "mallory"));
        assert_eq!(busy.len(), CONNECTIONS / 2);
        assert!(places.take(&tenant("second", "mallory")).is_none());
        let others = ["trudy", "eve", "bank"].map(|name| take_all(&places, &tenant("shop", name)));
        assert_eq!(others.each_ref().map(Vec::len), [122, 59, 34]);
        busy.pop();
        assert!(places.take(&tenant("first", "mallory")).is_none(), "the others have come");
        drop(others);
        assert!(places.take(&tenant("second", "mallory")).is_some());
    }

    /// One owner has all connections, until another one is served.
    #[test]
    fn lone_owner_has_all_places() {
        let places = RequestPlaces::new(CONNECTIONS, 1, None);
        let plain = Owner::of(&Identity::new("shop"));
        let mut busy = take_all(&places, &plain);
        assert_eq!(busy.len(), CONNECTIONS);
        busy.truncate(CONNECTIONS - 1);
        places.set_owners(2);
        assert!(places.take(&plain).is_none());
        let other = places.take(&Owner::of(&Identity::new("cart")));
        assert!(other.is_some());
        drop(other);
        places.set_owners(1);
        assert!(places.take(&plain).is_some());
    }

    /// A number that is set holds instead of the share, for one owner too.
    #[test]
    fn set_number_replaces_share() {
        let places = RequestPlaces::new(CONNECTIONS, 2, Some(600));
        let mallory = tenant("first", "mallory");
        let busy = take_all(&places, &mallory);
        assert_eq!(busy.len(), 600);
        places.set_owners(1);
        assert!(places.take(&mallory).is_none());
        places.set_per_owner(None);
        assert!(places.take(&mallory).is_some());
    }
}
