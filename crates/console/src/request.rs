//! Requests to the console, and its answers.

use std::fmt;
use std::task::{Context, Poll};

/// A request, as an HTTP server has parsed its head.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, which begins with `/` and has no query.
    pub path: &'a str,
    /// The query without its `?`, if there is one.
    pub query: Option<&'a str>,
    /// The value of `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// The value of `Last-Event-ID`.
    pub last_event_id: Option<&'a str>,
}

/// An answer, for an HTTP server to send.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields: names in lower case, and values in ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an [`Answer`].
pub enum Body {
    /// All bytes.
    Bytes(Vec<u8>),
    /// A file of the page, which never changes.
    Static(&'static [u8]),
    /// Server-sent events, until the client leaves or the console stops.
    Events(Box<dyn Events>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Static(bytes) => f.debug_tuple("Static").field(&bytes.len()).finish(),
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

/// A stream of bytes that come over time.
pub trait Events: Send {
    /// Returns the next bytes, or `None` at the end. Without any, it wakes the task later.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}

impl Answer {
    pub(crate) fn json(body: String) -> Self {
        Self::new(200, "application/json; charset=utf-8", Body::Bytes(body.into_bytes()))
    }

    pub(crate) fn new(status: u16, content_type: &str, body: Body) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body }
    }
}
