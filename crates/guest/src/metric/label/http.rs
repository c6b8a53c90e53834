//! Labels of HTTP: a request's method, and a response's status or its class.

use wasmetry_abi::LabelShape;

use crate::Label;
use crate::region::words::Words;

/// The method of an HTTP request, with the values of OpenTelemetry's `http.request.method`. A
/// method that is none of these is `_OTHER`.
///
/// ```
/// use wasmetry::{Counter, Method, counter};
///
/// static REQUESTS: Counter<Method> = counter!("http_requests_total", "HTTP requests.", labels: [method: Method]);
///
/// REQUESTS.with(Method::from("PATCH")).inc();
/// assert_eq!(Method::from("BREW"), Method::Other);
/// ```
///
/// With the feature `http`, it is also made from a method of the crate `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Label)]
#[label(rename_all = "UPPERCASE", crate = crate)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other one, as `_OTHER`.
    #[label("_OTHER")]
    Other,
}

impl From<&str> for Method {
    /// The method of that name, whose case matters (RFC 9110, section 9.1).
    fn from(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

#[cfg(feature = "http")]
impl From<&::http::Method> for Method {
    fn from(method: &::http::Method) -> Self {
        Self::from(method.as_str())
    }
}

/// The class of an HTTP status: `2xx` for 200 to 299. A number outside of 100 to 599 is `other`.
///
/// It has a tenth of the series of [`Status`], so it suits histograms.
///
/// ```
/// use wasmetry::StatusClass;
///
/// assert_eq!(StatusClass::from(404), StatusClass::ClientError);
/// ```
///
/// With the feature `http`, it is also made from a status of the crate `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Label)]
#[label(crate = crate)]
pub enum StatusClass {
    /// `1xx`
    #[label("1xx")]
    Informational,
    /// `2xx`
    #[label("2xx")]
    Successful,
    /// `3xx`
    #[label("3xx")]
    Redirection,
    /// `4xx`
    #[label("4xx")]
    ClientError,
    /// `5xx`
    #[label("5xx")]
    ServerError,
    /// Any other number.
    Other,
}

impl From<u16> for StatusClass {
    fn from(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Successful,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

#[cfg(feature = "http")]
impl From<::http::StatusCode> for StatusClass {
    fn from(status: ::http::StatusCode) -> Self {
        Self::from(status.as_u16())
    }
}

/// The status of an HTTP response, with a series for each status that IANA has registered. A status
/// that is none of these is `other`.
///
/// ```
/// use wasmetry::{Counter, Status, counter};
///
/// static RESPONSES: Counter<Status> = counter!("http_responses_total", "HTTP responses.", labels: [status: Status]);
///
/// RESPONSES.with(Status::from(404)).inc();
/// assert_eq!(RESPONSES.with(Status::from(404)).get(), 1);
/// ```
///
/// With the feature `http`, it is also made from a status of the crate `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    position: usize,
}

macro_rules! statuses {
    ($($status:literal)+) => {
        /// The registered statuses, in rising order.
        ///
        /// Source: IANA, "Hypertext Transfer Protocol (HTTP) Status Code Registry".
        const STATUSES: &[u16] = &[$($status),+];

        /// The values, by position.
        const VALUES: &[&str] = &[$(stringify!($status),)+ "other"];
    };
}

statuses! {
    100 101 102 103 104
    200 201 202 203 204 205 206 207 208 226
    300 301 302 303 304 305 307 308
    400 401 402 403 404 405 406 407 408 409 410 411 412 413 414 415 416 417 421 422 423 424 425 426 428 429 431 451
    500 501 502 503 504 505 506 507 508 510 511
}

impl From<u16> for Status {
    fn from(status: u16) -> Self {
        Self { position: STATUSES.binary_search(&status).unwrap_or(STATUSES.len()) }
    }
}

#[cfg(feature = "http")]
impl From<::http::StatusCode> for Status {
    fn from(status: ::http::StatusCode) -> Self {
        Self::from(status.as_u16())
    }
}

impl Label for Status {
    type Value<'a> = Self;
    type Table = ();
    type Array<C: Words> = [C; VALUES.len()];
    const SHAPE: LabelShape<'static> = LabelShape::values(VALUES);
    const POSITIONS: usize = VALUES.len();
    const EMPTY_TABLE: () = ();

    #[inline]
    fn position(status: Self, _table: &'static ()) -> usize {
        status.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_their_values() {
        assert!(STATUSES.is_sorted());
        for status in 0..=u16::MAX {
            let value = VALUES[Status::position(Status::from(status), &())];
            assert!(value.parse() == Ok(status) || (value == "other" && !STATUSES.contains(&status)), "{status}");
        }
    }
}
