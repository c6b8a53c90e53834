//! The fourth step of a request: the exchange of request and response over a connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Interval;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::connect::Stream;
use super::error::of_exchange;
use crate::guest::limits;

/// Sends a request and waits for the head of its response.
///
/// The returned future is the work of the connection, which must be polled until the response's
/// body is complete.
pub(super) async fn exchange(
    stream: Stream,
    mut request: Request<WasiBody>,
    options: &RequestOptions,
) -> Result<(Response<ResponseBody>, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let handshake = http1::Builder::new().max_buf_size(limits::RESPONSE_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(of_exchange)?;
    let mut connection = Box::pin(connection);
    // Only a request to a proxy has scheme and authority in its first line.
    *request.uri_mut() = origin_form(request.uri());

    let first_byte_timeout = options.first_byte_timeout.unwrap_or(limits::OUTGOING_TIMEOUT);
    let mut response = pin!(tokio::time::timeout(first_byte_timeout, sender.send_request(request)));
    let mut is_closed = false;
    let response = loop {
        tokio::select! {
            biased;
            response = &mut response => break response,
            closed = &mut connection, if !is_closed => {
                closed.map_err(of_exchange)?;
                is_closed = true;
            }
        }
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(of_exchange)?;
    let between_bytes = options.between_bytes_timeout.unwrap_or(limits::OUTGOING_TIMEOUT);
    let response = response.map(|incoming| ResponseBody::new(incoming, between_bytes));
    let work = async move { if is_closed { Ok(()) } else { connection.await.map_err(of_exchange) } };
    Ok((response, work))
}

/// Returns the path and query of a URI.
fn origin_form(uri: &Uri) -> Uri {
    Uri::from(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// The body of a response, with a timeout between its frames.
pub(super) struct ResponseBody {
    incoming: Incoming,
    timeout: Interval,
}

impl ResponseBody {
    fn new(incoming: Incoming, timeout: Duration) -> Self {
        // An interval of zero panics.
        let mut timeout = tokio::time::interval(timeout.max(Duration::from_nanos(1)));
        timeout.reset();
        Self { incoming, timeout }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timeout.reset();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(of_exchange(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.timeout.poll_tick(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
