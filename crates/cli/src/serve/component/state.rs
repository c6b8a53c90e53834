//! The state of one request's store: its WASI and wasi:http contexts, and its telemetry.

use wasmetry_wasmtime::{StoreState, TelemetryView};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::guest::outgoing::Outgoing;

/// A linked component, ready to be instantiated.
pub(in crate::serve) type Pre = ProxyPre<State>;

/// The state of one request's store.
pub(in crate::serve) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    telemetry: StoreState,
    outgoing: Outgoing,
}

impl State {
    /// Makes the state of a request's store. `telemetry` must have the server span already, of
    /// which client spans are children.
    pub(super) fn new(wasi: WasiCtx, telemetry: StoreState) -> Self {
        Self {
            wasi,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            outgoing: Outgoing::new(telemetry.client_spans()),
            telemetry,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}
