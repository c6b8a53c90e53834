//! The host's part of tracing: the server span of each request, and the random numbers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmetry_host::propagation::{self, Incoming, Sampler};
use wasmetry_host::record::{Field, FieldValue, SpanKind, SpanRecord, SpanStatus, TraceContext};

/// What the server spans are recorded by.
const TARGET: &str = "wasmetry";

/// The wall clock, in nanoseconds since 1970-01-01 00:00 UTC.
pub(crate) fn wall_clock() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A random number.
///
/// It is the SipHash of nothing under a key that the operating system has drawn for this thread and that is another one each time.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The span of one request that the host serves, which the guest's spans lie below.
///
/// Its attributes are those of OpenTelemetry's semantic conventions for HTTP servers.
#[derive(Debug)]
pub struct ServerSpan {
    span: SpanRecord,
    start: Instant,
}

impl ServerSpan {
    /// Begins the span of a request that matched `route`: in the caller's trace, or in a new one.
    pub fn begin(method: &str, route: &str, incoming: Option<Incoming>, sampler: &Sampler) -> Self {
        let parent = incoming.as_ref().map(|incoming| incoming.context);
        let context = propagation::begin(parent, sampler, random);
        let time = wall_clock();
        let span = SpanRecord {
            context,
            parent: parent.map(|parent| parent.span_id),
            is_parent_remote: parent.is_some(),
            trace_state: incoming.map_or_else(|| Arc::from(""), |incoming| incoming.trace_state.into()),
            name: format!("{method} {route}").into(),
            kind: SpanKind::Server,
            start: time,
            end: time,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: SpanStatus::Unset,
            dropped: 0,
            target: TARGET.into(),
        };
        let mut server = Self { span, start: Instant::now() };
        server.set("http.request.method", FieldValue::Text(method.into()));
        server.set("http.route", FieldValue::Text(route.into()));
        server
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &str, value: FieldValue) {
        let attribute: Field = (key.into(), value);
        self.span.attributes.push(attribute);
    }

    /// The span as it is propagated: what the guest gets as the header `traceparent`.
    pub fn context(&self) -> TraceContext {
        self.span.context
    }

    /// The value of the header `tracestate` that goes with it, or an empty text.
    pub fn trace_state(&self) -> &str {
        &self.span.trace_state
    }

    /// When it began.
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    /// Ends the span.
    pub(crate) fn end(mut self, status: Option<u16>, failure: Option<&str>) -> SpanRecord {
        if let Some(status) = status {
            self.set("http.response.status_code", FieldValue::Unsigned(status.into()));
        }
        let error = match (failure, status) {
            (Some(reason), _) => Some((reason.to_owned(), reason.to_owned())),
            // A client's error is none of the server's.
            (None, Some(status)) if status >= 500 => Some((status.to_string(), String::new())),
            _ => None,
        };
        if let Some((kind, description)) = error {
            self.set("error.type", FieldValue::Text(kind.into()));
            self.span.status = SpanStatus::Error(description.into());
        }
        let took = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.span.end = self.span.start.saturating_add(took);
        self.span
    }
}
