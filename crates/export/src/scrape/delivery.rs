//! Notices when a scrape was delivered whole.
//!
//! A scrape is delivered when its client has read it, or has at least not reset the connection
//! within [`limits::DELIVERY_GRACE`]. Until then it goes through these states:
//!
//! ```text
//!           body ends              stream flushed          connection closed, or grace elapsed
//! (none) ─────────────► Buffered ─────────────► Written ───────────────────────────────► (none)
//!         ResponseBody            TrackedStream            Connection::take_written
//! ```

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;

use super::connection_set::{Activity, Response};
use super::response::Body;
use crate::limits;

/// The time at which a scrape was requested. Responses that are scrapes have it as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScrapeStart(pub(super) Instant);

/// The delivery of the current scrape of one connection. A clone is of the same connection.
#[derive(Clone, Default)]
pub(super) struct Delivery(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    written: Notify,
}

/// The state of the current scrape, with the time at which it was requested.
#[derive(Clone, Copy, Default)]
enum State {
    /// There is no scrape, or it is not sent yet.
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

    /// Removes the scrape if it was written, and returns the time at which it was requested.
    pub(super) fn take_written(&self) -> Option<Instant> {
        let mut state = self.lock();
        let State::Written(start) = *state else { return None };
        *state = State::None;
        Some(start)
    }

    fn set_buffered(&self, start: Instant) {
        *self.lock() = State::Buffered(start);
    }

    fn set_written(&self) {
        let mut state = self.lock();
        if let State::Buffered(start) = *state {
            *state = State::Written(start);
            self.0.written.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a response, which reports to the connection's [`Delivery`] if it is a scrape.
pub(super) struct ResponseBody {
    pub(super) inner: Body,
    pub(super) scrape: Option<(ScrapeStart, Delivery)>,
    /// `None` if the response is that of a refusal.
    pub(super) _response: Option<Response>,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        let is_ended = matches!(frame, Poll::Ready(None)) || self.inner.is_end_stream();
        if is_ended && let Some((ScrapeStart(start), delivery)) = self.scrape.take() {
            delivery.set_buffered(start);
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

/// A connection's stream, which reports to its [`Delivery`] and [`Activity`] when the connection's
/// buffer was written.
pub(super) struct TrackedStream<S> {
    pub(super) inner: S,
    pub(super) delivery: Delivery,
    pub(super) activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read
            && !is_end(error)
        {
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
            self.activity.flushed();
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
        let (mut rest, mut received) = (vec![0; 8 << 10], 0);
        // Further requests, and the rest of a refused one, are not answered.
        while received < limits::CLOSE_BYTES {
            match stream.read(&mut rest).await? {
                0 => break,
                bytes => received += bytes,
            }
        }
        io::Result::Ok(())
    };
    // A client that is slow to close has not gone away.
    let closed = tokio::time::timeout(limits::CLOSE_TIMEOUT, closed).await;
    !closed.is_ok_and(|closed| closed.is_err_and(|error| !is_end(&error)))
}

/// Returns `true` if the client has closed the connection without the alert that ends TLS, as many
/// clients do. It has not reset it.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
