//! A Wasmtime embedding with wasmetry that serves a `wasi:http` component, whose memory is read or
//! pushed, with an instance for each request.

use std::fs;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wasmetry_host::{Identity, Registry, Sink, encode};
use wasmetry_wasmtime::{HttpMetrics, ObservedStore, StoreState, Telemetry, TelemetryView, Ticker, wall_clock};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::observed::{Allocation, TICK, engine};

/// A store's data.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    telemetry: StoreState,
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

/// A host program that serves one component.
pub struct HttpHost {
    runtime: Runtime,
    engine: Engine,
    telemetry: Telemetry,
    metrics: HttpMetrics,
    pre: ProxyPre<State>,
    is_pushed: bool,
    _ticker: Ticker,
}

impl HttpHost {
    /// Makes a host of a guest, which reads its memory, or has it pushed. Logs and spans go to
    /// `sink`.
    ///
    /// # Panics
    ///
    /// Panics if the guest imports something else than `wasi:http/proxy` and wasmetry's interfaces.
    pub fn new(guest: &str, registry: Registry, sink: Arc<dyn Sink>, is_pushed: bool) -> Self {
        let engine = engine(Allocation::OnDemand);
        let wasm = fs::read(crate::guest(guest)).unwrap();
        let telemetry = Telemetry::new(registry, &engine).with_sink(sink);
        let metrics = telemetry.component(Identity::new(guest), &wasm).unwrap().http("/");
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        wasmetry_wasmtime::add_to_linker(&mut linker).unwrap();
        let component = Component::new(&engine, &wasm).unwrap();
        let pre = ProxyPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ticker = Ticker::start(&engine, TICK).unwrap();
        Self { runtime, engine, telemetry, metrics, pre, is_pushed, _ticker: ticker }
    }

    /// Makes the registry of a host.
    pub fn registry() -> Registry {
        Registry::with_clock(wall_clock)
    }

    /// Has the guest answer a GET request with this header. Returns the status, which is 500 if the
    /// guest sets no response.
    ///
    /// # Panics
    ///
    /// Panics if the request is not valid.
    pub fn get(&self, path: &str, traceparent: &str) -> u16 {
        self.runtime.block_on(self.answer(path, traceparent))
    }

    async fn answer(&self, path: &str, traceparent: &str) -> u16 {
        let request = Request::get(format!("http://localhost{path}")).header("traceparent", traceparent);
        let mut request = request.body(Empty::<Bytes>::new().map_err(|never| -> ErrorCode { match never {} })).unwrap();
        let (exchange, telemetry) = self.metrics.receive(&mut request);
        let telemetry = if self.is_pushed { telemetry.pushed() } else { telemetry };
        let (wasi, http, table) = (WasiCtx::builder().build(), WasiHttpCtx::new(), ResourceTable::new());
        let mut store = ObservedStore::new(Store::new(&self.engine, State { wasi, http, table, telemetry }));
        let (sender, response) = oneshot::channel();
        let status = exchange.status();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
        let respond = store.data_mut().http().new_response_outparam_from_callback(move |response| {
            let code = response.as_ref().map_or(500, |response| response.status().as_u16());
            status.set(code);
            // The receiver is alive as long as the guest.
            let _ = sender.send(code);
        });
        let respond = respond.unwrap();
        let busy_timer = store.busy_timer();
        let call = busy_timer.measure(async {
            let proxy = self.pre.instantiate_async(&mut *store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, respond).await
        });
        let result = call.await;
        exchange.end(store, &result);
        response.await.unwrap_or(500)
    }

    /// Returns a scrape in the Prometheus text format.
    pub fn scrape(&self) -> String {
        encode::prometheus::encode(&self.telemetry.snapshot())
    }
}
