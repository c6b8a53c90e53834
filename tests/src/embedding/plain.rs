//! A Wasmtime embedding without wasmetry: only WASI and `wasi:http` are linked.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response};
use tokio::io::{AsyncWrite, sink};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wasmtime::component::{Component, ComponentNamedList, Instance, Linker, Lower, ResourceTable, Val};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView, async_trait};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// An epoch deadline that no test reaches.
const FOREVER: u64 = u64::MAX / 2;

/// A store's data.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
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

/// A standard error that keeps each write, with room for one of 64 KiB at any time, as
/// `wasmtime serve` has it.
#[derive(Clone, Default)]
struct Stderr(Arc<Mutex<Vec<Bytes>>>);

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(sink())
    }
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().unwrap().push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

/// A host program with one component.
pub struct PlainHost {
    runtime: Runtime,
    engine: Engine,
    component: Component,
    linker: Linker<State>,
    stderr: Stderr,
    /// The component linked as a service, made on first use.
    service: OnceLock<ProxyPre<State>>,
}

impl PlainHost {
    /// Compiles a component and links it.
    ///
    /// # Panics
    ///
    /// Panics if the component is not valid.
    pub fn new(wasm: &Path) -> Self {
        let mut config = Config::new();
        config.concurrency_support(false);
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let component = Component::from_file(&engine, wasm).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stderr, service) = (Stderr::default(), OnceLock::new());
        Self { runtime, engine, component, linker, stderr, service }
    }

    /// Returns everything that guests have written to standard error.
    pub fn stderr(&self) -> String {
        self.stderr_writes().concat()
    }

    /// Returns each write of guests to standard error.
    pub fn stderr_writes(&self) -> Vec<String> {
        let writes = self.stderr.0.lock().unwrap();
        writes.iter().map(|write| String::from_utf8(write.to_vec()).unwrap()).collect()
    }

    fn store(&self) -> Store<State> {
        let wasi = WasiCtx::builder().stderr(self.stderr.clone()).build();
        let mut store = Store::new(&self.engine, State { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new() });
        store.set_epoch_deadline(FOREVER);
        store
    }

    /// Runs `action`, and increments the epoch if it takes longer than `time`.
    fn with_tick_after<T>(&self, time: Duration, action: impl FnOnce() -> T) -> T {
        let (done, is_done) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                if is_done.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                    self.engine.increment_epoch();
                }
            });
            let result = action();
            drop(done);
            result
        })
    }

    /// Makes an instance of a service.
    pub fn service(&self) -> PlainService<'_> {
        let mut store = self.store();
        let link = || ProxyPre::new(self.linker.instantiate_pre(&self.component).unwrap()).unwrap();
        let pre = self.service.get_or_init(link);
        let proxy = self.runtime.block_on(pre.instantiate_async(&mut store)).unwrap();
        PlainService { host: self, store, proxy, answered: Duration::ZERO }
    }

    /// Runs a command in an instance of its own. Returns `true` if it succeeded.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn run(&self) -> wasmtime::Result<bool> {
        let mut store = self.store();
        self.runtime.block_on(async {
            let command = Command::instantiate_async(&mut store, &self.component, &self.linker).await?;
            match command.wasi_cli_run().call_run(&mut store).await {
                Ok(result) => Ok(result.is_ok()),
                Err(error) => match error.downcast_ref::<I32Exit>() {
                    Some(exit) => Ok(exit.0 == 0),
                    None => Err(error),
                },
            }
        })
    }

    /// Makes an instance of a component that exports functions.
    pub fn library(&self) -> PlainLibrary<'_> {
        let mut store = self.store();
        let instance = self.runtime.block_on(self.linker.instantiate_async(&mut store, &self.component)).unwrap();
        PlainLibrary { host: self, store, instance }
    }
}

/// One instance of a service.
pub struct PlainService<'a> {
    host: &'a PlainHost,
    store: Store<State>,
    proxy: Proxy,
    /// The time until the last response was complete, which may be long before the guest returned.
    pub answered: Duration,
}

impl PlainService<'_> {
    /// Sends a request without a body; returns the status and the body, once the guest has
    /// returned.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn get(&mut self, path: &str) -> wasmtime::Result<(u16, String)> {
        let request = Request::get(format!("http://localhost{path}"));
        let response = self.send(request.body(Empty::new()).unwrap())?;
        let status = response.status().as_u16();
        Ok((status, String::from_utf8(response.into_body().to_vec()).unwrap()))
    }

    /// Sends a request; returns the response, once the guest has returned.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn send(&mut self, request: Request<Empty<Bytes>>) -> wasmtime::Result<Response<Bytes>> {
        let Self { host, store, proxy, answered } = self;
        let start = Instant::now();
        host.runtime.block_on(async {
            // A host polls its sockets between requests; a runtime with one thread needs a chance.
            tokio::task::yield_now().await;
            let (sender, receiver) = oneshot::channel();
            let body = request.map(|body| body.map_err(|never| -> ErrorCode { match never {} }));
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(Scheme::Http, body)?;
            let out = http.new_response_outparam(sender)?;
            let response = async {
                let response = receiver.await.expect("a guest that returns has set its response").unwrap();
                let (parts, body) = response.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                *answered = start.elapsed();
                Ok(Response::from_parts(parts, body))
            };
            let call = proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out);
            // A guest that traps may leave its response unset as long as its store lives, so the
            // call is polled first.
            let ((), response) = tokio::try_join!(call, response)?;
            Ok(response)
        })
    }
}

/// One instance of a component that exports functions.
pub struct PlainLibrary<'a> {
    host: &'a PlainHost,
    store: Store<State>,
    instance: Instance,
}

impl PlainLibrary<'_> {
    /// Calls an exported function that returns nothing.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn call<P>(&mut self, function: &str, parameters: P) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
    {
        let function = self.instance.get_typed_func::<P, ()>(&mut self.store, function).unwrap();
        self.host.runtime.block_on(function.call_async(&mut self.store, parameters))
    }

    /// Calls an exported function that returns nothing.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn invoke(&mut self, function: &str, parameters: &[Val]) -> wasmtime::Result<()> {
        let function = self.instance.get_func(&mut self.store, function).unwrap();
        self.host.runtime.block_on(function.call_async(&mut self.store, parameters, &mut []))
    }

    /// Calls an exported function that returns nothing, and interrupts the guest after `time`.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap, which is [`Trap::Interrupt`](wasmtime::Trap::Interrupt) if it was
    /// interrupted.
    pub fn invoke_until(&mut self, time: Duration, function: &str, parameters: &[Val]) -> wasmtime::Result<()> {
        self.store.set_epoch_deadline(1);
        let host = self.host;
        let result = host.with_tick_after(time, || self.invoke(function, parameters));
        self.store.set_epoch_deadline(FOREVER);
        result
    }

    /// Calls an exported function that returns nothing, and drops the call's future after `time`.
    ///
    /// # Errors
    ///
    /// Returns the guest's trap.
    pub fn drop_after(&mut self, time: Duration, function: &str, parameters: &[Val]) -> Poll<wasmtime::Result<()>> {
        self.store.epoch_deadline_async_yield_and_update(FOREVER);
        self.store.set_epoch_deadline(1);
        let function = self.instance.get_func(&mut self.store, function).unwrap();
        let _context = self.host.runtime.enter();
        let mut call = pin!(function.call_async(&mut self.store, parameters, &mut []));
        let mut waker = Context::from_waker(Waker::noop());
        self.host.with_tick_after(time, || call.as_mut().poll(&mut waker))
    }
}
