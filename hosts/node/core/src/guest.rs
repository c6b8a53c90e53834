//! Components and their instances, with the host's metrics about them. Their names and meanings are
//! the Wasmtime adapter's.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_host::{
    BatchReceiver, Component, Counter, Declarations, Family, Gauge, Identity, Instance, ReadBudget, Registry,
};

/// The bytes of a page of linear memory.
const PAGE: i64 = 1 << 16;

/// The common reasons of traps. Their series exist before the first trap, so that `rate` includes
/// it.
const EXPECTED_REASONS: [&str; 4] = ["host_error", "memory_out_of_bounds", "stack_overflow", "unreachable"];

/// The host's metrics about guests.
#[derive(Debug)]
pub(crate) struct Metrics {
    instances: Family<Gauge>,
    starts: Family<Counter>,
    traps: Family<Counter>,
    memory: Family<Gauge>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let keys = Identity::KEYS;
        let with_reason = [keys.as_slice(), &["reason"]].concat();
        Self {
            instances: registry.gauge("wasm_instances", "Instances that are alive.", &keys),
            starts: registry.counter("wasm_instance_starts_total", "Instances that were started.", &keys),
            traps: registry.counter(
                "wasm_traps_total",
                "Guests that ended in a trap or were ended by the host, by reason.",
                &with_reason,
            ),
            memory: registry.gauge("wasm_linear_memory_bytes", "Linear memory of the instances that are alive.", &keys),
        }
    }
}

/// A registered component.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) component: Component,
    declarations: Declarations,
    instances: Gauge,
    starts: Counter,
    traps: Family<Counter>,
    memory: Family<Gauge>,
}

impl Observed {
    pub(crate) fn new(component: Component, declarations: Declarations, metrics: &Metrics) -> Arc<Self> {
        let keys = component.identity().values();
        let observed = Self {
            declarations,
            instances: metrics.instances.with(&keys),
            starts: metrics.starts.with(&keys),
            traps: metrics.traps.clone(),
            memory: metrics.memory.clone(),
            component: component.clone(),
        };
        for reason in EXPECTED_REASONS {
            observed.trap_counter(reason);
        }
        Arc::new(observed)
    }

    /// Returns the warnings for the author of the binary, a sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let rejected =
            self.declarations.rejected().iter().chain(&self.component.conflicts()).map(ToString::to_string).collect();
        let mut warnings: Vec<String> = rejected;
        if warnings.is_empty() && self.declarations.metrics().is_empty() && self.declarations.uses_wasmetry() {
            warnings.push(
                "the binary uses wasmetry but declares no metric: a tool has removed its custom section `wasmetry.v1`; give the binary that the compiler made".to_owned(),
            );
        }
        warnings
    }

    fn trap_counter(&self, reason: &str) -> Counter {
        let [component, version, tenant] = self.component.identity().values();
        self.traps.with(&[component, version, tenant, reason])
    }
}

/// One instance of a component.
#[derive(Debug)]
pub(crate) struct Guest {
    observed: Arc<Observed>,
    /// The receiver of its batches.
    receiver: BatchReceiver,
    /// The regions in its memory, which the host copies.
    regions: Vec<Region>,
    /// Its linear memory in bytes, or 0 before the first read.
    memory: i64,
}

#[derive(Debug)]
struct Region {
    header: u64,
    instance: Instance,
}

impl Guest {
    pub(crate) fn start(observed: Arc<Observed>) -> Self {
        observed.starts.inc();
        observed.instances.add(1);
        Self { receiver: BatchReceiver::new(observed.component.clone()), observed, regions: Vec::new(), memory: 0 }
    }

    /// Opens a region of a guest that sends batches; returns its number, or 0 if it has too many.
    pub(crate) fn open(&mut self) -> u32 {
        self.receiver.open().unwrap_or(0)
    }

    pub(crate) fn push(&mut self, batch: &[u8], now: Duration) {
        self.receiver.receive(batch, now.into(), None);
    }

    /// Attaches a region in the guest's memory; returns `false` if it has too many.
    pub(crate) fn attach(&mut self, header: u64) -> bool {
        let has_room = (self.regions.len() as u64) < self.observed.component.limits().regions;
        if has_room {
            self.regions.push(Region { header, instance: self.observed.component.instance() });
        }
        has_room
    }

    /// Reads the regions in the guest's memory.
    pub(crate) fn read(&mut self, copy: fn(u64, &mut [u8]) -> bool, now: Duration) {
        let mut budget = ReadBudget::new(self.observed.component.limits().read());
        for region in &mut self.regions {
            let memory = region.instance.copy(region.header, copy);
            region.instance.read_within(memory.view(), now.into(), &mut budget, None);
            // The next copy may lie at its place.
            budget.forget_regions();
        }
    }

    /// Sets the size of the guest's linear memory.
    pub(crate) fn set_memory(&mut self, pages: u32) {
        let before = std::mem::replace(&mut self.memory, PAGE.saturating_mul(pages.into()));
        self.observed.memory.with(&self.observed.component.identity().values()).add(self.memory.saturating_sub(before));
    }

    pub(crate) fn trapped(&self, reason: &str) {
        self.observed.trap_counter(reason).inc();
    }

    /// Reads the regions for the last time and ends the instance.
    pub(crate) fn end(mut self, copy: fn(u64, &mut [u8]) -> bool, now: Duration) {
        for region in std::mem::take(&mut self.regions) {
            let memory = region.instance.copy(region.header, copy);
            region.instance.read_last(memory.view(), now.into(), None);
        }
        if self.memory != 0 {
            self.set_memory(0);
        }
        self.observed.instances.add(-1);
        self.receiver.end(now);
    }
}
