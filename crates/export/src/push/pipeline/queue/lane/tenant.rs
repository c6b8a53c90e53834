//! The records of one tenant in a lane: those that wait, and those of the request that is held.

use std::collections::{BTreeMap, HashMap, VecDeque, btree_map};
use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::Entry;

use super::super::{BatchSize, HeldRequest, Owners};
use super::compare;
use crate::push::config::Limits;

/// The records of one tenant.
pub(super) struct Tenant<T> {
    /// Those that wait, with their bytes, by the number of their arrival.
    waiting: BTreeMap<u64, (Entry<T>, usize)>,
    waiting_size: BatchSize,
    components: HashMap<Arc<Identity>, Component>,
    /// The request that is sent before any of them.
    pub(super) held: Option<HeldRequest>,
    /// `true` while the destination throttles it.
    pub(super) is_throttled: bool,
}

/// The waiting records of one component.
#[derive(Default)]
struct Component {
    size: BatchSize,
    /// Their numbers, the oldest first.
    numbers: VecDeque<u64>,
}

impl<T> Tenant<T> {
    pub(super) fn new(is_throttled: bool) -> Self {
        Self {
            waiting: BTreeMap::new(),
            waiting_size: BatchSize::default(),
            components: HashMap::new(),
            held: None,
            is_throttled,
        }
    }

    /// Returns the size of all that it has.
    pub(super) fn size(&self) -> BatchSize {
        self.waiting_size + self.held.as_ref().map_or(BatchSize::default(), |held| held.part.size)
    }

    /// Returns `true` if its records may leave.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_throttled && self.held.is_none()
    }

    /// Returns the size of the records that may leave.
    pub(super) fn ready(&self) -> BatchSize {
        if self.is_ready() { self.waiting_size } else { BatchSize::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_none()
    }

    /// Returns the waiting records with their numbers and bytes, the oldest first.
    pub(super) fn waiting(&self) -> btree_map::Iter<'_, u64, (Entry<T>, usize)> {
        self.waiting.iter()
    }

    /// Returns the size of the waiting records of a component.
    pub(super) fn component_size(&self, identity: &Identity) -> BatchSize {
        self.components.get(identity).map_or(BatchSize::default(), |component| component.size)
    }

    /// Returns the component that has most waiting records, of those that are `included`.
    pub(super) fn largest_component(
        &self,
        limits: Limits,
        included: impl Fn(&Arc<Identity>) -> bool,
    ) -> Option<(&Arc<Identity>, BatchSize)> {
        let components = self.components.iter().map(|(identity, component)| (identity, component.size));
        let components = components.filter(|(identity, _)| included(identity));
        components.max_by(|(_, one), (_, other)| compare(*one, *other, limits))
    }

    pub(super) fn push(&mut self, number: u64, entry: Entry<T>, size: usize) {
        let added = BatchSize { records: 1, bytes: size };
        let component = match self.components.get_mut(&entry.identity) {
            Some(component) => component,
            None => self.components.entry(Arc::clone(&entry.identity)).or_default(),
        };
        component.size = component.size + added;
        component.numbers.push_back(number);
        self.waiting_size = self.waiting_size + added;
        self.waiting.insert(number, (entry, size));
    }

    /// Removes the newest record of a component. Returns its owner, or `None` if there is none.
    pub(super) fn remove_newest(&mut self, identity: &Arc<Identity>) -> Option<Owners> {
        let newest = self.components.get(identity)?.numbers.back().copied()?;
        self.remove(newest)?;
        let mut owners = Owners::default();
        owners.add(identity, 1);
        Some(owners)
    }

    /// Removes the oldest or the newest record of a component.
    pub(super) fn remove(&mut self, number: u64) -> Option<(Entry<T>, usize)> {
        let (entry, size) = self.waiting.remove(&number)?;
        let removed = BatchSize { records: 1, bytes: size };
        self.waiting_size = self.waiting_size - removed;
        if let Some(component) = self.components.get_mut(&entry.identity) {
            component.size = component.size - removed;
            if component.numbers.front() == Some(&number) {
                component.numbers.pop_front();
            } else {
                component.numbers.pop_back();
            }
            if component.numbers.is_empty() {
                self.components.remove(&entry.identity);
            }
        }
        Some((entry, size))
    }

    /// Adds the owners of all that it has.
    pub(super) fn add_owners(&self, owners: &mut Owners) {
        if let Some(held) = &self.held {
            owners.add_all(&held.part.owners);
        }
        let components = self.components.iter();
        components.for_each(|(identity, component)| owners.add(identity, component.numbers.len() as u64));
    }
}
