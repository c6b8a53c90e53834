//! Serves a `wasi:http` component in a Wasmtime host of your own, with an instance for each
//! request. `/metrics` has its metrics, its logs are lines on stdout, and
//! `OTEL_EXPORTER_OTLP_ENDPOINT` receives all. Run it on any service:
//! `cargo run --release -p embed-http -- target/guests/storefront.wasm 127.0.0.1:8080`

use std::{env, net, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot};
use wasmetry_export::{push, scrape};
use wasmetry_host::{Identity, Registry};
use wasmetry_wasmtime::{DeadlineExceeded, HttpMetrics, ObservedStore, StoreState, Telemetry, TelemetryView, Ticker};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::{self, bindings::ProxyPre, bindings::http::types::Scheme, body::HyperOutgoingBody};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

const DEADLINE: Duration = Duration::from_secs(10);

/// Your store's data: one more field.
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

type Answer = Result<Response<HyperOutgoingBody>>;

async fn answer(pre: ProxyPre<State>, metrics: HttpMetrics, mut request: Request<Incoming>) -> Answer {
    let (exchange, telemetry) = metrics.receive(&mut request);
    let (wasi, http, table) = (WasiCtx::builder().build(), WasiHttpCtx::new(), ResourceTable::new());
    let mut store = ObservedStore::new(Store::new(pre.engine(), State { wasi, http, table, telemetry }));
    store.set_deadline(DEADLINE)?;
    let (sender, response) = oneshot::channel();
    let status = exchange.status();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let respond = store.data_mut().http().new_response_outparam_from_callback(move |response| {
        status.set(response.as_ref().map_or(500, |response| response.status().as_u16()));
        let _ = sender.send(response);
    })?;
    // The guest goes on after its response has begun, also if the client leaves.
    tokio::spawn(async move {
        let busy_timer = store.busy_timer();
        let call = busy_timer.measure(async {
            let proxy = pre.instantiate_async(&mut *store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, respond).await
        });
        let late = |_| Err(wasmtime::Error::new(DeadlineExceeded));
        let result = tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(late);
        exchange.end(store, &result);
    });
    let response = response.await.ok().and_then(Result::ok);
    Ok(response.map_or_else(|| Response::builder().status(500).body(HyperOutgoingBody::default()), Ok)?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().context("which component? name its file")?;
    let wasm = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    let [address, metrics_address] =
        ["127.0.0.1:8080", "127.0.0.1:9464"].map(|address| arguments.next().unwrap_or(address.into()));

    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let _ticker = Ticker::start(&engine, Duration::from_millis(10))?;
    let registry = Registry::with_clock(wasmetry_wasmtime::wall_clock);
    let mut config = push::Config::from_env(|name| env::var_os(name))?;
    config.stdout = Some(push::LineFormat::Json);
    let sampler = config.sampler;
    let exporter = Arc::new(push::Exporter::start(config, &registry, Arc::new(|line: &str| eprintln!("{line}")))?);
    let telemetry = Telemetry::new(registry, &engine).with_sink(exporter.clone()).with_sampler(sampler);
    let metrics = telemetry.component(Identity::new("embedded"), &wasm)?.http("/");
    let snapshot = move || telemetry.snapshot();
    exporter.push_metrics(Arc::new(snapshot.clone()))?;
    let scrapes = scrape::Server::start(net::TcpListener::bind(metrics_address)?, Arc::new(snapshot))?;

    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    wasmetry_wasmtime::add_to_linker(&mut linker)?;
    let pre = ProxyPre::new(linker.instantiate_pre(&Component::new(&engine, &wasm)?)?)?;
    let listener = TcpListener::bind(address).await?;
    eprintln!("http://{} http://{}/metrics", listener.local_addr()?, scrapes.local_addr());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let (pre, metrics) = (pre.clone(), metrics.clone());
        let service = service_fn(move |request| answer(pre.clone(), metrics.clone(), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
    tokio::task::spawn_blocking(move || exporter.stop(Duration::from_secs(5))).await?;
    Ok(())
}
