//! Bodies of requests and responses, which count the bytes that pass through them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use wasmetry_wasmtime::HttpMetrics;

use super::response::{Client, GuestBody};

/// The body of a response: the guest's, or the host's own.
pub(in crate::serve) type ResponseBody = Either<GuestBody, Full<Bytes>>;

/// The progress of a request's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    is_awaited: AtomicBool,
    received: AtomicU64,
}

impl Upload {
    /// Returns `true` if the last poll of the guest's task waits for more of the body.
    ///
    /// Call [`start_poll`](Self::start_poll) before that poll.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }

    /// Returns the bytes that the guest has read.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Starts a poll of the guest's task.
    pub(super) fn start_poll(&self) {
        self.is_awaited.store(false, Ordering::Relaxed);
    }
}

/// The body of a request, as the guest reads it.
pub(in crate::serve) struct RequestBody {
    inner: Incoming,
    metrics: HttpMetrics,
    client: Arc<Client>,
    upload: Arc<Upload>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, metrics: HttpMetrics, client: Arc<Client>, upload: Arc<Upload>) -> Self {
        Self { inner, metrics, client, upload }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        // A guest that reads without blocking polls with a waker that wakes nothing.
        let is_awaited = polled.is_pending() && !cx.waker().will_wake(Waker::noop());
        self.upload.is_awaited.store(is_awaited, Ordering::Relaxed);
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                let len = data_len(frame);
                self.upload.received.fetch_add(len, Ordering::Relaxed);
                self.metrics.received(len);
            }
            // A malformed body is an error of a client that is still there.
            Some(Err(error)) if !error.is_parse() => self.client.set_gone(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body by the host: one line of text.
pub(in crate::serve) fn line(text: &str, metrics: Option<&HttpMetrics>) -> ResponseBody {
    let body = Bytes::from(format!("{text}\n"));
    if let Some(metrics) = metrics {
        metrics.sent(body.len() as u64);
    }
    Either::Right(Full::new(body))
}

pub(super) fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// Converts a request's body into the type that wasi:http takes.
pub(in crate::serve) fn for_guest(
    body: RequestBody,
) -> impl Body<Data = Bytes, Error = wasmtime_wasi_http::Error> + Send + 'static {
    body.map_err(wasmtime_wasi_http::Error::from)
}
