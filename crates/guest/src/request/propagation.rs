//! Trace context between services, for headers of any type.

use wasmetry_abi::trace::{TraceContext, TraceState};

use crate::span::current::current_context;

/// Sets the trace headers of an outgoing request: `traceparent` for the current span, `tracestate`
/// if the span is in the trace of the incoming request, and `baggage`.
///
/// `received` returns the values of all headers of a name in the incoming request, and `set` adds a
/// header to the outgoing one. If there is no current span, or it is the caller's, the headers go
/// on as they came; without any trace, there is no `traceparent`. `Propagation`, of the feature
/// `http`, does the same for the types of the crate `http`, and keeps the headers while the request
/// is handled.
///
/// With the crate `wasi`, for `request`, an `IncomingRequest`:
///
/// ```text
/// let (received, headers) = (request.headers(), Fields::new());
/// wasmetry::propagate(
///     |name| received.get(name),
///     |name, value| headers.append(name, value).expect("it is a header's value"),
/// );
/// let call = OutgoingRequest::new(headers);
/// ```
///
/// # Example
///
/// ```
/// let received = |name| match name {
///     "traceparent" => vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
///     "tracestate" => vec!["congo=1", "rojo=2"],
///     _ => vec![],
/// };
/// let mut sent = Vec::new();
/// wasmetry::propagate(received, |name, value| sent.push((name, value.to_vec())));
/// assert_eq!(sent.len(), 3);
/// assert_eq!(sent[1], ("tracestate", b"congo=1".to_vec()));
/// ```
pub fn propagate<Values, V>(received: impl Fn(&'static str) -> Values, mut set: impl FnMut(&'static str, &[u8]))
where
    Values: AsRef<[V]>,
    V: AsRef<[u8]>,
{
    let parent = TraceContext::from_headers(received("traceparent").as_ref().iter().map(AsRef::as_ref));
    if let Some(context) = current_context().or(parent) {
        set("traceparent", &context.traceparent());
        // The vendors' state belongs to the trace of the incoming request only.
        if parent.is_some_and(|parent| parent.trace_id == context.trace_id) {
            let states = received("tracestate");
            let states = states.as_ref().iter().map(AsRef::as_ref);
            if parent == Some(context) {
                // W3C Trace Context: a service that keeps `traceparent` must not change
                // `tracestate`.
                states.for_each(|state| set("tracestate", state));
            } else {
                let state = TraceState::parse(states);
                if !state.is_empty() {
                    set("tracestate", state.as_str().as_bytes());
                }
            }
        }
    }
    received("baggage").as_ref().iter().for_each(|baggage| set("baggage", baggage.as_ref()));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    extern crate std;

    use super::*;

    use std::string::{String, ToString};
    use std::vec::Vec;

    use wasmetry_abi::Level;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The headers of an outgoing request, for an incoming one with these headers `traceparent`.
    fn sent(traceparent: &[&str]) -> Vec<(&'static str, String)> {
        let received = |name| match name {
            "traceparent" => traceparent.to_vec(),
            "tracestate" => [" a=1", "b=2,a=3"].to_vec(),
            "baggage" => ["user=7", "unit=1"].to_vec(),
            _ => Vec::new(),
        };
        let mut sent = Vec::new();
        propagate(received, |name, value| sent.push((name, std::str::from_utf8(value).unwrap().to_string())));
        sent
    }

    fn context(sent: &[(&str, String)]) -> TraceContext {
        TraceContext::parse(sent[0].1.as_bytes()).unwrap()
    }

    fn others(sent: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        sent.iter().filter(|(name, _)| *name != "traceparent").cloned().collect()
    }

    fn baggage() -> Vec<(&'static str, String)> {
        ["user=7", "unit=1"].map(|value| ("baggage", value.to_string())).to_vec()
    }

    #[test]
    fn span_keeps_state_and_baggage() {
        let parent = TraceContext::parse(TRACE.as_bytes());
        let span = crate::Span::continued(parent, 1, Level::Info, &[]);
        let sent = span.in_scope(|| sent(&[TRACE]));
        assert_eq!(Some(context(&sent)), span.context());
        assert_eq!(context(&sent).trace_id, parent.unwrap().trace_id);
        assert_ne!(context(&sent).span_id, parent.unwrap().span_id);
        assert_eq!(others(&sent), [&[("tracestate", "a=1,b=2".to_string())], &baggage()[..]].concat());
    }

    #[test]
    fn headers_unchanged_without_span() {
        let states = [" a=1", "b=2,a=3"].map(|value| ("tracestate", value.to_string()));
        let expected = [&[("traceparent", TRACE.to_string())], &states[..], &baggage()].concat();
        assert_eq!(sent(&[TRACE]), expected);
    }

    #[test]
    fn foreign_trace_state_is_dropped() {
        let other = crate::Span::start(1, Level::Info, &[]);
        for traceparent in [&[TRACE][..], &[TRACE, TRACE], &["00-nothing"], &[]] {
            let with_span = other.in_scope(|| sent(traceparent));
            assert_eq!((Some(context(&with_span)), others(&with_span)), (other.context(), baggage()));
            if traceparent.len() != 1 || traceparent[0] != TRACE {
                assert_eq!(sent(traceparent), baggage());
            }
        }
    }
}
