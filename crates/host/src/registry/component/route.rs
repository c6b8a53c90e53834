//! The routes of a component's requests: those that its binary declares, and those that its guests
//! have named by the handle API.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmetry_abi::name;

use super::{Component, ComponentState};
use crate::limits;
use crate::order::sorted;
use crate::registry::drop_reason::HostDropReason;

/// The routes of one component.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// `true` if a binary declares one, so that guests without routes cost no lock.
    is_used: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The declared routes, by the hashes of their records.
    declared: HashMap<u64, Arc<str>>,
    /// The routes of the handle API.
    named: HashSet<Arc<str>>,
}

impl Routes {
    /// Returns `true` if a binary of the component declares routes.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Relaxed)
    }

    pub(super) fn declare(&self, routes: &[(u64, Arc<str>)]) {
        if !routes.is_empty() {
            self.known().declared.extend(routes.iter().cloned());
            self.is_used.store(true, Relaxed);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ComponentState {
    /// Returns `true` if a binary of the component declares routes.
    pub(crate) fn has_routes(&self) -> bool {
        self.routes.is_used()
    }

    /// Returns the declared route with this hash. Any other is `other`, and is counted.
    pub(crate) fn declared_route(&self, hash: u64) -> Arc<str> {
        let declared = self.routes.known().declared.get(&hash).cloned();
        declared.unwrap_or_else(|| self.other(HostDropReason::UndeclaredRoute))
    }

    fn other(&self, reason: HostDropReason) -> Arc<str> {
        self.count(reason, 1);
        Arc::from(name::OTHER_ROUTE)
    }
}

impl Component {
    /// Returns `true` if the component's binary declares routes.
    pub fn has_declared_routes(&self) -> bool {
        self.state.has_routes()
    }

    /// Returns the routes that the component's binary declares, sorted.
    pub fn declared_routes(&self) -> Vec<Arc<str>> {
        let routes: Vec<_> = self.state.routes.known().declared.values().cloned().collect();
        let mut routes = sorted(routes, Ord::cmp);
        routes.dedup();
        routes
    }

    /// Returns the route that a guest names by the handle API: one that the binary declares, or one
    /// of the component's first [`limits::NAMED_ROUTES`]. Any other is `other`, and is counted.
    pub fn named_route(&self, route: &str) -> Arc<str> {
        if name::route(route).is_err() {
            return self.state.other(HostDropReason::InvalidRoute);
        }
        let mut known = self.state.routes.known();
        let found = known.named.get(route).or_else(|| known.declared.values().find(|declared| &***declared == route));
        if let Some(found) = found {
            return Arc::clone(found);
        }
        if known.named.len() >= limits::NAMED_ROUTES {
            drop(known);
            return self.state.other(HostDropReason::RouteLimit);
        }
        let route: Arc<str> = route.into();
        known.named.insert(Arc::clone(&route));
        route
    }
}
