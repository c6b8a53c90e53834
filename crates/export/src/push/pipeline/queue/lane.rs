//! One lane of a queue: the records of one priority, which the tenants share.
//!
//! Records leave in the order of their arrival. A lane that is full drops a record of whoever has
//! most: of the tenants, the one that takes most of the lane, and of its components again that one.
//! So a flood drops its own records, and whoever has less than an equal share loses nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::Entry;

use super::{BatchSize, Owners, Part};
use crate::push::config::{Batch, Limits};

/// The records of one priority.
pub(super) struct Lane<T> {
    /// By the number of their arrival.
    waiting: BTreeMap<u64, (Entry<T>, usize)>,
    arrived: u64,
    waiting_size: BatchSize,
    tenants: HashMap<String, Tenant>,
    /// The part that the worker holds.
    taken: Part,
}

/// The waiting records of one tenant.
#[derive(Default)]
struct Tenant {
    size: BatchSize,
    components: HashMap<Arc<Identity>, Component>,
}

/// The waiting records of one component.
#[derive(Default)]
struct Component {
    size: BatchSize,
    /// Their numbers, the oldest first.
    numbers: VecDeque<u64>,
}

impl<T> Lane<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            arrived: 0,
            waiting_size: BatchSize::default(),
            tenants: HashMap::new(),
            taken: Part::default(),
        }
    }

    /// Returns the size of the records that wait.
    pub(super) fn waiting(&self) -> BatchSize {
        self.waiting_size
    }

    /// Returns the size of the records that wait or that the worker holds.
    pub(super) fn size(&self) -> BatchSize {
        self.waiting_size + self.taken.size
    }

    /// Returns the part that the worker holds.
    pub(super) fn taken(&self) -> &Part {
        &self.taken
    }

    /// Adds a record of `size` bytes. Returns the owners of the records that were dropped: of this
    /// one, or of others that had to leave.
    pub(super) fn push(&mut self, entry: Entry<T>, size: usize, limits: Limits) -> Owners {
        let mut dropped = Owners::default();
        while !self.has_room(size, limits) {
            match self.largest_beside(&entry.identity, size, limits) {
                Some(identity) if self.drop_newest(&identity) => dropped.add(&identity, 1),
                _ => {
                    dropped.add(&entry.identity, 1);
                    return dropped;
                }
            }
        }
        self.arrived += 1;
        let added = BatchSize { records: 1, bytes: size };
        let tenant = match self.tenants.get_mut(entry.identity.tenant()) {
            Some(tenant) => tenant,
            None => self.tenants.entry(entry.identity.tenant().to_owned()).or_default(),
        };
        tenant.size = tenant.size + added;
        let component = match tenant.components.get_mut(&entry.identity) {
            Some(component) => component,
            None => tenant.components.entry(Arc::clone(&entry.identity)).or_default(),
        };
        component.size = component.size + added;
        component.numbers.push_back(self.arrived);
        self.waiting_size = self.waiting_size + added;
        self.waiting.insert(self.arrived, (entry, size));
        dropped
    }

    /// Returns `true` if there is room for one more record of `size` bytes.
    fn has_room(&self, size: usize, limits: Limits) -> bool {
        let held = self.size();
        held.records < limits.records && held.bytes + size <= limits.bytes
    }

    /// Returns the component that has to lose a record for a new one of `identity`, which has
    /// `size` bytes. Returns `None` if it is the new record that is dropped.
    fn largest_beside(&self, identity: &Arc<Identity>, size: usize, limits: Limits) -> Option<Arc<Identity>> {
        let added = BatchSize { records: 1, bytes: size };
        let own = self.tenants.get(identity.tenant());
        let own_size = own.map_or(BatchSize::default(), |tenant| tenant.size);
        // Whoever has its equal share already needs no comparison with the others.
        let tenants = self.tenants.len() + usize::from(own.is_none());
        if share(own_size, limits) * (tenants as f64) < 1.0 {
            let others = self.tenants.iter().filter(|(name, _)| name.as_str() != identity.tenant());
            let largest = others.max_by(|(_, one), (_, other)| compare(one.size, other.size, limits));
            if let Some((_, largest)) =
                largest.filter(|(_, largest)| share(largest.size, limits) > share(own_size + added, limits))
            {
                let components = largest.components.iter();
                let component = components.max_by(|(_, one), (_, other)| compare(one.size, other.size, limits));
                return component.map(|(identity, _)| Arc::clone(identity));
            }
        }
        let components = &own?.components;
        let own_size = components.get(identity).map_or(BatchSize::default(), |component| component.size);
        let others = components.iter().filter(|(other, _)| *other != identity);
        let largest = others.max_by(|(_, one), (_, other)| compare(one.size, other.size, limits))?;
        (share(largest.1.size, limits) > share(own_size + added, limits)).then(|| Arc::clone(largest.0))
    }

    /// Drops the newest record of a component. Returns `false` if it has none.
    fn drop_newest(&mut self, identity: &Identity) -> bool {
        let component = self.tenants.get(identity.tenant()).and_then(|tenant| tenant.components.get(identity));
        let newest = component.and_then(|component| component.numbers.back().copied());
        newest.is_some_and(|number| self.remove(number).is_some())
    }

    fn remove(&mut self, number: u64) -> Option<(Entry<T>, usize)> {
        let (entry, size) = self.waiting.remove(&number)?;
        let removed = BatchSize { records: 1, bytes: size };
        self.waiting_size = self.waiting_size - removed;
        if let Some(tenant) = self.tenants.get_mut(entry.identity.tenant()) {
            tenant.size = tenant.size - removed;
            if let Some(component) = tenant.components.get_mut(&entry.identity) {
                component.size = component.size - removed;
                // It is the oldest or the newest one.
                if component.numbers.front() == Some(&number) {
                    component.numbers.pop_front();
                } else {
                    component.numbers.pop_back();
                }
                if component.numbers.is_empty() {
                    tenant.components.remove(&entry.identity);
                }
            }
            if tenant.components.is_empty() {
                self.tenants.remove(entry.identity.tenant());
            }
        }
        Some((entry, size))
    }

    /// Removes the oldest records that fit into a batch, at least one.
    pub(super) fn take(&mut self, batch: Batch) -> Vec<Entry<T>> {
        let mut entries = Vec::with_capacity(self.waiting.len().min(batch.records));
        let mut taken = Part::default();
        while let Some((&number, &(_, size))) = self.waiting.first_key_value() {
            let fits = taken.size.records < batch.records && taken.size.bytes + size <= batch.bytes;
            if !fits && taken.size.records > 0 {
                break;
            }
            let Some((entry, size)) = self.remove(number) else { break };
            taken.add(&entry.identity, size);
            entries.push(entry);
        }
        self.taken = taken;
        entries
    }

    /// Frees the room of a part of what the worker holds.
    pub(super) fn release(&mut self, part: &Part) {
        self.taken.remove(part);
    }

    /// Returns the owners of all records.
    pub(super) fn owners(&self) -> Owners {
        let mut owners = self.taken.owners.clone();
        let components = self.tenants.values().flat_map(|tenant| &tenant.components);
        components.for_each(|(identity, component)| owners.add(identity, component.numbers.len() as u64));
        owners
    }
}

/// Returns the part of a lane that records take: of its records or of its bytes, whichever is more.
fn share(size: BatchSize, limits: Limits) -> f64 {
    let part = |used: usize, limit: usize| used as f64 / limit.max(1) as f64;
    part(size.records, limits.records).max(part(size.bytes, limits.bytes))
}

fn compare(one: BatchSize, other: BatchSize, limits: Limits) -> std::cmp::Ordering {
    share(one, limits).total_cmp(&share(other, limits))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits::new(100, 100_000);

    fn identity(component: &str, tenant: &str) -> Arc<Identity> {
        Arc::new(Identity::new(component).with_tenant(tenant))
    }

    /// Pushes records of 10 bytes and returns how many were dropped, by component.
    fn push(lane: &mut Lane<u32>, identity: &Arc<Identity>, records: u32) -> Vec<(String, u64)> {
        let mut dropped = Owners::default();
        for record in 0..records {
            dropped.add_all(&lane.push(Entry::new(Arc::clone(identity), record), 10, LIMITS));
        }
        dropped.iter().map(|(identity, count)| (identity.component().to_owned(), count)).collect()
    }

    fn held(lane: &Lane<u32>) -> Vec<(String, u64)> {
        let mut owners: Vec<_> =
            lane.owners().iter().map(|(identity, count)| (identity.component().to_owned(), count)).collect();
        owners.sort();
        owners
    }

    #[test]
    fn flood_drops_its_own_records() {
        let (evil, bank) = (identity("evil", "evil"), identity("bank", "bank"));
        let mut lane = Lane::new();
        assert_eq!(push(&mut lane, &evil, 1000), [("evil".to_owned(), 900)]);
        // Up to its equal share, the neighbour's records take the place of the flood's.
        assert_eq!(push(&mut lane, &bank, 40), [("evil".to_owned(), 40)]);
        assert_eq!(push(&mut lane, &evil, 1000), [("evil".to_owned(), 1000)]);
        assert_eq!(held(&lane), [("bank".to_owned(), 40), ("evil".to_owned(), 60)]);
        assert_eq!(push(&mut lane, &bank, 40), [("evil".to_owned(), 10), ("bank".to_owned(), 30)]);
        assert_eq!(held(&lane), [("bank".to_owned(), 50), ("evil".to_owned(), 50)]);
        assert_eq!(lane.waiting().records, 100);
    }

    // A tenant with many components has one share, which they divide.
    #[test]
    fn components_share_their_tenant() {
        let bank = identity("bank", "bank");
        let mut lane = Lane::new();
        for component in 0..10 {
            push(&mut lane, &identity(&format!("e{component}"), "evil"), 1000);
        }
        push(&mut lane, &bank, 1000);
        assert_eq!(lane.tenants["bank"].size.records, 50);
        let quiet = identity("quiet", "evil");
        assert!(push(&mut lane, &quiet, 4).iter().all(|(dropped, _)| dropped.starts_with('e')));
        assert_eq!(lane.tenants["evil"].components[&quiet].numbers.len(), 4);
        assert_eq!(lane.tenants["bank"].size.records, 50);
    }

    // 100 tenants flood the lane; one that has less than an equal share loses nothing.
    #[test]
    fn hundred_floods_cost_one_nothing() {
        let limits = Limits::new(10_100, usize::MAX);
        let mut lane = Lane::new();
        let bank = identity("bank", "bank");
        let floods: Vec<_> = (0..100).map(|tenant| identity("evil", &format!("t{tenant}"))).collect();
        let mut dropped = Owners::default();
        for round in 0..1000 {
            for flood in &floods {
                dropped.add_all(&lane.push(Entry::new(Arc::clone(flood), round), 10, limits));
            }
            if round % 10 == 0 && round < 990 {
                dropped.add_all(&lane.push(Entry::new(Arc::clone(&bank), round), 10, limits));
            }
        }
        assert!(dropped.iter().all(|(identity, _)| identity.tenant() != "bank"));
        assert_eq!(lane.tenants["bank"].size.records, 99);
        let lost: u64 = dropped.iter().map(|(_, records)| records).sum();
        assert_eq!((lost, lane.waiting().records), (100 * 1000 + 99 - 10_100, 10_100));
        assert!(lane.tenants.values().all(|tenant| (99..=101).contains(&tenant.size.records)));
    }

    #[test]
    fn records_leave_in_order() {
        let (evil, bank) = (identity("evil", "evil"), identity("bank", "bank"));
        let mut lane = Lane::new();
        for round in 0..3 {
            push(&mut lane, if round == 1 { &bank } else { &evil }, 30);
        }
        let batch = Batch::new(60, 1 << 20, Duration::ZERO);
        let taken = lane.take(batch);
        let components: Vec<&str> = taken.iter().map(|entry| entry.identity.component()).collect();
        assert_eq!((&components[..30], &components[30..]), (&["evil"; 30][..], &["bank"; 30][..]));
        // What is being sent takes room, and cannot be dropped.
        assert_eq!(lane.size().records, 90);
        assert_eq!(push(&mut lane, &bank, 20), [("evil".to_owned(), 10)]);
        lane.release(&Part::of(&taken, |_| 10));
        assert_eq!((lane.taken().size.records, lane.size().records), (0, 40));
    }
}
