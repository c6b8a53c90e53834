//! The connections that guests may have open: of one store, of one tenant, of all together; and the
//! names that are looked up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::policy::Denial;
use crate::guest::limits;
use crate::guest::share::{Bounds, Owner, Refusal, SharedPool, Slot};

/// The limits of guests' requests to other services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingLimits {
    /// Connections of one store.
    pub(crate) per_store: usize,
    /// Connections of one tenant; `None` for its fair share.
    pub(crate) per_tenant: Option<usize>,
    /// Connections of all guests; `None` for as many as the open files leave them.
    pub(crate) all: Option<usize>,
    /// Names that are looked up at a time, of which each tenant gets its fair share.
    pub(crate) lookups: usize,
    /// Those of one tenant, at most.
    pub(crate) lookups_per_tenant: usize,
}

impl Default for OutgoingLimits {
    fn default() -> Self {
        Self {
            per_store: limits::OUTGOING_PER_STORE,
            per_tenant: None,
            all: None,
            lookups: limits::LOOKUPS,
            lookups_per_tenant: limits::LOOKUPS_PER_TENANT,
        }
    }
}

impl OutgoingLimits {
    /// Returns the bounds of all connections, for which there are `most` open files.
    fn connections(&self, most: usize) -> Bounds {
        let limit = self.all.unwrap_or(usize::MAX).min(most);
        Bounds { limit, has_shares: self.per_tenant.is_none(), per_owner: self.per_tenant }
    }

    fn lookups(&self) -> Bounds {
        Bounds { limit: self.lookups, has_shares: true, per_owner: Some(self.lookups_per_tenant) }
    }
}

/// The connections of all guests of the process. A clone is of the same.
#[derive(Clone, Debug)]
pub(crate) struct ProcessConnections(Arc<Process>);

#[derive(Debug)]
struct Process {
    /// The connections for which there are open files.
    most: usize,
    limits: RwLock<OutgoingLimits>,
    connections: SharedPool,
    lookups: SharedPool,
}

impl ProcessConnections {
    /// Makes the budget of a process that has open files for `connections` of its guests.
    pub(crate) fn new(connections: usize, limits: OutgoingLimits) -> Self {
        Self(Arc::new(Process {
            most: connections,
            limits: RwLock::new(limits),
            connections: SharedPool::new(limits.connections(connections)),
            lookups: SharedPool::new(limits.lookups()),
        }))
    }

    /// Replaces the limits. What is beyond them is not ended.
    pub(crate) fn set_limits(&self, limits: OutgoingLimits) {
        *self.0.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.0.connections.set_bounds(limits.connections(self.0.most));
        self.0.lookups.set_bounds(limits.lookups());
    }

    fn per_store(&self) -> usize {
        self.0.limits.read().unwrap_or_else(PoisonError::into_inner).per_store
    }

    /// Returns the budget of a tenant.
    pub(crate) fn tenant(&self, owner: Owner) -> TenantConnections {
        TenantConnections { process: self.clone(), owner }
    }
}

/// The connections of the guests of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct TenantConnections {
    process: ProcessConnections,
    owner: Owner,
}

impl TenantConnections {
    /// Returns the budget of one store.
    pub(super) fn store(&self) -> StoreConnections {
        StoreConnections { tenant: self.clone(), used: Arc::default() }
    }
}

/// The names that the guests of one tenant look up.
#[derive(Clone, Debug)]
pub(super) struct Lookups {
    pool: SharedPool,
    owner: Owner,
}

impl Lookups {
    /// Waits for the right to one lookup, which dropping it gives back. Those that wait for their
    /// tenant's keep no other tenant waiting.
    pub(super) async fn take(&self) -> Slot {
        self.pool.take(&self.owner).await
    }
}

/// The connections of the guest in one store.
#[derive(Clone, Debug)]
pub(super) struct StoreConnections {
    tenant: TenantConnections,
    used: Arc<AtomicUsize>,
}

impl StoreConnections {
    /// Takes the right to one connection, which includes the resolution of its name.
    ///
    /// # Errors
    ///
    /// The budget that is used up. A guest is not made to wait, because what it waits for may be
    /// its own.
    pub(super) fn take(&self) -> Result<ConnectionSlot, Denial> {
        let TenantConnections { process, owner } = &self.tenant;
        let limit = process.per_store();
        let next = |used| (used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| Denial::Store)?;
        let store = StoreSlot(Arc::clone(&self.used));
        let slot = process.0.connections.try_take(owner).map_err(|refusal| match refusal {
            Refusal::Share => Denial::Tenant,
            Refusal::Empty => Denial::Process,
        })?;
        let lookups = Lookups { pool: process.0.lookups.clone(), owner: owner.clone() };
        Ok(ConnectionSlot { lookups, _store: store, _slot: slot })
    }
}

/// A connection of a store. Dropping it gives it back.
#[derive(Debug)]
struct StoreSlot(Arc<AtomicUsize>);

impl Drop for StoreSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to one connection. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    lookups: Lookups,
    _store: StoreSlot,
    _slot: Slot,
}

impl ConnectionSlot {
    /// The names that the guests of its tenant look up.
    pub(super) fn lookups(&self) -> Lookups {
        self.lookups.clone()
    }
}

#[cfg(test)]
mod tests {
    use wasmetry_host::Identity;

    use super::*;

    fn process(connections: usize) -> ProcessConnections {
        ProcessConnections::new(connections, OutgoingLimits::default())
    }

    fn tenant(process: &ProcessConnections, name: &str) -> TenantConnections {
        process.tenant(Owner::of(&Identity::new("component").with_tenant(name)))
    }

    fn lookups(process: &ProcessConnections, name: &str) -> Lookups {
        tenant(process, name).store().take().unwrap().lookups()
    }

    #[test]
    fn store_is_bounded() {
        let process = process(1000);
        let store = tenant(&process, "a").store();
        let slots: Vec<_> = (0..limits::OUTGOING_PER_STORE).map(|_| store.take().unwrap()).collect();
        assert_eq!(store.take().unwrap_err(), Denial::Store);
        process.set_limits(OutgoingLimits { per_store: limits::OUTGOING_PER_STORE + 1, ..Default::default() });
        drop(store.take().unwrap());
        drop(slots);
        assert!(store.take().is_ok());
    }

    // The components of a tenant share its lookups, also after a reload.
    #[tokio::test]
    async fn lookups_of_tenant_are_bounded() {
        let process = process(1000);
        let [first, second, other] = ["evil", "evil", "bank"].map(|name| lookups(&process, name));
        let mut taken = Vec::new();
        for _ in 0..limits::LOOKUPS_PER_TENANT {
            taken.push(first.take().await);
        }
        tokio::select! {
            biased;
            _ = second.take() => panic!("the tenant has its lookups"),
            _ = other.take() => {}
        }
        taken.pop();
        drop(second.take().await);
    }

    // Tenants whose name servers are silent have all the lookups that they get. Another one waits
    // for none of them.
    #[tokio::test]
    async fn silent_lookups_delay_no_other() {
        let process = process(1000);
        let mut silent = Vec::new();
        for number in 0..20 {
            let lookups = lookups(&process, &format!("t{number}"));
            loop {
                tokio::select! {
                    biased;
                    lookup = lookups.take() => silent.push(lookup),
                    () = async {} => break,
                }
            }
        }
        let honest = lookups(&process, "honest");
        tokio::select! {
            biased;
            _ = honest.take() => {}
            () = async {} => panic!("{} lookups take all", silent.len()),
        }
    }

    // A tenant leaves half to the others, however many stores and components it has.
    #[test]
    fn tenant_leaves_room_for_others() {
        let process = process(8);
        let stores = ["evil", "evil"].map(|name| tenant(&process, name).store());
        let taken: Vec<_> = (0..4).map(|index| stores[index % 2].take().unwrap()).collect();
        assert_eq!(stores[0].take().unwrap_err(), Denial::Tenant);
        let bank = tenant(&process, "bank").store();
        let others = [bank.take().unwrap(), tenant(&process, "mint").store().take().unwrap()];
        assert_eq!(bank.take().unwrap_err(), Denial::Tenant);
        let last = ["c", "d"].map(|name| tenant(&process, name).store().take().unwrap());
        assert_eq!(tenant(&process, "e").store().take().unwrap_err(), Denial::Process);
        drop((taken, others, last));
        // What a refused attempt took was given back.
        assert_eq!(process.0.connections.free(), 8);
        assert!(bank.take().is_ok());
    }

    // A number that is set holds instead of the share.
    #[test]
    fn connections_of_tenant_are_set() {
        let process = process(8);
        process.set_limits(OutgoingLimits { per_tenant: Some(7), ..Default::default() });
        let evil = tenant(&process, "evil").store();
        let taken: Vec<_> = (0..7).map(|_| evil.take().unwrap()).collect();
        assert_eq!(evil.take().unwrap_err(), Denial::Tenant);
        process.set_limits(OutgoingLimits { per_tenant: Some(8), all: Some(7), ..Default::default() });
        assert_eq!(evil.take().unwrap_err(), Denial::Process);
        drop(taken);
        assert!(evil.take().is_ok());
    }
}
