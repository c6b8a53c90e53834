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
//! again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Identity, limits};

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
    labels: Labels,
    /// For a component, the hashes of the metrics that its binary declares and its guests have
    /// resolved.
    component: Option<(Identity, Mutex<HashSet<u64>>)>,
    is_retired: AtomicBool,
}

impl SeriesOwner {
    pub(crate) fn new(labels: &[(&str, &str)]) -> Self {
        Self::with(labels, None)
    }

    /// Creates the owner of a component whose binary declares metrics with these hashes.
    pub(crate) fn of_component(identity: &Identity, metrics: HashSet<u64>) -> Self {
        let labels = Identity::KEYS.into_iter().zip(identity.values()).collect::<Vec<_>>();
        Self::with(&labels, Some((identity.clone(), metrics)))
    }

    fn with(labels: &[(&str, &str)], component: Option<(Identity, HashSet<u64>)>) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let component = component.map(|(identity, metrics)| (identity, Mutex::new(metrics)));
        Self { shared: Arc::new(Shared { labels, component, is_retired: AtomicBool::new(false) }) }
    }

    /// Retires the owner: nothing new will be started for it.
    ///
    /// When every clone is dropped, the series are exported for another [`limits::RETENTION`], so
    /// that Prometheus gets their last values. Then they are removed, unless there is another owner
    /// of the same labels.
    pub fn retire(&self) {
        self.shared.is_retired.store(true, Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.shared.is_retired.load(Relaxed)
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.shared.labels
    }

    /// The component that is the owner.
    pub(crate) fn component(&self) -> Option<&Identity> {
        self.shared.component.as_ref().map(|(identity, _)| identity)
    }

    /// Returns `true` if this is a component of the identity that has a metric with this hash.
    pub(crate) fn declares(&self, identity: &Identity, hash: u64) -> bool {
        self.component() == Some(identity) && self.has_metric(hash)
    }

    /// Returns `true` if the component has declared or resolved a metric with this hash.
    pub(crate) fn has_metric(&self, hash: u64) -> bool {
        self.shared.component.as_ref().is_some_and(|(_, metrics)| lock(metrics).contains(&hash))
    }

    /// Adds a metric that a guest of the component has resolved.
    pub(crate) fn add_metric(&self, hash: u64) {
        if let Some((_, metrics)) = &self.shared.component {
            lock(metrics).insert(hash);
        }
    }

    /// Returns `true` if this owner has the same labels and all metrics of the other one.
    fn includes(&self, other: &Self) -> bool {
        self.labels() == other.labels()
            && match (&self.shared.component, &other.shared.component) {
                (Some((_, metrics)), Some((_, others))) => lock(metrics).is_superset(&lock(others)),
                (_, other) => other.is_none(),
            }
    }

    fn has_clones(&self) -> bool {
        // The registry has one itself.
        Arc::strong_count(&self.shared) > 1
    }

    fn is_retained(&self) -> bool {
        self.is_retired() && !self.has_clones()
    }
}

fn lock(metrics: &Mutex<HashSet<u64>>) -> MutexGuard<'_, HashSet<u64>> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The owners of one registry, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct SeriesOwners {
    all: Vec<Retention>,
}

/// An owner, and since when its series are retained.
#[derive(Debug)]
struct Retention {
    owner: SeriesOwner,
    /// The time of the first snapshot with the last values.
    since: Option<Duration>,
}

impl SeriesOwners {
    /// Adds an owner. It replaces those in use that have no clones and nothing that it has not.
    pub(crate) fn add(&mut self, owner: SeriesOwner) -> SeriesOwner {
        self.all.retain(|Retention { owner: other, .. }| {
            other.has_clones() || other.is_retired() || !owner.includes(other)
        });
        self.all.push(Retention { owner: owner.clone(), since: None });
        owner
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SeriesOwner> {
        self.all.iter().map(|retention| &retention.owner)
    }

    /// Returns `true` if a binary in use declares this metric of a component.
    pub(crate) fn is_in_use(&self, identity: &Identity, hash: u64) -> bool {
        self.iter().any(|owner| !owner.is_retired() && owner.declares(identity, hash))
    }

    /// Removes and returns the owners whose retention is over at `now`, and the oldest of too many
    /// that are retained. Without a time, only the latter.
    pub(crate) fn remove_expired(&mut self, now: Option<Duration>) -> Vec<SeriesOwner> {
        let retained = self.iter().filter(|owner| owner.is_retained()).count();
        let mut excess = retained.saturating_sub(limits::RETIRED_OWNERS);
        let expired = self.all.extract_if(.., |retention| {
            if !retention.owner.is_retained() {
                return false;
            }
            if excess > 0 {
                excess -= 1;
                return true;
            }
            now.is_some_and(|now| now.saturating_sub(*retention.since.get_or_insert(now)) > limits::RETENTION)
        });
        expired.map(|retention| retention.owner).collect()
    }

    /// Removes the owners without clones whose series have all these labels and were removed.
    pub(crate) fn remove(&mut self, labels: &Labels) {
        self.all.retain(|retention| {
            let has_all = labels.iter().all(|label| retention.owner.labels().contains(label));
            retention.owner.has_clones() || !has_all
        });
    }
}
