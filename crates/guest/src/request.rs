//! Requests: what `#[handler]` does at their beginning and end.

use core::fmt;

use wasmetry_abi::Level;
use wasmetry_abi::trace::TraceContext;

use crate::field::Wrap;
use crate::record::Arg;
use crate::{record, region, span};

/// The methods that are attributes under their own names.
///
/// Source: OpenTelemetry, "Semantic conventions for HTTP spans", `http.request.method`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

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

/// Says with which status the request that is being handled is answered: an attribute of the current span, which has failed if
/// it is 500 or more.
///
/// [`handler`](macro@crate::handler) does so by itself where the function returns the response, with the crate's feature `http`.
/// A function that is exported as `wasi:http/incoming-handler` hands the response to its host and returns nothing:
///
/// ```text
/// #[wasmetry::handler]
/// fn handle(request: IncomingRequest, out: ResponseOutparam) {
///     let response = OutgoingResponse::new(Fields::new());
///     wasmetry::set_response_status(response.status_code());
///     ResponseOutparam::set(out, Ok(response));
/// }
/// ```
pub fn set_response_status(status: u16) {
    span::set_current("http.response.status_code", Level::Info, Arg::Unsigned(status.into()));
    if status >= 500 {
        span::set_current("error.type", Level::Info, Arg::Display(&status));
        // Why it is one is the status itself.
        span::fail(&"");
    }
}

/// What is said of an error that has no text.
pub(crate) const NO_REASON: &str = "the handler returned an error";

/// Says that the request that is being handled has failed with an error of this type.
pub(crate) fn fail<E: ?Sized>(why: &dyn fmt::Display) {
    span::set_current("error.type", Level::Info, Arg::Text(core::any::type_name::<E>()));
    span::fail(why);
}

/// The name under which a request's method is an attribute.
pub(crate) fn known_method(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// The name of a method of `wasi:http`, whatever bindings its type is of: their `Debug` text ends in the name of the case.
#[doc(hidden)]
pub fn wasi_method(method: &dyn fmt::Debug) -> &'static str {
    use fmt::Write as _;

    /// The letters behind the last colon, as capitals.
    struct Name {
        letters: [u8; 8],
        len: usize,
    }

    impl fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for letter in text.bytes() {
                if letter == b':' {
                    self.len = 0;
                } else {
                    *self.letters.get_mut(self.len).ok_or(fmt::Error)? = letter.to_ascii_uppercase();
                    self.len += 1;
                }
            }
            Ok(())
        }
    }

    let mut name = Name { letters: [0; 8], len: 0 };
    match write!(name, "{method:?}") {
        Ok(()) => {
            known_method(name.letters.get(..name.len).map_or("", |name| str::from_utf8(name).unwrap_or_default()))
        }
        Err(_) => "_OTHER",
    }
}

/// The caller's span, by the values of all headers `traceparent`.
#[doc(hidden)]
pub fn wasi_parent(values: &[impl AsRef<[u8]>]) -> Option<TraceContext> {
    TraceContext::from_headers(values.iter().map(AsRef::as_ref))
}

/// A request whose type tells nothing: see [`HttpRequest`].
#[doc(hidden)]
pub trait AnyRequest {
    fn parent(&self) -> Option<TraceContext>;
    fn method(&self) -> &'static str;
}

impl<T: ?Sized> AnyRequest for Wrap<'_, T> {
    fn parent(&self) -> Option<TraceContext> {
        None
    }

    fn method(&self) -> &'static str {
        ""
    }
}

/// A response whose type tells nothing, or an error: see [`HttpResponse`].
#[doc(hidden)]
pub trait AnyResponse {
    fn ended(&self);
}

impl<T: ?Sized> AnyResponse for Wrap<'_, T> {
    fn ended(&self) {}
}

impl<T, E> AnyResponse for &Wrap<'_, Result<T, E>> {
    fn ended(&self) {
        if self.0.is_err() {
            fail::<E>(&NO_REASON);
        }
    }
}

impl<T, E: fmt::Display> AnyResponse for &&Wrap<'_, Result<T, E>> {
    fn ended(&self) {
        if let Err(error) = self.0 {
            fail::<E>(error);
        }
    }
}

/// A request with a method and headers: without the feature `http`, none is known to be one.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpRequest {}

/// A response with a status: without the feature `http`, none is known to be one.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpResponse {}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;

    /// As `wit-bindgen` makes it, which has the type's name in the text.
    enum Method {
        Get,
        Options,
        Other(String),
    }

    impl fmt::Debug for Method {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Get => f.debug_tuple("Method::Get").finish(),
                Self::Options => f.debug_tuple("Method::Options").finish(),
                Self::Other(name) => f.debug_tuple("Method::Other").field(name).finish(),
            }
        }
    }

    #[test]
    fn methods_of_wasi_have_their_names() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "its text is looked at")]
        enum Plain {
            Delete,
            Other(&'static str),
        }
        assert_eq!(wasi_method(&Method::Get), "GET");
        assert_eq!(wasi_method(&Method::Options), "OPTIONS");
        assert_eq!(wasi_method(&Plain::Delete), "DELETE");
        for other in ["BREW", "", "GET", "::GET", "a very long name"] {
            assert_eq!(wasi_method(&Method::Other(String::from(other))), "_OTHER");
            assert_eq!(wasi_method(&Plain::Other(other)), "_OTHER");
        }
    }
}
