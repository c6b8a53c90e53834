//! The beginning and end of a request, as `#[handler]` expands to them.

use core::fmt;

use wasmetry_abi::trace::TraceContext;

use crate::host::{self, settings};
use crate::record::field::Wrap;

/// A request that is being handled, from the beginning of a function with
/// [`handler`](macro@crate::handler) to its end.
#[doc(hidden)]
#[must_use = "the request ends when this is dropped"]
#[derive(Debug)]
pub struct Request(());

impl Request {
    /// Begins a request. An instance that has handled one before fetches the host's settings again.
    pub fn begin() -> Self {
        settings::refresh();
        Self(())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        host::end_request();
    }
}

/// The methods that have a value of their own in the attribute `http.request.method`.
///
/// Source: OpenTelemetry, "Semantic conventions for HTTP spans", `http.request.method`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A method's value in the attribute `http.request.method`.
pub(crate) fn known_method(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// The method of a request that was recognised by its methods; empty if it has none.
#[doc(hidden)]
pub fn method_of(method: &str) -> &'static str {
    if method.is_empty() { "" } else { known_method(method) }
}

/// The name of a method of `wasi:http`, of any bindings: their `Debug` text ends in the name of the
/// case.
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

/// The caller's span, from the values of all headers `traceparent`.
#[doc(hidden)]
pub fn wasi_parent(values: &[impl AsRef<[u8]>]) -> Option<TraceContext> {
    TraceContext::from_headers(values.iter().map(AsRef::as_ref))
}

/// A request of any type, which has neither method nor headers; see [`HttpRequest`].
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

/// A response of any type, which has no status; see [`HttpResponse`].
#[doc(hidden)]
pub trait AnyResponse {
    fn ended(&self);
}

impl<T: ?Sized> AnyResponse for Wrap<'_, T> {
    fn ended(&self) {}
}

/// A request with a method and headers. Without the feature `http`, no type implements it.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpRequest {}

/// A response with a status. Without the feature `http`, no type implements it.
#[cfg(not(feature = "http"))]
#[doc(hidden)]
pub trait HttpResponse {}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;

    /// As `wit-bindgen` makes it: the type's name is part of the text.
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
    fn wasi_methods_have_their_names() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "the test reads its text")]
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
