//! The counts of drops by their owners, and the kinds that were counted for the first time.
//!
//! In come an owner, a signal and a reason; out come `wasmetry_dropped_total` and one report of
//! each kind. It does not know who reports them, or why something was dropped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::registry::DROPPED;
use crate::registry::instrument::Counter;
use crate::registry::instrument::family::Family;
use crate::{Identity, limits};

/// A kind of drop of a component that was counted for the first time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct NewDrop {
    /// The component.
    pub identity: Identity,
    /// The name of the counter, such as `wasmetry_dropped_total`.
    pub counter: String,
    /// The signal (`metrics`, `records`), or the name of whatever else was refused.
    pub signal: String,
    /// The reason, as the counter has it.
    pub reason: String,
}

impl NewDrop {
    /// Creates the kind that a counter has for a component, with a signal and a reason.
    pub fn new(identity: &Identity, counter: &str, signal: &str, reason: &str) -> Self {
        let [counter, signal, reason] = [counter, signal, reason].map(str::to_owned);
        Self { identity: identity.clone(), counter, signal, reason }
    }
}

/// The drops of a registry. A clone is the same log.
#[derive(Clone, Debug)]
pub(crate) struct DropLog {
    counts: Family<Counter>,
    /// The kinds that are to be reported, at most [`NEW_DROPS`](limits::NEW_DROPS).
    new: Arc<Mutex<BTreeSet<NewDrop>>>,
}

impl DropLog {
    /// Creates a log that counts in `counts`, whose keys are those of an identity, the signal and
    /// the reason.
    pub(crate) fn new(counts: Family<Counter>) -> Self {
        Self { counts, new: Arc::default() }
    }

    /// Returns the counter of an owner's drops. It reports nothing.
    pub(crate) fn counter(&self, identity: &Identity, signal: &str, reason: &str) -> Counter {
        let [component, version, tenant] = identity.values();
        self.counts.with(&[component, version, tenant, signal, reason])
    }

    /// Returns the counter of drops that have no owner.
    pub(crate) fn ownerless(&self, signal: &str, reason: &str) -> Counter {
        self.counts.with(&["", "", "", signal, reason])
    }

    /// Counts drops of an owner. Returns `true` if they are the first ones of their kind.
    pub(crate) fn count(&self, identity: &Identity, signal: &str, reason: &str, count: u64) -> bool {
        let counter = self.counter(identity, signal, reason);
        self.count_in(&counter, count, || NewDrop::new(identity, DROPPED, signal, reason))
    }

    /// Counts drops in a counter. `kind` returns what is reported if they are its first ones; then
    /// the result is `true`.
    pub(crate) fn count_in(&self, counter: &Counter, count: u64, kind: impl FnOnce() -> NewDrop) -> bool {
        let is_first = counter.add_first(count);
        if is_first {
            let mut new = self.lock();
            if new.len() < limits::NEW_DROPS {
                new.insert(kind());
            }
        }
        is_first
    }

    /// Passes each new kind to `report`, until that returns `false`.
    pub(crate) fn report(&self, mut report: impl FnMut(&NewDrop) -> bool) {
        // Whoever reports may count drops.
        let mut left = std::mem::take(&mut *self.lock());
        while let Some(kind) = left.pop_first() {
            if !report(&kind) {
                left.insert(kind);
                break;
            }
        }
        self.lock().append(&mut left);
    }

    /// Forgets the kinds of a component that is removed.
    pub(crate) fn forget(&self, identity: &Identity) {
        self.lock().retain(|kind| kind.identity != *identity);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<NewDrop>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
