//! The adapter of Wasmtime, with guests in each form that it can collect.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use wasmetry_host::{Identity, Registry, encode};
use wasmetry_wasmtime::{
    DeadlineExceeded, ObservedComponent, ObservedStore, Telemetry, Ticker, attach_module, attach_module_async,
    observe_modules, observe_modules_async,
};
use wasmtime::component::{self, Component, InstancePre};
use wasmtime::{Engine, Instance, InstancePre as ModulePre, Module, Store, Val};
use wit_component::ComponentEncoder;

use super::composition;
use super::suite::{Adapter, Opener, Outcome, Seen};
use super::{Behaviour, Call, Ending, PAIR, Value};
use crate::embedding::observed::{Allocation, MEMORY, State, TICK, engine, prepare, prepare_module};

/// The deadline of a guest that no scrape has to show before.
const SOON: Duration = Duration::from_millis(100);

/// The deadline of a guest that a scrape has to show before.
const LATER: Duration = Duration::from_secs(1);

/// The function of a core module that returns the address of its buffer for texts.
const BUFFER: &str = "text-buffer";

/// The form of a guest and the way it is collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A component whose memory is read.
    Mapped,
    /// A component that sends what it records.
    Pushed,
    /// A core module that imports `wasmetry:telemetry`, encoded as a component here; its memory is
    /// read.
    Encoded,
    /// A core module that imports nothing; its memory is read.
    Module,
    /// A core module that imports WASI preview 1; its memory is read.
    Wasip1,
}

impl Form {
    /// Returns the bytes of a guest in this form.
    pub(super) fn read(self, guest: &str) -> Vec<u8> {
        if guest == PAIR {
            return composition::compose(&self.read("recorder"));
        }
        let name = match self {
            Self::Mapped | Self::Pushed => guest.to_owned(),
            Self::Encoded => format!("{guest}-embryo"),
            Self::Module => format!("{guest}-module"),
            Self::Wasip1 => format!("{guest}-wasip1"),
        };
        let wasm = std::fs::read(crate::guest(&name)).unwrap();
        match self {
            Self::Encoded => {
                let mut encoder = ComponentEncoder::default().validate(true).module(&wasm).unwrap();
                encoder.encode().unwrap()
            }
            _ => wasm,
        }
    }
}

/// A Wasmtime engine with its compiled guests.
pub struct Runtime {
    form: Form,
    engine: Engine,
    programs: RefCell<HashMap<String, Rc<Program>>>,
    _ticker: Ticker,
}

/// A compiled guest.
struct Program {
    wasm: Vec<u8>,
    code: Code,
}

enum Code {
    Component { blocking: InstancePre<State>, asynchronous: InstancePre<State> },
    Module { blocking: ModulePre<State>, asynchronous: ModulePre<State> },
}

impl Runtime {
    /// Makes an engine with this allocator, for guests in this form.
    ///
    /// # Panics
    ///
    /// Panics if no thread can be started.
    pub fn new(form: Form, allocation: Allocation) -> Self {
        let engine = engine(allocation);
        let ticker = Ticker::start(&engine, TICK).unwrap();
        Self { form, engine, programs: RefCell::default(), _ticker: ticker }
    }

    /// Returns a guest's program, compiled on first use.
    fn program(&self, guest: &str) -> Rc<Program> {
        let mut programs = self.programs.borrow_mut();
        let compile = || {
            let wasm = self.form.read(guest);
            let code = match self.form {
                Form::Module | Form::Wasip1 => {
                    let module = Module::new(&self.engine, &wasm).unwrap();
                    let prepare = |is_async| prepare_module(&module, self.form == Form::Wasip1, is_async);
                    Code::Module { blocking: prepare(false), asynchronous: prepare(true) }
                }
                _ => {
                    let component = Component::new(&self.engine, &wasm).unwrap();
                    Code::Component { blocking: prepare(&component, false), asynchronous: prepare(&component, true) }
                }
            };
            Rc::new(Program { wasm, code })
        };
        Rc::clone(programs.entry(guest.to_owned()).or_insert_with(compile))
    }
}

impl Opener for Runtime {
    type Adapter = Host;

    fn open(&self, behaviour: &Behaviour) -> Host {
        let program = self.program(&behaviour.guest);
        let telemetry = Telemetry::new(Registry::new(), &self.engine);
        let component = telemetry.component(Identity::new(&behaviour.guest), &program.wasm).unwrap();
        // Only an async call can be dropped; all other calls block.
        let is_async = behaviour.needs().contains(&super::Need::Drop);
        Host { engine: self.engine.clone(), form: self.form, program, telemetry, component, is_async }
    }
}

/// A host program with one guest.
pub struct Host {
    engine: Engine,
    form: Form,
    program: Rc<Program>,
    telemetry: Telemetry,
    component: ObservedComponent,
    is_async: bool,
}

/// An instance of the guest, in its store.
pub struct Running {
    store: ObservedStore<State>,
    guest: Guest,
    /// A call has trapped, or was killed or dropped.
    has_ended: bool,
}

enum Guest {
    Component(component::Instance),
    /// A core module, with the address of its buffer for texts if it has one.
    Module(Instance, Option<u32>),
}

impl Running {
    /// Calls a function and blocks.
    fn invoke(&mut self, call: &Call) -> Outcome {
        let busy_timer = self.store.busy_timer();
        let result = busy_timer.measure_sync(|| match self.guest {
            Guest::Component(instance) => {
                let function = instance.get_func(&mut *self.store, &call.function).unwrap();
                function.call(&mut *self.store, &component_values(call), &mut [])
            }
            Guest::Module(instance, buffer) => {
                let values = self.module_values(instance, buffer, call);
                let function = instance.get_func(&mut *self.store, &call.function).unwrap();
                function.call(&mut *self.store, &values, &mut [])
            }
        });
        self.outcome(&result)
    }

    /// Calls a function asynchronously.
    async fn invoke_async(&mut self, call: &Call) -> Outcome {
        let busy_timer = self.store.busy_timer();
        let invocation = async {
            match self.guest {
                Guest::Component(instance) => {
                    let function = instance.get_func(&mut *self.store, &call.function).unwrap();
                    function.call_async(&mut *self.store, &component_values(call), &mut []).await
                }
                Guest::Module(instance, buffer) => {
                    let values = self.module_values(instance, buffer, call);
                    let function = instance.get_func(&mut *self.store, &call.function).unwrap();
                    function.call_async(&mut *self.store, &values, &mut []).await
                }
            }
        };
        let result = busy_timer.measure(invocation).await;
        self.outcome(&result)
    }

    fn outcome(&mut self, result: &wasmtime::Result<()>) -> Outcome {
        self.has_ended = result.is_err();
        match (result, self.store.finish(result)) {
            (Ok(()), _) => Outcome::Returned,
            (Err(error), _) if error.is::<DeadlineExceeded>() => Outcome::Killed,
            (Err(_), reason) => Outcome::Trapped(reason.map(str::to_owned)),
        }
    }

    /// Returns a call's arguments as wasm values. Texts are written one after the other into the
    /// module's buffer.
    fn module_values(&mut self, instance: Instance, buffer: Option<u32>, call: &Call) -> Vec<Val> {
        let mut free = buffer;
        let mut values = Vec::new();
        for argument in &call.arguments {
            match argument {
                Value::U32(value) => values.push(Val::I32(value.cast_signed())),
                Value::U64(value) => values.push(Val::I64(value.cast_signed())),
                Value::S64(value) => values.push(Val::I64(*value)),
                Value::F64(value) => values.push(Val::F64(value.to_bits())),
                Value::String(text) => {
                    let address = free.expect("a guest with such a function has a buffer for texts");
                    let memory = instance.get_memory(&mut *self.store, "memory").unwrap();
                    memory.write(&mut *self.store, address as usize, text.as_bytes()).unwrap();
                    values.extend([Val::I32(address.cast_signed()), Val::I32(text.len() as i32)]);
                    free = Some(address + text.len() as u32);
                }
            }
        }
        values
    }
}

pub(super) fn component_values(call: &Call) -> Vec<component::Val> {
    let value = |argument: &Value| match argument {
        Value::U32(value) => component::Val::U32(*value),
        Value::U64(value) => component::Val::U64(*value),
        Value::S64(value) => component::Val::S64(*value),
        Value::F64(value) => component::Val::Float64(*value),
        Value::String(value) => component::Val::String(value.clone()),
    };
    call.arguments.iter().map(value).collect()
}

impl Host {
    async fn make_instance(&self) -> Running {
        let telemetry = self.component.state_with_memory_limit(MEMORY);
        let telemetry = if self.form == Form::Pushed { telemetry.pushed() } else { telemetry };
        let store = Store::new(&self.engine, State::new(telemetry));
        let mut store = if self.is_async { ObservedStore::new(store) } else { ObservedStore::new_sync(store) };
        let guest = match &self.program.code {
            Code::Component { asynchronous, .. } if self.is_async => {
                Guest::Component(asynchronous.instantiate_async(&mut *store).await.unwrap())
            }
            Code::Component { blocking, .. } => Guest::Component(blocking.instantiate(&mut *store).unwrap()),
            Code::Module { asynchronous, .. } if self.is_async => {
                let instance = asynchronous.instantiate_async(&mut *store).await.unwrap();
                attach_module_async(&mut *store, &instance).await.unwrap();
                let buffer = instance.get_typed_func::<(), u32>(&mut *store, BUFFER).ok();
                let address = match buffer {
                    Some(buffer) => Some(buffer.call_async(&mut *store, ()).await.unwrap()),
                    None => None,
                };
                Guest::Module(instance, address)
            }
            Code::Module { blocking, .. } => {
                let instance = blocking.instantiate(&mut *store).unwrap();
                attach_module(&mut *store, &instance).unwrap();
                let buffer = instance.get_typed_func::<(), u32>(&mut *store, BUFFER).ok();
                let address = buffer.map(|buffer| buffer.call(&mut *store, ()).unwrap());
                Guest::Module(instance, address)
            }
        };
        Running { store, guest, has_ended: false }
    }
}

impl Host {
    /// Calls the observers of a core module. A component calls its observers itself.
    fn observe(&self, instance: &mut Running) {
        let observed = if self.is_async {
            block_on(observe_modules_async(&mut *instance.store))
        } else {
            observe_modules(&mut *instance.store)
        };
        observed.unwrap();
    }
}

impl Adapter for Host {
    type Instance = Running;

    fn instantiate(&mut self) -> Running {
        block_on(self.make_instance())
    }

    fn call(&mut self, instance: &mut Running, call: &Call, ending: &Ending, seen: Seen<'_>) -> Outcome {
        match ending {
            Ending::Kill => {
                let deadline = if seen("") { SOON } else { LATER };
                thread::scope(|scope| {
                    let running = scope.spawn(|| {
                        // The deadline starts here because the thread may start late.
                        instance.store.set_deadline_sync(deadline).unwrap();
                        instance.invoke(call)
                    });
                    while !running.is_finished() && !seen(&self.scrape()) {}
                    running.join().unwrap()
                })
            }
            Ending::Drop => {
                // The guest runs until the next epoch, then yields.
                let mut context = Context::from_waker(Waker::noop());
                let outcome = match pin!(instance.invoke_async(call)).poll(&mut context) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => Outcome::Dropped,
                };
                instance.has_ended = outcome != Outcome::Returned;
                outcome
            }
            Ending::Return | Ending::Trap(_) if self.is_async => block_on(instance.invoke_async(call)),
            Ending::Return | Ending::Trap(_) => instance.invoke(call),
        }
    }

    fn collect(&mut self, instance: &mut Running) {
        self.observe(instance);
        instance.store.collect();
    }

    fn end(&mut self, mut instance: Running) {
        if !instance.has_ended {
            self.observe(&mut instance);
        }
    }

    fn scrape(&mut self) -> String {
        encode::prometheus::encode(&self.telemetry.snapshot())
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
