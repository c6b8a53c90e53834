//! The identities and routes of records, by number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use wasmetry_host::Identity;

use crate::limits;

/// The name of what finds no room.
const OTHER: &str = "other";

/// The identities and routes of records, by number, in bounded memory.
#[derive(Debug)]
pub(crate) struct Names {
    limit: usize,
    identities: Table<Arc<Identity>>,
    routes: Table<Arc<str>>,
    bytes: usize,
    is_full: bool,
    /// Identities and routes of records that found no room: a request may count as two.
    others: u64,
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

    /// Removes the values without a user. Returns the bytes that they had.
    fn sweep(&mut self, used: &[bool], size: impl Fn(&T) -> usize) -> usize {
        let mut bytes = 0;
        for (number, value) in self.values.iter_mut().enumerate() {
            if used.get(number) == Some(&true) {
                continue;
            }
            if let Some(value) = value.take() {
                bytes += size(&value);
                self.numbers.remove(&value);
                self.free.push(number as u32);
            }
        }
        bytes
    }
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
        let (identities, routes) = (Table::new(), Table::new());
        Self { limit, identities, routes, bytes: 0, is_full: false, others: 0 }
    }

    /// Returns the number of an identity. Those that find no room share one.
    pub(crate) fn identity(&mut self, identity: &Arc<Identity>) -> u32 {
        if let Some(known) = self.identities.numbers.get(identity) {
            return *known;
        }
        let mut identity = Arc::clone(identity);
        if !self.has_room(self.identities.numbers.len() + 1 < limits::IDENTITIES, identity_size(&identity)) {
            identity = Arc::new(Identity::new(OTHER));
            if let Some(known) = self.identities.numbers.get(&identity) {
                return *known;
            }
        }
        self.bytes += identity_size(&identity);
        self.identities.add(identity)
    }

    /// Returns the number of a route. Those that find no room share one.
    pub(crate) fn route(&mut self, route: &str) -> u32 {
        let mut route = &route[..route.floor_char_boundary(limits::ROUTE_BYTES)];
        if let Some(known) = self.routes.numbers.get(route) {
            return *known;
        }
        if !self.has_room(self.routes.numbers.len() + 1 < limits::ROUTES, route_size(route)) {
            route = OTHER;
            if let Some(known) = self.routes.numbers.get(route) {
                return *known;
            }
        }
        self.bytes += route_size(route);
        self.routes.add(route.into())
    }

    /// Returns `true` if a name of `size` bytes may be added; if not, counts it.
    fn has_room(&mut self, has_number: bool, size: usize) -> bool {
        // Both shared names always fit.
        let has_room = has_number && self.bytes + size + 2 * route_size(OTHER) <= self.limit;
        if !has_room {
            (self.is_full, self.others) = (true, self.others + 1);
        }
        has_room
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

    /// Forgets the names that are not in use.
    pub(crate) fn sweep(&mut self, used: &Used) {
        self.bytes -= self.identities.sweep(&used.identities, |identity| identity_size(identity));
        self.bytes -= self.routes.sweep(&used.routes, |route| route_size(route));
        self.is_full = false;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
