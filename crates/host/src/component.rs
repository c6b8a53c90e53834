//! One component: the totals of all its instances.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use wasmetry_abi::Kind;
use wasmetry_abi::layout::Loss;

use crate::declarations::{Metric, Overlap, Rejected};
use crate::exponential::classic_bounds;
use crate::family::{Families, FamilyInfo, FamilyKind, Owner};
use crate::instance::Live;
use crate::instrument::{Counter, Family};
use crate::layout::{Layout, Layouts, Meaning};
use crate::offence::{Charges, Findings, Offence};
use crate::region::{Region, Window};
use crate::site::Site;
use crate::snapshot::Block;
use crate::total::{Budget, Cells, Current, Memory, Moment, Total};
use crate::trail::{Recording, Sink, Trail};
use crate::{Declarations, Identity, Instance, limits};

/// A registered component. A clone is the same component.
#[derive(Clone, Debug)]
pub struct Component {
    state: Arc<ComponentState>,
}

impl Component {
    pub(crate) fn new(state: Arc<ComponentState>) -> Self {
        Self { state }
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
        Instance::new(self.state.clone())
    }

    /// Starts to follow the logs and spans of one guest, for one request or one run.
    pub fn trail(&self, sink: Arc<dyn Sink>, recording: Arc<Recording>) -> Trail {
        let sites = self.state.totals().sites.clone();
        Trail::new(self.state.clone(), sites, sink, recording)
    }

    /// Counts what a guest did wrong.
    pub(crate) fn offence(&self, offence: Offence, count: u64) {
        self.state.count(offence, count);
    }
}

/// What all handles of one component share.
pub(crate) struct ComponentState {
    identity: Identity,
    totals: Mutex<Totals>,
    dropped: Family<Counter>,
    losses: [OnceCell<Counter>; Loss::ALL.len()],
    offences: [OnceCell<Counter>; Offence::COUNT],
}

impl fmt::Debug for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentState").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The totals of one component, and what its instances that are alive have contributed to them.
#[derive(Default)]
struct Totals {
    totals: Vec<Total>,
    meanings: HashMap<u64, Meaning>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    conflicts: Vec<Rejected>,
    layouts: Layouts,
    live: Vec<Live>,
    free: Vec<u32>,
    budget: Budget,
    reads: u64,
}

/// How far a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The instance goes on.
    Goes,
    /// The instance has ended.
    Ends,
}

impl ComponentState {
    pub(crate) fn new(identity: Identity, dropped: Family<Counter>) -> Self {
        Self {
            identity,
            totals: Mutex::default(),
            dropped,
            losses: std::array::from_fn(|_| OnceCell::new()),
            offences: std::array::from_fn(|_| OnceCell::new()),
        }
    }

    /// Makes totals for what a binary of this identity declares.
    pub(crate) fn declare(&self, declarations: &Declarations, families: &mut Families) {
        let mut totals = self.totals();
        let mut conflicts = 0;
        for metric in declarations.metrics() {
            if totals.meanings.contains_key(&metric.hash) {
                continue;
            }
            let meaning = totals.declare(metric, &self.identity, families);
            conflicts += u64::from(meaning == Meaning::Conflict);
            totals.meanings.insert(metric.hash, meaning);
            totals.layouts.clear();
        }
        if !declarations.sites().is_empty() {
            let sites = Arc::make_mut(&mut totals.sites);
            sites.extend(declarations.sites().iter().map(|site| (site.hash, site.clone())));
        }
        drop(totals);
        if conflicts > 0 {
            self.offence(Offence::TypeConflict).add(conflicts);
        }
        // What a guest can lose is shown from the beginning, so that the first loss is seen to be one.
        if !declarations.metrics().is_empty() {
            for loss in Loss::ALL.into_iter().filter(|loss| loss.signal() == "metrics") {
                self.loss(loss);
            }
        }
    }

    /// Reads a region, and remembers in `live` what was merged of it.
    pub(crate) fn read(
        &self,
        live: &mut Option<u32>,
        charges: &mut Charges,
        window: Window<'_>,
        header: u64,
        now: Duration,
        extent: Extent,
    ) {
        let mut findings = Findings::default();
        match Region::open(window, header) {
            Ok(region) => self.totals().read(live, &region, now, extent, &mut findings),
            Err(offence) => findings.add(offence, 1),
        }
        for (offence, count) in findings.charge(charges) {
            self.offence(offence).add(count);
        }
        for (loss, count) in Loss::ALL.into_iter().zip(findings.losses).filter(|(_, count)| *count != 0) {
            self.loss(loss).add(count);
        }
    }

    /// Who the component is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Counts what a guest did wrong.
    pub(crate) fn count(&self, offence: Offence, count: u64) {
        self.offence(offence).add(count);
    }

    /// How many bytes an entry with this hash has behind its head: none where the hash means nothing here.
    pub(crate) fn entry_size(&self, hash: u64) -> usize {
        let totals = self.totals();
        match totals.meanings.get(&hash) {
            Some(Meaning::Total(index)) => totals.totals[*index as usize].entry_size(),
            _ => 0,
        }
    }

    /// Keeps what an instance leaves; `ended` is the moment of its last read where none is given.
    pub(crate) fn retire(&self, live: u32, ended: Option<Duration>) {
        self.totals().retire(live, ended);
    }

    /// Adds the values of all series.
    pub(crate) fn collect(&self, now: Duration, blocks: &mut Vec<(Arc<FamilyInfo>, Block)>) {
        let mut totals = self.totals();
        let Totals { totals, live, .. } = &mut *totals;
        let mut current: Vec<Current> = totals.iter().map(|total| total.current(now)).collect();
        for live in live {
            let Some(layout) = &live.layout else { continue };
            for slot in layout.current.iter().map(|slot| &layout.slots[*slot as usize]) {
                let total = slot.total as usize;
                let (words, rows) = (&live.words[slot.words.clone()], &live.rows[slot.rows.clone()]);
                totals[total].add_current(&mut current[total], words, rows);
            }
        }
        blocks.extend(totals.iter_mut().zip(&current).map(|(total, current)| total.collect(current)));
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offence(&self, offence: Offence) -> &Counter {
        self.offences[offence as usize].get_or_init(|| self.counter(offence.signal(), offence.name()))
    }

    fn loss(&self, loss: Loss) -> &Counter {
        self.losses[loss as usize].get_or_init(|| self.counter(loss.signal(), loss.name()))
    }

    fn counter(&self, signal: &str, reason: &str) -> Counter {
        let [component, version, tenant] = self.identity.values();
        self.dropped.with(&[component, version, tenant, signal, reason])
    }
}

impl Totals {
    fn declare(&mut self, metric: &Metric, identity: &Identity, families: &mut Families) -> Meaning {
        for (index, total) in self.totals.iter().enumerate().filter(|(_, total)| total.metric().name == metric.name) {
            match Overlap::of(total.metric(), metric) {
                Overlap::Same => return Meaning::Total(index as u32),
                Overlap::Disjoint => {}
                Overlap::Clash => {
                    return self
                        .conflict(metric, "the component has declared it with another type, unit, buckets or labels");
                }
            }
        }
        let kind = match metric.kind {
            Kind::CounterU64 | Kind::CounterF64 => FamilyKind::Counter,
            Kind::UpDownI64 | Kind::UpDownF64 | Kind::GaugeI64 | Kind::GaugeF64 => FamilyKind::Gauge,
            Kind::Info => FamilyKind::Info,
            _ => FamilyKind::Histogram,
        };
        let bounds = if metric.kind.is_exponential() { &classic_bounds(&metric.unit) } else { &metric.buckets };
        let info = FamilyInfo::new(&metric.name, kind, &metric.help, &metric.unit, bounds);
        let Some(family) = families.claim(info, Owner::Guests) else {
            return self
                .conflict(metric, "another component or the host has the name with another type, unit or buckets");
        };
        self.totals.push(Total::new(metric, identity, family));
        Meaning::Total(self.totals.len() as u32 - 1)
    }

    fn conflict(&mut self, metric: &Metric, reason: &str) -> Meaning {
        if self.conflicts.len() < limits::REJECTED {
            self.conflicts.push(Rejected { name: metric.name.clone(), reason: reason.to_owned() });
        }
        Meaning::Conflict
    }

    fn read(
        &mut self,
        live: &mut Option<u32>,
        region: &Region<'_>,
        now: Duration,
        extent: Extent,
        findings: &mut Findings,
    ) {
        self.reads += 1;
        let moment = Moment { order: self.reads, now };
        let layout = self.layouts.find(region, &self.totals, &self.meanings, findings);
        // Nothing has to be remembered of an instance whose only read this is.
        let Some(index) = live.or_else(|| (extent == Extent::Goes).then(|| self.start())) else {
            layout.report(None, findings);
            add_losses(&mut [0; Loss::ALL.len()], region, findings);
            return self.merge(region, &layout, None, moment, findings);
        };
        *live = Some(index);
        let Some(place) = self.live.get_mut(index as usize) else { return };
        let mut memory = std::mem::take(place);
        if memory.adopt(&layout, now, findings) {
            add_losses(&mut memory.losses, region, findings);
            self.merge(region, &layout, Some(&mut memory), moment, findings);
        }
        self.live[index as usize] = memory;
    }

    fn merge(
        &mut self,
        region: &Region<'_>,
        layout: &Layout,
        mut memory: Option<&mut Live>,
        moment: Moment,
        findings: &mut Findings,
    ) {
        for slot in &layout.slots {
            let tables = region.window.slice(slot.tables, (slot.cells - slot.tables) as usize);
            let (Some(tables), Some(cells)) = (tables, region.window.slice(slot.cells, slot.size)) else { continue };
            let entry = Cells { tables, cells };
            let total = &mut self.totals[slot.total as usize];
            match &mut memory {
                None => total.merge_once(entry, moment, &mut self.budget, findings),
                Some(live) => {
                    let memory =
                        Memory { words: &mut live.words[slot.words.clone()], rows: &mut live.rows[slot.rows.clone()] };
                    total.merge(entry, memory, moment, &mut self.budget, findings);
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
                    Memory { words: &mut place.words[slot.words.clone()], rows: &mut place.rows[slot.rows.clone()] };
                self.totals[slot.total as usize].retire(memory, ended);
            }
        }
        place.clear(self.free.len() < limits::SPARE_BUFFERS);
        self.free.push(live);
    }
}

/// Adds what a guest's own loss counters have grown by.
fn add_losses(last: &mut [u64; Loss::ALL.len()], region: &Region<'_>, findings: &mut Findings) {
    for ((last, loss), found) in last.iter_mut().zip(region.losses()).zip(&mut findings.losses) {
        let difference = loss.wrapping_sub(*last);
        *last = loss;
        if difference <= i64::MAX as u64 {
            *found = difference;
        }
    }
}
