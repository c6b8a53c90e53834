//! Response bodies of scripted steps, including broken ones.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use hyper::body::{Body, Frame};

/// A step of a body.
pub(crate) enum Step {
    Frame(Frame<Bytes>),
    /// Waits until the earlier frames are sent.
    Yield,
    /// Ends the connection.
    Cut,
}

/// A body of scripted steps.
pub(crate) struct ScriptedBody(pub(crate) VecDeque<Step>);

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.pop_front() {
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Yield) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Cut) => Poll::Ready(Some(Err(io::Error::other("cut by the test")))),
            None => Poll::Ready(None),
        }
    }
}

/// Returns a header's value, or an empty text if it is missing.
pub(crate) fn header(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map(|value| value.to_str().unwrap_or("not ASCII").to_owned()).unwrap_or_default()
}
