//! The headers that carry a trace from service to service.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use wasmetry_host::propagation::Propagated;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Bytes of baggage that are passed on.
///
/// Source: W3C Baggage, section 3.2, Limits: 8192 bytes must be propagated.
const BAGGAGE_BYTES: usize = 8192;

/// The trace that a request's headers name.
pub(crate) fn incoming(headers: &HeaderMap) -> Option<Propagated> {
    let values = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    Propagated::from_headers(values(TRACEPARENT), values(TRACESTATE))
}

/// Whether a request says what vendors have said of its trace, be it nothing.
pub(crate) fn has_trace_state(headers: &HeaderMap) -> bool {
    headers.contains_key(TRACESTATE)
}

/// Makes `span` the one that a request's headers name, in the place of what they named before.
pub(crate) fn set(headers: &mut HeaderMap, span: &Propagated) {
    headers.remove(TRACESTATE);
    let Ok(traceparent) = HeaderValue::from_bytes(&span.context.traceparent()) else { return };
    headers.insert(TRACEPARENT, traceparent);
    let trace_state = &span.trace_state;
    if let (false, Ok(trace_state)) = (trace_state.is_empty(), HeaderValue::from_str(trace_state.as_str())) {
        headers.insert(TRACESTATE, trace_state);
    }
}

/// The baggage of a request, as much of it as is passed on.
pub(crate) fn baggage(headers: &HeaderMap) -> Vec<HeaderValue> {
    let mut left = BAGGAGE_BYTES;
    let fits = |value: &&HeaderValue| {
        let is_room = value.len() <= left;
        left -= if is_room { value.len() } else { left };
        is_room
    };
    headers.get_all(BAGGAGE).into_iter().take_while(fits).cloned().collect()
}

/// Sends baggage along, unless the request has some.
pub(crate) fn set_baggage(headers: &mut HeaderMap, baggage: &[HeaderValue]) {
    if !headers.contains_key(BAGGAGE) {
        headers.extend(baggage.iter().map(|value| (BAGGAGE, value.clone())));
    }
}
