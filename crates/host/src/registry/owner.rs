//! SeriesOwners: whose series they are, so that they can go when their owner has gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Identity, limits};

/// The labels that tell the series of an owner from all others: key and value.
pub(crate) type Labels = Vec<(String, String)>;

/// The right to series of the host's own by labels that they have, such as those of one route. A clone is the same owner.
///
/// As long as it is not [retired](Self::retire), nothing happens to the series.
#[derive(Clone, Debug)]
pub struct SeriesOwner {
    terms: Arc<Retention>,
}

#[derive(Debug)]
struct Retention {
    labels: Labels,
    /// A component's, with the hashes of what its binary declares and its guests have resolved.
    component: Option<(Identity, Mutex<HashSet<u64>>)>,
    is_retired: AtomicBool,
}

impl SeriesOwner {
    pub(crate) fn new(labels: &[(&str, &str)]) -> Self {
        Self::with(labels, None)
    }

    /// The owner of a component whose binary declares metrics with these hashes.
    pub(crate) fn of(identity: &Identity, metrics: HashSet<u64>) -> Self {
        let labels = Identity::KEYS.into_iter().zip(identity.values()).collect::<Vec<_>>();
        Self::with(&labels, Some((identity.clone(), metrics)))
    }

    fn with(labels: &[(&str, &str)], component: Option<(Identity, HashSet<u64>)>) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let component = component.map(|(identity, metrics)| (identity, Mutex::new(metrics)));
        Self { terms: Arc::new(Retention { labels, component, is_retired: AtomicBool::new(false) }) }
    }

    /// Nothing new will be begun under this owner.
    ///
    /// Once every clone of it has gone, the series are exported for [`limits::RETENTION`] more, so that Prometheus has
    /// their last values, and are then removed; unless there is another owner for the same labels.
    pub fn retire(&self) {
        self.terms.is_retired.store(true, Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.terms.is_retired.load(Relaxed)
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.terms.labels
    }

    /// The component that this is the owner of.
    pub(crate) fn component(&self) -> Option<&Identity> {
        self.terms.component.as_ref().map(|(identity, _)| identity)
    }

    /// Whether it is a owner of this component, whose binary declares a metric with this hash.
    pub(crate) fn declares(&self, identity: &Identity, hash: u64) -> bool {
        self.terms.component.as_ref().is_some_and(|(own, metrics)| own == identity && lock(metrics).contains(&hash))
    }

    /// Whether the component of this owner has declared or resolved a metric with this hash.
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.terms.component.as_ref().is_some_and(|(_, metrics)| lock(metrics).contains(&hash))
    }

    /// A guest of the component has resolved a metric with this hash.
    pub(crate) fn adopt(&self, hash: u64) {
        if let Some((_, metrics)) = &self.terms.component {
            lock(metrics).insert(hash);
        }
    }

    /// Whether this is a owner for the same labels and the same metrics or more.
    fn includes(&self, other: &Self) -> bool {
        self.labels() == other.labels()
            && match (&self.terms.component, &other.terms.component) {
                (Some((_, metrics)), Some((_, others))) => lock(metrics).is_superset(&lock(others)),
                (_, other) => other.is_none(),
            }
    }

    fn is_held(&self) -> bool {
        // The registry has one clone itself.
        Arc::strong_count(&self.terms) > 1
    }

    fn is_over(&self) -> bool {
        self.is_retired() && !self.is_held()
    }
}

fn lock(metrics: &Mutex<HashSet<u64>>) -> MutexGuard<'_, HashSet<u64>> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The owners of one registry, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct SeriesOwners {
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    owner: SeriesOwner,
    /// The first snapshot that had the last values.
    since: Option<Duration>,
}

impl SeriesOwners {
    /// Adds a owner; one that was not retired, that nobody holds and that says no more than this one goes for it.
    pub(crate) fn add(&mut self, owner: SeriesOwner) -> SeriesOwner {
        self.all.retain(|Entry { owner: other, .. }| other.is_held() || other.is_retired() || !owner.includes(other));
        self.all.push(Entry { owner: owner.clone(), since: None });
        owner
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SeriesOwner> {
        self.all.iter().map(|entry| &entry.owner)
    }

    /// Whether a binary that is not retired declares this metric of a component.
    pub(crate) fn want(&self, identity: &Identity, hash: u64) -> bool {
        self.iter().any(|owner| !owner.is_retired() && owner.declares(identity, hash))
    }

    /// Takes out the owners whose series have been exported for long enough at the moment `now`, or which are the oldest
    /// of too many.
    pub(crate) fn expire(&mut self, now: Option<Duration>) -> Vec<SeriesOwner> {
        let mut excess = self.iter().filter(|owner| owner.is_over()).count().saturating_sub(limits::RETIRED_OWNERS);
        let expired = self.all.extract_if(.., |entry| {
            if !entry.owner.is_over() {
                return false;
            }
            if excess > 0 {
                excess -= 1;
                return true;
            }
            now.is_some_and(|now| now.saturating_sub(*entry.since.get_or_insert(now)) > limits::RETENTION)
        });
        expired.map(|entry| entry.owner).collect()
    }

    /// Takes out the owners that nobody holds of series which have all these labels and have been removed.
    pub(crate) fn forget(&mut self, labels: &Labels) {
        self.all.retain(|entry| {
            let has_all = labels.iter().all(|label| entry.owner.labels().contains(label));
            entry.owner.is_held() || !has_all
        });
    }
}
