//! A Wasmtime embedding with wasmetry, as a user of the crate `wasmetry-wasmtime` writes it.

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
    /// Makes the data of a store whose guest has no access to the system.
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

/// The allocator of instances.
#[derive(Clone, Copy, Debug)]
pub enum Allocation {
    /// A fresh mapping for each.
    OnDemand,
    /// Reused slots of a pool.
    Pooling,
}

/// The time between two increments of the engine's epoch.
pub const TICK: Duration = Duration::from_millis(5);

/// The limit of an instance's memory, in bytes.
pub const MEMORY: usize = 32 << 20;

/// Makes an engine that can interrupt its guests.
///
/// # Panics
///
/// Panics if Wasmtime refuses the configuration.
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

/// Links a component with WASI and wasmetry, for blocking or for async calls.
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

/// Links a core module for blocking or for async calls; with the functions of WASI preview 1 if it
/// `is_wasi`.
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

/// A host program with one component: an engine, a registry and the linked component.
pub struct Host {
    /// The engine.
    pub engine: Engine,
    /// The registry and what observes the engine.
    pub telemetry: Telemetry,
    /// The component that instances are made of.
    pub component: ObservedComponent,
    pre: InstancePre<State>,
    is_async: bool,
    is_pushed: bool,
    _ticker: Arc<Ticker>,
}

impl Host {
    /// Makes a host of the recorder with blocking calls.
    pub fn new(allocation: Allocation) -> Self {
        Self::build(allocation, false)
    }

    /// Makes a host of the recorder with async calls.
    pub fn new_async(allocation: Allocation) -> Self {
        Self::build(allocation, true)
    }

    /// Makes a host of a guest with blocking calls, whose logs and spans are exported to `sink`.
    pub fn with_sink(guest: &str, sink: Arc<dyn Sink>) -> Self {
        Self::with_guest(guest, Allocation::Pooling, false, Some(sink))
    }

    /// Makes a host of a guest with blocking calls, without a sink for logs and spans.
    pub fn without_sink(guest: &str) -> Self {
        Self::with_guest(guest, Allocation::Pooling, false, None)
    }

    fn build(allocation: Allocation, is_async: bool) -> Self {
        Self::with_guest("recorder", allocation, is_async, None)
    }

    fn with_guest(guest: &str, allocation: Allocation, is_async: bool, sink: Option<Arc<dyn Sink>>) -> Self {
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

    /// Makes the host answer `pushed`, so that guests send what they record.
    #[must_use]
    pub fn pushed(self) -> Self {
        Self { is_pushed: true, ..self }
    }

    /// Makes a host of the same guest under another identity, with the same registry.
    ///
    /// # Panics
    ///
    /// Panics if the guest's file has changed.
    #[must_use]
    pub fn with_identity(&self, identity: Identity) -> Self {
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

    /// Makes an instance for blocking calls.
    pub fn instance(&self) -> GuestInstance {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut *store).unwrap();
        GuestInstance { store, instance }
    }

    /// Makes an instance for async calls.
    pub async fn instance_async(&self) -> GuestInstance {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut *store).await.unwrap();
        GuestInstance { store, instance }
    }

    /// Returns a scrape in the Prometheus text format.
    pub fn scrape(&self) -> String {
        encode::prometheus::encode(&self.telemetry.snapshot())
    }

    /// Returns a scrape in the OpenMetrics text format.
    pub fn scrape_openmetrics(&self) -> String {
        encode::openmetrics::encode(&self.telemetry.snapshot())
    }
}

/// An instance of a component in a store of its own.
pub struct GuestInstance {
    /// The store.
    pub store: ObservedStore<State>,
    instance: Instance,
}

impl GuestInstance {
    /// Returns the telemetry state of the store.
    pub fn telemetry(&mut self) -> &mut StoreState {
        &mut self.store.data_mut().telemetry
    }

    /// Calls an exported function and counts its trap, if any.
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
