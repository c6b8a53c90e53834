//! The tenants that a destination throttles, and when it accepts their requests again.

use std::collections::HashMap;
use std::time::Instant;

/// The end of a tenant's throttling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottleEnd {
    /// The earliest time of the tenant's next request.
    pub(crate) at: Instant,
    /// `true` if the destination requested this time, which is kept at shutdown too.
    pub(crate) is_requested: bool,
}

/// The tenants that a destination throttles.
#[derive(Debug, Default)]
pub(super) struct ThrottledTenants(HashMap<String, ThrottleEnd>);

impl ThrottledTenants {
    pub(super) fn contains(&self, tenant: &str) -> bool {
        self.0.contains_key(tenant)
    }

    pub(super) fn insert(&mut self, tenant: &str, end: ThrottleEnd) {
        match self.0.get_mut(tenant) {
            Some(known) => *known = end,
            None => _ = self.0.insert(tenant.to_owned(), end),
        }
    }

    /// Removes the tenants whose time has come.
    pub(super) fn remove_ended(&mut self, now: Instant) -> Vec<String> {
        self.0.extract_if(|_, end| end.at <= now).map(|(tenant, _)| tenant).collect()
    }

    /// Removes the tenants whose time the destination has not requested.
    pub(super) fn remove_unrequested(&mut self) -> Vec<String> {
        self.0.extract_if(|_, end| !end.is_requested).map(|(tenant, _)| tenant).collect()
    }

    /// Returns the time at which the first of them may send again.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.values().map(|end| end.at).min()
    }
}
