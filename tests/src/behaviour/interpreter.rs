//! The adapter of core modules in wasmi.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use wasmetry_host::{Component, Declarations, Identity, Registry, encode};
use wasmetry_wasmi::Regions;
use wasmi::{Config, Engine, Instance, Linker, Module, ResumableCall, Store, StoreLimits, StoreLimitsBuilder, Val};

use super::suite::{Adapter, Opener, Outcome, Seen};
use super::{Behaviour, Call, Ending, Value};
use crate::embedding::observed::MEMORY;

/// The fuel after which a guest is collected: about a millisecond's work.
const SLICE: u64 = 1_000_000;

/// The number of slices before a guest is killed.
const SLICES: u32 = 3;

/// A wasmi engine with its compiled guests.
pub struct Interpreter {
    engine: Engine,
    programs: RefCell<HashMap<String, Rc<Program>>>,
}

struct Program {
    wasm: Vec<u8>,
    module: Module,
}

impl Default for Interpreter {
    fn default() -> Self {
        let mut config = Config::default();
        config.consume_fuel(true);
        Self { engine: Engine::new(&config), programs: RefCell::default() }
    }
}

impl Opener for Interpreter {
    type Adapter = Host;

    fn open(&self, behaviour: &Behaviour) -> Host {
        let mut programs = self.programs.borrow_mut();
        let program = programs.entry(behaviour.guest.clone()).or_insert_with(|| {
            let wasm = std::fs::read(crate::guest(&format!("{}-module", behaviour.guest))).unwrap();
            let module = Module::new(&self.engine, &wasm).unwrap();
            Rc::new(Program { wasm, module })
        });
        let registry = Registry::new();
        let declarations = Declarations::from_wasm(&program.wasm).unwrap();
        let component = registry.component(Identity::new(&behaviour.guest), declarations);
        Host { program: Rc::clone(program), engine: self.engine.clone(), registry, component }
    }
}

/// A host program with one guest.
pub struct Host {
    program: Rc<Program>,
    engine: Engine,
    registry: Registry,
    component: Component,
}

/// An instance of the guest, in its store.
pub struct Running {
    store: Store<StoreLimits>,
    instance: Instance,
    regions: Regions,
    /// A call has trapped, or was killed or dropped.
    has_ended: bool,
}

impl Running {
    /// Returns a call's arguments as wasm values. Texts are written one after the other into the
    /// guest's buffer.
    fn values(&mut self, call: &Call) -> Vec<Val> {
        let mut values = Vec::new();
        let mut address = None;
        for argument in &call.arguments {
            match argument {
                Value::U32(value) => values.push(Val::I32(value.cast_signed())),
                Value::U64(value) => values.push(Val::I64(value.cast_signed())),
                Value::S64(value) => values.push(Val::I64(*value)),
                Value::F64(value) => values.push(Val::F64((*value).into())),
                Value::String(text) => {
                    let start = address.unwrap_or_else(|| {
                        let buffer = self.instance.get_typed_func::<(), u32>(&self.store, "text-buffer").unwrap();
                        buffer.call(&mut self.store, ()).unwrap()
                    });
                    let memory = self.instance.get_memory(&self.store, "memory").unwrap();
                    memory.write(&mut self.store, start as usize, text.as_bytes()).unwrap();
                    values.extend([Val::I32(start.cast_signed()), Val::I32(text.len() as i32)]);
                    address = Some(start + text.len() as u32);
                }
            }
        }
        values
    }
}

impl Adapter for Host {
    type Instance = Running;

    fn instantiate(&mut self) -> Running {
        let mut store = Store::new(&self.engine, StoreLimitsBuilder::new().memory_size(MEMORY).build());
        store.limiter(|limits| limits);
        store.set_fuel(u64::MAX).unwrap();
        let instance = Linker::new(&self.engine).instantiate_and_start(&mut store, &self.program.module).unwrap();
        let regions = Regions::of(&self.component, &mut store, &instance).unwrap();
        Running { store, instance, regions, has_ended: false }
    }

    /// Runs a guest until its fuel is used up, collects it, and resumes it with more fuel.
    fn call(&mut self, instance: &mut Running, call: &Call, ending: &Ending, seen: Seen<'_>) -> Outcome {
        let values = instance.values(call);
        let function = instance.instance.get_func(&instance.store, &call.function).unwrap();
        let is_ended = matches!(ending, Ending::Kill | Ending::Drop);
        let fuel = if is_ended { SLICE } else { u64::MAX };
        instance.store.set_fuel(fuel).unwrap();
        instance.has_ended = true; // until the call returns
        let mut result = function.call_resumable(&mut instance.store, &values, &mut []);
        let mut slices = 0;
        loop {
            let paused = match result {
                Ok(ResumableCall::Finished) => {
                    instance.has_ended = false;
                    return Outcome::Returned;
                }
                Ok(ResumableCall::OutOfFuel(paused)) => paused,
                // The crate `wasmetry-wasmi` has no runtime metrics and thus no reasons.
                Ok(ResumableCall::HostTrap(_)) | Err(_) => return Outcome::Trapped(None),
            };
            instance.regions.read(&instance.store, Duration::ZERO);
            let is_seen = seen(&self.scrape());
            slices += 1;
            if slices >= SLICES || is_seen {
                drop(paused);
                return if *ending == Ending::Kill { Outcome::Killed } else { Outcome::Dropped };
            }
            instance.store.set_fuel(SLICE.max(paused.required_fuel())).unwrap();
            result = paused.resume(&mut instance.store, &mut []);
        }
    }

    fn collect(&mut self, instance: &mut Running) {
        instance.regions.observe(&mut instance.store).unwrap();
        instance.regions.read(&instance.store, Duration::ZERO);
    }

    fn end(&mut self, mut instance: Running) {
        if !instance.has_ended {
            instance.regions.observe(&mut instance.store).unwrap();
        }
        instance.regions.read_last(&instance.store, Duration::ZERO);
    }

    fn scrape(&mut self) -> String {
        encode::prometheus::encode(&self.registry.snapshot(Duration::ZERO))
    }
}
