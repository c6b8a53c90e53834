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

/// A request with a method and headers: without the feature `http`, none is known to be one.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpRequest {}

/// A response with a status: without the feature `http`, none is known to be one.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpResponse {}
