//! One component: its metrics, and the instances that record in them.
//!
//! [`declare`] decides which metrics are exported, [`collect`] merges the instances' reads and
//! takes snapshots, [`resolve`] finds the series of the handle API, [`route`] has the routes of
//! requests.

mod collect;
mod declare;
mod resolve;
mod route;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use wasmetry_abi::Level;
use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::{Aggregate, Budget};
use crate::declaration::Rejected;
use crate::declaration::dynamic::DefinedSites;
use crate::declaration::site::Site;
use crate::handle_api::Recorder;
use crate::memory::instance::Live;
use crate::memory::layout::{Layouts, Resolved};
use crate::registry::drop_reason::HostDropReason;
use crate::registry::instrument::{Counter, Family};
use crate::registry::log_counter::LogCounters;
use crate::registry::owner::SeriesOwner;
use crate::registry::start_time::Clock;
use crate::request::{Recording, RequestTelemetry, Sink};
use crate::{Identity, Instance, Registry};
pub(crate) use declare::family_of;
use resolve::GaugeCells;
pub(crate) use resolve::{Resolution, SeriesLocation, SeriesRequest};
use route::Routes;

/// A registered component. A clone is the same component.
#[derive(Clone, Debug)]
pub struct Component {
    state: Arc<ComponentState>,
    owner: SeriesOwner,
    registry: Registry,
}

impl Component {
    pub(crate) fn new(state: Arc<ComponentState>, owner: SeriesOwner, registry: Registry) -> Self {
        Self { state, owner, registry }
    }

    /// The component's identity.
    pub fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// The metrics that are not exported because another one has their name, with the reason; at
    /// most [`limits::REJECTED`](crate::limits::REJECTED) of them.
    ///
    /// `wasmetry_dropped_total{reason="type_conflict"}` counts each of them once, and then once for
    /// each instance.
    pub fn conflicts(&self) -> Vec<Rejected> {
        self.state.aggregates().conflicts.clone()
    }

    /// Starts an instance: one for each region that a guest attaches.
    pub fn instance(&self) -> Instance {
        Instance::new(self.state.clone(), self.owner.clone())
    }

    /// Starts the recorder of one instance that records by handles.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.state.clone(), self.owner.clone(), self.registry.clone())
    }

    /// Retires the component: no more instances will be started.
    ///
    /// When the last instance has ended and every clone of the component is dropped, its series and
    /// those of the host about it are exported for another
    /// [`limits::RETENTION`](crate::limits::RETENTION), so that Prometheus gets their last values,
    /// and are then removed. If the same identity was registered again, they stay, without the
    /// metrics that only this binary declares.
    ///
    /// From now on, a component that is registered with a metric of the same name but another type,
    /// unit or buckets takes over the name: the newer version counts.
    pub fn retire(&self) {
        self.owner.retire();
    }

    /// Starts to receive the logs and spans of one guest, for one request or one run.
    pub fn request_telemetry(&self, sink: Arc<dyn Sink>, recording: Arc<Recording>) -> RequestTelemetry {
        let sites = self.state.aggregates().sites.clone();
        self.state.logs.expect(&self.registry, &self.state.identity);
        RequestTelemetry::new(self.state.clone(), sites, sink, recording)
    }

    /// Counts what the host has dropped of a guest.
    pub(crate) fn count(&self, reason: HostDropReason, count: u64) {
        self.state.count(reason, count);
    }
}

/// The state that all handles of one component share.
pub(crate) struct ComponentState {
    identity: Identity,
    aggregates: Mutex<Aggregates>,
    /// The number of the latest read of a region or setting of a gauge.
    order: AtomicU64,
    dropped: Family<Counter>,
    logs: LogCounters,
    clock: Clock,
    routes: Routes,
    defined_sites: DefinedSites,
    guest_drops: [OnceCell<Counter>; GuestDropReason::ALL.len()],
    host_drops: [OnceCell<Counter>; HostDropReason::COUNT],
}

impl fmt::Debug for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentState").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The aggregates of one component, and the data of its live instances.
#[derive(Default)]
struct Aggregates {
    all: Vec<Aggregate>,
    /// The indices of aggregates that were removed.
    removed: Vec<u32>,
    /// The metric of each descriptor's hash.
    by_hash: HashMap<u64, Resolved>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    conflicts: Vec<Rejected>,
    layouts: Layouts,
    live: Vec<Live>,
    /// The indices of live instances that have ended.
    ended: Vec<u32>,
    /// The gauges that live instances have resolved.
    gauges: GaugeCells,
    /// The number of metrics that guests have resolved.
    resolved: usize,
    budget: Budget,
    /// The time of the latest read or snapshot.
    now: Duration,
}

impl ComponentState {
    pub(crate) fn new(identity: Identity, dropped: Family<Counter>, clock: Clock) -> Self {
        Self {
            identity,
            aggregates: Mutex::default(),
            order: AtomicU64::new(0),
            dropped,
            logs: LogCounters::default(),
            clock,
            routes: Routes::default(),
            defined_sites: DefinedSites::default(),
            guest_drops: std::array::from_fn(|_| OnceCell::new()),
            host_drops: std::array::from_fn(|_| OnceCell::new()),
        }
    }

    /// The component's identity.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The call sites that the component's instances have defined.
    pub(crate) fn defined_sites(&self) -> &DefinedSites {
        &self.defined_sites
    }

    /// Counts what the host has dropped of a guest.
    pub(crate) fn count(&self, reason: HostDropReason, count: u64) {
        let counter = || self.drop_counter(reason.signal(), reason.label());
        self.host_drops[reason as usize].get_or_init(counter).add(count);
    }

    /// Counts a log that a guest has recorded.
    pub(crate) fn count_log(&self, level: Level) {
        self.logs.count(level);
    }

    /// Counts what a guest has dropped itself.
    pub(crate) fn count_guest_drop(&self, reason: GuestDropReason, count: u64) {
        let counter = || self.drop_counter(reason.signal(), reason.name());
        self.guest_drops[reason as usize].get_or_init(counter).add(count);
    }

    /// The number of a read or of a setting of a gauge that happens now; greater than all earlier
    /// ones.
    pub(crate) fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Relaxed) + 1
    }

    fn drop_counter(&self, signal: &str, reason: &str) -> Counter {
        let [component, version, tenant] = self.identity.values();
        self.dropped.with(&[component, version, tenant, signal, reason])
    }

    fn aggregates(&self) -> MutexGuard<'_, Aggregates> {
        self.aggregates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
