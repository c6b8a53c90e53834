//! The identities and routes of records, by number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::limits::is_fair_share;

use crate::limits;
use crate::owner::Owners;

/// The name of what finds no room.
const OTHER: &str = "other";

/// The identities and routes of records, by number, in bounded memory. An owner that names many
/// routes leaves room for those of others.
#[derive(Debug)]
pub(crate) struct Names {
    /// The most bytes of identities, and of routes.
    limits: [usize; 2],
    identities: Table<Arc<Identity>>,
    /// The identities of the latest records: those of one component are the same allocation.
    recent: [Option<(Arc<Identity>, Origin)>; limits::RECENT_IDENTITIES],
    owners: Owners,
    /// The owner of each identity.
    owner_of: Vec<u32>,
    routes: Table<Arc<str>>,
    /// The owner who named each route first.
    namer_of: Vec<u32>,
    /// The routes that each owner has named.
    named: Vec<Named>,
    /// The bytes of identities, and of routes.
    bytes: [usize; 2],
    is_full: bool,
    /// Identities and routes of records that found no room: a request may count as two.
    others: u64,
}

/// The component that a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The number of its identity.
    pub(crate) identity: u32,
    /// The number of its owner: its tenant, or itself without one.
    pub(crate) owner: u32,
}

/// The routes that an owner has named, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    routes: usize,
    bytes: usize,
}

/// Values by number.
#[derive(Debug)]
struct Table<T> {
    values: Vec<Option<T>>,
    numbers: HashMap<T, u32>,
    free: Vec<u32>,
}

/// The numbers that records have.
#[derive(Debug)]
pub(crate) struct Used {
    identities: Vec<bool>,
    routes: Vec<bool>,
}

impl<T: Clone + Eq + Hash> Table<T> {
    fn new() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new(), free: Vec::new() }
    }

    fn add(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.values.len() as u32 - 1
        });
        self.values[number as usize] = Some(value.clone());
        self.numbers.insert(value, number);
        number
    }

    /// Removes the values without a user, and passes the number and the size of each to `removed`.
    fn sweep(&mut self, used: &[bool], size: impl Fn(&T) -> usize, mut removed: impl FnMut(usize, usize)) {
        for (number, value) in self.values.iter_mut().enumerate() {
            if used.get(number) == Some(&true) {
                continue;
            }
            if let Some(value) = value.take() {
                removed(number, size(&value));
                self.numbers.remove(&value);
                self.free.push(number as u32);
            }
        }
    }
}

/// Sets the value at a number.
fn set<T: Clone + Default>(values: &mut Vec<T>, number: u32, value: T) {
    let at = number as usize;
    if values.len() <= at {
        values.resize(at + 1, T::default());
    }
    values[at] = value;
}

fn identity_size(identity: &Identity) -> usize {
    identity.values().iter().map(|text| text.len()).sum::<usize>() + limits::NAME_OVERHEAD
}

fn route_size(route: &str) -> usize {
    route.len() + limits::NAME_OVERHEAD
}

impl Names {
    /// Creates an empty one for at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let of_identities = limit / limits::IDENTITIES_DIVISOR;
        Self {
            limits: [of_identities, limit - of_identities],
            identities: Table::new(),
            recent: Default::default(),
            owners: Owners::default(),
            owner_of: Vec::new(),
            routes: Table::new(),
            namer_of: Vec::new(),
            named: Vec::new(),
            bytes: [0; 2],
            is_full: false,
            others: 0,
        }
    }

    /// Returns the number of an identity, and its owner. Those that find no room share one.
    #[inline]
    pub(crate) fn origin(&mut self, identity: &Arc<Identity>) -> Origin {
        // The lowest bits of an address are the same for all.
        let at = (Arc::as_ptr(identity).addr() >> 4) % limits::RECENT_IDENTITIES;
        match &self.recent[at] {
            Some((known, origin)) if Arc::ptr_eq(known, identity) => *origin,
            _ => {
                let origin = self.find_origin(identity);
                self.recent[at] = Some((Arc::clone(identity), origin));
                origin
            }
        }
    }

    fn find_origin(&mut self, identity: &Arc<Identity>) -> Origin {
        let known = |names: &Self, identity: &Identity| {
            let number = *names.identities.numbers.get(identity)?;
            Some(Origin { identity: number, owner: names.owner_of[number as usize] })
        };
        if let Some(known) = known(self, identity) {
            return known;
        }
        let mut identity = Arc::clone(identity);
        // The shared name always fits.
        let bytes = self.bytes[0] + self.owners.bytes() + identity_size(&identity) + limits::OWNER_OVERHEAD;
        let has_room = bytes + route_size(OTHER) <= self.limits[0];
        if !has_room || self.identities.numbers.len() + 1 >= limits::IDENTITIES {
            (self.is_full, self.others) = (true, self.others + 1);
            identity = Arc::new(Identity::new(OTHER));
            if let Some(known) = known(self, &identity) {
                return known;
            }
        }
        self.bytes[0] += identity_size(&identity);
        let owner = self.owners.number(identity.component(), identity.tenant());
        let number = self.identities.add(identity);
        set(&mut self.owner_of, number, owner);
        Origin { identity: number, owner }
    }

    /// Returns the number of a route of an owner. Those that find no room share one.
    pub(crate) fn route(&mut self, route: &str, owner: u32) -> u32 {
        let mut route = &route[..route.floor_char_boundary(limits::ROUTE_BYTES)];
        if let Some(known) = self.routes.numbers.get(route) {
            return *known;
        }
        let is_named = self.may_name(owner, route_size(route));
        if !is_named {
            (self.is_full, self.others) = (true, self.others + 1);
            route = OTHER;
            if let Some(known) = self.routes.numbers.get(route) {
                return *known;
            }
        }
        self.bytes[1] += route_size(route);
        let number = self.routes.add(route.into());
        let mut named = self.named.get(owner as usize).copied().unwrap_or_default();
        if is_named {
            named = Named { routes: named.routes + 1, bytes: named.bytes + route_size(route) };
        }
        set(&mut self.named, owner, named);
        set(&mut self.namer_of, number, if is_named { owner } else { u32::MAX });
        number
    }

    /// Returns `true` if an owner gets room for one more route: of the number of all and of their
    /// bytes, it has at most a fair share then.
    fn may_name(&self, owner: u32, size: usize) -> bool {
        let named = self.named.get(owner as usize).copied().unwrap_or_default();
        let is_fair = |has: usize, used: usize, limit: usize| {
            let free = limit.checked_sub(used);
            free.is_some_and(|free| is_fair_share(has as u64, free as u64, limit as u64))
        };
        // The shared name always fits.
        is_fair(named.routes + 1, self.routes.numbers.len() + 2, limits::ROUTES)
            && is_fair(named.bytes + size, self.bytes[1] + size + route_size(OTHER), self.limits[1])
    }

    /// Returns an identity by its number.
    pub(crate) fn identity_of(&self, number: u32) -> &Identity {
        static NONE: std::sync::LazyLock<Identity> = std::sync::LazyLock::new(|| Identity::new(OTHER));
        self.identities.values.get(number as usize).and_then(Option::as_deref).unwrap_or(&NONE)
    }

    /// Returns a route by its number.
    pub(crate) fn route_of(&self, number: u32) -> &str {
        self.routes.values.get(number as usize).and_then(Option::as_deref).unwrap_or("")
    }

    /// Returns `true` if a name has found no room since the last sweep.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The identities and routes of records that found no room.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }

    /// Returns the numbers of a sweep, of which none is in use yet.
    pub(crate) fn none_used(&self) -> Used {
        Used { identities: vec![false; self.identities.values.len()], routes: vec![false; self.routes.values.len()] }
    }

    /// Forgets the names that are not in use, and the owners without any.
    pub(crate) fn sweep(&mut self, used: &Used) {
        self.recent = Default::default();
        let Self { bytes: [of_identities, of_routes], named, namer_of, owner_of, .. } = self;
        let forgotten = |_, size: usize| *of_identities -= size;
        self.identities.sweep(&used.identities, |identity| identity_size(identity), forgotten);
        let forgotten = |number: usize, size: usize| {
            *of_routes -= size;
            if let Some(named) = named.get_mut(namer_of[number] as usize) {
                *named = Named { routes: named.routes - 1, bytes: named.bytes - size };
            }
        };
        self.routes.sweep(&used.routes, |route| route_size(route), forgotten);
        let mut has_names: Vec<bool> = named.iter().map(|named| named.routes > 0).collect();
        for (owner, identity) in owner_of.iter().zip(&self.identities.values) {
            if identity.is_some() {
                set(&mut has_names, *owner, true);
            }
        }
        self.owners.retain(|owner| has_names.get(owner as usize) == Some(&true));
        self.is_full = false;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes[0] + self.bytes[1] + self.owners.bytes()
    }
}

impl Used {
    pub(crate) fn identity(&mut self, number: u32) {
        self.identities.get_mut(number as usize).into_iter().for_each(|is_used| *is_used = true);
    }

    pub(crate) fn route(&mut self, number: u32) {
        self.routes.get_mut(number as usize).into_iter().for_each(|is_used| *is_used = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(component: &str, tenant: &str) -> Arc<Identity> {
        Arc::new(Identity::new(component).with_tenant(tenant))
    }

    /// A tenant that names routes without end leaves room for the routes and the identities of
    /// others, and gets its share again when its routes have gone.
    #[test]
    fn flood_of_routes_leaves_room() {
        let mut names = Names::new(1 << 20);
        let evil = names.origin(&identity("evil", "evil"));
        let flood = |names: &mut Names, round: u32| {
            (0..10_000).map(|at| names.route(&format!("/{round}/{at}"), evil.owner)).collect::<Vec<_>>()
        };
        let routes = flood(&mut names, 0);
        assert_eq!(names.route_of(routes[9_999]), OTHER);
        let named = routes.iter().filter(|route| names.route_of(**route) != OTHER).count();
        assert!((500..=limits::ROUTES / 2).contains(&named), "{named}");
        assert_eq!((names.others(), names.is_full()), ((10_000 - named) as u64, true));
        let bank = names.origin(&identity("bank", "bank"));
        assert_ne!(bank.owner, evil.owner);
        for at in 0..100 {
            let route = names.route(&format!("/accounts/{at}"), bank.owner);
            assert_eq!(names.route_of(route), format!("/accounts/{at}"));
        }
        assert!(names.bytes() <= 1 << 20);
        // No record has the routes any more.
        let mut used = names.none_used();
        used.identity(evil.identity);
        used.identity(bank.identity);
        names.sweep(&used);
        let routes = flood(&mut names, 1);
        assert_eq!(routes.iter().filter(|route| names.route_of(**route) != OTHER).count(), named);
    }

    /// An identity that is the same as another one has its number, and so has its owner.
    #[test]
    fn equal_identities_are_one() {
        let mut names = Names::new(1 << 20);
        let first = names.origin(&identity("cart", "acme"));
        for _ in 0..2 * limits::RECENT_IDENTITIES {
            assert_eq!(names.origin(&identity("cart", "acme")), first);
        }
        let other = names.origin(&identity("pay", "acme"));
        assert_eq!(other.owner, first.owner);
        assert_ne!(other.identity, first.identity);
        assert_ne!(names.origin(&identity("pay", "")).owner, first.owner);
    }
}
