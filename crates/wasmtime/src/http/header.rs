//! The headers that carry a trace from service to service.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use wasmetry_host::propagation::Propagated;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The most bytes of baggage that are propagated.
///
/// Source: W3C Baggage, section 3.2, Limits: 8192 bytes must be propagated.
const BAGGAGE_BYTES: usize = 8192;

/// Returns the span that a request's headers name.
pub(crate) fn incoming(headers: &HeaderMap) -> Option<Propagated> {
    let values = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    Propagated::from_headers(values(TRACEPARENT), values(TRACESTATE))
}

/// Returns `true` if a request has the header `tracestate`, even an empty one.
pub(crate) fn has_trace_state(headers: &HeaderMap) -> bool {
    headers.contains_key(TRACESTATE)
}

/// Writes `span` to a request's headers, in place of the span that they named.
pub(crate) fn set(headers: &mut HeaderMap, span: &Propagated) {
    headers.remove(TRACESTATE);
    let Ok(traceparent) = HeaderValue::from_bytes(&span.context.traceparent()) else { return };
    headers.insert(TRACEPARENT, traceparent);
    let trace_state = &span.trace_state;
    if let (false, Ok(trace_state)) = (trace_state.is_empty(), HeaderValue::from_str(trace_state.as_str())) {
        headers.insert(TRACESTATE, trace_state);
    }
}

/// Returns the `baggage` headers of a request, up to [`BAGGAGE_BYTES`].
pub(crate) fn baggage(headers: &HeaderMap) -> Vec<HeaderValue> {
    let mut left = BAGGAGE_BYTES;
    let fits = |value: &&HeaderValue| {
        let is_room = value.len() <= left;
        left -= if is_room { value.len() } else { left };
        is_room
    };
    headers.get_all(BAGGAGE).into_iter().take_while(fits).cloned().collect()
}

/// Adds baggage to a request that has none.
pub(crate) fn set_baggage(headers: &mut HeaderMap, baggage: &[HeaderValue]) {
    if !headers.contains_key(BAGGAGE) {
        headers.extend(baggage.iter().map(|value| (BAGGAGE, value.clone())));
    }
}
