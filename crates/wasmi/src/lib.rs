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
//! // … call the module's functions; whether one traps does not matter …
//! regions.observe(&mut store)?; // only if none has
//! regions.read(&store, Duration::from_secs(1)); // whenever the guest does not run
//! regions.read_last(&store, Duration::from_secs(2));
//! print!("{}", encode::prometheus::encode(&registry.snapshot(Duration::from_secs(2))));
//! # Ok(())
//! # }
//! ```
//!
//! It is also the example of how little an adapter to a runtime has to do: find the exports that say where regions are,
//! and lend their memory to [`wasmetry_host::Instance`]. What it deliberately does not do: components, which wasmi does not
//! run, and metrics of the runtime's own.

#![forbid(unsafe_code)]

use std::time::Duration;

use wasmetry_host::{Component, RegionView, limits};
use wasmi::{AsContext, AsContextMut, Error, Func, Instance, Memory, Val, ValType};

/// What the names of exports begin with that give a region's header. See `crates/abi/FORMAT.md`, section 4.
const PREFIX: &str = "wasmetry_region_";

/// The regions of one module's instance. Dropping it ends them, with what was read last.
#[derive(Debug)]
pub struct Regions {
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    export: Func,
    memory: Memory,
    header: u64,
    instance: wasmetry_host::Instance,
}

impl Regions {
    /// Finds the regions of an instance; none for a module that does not use wasmetry.
    ///
    /// Call it right after the instance was made: it calls the exports that say where the regions are.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap, as every call into it may end in one.
    pub fn of(component: &Component, mut store: impl AsContextMut, instance: &Instance) -> Result<Self, Error> {
        let mut regions = Vec::new();
        let Some(memory) = instance.get_memory(&store, "memory") else { return Ok(Self { regions }) };
        let candidates: Vec<Func> = instance
            .exports(&store)
            .filter(|export| export.name().starts_with(PREFIX))
            .filter_map(|export| export.into_func())
            .take(limits::REGIONS)
            .collect();
        for function in candidates {
            if !gives_address(&store, function) {
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
        Ok(Self { regions })
    }

    /// Has the guest set the metrics that it observes, for the next read to find.
    ///
    /// Call it when no function of the guest runs, nor has one trapped. It calls the exports again that said where the regions are.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap, as every call into it may end in one.
    pub fn observe(&self, mut store: impl AsContextMut) -> Result<(), Error> {
        self.regions.iter().try_for_each(|region| region.export.call(&mut store, &[], &mut [Val::I32(0)]))
    }

    /// Reads what the guest has recorded up to now. It may be called any number of times.
    ///
    /// `now` is the time since the moment that [`Registry::snapshot`](wasmetry_host::Registry::snapshot) counts from.
    pub fn read(&mut self, store: impl AsContext, now: Duration) {
        for region in &mut self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            region.instance.read(view, now.into(), None);
        }
    }

    /// Reads what the guest has recorded, for the last time; also after it has trapped.
    pub fn read_last(self, store: impl AsContext, now: Duration) {
        for region in self.regions {
            let view = RegionView { memory: region.memory.data(&store), base: 0, header: region.header };
            region.instance.read_last(view, now.into(), None);
        }
    }

    /// The number of regions.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether the module does not use wasmetry.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }
}

/// Whether a function has no parameters and returns one integer.
fn gives_address(store: impl AsContext, function: Func) -> bool {
    let ty = function.ty(store);
    ty.params().is_empty() && matches!(ty.results(), [ValType::I32 | ValType::I64])
}
