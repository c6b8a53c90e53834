//! Trace context between services, for the types of the crate `http`.

extern crate std;

use std::vec::Vec;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use ::http::{Request, Response};
use wasmetry_abi::trace::{SpanId, TraceContext, TraceId, TraceState};

use crate::host::random;
use crate::record::field::Wrap;
use crate::request::handler::known_method;
use crate::request::status;
use crate::span::current::current_context;

/// The header with the caller's span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header with the vendors' state of the trace.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The header with the application's own values.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The trace headers of an incoming request, for the requests that are sent on its behalf.
///
/// wasmetry's hosts add the headers that an outgoing request lacks. With this type, the outgoing
/// request is below the guest's current span, and on other hosts it is what keeps the trace
/// together.
///
/// ```
/// use http::Request;
/// use wasmetry::Propagation;
///
/// #[wasmetry::handler]
/// fn handle(request: Request<()>) {
///     let propagation = Propagation::of(&request);
///     let mut call = Request::new(());
///     propagation.inject(call.headers_mut());
///     assert!(call.headers().contains_key("traceparent"));
///     // … send it …
/// }
/// # handle(Request::new(()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Propagation {
    /// The caller's span.
    parent: Option<TraceContext>,
    trace_state: TraceState,
    /// The state as it was received, unless it was changed.
    received: Vec<HeaderValue>,
    /// A new trace, if the request brought none.
    begun: Option<TraceId>,
    baggage: Vec<HeaderValue>,
}

impl Propagation {
    /// Reads the headers of an incoming request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let all = |name: &HeaderName| request.headers().get_all(name).iter().cloned().collect();
        let parent = parent(request.headers());
        // The state belongs to the trace, so it is dropped with a trace whose header is invalid.
        let received: Vec<HeaderValue> = if parent.is_some() { all(&TRACESTATE) } else { Vec::new() };
        let trace_state = TraceState::parse(received.iter().map(HeaderValue::as_bytes));
        let begun = if parent.is_none() && current_context().is_none() { begin() } else { None };
        Self { parent, trace_state, received, begun, baggage: all(&BAGGAGE) }
    }

    /// Sets the member `key` of `tracestate`, and moves it to the front, as a tracing vendor does.
    ///
    /// Returns `false` if W3C Trace Context does not allow the key or the value; the state is
    /// unchanged then.
    pub fn set_trace_state(&mut self, key: &str, value: &str) -> bool {
        let is_set = self.trace_state.set(key, value);
        if is_set {
            self.received.clear();
        }
        is_set
    }

    /// Sets the trace headers of an outgoing request, in place of those that it has: `traceparent`
    /// for the current span, `tracestate` if the span is in the trace of the incoming request, and
    /// `baggage`.
    ///
    /// If the host records no spans, the received trace goes on unchanged, or a new one begins if
    /// there is none.
    pub fn inject(&self, headers: &mut HeaderMap) {
        for name in [&TRACEPARENT, &TRACESTATE, &BAGGAGE] {
            headers.remove(name);
        }
        let begun = || {
            let span_id = SpanId::new(random::next())?;
            Some(TraceContext { trace_id: self.begun?, span_id, flags: TraceContext::RANDOM })
        };
        if let Some(context) = current_context().or_else(begun)
            && let Ok(header) = HeaderValue::from_bytes(&context.traceparent())
        {
            headers.insert(TRACEPARENT, header);
            if Some(context) == self.parent && !self.received.is_empty() {
                // W3C Trace Context: a service that keeps `traceparent` must not change
                // `tracestate`.
                headers.extend(self.received.iter().map(|value| (TRACESTATE, value.clone())));
            } else if self.parent.is_none_or(|parent| parent.trace_id == context.trace_id)
                && !self.trace_state.is_empty()
                && let Ok(header) = HeaderValue::from_str(self.trace_state.as_str())
            {
                headers.insert(TRACESTATE, header);
            }
        }
        headers.extend(self.baggage.iter().map(|value| (BAGGAGE, value.clone())));
    }
}

/// The id of a new trace.
fn begin() -> Option<TraceId> {
    use std::hash::{BuildHasher, Hasher, RandomState};

    // A host that records no spans has not sent a seed either.
    random::seed(RandomState::new().build_hasher().finish());
    TraceId::new(u128::from(random::next()) << 64 | u128::from(random::next()))
}

/// The caller's span. Returns `None` unless there is exactly one header `traceparent`, and it is
/// valid.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::from_headers(headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes))
}

/// A request with a method and headers.
#[doc(hidden)]
pub trait HttpRequest {
    fn parent(&self) -> Option<TraceContext>;
    fn method(&self) -> &'static str;
}

impl<B> HttpRequest for &Wrap<'_, Request<B>> {
    fn parent(&self) -> Option<TraceContext> {
        parent(self.0.headers())
    }

    fn method(&self) -> &'static str {
        known_method(self.0.method().as_str())
    }
}

/// The caller's span and the method of a request.
#[doc(hidden)]
#[macro_export]
macro_rules! __typed_request {
    ($request:ident) => {{
        let request = &&$crate::__private::Wrap(&$request);
        (request.parent(), request.method())
    }};
}

/// Nothing: the trait [`HttpResponse`] sets the status of a handler's response.
#[doc(hidden)]
#[macro_export]
macro_rules! __typed_response {
    ($response:ident) => {};
}

/// A response with a status.
#[doc(hidden)]
pub trait HttpResponse {
    fn ended(&self);
}

impl<B> HttpResponse for &&Wrap<'_, Response<B>> {
    fn ended(&self) {
        status::set_response_status(self.0.status().as_u16());
    }
}

impl<B, E> HttpResponse for &&Wrap<'_, Result<Response<B>, E>> {
    fn ended(&self) {
        if let Ok(response) = self.0 {
            status::set_response_status(response.status().as_u16());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    use std::string::ToString;

    use wasmetry_abi::Level;

    use crate::record::context::Context;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn request(traceparent: &str) -> Request<()> {
        let request = Request::builder().header("traceparent", traceparent).header("tracestate", "a=1");
        request.header("tracestate", "b=2").header("baggage", "user=7").body(()).unwrap()
    }

    /// The headers of a call that is made while `request` is handled.
    #[allow(clippy::needless_pass_by_value, reason = "a handler owns its request")]
    fn call(request: Request<()>) -> HeaderMap {
        let span = crate::Span::continued(parent(request.headers()), 1, Level::Info, &[]);
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("old"));
        span.in_scope(|| Propagation::of(&request).inject(&mut headers));
        headers
    }

    #[test]
    fn span_keeps_state_and_baggage() {
        let headers = call(request(TRACE));
        let sent = parent(&headers).unwrap();
        assert_eq!(sent.trace_id.to_string(), TRACE[3..35]);
        assert_ne!(sent.span_id.to_string(), TRACE[36..52]);
        assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1,b=2"]);
        assert_eq!(headers["baggage"], "user=7");
    }

    #[test]
    fn set_trace_state_comes_first() {
        let mut propagation = Propagation::of(&request(TRACE));
        assert!(propagation.set_trace_state("b", "3"));
        assert!(!propagation.set_trace_state("B", "3"));
        let mut headers = HeaderMap::new();
        headers.insert(BAGGAGE, HeaderValue::from_static("user=old"));
        let span = crate::Span::continued(parent(request(TRACE).headers()), 1, Level::Info, &[]);
        span.in_scope(|| propagation.inject(&mut headers));
        assert_eq!(headers["tracestate"], "b=3,a=1");
        assert_eq!(headers.get_all("baggage").iter().collect::<Vec<_>>(), ["user=7"]);
        // The state belongs to that trace only.
        let other = crate::Span::start(1, Level::Info, &[]);
        other.in_scope(|| propagation.inject(&mut headers));
        assert!(parent(&headers).is_some() && !headers.contains_key("tracestate"));
    }

    #[test]
    fn trace_continues_or_begins_without_span() {
        let mut headers = HeaderMap::new();
        let current = Context::of(parent(request(TRACE).headers()).unwrap());
        let before = current.make_current();
        Propagation::of(&request(TRACE)).inject(&mut headers);
        before.make_current();
        assert_eq!(headers["traceparent"], TRACE);
        assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);

        let propagation = Propagation::of(&request("00-nothing"));
        let begun: Vec<TraceContext> = (0..2)
            .map(|_| {
                propagation.inject(&mut headers);
                assert!(!headers.contains_key("tracestate"));
                parent(&headers).unwrap()
            })
            .collect();
        assert_eq!((begun[0].trace_id, begun[0].flags), (begun[1].trace_id, TraceContext::RANDOM));
        assert_ne!(begun[0].span_id, begun[1].span_id);
    }

    #[test]
    fn invalid_trace_loses_state_keeps_baggage() {
        let headers = call(request("00-nothing"));
        assert!(parent(&headers).is_some(), "a new trace has begun");
        assert!(!headers.contains_key("tracestate"));
        assert_eq!(headers["baggage"], "user=7");
    }
}
