use std::sync::Arc;

use wasmetry_host::{Inbox, Instance};
use wasmtime::component::WasmList;
use wasmtime::{Memory, ResourceLimiter, Store, StoreContext, StoreContextMut};

use crate::activity::Activity;
use crate::component::ObservedComponent;

/// The most regions that one store may open. A component has one for each copy of the recording code linked into it.
pub(crate) const MAX_REGIONS: usize = 64;

/// What a store's data must give access to, in the manner of `WasiView`.
pub trait TelemetryView: Send {
    /// The store's telemetry state.
    fn telemetry(&mut self) -> &mut StoreState;
}

/// The telemetry state of one store.
///
/// It is also the store's [`ResourceLimiter`], which [`Observed`](crate::Observed) installs: that is how memory is counted.
pub struct StoreState {
    pub(crate) component: ObservedComponent,
    pub(crate) activity: Arc<Activity>,
    pub(crate) regions: Vec<Region>,
    /// What the guest sends, if it is asked to.
    pub(crate) inbox: Option<Inbox>,
    memory: usize,
    memory_limit: Option<usize>,
    /// What the last permitted growth added, until it is known to have succeeded.
    last_growth: usize,
    denied_growth: bool,
}

/// A view of one region.
pub(crate) struct Region {
    window: Window,
    header: u64,
    instance: Instance,
}

/// The memory that a region lies in.
pub(crate) enum Window {
    /// The list that a component has lent, and the address of its first byte.
    Lent(WasmList<u8>, u64),
    /// A core module's whole memory.
    Memory(Memory),
}

impl Window {
    /// The bytes as they are now, and the address of the first.
    fn bytes<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> (&'a [u8], u64) {
        match self {
            Self::Lent(list, base) => (list.as_le_slice(store), *base),
            Self::Memory(memory) => (memory.data(store), 0),
        }
    }
}

impl StoreState {
    pub(crate) fn new(component: ObservedComponent, memory_limit: Option<usize>) -> Self {
        component.own.starts.inc();
        component.own.instances.add(1);
        let activity = component.shared.activities.add();
        Self {
            component,
            activity,
            regions: Vec::new(),
            inbox: None,
            memory: 0,
            memory_limit,
            last_growth: 0,
            denied_growth: false,
        }
    }

    /// Asks the guest to send what it records instead of lending its memory.
    ///
    /// That is how hosts work that cannot read a guest's memory. It costs a copy for each request, and the host sees nothing
    /// of what is recorded after the last one: use it where such a host is to be compared with, or where a later Wasmtime
    /// would not let its memory be read. Core modules are read all the same.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        self.inbox = Some(Inbox::new(self.component.own.component.clone()));
        self
    }

    /// Whether the guest asked for more memory than it may have.
    pub fn was_denied_memory(&self) -> bool {
        self.denied_growth
    }

    /// The linear memory of all instances in the store, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory
    }

    /// Keeps a region.
    pub(crate) fn attach(&mut self, window: Window, header: u64) {
        if self.regions.len() < MAX_REGIONS {
            let instance = self.component.own.component.instance();
            self.regions.push(Region { window, header, instance });
        } else {
            self.component.dropped("region_limit");
        }
    }
}

impl Drop for StoreState {
    fn drop(&mut self) {
        let now = self.component.now();
        for region in self.regions.drain(..) {
            region.instance.end(now);
        }
        if let Some(inbox) = self.inbox.take() {
            inbox.end(now);
        }
        self.component.shared.activities.remove(&self.activity);
        self.component.own.memory.add(-(self.memory as i64));
        self.component.own.instances.add(-1);
    }
}

impl ResourceLimiter for StoreState {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.memory.saturating_add(growth);
        if self.memory_limit.is_some_and(|limit| total > limit) {
            self.denied_growth = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.memory = total;
        self.last_growth = growth;
        self.component.own.memory.add(growth as i64);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Also called for a growth past the memory's own maximum, which added nothing.
        let growth = std::mem::take(&mut self.last_growth);
        self.memory = self.memory.saturating_sub(growth);
        self.component.own.memory.add(-(growth as i64));
        self.denied_growth = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// Takes what a guest has to say when it flushes: a batch, or nothing but that now is a good time to collect.
pub(crate) fn take<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, batch: &WasmList<u8>) {
    let state = store.data_mut().telemetry();
    let now = state.component.now();
    // It is taken out while the store's memory is borrowed.
    let Some(mut inbox) = state.inbox.take() else { return collect(store) };
    inbox.push(batch.as_le_slice(&store), now);
    store.data_mut().telemetry().inbox = Some(inbox);
}

/// Reads every region of a store.
pub(crate) fn collect<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) {
    let state = store.data_mut().telemetry();
    let request = state.component.shared.activities.begin_answer();
    // The regions are taken out while the store's memory is borrowed.
    let mut regions = std::mem::take(&mut state.regions);
    if !regions.is_empty() {
        let now = state.component.now();
        for region in &mut regions {
            let (memory, base) = region.window.bytes(&store);
            region.instance.read(memory, base, region.header, now);
        }
    }
    let state = store.data_mut().telemetry();
    state.regions = regions;
    state.component.shared.activities.answer(&state.activity, request);
}

/// Reads every region of a store for the last time.
pub(crate) fn collect_last<T: TelemetryView + 'static>(store: &mut Store<T>) {
    let state = store.data_mut().telemetry();
    let regions = std::mem::take(&mut state.regions);
    if !regions.is_empty() {
        let now = state.component.now();
        for region in regions {
            let (memory, base) = region.window.bytes(&*store);
            region.instance.read_last(memory, base, region.header, now);
        }
    }
}
