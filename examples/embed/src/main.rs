//! Collects wasmetry telemetry in a Wasmtime program of your own. Run it on any command component:
//! `cargo run --release -p embed -- target/guests/greeter.wasm`

use std::env;

use anyhow::{Context, Result};
use wasmetry_host::{Identity, Registry, encode};
use wasmetry_wasmtime::{ObservedStore, StoreState, Telemetry, TelemetryView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Your store's data: one more field.
struct MyState {
    telemetry: StoreState,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl TelemetryView for MyState {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

impl WasiView for MyState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn main() -> Result<()> {
    let path = env::args().nth(1).context("which component? name its file")?;
    let wasm = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;

    let engine = Engine::default();
    let component = Component::new(&engine, &wasm)?;
    let mut linker = Linker::<MyState>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    // One line links the imports, and two register the component.
    wasmetry_wasmtime::add_to_linker(&mut linker)?;
    let telemetry = Telemetry::new(Registry::new(), &engine);
    let observed = telemetry.component(Identity::new("embedded"), &wasm)?;

    for _ in 0..3 {
        let wasi = WasiCtx::builder().inherit_stdio().build();
        let state = MyState { telemetry: observed.state(), wasi, table: ResourceTable::new() };
        let mut store = ObservedStore::new_sync(Store::new(&engine, state));
        let command = Command::instantiate(&mut *store, &component, &linker)?;
        let result = command.wasi_cli_run().call_run(&mut *store);
        store.finish(&result);
    } // The guest is collected when its store is dropped, also after a trap.

    print!("{}", encode::prometheus::encode(&telemetry.snapshot()));
    Ok(())
}
