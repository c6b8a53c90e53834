//! Client spans: one for each request that a guest sends, the parent of the receiver's spans.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderValue, Request};
use wasmetry_host::propagation::{Propagated, Sampler, TraceState};
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

/// The destination of the spans of a request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Export,
    Observer,
    None,
}

/// The spans of a trace that is not exported at once.
enum Unsampled {
    /// The request has not ended; its spans wait for the decision.
    Buffered(Vec<SpanRecord>),
    /// The request has ended.
    Decided(Destination),
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
            // A `tracestate` without a span is dropped, and that of the server span does not
            // replace it.
            None if header::has_trace_state(request.headers()) => {
                Propagated { trace_state: TraceState::EMPTY, ..shared.server.clone() }
            }
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
        span.request = Some(shared.server.context.span_id);
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

    /// Exports or drops the buffered spans, or passes them to the observer: the request has ended,
    /// and everything of it is exported if `is_kept`.
    pub(crate) fn finish(&self, is_kept: bool, is_observed: bool) {
        let Some(shared) = &self.shared else { return };
        let mut unsampled = shared.unsampled.lock().unwrap_or_else(PoisonError::into_inner);
        let destination = match (is_kept, is_observed) {
            (true, _) => Destination::Export,
            (false, true) => Destination::Observer,
            (false, false) => Destination::None,
        };
        if let Unsampled::Buffered(spans) = std::mem::replace(&mut *unsampled, Unsampled::Decided(destination)) {
            spans.into_iter().for_each(|span| shared.send(span, destination));
        }
    }
}

impl Shared {
    /// Exports, buffers or drops a span that has ended.
    fn record(&self, span: SpanRecord) {
        let Some((sink, _)) = &self.exporter else { return };
        if span.context.is_sampled() && sink.exports_spans() {
            return self.send(span, Destination::Export);
        }
        match &mut *self.unsampled.lock().unwrap_or_else(PoisonError::into_inner) {
            Unsampled::Buffered(spans) if spans.len() < MAX_BUFFERED => spans.push(span),
            Unsampled::Buffered(_) => {
                self.component.shared.registry.count_dropped(self.component.identity(), "spans", "held_back", 1);
            }
            Unsampled::Decided(destination) => self.send(span, *destination),
        }
    }

    fn send(&self, span: SpanRecord, destination: Destination) {
        let Some((sink, of)) = &self.exporter else { return };
        match destination {
            Destination::Export => sink.span(of, span),
            Destination::Observer => sink.observed_span(of, span),
            Destination::None => {}
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use wasmetry_host::encode::prometheus;
    use wasmetry_host::handle_api::Descriptor;
    use wasmetry_host::record::LogRecord;
    use wasmetry_host::{Declarations, Registry};

    use super::*;
    use crate::Telemetry;

    /// Counts the spans that are exported, by tenant.
    #[derive(Default)]
    struct Exported(Mutex<BTreeMap<String, usize>>);

    impl Sink for Exported {
        fn log(&self, _: &Arc<Identity>, _: LogRecord) {}

        fn span(&self, identity: &Arc<Identity>, _: SpanRecord) {
            *self.0.lock().unwrap().entry(identity.tenant().to_owned()).or_default() += 1;
        }
    }

    impl Exported {
        fn of(&self, tenant: &str) -> usize {
            self.0.lock().unwrap().get(tenant).copied().unwrap_or(0)
        }
    }

    /// A request that is not sampled sends more requests than are buffered until its end. The
    /// others are counted, with their owner. A neighbour's request at the same time has all of its
    /// spans, and its numbers are exact.
    #[test]
    fn excess_of_client_spans_has_owner() {
        const HONEST: usize = 20;
        let (registry, sink) = (Registry::new(), Arc::<Exported>::default());
        let telemetry = Telemetry::without_engine(registry.clone()).with_sink(Arc::<Exported>::clone(&sink));
        let [evil, bank] = [("evil", "mallory"), ("bank", "acme")].map(|(name, tenant)| {
            let identity = Identity::new(name).with_tenant(tenant);
            let component = telemetry.declared_component(identity, Declarations::default());
            let server = Propagated::begin(None, &Sampler { ratio: 0.0, is_parent_based: false }, random);
            ClientSpans::new(component, server, Vec::new())
        });
        let neighbour = registry.component(Identity::new("bank").with_tenant("acme"), Declarations::default());
        let mut recorder = neighbour.recorder();
        let descriptor = Descriptor { name: "neighbour_total", help: "Requests of a neighbour.", unit: "" };
        let sent = recorder.counter(&descriptor, &[]).unwrap();
        for number in 0..=MAX_BUFFERED {
            evil.begin(&mut Request::new(())).answered(200);
            if number < HONEST {
                bank.begin(&mut Request::new(())).answered(200);
                sent.inc();
            }
        }
        for spans in [&evil, &bank] {
            spans.finish(true, false);
        }
        assert_eq!((sink.of("mallory"), sink.of("acme")), (MAX_BUFFERED, HONEST));

        let text = prometheus::encode(&registry.snapshot(Duration::ZERO));
        let samples = |start: &str| -> Vec<&str> { text.lines().filter(|line| line.starts_with(start)).collect() };
        let owner = "component=\"evil\",tenant=\"mallory\"";
        let expected = format!("wasmetry_dropped_total{{{owner},signal=\"spans\",reason=\"held_back\"}} 1");
        assert_eq!(samples("wasmetry_dropped_total{component=\"evil\""), [expected]);
        assert_eq!(samples("wasmetry_dropped_total{component=\"bank\""), [""; 0]);
        assert_eq!(samples("wasmetry_dropped_total{signal=\"spans\""), [""; 0], "no drop is without an owner");
        assert_eq!(samples("neighbour_total{"), ["neighbour_total{component=\"bank\",tenant=\"acme\"} 20"]);

        let mut kinds = Vec::new();
        registry.report_new_drops(|kind| {
            kinds.push((kind.identity.clone(), kind.reason.clone()));
            true
        });
        assert_eq!(kinds, [(Identity::new("evil").with_tenant("mallory"), "held_back".to_owned())]);
    }
}
