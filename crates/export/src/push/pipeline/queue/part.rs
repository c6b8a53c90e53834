//! The parts of a batch, and the owners of their records.

use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::Entry;

use super::{Record, size};

/// A number of records and their bytes in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchSize {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl std::ops::Add for BatchSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl std::ops::Sub for BatchSize {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// Components, and the number of records of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners(Vec<(Arc<Identity>, u64)>);

impl Owners {
    pub(super) fn add(&mut self, identity: &Arc<Identity>, records: u64) {
        // Mostly the one that came last.
        match self.0.iter_mut().rev().find(|(known, _)| known == identity) {
            Some((_, count)) => *count += records,
            None => self.0.push((Arc::clone(identity), records)),
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        others.0.iter().for_each(|(identity, records)| self.add(identity, *records));
    }

    fn remove(&mut self, others: &Self) {
        for (identity, records) in &others.0 {
            if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == identity) {
                *count = count.saturating_sub(*records);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Returns each component with its number of records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Identity, u64)> {
        self.0.iter().map(|(identity, records)| (&**identity, *records))
    }

    /// Returns the number of all records.
    pub(crate) fn records(&self) -> u64 {
        self.0.iter().map(|(_, records)| records).sum()
    }

    /// Returns the component if all records are of one.
    pub(crate) fn sole(&self) -> Option<&Identity> {
        match &self.0[..] {
            [(identity, _)] => Some(identity),
            _ => None,
        }
    }
}

/// A part of a batch: its size, its owners and its lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(super) size: BatchSize,
    /// `true` if it is of the lane of audit records.
    pub(super) is_audit: bool,
    pub(crate) owners: Owners,
}

impl Part {
    /// Returns the part that these entries are. `size_of` returns the bytes of one.
    pub(super) fn of<T>(entries: &[Entry<T>], size_of: impl Fn(&Entry<T>) -> usize) -> Self {
        let mut part = Self::default();
        entries.iter().for_each(|entry| part.add(&entry.identity, size_of(entry)));
        part
    }

    /// Returns the part that these entries are.
    pub(crate) fn of_entries<T: Record>(entries: &[Entry<T>]) -> Self {
        let is_audit = entries.first().is_some_and(|entry| entry.record.is_audit());
        Self { is_audit, ..Self::of(entries, size) }
    }

    pub(super) fn add(&mut self, identity: &Arc<Identity>, bytes: usize) {
        self.size = self.size + BatchSize { records: 1, bytes };
        self.owners.add(identity, 1);
    }

    /// Adds another part.
    pub(crate) fn add_part(&mut self, other: &Self) {
        self.size = self.size + other.size;
        self.is_audit |= other.is_audit;
        self.owners.add_all(&other.owners);
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.size = self.size - other.size;
        self.owners.remove(&other.owners);
    }

    /// Returns the number of records.
    pub(crate) fn records(&self) -> u64 {
        self.size.records as u64
    }

    /// Returns the tenant of the first record.
    pub(crate) fn tenant(&self) -> &str {
        self.owners.0.first().map_or("", |(identity, _)| identity.tenant())
    }
}
