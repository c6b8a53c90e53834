//! Series owners: those that still record in a series. It is removed when there are none.
//!
//! An owner is in one of three states:
//!
//! ```text
//!   in use ---- retire ----> retired ---- the last clone is dropped ----> retained ----> removed
//!                                                                  limits::RETENTION
//! ```
//!
//! An owner that was never retired and has no clones is kept, because its series may be recorded
//! again. A later registration of the same labels replaces it, so that there is at most one.

mod uses;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::registry::step::step;
use crate::{Identity, limits};
pub(crate) use uses::MetricSet;
use uses::{CountedUses, UseCount, Uses};

/// The labels by which the series of an owner differ from all others: key and value.
pub(crate) type Labels = Vec<(String, String)>;

/// The owner of series of the host that have certain labels, such as those of one route. A clone is
/// the same owner.
///
/// The series stay until the owner is [retired](Self::retire).
#[derive(Clone, Debug)]
pub struct SeriesOwner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    number: u64,
    metrics: Arc<MetricSet>,
    is_retired: AtomicBool,
    changes: Arc<Changes>,
}

impl SeriesOwner {
    /// Retires the owner: nothing new will be started for it.
    ///
    /// When every clone is dropped, the series are exported for another [`limits::RETENTION`], so
    /// that Prometheus gets their last values. Then they are removed, unless there is another owner
    /// of the same labels.
    pub fn retire(&self) {
        if !self.shared.is_retired.swap(true, Relaxed) {
            self.shared.changes.add(Change::Retired(self.shared.number));
        }
    }

    /// Returns `true` if the component has declared or resolved a metric with this hash.
    pub(crate) fn has_metric(&self, hash: u64) -> bool {
        self.shared.metrics.contains(hash)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changes.add(Change::Released(self.number));
    }
}

/// Changes of owners that the registry has not seen, because they need no lock of it.
#[derive(Debug, Default)]
struct Changes(Mutex<Vec<Change>>);

#[derive(Clone, Copy, Debug)]
enum Change {
    /// The owner with this number was retired.
    Retired(u64),
    /// Its last clone was dropped.
    Released(u64),
}

impl Changes {
    fn add(&self, change: Change) {
        lock(&self.0).push(change);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An owner as the registry has it.
#[derive(Debug)]
struct Entry {
    labels: Labels,
    /// `true` if it is a component, not a part of one such as a route.
    is_component: bool,
    metrics: Arc<MetricSet>,
    is_retired: bool,
    /// `true` if every clone was dropped.
    is_released: bool,
    /// The time of the first snapshot with the last values, if it is retained.
    since: Option<Duration>,
}

/// The owners whose labels have one identity, or none.
#[derive(Debug, Default)]
struct Group {
    /// By their numbers: the oldest first.
    owners: BTreeMap<u64, Entry>,
    /// The numbers of those that are released.
    released: BTreeSet<u64>,
    uses: Uses,
}

impl Group {
    fn insert(&mut self, number: u64, entry: Entry) {
        if entry.is_component {
            self.uses = match std::mem::take(&mut self.uses) {
                Uses::None => Uses::Sole(number),
                Uses::Sole(other) => {
                    let mut counted = CountedUses::default();
                    let other = self.owners.get(&other);
                    for Entry { metrics, is_retired, .. } in other.into_iter().chain([&entry]) {
                        counted.add_owner(metrics, !is_retired);
                    }
                    Uses::Counted(counted)
                }
                Uses::Counted(mut counted) => {
                    counted.add_owner(&entry.metrics, !entry.is_retired);
                    Uses::Counted(counted)
                }
            };
        }
        self.owners.insert(number, entry);
    }

    fn retire(&mut self, number: u64) {
        let Some(entry) = self.owners.get_mut(&number).filter(|entry| !entry.is_retired) else { return };
        entry.is_retired = true;
        if let Uses::Counted(counted) = &mut self.uses {
            counted.retire_owner(&entry.metrics);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        self.retire(number);
        let entry = self.owners.remove(&number)?;
        self.released.remove(&number);
        if entry.is_component {
            match &mut self.uses {
                Uses::Counted(counted) if counted.owners > 2 => counted.remove_owner(&entry.metrics),
                uses => {
                    let left = self.owners.iter().inspect(|_| step()).find(|(_, entry)| entry.is_component);
                    *uses = left.map_or(Uses::None, |(number, _)| Uses::Sole(*number));
                }
            }
        }
        Some(entry)
    }

    /// Counts a metric that was added to an owner's.
    fn add_use(&mut self, hash: u64, is_in_use: bool) {
        if let Uses::Counted(counted) = &mut self.uses {
            counted.add(hash, is_in_use);
        }
    }

    /// Returns the owners of a metric.
    fn uses(&self, hash: u64) -> UseCount {
        match &self.uses {
            Uses::None => UseCount::default(),
            Uses::Sole(number) => match self.owners.get(number) {
                Some(entry) if entry.metrics.contains(hash) => {
                    UseCount { owners: 1, in_use: u32::from(!entry.is_retired) }
                }
                _ => UseCount::default(),
            },
            Uses::Counted(counted) => counted.by_hash.get(&hash).copied().unwrap_or_default(),
        }
    }
}

/// An owner whose retention is over.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) labels: Labels,
    /// The component, if it is the owner of one.
    pub(crate) component: Option<Arc<Identity>>,
    /// `true` if another owner has the same labels.
    pub(crate) has_other_owner: bool,
}

/// The owners of one registry.
#[derive(Debug, Default)]
pub(crate) struct SeriesOwners {
    latest: u64,
    groups: HashMap<Arc<Identity>, Group>,
    /// Owners whose labels have no identity.
    others: Group,
    /// The identity of each owner, by its number.
    identities: HashMap<u64, Option<Arc<Identity>>>,
    /// The numbers of the retained owners of each tenant.
    retained: HashMap<String, BTreeSet<u64>>,
    /// Those of too many.
    excess: Vec<u64>,
    changes: Arc<Changes>,
}

impl SeriesOwners {
    /// Adds an owner of series with these labels.
    pub(crate) fn add(&mut self, labels: &[(&str, &str)]) -> SeriesOwner {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.add_entry(labels, None)
    }

    /// Adds the owner of a component whose binary declares these metrics.
    pub(crate) fn add_component(&mut self, identity: &Identity, metrics: MetricSet) -> SeriesOwner {
        let labels = Identity::KEYS.into_iter().zip(identity.values());
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.add_entry(labels, Some(metrics))
    }

    fn add_entry(&mut self, labels: Labels, metrics: Option<MetricSet>) -> SeriesOwner {
        self.apply_changes();
        self.latest += 1;
        let (number, is_component) = (self.latest, metrics.is_some());
        let metrics = Arc::new(metrics.unwrap_or_default());
        let identity = identity_of(&labels).map(|identity| match self.groups.get_key_value(&identity) {
            Some((known, _)) => known.clone(),
            None => Arc::new(identity),
        });
        let group = match &identity {
            Some(identity) => self.groups.entry(identity.clone()).or_default(),
            None => &mut self.others,
        };
        // No guest can record for a released owner, so a newer one replaces it. What only the old
        // one has is retained, as if it had been retired.
        let released = group.released.iter().inspect(|_| step());
        let released = released.filter(|old| group.owners.get(old).is_some_and(|entry| entry.labels == labels));
        let (included, others): (Vec<u64>, Vec<u64>) = released
            .copied()
            .partition(|old| group.owners.get(old).is_some_and(|entry| metrics.includes(&entry.metrics)));
        others.iter().for_each(|old| group.retire(*old));
        let entry = Entry {
            labels,
            is_component,
            metrics: metrics.clone(),
            is_retired: false,
            is_released: false,
            since: None,
        };
        group.insert(number, entry);
        self.identities.insert(number, identity);
        others.into_iter().for_each(|old| self.retain(old));
        for old in included {
            self.remove(old);
        }
        SeriesOwner {
            shared: Arc::new(Shared {
                number,
                metrics,
                is_retired: AtomicBool::new(false),
                changes: self.changes.clone(),
            }),
        }
    }

    /// Adds a metric that a guest of an owner has resolved.
    pub(crate) fn add_metric(&mut self, owner: &SeriesOwner, hash: u64) {
        let Shared { number, metrics, .. } = &*owner.shared;
        let Some(group) = self.group_of(*number) else { return };
        let Some(is_in_use) = group.owners.get(number).map(|entry| !entry.is_retired) else { return };
        if metrics.insert(hash) {
            group.add_use(hash, is_in_use);
        }
    }

    /// Returns `true` if a binary in use declares this metric of a component, or its guests have
    /// resolved it.
    pub(crate) fn is_in_use(&self, identity: &Identity, hash: u64) -> bool {
        step();
        self.uses(identity, hash).in_use > 0
    }

    /// Returns `true` if an owner has this metric of a component.
    pub(crate) fn has_metric(&self, identity: &Identity, hash: u64) -> bool {
        step();
        self.uses(identity, hash).owners > 0
    }

    fn uses(&self, identity: &Identity, hash: u64) -> UseCount {
        self.groups.get(identity).map_or(UseCount::default(), |group| group.uses(hash))
    }

    /// Removes and returns the owners whose retention is over at `now`, and the oldest of too many
    /// that a tenant has. Without a time, only the latter.
    pub(crate) fn remove_expired(&mut self, now: Option<Duration>) -> Vec<Expired> {
        self.apply_changes();
        let mut expired = std::mem::take(&mut self.excess);
        if let Some(now) = now {
            let retained: Vec<u64> = self.retained.values().flatten().copied().collect();
            for number in retained {
                step();
                let since = self.group_of(number).and_then(|group| group.owners.get_mut(&number));
                let since = since.map(|entry| *entry.since.get_or_insert(now));
                if since.is_none_or(|since| now.saturating_sub(since) > limits::RETENTION) {
                    expired.push(number);
                }
            }
        }
        expired.sort_unstable();
        expired.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Removes one owner.
    fn remove(&mut self, number: u64) -> Option<Expired> {
        let entry = self.group_of(number)?.remove(number)?;
        let identity = self.identities.remove(&number).flatten();
        if let Some(retained) = self.retained.get_mut(tenant_of(&entry.labels)) {
            retained.remove(&number);
            if retained.is_empty() {
                self.retained.remove(tenant_of(&entry.labels));
            }
        }
        let group = match &identity {
            Some(identity) => self.groups.get(identity),
            None => Some(&self.others),
        };
        let has_other_owner = group
            .is_some_and(|group| group.owners.values().inspect(|_| step()).any(|other| other.labels == entry.labels));
        if let Some(identity) = &identity
            && group.is_some_and(|group| group.owners.is_empty())
        {
            self.groups.remove(identity);
        }
        let component = identity.filter(|_| entry.is_component);
        Some(Expired { labels: entry.labels, component, has_other_owner })
    }

    /// Removes the owners without clones whose series have all these labels and were removed.
    pub(crate) fn remove_all(&mut self, labels: &Labels) {
        let identity = identity_of(labels);
        let groups: Vec<&Group> = match &identity {
            Some(identity) => self.groups.get(identity).into_iter().collect(),
            None => self.groups.values().chain([&self.others]).collect(),
        };
        let owners = groups.into_iter().flat_map(|group| &group.owners).inspect(|_| step());
        let removed =
            owners.filter(|(_, entry)| entry.is_released && labels.iter().all(|label| entry.labels.contains(label)));
        let removed: Vec<u64> = removed.map(|(number, _)| *number).collect();
        for number in removed {
            self.remove(number);
        }
    }

    fn group_of(&mut self, number: u64) -> Option<&mut Group> {
        match self.identities.get(&number)? {
            Some(identity) => self.groups.get_mut(identity),
            None => Some(&mut self.others),
        }
    }

    fn apply_changes(&mut self) {
        let changes = std::mem::take(&mut *lock(&self.changes.0));
        for change in changes {
            step();
            let (Change::Retired(number) | Change::Released(number)) = change;
            let Some(group) = self.group_of(number) else { continue };
            match change {
                Change::Retired(_) => group.retire(number),
                Change::Released(_) => {
                    let Some(entry) = group.owners.get_mut(&number) else { continue };
                    entry.is_released = true;
                    group.released.insert(number);
                }
            }
            self.retain(number);
        }
    }

    /// Starts the retention of an owner, if it is retired and released.
    fn retain(&mut self, number: u64) {
        let entry = self.group_of(number).and_then(|group| group.owners.get(&number));
        let Some(entry) = entry.filter(|entry| entry.is_retired && entry.is_released) else { return };
        let tenant = tenant_of(&entry.labels).to_owned();
        let retained = self.retained.entry(tenant).or_default();
        retained.insert(number);
        if retained.len() > limits::RETIRED_OWNERS {
            self.excess.extend(retained.pop_first());
        }
    }
}

/// Returns the identity that labels contain.
fn identity_of(labels: &Labels) -> Option<Identity> {
    let [component, version, tenant] = Identity::KEYS.map(|key| value_of(labels, key));
    Some(Identity::new(component?).with_version(version?).with_tenant(tenant?))
}

/// Returns the tenant that labels contain, or an empty text.
fn tenant_of(labels: &Labels) -> &str {
    value_of(labels, Identity::KEYS[2]).unwrap_or_default()
}

fn value_of<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
}
