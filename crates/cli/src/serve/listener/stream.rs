//! A client's stream and the body of its response, which keep the connection's activity up to date.
//!
//! A stream ends as RFC 9112, section 9.6 has it: the system resets a connection that is closed
//! while its client still sends, and the client may lose the response. So the sending half is
//! closed first, and what the client sends until it closes its own is read and dropped, within
//! bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::connection_set::{Activity, Phase};
use crate::guest::share::Slot;
use crate::serve::limits::service::{ServiceLimits, time};

/// A stream that notes when bytes arrive, and does not lose the end of a response.
pub(super) struct ClientStream<S> {
    inner: S,
    activity: Activity,
    limits: ServiceLimits,
    stopping: CancellationToken,
    /// `None` until the sending half is closed.
    closing: Option<Closing>,
}

impl<S> ClientStream<S> {
    /// Returns a stream, whose end is not waited for when the service is `stopping`.
    pub(super) fn new(inner: S, activity: Activity, limits: ServiceLimits, stopping: CancellationToken) -> Self {
        Self { inner, activity, limits, stopping, closing: None }
    }
}

/// The wait for the end of a client whose last response is written.
struct Closing {
    timeout: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The bytes that may still be dropped.
    left: usize,
    buffer: Box<[u8]>,
}

impl Closing {
    fn new(limits: &ServiceLimits, stopping: CancellationToken) -> Self {
        Self {
            timeout: Box::pin(tokio::time::sleep(time(limits.closing_time))),
            stopping: Box::pin(stopping.cancelled_owned()),
            left: usize::try_from(limits.closing_bytes).unwrap_or(usize::MAX),
            buffer: vec![0; 16 << 10].into(),
        }
    }

    /// Reads and drops what the client sends, until it has closed its half or a bound is reached.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        while self.left > 0 {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let is_over =
                        self.timeout.as_mut().poll(cx).is_ready() || self.stopping.as_mut().poll(cx).is_ready();
                    return if is_over { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        // The connection flushes its stream when its own buffer is empty.
        if let Poll::Ready(Ok(())) = flushed {
            self.activity.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.activity.enter(Phase::Closing);
        }
        let closing = this.closing.get_or_insert_with(|| Closing::new(&this.limits, this.stopping.clone()));
        closing.poll(&mut this.inner, cx).map(Ok)
    }
}

/// The body of a response, with which the request is in progress until it is written or dropped.
pub(super) struct TrackedBody<B> {
    inner: B,
    activity: Activity,
    /// Given back when the connection can make room again.
    _place: Option<Slot>,
}

impl<B> TrackedBody<B> {
    /// Returns a body of a request that has this place.
    pub(super) fn new(inner: B, activity: Activity, place: Option<Slot>) -> Self {
        Self { inner, activity, _place: place }
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        self.activity.enter(Phase::Sent);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use wasmetry_host::Identity;

    use super::*;
    use crate::guest::share::{Owner, SharedPool};

    #[tokio::test]
    async fn place_is_held_until_body_ends() {
        let pool = SharedPool::in_turns(1);
        let place = pool.try_take(&Owner::of(&Identity::new("shop"))).unwrap();
        let activity = Activity::new();
        activity.enter(Phase::Busy);
        let mut body = TrackedBody::new(Full::new(&b"cart"[..]), activity, Some(place));
        assert!(body.frame().await.is_some() && body.is_end_stream());
        assert_eq!(pool.free(), 0, "it is not dropped");
        drop(body);
        assert_eq!(pool.free(), 1);
    }
}
