//! The ledgers, that of host memory before all: what telemetry keeps of guests, for each store,
//! component and tenant and in all.
//!
//! ```text
//!   process  <--  tenant  <--  component  <--  store  <--  Charge
//! ```
//!
//! A [`Charge`] is granted if every account up to the process has room for it. It goes back when it
//! is dropped. The bytes of expositions are counted by a ledger of their own.
//!
//! The tenants, and the components without one, share the account of the process: each is granted a
//! [fair share](crate::limits::is_fair_share), and a [small one](crate::limits::SMALL_SHARE)
//! however many there are.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use once_cell::sync::OnceCell;

use crate::request::rate::{Rates, TenantRates};
use crate::{Gauge, GuestLimits, limits};

/// An account, of host memory or of a number of things, and all that is charged to the accounts
/// below it.
#[derive(Debug)]
pub(crate) struct Account {
    parent: Option<Arc<Account>>,
    /// Of a root, the bytes that were granted; else all.
    bytes: AtomicU64,
    /// Of a root, the bytes that are in use without room. They are not granted to anybody.
    used: AtomicU64,
    /// The most that is granted. Accounts of one kind may share it.
    limit: Arc<AtomicU64>,
    /// The exported size.
    gauge: OnceCell<Gauge>,
}

/// The account that has no room for a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// The number of accounts between it and the one that is charged, this one included.
    pub(crate) height: usize,
    /// `true` if it has no parent: the account below it has its fair share.
    pub(crate) is_root: bool,
    /// Its limit.
    pub(crate) limit: u64,
}

impl Account {
    fn new(parent: Option<Arc<Self>>, limit: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { parent, bytes: AtomicU64::new(0), used: AtomicU64::new(0), limit, gauge: OnceCell::new() })
    }

    /// Opens an account below this one.
    pub(crate) fn open(self: &Arc<Self>, limit: u64) -> Arc<Self> {
        Self::new(Some(Arc::clone(self)), Arc::new(AtomicU64::new(limit)))
    }

    /// The bytes that are charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed) + self.used.load(Relaxed)
    }

    /// Sets the most that is granted from now on. What was granted stays.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    /// Sets the gauge that shows the size. A second one is ignored.
    pub(crate) fn set_gauge(&self, gauge: Gauge) {
        if self.gauge.set(gauge.clone()).is_ok() {
            gauge.add(self.bytes().cast_signed());
        }
    }

    /// Corrects the gauge, which counts a change twice that happens while it is set.
    pub(crate) fn correct_gauge(&self) {
        if let Some(gauge) = self.gauge.get() {
            gauge.set(self.bytes() as f64);
        }
    }

    /// Adds bytes here and above.
    ///
    /// # Errors
    ///
    /// Returns the account that has no room. Nothing is added then.
    pub(crate) fn add(&self, bytes: u64) -> Result<(), NoRoom> {
        self.add_below(bytes, None)
    }

    /// Adds bytes that the account below has already. A root is the last that they are added to, so
    /// that a refused charge never takes room of other tenants, not even for a moment.
    fn add_below(&self, bytes: u64, below: Option<&Self>) -> Result<(), NoRoom> {
        self.take(bytes, below)?;
        if let Some(parent) = &self.parent
            && let Err(no_room) = parent.add_below(bytes, Some(self))
        {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err(NoRoom { height: no_room.height + 1, ..no_room });
        }
        self.show(bytes.cast_signed());
        Ok(())
    }

    /// Adds bytes here only, if there is room. The account below has them already, and no more than
    /// its fair share of a root.
    fn take(&self, bytes: u64, below: Option<&Self>) -> Result<(), NoRoom> {
        let (limit, is_root) = (self.limit.load(Relaxed), self.parent.is_none());
        let sharing = below.filter(|_| is_root);
        let sum = |known: u64| {
            let sum = known.checked_add(bytes)?;
            let free = limit.checked_sub(sum)?;
            sharing.is_none_or(|below| is_granted(below.bytes(), free, limit)).then_some(sum)
        };
        // Acquire pairs with the release of earlier additions here. So what those have added below
        // is seen, and two threads of one tenant do not get a share each.
        let added = self.bytes.fetch_update(AcqRel, Acquire, sum);
        added.map(|_| ()).map_err(|_| NoRoom { height: 0, is_root, limit })
    }

    /// Adds bytes here and above that are in use, although there is no room. They are not taken
    /// from what a root has for all, because they may be one tenant's excess.
    fn add_used(&self, bytes: u64) {
        match &self.parent {
            Some(parent) => {
                self.bytes.fetch_add(bytes, Relaxed);
                parent.add_used(bytes);
            }
            None => _ = self.used.fetch_add(bytes, Relaxed),
        }
        self.show(bytes.cast_signed());
    }

    /// Takes bytes that were added as used from what the root has for all, if there is room by now.
    /// Returns `false` if there is not.
    fn grant_used(&self, bytes: u64, below: Option<&Self>) -> bool {
        match &self.parent {
            Some(parent) => self.bytes() <= self.limit.load(Relaxed) && parent.grant_used(bytes, Some(self)),
            None => {
                let is_granted = self.take(bytes, below).is_ok();
                if is_granted {
                    self.used.fetch_sub(bytes, Relaxed);
                }
                is_granted
            }
        }
    }

    /// Takes granted bytes off here and above.
    pub(crate) fn subtract(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.show(-bytes.cast_signed());
        if let Some(parent) = &self.parent {
            parent.subtract(bytes);
        }
    }

    /// Takes bytes off here and above that were added as used.
    fn subtract_used(&self, bytes: u64) {
        match &self.parent {
            Some(parent) => {
                self.bytes.fetch_sub(bytes, Relaxed);
                parent.subtract_used(bytes);
            }
            None => _ = self.used.fetch_sub(bytes, Relaxed),
        }
        self.show(-bytes.cast_signed());
    }

    fn show(&self, difference: i64) {
        if let Some(gauge) = self.gauge.get() {
            gauge.add(difference);
        }
    }
}

/// Returns `true` if one that has this much of a root has no more than its fair share, or little.
/// The part that is kept for those that have little is not shared otherwise.
fn is_granted(has: u64, free: u64, limit: u64) -> bool {
    let kept = limit / limits::KEPT_FOR_SMALL;
    let is_fair = limits::is_fair_share(has, free.saturating_sub(kept), limit - kept);
    is_fair || has <= limit / limits::SMALL_SHARE
}

/// Memory that is charged to an account.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
    /// Those of the bytes for which there was no room.
    used: u64,
}

impl Charge {
    /// A charge of nothing.
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, bytes: 0, used: 0 }
    }

    /// Returns `true` if the charge is large enough for the memory.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bytes
    }

    /// Makes the charge as large as the memory will be. Returns `false`, and changes nothing, if
    /// there is no room for a larger one.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if bytes > self.bytes {
            if self.account.add(bytes - self.bytes).is_err() {
                return false;
            }
            self.bytes = bytes;
        } else {
            self.shrink(self.bytes - bytes);
        }
        true
    }

    /// Makes the charge large enough for the memory, in steps of [`STEP`]. Returns `false`, and
    /// changes nothing, if there is no room.
    pub(crate) fn cover(&mut self, bytes: usize) -> bool {
        self.has(bytes) || self.resize(bytes.next_multiple_of(STEP))
    }

    /// Makes the charge as large as the memory is, whether there is room or not: it is in use
    /// already. Beyond a limit, no account below it is granted more, and other tenants have what
    /// they had.
    pub(crate) fn set(&mut self, bytes: usize) {
        if !self.resize(bytes) {
            let more = bytes as u64 - self.bytes;
            self.account.add_used(more);
            self.used += more;
            self.bytes += more;
        }
        if self.used > 0 && self.account.grant_used(self.used, None) {
            self.used = 0;
        }
    }

    /// Takes bytes off, first those for which there was no room.
    fn shrink(&mut self, bytes: u64) {
        let used = bytes.min(self.used);
        if used > 0 {
            self.account.subtract_used(used);
        }
        if bytes > used {
            self.account.subtract(bytes - used);
        }
        self.used -= used;
        self.bytes -= bytes;
    }
}

/// The bytes by which a charge for many small things grows.
const STEP: usize = 16 << 10;

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// The memory that the host keeps for the guest of one store: copies of its cells, its open spans
/// and waiting records, its call sites, and the batches that it sends.
///
/// [`Component::store_memory`](crate::Component::store_memory) makes it, with the limit
/// [`STORE_MEMORY`](crate::limits::STORE_MEMORY), or that of [`GuestLimits`]. Pass it to everything
/// of the store. A clone is the same memory.
///
/// Without room, a region is read only when its instance ends, and records are dropped;
/// both are counted in `wasmetry_dropped_total` with the reason `memory_limit`.
#[derive(Clone, Debug)]
pub struct StoreMemory {
    account: Arc<Account>,
    /// The limit that it was made with.
    greatest: u64,
}

impl StoreMemory {
    pub(crate) fn new(component: &Arc<Account>, limit: u64) -> Self {
        Self { account: component.open(limit), greatest: limit }
    }

    /// The bytes that the host keeps.
    pub fn bytes(&self) -> u64 {
        self.account.bytes()
    }

    /// Sets the most that the host keeps, up to the limit that the memory was made with. What it
    /// has stays.
    pub fn set_limit(&self, bytes: u64) {
        self.account.set_limit(bytes.min(self.greatest));
    }

    /// The most that the host keeps, in bytes.
    pub fn limit(&self) -> u64 {
        self.account.limit.load(Relaxed)
    }

    pub(crate) fn charge(&self) -> Charge {
        Charge::new(Arc::clone(&self.account))
    }
}

/// The accounts of all guests: of the memory that the host keeps for them, in bytes, and of the
/// numbers of their metrics and of their series with text labels; and the rates of their records.
#[derive(Debug)]
pub(crate) struct Ledgers {
    pub(crate) memory: Ledger,
    metrics: Ledger,
    series: Ledger,
    rates: TenantRates,
}

/// The accounts and the rates of one component.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pub(crate) memory: Arc<Account>,
    pub(crate) metrics: Arc<Account>,
    pub(crate) series: Arc<Account>,
    pub(crate) rates: Arc<Rates>,
}

impl Ledgers {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            memory: Ledger::new(limits.telemetry_memory, limits.tenant_memory, u64::MAX),
            metrics: Ledger::new(u64::MAX, limits.tenant_metrics, limits.metrics),
            series: Ledger::new(u64::MAX, limits.tenant_series, limits.series),
            rates: TenantRates::default(),
        }
    }

    /// Sets the limits of what is charged from now on.
    pub(crate) fn set_limits(&self, limits: &GuestLimits) {
        self.memory.set_limits(limits.telemetry_memory, limits.tenant_memory, u64::MAX);
        self.metrics.set_limits(u64::MAX, limits.tenant_metrics, limits.metrics);
        self.series.set_limits(u64::MAX, limits.tenant_series, limits.series);
        self.rates.set_limits(limits);
    }

    /// Opens the accounts of a tenant's component, whose guests have these limits.
    pub(crate) fn open(&self, tenant: &str, limits: &GuestLimits) -> Accounts {
        let Self { memory, metrics, series, rates } = self;
        Accounts {
            memory: memory.open(tenant),
            metrics: metrics.open(tenant),
            series: series.open(tenant),
            rates: Arc::new(rates.open(tenant, limits)),
        }
    }
}

/// The accounts of all tenants and of the process.
#[derive(Debug)]
pub(crate) struct Ledger {
    process: Arc<Account>,
    tenants: Mutex<HashMap<String, Weak<Account>>>,
    /// The limit of each tenant, and of each component.
    tenant_limit: Arc<AtomicU64>,
    component_limit: Arc<AtomicU64>,
}

impl Ledger {
    /// Creates the accounts with the limits of the process, of each tenant, and of each component.
    pub(crate) fn new(process: u64, tenant: u64, component: u64) -> Self {
        let [process, tenant_limit, component_limit] =
            [process, tenant, component].map(|limit| Arc::new(AtomicU64::new(limit)));
        Self { process: Account::new(None, process), tenants: Mutex::default(), tenant_limit, component_limit }
    }

    /// The account of the process.
    pub(crate) fn process(&self) -> &Arc<Account> {
        &self.process
    }

    /// Sets the limits of the process, of each tenant, and of each component.
    pub(crate) fn set_limits(&self, process: u64, tenant: u64, component: u64) {
        self.process.set_limit(process);
        self.tenant_limit.store(tenant, Relaxed);
        self.component_limit.store(component, Relaxed);
    }

    /// Returns the account of a tenant. Components without a tenant have only that of the process.
    pub(crate) fn tenant(&self, tenant: &str) -> Arc<Account> {
        if tenant.is_empty() {
            return Arc::clone(&self.process);
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = tenants.get(tenant).and_then(Weak::upgrade) {
            return account;
        }
        tenants.retain(|_, account| account.strong_count() > 0);
        let account = Account::new(Some(Arc::clone(&self.process)), Arc::clone(&self.tenant_limit));
        tenants.insert(tenant.to_owned(), Arc::downgrade(&account));
        account
    }

    /// Opens the account of a tenant's component.
    pub(crate) fn open(&self, tenant: &str) -> Arc<Account> {
        Account::new(Some(self.tenant(tenant)), Arc::clone(&self.component_limit))
    }
}

#[cfg(test)]
mod tests;
