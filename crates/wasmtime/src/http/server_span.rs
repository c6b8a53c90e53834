//! The server span of a request, by OpenTelemetry's semantic conventions for HTTP servers.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Request, Version};
use wasmetry_host::RequestTelemetry;
use wasmetry_host::propagation::{Propagated, Sampler};
use wasmetry_host::record::{Field, FieldValue, Redaction, SpanKind, SpanRecord, SpanStatus, TraceContext};

use super::header;
use super::metrics::known_method;
use crate::clock::{nanos, random, wall_clock};

/// The target of the host's own spans.
const TARGET: &str = "wasmetry";

/// The method in the name of the span of a request with an unknown one.
const OTHER_METHOD: &str = "HTTP";

/// The attribute with the route.
const ROUTE: &str = "http.route";

/// The most bytes of a client's text that an attribute keeps.
const TEXT_BYTES: usize = 2048;

/// Starts a span of the host.
pub(crate) fn new_span(span: &Propagated, parent: Option<TraceContext>, name: Arc<str>, kind: SpanKind) -> SpanRecord {
    let time = wall_clock();
    SpanRecord {
        context: span.context,
        parent: parent.map(|parent| parent.span_id),
        // The parent of a server span is its client.
        is_parent_remote: parent.is_some() && kind == SpanKind::Server,
        trace_state: span.trace_state.as_str().into(),
        name,
        kind,
        start: time,
        end: time,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        dropped: 0,
        target: TARGET.into(),
        // The caller sets it for a span of a request that it sends.
        request: (kind == SpanKind::Server).then_some(span.context.span_id),
        is_slow: false,
    }
}

/// Adds an attribute that the span does not have yet.
pub(crate) fn set(span: &mut SpanRecord, key: &str, value: FieldValue) {
    let attribute: Field = (key.into(), value);
    span.attributes.push(attribute);
}

/// Returns a text as an attribute's value, cut after [`TEXT_BYTES`].
pub(crate) fn text(text: &str) -> FieldValue {
    FieldValue::Text(text[..text.floor_char_boundary(TEXT_BYTES)].into())
}

/// Returns the name of a span.
fn name(method: &str, route: &str) -> Arc<str> {
    format!("{method} {route}").into()
}

/// The span of one request that the host serves: the parent of the guest's spans.
///
/// Its attributes are those of OpenTelemetry's semantic conventions for HTTP servers.
#[derive(Debug)]
pub struct ServerSpan {
    span: SpanRecord,
    /// The method in the name.
    method: &'static str,
    propagated: Propagated,
    baggage: Vec<HeaderValue>,
    start: Instant,
}

impl ServerSpan {
    /// Starts the span of a request that matched `route`, in the caller's trace or in a new one,
    /// and writes it to the request's headers, so that the guest continues the trace.
    ///
    /// `route` is a template or a mount's prefix, never a request's path. `redaction` removes the
    /// secrets from the query.
    pub fn receive<B>(request: &mut Request<B>, route: &str, sampler: &Sampler, redaction: &Redaction) -> Self {
        let incoming = header::incoming(request.headers());
        let mut server = Self::begin(request.method().as_str(), route, incoming.as_ref(), sampler);
        let span = &mut server.span;
        let uri = request.uri();
        set(span, "url.path", text(uri.path()));
        if let Some(query) = uri.query() {
            set(span, "url.query", text(&redaction.query(query)));
        }
        // The host has no TLS.
        set(span, "url.scheme", text("http"));
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(host) = uri.authority().map(http::uri::Authority::as_str).or_else(|| header(http::header::HOST)) {
            // User information is no part of the address.
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let (address, port) = match host.rsplit_once(':') {
                Some((address, port)) if !port.ends_with(']') => (address, port.parse::<u16>().ok()),
                _ => (host, None),
            };
            set(span, "server.address", text(address));
            if let Some(port) = port {
                set(span, "server.port", FieldValue::Unsigned(port.into()));
            }
        }
        if let Some(agent) = header(http::header::USER_AGENT) {
            set(span, "user_agent.original", text(agent));
        }
        let version = match request.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        set(span, "network.protocol.version", text(version));
        server.baggage = header::baggage(request.headers());
        header::set(request.headers_mut(), &server.propagated);
        server
    }

    /// Starts the span of a request that matched `route`, in the caller's trace or in a new one.
    pub fn begin(method: &str, route: &str, incoming: Option<&Propagated>, sampler: &Sampler) -> Self {
        let propagated = Propagated::begin(incoming, sampler, random);
        let parent = incoming.map(|incoming| incoming.context);
        let known = known_method(method);
        let label = known.unwrap_or(OTHER_METHOD);
        let mut span = new_span(&propagated, parent, name(label, route), SpanKind::Server);
        set(&mut span, "http.request.method", text(known.unwrap_or("_OTHER")));
        if known.is_none() {
            set(&mut span, "http.request.method_original", text(method));
        }
        set(&mut span, ROUTE, text(route));
        Self { span, method: label, propagated, baggage: Vec::new(), start: Instant::now() }
    }

    /// Sets the route that the guest has found, in the place of the mount's.
    pub(crate) fn set_route(&mut self, route: &str) {
        self.span.name = name(self.method, route);
        if let Some((_, value)) = self.span.attributes.iter_mut().find(|(key, _)| &**key == ROUTE) {
            *value = text(route);
        }
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &str, value: FieldValue) {
        set(&mut self.span, key, value);
    }

    /// Returns the span's context, which the guest gets as the header `traceparent`.
    pub fn context(&self) -> TraceContext {
        self.span.context
    }

    /// Returns the span's context with its `tracestate`.
    pub fn propagated(&self) -> &Propagated {
        &self.propagated
    }

    /// Returns the `baggage` headers of the request.
    pub(crate) fn baggage(&self) -> &[HeaderValue] {
        &self.baggage
    }

    /// Returns the time at which the span started.
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    /// Ends the span, with the status of the response and the reason for which the guest ended
    /// early. The request's panic, or the error of a handler, describes a failure.
    pub(crate) fn end(
        mut self,
        status: Option<u16>,
        end_reason: Option<&str>,
        telemetry: &RequestTelemetry,
    ) -> SpanRecord {
        if let Some(status) = status {
            self.set("http.response.status_code", FieldValue::Unsigned(status.into()));
        }
        // A status of 4xx is the client's error, not the server's.
        let has_failed = status.is_some_and(|status| status >= 500);
        let error = match (end_reason, status) {
            (Some(reason), _) => Some(match telemetry.panic() {
                Some((kind, description)) => (kind.to_owned(), description),
                None => (reason.to_owned(), reason.to_owned()),
            }),
            (None, Some(status)) if has_failed => Some(match telemetry.error() {
                Some((kind, description)) => (kind.to_owned(), description),
                None => (status.to_string(), String::new()),
            }),
            _ => None,
        };
        if error.is_some() {
            self.span.events.extend(telemetry.exception_event(wall_clock()));
        }
        if let Some((kind, description)) = error {
            self.set("error.type", FieldValue::Text(kind.into()));
            self.span.status = SpanStatus::Error(description.into());
        }
        self.span.end = self.span.start.saturating_add(nanos(self.start.elapsed()));
        self.span
    }
}
