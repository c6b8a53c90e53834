//! The series of the host's metrics: by component and tenant, of which each has room of its own.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::{SeriesIndex, SeriesLimits};
use super::{Counter, FloatCounter, Gauge, Histogram, Instrument};
use crate::ledger::Ledger;
use crate::registry::drop_log::DropLog;
use crate::registry::drop_reason::HostDropReason;
use crate::registry::family::FamilyInfo;
use crate::registry::owner::Labels;
use crate::registry::start_time::Clock;
use crate::snapshot::{Block, Rows};
use crate::{Identity, Rejected};

/// The series of one metric of the host. A clone is the same family.
pub struct Family<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.inner.info.name()).finish_non_exhaustive()
    }
}

struct Inner<M> {
    info: Arc<FamilyInfo>,
    members: Mutex<Members<M>>,
    rejected: Option<Rejected>,
    /// Counts series for which there is no room; `None` in the family of that log itself.
    dropped: Option<DropLog>,
}

/// The series of a family. All that does not depend on the instrument is in the index, so that a
/// program has its code once.
struct Members<M> {
    index: SeriesIndex,
    /// By row.
    instruments: Vec<M>,
}

impl<M: Instrument> Family<M> {
    /// Creates a family that counts series for which it has no room in `dropped`.
    pub(crate) fn new(
        info: Arc<FamilyInfo>,
        keys: &[&str],
        clock: &Clock,
        limits: &Arc<SeriesLimits>,
        dropped: Option<&DropLog>,
    ) -> Self {
        Self::with_rejection(info, keys, clock, limits, dropped, None)
    }

    /// Creates a family that is not exported.
    pub(crate) fn new_rejected(
        info: Arc<FamilyInfo>,
        keys: &[&str],
        clock: &Clock,
        limits: &Arc<SeriesLimits>,
        rejected: Rejected,
    ) -> Self {
        Self::with_rejection(info, keys, clock, limits, None, Some(rejected))
    }

    fn with_rejection(
        info: Arc<FamilyInfo>,
        keys: &[&str],
        clock: &Clock,
        limits: &Arc<SeriesLimits>,
        dropped: Option<&DropLog>,
        rejected: Option<Rejected>,
    ) -> Self {
        let index = SeriesIndex::new(keys, clock, info.kind().has_start_time(), limits);
        let members = Mutex::new(Members { index, instruments: Vec::new() });
        Self { inner: Arc::new(Inner { info, members, rejected, dropped: dropped.cloned() }) }
    }

    /// The reason why the family is not exported, if it is not.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.inner.rejected.as_ref()
    }

    /// Returns the series with these values of the family's keys, which is made if there is none.
    /// Keep the handle if it is used often.
    ///
    /// An empty or missing value is a label that is absent. If the keys have those of an
    /// [`Identity`](crate::Identity), a component has
    /// [`SERIES_PER_COMPONENT_AND_HOST_FAMILY`](crate::limits::SERIES_PER_COMPONENT_AND_HOST_FAMILY)
    /// series and a tenant
    /// [`SERIES_PER_TENANT_AND_HOST_FAMILY`](crate::limits::SERIES_PER_TENANT_AND_HOST_FAMILY),
    /// unless [`GuestLimits`](crate::GuestLimits) has other numbers;
    /// else the family has [`SERIES_PER_HOST_FAMILY`](crate::limits::SERIES_PER_HOST_FAMILY).
    /// Beyond them, each further one is the series whose other labels are all `overflow`, and is
    /// counted in `wasmetry_dropped_total`.
    pub fn with(&self, values: &[&str]) -> M {
        let mut members = self.members();
        if let Some(row) = members.index.row(values) {
            return members.instruments[row].clone();
        }
        if members.index.has_room(values) {
            return self.insert(&mut members, values);
        }
        let overflow = members.index.overflow(values);
        let instrument = match members.index.row(&overflow) {
            Some(row) => members.instruments[row].clone(),
            None => self.insert(&mut members, &overflow),
        };
        let [tenant, component, version] = members.index.identity(values).unwrap_or_default();
        drop(members);
        if let Some(dropped) = &self.inner.dropped {
            let (signal, reason) = (HostDropReason::SeriesLimit.signal(), HostDropReason::SeriesLimit.label());
            if [tenant, component, version].iter().all(|value| value.is_empty()) {
                dropped.ownerless(signal, reason).inc();
            } else {
                let identity = Identity::new(component).with_version(version).with_tenant(tenant);
                dropped.count(&identity, signal, reason, 1);
            }
        }
        instrument
    }

    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        self.members().index.keys() == keys
    }

    /// Returns the current values of the family.
    pub(crate) fn collect(&self) -> (Arc<FamilyInfo>, Block) {
        let members = self.members();
        let rows = members.index.order();
        let instruments = || rows.iter().map(|row| &members.instruments[*row as usize]);
        let (values, exemplars) = (M::values(instruments()), M::exemplars(instruments()));
        let (labels, rows) = (members.index.labels().clone(), Rows::Some(rows));
        let created = members.index.start_times().of(&rows);
        (self.inner.info.clone(), Block { labels, rows, values, created, exemplars })
    }

    /// Charges the approximate bytes of the series to their tenants.
    pub(crate) fn charge(&self, ledger: &Ledger) {
        self.members().index.charge(M::memory(&self.inner.info), ledger);
    }

    /// Removes the series that have all these labels. Handles of them record, but are not exported.
    pub(crate) fn remove(&self, labels: &Labels) {
        let mut members = self.members();
        members.index.remove(labels);
        if let Some(rows) = members.index.compact() {
            members.instruments = rows.into_iter().map(|row| members.instruments[row as usize].clone()).collect();
        }
    }

    fn insert(&self, members: &mut Members<M>, values: &[&str]) -> M {
        let instrument = M::new(&self.inner.info);
        members.index.push(values);
        members.instruments.push(instrument.clone());
        instrument
    }

    fn members(&self) -> MutexGuard<'_, Members<M>> {
        self.inner.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A family of any instrument.
#[derive(Clone, Debug)]
pub(crate) enum AnyFamily {
    Counter(Family<Counter>),
    FloatCounter(Family<FloatCounter>),
    Gauge(Family<Gauge>),
    Histogram(Family<Histogram>),
}

impl AnyFamily {
    pub(crate) fn collect(&self) -> (Arc<FamilyInfo>, Block) {
        match self {
            Self::Counter(family) => family.collect(),
            Self::FloatCounter(family) => family.collect(),
            Self::Gauge(family) => family.collect(),
            Self::Histogram(family) => family.collect(),
        }
    }

    pub(crate) fn charge(&self, ledger: &Ledger) {
        match self {
            Self::Counter(family) => family.charge(ledger),
            Self::FloatCounter(family) => family.charge(ledger),
            Self::Gauge(family) => family.charge(ledger),
            Self::Histogram(family) => family.charge(ledger),
        }
    }

    pub(crate) fn remove(&self, labels: &Labels) {
        match self {
            Self::Counter(family) => family.remove(labels),
            Self::FloatCounter(family) => family.remove(labels),
            Self::Gauge(family) => family.remove(labels),
            Self::Histogram(family) => family.remove(labels),
        }
    }
}
