//! The growth of an output that this process does not shorten: the bytes that each component, each
//! tenant and all together may add.
//!
//! A component and a tenant have an amount at once, which grows back with time. The amount of all
//! is divided into [fair shares](wasmetry_host::limits::is_fair_share). So no tenant, and no number
//! of tenants that flood, leaves nothing to one that has added less. A component without a tenant
//! is a unit of its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use wasmetry_host::Identity;
use wasmetry_host::record::{Entry, LogRecord};

use crate::limits;
use crate::push::config::{AuditGrowth, Growth};
use crate::push::pipeline::queue::Part;

/// The bytes that components may add to an output now.
pub(super) struct GrowthLimit {
    components: Amounts<Arc<Identity>>,
    tenants: Amounts<String>,
    total: Shares,
}

impl GrowthLimit {
    pub(super) fn new(growth: AuditGrowth) -> Self {
        let AuditGrowth { component, tenant, total } = growth;
        Self { components: Amounts::new(component), tenants: Amounts::new(tenant), total: Shares::new(total) }
    }

    /// Removes the lines of components that may add no more. Returns the part of the batch that
    /// they are. `lines` has one line for each entry.
    pub(super) fn remove_excess(
        &mut self,
        lines: &mut Vec<u8>,
        batch: &mut Vec<Entry<LogRecord>>,
        now: Instant,
    ) -> Part {
        let mut excess = Part::default();
        self.advance(now);
        let ends = lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len);
        let is_kept: Vec<bool> =
            batch.iter().zip(ends).map(|(entry, bytes)| self.take(&entry.identity, bytes)).collect();
        if is_kept.iter().all(|is_kept| *is_kept) {
            return excess;
        }
        let kept_lines = lines.split_inclusive(|byte| *byte == b'\n').zip(&is_kept).filter(|(_, is_kept)| **is_kept);
        let kept_lines: Vec<&[u8]> = kept_lines.map(|(line, _)| line).collect();
        *lines = kept_lines.concat();
        let mut is_kept = is_kept.into_iter();
        batch.retain(|entry| {
            let is_kept = is_kept.next().unwrap_or(true);
            if !is_kept {
                excess.add_part(&Part::of_entries(std::slice::from_ref(entry)));
            }
            is_kept
        });
        excess
    }

    /// Adds what has grown until now.
    fn advance(&mut self, now: Instant) {
        self.components.now = Some(now);
        self.tenants.now = Some(now);
        self.total.advance(now);
    }

    /// Takes the bytes of a line at each level. Returns `false`, and takes none, if one of them has
    /// no room.
    fn take(&mut self, identity: &Arc<Identity>, bytes: usize) -> bool {
        let bytes = bytes as f64;
        let tenant = identity.tenant();
        let unit = match tenant {
            "" => Unit::Component(Arc::clone(identity)),
            tenant => Unit::Tenant(tenant.to_owned()),
        };
        let has_room = self.components.left(identity) >= bytes
            && (tenant.is_empty() || self.tenants.left(tenant) >= bytes)
            && self.total.has_room(&unit, bytes);
        if has_room {
            self.components.take(identity, Arc::clone, bytes);
            if !tenant.is_empty() {
                self.tenants.take(tenant, str::to_owned, bytes);
            }
            self.total.take(unit, bytes);
        }
        has_room
    }
}

/// The amounts of owners that are independent of each other.
struct Amounts<K> {
    growth: Growth,
    /// Of those that have less than the greatest number.
    left: HashMap<K, Left>,
    /// The time up to which all have grown.
    now: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Left {
    bytes: f64,
    since: Instant,
}

impl<K: Hash + Eq> Amounts<K> {
    fn new(growth: Growth) -> Self {
        Self { growth, left: HashMap::new(), now: None }
    }

    /// Returns the bytes that an owner may add now.
    fn left<Q: Hash + Eq + ?Sized>(&self, owner: &Q) -> f64
    where
        K: std::borrow::Borrow<Q>,
    {
        self.left.get(owner).map_or(self.growth.bytes as f64, |left| self.grown(*left))
    }

    fn grown(&self, left: Left) -> f64 {
        let passed = self.now.map_or(0.0, |now| now.saturating_duration_since(left.since).as_secs_f64());
        (left.bytes + passed * self.growth.per_second as f64).min(self.growth.bytes as f64)
    }

    /// Takes bytes that an owner has.
    fn take<Q: Hash + Eq + ?Sized>(&mut self, owner: &Q, key: impl FnOnce(&Q) -> K, bytes: f64)
    where
        K: std::borrow::Borrow<Q>,
    {
        let Some(since) = self.now else { return };
        if self.left.len() >= limits::GROWING_OWNERS {
            let (greatest, all) = (self.growth.bytes as f64, std::mem::take(&mut self.left));
            self.left = all.into_iter().filter(|(_, left)| self.grown(*left) < greatest).collect();
        }
        let left = Left { bytes: self.left(owner) - bytes, since };
        match self.left.get_mut(owner) {
            Some(known) => *known = left,
            None => _ = self.left.insert(key(owner), left),
        }
    }
}

/// A tenant, or a component without one.
#[derive(PartialEq, Eq, Hash)]
enum Unit {
    Tenant(String),
    Component(Arc<Identity>),
}

/// The amount of all, and the part of it that each unit has taken and that has not grown back.
struct Shares {
    growth: Growth,
    taken: HashMap<Unit, f64>,
    sum: f64,
    now: Option<Instant>,
}

impl Shares {
    fn new(growth: Growth) -> Self {
        Self { growth, taken: HashMap::new(), sum: 0.0, now: None }
    }

    /// Gives back what has grown until now: the same to each unit, and what one does not need to
    /// the others.
    fn advance(&mut self, now: Instant) {
        let passed = self.now.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.now = Some(now);
        let mut grown = passed * self.growth.per_second as f64;
        let mut taken: Vec<&mut f64> = self.taken.values_mut().collect();
        taken.sort_by(|a, b| a.total_cmp(b));
        let mut units = taken.len();
        for taken in taken {
            let back = (grown / units as f64).min(*taken);
            *taken -= back;
            grown -= back;
            units -= 1;
        }
        self.taken.retain(|_, taken| *taken > 0.0);
        self.sum = self.taken.values().sum();
    }

    /// Returns `true` if a unit that takes these bytes has no more than its fair share then.
    fn has_room(&self, unit: &Unit, bytes: f64) -> bool {
        let taken = self.taken.get(unit).copied().unwrap_or_default();
        let free = self.growth.bytes as f64 - self.sum - bytes;
        free >= 0.0 && wasmetry_host::limits::is_fair_share((taken + bytes) as u64, free as u64, self.growth.bytes)
    }

    fn take(&mut self, unit: Unit, bytes: f64) {
        *self.taken.entry(unit).or_default() += bytes;
        self.sum += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UNBOUNDED: Growth = Growth::new(1 << 40, 1 << 40);

    /// A limit whose component, tenant and total have these bytes at once and in a second.
    struct Limit {
        limit: GrowthLimit,
        start: Instant,
    }

    impl Limit {
        fn new(component: Growth, tenant: Growth, total: Growth) -> Self {
            Self { limit: GrowthLimit::new(AuditGrowth { component, tenant, total }), start: Instant::now() }
        }

        /// Offers a hundred lines of 50 bytes at a second of the test. Returns how many fit.
        fn flood(&mut self, (component, tenant): (&str, &str), second: u64) -> usize {
            let identity = Arc::new(Identity::new(component).with_tenant(tenant));
            self.limit.advance(self.start + Duration::from_secs(second));
            (0..100).filter(|_| self.limit.take(&identity, 50)).count()
        }
    }

    #[test]
    fn each_component_grows_alone() {
        let mut limit = Limit::new(Growth::new(1000, 100), UNBOUNDED, UNBOUNDED);
        let (evil, bank) = (("evil", "evil"), ("bank", "bank"));
        assert_eq!([limit.flood(evil, 0), limit.flood(evil, 0), limit.flood(bank, 0)], [20, 0, 20]);
        // 100 bytes a second are 2 records.
        assert_eq!([limit.flood(evil, 3), limit.flood(evil, 1000)], [6, 20]);
    }

    /// A tenant with many components has no more than its own amount, and the others theirs.
    #[test]
    fn tenant_bounds_its_components() {
        let mut limit = Limit::new(Growth::new(1000, 100), Growth::new(1500, 150), UNBOUNDED);
        let names: Vec<String> = (0..5).map(|number| format!("evil-{number}")).collect();
        let kept: Vec<usize> = names.iter().map(|name| limit.flood((name, "mallory"), 0)).collect();
        assert_eq!(kept, [20, 10, 0, 0, 0]);
        assert_eq!(limit.flood(("bank", "bank"), 0), 20);
        // Components without a tenant share none.
        assert_eq!(names.iter().map(|name| limit.flood((name, ""), 0)).sum::<usize>(), 100);
        assert_eq!(limit.flood((&names[4], "mallory"), 2), 6);
    }

    /// However many tenants flood, one that has added nothing has a share, and all together have
    /// no more than the amount.
    #[test]
    fn floods_leave_share_of_total() {
        let mut limit = Limit::new(UNBOUNDED, UNBOUNDED, Growth::new(12_000, 600));
        let first: Vec<usize> = ["a", "b", "c"].map(|tenant| limit.flood(("evil", tenant), 0)).into();
        // 5,000 bytes of 12,000; of the rest, twice the free part of what is free.
        assert_eq!(first, [100, 57, 26]);
        assert_eq!(limit.flood(("bank", "bank"), 0), 14);
        let kept: usize = first.iter().sum::<usize>() + 14;
        assert!(kept * 50 < 12_000, "{kept}");
        // Each gets back the same; whoever has taken least is the first that may go on.
        assert_eq!(limit.flood(("bank", "bank"), 4), 29);
        assert_eq!(limit.flood(("evil", "a"), 4), 0);

        let mut limit = Limit::new(UNBOUNDED, UNBOUNDED, Growth::new(1 << 20, 600));
        for number in 0..50 {
            let tenant = number.to_string();
            while limit.flood(("evil", &tenant), 0) > 0 {}
        }
        assert!(limit.flood(("bank", "bank"), 0) > 0);
    }
}
