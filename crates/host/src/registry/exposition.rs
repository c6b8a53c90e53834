//! The room for series and the metadata of families in expositions: of one component, of one
//! tenant, and in all, of which each tenant gets a fair share.
//!
//! A series takes its room when it is first shown, before anything of it is rendered, and keeps it
//! until it is removed. One for which there is no room is not shown; it has its values, and is
//! shown when others have returned their room. A family does so too, when it is first in a
//! snapshot: its metadata is written without series. The bytes are counted by a [`Ledger`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::{Account, Ledger, NoRoom};
use crate::{Identity, limits};

/// The bounds of expositions, in bytes of their text without exemplars. No series that is shown is
/// removed when a bound is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpositionLimits {
    /// Bytes of the series and metadata of one component; see
    /// [`limits::EXPOSITION_BYTES_PER_COMPONENT`].
    pub component: u64,
    /// Bytes of the series and metadata of one tenant; see [`limits::EXPOSITION_BYTES_PER_TENANT`].
    pub tenant: u64,
    /// Bytes of the series and metadata of all components, of which each tenant gets a
    /// [fair share](limits::is_fair_share); see [`limits::EXPOSITION_BYTES`].
    pub total: u64,
}

impl Default for ExpositionLimits {
    fn default() -> Self {
        Self {
            component: limits::EXPOSITION_BYTES_PER_COMPONENT,
            tenant: limits::EXPOSITION_BYTES_PER_TENANT,
            total: limits::EXPOSITION_BYTES,
        }
    }
}

impl ExpositionLimits {
    /// Sets the bytes of the series of one component.
    #[must_use]
    pub fn with_component(mut self, bytes: u64) -> Self {
        self.component = bytes;
        self
    }

    /// Sets the bytes of the series of one tenant.
    #[must_use]
    pub fn with_tenant(mut self, bytes: u64) -> Self {
        self.tenant = bytes;
        self
    }

    /// Sets the bytes of the series of all components.
    #[must_use]
    pub fn with_total(mut self, bytes: u64) -> Self {
        self.total = bytes;
        self
    }
}

/// The bound for which series of a component are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpositionLimit {
    /// The component's own.
    Component,
    /// That of the component's tenant.
    Tenant,
    /// The [fair share](limits::is_fair_share) of that of all components, which the component's
    /// tenant has, or the component if it has none.
    Total,
}

/// A component some of whose series, or families, are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HiddenSeries {
    /// The component.
    pub identity: Identity,
    /// The bound that was reached.
    pub limit: ExpositionLimit,
    /// The bytes of that bound; of [`Total`](ExpositionLimit::Total), those of all components.
    pub bytes: u64,
}

/// The room of all expositions of a registry.
#[derive(Debug)]
pub(crate) struct ExpositionRoom {
    ledger: Ledger,
    /// The number of times that room was returned.
    returns: AtomicU64,
    /// The components that are not reported yet.
    hidden: Mutex<Vec<HiddenSeries>>,
}

impl Default for ExpositionRoom {
    fn default() -> Self {
        let ExpositionLimits { component, tenant, total } = ExpositionLimits::default();
        Self { ledger: Ledger::new(total, tenant, component), returns: AtomicU64::new(0), hidden: Mutex::default() }
    }
}

impl ExpositionRoom {
    pub(crate) fn set_limits(&self, ExpositionLimits { component, tenant, total }: ExpositionLimits) {
        self.ledger.set_limits(total, tenant, component);
        // What was refused may have room now.
        self.returns.fetch_add(1, Relaxed);
    }

    /// Returns the components of whose series some are not shown, each once for each bound.
    pub(crate) fn take_hidden(&self) -> Vec<HiddenSeries> {
        std::mem::take(&mut *lock(&self.hidden))
    }
}

/// The room of one component.
#[derive(Debug)]
pub(crate) struct ComponentRoom {
    identity: Identity,
    all: Arc<ExpositionRoom>,
    /// The bytes that the component's series take.
    account: Arc<Account>,
    /// The bounds that were reported.
    reported: Vec<ExpositionLimit>,
}

impl ComponentRoom {
    /// Creates the room of a component. Components without a tenant share none but that of all.
    pub(crate) fn new(all: &Arc<ExpositionRoom>, identity: &Identity) -> Self {
        let account = all.ledger.open(identity.tenant());
        Self { identity: identity.clone(), all: all.clone(), account, reported: Vec::new() }
    }

    /// Takes the room of a series, or of a family's metadata. Returns `false` if there is none.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        self.account.add(bytes).map_err(|no_room| self.report(no_room)).is_ok()
    }

    #[cold]
    fn report(&mut self, no_room: NoRoom) {
        let limit = match no_room {
            NoRoom { height: 0, .. } => ExpositionLimit::Component,
            NoRoom { is_root: true, .. } => ExpositionLimit::Total,
            NoRoom { .. } => ExpositionLimit::Tenant,
        };
        if !self.reported.contains(&limit) {
            self.reported.push(limit);
            let mut hidden = lock(&self.all.hidden);
            if hidden.len() < limits::HIDDEN_SERIES {
                hidden.push(HiddenSeries { identity: self.identity.clone(), limit, bytes: no_room.limit });
            }
        }
    }

    /// Returns the room of series that were removed.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if bytes > 0 {
            self.account.subtract(bytes);
            self.all.returns.fetch_add(1, Relaxed);
        }
    }

    /// Returns the number of times that any component has returned room.
    pub(crate) fn returns(&self) -> u64 {
        self.all.returns.load(Relaxed)
    }
}

impl Drop for ComponentRoom {
    fn drop(&mut self) {
        self.give_back(self.account.bytes());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
