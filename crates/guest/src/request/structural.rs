//! Requests and responses of the crate `http`, recognised by the methods that they have, for guests
//! without the feature `http`.
//!
//! The macros of this file expand in the guest, where the types are known. An inherent method takes
//! precedence over one of the traits here, so a type that lacks it yields [`Absent`].

/// The result of a method that a type lacks: nothing, of any kind.
#[doc(hidden)]
#[derive(Debug)]
pub struct Absent;

impl Absent {
    /// No header's values.
    pub fn iter(&self) -> core::slice::Iter<'static, Self> {
        [].iter()
    }

    /// No bytes.
    pub fn as_bytes(&self) -> &'static [u8] {
        &[]
    }
}

macro_rules! methods {
    ($($trait:ident: $method:ident($($parameter:ty)?) -> $result:ty = $value:expr;)+) => {$(
        /// The method for types that lack it.
        #[doc(hidden)]
        pub trait $trait {
            fn $method(&self $(, _: $parameter)?) -> $result {
                $value
            }
        }

        impl<T: ?Sized> $trait for T {}
    )+};
}

methods! {
    Headers: headers() -> Absent = Absent;
    GetAll: get_all(&str) -> Absent = Absent;
    Method: method() -> Absent = Absent;
    AsStr: as_str() -> &'static str = "";
    Status: status() -> Absent = Absent;
    AsU16: as_u16() -> u16 = 0;
}

/// The response of a handler that returns it, or a `Result` with it.
#[doc(hidden)]
pub trait Answer {
    /// The response's type.
    type Response: ?Sized;
    fn response(&self) -> Option<&Self::Response>;
}

impl<T, E> Answer for &crate::record::field::Wrap<'_, Result<T, E>> {
    type Response = T;

    fn response(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }
}

impl<T: ?Sized> Answer for crate::record::field::Wrap<'_, T> {
    type Response = T;

    fn response(&self) -> Option<&T> {
        Some(self.0)
    }
}

/// Sets the status of the response, if it has one.
#[doc(hidden)]
pub fn set_status(status: u16) {
    if status != 0 {
        crate::set_response_status(status);
    }
}

/// The caller's span and the method of a request.
#[doc(hidden)]
#[macro_export]
macro_rules! __structural_request {
    ($request:ident) => {{
        #[allow(unused_imports, reason = "a type may have all of the methods")]
        use $crate::__private::structural::{AsStr as _, GetAll as _, Headers as _, Method as _};
        (
            $crate::__private::abi::trace::TraceContext::from_headers(
                $request.headers().get_all("traceparent").iter().map(|value| value.as_bytes()),
            ),
            $crate::__private::method_of($request.method().as_str()),
        )
    }};
}

/// Sets the status of a handler's response.
#[doc(hidden)]
#[macro_export]
macro_rules! __structural_response {
    ($response:ident) => {{
        #[allow(unused_imports, reason = "a type may have all of the methods")]
        use $crate::__private::structural::{Answer as _, AsU16 as _, Status as _};
        if let ::core::option::Option::Some(response) = (&&$crate::__private::Wrap(&$response)).response() {
            $crate::__private::structural::set_status(response.status().as_u16());
        }
    }};
}
