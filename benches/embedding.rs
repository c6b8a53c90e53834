//! The bench guest in a minimal embedding of Wasmtime.

#![allow(dead_code, reason = "it is compiled into each bench, and some benches use only a part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmetry_host::{GuestLimits, Identity, Number, Registry, Sink, Value};
use wasmetry_wasmtime::{ObservedComponent, ObservedStore, StoreState, Telemetry, TelemetryView};
use wasmtime::component::{Component, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower, TypedFunc};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// The data of a store with telemetry.
pub(crate) struct State {
    telemetry: StoreState,
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

/// The compiled guest, to be instantiated with telemetry or without.
pub(crate) struct Host {
    engine: Engine,
    component: ObservedComponent,
    observed: InstancePre<State>,
    plain: InstancePre<()>,
    registry: Registry,
}

impl Host {
    /// Compiles the guest for an engine of this configuration and a pool of instances.
    ///
    /// # Panics
    ///
    /// Panics if the guests have not been built.
    pub(crate) fn new(config: Config) -> Self {
        Self::build(config, None)
    }

    /// Compiles the guest as [`new`](Self::new) does, and sends its logs to `sink`.
    pub(crate) fn with_sink(config: Config, sink: Arc<dyn Sink>) -> Self {
        Self::build(config, Some(sink))
    }

    fn build(mut config: Config, sink: Option<Arc<dyn Sink>>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the root");
        let path = root.join("target/guests/bench.wasm");
        let wasm = std::fs::read(&path);
        let wasm = wasm.unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", path.display()));

        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(4).total_core_instances(16).total_memories(4).total_tables(16);
        pool.max_memory_size(64 << 20).linear_memory_keep_resident(256 << 10).pagemap_scan(Enabled::Auto);
        config.concurrency_support(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).expect("a small pool fits everywhere");
        let compiled = Component::new(&engine, &wasm).expect("the guest compiles");

        let registry = Registry::new();
        // A loop records more than a component may.
        let mut limits = GuestLimits::default();
        limits.records = u64::MAX;
        registry.set_limits(limits);
        let telemetry = Telemetry::new(registry.clone(), &engine);
        let telemetry = match sink {
            Some(sink) => telemetry.with_sink(sink),
            None => telemetry,
        };
        let component = telemetry.component(Identity::new("bench"), &wasm).expect("the guest is a component");
        let mut linker = Linker::new(&engine);
        wasmetry_wasmtime::add_to_linker(&mut linker).expect("the linker is empty");
        let observed = link(linker, &compiled);
        let plain = link(Linker::new(&engine), &compiled);
        Self { engine, component, observed, plain, registry }
    }

    /// Returns an instance that is collected when it ends.
    pub(crate) fn observed(&self) -> (ObservedStore<State>, Instance) {
        let state = State { telemetry: self.component.state() };
        let mut store = ObservedStore::new_sync(Store::new(&self.engine, state));
        let instance = self.observed.instantiate(&mut *store).expect("the pool has room");
        (store, instance)
    }

    /// Checks that a counter or histogram of the guest was collected. A guest that records nothing
    /// would be fast, too.
    ///
    /// # Panics
    ///
    /// Panics if all series of that name are 0.
    pub(crate) fn assert_collected(&self, name: &str) {
        let snapshot = self.registry.snapshot(Duration::ZERO);
        let family = snapshot.families().find(|family| family.name() == name);
        let has_counted = |value: Value<'_>| match value {
            Value::Number(number) => number != Number::Unsigned(0),
            Value::Histogram { counts, .. } => counts.iter().any(|count| *count > 0),
            _ => false,
        };
        assert!(family.is_some_and(|family| family.series().any(|series| has_counted(series.value()))), "{name}");
    }

    /// Returns an instance without telemetry. It must not record anything.
    pub(crate) fn plain(&self) -> (Store<()>, Instance) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        let instance = self.plain.instantiate(&mut store).expect("the pool has room");
        (store, instance)
    }
}

/// Defines `host-count`, and all other missing imports as traps: the guest never calls WASI.
fn link<T: 'static>(mut linker: Linker<T>, component: &Component) -> InstancePre<T> {
    let counted: [AtomicU64; 32] = Default::default();
    let count = move |_: wasmtime::StoreContextMut<'_, T>, (step,): (u32,)| {
        counted[step as usize % 32].fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    linker.root().func_wrap("host-count", count).expect("nothing else has the name");
    linker.define_unknown_imports_as_traps(component).expect("every import can be a trap");
    linker.instantiate_pre(component).expect("every import is there")
}

/// Returns an exported function.
pub(crate) fn function<T, P, R>(store: &mut Store<T>, instance: &Instance, name: &str) -> TypedFunc<P, R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    instance.get_typed_func(store, name).expect("the guest has the function")
}
