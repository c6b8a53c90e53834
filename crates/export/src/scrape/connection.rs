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
use super::route::{Router, Source};
use super::server::StopSignal;
use crate::limits;

/// A client's stream. A write that makes no progress ends in an error.
type Stream = TrackedStream<Pin<Box<TimeoutStream<TcpStream>>>>;

/// An open connection.
pub(super) struct Connection {
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
    pub(super) fn new(
        stream: TcpStream,
        router: Arc<Router>,
        source: Arc<dyn Source>,
        activity: Activity,
        config: &Config,
        stop: StopSignal,
    ) -> Self {
        let delivery = Delivery::default();
        let stream = track(stream, delivery.clone(), config);
        let responder = Responder { router, activity: activity.clone(), delivery: delivery.clone() };
        let http = http_builder(config).serve_connection(TokioIo::new(stream), responder);
        Self { http, source, activity, delivery, grace: None, stop, is_stopping: false }
    }

    /// Answers requests until the connection ends or fails, or the server stops.
    pub(super) async fn serve(mut self) {
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

    /// Closes the stream. The last scrape is delivered if the client has not reset the connection.
    async fn finish(self, result: hyper::Result<()>) {
        let mut stream = self.http.into_parts().io.into_inner();
        match (result, self.delivery.take_written()) {
            (Ok(()), Some(start)) => {
                if close(&mut stream).await {
                    self.source.delivered(start);
                }
            }
            (Ok(()), None) => _ = stream.shutdown().await,
            // A failure concerns only this client.
            (Err(_), _) => {}
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

/// Sets a client's stream up, so that it reports to `delivery`.
fn track(stream: TcpStream, delivery: Delivery, config: &Config) -> Stream {
    // Without it, the end of an exposition waits for the client's acknowledgement. A failure only
    // makes it slower.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_timeout));
    TrackedStream { inner: Box::pin(stream), delivery }
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
        let in_progress = self.activity.begin_request();
        Box::pin(async move {
            let response = router.answer(request).await;
            drop(in_progress);
            let scrape = response.extensions().get::<ScrapeStart>().map(|start| (*start, delivery));
            Ok(response.map(|inner| ResponseBody { inner, scrape }))
        })
    }
}
