//! The memory of series by their owners, and the drops of those that find no room.
//!
//! In come the labels of a series. Out comes the account of its owner, which gets a fair share of
//! what is free. What was granted stays granted while the series exists.

use std::collections::HashMap;

use wasmetry_host::Identity;
use wasmetry_host::limits::is_fair_share;

use super::label_set::Labels;
use crate::owner::Owners;
use crate::record::drop::Dropped;

/// An account of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Series of the host itself, without a component. They have all that is free.
    Host,
    /// Metrics of which there was no series yet.
    Empty,
    /// Series of an owner. The host's metrics about it have an account beside that of its guests'
    /// metrics.
    Owner { owner: u32, is_host: bool },
}

/// The bytes of all accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    owners: Owners,
    /// By the numbers of the owners: of guests' metrics, and of the host's.
    bytes: Vec<[usize; 2]>,
    empty: usize,
}

/// The memory for what the series need beside columns, and the part of it that is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) limit: usize,
    pub(super) used: usize,
}

impl Room {
    /// Returns the room with more that is in use.
    pub(super) fn less(self, bytes: usize) -> Self {
        Self { used: self.used + bytes, ..self }
    }
}

/// The part of the memory that metrics without a series may have.
const EMPTY_DIVISOR: usize = 16;

impl Accounts {
    /// Returns the account of a series with these labels, of a metric of the host or of guests.
    pub(super) fn account(&mut self, labels: &Labels<'_>, is_host: bool) -> Account {
        let (component, tenant) = (labels.get("component"), labels.get("tenant"));
        if component.is_empty() && tenant.is_empty() {
            return Account::Host;
        }
        Account::Owner { owner: self.owners.number(component, tenant), is_host }
    }

    /// Returns `true` if so many bytes may be added.
    pub(super) fn may_add(&self, account: Account, bytes: usize, room: Room) -> bool {
        let Some(free) = room.limit.checked_sub(room.used.saturating_add(bytes)) else { return false };
        match account {
            Account::Host => true,
            Account::Empty => self.empty + bytes <= room.limit / EMPTY_DIVISOR,
            Account::Owner { owner, is_host } => {
                let has = self.bytes.get(owner as usize).map_or(0, |bytes| bytes[usize::from(is_host)]);
                is_fair_share((has + bytes) as u64, free as u64, room.limit as u64)
            }
        }
    }

    /// Adds bytes, whether there is room or not.
    pub(super) fn add(&mut self, account: Account, bytes: usize) {
        match account {
            Account::Host => {}
            Account::Empty => self.empty += bytes,
            Account::Owner { owner, is_host } => {
                let owner = owner as usize;
                if self.bytes.len() <= owner {
                    self.bytes.resize(owner + 1, [0; 2]);
                }
                self.bytes[owner][usize::from(is_host)] += bytes;
            }
        }
    }

    /// Removes bytes that were added.
    pub(super) fn remove(&mut self, account: Account, bytes: usize) {
        match account {
            Account::Host => {}
            Account::Empty => self.empty -= bytes,
            Account::Owner { owner, is_host } => self.bytes[owner as usize][usize::from(is_host)] -= bytes,
        }
    }

    /// Forgets the owners that have nothing.
    pub(super) fn forget_empty(&mut self) {
        let bytes = &self.bytes;
        self.owners.retain(|owner| bytes.get(owner as usize).is_some_and(|bytes| *bytes != [0; 2]));
    }

    /// The bytes of the accounts themselves.
    pub(super) fn own_bytes(&self) -> usize {
        self.owners.bytes()
    }
}

/// The series of a snapshot that found no room, by component.
#[derive(Debug, Default)]
pub(super) struct Refused {
    counts: Vec<(Identity, u64)>,
    places: HashMap<Identity, usize>,
    /// The place of the last one: those of a component follow each other.
    last: usize,
}

impl Refused {
    /// Counts a series with these labels.
    pub(super) fn add(&mut self, labels: &Labels<'_>) {
        let values = Identity::KEYS.map(|key| labels.get(key));
        if let Some((known, count)) = self.counts.get_mut(self.last)
            && known.values() == values
        {
            *count += 1;
            return;
        }
        let [component, version, tenant] = values;
        let identity = Identity::new(component).with_version(version).with_tenant(tenant);
        let counts = &mut self.counts;
        self.last = *self.places.entry(identity).or_insert_with_key(|identity| {
            counts.push((identity.clone(), 0));
            counts.len() - 1
        });
        self.counts[self.last].1 += 1;
    }

    /// Returns the drops.
    pub(super) fn into_drops(self) -> Vec<Dropped> {
        self.counts.into_iter().map(|(identity, count)| Dropped { identity, signal: "metrics", count }).collect()
    }
}
