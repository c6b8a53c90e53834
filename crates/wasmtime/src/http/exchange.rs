//! One request and its response: what an embedding measures and traces of it, in one piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use http::Request;

use super::metrics::{HttpMetrics, HttpRequest};
use super::server_span::ServerSpan;
use crate::store::{ObservedStore, StoreState, TelemetryView};

/// The status of a request whose guest sets no response.
const NO_RESPONSE: u16 = 500;

/// A request that a guest answers: its metrics, its server span and its status.
///
/// Dropping it without [`end`](Self::end) records the status 499: the client has left.
#[must_use = "the request is measured until `end`"]
pub struct HttpExchange {
    measured: HttpRequest,
    status: ResponseStatus,
}

/// The status of a response, which the function that receives the guest's response sets. A clone
/// sets the same one.
#[derive(Clone, Debug)]
pub struct ResponseStatus(Arc<AtomicU16>);

impl ResponseStatus {
    /// Sets the status. It is 500 before.
    pub fn set(&self, status: u16) {
        self.0.store(status, Relaxed);
    }
}

impl HttpMetrics {
    /// Starts the measurement of a request that has arrived, and its server span: the request's
    /// headers name the span, so that the guest continues the trace.
    ///
    /// A trace that begins here is sampled by the sampler of
    /// [`Telemetry::with_sampler`](crate::Telemetry::with_sampler). The second value is the state
    /// for the request's store.
    pub fn receive<B>(&self, request: &mut Request<B>) -> (HttpExchange, StoreState) {
        let measured = self.start(request.method().as_str());
        let component = self.component();
        let sampler = component.shared.sampler();
        let span = ServerSpan::receive(request, self.route(), &sampler, &component.recording().redaction);
        let mut state = component.state();
        state.set_server_span(span);
        (HttpExchange { measured, status: ResponseStatus(Arc::new(AtomicU16::new(NO_RESPONSE))) }, state)
    }
}

impl HttpExchange {
    /// Returns the status, for the function that receives the guest's response.
    pub fn status(&self) -> ResponseStatus {
        self.status.clone()
    }

    /// Ends the request with the result of the guest's call: counts a trap by its reason, collects
    /// the guest for the last time, and ends the server span and the measurement.
    pub fn end<T: TelemetryView + 'static, R>(self, mut store: ObservedStore<T>, result: &wasmtime::Result<R>) {
        let Self { mut measured, status } = self;
        store.finish(result);
        let status = status.0.load(Relaxed);
        store.data_mut().telemetry().set_status(status);
        measured.set_route(store.route());
        let summary = measured.summary(status, None, None);
        store.data_mut().telemetry().set_http_summary(summary);
        measured.set_trace(store.end());
        measured.end(status);
    }
}
