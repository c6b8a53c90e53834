//! Notices when a scrape was delivered whole: its client has read it, or has at least not gone away
//! since it was written.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;

use crate::limits;

/// The time at which the snapshot of a response was requested; an extension of responses that are
/// scrapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotTime(pub(super) Instant);

/// The scrape in progress on one connection. A clone is of the same connection.
#[derive(Clone, Default)]
pub(super) struct Delivery(Arc<State>);

#[derive(Default)]
struct State {
    progress: Mutex<Progress>,
    written: Notify,
}

#[derive(Clone, Copy, Default)]
enum Progress {
    #[default]
    None,
    /// The whole body is in the connection's buffer.
    Buffered(Instant),
    /// The buffer was written to the socket.
    Written(Instant),
}

impl Delivery {
    /// Waits until a scrape was written to the socket.
    pub(super) async fn written(&self) {
        self.0.written.notified().await;
    }

    /// Ends the scrape that was written, and returns the time of its snapshot.
    pub(super) fn take_written(&self) -> Option<Instant> {
        let mut progress = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match *progress {
            Progress::Written(time) => {
                *progress = Progress::None;
                Some(time)
            }
            Progress::None | Progress::Buffered(_) => None,
        }
    }

    fn set_buffered(&self, time: Instant) {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::Buffered(time);
    }

    fn set_written(&self) {
        let mut progress = self.0.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Buffered(time) = *progress {
            *progress = Progress::Written(time);
            self.0.written.notify_one();
        }
    }
}

/// The body of a response, which reports to the connection's [`Delivery`] if it is a scrape.
pub(super) struct ResponseBody {
    pub(super) inner: Full<Bytes>,
    pub(super) scrape: Option<(SnapshotTime, Delivery)>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if self.inner.is_end_stream()
            && let Some((SnapshotTime(time), delivery)) = self.scrape.take()
        {
            delivery.set_buffered(time);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection's stream, which reports to its [`Delivery`] when the connection's buffer was
/// written.
pub(super) struct TrackedStream<S> {
    pub(super) inner: S,
    pub(super) delivery: Delivery,
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Err(_)) = read {
            // The connection takes an error between two requests for a regular end.
            self.delivery.take_written();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// The connection flushes its stream once its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.delivery.set_written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Ends a connection whose last response was written: closes the sending half, and waits for the
/// client to close its half. Returns `false` if the client reset the connection, as it does if it
/// closes without having read everything.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> bool {
    let closed = async {
        stream.shutdown().await?;
        let mut rest = [0; 256];
        // Further requests are not answered.
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that is slow to close has not gone away.
    !tokio::time::timeout(limits::CLOSE_TIMEOUT, closed).await.is_ok_and(|closed| closed.is_err())
}
