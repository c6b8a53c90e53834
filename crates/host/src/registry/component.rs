//! One component: the totals of all its instances.

mod resolve;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use wasmetry_abi::Kind;
use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::exemplar::{Exemplar, ExemplarContext, PendingExemplar};
use crate::aggregate::exponential_counts::classic_bounds;
use crate::aggregate::{Aggregate, Budget, Current, EntryBytes, LastSeen, Moment, SoleObservation};
use crate::declaration::site::Site;
use crate::declaration::{Metric, Overlap, Rejected};
use crate::handle_api::Recorder;
use crate::memory::instance::Live;
use crate::memory::layout::{Layout, Layouts, Resolved};
use crate::memory::region::Region;
use crate::memory::view::RegionView;
use crate::record::TraceContext;
use crate::registry::drop_reason::{DropCounts, HostDropReason, ReportedDrops};
use crate::registry::family::{Families, FamilyInfo, FamilyKind, Owner};
use crate::registry::instrument::{Counter, Family};
use crate::registry::owner::SeriesOwner;
use crate::registry::start_time::Clock;
use crate::request::{Recording, RequestTelemetry, Sink};
use crate::snapshot::Block;
use crate::{Declarations, Identity, Instance, Registry, limits};
use resolve::GaugeCells;
pub(crate) use resolve::{Resolution, SeriesLocation, SeriesRequest};

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

    /// Who the component is.
    pub fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// The metrics that are dropped because another one has their name, and why; at most [`limits::REJECTED`] of them.
    ///
    /// `wasmetry_dropped_total{reason="type_conflict"}` counts each of them once, and then each instance's.
    pub fn conflicts(&self) -> Vec<Rejected> {
        self.state.totals().conflicts.clone()
    }

    /// Starts an instance: one for each region that a guest attaches.
    pub fn instance(&self) -> Instance {
        Instance::new(self.state.clone(), self.owner.clone())
    }

    /// Starts to take what one instance records by handles.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.state.clone(), self.owner.clone(), self.registry.clone())
    }

    /// No more instances will be started.
    ///
    /// Once the last instance has ended and every clone of this is gone, the component's series and those that the host has
    /// of it are exported for [`limits::RETENTION`] more, so that Prometheus has their last values, and are then removed.
    /// Where the same identity was registered again, they stay, without the metrics that only this binary declares.
    ///
    /// From now on, a component that is registered with a metric of the same name but another type, unit or buckets takes
    /// the name over: the newer version counts.
    pub fn retire(&self) {
        self.owner.retire();
    }

    /// Starts to follow the logs and spans of one guest, for one request or one run.
    pub fn request_telemetry(&self, sink: Arc<dyn Sink>, recording: Arc<Recording>) -> RequestTelemetry {
        let sites = self.state.totals().sites.clone();
        RequestTelemetry::new(self.state.clone(), sites, sink, recording)
    }

    /// Counts what a guest did wrong.
    pub(crate) fn offence(&self, offence: HostDropReason, count: u64) {
        self.state.count(offence, count);
    }
}

/// What all handles of one component share.
pub(crate) struct ComponentState {
    identity: Identity,
    totals: Mutex<Aggregates>,
    /// The number of the latest read of a region or setting of a gauge.
    order: AtomicU64,
    dropped: Family<Counter>,
    clock: Clock,
    losses: [OnceCell<Counter>; GuestDropReason::ALL.len()],
    offences: [OnceCell<Counter>; HostDropReason::COUNT],
}

impl fmt::Debug for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentState").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The totals of one component, and what its instances that are alive have contributed to them.
#[derive(Default)]
struct Aggregates {
    totals: Vec<Aggregate>,
    /// The indices of totals that are nobody's any more.
    vacant: Vec<u32>,
    meanings: HashMap<u64, Resolved>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    conflicts: Vec<Rejected>,
    layouts: Layouts,
    live: Vec<Live>,
    free: Vec<u32>,
    /// The gauges that instances which are alive have resolved.
    settings: GaugeCells,
    /// The number of metrics that were resolved.
    resolved: usize,
    budget: Budget,
    /// The time of the latest read or snapshot.
    now: Duration,
}

/// How far a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The instance goes on.
    Goes,
    /// The instance has ended.
    Ends,
}

/// One look at a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// The time since the moment that the registry counts from.
    pub(crate) now: Duration,
    pub(crate) extent: Extent,
}

impl ComponentState {
    pub(crate) fn new(identity: Identity, dropped: Family<Counter>, clock: Clock) -> Self {
        Self {
            identity,
            totals: Mutex::default(),
            order: AtomicU64::new(0),
            dropped,
            clock,
            losses: std::array::from_fn(|_| OnceCell::new()),
            offences: std::array::from_fn(|_| OnceCell::new()),
        }
    }

    /// Makes totals for what a binary of this identity declares.
    ///
    /// `is_wanted` says of a metric of this component, by its hash, whether a binary that is still in use declares it.
    pub(crate) fn declare(
        &self,
        declarations: &Declarations,
        families: &mut Families,
        is_wanted: impl Fn(u64) -> bool,
    ) {
        let mut totals = self.totals();
        let mut conflicts = 0;
        for metric in declarations.metrics() {
            let known = totals.meanings.get(&metric.hash);
            if known.is_some_and(|known| totals.total(*known).is_some_and(|total| !total.is_withdrawn())) {
                continue;
            }
            totals.give_way(metric, &is_wanted);
            let meaning = totals.declare(metric, &self.identity, families, &self.clock);
            conflicts += u64::from(meaning == Resolved::Conflict);
            totals.meanings.insert(metric.hash, meaning);
            totals.layouts.clear();
        }
        if !declarations.sites().is_empty() {
            let sites = Arc::make_mut(&mut totals.sites);
            sites.extend(declarations.sites().iter().map(|site| (site.hash, site.clone())));
        }
        drop(totals);
        if conflicts > 0 {
            self.offence(HostDropReason::TypeConflict).add(conflicts);
        }
        // What a guest can lose is shown from the beginning, so that the first loss is seen to be one.
        if !declarations.metrics().is_empty() {
            for loss in GuestDropReason::ALL.into_iter().filter(|loss| loss.signal() == "metrics") {
                self.loss(loss);
            }
        }
    }

    /// Whether a binary that is still in use declares a metric of this name.
    pub(crate) fn needs(&self, name: &str, is_wanted: impl Fn(u64) -> bool) -> bool {
        let totals = self.totals();
        let wanted = totals.wanted(is_wanted);
        let mut totals = totals.totals.iter().zip(wanted);
        totals.any(|(total, is_wanted)| is_wanted && !total.is_withdrawn() && total.metric().name == name)
    }

    /// Takes the metrics of this name from the output.
    pub(crate) fn give_up(&self, name: &str) {
        self.totals().withdraw(|metric| metric.name == name, |_| false);
    }

    /// Whether the component has a metric of this name.
    pub(crate) fn exports(&self, name: &str) -> bool {
        self.totals().exports(name)
    }

    /// Forgets the metrics that are not wanted.
    pub(crate) fn prune(&self, is_wanted: impl Fn(u64) -> bool) {
        self.totals().prune(is_wanted);
    }

    /// Reads a region, and remembers in `live` what was merged of it; `witness` is the request that the guest serves, if what it
    /// observes may have exemplars.
    pub(crate) fn read(
        &self,
        live: &mut Option<u32>,
        reported: &mut ReportedDrops,
        view: RegionView<'_>,
        visit: Visit,
        // By itself, so that hosts which never have one are built without what it needs.
        witness: Option<&mut ExemplarContext<'_>>,
    ) {
        let mut drops = DropCounts::default();
        match Region::open(view) {
            Ok(region) => {
                let order = self.next_order();
                self.totals().read(live, &region, order, visit, witness, &mut drops);
            }
            Err(offence) => drops.add(offence, 1),
        }
        for (offence, count) in drops.charge(reported) {
            self.offence(offence).add(count);
        }
        for (loss, count) in GuestDropReason::ALL.into_iter().zip(drops.losses).filter(|(_, count)| *count != 0) {
            self.loss(loss).add(count);
        }
    }

    /// Who the component is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Counts what a guest did wrong.
    pub(crate) fn count(&self, offence: HostDropReason, count: u64) {
        self.offence(offence).add(count);
    }

    /// Counts what a guest has lost.
    pub(crate) fn lose(&self, loss: GuestDropReason, count: u64) {
        self.loss(loss).add(count);
    }

    /// The number of what is done now, greater than all before.
    pub(crate) fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Relaxed) + 1
    }

    /// How many bytes an entry with this hash has behind its head: none where the hash means nothing here.
    pub(crate) fn entry_size(&self, hash: u64) -> usize {
        let totals = self.totals();
        match totals.meanings.get(&hash) {
            Some(Resolved::Metric(index)) => totals.totals[*index as usize].entry_size(),
            _ => 0,
        }
    }

    /// Keeps what an instance leaves; `ended` is the moment of its last read where none is given.
    pub(crate) fn retire(&self, live: u32, ended: Option<Duration>) {
        self.totals().retire(live, ended);
    }

    /// Keeps the exemplars of a request whose trace is exported after all.
    pub(crate) fn keep(&self, candidates: Vec<PendingExemplar>, context: TraceContext, time: u64) {
        if candidates.is_empty() {
            return;
        }
        let mut totals = self.totals();
        let Aggregates { totals, meanings, budget, .. } = &mut *totals;
        for PendingExemplar { metric, row, bucket, value } in candidates {
            let Some(Resolved::Metric(index)) = meanings.get(&metric) else { continue };
            totals[*index as usize].keep(row as usize, bucket, Exemplar::new(value, context, time), budget);
        }
    }

    /// Adds the values of all series.
    pub(crate) fn collect(&self, now: Duration, blocks: &mut Vec<(Arc<FamilyInfo>, Block)>) {
        let mut totals = self.totals();
        totals.now = now;
        let Aggregates { totals, live, settings, .. } = &mut *totals;
        totals.iter_mut().for_each(Aggregate::absorb);
        let mut current: Vec<Current> = totals.iter().map(|total| total.current(now)).collect();
        for live in live {
            let Some(layout) = &live.layout else { continue };
            for slot in layout.current.iter().map(|slot| &layout.slots[*slot as usize]) {
                let total = slot.total as usize;
                let (words, rows) = (&live.words[slot.words.clone()], &live.rows[slot.rows.clone()]);
                totals[total].add_current(&mut current[total], words, rows);
            }
        }
        settings.add_to(&mut current, totals);
        let exported = totals.iter_mut().zip(&current).filter(|(total, _)| !total.is_withdrawn());
        blocks.extend(exported.map(|(total, current)| total.collect(current)));
    }

    fn totals(&self) -> MutexGuard<'_, Aggregates> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offence(&self, offence: HostDropReason) -> &Counter {
        self.offences[offence as usize].get_or_init(|| self.counter(offence.signal(), offence.name()))
    }

    fn loss(&self, loss: GuestDropReason) -> &Counter {
        self.losses[loss as usize].get_or_init(|| self.counter(loss.signal(), loss.name()))
    }

    fn counter(&self, signal: &str, reason: &str) -> Counter {
        let [component, version, tenant] = self.identity.values();
        self.dropped.with(&[component, version, tenant, signal, reason])
    }
}

impl Aggregates {
    /// The total that a hash stands for.
    fn total(&self, meaning: Resolved) -> Option<&Aggregate> {
        match meaning {
            Resolved::Metric(index) => self.totals.get(index as usize),
            Resolved::Conflict => None,
        }
    }

    fn exports(&self, name: &str) -> bool {
        self.totals.iter().any(|total| !total.is_withdrawn() && total.metric().name == name)
    }

    /// Takes metrics from the output that no binary wants; of instances that are alive they are merged all the same.
    fn withdraw(&mut self, is_in_the_way: impl Fn(&Metric) -> bool, is_wanted: impl Fn(u64) -> bool) {
        let wanted = self.wanted(is_wanted);
        for (total, is_wanted) in self.totals.iter_mut().zip(wanted) {
            if !is_wanted && !total.is_withdrawn() && is_in_the_way(total.metric()) {
                total.withdraw();
            }
        }
        self.settings.mark(&self.totals);
    }

    /// Takes the metrics from the output that have the name of this one, are otherwise declared, and are not wanted.
    fn give_way(&mut self, metric: &Metric, is_wanted: impl Fn(u64) -> bool) {
        let clashes = |other: &Metric| other.name == metric.name && Overlap::of(other, metric) == Overlap::Clash;
        self.withdraw(clashes, is_wanted);
    }

    /// Which totals are those of a metric that is wanted.
    fn wanted(&self, is_wanted: impl Fn(u64) -> bool) -> Vec<bool> {
        let mut wanted = vec![false; self.totals.len()];
        for (hash, meaning) in &self.meanings {
            if let Resolved::Metric(index) = meaning {
                wanted[*index as usize] |= is_wanted(*hash);
            }
        }
        wanted
    }

    fn prune(&mut self, is_wanted: impl Fn(u64) -> bool) {
        let mut kept = self.wanted(&is_wanted);
        let layouts = self.live.iter().filter_map(|live| live.layout.as_ref());
        for slot in layouts.flat_map(|layout| &layout.slots) {
            kept[slot.total as usize] = true;
        }
        // What guests hold by handles is theirs, whatever its hash stands for now.
        self.settings.totals().for_each(|total| kept[total] = true);
        for (kept, total) in kept.iter_mut().zip(&self.totals) {
            *kept |= total.has_handles();
        }
        self.meanings.retain(|hash, meaning| match meaning {
            Resolved::Metric(index) => kept[*index as usize],
            Resolved::Conflict => is_wanted(*hash),
        });
        for (index, (total, _)) in self.totals.iter_mut().zip(kept).enumerate().filter(|(_, (_, kept))| !kept) {
            if !self.vacant.contains(&(index as u32)) {
                self.resolved -= usize::from(total.is_resolved());
                total.vacate(&mut self.budget);
                self.vacant.push(index as u32);
            }
        }
        // None of those that are alive has a total that is vacant now.
        self.layouts.clear();
    }

    fn declare(&mut self, metric: &Metric, identity: &Identity, families: &mut Families, clock: &Clock) -> Resolved {
        self.conflicts.retain(|conflict| conflict.name != metric.name);
        let namesakes = self.totals.iter().enumerate().filter(|(_, total)| total.metric().name == metric.name);
        for (index, total) in namesakes.filter(|(_, total)| !total.is_withdrawn()) {
            match Overlap::of(total.metric(), metric) {
                Overlap::Same => return Resolved::Metric(index as u32),
                Overlap::Disjoint => {}
                Overlap::Clash => {
                    return self
                        .conflict(metric, "the component has declared it with another type, unit, buckets or labels");
                }
            }
        }
        let info = family_of(metric);
        let Some(family) = families.claim(info, Owner::Guests) else {
            return self
                .conflict(metric, "another component or the host has the name with another type, unit or buckets");
        };
        if let Some(Resolved::Metric(index)) = self.meanings.get(&metric.hash) {
            // It was withdrawn, and goes on from where it is.
            let index = *index;
            self.totals[index as usize].restore(family);
            self.settings.mark(&self.totals);
            return Resolved::Metric(index);
        }
        let total = Aggregate::new(metric, identity, family, clock);
        if let Some(index) = self.vacant.pop() {
            self.totals[index as usize] = total;
            return Resolved::Metric(index);
        }
        self.totals.push(total);
        Resolved::Metric(self.totals.len() as u32 - 1)
    }

    fn conflict(&mut self, metric: &Metric, reason: &str) -> Resolved {
        if self.conflicts.len() < limits::REJECTED {
            self.conflicts.push(Rejected { name: metric.name.clone(), reason: reason.to_owned() });
        }
        Resolved::Conflict
    }

    fn read(
        &mut self,
        live: &mut Option<u32>,
        region: &Region<'_>,
        order: u64,
        visit: Visit,
        witness: Option<&mut ExemplarContext<'_>>,
        drops: &mut DropCounts,
    ) {
        let Visit { now, extent } = visit;
        let moment = Moment { order, now };
        self.now = now;
        let layout = self.layouts.find(region, &self.totals, &self.meanings, drops);
        // Nothing has to be remembered of an instance whose only read this is.
        let Some(index) = live.or_else(|| (extent == Extent::Goes).then(|| self.start())) else {
            layout.report(None, drops);
            add_losses(&mut [0; GuestDropReason::ALL.len()], region, drops);
            return self.merge(region, &layout, None, moment, witness, drops);
        };
        *live = Some(index);
        let Some(place) = self.live.get_mut(index as usize) else { return };
        let mut memory = std::mem::take(place);
        if memory.extend(&layout, moment.now, drops) {
            add_losses(&mut memory.losses, region, drops);
            self.merge(region, &layout, Some(&mut memory), moment, witness, drops);
        }
        self.live[index as usize] = memory;
    }

    fn merge(
        &mut self,
        region: &Region<'_>,
        layout: &Layout,
        mut memory: Option<&mut Live>,
        moment: Moment,
        mut witness: Option<&mut ExemplarContext<'_>>,
        drops: &mut DropCounts,
    ) {
        for slot in &layout.slots {
            let tables = region.window.slice(slot.tables, (slot.cells - slot.tables) as usize);
            let (Some(tables), Some(cells)) = (tables, region.window.slice(slot.cells, slot.size)) else { continue };
            let entry = EntryBytes { tables, cells };
            let total = &mut self.totals[slot.total as usize];
            // Before the values are merged, and only for a request whose trace may be exported.
            let singles = match &witness {
                Some(_) => total.singles(entry, memory.as_deref().map(|live| &live.words[slot.words.clone()])),
                None => Vec::new(),
            };
            match &mut memory {
                None => total.merge_once(entry, moment, &mut self.budget, drops),
                Some(live) => {
                    let memory = LastSeen {
                        words: &mut live.words[slot.words.clone()],
                        rows: &mut live.rows[slot.rows.clone()],
                    };
                    total.merge(entry, memory, moment, &mut self.budget, drops);
                }
            }
            let Some(witness) = &mut witness else { continue };
            let rows = memory.as_deref().map(|live| &live.rows[slot.rows.clone()]);
            for SoleObservation { position, bucket, value } in singles {
                let row = total.merged_row(position, tables, rows, &mut self.budget);
                let candidate = PendingExemplar { metric: total.metric().hash, row: row as u32, bucket, value };
                if !witness.hold(candidate) {
                    let exemplar = Exemplar::new(value, witness.context, witness.time);
                    total.keep(row, bucket, exemplar, &mut self.budget);
                }
            }
        }
    }

    /// Makes room for an instance.
    fn start(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.live.push(Live::default());
            self.live.len() as u32 - 1
        })
    }

    fn retire(&mut self, live: u32, ended: Option<Duration>) {
        let Some(place) = self.live.get_mut(live as usize) else { return };
        if let Some(layout) = place.layout.take() {
            let ended = ended.unwrap_or(place.read);
            for slot in layout.current.iter().map(|slot| &layout.slots[*slot as usize]) {
                let memory =
                    LastSeen { words: &mut place.words[slot.words.clone()], rows: &mut place.rows[slot.rows.clone()] };
                self.totals[slot.total as usize].retire(memory, ended);
            }
        }
        place.clear(self.free.len() < limits::SPARE_BUFFERS);
        self.free.push(live);
    }
}

/// The family that a metric belongs to.
pub(crate) fn family_of(metric: &Metric) -> FamilyInfo {
    let kind = match metric.kind {
        Kind::CounterU64 | Kind::CounterF64 => FamilyKind::Counter,
        Kind::UpDownI64 | Kind::UpDownF64 => FamilyKind::UpDownCounter,
        Kind::GaugeI64 | Kind::GaugeF64 => FamilyKind::Gauge,
        Kind::Info => FamilyKind::Info,
        _ => FamilyKind::Histogram,
    };
    let bounds = if metric.kind.is_exponential() { &classic_bounds(&metric.unit) } else { &metric.buckets };
    FamilyInfo::new(&metric.name, kind, &metric.help, &metric.unit, bounds)
}

/// Adds what a guest's own loss counters have grown by.
fn add_losses(last: &mut [u64; GuestDropReason::ALL.len()], region: &Region<'_>, drops: &mut DropCounts) {
    for ((last, loss), found) in last.iter_mut().zip(region.losses()).zip(&mut drops.losses) {
        let difference = loss.wrapping_sub(*last);
        *last = loss;
        if difference <= i64::MAX as u64 {
            *found = difference;
        }
    }
}
