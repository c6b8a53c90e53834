//! Bodies of requests and responses, which count the bytes that pass through them.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use wasmetry_wasmtime::HttpMetrics;

use super::prefetch::Prefetched;
use super::response::{Client, GuestBody};
use crate::serve::component::admission::UploadPermit;
use crate::serve::limits::service::ServiceLimits;

/// The body of a response: the guest's, or the host's own.
pub(in crate::serve) type ResponseBody = Either<GuestBody, Full<Bytes>>;

/// The progress of a request's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    is_awaited: AtomicBool,
    received: AtomicU64,
    /// Held until the body has arrived whole.
    permit: Mutex<Option<UploadPermit>>,
}

impl Upload {
    /// Makes the progress of a body, which holds `permit` if it has not arrived whole.
    pub(super) fn new(permit: Option<UploadPermit>) -> Self {
        Self { permit: Mutex::new(permit), ..Self::default() }
    }

    /// Notes that the body has arrived whole.
    fn finish(&self) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

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
    inner: Prefetched<Incoming>,
    metrics: HttpMetrics,
    client: Arc<Client>,
    upload: Arc<Upload>,
    limits: ServiceLimits,
}

impl RequestBody {
    pub(super) fn new(
        inner: Prefetched<Incoming>,
        metrics: HttpMetrics,
        client: Arc<Client>,
        upload: Arc<Upload>,
        limits: ServiceLimits,
    ) -> Self {
        Self { inner, metrics, client, upload, limits }
    }
}

/// The error by which a request's body ends.
#[derive(Debug)]
pub(in crate::serve) enum BodyError {
    /// The client left, or has sent a malformed body.
    Client(hyper::Error),
    /// It has more bytes than it may have.
    TooLarge,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.client.is_over_limit() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        // A guest that reads without blocking polls with a waker that wakes nothing.
        let is_awaited = polled.is_pending() && !cx.waker().will_wake(Waker::noop());
        self.upload.is_awaited.store(is_awaited, Ordering::Relaxed);
        let frame = ready!(polled);
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.upload.finish();
        }
        match &frame {
            Some(Ok(frame)) => {
                let len = data_len(frame);
                let received = self.upload.received.fetch_add(len, Ordering::Relaxed) + len;
                self.client.progressed(len);
                self.metrics.received(len);
                if self.limits.exceeds_body(received) {
                    self.client.set_over_limit();
                    self.upload.finish();
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                }
            }
            // A malformed body is an error of a client that is still there.
            Some(Err(error)) if !error.is_parse() => self.client.set_gone(),
            _ => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.client.is_over_limit() || self.inner.is_end_stream()
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
    let limit = body.limits.request_body_bytes;
    body.map_err(move |error| match error {
        BodyError::Client(error) => error.into(),
        BodyError::TooLarge => wasmtime_wasi_http::Error::HttpRequestBodySize(Some(limit)),
    })
}
