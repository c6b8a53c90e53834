//! Bodies of requests and responses, which count the bytes that pass through them.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use wasmetry_wasmtime::HttpMetrics;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

/// The body of a response: the guest's, or the host's own.
pub(in crate::serve) type ResponseBody = Either<GuestBody, Full<Bytes>>;

/// The body of a request, as the guest reads it.
pub(in crate::serve) struct RequestBody {
    inner: Incoming,
    metrics: HttpMetrics,
}

impl RequestBody {
    pub(in crate::serve) fn new(inner: Incoming, metrics: HttpMetrics) -> Self {
        Self { inner, metrics }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.metrics.received(data_len(frame));
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

/// The body of a response, as the guest writes it.
///
/// Wasmtime ends the body of a guest that trapped as if it were complete. Here that end becomes an
/// error, so that the connection is closed and no client takes half a response for a whole one.
pub(in crate::serve) struct GuestBody {
    inner: HyperOutgoingBody,
    metrics: HttpMetrics,
    is_cut: Arc<AtomicBool>,
}

impl GuestBody {
    /// `is_cut` must be set before the store of a guest that ended early is dropped.
    pub(in crate::serve) fn new(inner: HyperOutgoingBody, metrics: HttpMetrics, is_cut: Arc<AtomicBool>) -> Self {
        Self { inner, metrics, is_cut }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.metrics.sent(data_len(&frame));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.to_string().into()))),
            // Acquire: pairs with the Release in `handler`, which precedes the drop of the store,
            // by which the body ends.
            None if self.is_cut.load(Ordering::Acquire) => {
                Poll::Ready(Some(Err("the component ended before its response was complete".into())))
            }
            None => Poll::Ready(None),
        }
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

fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// Converts a request's body into the type that wasi:http takes.
pub(in crate::serve) fn for_guest(
    body: RequestBody,
) -> impl Body<Data = Bytes, Error = wasmtime_wasi_http::Error> + Send + 'static {
    body.map_err(wasmtime_wasi_http::Error::from)
}
