//! The rates of records: printed lines, requests in the access log, and the logs and spans that
//! guests record.
//!
//! They are the component's and its tenant's, not an instance's, so that many requests, components
//! or versions have no more than one. A component without a tenant has only its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::GuestLimits;

/// The records that a rate is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RateKind {
    /// Lines that guests print.
    Printed,
    /// Requests in the access log.
    Access,
    /// Logs and spans that guests record.
    Recorded,
    /// Audit records.
    Audit,
}

impl RateKind {
    const ALL: [Self; 4] = [Self::Printed, Self::Access, Self::Recorded, Self::Audit];

    /// Returns the records of a component: at once, and in a second.
    fn of_component(self, limits: &GuestLimits) -> (u64, u64) {
        match self {
            Self::Printed => (limits.output_lines, limits.output_lines_per_second),
            Self::Access => (limits.access_records, limits.access_records_per_second),
            Self::Recorded => (limits.records, limits.records_per_second),
            Self::Audit => (limits.audit_records, limits.audit_records_per_second),
        }
    }

    /// Returns the records of a tenant: at once, and in a second.
    fn of_tenant(self, limits: &GuestLimits) -> (u64, u64) {
        match self {
            Self::Printed => (limits.tenant_output_lines, limits.tenant_output_lines_per_second),
            Self::Access => (limits.tenant_access_records, limits.tenant_access_records_per_second),
            Self::Recorded => (limits.tenant_records, limits.tenant_records_per_second),
            Self::Audit => (limits.tenant_audit_records, limits.tenant_audit_records_per_second),
        }
    }
}

/// The rates of one component, or of one tenant, by their kinds.
#[derive(Debug)]
pub(crate) struct Rates([Rate; RateKind::ALL.len()]);

impl Rates {
    /// The rate of these records.
    pub(crate) fn of(&self, kind: RateKind) -> &Rate {
        &self.0[kind as usize]
    }
}

/// The rates of all tenants.
#[derive(Debug, Default)]
pub(crate) struct TenantRates(Mutex<Tenants>);

#[derive(Debug, Default)]
struct Tenants {
    /// The limits of tenants in force.
    limits: GuestLimits,
    /// Each lives as long as a component of its tenant.
    rates: HashMap<String, Weak<Rates>>,
}

impl TenantRates {
    /// Returns the rates of a component of a tenant, which is empty for a component without one.
    pub(crate) fn open(&self, tenant: &str, limits: &GuestLimits) -> Rates {
        let tenant = (!tenant.is_empty()).then(|| self.tenant(tenant));
        let rate = |kind: RateKind| Rate::new(kind.of_component(limits), tenant.clone().map(|rates| (rates, kind)));
        Rates(RateKind::ALL.map(rate))
    }

    /// Sets the limits of the tenants. What they have used is used.
    pub(crate) fn set_limits(&self, limits: &GuestLimits) {
        let mut tenants = self.lock();
        tenants.limits = limits.clone();
        for rates in tenants.rates.values().filter_map(Weak::upgrade) {
            RateKind::ALL.into_iter().for_each(|kind| rates.of(kind).set(kind.of_tenant(limits)));
        }
    }

    fn tenant(&self, tenant: &str) -> Arc<Rates> {
        let mut tenants = self.lock();
        if let Some(rates) = tenants.rates.get(tenant).and_then(Weak::upgrade) {
            return rates;
        }
        tenants.rates.retain(|_, rates| rates.strong_count() > 0);
        let limits = &tenants.limits;
        let rates = Arc::new(Rates(RateKind::ALL.map(|kind| Rate::new(kind.of_tenant(limits), None))));
        tenants.rates.insert(tenant.to_owned(), Arc::downgrade(&rates));
        rates
    }

    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number of records that are allowed now.
///
/// It starts at its greatest value and grows back with time, so that a component that runs long can
/// go on, and one that floods cannot displace the records of others.
///
/// The time is that of the records, by the wall clock: this crate has no clock. Where it is set
/// forward, at most the greatest value is allowed; where it is set back, growth begins there.
#[derive(Debug)]
pub(crate) struct Rate {
    /// The tenant's rates, and which of them has to allow the record too.
    tenant: Option<(Arc<Rates>, RateKind)>,
    allowed: Mutex<Allowed>,
}

#[derive(Debug)]
struct Allowed {
    greatest: u64,
    /// The nanoseconds in which one more record is allowed.
    nanos: u64,
    /// The records that were taken and have not grown back.
    used: u64,
    /// The time up to which growth is credited, by the wall clock; 0 before the first record.
    credited: u64,
}

/// The nanoseconds by which one record may be older than another one that was counted before it.
const CLOCK_SKEW: u64 = 1_000_000_000;

impl Allowed {
    /// Adds what has grown until now.
    fn grow(&mut self, now: u64) {
        // Before the first record, or the clock was set back: growth begins now. Threads may be
        // late by less.
        if self.credited == 0 || now.saturating_add(CLOCK_SKEW) < self.credited {
            self.credited = now;
        }
        let grown = now.saturating_sub(self.credited) / self.nanos;
        self.credited += grown * self.nanos;
        self.used = self.used.saturating_sub(grown);
    }
}

impl Rate {
    fn new((greatest, per_second): (u64, u64), tenant: Option<(Arc<Rates>, RateKind)>) -> Self {
        let allowed = Allowed { greatest, nanos: nanos(per_second), used: 0, credited: 0 };
        Self { tenant, allowed: Mutex::new(allowed) }
    }

    fn set(&self, (greatest, per_second): (u64, u64)) {
        let mut allowed = self.lock();
        (allowed.greatest, allowed.nanos) = (greatest, nanos(per_second));
    }

    /// Takes one record, of the tenant too. Returns `false`, and takes none, if none is allowed
    /// now.
    pub(super) fn take(&self, now: u64) -> bool {
        let mut allowed = self.lock();
        allowed.grow(now);
        let is_allowed = allowed.used < allowed.greatest && self.of_tenant().is_none_or(|tenant| tenant.take(now));
        allowed.used += u64::from(is_allowed);
        is_allowed
    }

    /// Returns the number of records that are allowed now, by the tenant too. Those of them that
    /// are recorded are [spent](Self::spend) afterwards.
    pub(crate) fn left(&self, now: u64) -> u64 {
        let mut allowed = self.lock();
        allowed.grow(now);
        let own = allowed.greatest.saturating_sub(allowed.used);
        drop(allowed);
        self.of_tenant().map_or(own, |tenant| own.min(tenant.left(now)))
    }

    /// Takes records that were allowed. Threads that were allowed the same ones take all of theirs,
    /// which grow back before another record is allowed.
    pub(crate) fn spend(&self, records: u64) {
        let mut allowed = self.lock();
        allowed.used = allowed.used.saturating_add(records);
        drop(allowed);
        if let Some(tenant) = self.of_tenant() {
            tenant.spend(records);
        }
    }

    fn of_tenant(&self) -> Option<&Self> {
        self.tenant.as_ref().map(|(rates, kind)| rates.of(*kind))
    }

    fn lock(&self) -> MutexGuard<'_, Allowed> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the nanoseconds between two records, of which none and more than one in a nanosecond are
/// allowed too.
fn nanos(per_second: u64) -> u64 {
    1_000_000_000u64.checked_div(per_second).map_or(u64::MAX, |nanos| nanos.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    const SECOND: u64 = 1_000_000_000;

    fn open(limits: &GuestLimits) -> Rates {
        TenantRates::default().open("", limits)
    }

    #[test]
    fn rate_grows_back_with_time() {
        let rates = open(&GuestLimits::default());
        let rate = rates.of(RateKind::Printed);
        let lines = |now: u64| (0..2 * limits::OUTPUT_LINES).filter(|_| rate.take(now)).count();
        assert_eq!(lines(7 * SECOND), limits::OUTPUT_LINES as usize);
        assert_eq!(lines(7 * SECOND), 0);
        assert_eq!(lines(9 * SECOND), 2 * limits::OUTPUT_LINES_PER_SECOND as usize);
        // A clock that was set back gives nothing, and then as much as any other.
        assert_eq!(lines(SECOND), 0);
        assert_eq!(lines(2 * SECOND), limits::OUTPUT_LINES_PER_SECOND as usize);
        assert_eq!(lines(1000 * SECOND), limits::OUTPUT_LINES as usize);
    }

    #[test]
    fn rates_without_growth_end() {
        let mut limits = GuestLimits::default();
        (limits.output_lines, limits.output_lines_per_second) = (3, 0);
        let rates = open(&limits);
        let rate = rates.of(RateKind::Printed);
        assert_eq!((1..100).filter(|second| rate.take(second * SECOND)).count(), 3);
    }

    /// Ten components of one tenant have what the tenant has. Those of others, and those without a
    /// tenant, lose nothing by it.
    #[test]
    fn components_share_their_tenants_rate() {
        let mut limits = GuestLimits::default();
        (limits.output_lines, limits.output_lines_per_second) = (10, 1);
        (limits.tenant_output_lines, limits.tenant_output_lines_per_second) = (25, 2);
        let tenants = TenantRates::default();
        tenants.set_limits(&limits);
        let flood = |rates: &[Rates], now: u64| -> Vec<usize> {
            rates.iter().map(|rates| (0..100).filter(|_| rates.of(RateKind::Printed).take(now)).count()).collect()
        };
        let evil: Vec<Rates> = (0..10).map(|_| tenants.open("evil", &limits)).collect();
        assert_eq!(flood(&evil, SECOND), [10, 10, 5, 0, 0, 0, 0, 0, 0, 0]);
        let [bank, plain] = ["bank", ""].map(|tenant| [tenants.open(tenant, &limits), tenants.open(tenant, &limits)]);
        assert_eq!((flood(&bank, SECOND), flood(&plain, SECOND)), (vec![10, 10], vec![10, 10]));
        // A second's growth; what the tenant refused was not taken from the components.
        assert_eq!(flood(&evil[2..], 2 * SECOND), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(flood(&evil[3..4], 7 * SECOND), [10]);
        // The other records have rates of their own.
        assert!(evil[0].of(RateKind::Access).take(SECOND));
        limits.tenant_output_lines = 60;
        tenants.set_limits(&limits);
        assert_eq!(flood(&evil[4..], 7 * SECOND), [10, 10, 10, 5, 0, 0]);
    }
    /// Records of threads beyond the rate grow back before another one is allowed, of the tenant
    /// too.
    #[test]
    fn spent_records_grow_back() {
        let mut limits = GuestLimits::default();
        (limits.records, limits.records_per_second) = (100, 10);
        (limits.tenant_records, limits.tenant_records_per_second) = (150, 15);
        let tenants = TenantRates::default();
        tenants.set_limits(&limits);
        let components = [tenants.open("evil", &limits), tenants.open("evil", &limits), tenants.open("bank", &limits)];
        let left = |now: u64| [0, 1, 2].map(|at: usize| components[at].of(RateKind::Recorded).left(now));
        assert_eq!(left(SECOND), [100, 100, 100]);
        let first = components[0].of(RateKind::Recorded);
        (0..2).for_each(|_| first.spend(60));
        assert_eq!(left(SECOND), [0, 30, 100]);
        assert!(!first.take(SECOND));
        assert_eq!(left(3 * SECOND), [0, 60, 100]);
        assert_eq!(left(4 * SECOND), [10, 75, 100]);
        assert_eq!(components[0].of(RateKind::Audit).left(SECOND), limits.audit_records);
    }
}
