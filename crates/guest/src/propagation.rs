//! Trace context between services, for the types of the crate `http`.

extern crate std;

use std::vec::Vec;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use wasmetry_abi::trace::{SpanId, TraceContext, TraceId, TraceState};

use crate::field::Wrap;
use crate::request::{self, known_method};
use crate::{id, span};

/// The header that names the caller's span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header that vendors keep their own in.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The header of what the application sends along.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// What a request brings for the requests that are sent on its behalf.
///
/// A host of wasmetry's sets these headers of every request that goes out, as far as the guest has not; with this, the request's
/// span is below the guest's current one. On other hosts it is what keeps traces together.
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
    /// The same as it came, unless something was said of it.
    received: Vec<HeaderValue>,
    /// A trace that begins here.
    begun: Option<TraceId>,
    baggage: Vec<HeaderValue>,
}

impl Propagation {
    /// Reads the headers of a request that has come in.
    pub fn of<B>(request: &Request<B>) -> Self {
        let all = |name: &HeaderName| request.headers().get_all(name).iter().cloned().collect();
        let parent = parent(request.headers());
        // What vendors have said belongs to the trace, and goes with it if its header is invalid.
        let received: Vec<HeaderValue> = if parent.is_some() { all(&TRACESTATE) } else { Vec::new() };
        let trace_state = TraceState::parse(received.iter().map(HeaderValue::as_bytes));
        let begun = if parent.is_none() && span::current_context().is_none() { begin() } else { None };
        Self { parent, trace_state, received, begun, baggage: all(&BAGGAGE) }
    }

    /// Says something of the trace, as a vendor, to the vendors behind the requests that go out: the member `key` moves to the
    /// front of their `tracestate`.
    ///
    /// Returns whether it is there: not where the key or the value is none that W3C Trace Context allows.
    pub fn set_trace_state(&mut self, key: &str, value: &str) -> bool {
        let is_set = self.trace_state.set(key, value);
        if is_set {
            self.received.clear();
        }
        is_set
    }

    /// Sets the headers of a request that goes out: `traceparent` for the current span, in place of any other; `tracestate`, if
    /// the span is in the trace that came in; and `baggage`.
    ///
    /// Where the host has no spans recorded, the trace that came in goes on as it came, and another one begins if there is none.
    pub fn inject(&self, headers: &mut HeaderMap) {
        for name in [&TRACEPARENT, &TRACESTATE, &BAGGAGE] {
            headers.remove(name);
        }
        let begun = || {
            let span_id = SpanId::new(id::next())?;
            Some(TraceContext { trace_id: self.begun?, span_id, flags: TraceContext::RANDOM })
        };
        if let Some(context) = span::current_context().or_else(begun)
            && let Ok(header) = HeaderValue::from_bytes(&context.traceparent())
        {
            headers.insert(TRACEPARENT, header);
            if Some(context) == self.parent && !self.received.is_empty() {
                // Who does not change the one header must not change the other.
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

/// The number of a new trace.
fn begin() -> Option<TraceId> {
    use std::hash::{BuildHasher, Hasher, RandomState};

    // A host that has no spans recorded has not given a seed either.
    id::seed(RandomState::new().build_hasher().finish());
    TraceId::new(u128::from(id::next()) << 64 | u128::from(id::next()))
}

/// The caller's span; nothing unless there is one header `traceparent`, which is valid.
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

/// A response with a status.
#[doc(hidden)]
pub trait HttpResponse {
    fn ended(&self);
}

impl<B> HttpResponse for &&Wrap<'_, Response<B>> {
    fn ended(&self) {
        request::set_response_status(self.0.status().as_u16());
    }
}

impl<B, E> HttpResponse for &&Wrap<'_, Result<Response<B>, E>> {
    fn ended(&self) {
        match self.0 {
            Ok(response) => request::set_response_status(response.status().as_u16()),
            Err(_) => request::fail::<E>(&request::NO_REASON),
        }
    }
}

impl<B, E: core::fmt::Display> HttpResponse for &&&Wrap<'_, Result<Response<B>, E>> {
    fn ended(&self) {
        match self.0 {
            Ok(response) => request::set_response_status(response.status().as_u16()),
            Err(error) => request::fail::<E>(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    use std::string::ToString;

    use wasmetry_abi::Level;

    use crate::context::Context;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn request(traceparent: &str) -> Request<()> {
        let request = Request::builder().header("traceparent", traceparent).header("tracestate", "a=1");
        request.header("tracestate", "b=2").header("baggage", "user=7").body(()).unwrap()
    }

    /// The headers that a call has which is made while a request is handled.
    #[allow(clippy::needless_pass_by_value, reason = "a handler owns its request")]
    fn call(request: Request<()>) -> HeaderMap {
        let span = crate::Span::continued(parent(request.headers()), 1, Level::Info, &[]);
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("old"));
        span.in_scope(|| Propagation::of(&request).inject(&mut headers));
        headers
    }

    #[test]
    fn a_trace_goes_on_with_its_state_and_baggage() {
        let headers = call(request(TRACE));
        let sent = parent(&headers).unwrap();
        assert_eq!(sent.trace_id.to_string(), TRACE[3..35]);
        assert_ne!(sent.span_id.to_string(), TRACE[36..52]);
        assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1,b=2"]);
        assert_eq!(headers["baggage"], "user=7");
    }

    #[test]
    fn what_is_said_of_a_trace_comes_first() {
        let mut propagation = Propagation::of(&request(TRACE));
        assert!(propagation.set_trace_state("b", "3"));
        assert!(!propagation.set_trace_state("B", "3"));
        let mut headers = HeaderMap::new();
        headers.insert(BAGGAGE, HeaderValue::from_static("user=old"));
        let span = crate::Span::continued(parent(request(TRACE).headers()), 1, Level::Info, &[]);
        span.in_scope(|| propagation.inject(&mut headers));
        assert_eq!(headers["tracestate"], "b=3,a=1");
        assert_eq!(headers.get_all("baggage").iter().collect::<Vec<_>>(), ["user=7"]);
        // It is said of that trace, and of no other one.
        let other = crate::Span::start(1, Level::Info, &[]);
        other.in_scope(|| propagation.inject(&mut headers));
        assert!(parent(&headers).is_some() && !headers.contains_key("tracestate"));
    }

    #[test]
    fn without_a_span_the_trace_goes_on_as_it_came_or_another_one_begins() {
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
    fn an_invalid_trace_goes_with_its_state_but_not_with_the_baggage() {
        let headers = call(request("00-nothing"));
        assert!(parent(&headers).is_some(), "another trace has begun");
        assert!(!headers.contains_key("tracestate"));
        assert_eq!(headers["baggage"], "user=7");
    }
}
