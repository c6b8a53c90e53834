//! Requests: what `#[handler]` does at their beginning and end.

use wasmetry_abi::trace::TraceContext;

use crate::field::Wrap;
use crate::{record, region};

/// A request that is being handled: what [`handler`](macro@crate::handler) puts at the beginning of a function.
#[doc(hidden)]
#[must_use = "the request ends when this is dropped"]
#[derive(Debug)]
pub struct Request(());

impl Request {
    /// Begins a request: an instance that has served one before asks for the host's settings anew.
    pub fn begin() -> Self {
        record::refresh();
        Self(())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        region::end_request();
    }
}

/// A request whose type tells nothing: see [`HttpRequest`].
#[doc(hidden)]
pub trait AnyRequest {
    fn parent(&self) -> Option<TraceContext>;
    fn method(&self) -> &str;
}

impl<T: ?Sized> AnyRequest for Wrap<'_, T> {
    fn parent(&self) -> Option<TraceContext> {
        None
    }

    fn method(&self) -> &str {
        ""
    }
}

/// A response whose type tells nothing: see [`HttpResponse`].
#[doc(hidden)]
pub trait AnyResponse {
    fn ended(&self);
}

impl<T: ?Sized> AnyResponse for Wrap<'_, T> {
    fn ended(&self) {}
}

#[cfg(feature = "http")]
pub use with_http::{HttpRequest, HttpResponse};
#[cfg(not(feature = "http"))]
pub use without_http::{HttpRequest, HttpResponse};

/// The types of the crate `http`, which wstd and others use.
#[cfg(feature = "http")]
mod with_http {
    use http::{HeaderMap, Request, Response};
    use wasmetry_abi::Level;
    use wasmetry_abi::trace::TraceContext;

    use crate::field::Wrap;
    use crate::record::Arg;
    use crate::span;

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

    /// The caller's span; nothing unless there is one header `traceparent`, which is valid.
    fn parent(headers: &HeaderMap) -> Option<TraceContext> {
        let mut values = headers.get_all("traceparent").iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        TraceContext::parse(value.as_bytes().trim_ascii())
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
}

/// Without the feature `http` there is none that is one.
#[cfg(not(feature = "http"))]
mod without_http {
    /// A request with a method and headers.
    #[doc(hidden)]
    pub trait HttpRequest {}

    /// A response with a status.
    #[doc(hidden)]
    pub trait HttpResponse {}
}
