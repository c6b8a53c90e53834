//! Answers whose course is known, broken ones too.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use hyper::body::{Body, Frame};

/// What comes next in a body.
pub(crate) enum Step {
    Frame(Frame<Bytes>),
    /// What came before is sent before anything else happens.
    Yield,
    /// The connection ends here.
    Cut,
}

/// A body whose course is known.
pub(crate) struct Answer(pub(crate) VecDeque<Step>);

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.pop_front() {
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Yield) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Cut) => Poll::Ready(Some(Err(io::Error::other("cut, as the test wants")))),
            None => Poll::Ready(None),
        }
    }
}

/// A header's value, or an empty text.
pub(crate) fn header(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map(|value| value.to_str().unwrap_or("not ASCII").to_owned()).unwrap_or_default()
}
