//! The telemetry state of one store: the regions of its guest, which the host reads, and the
//! request that the guest serves.

use std::sync::Arc;
use std::time::Instant;

use wasmetry_host::{BatchReceiver, HttpSummary, Identity, PrintedLines, StoreMemory, limits};
use wasmtime::{Func, ResourceLimiter};

use super::activity::Activity;
use super::limiter::Limiter;
use super::region::Regions;
use super::request::Request;
use super::trap::trap_reason;
use crate::component::ObservedComponent;
use crate::http::{self, ClientSpans, ServerSpan};
use crate::linker::LazyHandles;

/// Access to the [`StoreState`] in a store's data.
///
/// Implement it for the `T` of your [`Store<T>`](wasmtime::Store). It has the same form as
/// `WasiView` of `wasmtime-wasi`.
///
/// # Example
///
/// ```
/// use wasmetry_wasmtime::{StoreState, TelemetryView};
///
/// struct MyState {
///     telemetry: StoreState,
///     // ...
/// }
///
/// impl TelemetryView for MyState {
///     fn telemetry(&mut self) -> &mut StoreState {
///         &mut self.telemetry
///     }
/// }
/// ```
pub trait TelemetryView: Send {
    /// Returns the store's telemetry state.
    fn telemetry(&mut self) -> &mut StoreState;
}

/// The telemetry state of one store.
///
/// [`ObservedComponent::state`] creates it, and a [`TelemetryView`] gives access to it. Its methods
/// describe the request that the guest serves: where it comes from, before the guest is called, and
/// how it ended. Programs that serve no requests need none of them.
///
/// Dropping it ends the guest's instances and the request. The values that were collected remain in
/// the registry.
///
/// # Example
///
/// A request is served by a guest of its own:
///
/// ```
/// # use wasmetry_host::{Identity, Registry};
/// # use wasmetry_wasmtime::{ObservedComponent, ObservedStore, StoreState, Telemetry, TelemetryView};
/// # use wasmtime::{Engine, Store};
/// # struct MyState { telemetry: StoreState }
/// # impl TelemetryView for MyState {
/// #     fn telemetry(&mut self) -> &mut StoreState { &mut self.telemetry }
/// # }
/// # fn call_guest(store: &mut Store<MyState>) -> wasmtime::Result<u16> { Ok(200) }
/// fn serve(engine: &Engine, component: &ObservedComponent, request: http::Request<()>) -> wasmtime::Result<()> {
///     let mut telemetry = component.state_with_memory_limit(64 << 20);
///     telemetry.set_caller(&request);
///
///     let mut store = ObservedStore::new_sync(Store::new(engine, MyState { telemetry }));
///     let result = call_guest(&mut store);
///     match &result {
///         Ok(status) => store.data_mut().telemetry().set_status(*status),
///         Err(_) => _ = store.finish(&result),
///     }
///     Ok(())
/// }
/// # let engine = Engine::default();
/// # let telemetry = Telemetry::new(Registry::new(), &engine);
/// # let component = telemetry.component(Identity::new("hello"), b"\0asm\x0d\0\x01\0").unwrap();
/// # serve(&engine, &component, http::Request::new(())).unwrap();
/// ```
pub struct StoreState {
    pub(crate) component: ObservedComponent,
    /// The store's place in the list of stores that a scrape waits for.
    pub(crate) activity: Arc<Activity>,
    /// The parts of the guest's memory that the host reads.
    pub(crate) regions: Regions,
    /// The receiver of the batches that the guest sends, if the host does not read its memory.
    pub(crate) batch_receiver: Option<BatchReceiver>,
    /// The handles of a guest that uses the handle API.
    pub(crate) handles: LazyHandles,
    pub(crate) request: Request,
    pub(crate) limiter: Limiter,
    /// The memory that the host keeps for the guest.
    pub(crate) memory: StoreMemory,
}

/// Before the guest is called: the way of collection, and the origin of the request.
impl StoreState {
    /// Creates the state of a new store, and counts its instance.
    pub(crate) fn new(component: ObservedComponent, memory_limit: Option<usize>) -> Self {
        let metrics = &component.own;
        metrics.starts.inc();
        metrics.instances.add(1);
        let memory = metrics.component.store_memory();
        let mut request = Request::new(&component);
        if let Some(telemetry) = &mut request.telemetry {
            telemetry.set_memory(&memory);
        }
        Self {
            activity: component.shared.activities.add(),
            regions: Regions::default(),
            batch_receiver: None,
            handles: LazyHandles::new(metrics.component.clone(), memory.clone()),
            request,
            limiter: Limiter::new(metrics, memory.clone(), memory_limit),
            memory,
            component,
        }
    }

    /// Collects by batches that the guest sends, instead of reading the guest's memory.
    ///
    /// Hosts without access to a guest's memory, such as JavaScript hosts, collect this way. Each
    /// request costs a copy of the region, and a trap loses what was recorded after the last batch;
    /// a guest whose panic hook is set sends one more. Core modules export their memory, so it is
    /// still read.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        let component = self.component.own.component.clone();
        self.batch_receiver = Some(BatchReceiver::new_in(component, self.memory.clone()));
        self
    }

    /// Sets the server span of the request, which becomes the parent of the guest's spans. It ends
    /// with the store.
    pub fn set_server_span(&mut self, span: ServerSpan) {
        self.request.set_server_span(span, &self.component);
    }

    /// Sets the trace of a request without a server span, from the request's headers. Logs and
    /// spans of the handle API belong to it.
    ///
    /// Guests with the crate `wasmetry` read the headers themselves.
    pub fn set_caller<B>(&mut self, request: &::http::Request<B>) {
        self.request.caller = http::incoming(request.headers()).map(|incoming| incoming.context);
        // An instance that is used again has set it for the request before.
        self.request.route = None;
        if let Some(telemetry) = &mut self.request.telemetry {
            telemetry.set_caller(self.request.caller);
        }
    }

    /// Sets the time at which the request has arrived, from which its duration counts: by default
    /// that of this state, or of the server span.
    pub fn set_arrival(&mut self, arrival: Instant) {
        self.request.start = arrival;
    }

    /// Returns the recorder of the lines that the guest prints, or `None` if no sink is set.
    ///
    /// The lines belong to the server span, else to the caller's span. So call
    /// [`set_server_span`](Self::set_server_span) or [`set_caller`](Self::set_caller) before this.
    pub fn printed_lines(&self) -> Option<PrintedLines> {
        self.request.telemetry.as_ref().map(|telemetry| telemetry.printed_lines(self.request.span()))
    }

    /// Returns the factory of spans for the requests that the guest sends. It creates none before a
    /// server span is set.
    pub fn client_spans(&self) -> ClientSpans {
        self.request.client_spans.clone()
    }
}

/// After the guest has run: the result of the request, and the memory of the guest.
impl StoreState {
    /// Sets the status of the response. A status from 500 on means that the request has failed.
    pub fn set_status(&mut self, status: u16) {
        self.request.status = Some(status);
    }

    /// Sets the facts of the HTTP request, for the access log.
    pub fn set_http_summary(&mut self, summary: HttpSummary) {
        if let Some(telemetry) = &mut self.request.telemetry {
            telemetry.set_http(summary);
        }
    }

    /// Marks the request as failed though the guest has returned, such as a program that exits with
    /// a code other than 0.
    pub fn set_failed(&mut self) {
        self.request.has_failed = true;
    }

    /// Returns `true` if the guest was denied memory that it requested.
    pub fn was_denied_memory(&self) -> bool {
        self.limiter.has_denied()
    }

    /// Takes bytes of the store's memory limit, as if the guest had grown its memory by them.
    /// Returns `false` if the limit does not allow it: a trap after that is `out_of_memory`.
    ///
    /// A host uses it to drill what happens near the limit. They are counted until the store ends,
    /// without being allocated.
    pub fn take_memory(&mut self, bytes: usize) -> bool {
        // The limiter returns no error.
        self.limiter.memory_growing(0, bytes, None).unwrap_or(false)
    }

    /// Returns `true` if collecting the guest may take more than a millisecond: it has lent more
    /// than [`limits::SMALL_WINDOW`](wasmetry_host::limits::SMALL_WINDOW).
    pub fn is_large(&self) -> bool {
        self.regions.lent_bytes() > limits::SMALL_WINDOW
    }

    /// Returns the identity of the guest's component.
    pub fn identity(&self) -> &Identity {
        self.component.identity()
    }

    /// Returns the memory that the host keeps of what the guest has recorded, in bytes. It counts
    /// towards the store's memory limit.
    pub fn telemetry_memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Returns the linear memory of all instances in the store, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.limiter.bytes()
    }

    /// Returns the limiter of the store's memories and tables, which an [`ObservedStore`] sets.
    ///
    /// An embedder that [keeps memory](Self::set_embedder_bytes) for its guests sets a limiter of
    /// its own with [`Store::limiter`](wasmtime::Store::limiter) after that, which calls this one.
    ///
    /// [`ObservedStore`]: crate::ObservedStore
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limiter
    }

    /// Sets the bytes that the embedder keeps for the guest besides its telemetry, such as
    /// resources of WASI. They count towards the store's memory limit from now on.
    pub fn set_embedder_bytes(&mut self, bytes: usize) {
        self.limiter.set_embedder_bytes(bytes);
    }

    /// Returns the bytes of the store's memory limit that are free, without what the guest's
    /// telemetry may take; `None` if there is no limit.
    pub fn free_bytes(&self) -> Option<usize> {
        self.limiter.free_bytes()
    }

    /// Counts a failed call by its [`trap_reason`], which it returns.
    pub(super) fn record_failure(&mut self, error: &wasmtime::Error) -> &'static str {
        let reason = trap_reason(error, self.limiter.has_denied());
        self.component.count_trap(reason, self.request.route.as_deref());
        self.request.end_reason = Some(reason);
        reason
    }
}

/// While the guest runs: the regions that it opens, and the route that it sets.
impl StoreState {
    /// Sets the route of the request, by the handle API.
    pub(crate) fn set_route(&mut self, route: Arc<str>) {
        self.request.route = Some(route);
    }

    /// Returns the exports in which the host found the regions of core modules.
    pub(crate) fn module_exports(&self) -> impl Iterator<Item = Func> {
        self.regions.module_exports()
    }
}

impl Drop for StoreState {
    fn drop(&mut self) {
        self.request.finish();

        let now = self.component.now();
        std::mem::take(&mut self.regions).end(now);
        if let Some(receiver) = self.batch_receiver.take() {
            receiver.end(now);
        }
        self.handles.end(now);

        self.component.shared.activities.remove(&self.activity);
        self.component.own.instances.add(-1);
    }
}
