//! One component: its metrics, and the instances that record in them.
//!
//! [`declare`] decides which metrics are exported, [`collect`] merges the instances' reads and
//! takes snapshots, [`resolve`] finds the series of the handle API, [`route`] has the routes of
//! requests.

mod collect;
mod declare;
mod resolve;
mod route;
mod turn;

use std::collections::{BTreeMap, HashMap};
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
use crate::ledger::{Accounts, Charge, StoreMemory};
use crate::memory::instance::Live;
use crate::memory::layout::{Layouts, Resolved};
use crate::registry::DROPPED;
use crate::registry::drop_log::{DropLog, NewDrop};
use crate::registry::drop_reason::HostDropReason;
use crate::registry::exposition::ComponentRoom;
use crate::registry::instrument::{Counter, Gauge};
use crate::registry::log_counter::LogCounters;
use crate::registry::owner::SeriesOwner;
use crate::registry::start_time::Clock;
use crate::request::rate::Rates;
use crate::request::{Recording, RequestTelemetry, Sink};
use crate::snapshot::labels::ComponentLabels;
use crate::{GuestLimits, Identity, Instance, Registry};
pub(crate) use collect::RegionRead;
pub(crate) use declare::{Prepared, family_of};
use resolve::GaugeCells;
pub(crate) use resolve::{Resolution, SeriesLocation, SeriesRequest};
use route::Routes;
use turn::Turns;

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

    /// The limits of the component's guests: those that the registry had when the component was
    /// first registered.
    pub fn limits(&self) -> &GuestLimits {
        &self.state.limits
    }

    /// The metrics that are not exported, with the reason: another one has their name, or the
    /// component or its tenant has as many as it may, or no memory for its values; at most
    /// [`limits::REJECTED`](crate::limits::REJECTED) of them.
    ///
    /// `wasmetry_dropped_total` counts each of them once when it is declared, as `type_conflict`,
    /// `metric_limit` or `memory_limit`, and then once for each instance, as `type_conflict` or
    /// `unknown_descriptor`.
    pub fn conflicts(&self) -> Vec<Rejected> {
        self.state.aggregates().conflicts.values().cloned().collect()
    }

    /// Starts an instance: one for each region that a guest attaches.
    pub fn instance(&self) -> Instance {
        Instance::new(self.state.clone(), self.owner.clone(), None)
    }

    /// Starts an instance as [`instance`](Self::instance) does, in a store whose memory is bounded
    /// and shown.
    pub fn instance_in(&self, memory: &StoreMemory) -> Instance {
        Instance::new(self.state.clone(), self.owner.clone(), Some(memory.clone()))
    }

    /// Returns the memory that the host keeps for the guest of a new store.
    pub fn store_memory(&self) -> StoreMemory {
        self.state.store_memory()
    }

    /// Returns the bytes that the host keeps for the component's declarations, series and guests.
    /// Those of series are exact as of the last snapshot, and estimated for newer ones.
    pub fn memory_bytes(&self) -> u64 {
        self.state.accounts.memory.bytes()
    }

    /// Sets the gauge that shows [`memory_bytes`](Self::memory_bytes). Later ones are ignored.
    pub fn set_memory_gauge(&self, gauge: Gauge) {
        self.state.accounts.memory.set_gauge(gauge);
    }

    /// Counts a region that the caller does not open.
    pub fn refuse_region(&self, reason: RegionRefusal) {
        let reason = match reason {
            RegionRefusal::FormatVersion => HostDropReason::FormatVersion,
            RegionRefusal::Limit => HostDropReason::RegionLimit,
            RegionRefusal::Repeated => HostDropReason::RegionRepeated,
        };
        self.count(reason, 1);
    }

    /// Starts the recorder of one instance that records by handles.
    pub fn recorder(&self) -> Recorder {
        let charge = self.state.store_charge();
        Recorder::in_store(self.state.clone(), self.owner.clone(), self.registry.clone(), charge)
    }

    /// Starts a recorder as [`recorder`](Self::recorder) does, in a store whose memory is bounded
    /// and shown.
    pub fn recorder_in(&self, memory: &StoreMemory) -> Recorder {
        Recorder::in_store(self.state.clone(), self.owner.clone(), self.registry.clone(), memory.charge())
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

    /// Makes the series of the numbers of logs, at 0, before the first request of a component whose
    /// logs will be received.
    pub fn expect_logs(&self) {
        self.state.logs.expect(&self.registry, &self.state.identity);
    }

    /// Starts to receive the logs and spans of one guest, for one request or one run.
    pub fn request_telemetry(&self, sink: Arc<dyn Sink>, recording: Arc<Recording>) -> RequestTelemetry {
        let sites = self.state.aggregates().sites.clone();
        self.expect_logs();
        RequestTelemetry::new(self.state.clone(), sites, sink, recording)
    }

    /// Counts what the host has dropped of a guest.
    pub(crate) fn count(&self, reason: HostDropReason, count: u64) {
        self.state.count(reason, count);
    }
}

/// The reason for which a region is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionRefusal {
    /// Its format has another version.
    FormatVersion,
    /// The store has as many as it may; see [`REGIONS`](crate::limits::REGIONS).
    Limit,
    /// It was opened before.
    Repeated,
}

/// The state that all handles of one component share.
pub(crate) struct ComponentState {
    /// Rises with each component of the registry.
    number: u32,
    identity: Identity,
    /// The identity's labels, which the tables of all metrics share.
    labels: ComponentLabels,
    aggregates: Mutex<Aggregates>,
    turns: Turns,
    accounts: Accounts,
    limits: Arc<GuestLimits>,
    /// The number of the latest read of a region or setting of a gauge.
    order: AtomicU64,
    drops: DropLog,
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
struct Aggregates {
    all: Vec<Aggregate>,
    /// The indices of aggregates that were removed.
    removed: Vec<u32>,
    /// The metric of each descriptor's hash.
    by_hash: HashMap<u64, Resolved>,
    /// The hashes of the aggregates that have others than their metric's own.
    other_hashes: HashMap<u32, Vec<u64>>,
    /// The indices of the exported aggregates, sorted by name.
    by_name: Vec<u32>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    /// The approximate bytes of the sites, which the component shares with its binary.
    site_bytes: usize,
    /// By name.
    conflicts: BTreeMap<String, Rejected>,
    layouts: Layouts,
    live: Vec<Live>,
    /// The indices of live instances that have ended.
    ended: Vec<u32>,
    /// `true` if an instance has started since the latest snapshot.
    is_busy: bool,
    /// The gauges that live instances have resolved.
    gauges: GaugeCells,
    /// The number of metrics that guests have resolved.
    resolved: usize,
    budget: Budget,
    /// The number of metrics.
    declared: Charge,
    /// The room of the series in the exposition.
    room: ComponentRoom,
    /// The time of the latest read or snapshot.
    now: Duration,
}

impl Aggregates {
    fn new(accounts: &Accounts, limits: &GuestLimits, room: ComponentRoom) -> Self {
        Self {
            all: Vec::new(),
            removed: Vec::new(),
            by_hash: HashMap::new(),
            other_hashes: HashMap::new(),
            by_name: Vec::new(),
            sites: Arc::default(),
            site_bytes: 0,
            conflicts: BTreeMap::new(),
            layouts: Layouts::default(),
            live: Vec::new(),
            ended: Vec::new(),
            is_busy: false,
            gauges: GaugeCells::default(),
            resolved: 0,
            budget: Budget::new(accounts, limits),
            declared: Charge::new(accounts.metrics.clone()),
            room,
            now: Duration::ZERO,
        }
    }
}

impl ComponentState {
    pub(crate) fn new(
        number: u32,
        identity: Identity,
        drops: DropLog,
        clock: Clock,
        room: ComponentRoom,
        accounts: Accounts,
        limits: Arc<GuestLimits>,
    ) -> Self {
        let aggregates = Aggregates::new(&accounts, &limits, room);
        Self {
            number,
            labels: ComponentLabels::new(&identity),
            identity,
            aggregates: Mutex::new(aggregates),
            turns: Turns::default(),
            accounts,
            order: AtomicU64::new(0),
            drops,
            logs: LogCounters::default(),
            clock,
            routes: Routes::default(),
            limits,
            defined_sites: DefinedSites::default(),
            guest_drops: std::array::from_fn(|_| OnceCell::new()),
            host_drops: std::array::from_fn(|_| OnceCell::new()),
        }
    }

    /// The number by which the registry finds the component.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The component's identity.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The limits of the component's guests.
    pub(crate) fn limits(&self) -> &GuestLimits {
        &self.limits
    }

    /// The rates of records.
    pub(crate) fn rates(&self) -> &Rates {
        &self.accounts.rates
    }

    /// Returns the memory that the host keeps for the guest of a new store.
    pub(crate) fn store_memory(&self) -> StoreMemory {
        StoreMemory::new(&self.accounts.memory, self.limits.store_memory)
    }

    /// Returns a charge to the component, for a guest whose store has no account.
    pub(crate) fn store_charge(&self) -> Charge {
        Charge::new(Arc::clone(&self.accounts.memory))
    }

    /// The call sites that the component's instances have defined.
    pub(crate) fn defined_sites(&self) -> &DefinedSites {
        &self.defined_sites
    }

    /// Counts what the host has dropped of a guest.
    pub(crate) fn count(&self, reason: HostDropReason, count: u64) {
        self.count_kind(&self.host_drops[reason as usize], reason.signal(), reason.label(), count);
    }

    /// Counts a log that a guest has recorded.
    pub(crate) fn count_log(&self, level: Level) {
        self.logs.count(level);
    }

    /// Counts what a guest has dropped itself.
    pub(crate) fn count_guest_drop(&self, reason: GuestDropReason, count: u64) {
        self.count_kind(&self.guest_drops[reason as usize], reason.signal(), reason.name(), count);
    }

    /// The number of a read or of a setting of a gauge that happens now; greater than all earlier
    /// ones.
    pub(crate) fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Relaxed) + 1
    }

    fn count_kind(&self, counter: &OnceCell<Counter>, signal: &str, reason: &str, count: u64) {
        let counter = counter.get_or_init(|| self.drops.counter(&self.identity, signal, reason));
        self.drops.count_in(counter, count, || NewDrop::new(&self.identity, DROPPED, signal, reason));
    }

    fn aggregates(&self) -> MutexGuard<'_, Aggregates> {
        self.aggregates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks before the reads that begin now, for those who hold the registry's lock meanwhile.
    fn aggregates_next(&self) -> MutexGuard<'_, Aggregates> {
        self.turns.lock_next(&self.aggregates)
    }
}
