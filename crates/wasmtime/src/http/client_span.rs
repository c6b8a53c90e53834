//! Client spans: one for each request that a guest sends, the parent of the receiver's spans.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderValue, Request};
use wasmetry_host::propagation::{Propagated, Sampler};
use wasmetry_host::record::{FieldValue, SpanKind, SpanRecord, SpanStatus};
use wasmetry_host::{Identity, Sink};

use super::header;
use super::metrics::known_method;
use super::server_span::{new_span, set, text};
use crate::clock::{nanos, random};
use crate::component::ObservedComponent;

/// The most unsampled client spans that one store buffers until its request has ended.
const MAX_BUFFERED: usize = 256;

/// Makes the client spans of one store's outgoing requests. A clone makes those of the same store.
///
/// The hook that sends a guest's requests calls [`begin`](Self::begin) for each of them.
#[derive(Clone, Debug, Default)]
pub struct ClientSpans {
    /// `None` if the store has no server span.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    server: Propagated,
    baggage: Vec<HeaderValue>,
    component: ObservedComponent,
    exporter: Option<(Arc<dyn Sink>, Arc<Identity>)>,
    unsampled: Mutex<Unsampled>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The spans of a trace that is not sampled.
enum Unsampled {
    /// The request has not ended; its spans wait for the decision.
    Buffered(Vec<SpanRecord>),
    /// The request has ended.
    Decided { is_kept: bool },
}

impl ClientSpans {
    /// Client spans below the server span `server`, whose request had this baggage.
    pub(crate) fn new(component: ObservedComponent, server: Propagated, baggage: Vec<HeaderValue>) -> Self {
        let sink = component.shared.sink.get().cloned();
        let exporter = sink.map(|sink| (sink, Arc::new(component.identity().clone())));
        let unsampled = Mutex::new(Unsampled::Buffered(Vec::new()));
        Self { shared: Some(Arc::new(Shared { server, baggage, component, exporter, unsampled })) }
    }

    /// Starts the span of a request that is about to be sent, and sets its trace headers.
    ///
    /// The parent is the span that the guest has named in the request's `traceparent`, else the
    /// server span. `tracestate` is the server span's too, unless the guest has set one or has
    /// named a span of another trace. `baggage` is that of the request that is being served, unless
    /// the guest has set one. In a store without a server span, this does nothing.
    pub fn begin<B>(&self, request: &mut Request<B>) -> ClientSpan {
        let Some(shared) = &self.shared else { return ClientSpan { open: None } };
        let parent = match header::incoming(request.headers()) {
            None => shared.server.clone(),
            Some(named)
                if named.context.trace_id == shared.server.context.trace_id
                    && !header::has_trace_state(request.headers()) =>
            {
                Propagated { trace_state: shared.server.trace_state.clone(), ..named }
            }
            Some(named) => named,
        };
        // The parent's sampling decision holds for the whole trace.
        let client = Propagated::begin(Some(&parent), &Sampler::default(), random);
        header::set(request.headers_mut(), &client);
        header::set_baggage(request.headers_mut(), &shared.baggage);
        let method = known_method(request.method().as_str());
        let name = method.unwrap_or("HTTP");
        let mut span = new_span(&client, Some(parent.context), name.into(), SpanKind::Client);
        set(&mut span, "http.request.method", text(method.unwrap_or("_OTHER")));
        if method.is_none() {
            set(&mut span, "http.request.method_original", text(request.method().as_str()));
        }
        let uri = request.uri();
        set(&mut span, "url.full", text(&shared.component.recording().redaction.url(&uri.to_string())));
        set(&mut span, "server.address", text(uri.host().unwrap_or_default()));
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        set(&mut span, "server.port", FieldValue::Unsigned(uri.port_u16().unwrap_or(default_port).into()));
        ClientSpan { open: Some(Open { shared: Arc::clone(shared), span, start: Instant::now() }) }
    }

    /// Exports or drops the buffered spans: the request has ended, and everything of it is kept if
    /// `is_kept`.
    pub(crate) fn finish(&self, is_kept: bool) {
        let Some(shared) = &self.shared else { return };
        let mut unsampled = shared.unsampled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Unsampled::Buffered(spans) = std::mem::replace(&mut *unsampled, Unsampled::Decided { is_kept })
            && is_kept
        {
            spans.into_iter().for_each(|span| shared.export(span));
        }
    }
}

impl Shared {
    /// Exports, buffers or drops a span that has ended.
    fn record(&self, span: SpanRecord) {
        if self.exporter.is_none() {
            return;
        }
        if span.context.is_sampled() {
            return self.export(span);
        }
        match &mut *self.unsampled.lock().unwrap_or_else(PoisonError::into_inner) {
            Unsampled::Buffered(spans) if spans.len() < MAX_BUFFERED => spans.push(span),
            Unsampled::Buffered(_) => self.component.shared.registry.dropped("spans", "held_back").inc(),
            Unsampled::Decided { is_kept: true } => self.export(span),
            Unsampled::Decided { is_kept: false } => {}
        }
    }

    fn export(&self, span: SpanRecord) {
        if let Some((sink, of)) = &self.exporter {
            sink.span(of, span);
        }
    }
}

/// The span of one request that was sent. Dropping it before the response has arrived ends it as
/// cancelled.
#[derive(Debug)]
pub struct ClientSpan {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    span: SpanRecord,
    start: Instant,
}

impl ClientSpan {
    /// Ends the span of a request whose response has arrived; a status from 400 on is an error.
    pub fn answered(mut self, status: u16) {
        let Some(mut open) = self.open.take() else { return };
        set(&mut open.span, "http.response.status_code", FieldValue::Unsigned(status.into()));
        if status >= 400 {
            open.fail(&status.to_string(), "");
        }
        open.end();
    }

    /// Ends the span of a request that got no response. `kind` is one of few names; `description`
    /// is for a person.
    pub fn failed(mut self, kind: &str, description: &str) {
        let Some(mut open) = self.open.take() else { return };
        open.fail(kind, description);
        open.end();
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        open.fail("cancelled", "the guest did not wait for the response");
        open.end();
    }
}

impl Open {
    fn fail(&mut self, kind: &str, description: &str) {
        set(&mut self.span, "error.type", text(kind));
        self.span.status = SpanStatus::Error(description.into());
    }

    fn end(mut self) {
        self.span.end = self.span.start.saturating_add(nanos(self.start.elapsed()));
        self.shared.record(self.span);
    }
}
