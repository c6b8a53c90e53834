//! Collects wasmetry telemetry from core modules that run in the wasmi interpreter.
//!
//! ```
//! use std::time::Duration;
//! use wasmetry_host::{Declarations, Identity, Registry, encode};
//! use wasmetry_wasmi::Regions;
//! use wasmi::{Engine, Linker, Module, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let wasm = &b"\0asm\x01\0\0\0"[..];
//! let registry = Registry::new();
//! let component = registry.component(Identity::new("bare"), Declarations::from_wasm(wasm)?);
//!
//! let engine = Engine::default();
//! let mut store = Store::new(&engine, ());
//! let instance = Linker::new(&engine).instantiate_and_start(&mut store, &Module::new(&engine, wasm)?)?;
//! let mut regions = Regions::of(&component, &mut store, &instance)?;
//! // … call the module's functions …
//! regions.observe(&mut store)?; // only if none has trapped
//! regions.read(&store, Duration::from_secs(1)); // any time when the guest does not run
//! regions.read_last(&store, Duration::from_secs(2));
//! print!("{}", encode::prometheus::encode(&registry.snapshot(Duration::from_secs(2))));
//! # Ok(())
//! # }
//! ```
//!
//! It is also an example of an adapter to a runtime, which has little to do: it finds the exports
//! that return the regions' addresses, and passes their memory to [`wasmetry_host::Instance`]. It
//! deliberately does not support components, which wasmi does not run, and records no metrics of
//! the runtime.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use wasmetry_host::{Component, ReadBudget, ReadLimits, RegionView, RequestKey, RequestTelemetry, Timestamp};
use wasmi::{AsContext, AsContextMut, Error, Func, Instance, Memory, Val, ValType};

/// The prefix of the exports that return the address of a region's header. See
/// `crates/abi/FORMAT.md`, section 4.
const PREFIX: &str = "wasmetry_region_";

/// The regions of one module's instance. Dropping it ends them with the values of the last read.
#[derive(Debug)]
pub struct Regions {
    regions: Vec<Region>,
    limits: ReadLimits,
}

#[derive(Debug)]
struct Region {
    export: Func,
    memory: Memory,
    header: u64,
    instance: wasmetry_host::Instance,
}

impl Regions {
    /// Finds the regions of an instance. A module that does not use wasmetry has none.
    ///
    /// Call it right after instantiation: it calls the exports that return the regions' addresses.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap, since it calls the guest.
    pub fn of(component: &Component, mut store: impl AsContextMut, instance: &Instance) -> Result<Self, Error> {
        let (mut regions, limits) = (Vec::new(), component.limits().read());
        let Some(memory) = instance.get_memory(&store, "memory") else { return Ok(Self { regions, limits }) };
        let candidates: Vec<Func> = instance
            .exports(&store)
            .filter(|export| export.name().starts_with(PREFIX))
            .filter_map(|export| export.into_func())
            .take(usize::try_from(component.limits().regions).unwrap_or(usize::MAX))
            .collect();
        for function in candidates {
            if !returns_address(&store, function) {
                continue;
            }
            let mut header = [Val::I32(0)];
            function.call(&mut store, &[], &mut header)?;
            let header = match header[0] {
                Val::I32(address) => u64::from(address.cast_unsigned()),
                Val::I64(address) => address.cast_unsigned(),
                _ => continue,
            };
            regions.push(Region { export: function, memory, header, instance: component.instance() });
        }
        Ok(Self { regions, limits })
    }

    /// Updates the metrics that the guest observes, before the next read.
    ///
    /// Call it when no function of the guest runs, and only if none has trapped. It calls the
    /// exports that [`of`](Self::of) has found.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap, since it calls the guest.
    pub fn observe(&self, mut store: impl AsContextMut) -> Result<(), Error> {
        self.regions.iter().try_for_each(|region| region.export.call(&mut store, &[], &mut [Val::I32(0)]))
    }

    /// Reads what the guest has recorded up to now. It may be called any number of times.
    ///
    /// `now` is a time of the clock that [`Registry::snapshot`](wasmetry_host::Registry::snapshot)
    /// uses.
    pub fn read(&mut self, store: impl AsContext, now: Duration) {
        let mut budget = ReadBudget::new(self.limits);
        for region in &mut self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            region.instance.read_within(view, now.into(), &mut budget, None);
        }
    }

    /// Reads the new logs, spans, panics and errors of the guest into `request`, also after a trap.
    ///
    /// Call it before the request [finishes](RequestTelemetry::finish), and
    /// [`read_last`](Self::read_last) after it.
    pub fn read_records(&mut self, store: impl AsContext, now: Timestamp, request: &mut RequestTelemetry) {
        let mut budget = ReadBudget::new(self.limits);
        for region in &mut self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            region.instance.read_records_within(view, now, &mut budget, request);
        }
    }

    /// Reads the route that the guest has set for a request since the last call, also after a trap:
    /// for the embedder's own metrics of requests and traps. Returns `None` if it has set none.
    ///
    /// A route that the module does not declare is `other`. Of several regions, the last one in
    /// which a route was set counts.
    pub fn read_route(&mut self, store: impl AsContext, request: RequestKey) -> Option<Arc<str>> {
        let mut found = None;
        for region in &mut self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            found = region.instance.read_route(view, request).or(found);
        }
        found
    }

    /// Reads what the guest has recorded for the last time, also after a trap.
    pub fn read_last(self, store: impl AsContext, now: Duration) {
        let mut budget = ReadBudget::new(self.limits);
        for region in self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            region.instance.read_last_within(view, now.into(), &mut budget, None);
        }
    }

    /// Returns the number of regions.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Returns `true` if the module does not use wasmetry.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }
}

/// Returns `true` if a function has no parameters and returns one integer.
fn returns_address(store: impl AsContext, function: Func) -> bool {
    let ty = function.ty(store);
    ty.params().is_empty() && matches!(ty.results(), [ValType::I32 | ValType::I64])
}
