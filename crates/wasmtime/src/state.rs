use std::sync::Arc;
use std::time::Instant;

use wasmetry_host::record::{Level, TraceContext};
use wasmetry_host::{BatchReceiver, Instance, Outcome, RequestTelemetry};
use wasmtime::component::WasmList;
use wasmtime::{AsContextMut, Func, Memory, ResourceLimiter, Store, StoreContext, StoreContextMut};

use crate::activity::Activity;
use crate::client::ClientSpans;
use crate::component::ObservedComponent;
use crate::header;
use crate::trace::{ServerSpan, wall_clock};
use crate::typed::Typed;

/// What a store's data must give access to, in the manner of `WasiView`.
pub trait TelemetryView: Send {
    /// The store's telemetry state.
    fn telemetry(&mut self) -> &mut StoreState;
}

/// The telemetry state of one store.
///
/// It is also the store's [`ResourceLimiter`], which [`ObservedStore`](crate::ObservedStore) installs: that is how memory is counted.
pub struct StoreState {
    pub(crate) component: ObservedComponent,
    pub(crate) activity: Arc<Activity>,
    pub(crate) regions: Vec<Region>,
    /// What the guest sends, if it is asked to.
    pub(crate) receiver: Option<BatchReceiver>,
    /// The guest's logs and spans, if somebody takes them.
    pub(crate) trail: Option<RequestTelemetry>,
    /// What the guest has of the typed imports, once it uses them.
    typed: Option<Box<Typed>>,
    request: Request,
    memory: usize,
    memory_limit: Option<usize>,
    /// What the last permitted growth added, until it is known to have succeeded.
    last_growth: usize,
    denied_growth: bool,
}

/// What is known of the request, or the run, that the store is for.
struct Request {
    start: Instant,
    server: Option<ServerSpan>,
    /// The span of whoever has sent the request, where there is no server span.
    caller: Option<TraceContext>,
    clients: ClientSpans,
    status: Option<u16>,
    has_failed: bool,
    /// Why the guest ended before its time.
    ended: Option<&'static str>,
}

/// A view of one region.
pub(crate) struct Region {
    window: Window,
    header: u64,
    instance: Instance,
}

/// The memory that a region lies in.
pub(crate) enum Window {
    /// The list that a component has lent, and the address of its first byte.
    Lent(WasmList<u8>, u64),
    /// A core module's whole memory, and the export that its header was found by.
    Memory(Memory, Func),
}

impl Window {
    /// The bytes as they are now, and the address of the first.
    fn bytes<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> (&'a [u8], u64) {
        match self {
            Self::Lent(list, base) => (list.as_le_slice(store), *base),
            Self::Memory(memory, _) => (memory.data(store), 0),
        }
    }
}

impl StoreState {
    pub(crate) fn new(component: ObservedComponent, memory_limit: Option<usize>) -> Self {
        component.own.starts.inc();
        component.own.instances.add(1);
        let activity = component.shared.activities.add();
        let trail = component.request_telemetry();
        Self {
            component,
            activity,
            regions: Vec::new(),
            receiver: None,
            trail,
            typed: None,
            request: Request {
                start: Instant::now(),
                server: None,
                caller: None,
                clients: ClientSpans::default(),
                status: None,
                has_failed: false,
                ended: None,
            },
            memory: 0,
            memory_limit,
            last_growth: 0,
            denied_growth: false,
        }
    }

    /// Asks the guest to send what it records instead of lending its memory.
    ///
    /// That is how hosts work that cannot read a guest's memory. It costs a copy for each request, and the host sees nothing
    /// of what is recorded after the last one: use it where such a host is to be compared with, or where a later Wasmtime
    /// would not let its memory be read. Core modules are read all the same.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        self.receiver = Some(BatchReceiver::new(self.component.own.component.clone()));
        self
    }

    /// Puts the guest's spans below the server's, which ends with the store.
    pub fn set_server_span(&mut self, span: ServerSpan) {
        self.request.start = span.started();
        if let Some(trail) = &mut self.trail {
            trail.set_context(span.context(), wall_clock());
        }
        let (server, baggage) = (span.propagated().clone(), span.baggage().to_vec());
        self.request.clients = ClientSpans::new(self.component.clone(), server, baggage);
        self.request.server = Some(span);
    }

    /// Puts what the guest records by calls into the trace that a request names, where there is no server span.
    ///
    /// Guests with the crate `wasmetry` read the headers themselves.
    pub fn set_caller<B>(&mut self, request: &http::Request<B>) {
        self.request.caller = header::incoming(request.headers()).map(|incoming| incoming.context);
    }

    /// What makes the spans of the requests that the guest sends; it makes none before there is a server span.
    pub fn client_spans(&self) -> ClientSpans {
        self.request.clients.clone()
    }

    /// Sets the status that the request was answered with; from 500 on, the request has failed.
    pub fn set_status(&mut self, status: u16) {
        self.request.status = Some(status);
    }

    /// Says that the guest has failed, though it has returned: a program that exits with another code than 0.
    pub fn set_failed(&mut self) {
        self.request.has_failed = true;
    }

    /// Says why the guest ended before its time.
    pub(crate) fn set_ended(&mut self, reason: &'static str) {
        self.request.ended = Some(reason);
    }

    /// The span that those which the guest begins by calls lie below: that of the request that is being served, else its caller's.
    pub(crate) fn request_span(&self) -> Option<TraceContext> {
        self.request.server.as_ref().map(ServerSpan::context).or(self.request.caller)
    }

    /// Whether that span is in another process.
    pub(crate) fn is_request_span_remote(&self) -> bool {
        self.request.server.is_none() && self.request.caller.is_some()
    }

    /// What the guest has of the typed imports.
    pub(crate) fn typed(&mut self) -> &mut Typed {
        let component = &self.component.own.component;
        self.typed.get_or_insert_with(|| Box::new(Typed::new(component.recorder())))
    }

    /// Counts a value in a histogram, by the handle that the guest has of it.
    pub(crate) fn observe(&mut self, handle: u32, value: f64) {
        let histogram = self.typed.as_ref().and_then(|typed| typed.histograms.get(handle));
        match (histogram, &mut self.trail) {
            (Some(histogram), Some(trail)) => histogram.observe_in(value, trail),
            (Some(histogram), None) => histogram.observe(value),
            (None, _) => {}
        }
    }

    /// Takes out what the guest has of the typed imports, for as long as the store is borrowed.
    pub(crate) fn take_typed(&mut self) -> Box<Typed> {
        self.typed();
        self.typed.take().unwrap_or_else(|| unreachable!("it is there"))
    }

    /// Puts it back.
    pub(crate) fn put_typed(&mut self, typed: Box<Typed>) {
        self.typed = Some(typed);
    }

    /// What guests of this store are told.
    pub(crate) fn record_level(&self) -> Level {
        self.trail.as_ref().map_or(Level::Off, |trail| trail.recording().record_level())
    }

    pub(crate) fn export_level(&self) -> Level {
        self.trail.as_ref().map_or(Level::Off, |trail| trail.recording().export.finest())
    }

    /// Ends the request: what was held back is exported or dropped. Returns its trail, which knows which of both it was.
    fn finish(&mut self) -> Option<RequestTelemetry> {
        let mut trail = self.trail.take()?;
        let Request { start, server, clients, status, has_failed, ended, .. } = &mut self.request;
        let outcome = match (&ended, &status) {
            (Some(reason), _) => Outcome::Ended(reason),
            (None, Some(500..)) => Outcome::Failed,
            (None, _) if *has_failed => Outcome::Failed,
            _ => Outcome::Ok,
        };
        let is_kept = trail.finish(outcome, start.elapsed(), wall_clock());
        clients.finish(is_kept);
        if let Some(server) = server.take()
            && (is_kept || server.context().is_sampled())
        {
            trail.span(server.end(*status, *ended));
        }
        Some(trail)
    }

    /// Whether the guest asked for more memory than it may have.
    pub fn was_denied_memory(&self) -> bool {
        self.denied_growth
    }

    /// The linear memory of all instances in the store, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory
    }

    /// The exports that the regions of core modules were found by.
    pub(crate) fn exports(&self) -> impl Iterator<Item = Func> {
        self.regions.iter().filter_map(|region| match region.window {
            Window::Memory(_, export) => Some(export),
            Window::Lent(..) => None,
        })
    }

    /// Keeps a region.
    pub(crate) fn attach(&mut self, window: Window, header: u64) {
        if self.regions.len() < limits::REGIONS {
            let instance = self.component.own.component.instance();
            self.regions.push(Region { window, header, instance });
        } else {
            self.component.dropped("region_limit");
        }
    }
}

impl Drop for StoreState {
    fn drop(&mut self) {
        self.finish();
        let now = self.component.now();
        for region in self.regions.drain(..) {
            region.instance.end(now);
        }
        if let Some(receiver) = self.receiver.take() {
            receiver.end(now);
        }
        if let Some(typed) = self.typed.take() {
            typed.recorder.end(now);
        }
        self.component.shared.activities.remove(&self.activity);
        self.component.own.memory.add(-(self.memory as i64));
        self.component.own.instances.add(-1);
    }
}

impl ResourceLimiter for StoreState {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.memory.saturating_add(growth);
        if self.memory_limit.is_some_and(|limit| total > limit) {
            self.denied_growth = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.memory = total;
        self.last_growth = growth;
        self.component.own.memory.add(growth as i64);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Also called for a growth past the memory's own maximum, which added nothing.
        let growth = std::mem::take(&mut self.last_growth);
        self.memory = self.memory.saturating_sub(growth);
        self.component.own.memory.add(-(growth as i64));
        self.denied_growth = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// Takes what a guest has to say when it flushes: a batch, or nothing but that now is a good time to collect. Returns how far
/// its logs and spans were read.
pub(crate) fn take<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, batch: &WasmList<u8>) -> u64 {
    let state = store.data_mut().telemetry();
    let now = state.component.now();
    // They are taken out while the store's memory is borrowed.
    let Some(mut receiver) = state.receiver.take() else { return collect(store) };
    let mut trail = state.trail.take();
    let batch = batch.as_le_slice(&store);
    let consumed = match &mut trail {
        Some(trail) => receiver.receive_with_records(batch, now, trail, wall_clock()),
        None => {
            receiver.receive(batch, now);
            0
        }
    };
    let state = store.data_mut().telemetry();
    (state.receiver, state.trail) = (Some(receiver), trail);
    consumed
}

/// Has the guest's next request recorded, exported and kept as is wanted now; what it has said until now is read as was wanted then.
pub(crate) fn renew<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) {
    let state = store.data_mut().telemetry();
    let recording = state.component.recording();
    if state.trail.as_ref().is_none_or(|trail| std::ptr::eq(trail.recording(), &*recording)) {
        return;
    }
    collect(store.as_context_mut());
    if let Some(trail) = &mut store.data_mut().telemetry().trail {
        trail.set_recording(recording);
    }
}

/// Reads every region of a store. Returns how far its logs and spans were read, if it has one region.
pub(crate) fn collect<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) -> u64 {
    let state = store.data_mut().telemetry();
    let request = state.component.shared.activities.begin_answer();
    // The regions are taken out while the store's memory is borrowed.
    let mut regions = std::mem::take(&mut state.regions);
    let mut trail = state.trail.take();
    if !regions.is_empty() {
        let now = state.component.now();
        let wall = trail.as_ref().map_or(0, |_| wall_clock());
        for region in &mut regions {
            let (memory, base) = region.window.bytes(&store);
            match &mut trail {
                Some(trail) => {
                    region.instance.read_for(memory, base, region.header, now, trail, wall);
                    region.instance.read_records(memory, base, region.header, trail, wall);
                }
                None => region.instance.read(memory, base, region.header, now),
            }
        }
    }
    let consumed = if let [region] = &regions[..] { region.instance.consumed() } else { 0 };
    let state = store.data_mut().telemetry();
    (state.regions, state.trail) = (regions, trail);
    state.component.shared.activities.answer(&state.activity, request);
    consumed
}

/// Reads every region of a store for the last time, and ends its request. Returns the request's span, if it is exported.
pub(crate) fn collect_last<T: TelemetryView + 'static>(store: &mut Store<T>) -> Option<TraceContext> {
    let state = store.data_mut().telemetry();
    let mut regions = std::mem::take(&mut state.regions);
    if let Some(mut trail) = state.trail.take() {
        let wall = wall_clock();
        for region in &mut regions {
            let (memory, base) = region.window.bytes(&*store);
            region.instance.read_records(memory, base, region.header, &mut trail, wall);
        }
        store.data_mut().telemetry().trail = Some(trail);
    }
    // The logs and spans first: with them it is decided whether the trace is exported, and metrics may lead there.
    let state = store.data_mut().telemetry();
    let mut trail = state.finish();
    let exported = trail.as_ref().and_then(RequestTelemetry::exported_context);
    let now = state.component.now();
    let wall = exported.map_or(0, |_| wall_clock());
    for region in regions {
        let (memory, base) = region.window.bytes(&*store);
        match &mut trail {
            Some(trail) => region.instance.read_last_for(memory, base, region.header, now, trail, wall),
            None => region.instance.read_last(memory, base, region.header, now),
        }
    }
    exported
}
