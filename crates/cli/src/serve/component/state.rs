//! The state of one request's store: its WASI and wasi:http contexts, and its telemetry.

use std::sync::Arc;

use wasmetry_wasmtime::{StoreState, TelemetryView};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::guest::limits;
use crate::guest::outgoing::{Access, Outgoing};
use crate::guest::resources::{self, ChargedState};

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
    pub(super) fn new(wasi: WasiCtx, telemetry: StoreState, access: Arc<Access>) -> Self {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::RESOURCE);
        let mut table = ResourceTable::new();
        resources::bound(&mut table, &telemetry);
        Self { wasi, http, table, outgoing: Outgoing::new(telemetry.client_spans(), access), telemetry }
    }
}

impl ChargedState for State {
    fn charged(&mut self) -> (&mut ResourceTable, &mut StoreState) {
        (&mut self.table, &mut self.telemetry)
    }
}

resources::limit_resources!(State);

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
