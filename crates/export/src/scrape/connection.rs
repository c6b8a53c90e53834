//! One connection of a client: answers its requests, and reports each scrape that the client has
//! received.
//!
//! A scrape that was written to the socket may still be lost, so it is *delivered* only later: when
//! the client has closed the connection without a reset, or after a moment in which no reset came.
//! [`delivery`](super::delivery) notices when a scrape was written.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

use super::config::Config;
use super::connection_set::Activity;
use super::delivery::{Delivery, ResponseBody, ScrapeStart, TrackedStream, close};
use super::guard::{Peer, Refusal};
use super::response::Endless;
use super::route::{Router, Source};
use super::server::StopSignal;
use super::tls::MaybeTls;
use crate::limits;

/// A client's stream. A write that makes no progress ends in an error.
type Stream = TrackedStream<MaybeTls<Socket>>;

type Socket = Pin<Box<TimeoutStream<TcpStream>>>;

/// An accepted connection, before TLS.
pub(super) struct PendingConnection {
    pub(super) stream: TcpStream,
    pub(super) peer: Peer,
    pub(super) router: Arc<Router>,
    pub(super) source: Arc<dyn Source>,
    pub(super) activity: Activity,
    pub(super) config: Arc<Config>,
    pub(super) stop: StopSignal,
}

impl PendingConnection {
    /// Answers requests until the connection ends or fails, or the server stops.
    pub(super) async fn serve(mut self) {
        let socket = socket(self.stream, &self.config);
        let stream = match &self.config.tls {
            None => MaybeTls::Plain(socket),
            Some(tls) => {
                let accepted = tokio::select! {
                    accepted = tokio::time::timeout(self.config.header_timeout, tls.acceptor().accept(socket)) => accepted,
                    () = self.stop.received() => return,
                };
                let Ok(Ok(stream)) = accepted else {
                    self.source.refused(Refusal::Tls);
                    return;
                };
                MaybeTls::Tls(Box::new(stream))
            }
        };
        Connection::new(stream, self.peer, self.router, self.source, self.activity, &self.config, self.stop)
            .serve()
            .await;
    }
}

/// An open connection.
struct Connection {
    http: http1::Connection<TokioIo<Stream>, Responder>,
    source: Arc<dyn Source>,
    activity: Activity,
    delivery: Delivery,
    /// The time after which a written scrape counts as delivered; `None` if no scrape is written.
    grace: Option<Pin<Box<Sleep>>>,
    stop: StopSignal,
    /// `true` if the connection ends after the requests in progress.
    is_stopping: bool,
}

/// The next event on a connection.
enum Event {
    /// The connection has ended, with or without an error.
    Ended(hyper::Result<()>),
    /// A scrape was written to the socket.
    ScrapeWritten,
    /// No reset came in the time after a scrape was written.
    GraceElapsed,
    /// The server stops.
    Stop,
}

impl Connection {
    fn new(
        stream: MaybeTls<Socket>,
        peer: Peer,
        router: Arc<Router>,
        source: Arc<dyn Source>,
        activity: Activity,
        config: &Config,
        stop: StopSignal,
    ) -> Self {
        let delivery = Delivery::default();
        let stream = TrackedStream { inner: stream, delivery: delivery.clone(), activity: activity.clone() };
        let responder = Responder { peer, router, activity: activity.clone(), delivery: delivery.clone() };
        let http = http_builder(config).serve_connection(TokioIo::new(stream), responder);
        Self { http, source, activity, delivery, grace: None, stop, is_stopping: false }
    }

    async fn serve(mut self) {
        let result = loop {
            match self.next_event().await {
                Event::Ended(result) => break result,
                Event::ScrapeWritten => self.grace = Some(Box::pin(tokio::time::sleep(limits::DELIVERY_GRACE))),
                Event::GraceElapsed => {
                    self.grace = None;
                    self.report_delivery();
                }
                // There is no whole request, and stopping does not wait for one.
                Event::Stop if !self.activity.is_used() => return,
                Event::Stop => {
                    self.is_stopping = true;
                    Pin::new(&mut self.http).graceful_shutdown();
                }
            }
        };
        self.finish(result).await;
    }

    async fn next_event(&mut self) -> Event {
        tokio::select! {
            biased;
            result = poll_fn(|cx| self.http.poll_without_shutdown(cx)) => Event::Ended(result),
            () = self.delivery.written() => Event::ScrapeWritten,
            () = elapsed(&mut self.grace) => Event::GraceElapsed,
            () = self.stop.received(), if !self.is_stopping => Event::Stop,
        }
    }

    /// Reports the scrape that was written as delivered.
    fn report_delivery(&self) {
        if let Some(start) = self.delivery.take_written() {
            self.source.delivered(start);
        }
    }

    /// Closes the stream behind the last response. A scrape is delivered if the client has not
    /// reset the connection.
    async fn finish(self, result: hyper::Result<()>) {
        // A head that is no request has a response. Other failures concern only this client.
        let is_answered = result.as_ref().map_or_else(hyper::Error::is_parse, |()| true);
        if !is_answered {
            return;
        }
        let mut stream = self.http.into_parts().io.into_inner();
        let mut stop = self.stop;
        if let Some(start) = self.delivery.take_written() {
            if close(&mut stream).await {
                self.source.delivered(start);
            }
        } else if self.is_stopping {
            _ = stream.shutdown().await;
        } else {
            tokio::select! {
                _ = close(&mut stream) => {}
                () = stop.received() => {}
            }
        }
    }
}

/// Waits until the time has elapsed; without one, forever.
async fn elapsed(time: &mut Option<Pin<Box<Sleep>>>) {
    match time {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Sets a client's socket up.
fn socket(stream: TcpStream, config: &Config) -> Socket {
    // Without it, the end of an exposition waits for the client's acknowledgement. A failure only
    // makes it slower.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_timeout));
    Box::pin(stream)
}

fn http_builder(config: &Config) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // A client may close its half of the connection behind its request.
        .half_close(true)
        .header_read_timeout(config.header_timeout)
        .max_headers(limits::MAX_HEADERS)
        .max_header_size(limits::MAX_HEAD_BYTES)
        .max_buf_size(limits::MAX_HEAD_BYTES);
    http
}

/// Answers the requests of one connection.
struct Responder {
    peer: Peer,
    router: Arc<Router>,
    activity: Activity,
    delivery: Delivery,
}

impl Service<Request<Incoming>> for Responder {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (router, delivery) = (Arc::clone(&self.router), self.delivery.clone());
        let (peer, activity) = (self.peer, self.activity.clone());
        Box::pin(async move {
            let request = match router.admit(request, &peer).await {
                Ok(request) => request,
                Err(response) => {
                    return Ok(response.map(|inner| ResponseBody { inner, scrape: None, _response: None }));
                }
            };
            let being_made = activity.begin_response();
            let response = router.answer(request, &peer, &activity).await;
            being_made.send(response.extensions().get::<Endless>().is_some());
            let scrape = response.extensions().get::<ScrapeStart>().map(|start| (*start, delivery));
            Ok(response.map(|inner| ResponseBody { inner, scrape, _response: Some(being_made) }))
        })
    }
}
