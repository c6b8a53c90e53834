//! The metrics of owners: which binaries in use have a metric.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::lock;
use crate::registry::step::step;

/// The hashes of the metrics that the binary of a component declares and its guests have resolved.
#[derive(Debug, Default)]
pub(crate) struct MetricSet {
    /// In rising order.
    declared: Box<[u64]>,
    resolved: Mutex<HashSet<u64>>,
}

impl MetricSet {
    /// Creates the set of a binary that declares metrics with these hashes.
    pub(crate) fn new(declared: impl Iterator<Item = u64>) -> Self {
        let mut declared: Vec<u64> = declared.collect();
        declared.sort_unstable();
        declared.dedup();
        Self { declared: declared.into(), resolved: Mutex::default() }
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.declared.binary_search(&hash).is_ok() || lock(&self.resolved).contains(&hash)
    }

    /// Adds a metric. Returns `false` if the set has it.
    pub(super) fn insert(&self, hash: u64) -> bool {
        self.declared.binary_search(&hash).is_err() && lock(&self.resolved).insert(hash)
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(u64)) {
        self.declared.iter().copied().for_each(&mut visit);
        lock(&self.resolved).iter().copied().for_each(visit);
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
        let contains = |hash: &u64| {
            step();
            self.contains(*hash)
        };
        other.declared.iter().all(contains) && lock(&other.resolved).iter().all(contains)
    }
}

/// The uses of a component's metrics by the binaries that are registered for it.
#[derive(Debug, Default)]
pub(super) enum Uses {
    #[default]
    None,
    /// Those of one owner, whose metrics need no further index. Nearly every component has one.
    Sole(u64),
    Counted(CountedUses),
}

#[derive(Debug, Default)]
pub(super) struct CountedUses {
    /// The number of owners.
    pub(super) owners: usize,
    pub(super) by_hash: HashMap<u64, UseCount>,
}

/// The owners of one metric of a component.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UseCount {
    pub(super) owners: u32,
    /// Those that are not retired.
    pub(super) in_use: u32,
}

impl CountedUses {
    pub(super) fn add_owner(&mut self, metrics: &MetricSet, is_in_use: bool) {
        self.owners += 1;
        metrics.for_each(|hash| self.add(hash, is_in_use));
    }

    pub(super) fn add(&mut self, hash: u64, is_in_use: bool) {
        step();
        let uses = self.by_hash.entry(hash).or_default();
        uses.owners += 1;
        uses.in_use += u32::from(is_in_use);
    }

    pub(super) fn retire_owner(&mut self, metrics: &MetricSet) {
        metrics.for_each(|hash| {
            step();
            if let Some(uses) = self.by_hash.get_mut(&hash) {
                uses.in_use = uses.in_use.saturating_sub(1);
            }
        });
    }

    pub(super) fn remove_owner(&mut self, metrics: &MetricSet) {
        self.owners -= 1;
        metrics.for_each(|hash| {
            step();
            if let Some(uses) = self.by_hash.get_mut(&hash) {
                uses.owners = uses.owners.saturating_sub(1);
                if uses.owners == 0 {
                    self.by_hash.remove(&hash);
                }
            }
        });
    }
}
