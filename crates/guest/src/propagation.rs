//! Trace context between services, for the types of the crate `http`.

extern crate std;

use std::vec::Vec;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use wasmetry_abi::Level;
use wasmetry_abi::trace::{TraceContext, TraceId};

use crate::field::Wrap;
use crate::record::Arg;
use crate::span;

/// The header that names the caller's span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header that vendors keep their own in.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The header of what the application sends along.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// What a request brings for the requests that are sent on its behalf.
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
    trace: Option<TraceId>,
    trace_state: Vec<HeaderValue>,
    baggage: Vec<HeaderValue>,
}

impl Propagation {
    /// Reads the headers of a request that has come in.
    pub fn of<B>(request: &Request<B>) -> Self {
        let all = |name: &HeaderName| request.headers().get_all(name).iter().cloned().collect();
        let trace = parent(request.headers()).map(|parent| parent.trace_id);
        // What vendors have said belongs to the trace, and goes with it if its header is invalid.
        let trace_state = if trace.is_some() { all(&TRACESTATE) } else { Vec::new() };
        Self { trace, trace_state, baggage: all(&BAGGAGE) }
    }

    /// Sets the headers of a request that goes out: `traceparent` for the current span, in place of any other; `tracestate`, if
    /// the span is in the trace that came in; and `baggage`.
    pub fn inject(&self, headers: &mut HeaderMap) {
        for name in [&TRACEPARENT, &TRACESTATE] {
            headers.remove(name);
        }
        let context = span::current_context();
        if let Some(context) = context
            && let Ok(header) = HeaderValue::from_bytes(&context.traceparent())
        {
            headers.insert(TRACEPARENT, header);
            if self.trace == Some(context.trace_id) {
                headers.extend(self.trace_state.iter().map(|value| (TRACESTATE, value.clone())));
            }
        }
        headers.extend(self.baggage.iter().map(|value| (BAGGAGE, value.clone())));
    }
}

/// The caller's span; nothing unless there is one header `traceparent`, which is valid.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    TraceContext::parse(value.as_bytes().trim_ascii())
}

/// A request with a method and headers.
#[doc(hidden)]
pub trait HttpRequest {
    fn parent(&self) -> Option<TraceContext>;
    fn method(&self) -> &str;
}

impl<B> HttpRequest for &Wrap<'_, Request<B>> {
    fn parent(&self) -> Option<TraceContext> {
        parent(self.0.headers())
    }

    fn method(&self) -> &str {
        self.0.method().as_str()
    }
}

/// A response with a status.
#[doc(hidden)]
pub trait HttpResponse {
    fn ended(&self);
}

impl<B> HttpResponse for &Wrap<'_, Response<B>> {
    fn ended(&self) {
        ended(self.0.status().as_u16());
    }
}

impl<B, E> HttpResponse for &Wrap<'_, Result<Response<B>, E>> {
    fn ended(&self) {
        match self.0 {
            Ok(response) => ended(response.status().as_u16()),
            Err(_) => span::fail(&"the handler returned an error"),
        }
    }
}

fn ended(status: u16) {
    span::set_current("http.response.status_code", Level::Info, Arg::Unsigned(status.into()));
    if status >= 500 {
        span::fail(&status);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    use std::string::ToString;

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
        assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(headers["baggage"], "user=7");
    }

    #[test]
    fn an_invalid_trace_goes_with_its_state_but_not_with_the_baggage() {
        let headers = call(request("00-nothing"));
        assert!(parent(&headers).is_some(), "another trace has begun");
        assert!(!headers.contains_key("tracestate"));
        assert_eq!(headers["baggage"], "user=7");
    }
}
