//! The part of a request's body that arrives before the request has an instance.
//!
//! Most bodies arrive with their head. An instance is not made to wait for them, and only bodies
//! that are not complete by then count as uploads, of which a component serves a bounded number at
//! once.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::body::data_len;
use crate::serve::limits;

/// A body of which a part has been received.
pub(in crate::serve) struct Prefetched<B: Body> {
    frames: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// The bytes in the frames.
    bytes: u64,
    rest: B,
    is_complete: bool,
}

/// Its frames are never pinned.
impl<B: Body + Unpin> Unpin for Prefetched<B> {}

impl<B: Body<Data = Bytes> + Unpin> Prefetched<B> {
    /// Receives a body until it is complete, or has [`limits::PREFETCHED_BYTES`], or
    /// [`limits::PREFETCH_TIME`] has passed.
    ///
    /// A client that waits for permission to send its body gets it from the guest.
    pub(super) async fn receive(headers: &HeaderMap, body: B) -> Self {
        let is_complete = body.is_end_stream();
        let mut prefetched = Self { frames: VecDeque::new(), bytes: 0, rest: body, is_complete };
        if is_complete || headers.contains_key(EXPECT) {
            return prefetched;
        }
        let mut deadline = pin!(tokio::time::sleep(limits::PREFETCH_TIME));
        while !prefetched.is_complete && prefetched.bytes < limits::PREFETCHED_BYTES {
            let frame = tokio::select! {
                biased;
                frame = prefetched.rest.frame() => frame,
                () = &mut deadline => break,
            };
            prefetched.push(frame);
        }
        prefetched
    }

    fn push(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) {
        let Some(frame) = frame else {
            self.is_complete = true;
            return;
        };
        self.bytes += frame.as_ref().map_or(0, data_len);
        self.is_complete = frame.is_err() || self.rest.is_end_stream();
        self.frames.push_back(frame);
    }

    /// Returns `true` if nothing more is received.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Prefetched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.as_ref().map_or(0, data_len);
            return Poll::Ready(Some(frame));
        }
        if self.is_complete {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.rest).poll_frame(cx);
        self.is_complete = matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.rest.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + self.bytes);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + self.bytes);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    /// A body whose frames are sent by a test.
    struct Sent(mpsc::UnboundedReceiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn expecting() -> HeaderMap {
        HeaderMap::from_iter([(EXPECT, http::HeaderValue::from_static("100-continue"))])
    }

    #[tokio::test]
    async fn whole_bodies_are_complete() {
        let empty = Prefetched::receive(&HeaderMap::new(), Empty::<Bytes>::new()).await;
        assert!(empty.is_complete() && empty.is_end_stream());
        let full = Prefetched::receive(&HeaderMap::new(), Full::new(Bytes::from("body"))).await;
        assert!(full.is_complete() && !full.is_end_stream());
        assert_eq!(full.size_hint().exact(), Some(4));
        assert_eq!(full.collect().await.unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn stalled_body_is_incomplete() {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(Bytes::from("half, ")).unwrap();
        let body = Prefetched::receive(&HeaderMap::new(), Sent(receiver)).await;
        assert!(!body.is_complete() && !body.is_end_stream());
        sender.send(Bytes::from("whole")).unwrap();
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "half, whole");
    }

    #[tokio::test]
    async fn long_body_is_received_in_part() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let chunk = Bytes::from(vec![b'x'; 40_000]);
        for _ in 0..10 {
            sender.send(chunk.clone()).unwrap();
        }
        let body = Prefetched::receive(&HeaderMap::new(), Sent(receiver)).await;
        assert_eq!((body.is_complete(), body.bytes), (false, 80_000));
    }

    #[tokio::test]
    async fn body_that_waits_is_not_read() {
        let body = Prefetched::receive(&expecting(), Full::new(Bytes::from("body"))).await;
        assert!(!body.is_complete() && body.frames.is_empty());
    }
}
