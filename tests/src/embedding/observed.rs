//! The recorder guest in Wasmtime, embedded as somebody would embed it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use wasmetry_host::{Identity, Registry, Sink, encode};
use wasmetry_wasmtime::{ObservedComponent, ObservedStore, StoreState, Telemetry, TelemetryView, Ticker, wall_clock};
use wasmtime::component::{Component, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre as ModulePre, Linker as ModuleLinker, Module,
    PoolingAllocationConfig, Store,
};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// A store's data.
pub struct State {
    telemetry: StoreState,
    wasi: WasiP1Ctx,
}

impl State {
    /// The data of a store that can do nothing outside of it.
    pub fn new(telemetry: StoreState) -> Self {
        Self { telemetry, wasi: WasiCtx::builder().build_p1() }
    }
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// How instances are allocated.
#[derive(Clone, Copy, Debug)]
pub enum Allocation {
    /// A fresh mapping for each.
    OnDemand,
    /// Slots that are used again.
    Pooling,
}

/// How often the engine's epoch advances.
pub const TICK: Duration = Duration::from_millis(5);

/// How much memory an instance can have, in bytes.
pub const MEMORY: usize = 32 << 20;

/// An engine whose guests can be ended.
///
/// # Panics
///
/// Panics if Wasmtime does not take the configuration.
pub fn engine(allocation: Allocation) -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.concurrency_support(false);
    if let Allocation::Pooling = allocation {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(16).total_core_instances(32).total_memories(16).total_tables(32);
        pool.max_memory_size(64 << 20).total_stacks(16);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).unwrap()
}

/// A component with everything that it can import, for blocking or for async calls.
///
/// # Panics
///
/// Panics if it imports something else.
pub fn prepare(component: &Component, is_async: bool) -> InstancePre<State> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    if is_async {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    } else {
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    }
    wasmetry_wasmtime::add_to_linker(&mut linker).unwrap();
    wasmetry_wasmtime::check_imports(component, engine).unwrap();
    linker.instantiate_pre(component).unwrap()
}

/// A core module, with the functions of WASI's first release if it `is_wasi`, for blocking or for async calls.
///
/// # Panics
///
/// Panics if it imports something else.
pub fn prepare_module(module: &Module, is_wasi: bool, is_async: bool) -> ModulePre<State> {
    let mut linker = ModuleLinker::new(module.engine());
    match (is_wasi, is_async) {
        (false, _) => {}
        (true, true) => {
            wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut State| &mut state.wasi).unwrap()
        }
        (true, false) => {
            wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi).unwrap()
        }
    }
    linker.instantiate_pre(module).unwrap()
}

/// The host program: an engine, a registry and the recorder component.
pub struct Host {
    /// The engine.
    pub engine: Engine,
    /// Where everything is collected.
    pub telemetry: Telemetry,
    /// The recorder.
    pub component: ObservedComponent,
    pre: InstancePre<State>,
    is_async: bool,
    is_pushed: bool,
    _ticker: Arc<Ticker>,
}

impl Host {
    /// A host that calls its guests by blocking functions.
    pub fn new(allocation: Allocation) -> Self {
        Self::build(allocation, false)
    }

    /// A host that calls its guests by async functions.
    pub fn new_async(allocation: Allocation) -> Self {
        Self::build(allocation, true)
    }

    /// A host of another guest, which calls it by blocking functions, and gives its logs and spans to `sink`.
    pub fn with_sink(guest: &str, sink: Arc<dyn Sink>) -> Self {
        Self::of_guest(guest, Allocation::Pooling, false, Some(sink))
    }

    /// A host of another guest, which calls it by blocking functions, and takes neither logs nor spans.
    pub fn without_sink(guest: &str) -> Self {
        Self::of_guest(guest, Allocation::Pooling, false, None)
    }

    fn build(allocation: Allocation, is_async: bool) -> Self {
        Self::of_guest("recorder", allocation, is_async, None)
    }

    fn of_guest(guest: &str, allocation: Allocation, is_async: bool, sink: Option<Arc<dyn Sink>>) -> Self {
        let engine = engine(allocation);
        let wasm = fs::read(crate::guest(guest)).unwrap();
        let telemetry = Telemetry::new(Registry::with_clock(wall_clock), &engine);
        let telemetry = match sink {
            Some(sink) => telemetry.with_sink(sink),
            None => telemetry,
        };
        let component = telemetry.component(Identity::new(guest), &wasm).unwrap();
        let pre = prepare(&Component::new(&engine, &wasm).unwrap(), is_async);
        let ticker = Arc::new(Ticker::start(&engine, TICK).unwrap());
        Self { engine, telemetry, component, pre, is_async, is_pushed: false, _ticker: ticker }
    }

    /// The same, with guests that are asked to send what they record.
    #[must_use]
    pub fn pushed(self) -> Self {
        Self { is_pushed: true, ..self }
    }

    /// The same guest under another name.
    ///
    /// # Panics
    ///
    /// Panics if the guest was built anew in between.
    #[must_use]
    pub fn of(&self, identity: Identity) -> Self {
        let wasm = fs::read(crate::guest(self.component.identity().component())).unwrap();
        let component = self.telemetry.component(identity, &wasm).unwrap();
        let (engine, telemetry, pre) = (self.engine.clone(), self.telemetry.clone(), self.pre.clone());
        let (is_async, is_pushed, ticker) = (self.is_async, self.is_pushed, Arc::clone(&self._ticker));
        Self { engine, telemetry, component, pre, is_async, is_pushed, _ticker: ticker }
    }

    fn store(&self) -> ObservedStore<State> {
        let telemetry = self.component.state_with_memory_limit(MEMORY);
        let telemetry = if self.is_pushed { telemetry.pushed() } else { telemetry };
        let store = Store::new(&self.engine, State::new(telemetry));
        if self.is_async { ObservedStore::new(store) } else { ObservedStore::new_sync(store) }
    }

    /// A new instance of the recorder, for blocking calls.
    pub fn recorder(&self) -> Recorder {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut *store).unwrap();
        Recorder { store, instance }
    }

    /// A new instance of the recorder, for async calls.
    pub async fn recorder_async(&self) -> Recorder {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut *store).await.unwrap();
        Recorder { store, instance }
    }

    /// What Prometheus would see.
    pub fn scrape(&self) -> String {
        encode::prometheus::encode(&self.telemetry.snapshot())
    }

    /// What Prometheus would see in OpenMetrics.
    pub fn scrape_openmetrics(&self) -> String {
        encode::openmetrics::encode(&self.telemetry.snapshot())
    }
}

/// One instance of the recorder.
pub struct Recorder {
    /// Its store.
    pub store: ObservedStore<State>,
    instance: Instance,
}

impl Recorder {
    /// The telemetry state of its store.
    pub fn telemetry(&mut self) -> &mut StoreState {
        &mut self.store.data_mut().telemetry
    }

    /// Calls an exported function, and counts how it ended.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn call<P, R>(&mut self, function: &str, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let function = self.instance.get_typed_func::<P, R>(&mut *self.store, function).unwrap();
        let busy_timer = self.store.busy_timer();
        let result = busy_timer.measure_sync(|| function.call(&mut *self.store, parameters));
        self.store.finish(&result);
        result
    }

    /// Calls an exported function that returns nothing.
    ///
    /// # Panics
    ///
    /// Panics if the guest traps.
    pub fn run<P: ComponentNamedList + Lower>(&mut self, function: &str, parameters: P) {
        self.call::<P, ()>(function, parameters).unwrap();
    }

    /// Calls an exported function that returns nothing.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub async fn run_async<P>(&mut self, function: &str, parameters: P) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
    {
        let function = self.instance.get_typed_func::<P, ()>(&mut *self.store, function).unwrap();
        let busy_timer = self.store.busy_timer();
        let result = busy_timer.measure(function.call_async(&mut *self.store, parameters)).await;
        self.store.finish(&result);
        result
    }
}
