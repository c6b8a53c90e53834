//! The telemetry state that a store's data holds.

use std::sync::Arc;

use wasmetry_host::{BatchReceiver, PrintedLines, limits};
use wasmtime::Func;

use super::activity::Activity;
use super::limiter::Limiter;
use super::region::{Region, Window};
use super::request::Request;
use super::trap::trap_reason;
use crate::component::ObservedComponent;
use crate::http::{self, ClientSpans, ServerSpan};
use crate::linker::Handles;

/// Access to a store's telemetry state through the store's data, in the manner of `WasiView`.
pub trait TelemetryView: Send {
    /// Returns the store's telemetry state.
    fn telemetry(&mut self) -> &mut StoreState;
}

/// The telemetry state of one store.
pub struct StoreState {
    pub(crate) component: ObservedComponent,
    pub(crate) activity: Arc<Activity>,
    pub(crate) regions: Vec<Region>,
    /// The receiver of the guest's batches, in a store that does not read its memory.
    pub(crate) receiver: Option<BatchReceiver>,
    pub(crate) request: Request,
    pub(crate) limiter: Limiter,
    /// The guest's handles; `None` until it uses the handle API, and while they are taken out.
    handles: Option<Box<Handles>>,
}

impl StoreState {
    pub(crate) fn new(component: ObservedComponent, memory_limit: Option<usize>) -> Self {
        component.own.starts.inc();
        component.own.instances.add(1);
        Self {
            activity: component.shared.activities.add(),
            regions: Vec::new(),
            receiver: None,
            request: Request::new(&component),
            limiter: Limiter::new(component.own.memory.clone(), memory_limit),
            handles: None,
            component,
        }
    }

    /// Collects by batches that the guest pushes, instead of reading the guest's memory.
    ///
    /// Hosts without access to a guest's memory, such as JavaScript hosts, collect this way. Each
    /// request costs a copy of the region, and a trap loses what was recorded after the last batch.
    /// Core modules export their memory, so it is still read.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        self.receiver = Some(BatchReceiver::new(self.component.own.component.clone()));
        self
    }

    /// Sets the request's server span, the parent of the guest's spans. It ends with the store.
    pub fn set_server_span(&mut self, span: ServerSpan) {
        self.request.set_server_span(span, &self.component);
    }

    /// Sets the trace of a request without a server span, from the request's headers. Logs and
    /// spans of the handle API belong to it.
    ///
    /// Guests with the crate `wasmetry` read the headers themselves.
    pub fn set_caller<B>(&mut self, request: &::http::Request<B>) {
        self.request.caller = http::incoming(request.headers()).map(|incoming| incoming.context);
    }

    /// Returns the recorder of the lines that the guest prints, or `None` if no sink is set.
    ///
    /// The lines are in the server span, else in the caller's, so that one of them must be set
    /// before.
    pub fn printed_lines(&self) -> Option<PrintedLines> {
        self.request.telemetry.as_ref().map(|telemetry| telemetry.printed_lines(self.request.span()))
    }

    /// Returns the factory of spans for the requests that the guest sends; it makes none before a
    /// server span is set.
    pub fn client_spans(&self) -> ClientSpans {
        self.request.client_spans.clone()
    }

    /// Sets the status that the request was answered with; from 500 on, the request has failed.
    pub fn set_status(&mut self, status: u16) {
        self.request.status = Some(status);
    }

    /// Marks the request as failed though the guest has returned: a program that exits with another
    /// code than 0.
    pub fn set_failed(&mut self) {
        self.request.has_failed = true;
    }

    /// Counts the failed call under its trap reason; see
    /// [`ObservedStore::finish`](crate::ObservedStore::finish).
    pub(super) fn record_end(&mut self, error: &wasmtime::Error) -> &'static str {
        let reason = trap_reason(error, self.limiter.has_denied());
        self.component.count_trap(reason, self.request.route.as_deref());
        self.request.end_reason = Some(reason);
        reason
    }

    /// Returns `true` if the guest was denied memory that it requested.
    pub fn was_denied_memory(&self) -> bool {
        self.limiter.has_denied()
    }

    /// Returns the linear memory of all instances in the store, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.limiter.bytes()
    }

    /// Returns the guest's handles.
    pub(crate) fn handles(&mut self) -> &mut Handles {
        let component = &self.component.own.component;
        self.handles.get_or_insert_with(|| Box::new(Handles::new(component.recorder())))
    }

    /// Takes out the guest's handles while the store is borrowed;
    /// [`put_handles`](Self::put_handles) puts them back.
    pub(crate) fn take_handles(&mut self) -> Box<Handles> {
        self.handles.take().unwrap_or_else(|| Box::new(Handles::new(self.component.own.component.recorder())))
    }

    /// Puts back what [`take_handles`](Self::take_handles) took out.
    pub(crate) fn put_handles(&mut self, handles: Box<Handles>) {
        self.handles = Some(handles);
    }

    /// Sets the route of the request, by the handle API.
    pub(crate) fn set_route(&mut self, route: Arc<str>) {
        self.request.route = Some(route);
    }

    /// Records a value in a histogram of the handle API.
    pub(crate) fn observe(&mut self, handle: u32, value: f64) {
        let histogram = self.handles.as_ref().and_then(|handles| handles.histograms.get(handle));
        match (histogram, &mut self.request.telemetry) {
            (Some(histogram), Some(telemetry)) => histogram.observe_in(value, telemetry),
            (Some(histogram), None) => histogram.observe(value),
            (None, _) => {}
        }
    }

    /// Returns the exported functions of core modules that returned their regions' addresses.
    pub(crate) fn exports(&self) -> impl Iterator<Item = Func> {
        self.regions.iter().filter_map(|region| match region.window {
            Window::Memory(_, export) => Some(export),
            Window::Lent(..) => None,
        })
    }

    /// Adds a region, or counts it as dropped if the store already has [`limits::REGIONS`] of them.
    pub(crate) fn attach(&mut self, window: Window, header: u64) {
        if self.regions.len() < limits::REGIONS {
            let instance = self.component.own.component.instance();
            self.regions.push(Region { window, header, instance });
        } else {
            self.component.count_dropped("region_limit");
        }
    }
}

impl Drop for StoreState {
    fn drop(&mut self) {
        self.request.finish();
        let now = self.component.now();
        for region in self.regions.drain(..) {
            region.instance.end(now);
        }
        if let Some(receiver) = self.receiver.take() {
            receiver.end(now);
        }
        if let Some(handles) = self.handles.take() {
            handles.recorder.end(now);
        }
        self.component.shared.activities.remove(&self.activity);
        self.component.own.instances.add(-1);
    }
}
