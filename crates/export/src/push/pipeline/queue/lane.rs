//! One lane of a queue: the records of one priority, which the tenants share.
//!
//! Records leave in the order of their arrival. A lane that is full drops a record of whoever has
//! most: of the tenants, the one that takes most of the lane, and of its components again that one.
//! So a flood drops its own records, and whoever has less than an equal share loses nothing.
//!
//! While the destination throttles a tenant, the tenant's records stay, and so does its request
//! that was refused: it is *held* as it was sent. Both take the tenant's part of the lane, and the
//! records of others leave. If all that the largest tenant has is a held request, a full lane drops
//! that.

mod tenant;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::Entry;

use self::tenant::Tenant;
use super::{BatchSize, HeldRequest, Owners, Part};
use crate::push::config::{Batch, Limits};

/// The records of one priority.
pub(super) struct Lane<T> {
    tenants: HashMap<String, Tenant<T>>,
    /// The number of the record that arrived last.
    arrived: u64,
    /// The size of all that the tenants have.
    size: BatchSize,
    /// Of it, the size of the records that may leave.
    ready: BatchSize,
    /// The part that the worker has.
    taken: Part,
}

/// The records that are dropped to make room.
enum Victim {
    /// The newest record of this component.
    Record(Arc<Identity>),
    /// The held request of this tenant.
    Held(String),
}

impl<T> Lane<T> {
    pub(super) fn new() -> Self {
        Self {
            tenants: HashMap::new(),
            arrived: 0,
            size: BatchSize::default(),
            ready: BatchSize::default(),
            taken: Part::default(),
        }
    }

    /// Returns `true` if no record waits and no request is held.
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Returns the size of the records that may leave.
    pub(super) fn ready(&self) -> BatchSize {
        self.ready
    }

    /// Returns the size of all records: those that wait, those of held requests, and those that the
    /// worker has.
    pub(super) fn size(&self) -> BatchSize {
        self.size + self.taken.size
    }

    /// Adds a record of `size` bytes. Returns the owners of the records that were dropped: of this
    /// one, or of others that had to leave. `is_throttled` is `true` if its tenant is.
    pub(super) fn push(&mut self, entry: Entry<T>, size: usize, limits: Limits, is_throttled: bool) -> Owners {
        let mut dropped = Owners::default();
        while !self.has_room(size, limits) {
            let victim = self.largest_beside(&entry.identity, size, limits);
            match victim.and_then(|victim| self.drop_victim(&victim)) {
                Some(owners) => dropped.add_all(&owners),
                None => {
                    dropped.add(&entry.identity, 1);
                    return dropped;
                }
            }
        }
        self.arrived += 1;
        let (number, identity) = (self.arrived, Arc::clone(&entry.identity));
        if !self.tenants.contains_key(identity.tenant()) {
            self.tenants.insert(identity.tenant().to_owned(), Tenant::new(is_throttled));
        }
        self.update(identity.tenant(), |tenant| tenant.push(number, entry, size));
        dropped
    }

    /// Returns `true` if there is room for one more record of `size` bytes.
    fn has_room(&self, size: usize, limits: Limits) -> bool {
        let held = self.size();
        held.records < limits.records && held.bytes + size <= limits.bytes
    }

    /// Returns the records that have to leave for a new one of `identity`, which has `size` bytes.
    /// Returns `None` if it is the new record that is dropped.
    fn largest_beside(&self, identity: &Arc<Identity>, size: usize, limits: Limits) -> Option<Victim> {
        let added = BatchSize { records: 1, bytes: size };
        let own = self.tenants.get(identity.tenant());
        let own_size = own.map_or(BatchSize::default(), Tenant::size);
        // Whoever has its equal share already needs no comparison with the others.
        let tenants = self.tenants.len() + usize::from(own.is_none());
        if share(own_size, limits) * (tenants as f64) < 1.0 {
            let largest = self.largest(limits, |name| name != identity.tenant());
            if let Some((name, largest)) =
                largest.filter(|(_, largest)| share(largest.size(), limits) > share(own_size + added, limits))
            {
                return Some(victim_of(name, largest, limits));
            }
        }
        let largest = own?.largest_component(limits, |other| other != identity)?;
        let own_size = own?.component_size(identity);
        (share(largest.1, limits) > share(own_size + added, limits)).then(|| Victim::Record(Arc::clone(largest.0)))
    }

    /// Returns the tenant that has most of those that are `included`.
    fn largest(&self, limits: Limits, included: impl Fn(&str) -> bool) -> Option<(&str, &Tenant<T>)> {
        let tenants = self.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant));
        let tenants = tenants.filter(|(name, _)| included(name));
        tenants.max_by(|(_, one), (_, other)| compare(one.size(), other.size(), limits))
    }

    /// Drops it and returns the owners. Returns `None` if there is no such record.
    fn drop_victim(&mut self, victim: &Victim) -> Option<Owners> {
        match victim {
            Victim::Record(identity) => self.update(identity.tenant(), |tenant| tenant.remove_newest(identity))?,
            Victim::Held(name) => Some(self.update(name, |tenant| tenant.held.take())??.part.owners),
        }
    }

    /// Changes a tenant, and the sums of all with it. Returns `None` if the tenant has nothing
    /// here.
    fn update<R>(&mut self, name: &str, change: impl FnOnce(&mut Tenant<T>) -> R) -> Option<R> {
        let tenant = self.tenants.get_mut(name)?;
        (self.size, self.ready) = (self.size - tenant.size(), self.ready - tenant.ready());
        let result = change(tenant);
        (self.size, self.ready) = (self.size + tenant.size(), self.ready + tenant.ready());
        if tenant.is_empty() {
            self.tenants.remove(name);
        }
        Some(result)
    }

    /// Removes the oldest records that may leave and that fit into a batch, at least one.
    pub(super) fn take(&mut self, batch: Batch) -> Vec<Entry<T>> {
        let mut taken = Part::default();
        let mut numbers: Vec<(u64, Arc<Identity>)> = Vec::with_capacity(self.ready.records.min(batch.records));
        let mut tenants: Vec<_> = self
            .tenants
            .values()
            .filter(|tenant| tenant.is_ready())
            .map(|tenant| tenant.waiting().peekable())
            .collect();
        let oldest = tenants.iter_mut().enumerate().filter_map(|(at, waiting)| Some(Reverse((*waiting.peek()?.0, at))));
        let mut oldest: BinaryHeap<_> = oldest.collect();
        while let Some(Reverse((_, at))) = oldest.pop() {
            let Some((number, (entry, size))) = tenants[at].next() else { continue };
            let fits = taken.size.records < batch.records && taken.size.bytes + size <= batch.bytes;
            if !fits && taken.size.records > 0 {
                break;
            }
            taken.add(&entry.identity, *size);
            numbers.push((*number, Arc::clone(&entry.identity)));
            oldest.extend(tenants[at].peek().map(|(number, _)| Reverse((**number, at))));
        }
        drop(tenants);
        self.taken = taken;
        let taken = numbers
            .into_iter()
            .filter_map(|(number, identity)| self.update(identity.tenant(), |tenant| tenant.remove(number)).flatten());
        taken.map(|(entry, _)| entry).collect()
    }

    /// Frees the room of a part of what the worker has.
    pub(super) fn release(&mut self, part: &Part) {
        self.taken.remove(part);
    }

    /// Puts a request that the worker has back, before the records of its tenant. Returns the
    /// owners of the records that are dropped if there is no room for its body.
    pub(super) fn hold(&mut self, mut held: HeldRequest, limits: Limits) -> Owners {
        self.taken.remove(&held.part);
        // The records are freed; what is left is the body.
        held.part.size.bytes = held.part.size.bytes.max(held.request.body.len());
        let name = held.part.tenant().to_owned();
        self.tenants.entry(name.clone()).or_insert_with(|| Tenant::new(true));
        self.update(&name, |tenant| tenant.held = Some(held));
        let mut dropped = Owners::default();
        while self.size().records > limits.records || self.size().bytes > limits.bytes {
            let victim = self.largest(limits, |_| true).map(|(name, tenant)| victim_of(name, tenant, limits));
            let Some(owners) = victim.and_then(|victim| self.drop_victim(&victim)) else { break };
            dropped.add_all(&owners);
        }
        dropped
    }

    /// Takes the held request that is due first, of the tenants that are not throttled.
    pub(super) fn take_held(&mut self) -> Option<HeldRequest> {
        let due = self.tenants.iter().filter(|(_, tenant)| !tenant.is_throttled);
        let due = due.filter_map(|(name, tenant)| Some((tenant.held.as_ref()?.due, name)));
        let name = due.min_by_key(|(due, _)| *due)?.1.clone();
        let held = self.update(&name, |tenant| tenant.held.take())??;
        self.taken = held.part.clone();
        Some(held)
    }

    /// Records that the destination throttles a tenant, or does so no more.
    pub(super) fn set_throttled(&mut self, tenant: &str, is_throttled: bool) {
        self.update(tenant, |tenant| tenant.is_throttled = is_throttled);
    }

    /// Returns the owners of all records.
    pub(super) fn owners(&self) -> Owners {
        let mut owners = self.taken.owners.clone();
        self.tenants.values().for_each(|tenant| tenant.add_owners(&mut owners));
        owners
    }
}

/// Returns the records that a tenant loses if it has most: the newest one of the component that has
/// most.
fn victim_of<T>(name: &str, tenant: &Tenant<T>, limits: Limits) -> Victim {
    match tenant.largest_component(limits, |_| true) {
        Some((identity, _)) => Victim::Record(Arc::clone(identity)),
        None => Victim::Held(name.to_owned()),
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
    use std::time::{Duration, Instant};

    use super::*;
    use crate::push::export_request::ExportRequest;

    const LIMITS: Limits = Limits::new(100, 100_000);

    fn identity(component: &str, tenant: &str) -> Arc<Identity> {
        Arc::new(Identity::new(component).with_tenant(tenant))
    }

    /// Pushes records of 10 bytes and returns how many were dropped, by component.
    fn push(lane: &mut Lane<u32>, identity: &Arc<Identity>, records: u32) -> Vec<(String, u64)> {
        let mut dropped = Owners::default();
        for record in 0..records {
            dropped.add_all(&lane.push(Entry::new(Arc::clone(identity), record), 10, LIMITS, false));
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
        assert_eq!(lane.ready().records, 100);
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
        assert_eq!(lane.tenants["bank"].size().records, 50);
        let quiet = identity("quiet", "evil");
        assert!(push(&mut lane, &quiet, 4).iter().all(|(dropped, _)| dropped.starts_with('e')));
        assert_eq!(lane.tenants["evil"].component_size(&quiet).records, 4);
        assert_eq!(lane.tenants["bank"].size().records, 50);
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
                dropped.add_all(&lane.push(Entry::new(Arc::clone(flood), round), 10, limits, false));
            }
            if round % 10 == 0 && round < 990 {
                dropped.add_all(&lane.push(Entry::new(Arc::clone(&bank), round), 10, limits, false));
            }
        }
        assert!(dropped.iter().all(|(identity, _)| identity.tenant() != "bank"));
        assert_eq!(lane.tenants["bank"].size().records, 99);
        let lost: u64 = dropped.iter().map(|(_, records)| records).sum();
        assert_eq!((lost, lane.ready().records), (100 * 1000 + 99 - 10_100, 10_100));
        assert!(lane.tenants.values().all(|tenant| (99..=101).contains(&tenant.size().records)));
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
        assert_eq!((lane.taken.size.records, lane.size().records), (0, 40));
    }

    /// Takes all that fits into a batch, and puts it back as a request with a body of so many
    /// bytes.
    fn take_and_hold(lane: &mut Lane<u32>, body: usize) -> Owners {
        let taken = lane.take(Batch::new(60, 1 << 20, Duration::ZERO));
        let part = Part::of(&taken, |_| 10);
        lane.set_throttled(part.tenant(), true);
        let request = ExportRequest::new(vec![0; body].into(), None, false);
        lane.hold(HeldRequest { part, request, due: Instant::now() }, LIMITS)
    }

    #[test]
    fn held_request_keeps_its_place() {
        let (evil, bank) = (identity("evil", "evil"), identity("bank", "bank"));
        let mut lane = Lane::new();
        push(&mut lane, &evil, 70);
        assert_eq!(take_and_hold(&mut lane, 1).records(), 0);
        push(&mut lane, &bank, 5);
        // The throttled tenant's records stay, and are counted once.
        assert_eq!((lane.ready().records, lane.size().records, lane.size().bytes), (5, 75, 750));
        assert_eq!(held(&lane), [("bank".to_owned(), 5), ("evil".to_owned(), 70)]);
        assert!(lane.take_held().is_none());
        let others = lane.take(Batch::new(60, 1 << 20, Duration::ZERO));
        assert!(others.len() == 5 && others.iter().all(|entry| entry.identity == bank));
        lane.release(&Part::of(&others, |_| 10));
        lane.set_throttled("evil", false);
        // Its records follow the request.
        assert_eq!(lane.ready().records, 0);
        let request = lane.take_held().unwrap();
        assert_eq!((request.part.records(), lane.ready().records, lane.size().records), (60, 10, 70));
        lane.release(&request.part);
        assert_eq!((lane.size().records, lane.size().bytes), (10, 100));
    }

    // Held requests of tenants that are throttled leave the others their share of the lane.
    #[test]
    fn held_request_leaves_full_lane() {
        let (evil, bank) = (identity("evil", "evil"), identity("bank", "bank"));
        let mut lane = Lane::new();
        push(&mut lane, &evil, 100);
        take_and_hold(&mut lane, 1);
        assert_eq!(push(&mut lane, &bank, 40), [("evil".to_owned(), 40)]);
        assert_eq!(push(&mut lane, &bank, 1), [("evil".to_owned(), 60)]);
        assert_eq!(held(&lane), [("bank".to_owned(), 41)]);
        assert!(lane.take_held().is_none() && lane.ready().records == 41);
    }

    #[test]
    fn held_body_takes_its_bytes() {
        let (evil, bank) = (identity("evil", "evil"), identity("bank", "bank"));
        let mut lane = Lane::new();
        push(&mut lane, &evil, 80);
        assert_eq!(take_and_hold(&mut lane, 50_000).records(), 0);
        assert_eq!((lane.size().records, lane.size().bytes), (80, 50_200));
        push(&mut lane, &bank, 30);
        // A body for which there is no room drops what its tenant has.
        lane.set_throttled("evil", false);
        let mut request = lane.take_held().unwrap();
        request.request.body = vec![0; 100_000].into();
        lane.set_throttled("evil", true);
        let dropped = lane.hold(request, LIMITS);
        assert_eq!((dropped.records(), lane.size().records), (70, 30));
    }
}
