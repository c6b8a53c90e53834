//! The console at the telemetry endpoint.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use tokio::sync::Semaphore;
use wasmetry_console::{Answer, Body, Console, Events};
use wasmetry_export::{limits, scrape};

/// Answers the requests of the endpoint from a console.
pub(crate) struct ConsoleHandler {
    console: Console,
    /// Bounds the answers that are made at once, so that threads are left for scrapes.
    threads: Arc<Semaphore>,
}

impl ConsoleHandler {
    pub(crate) fn new(console: Console) -> Self {
        Self { console, threads: Arc::new(Semaphore::new(limits::MAX_PAGES)) }
    }
}

impl scrape::Handler for ConsoleHandler {
    fn answer(&self, request: Request<Bytes>) -> scrape::Answer<'_> {
        Box::pin(async move {
            let console = self.console.clone();
            // The semaphore is never closed.
            let permit = Arc::clone(&self.threads).acquire_owned().await.ok();
            let task = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                answer(&console, &request)
            });
            task.await.unwrap_or_else(|_| {
                let text = "the console failed; the process's stderr has the reason\n";
                let mut response = Response::new(whole(text.into()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            })
        })
    }
}

fn answer(console: &Console, request: &Request<Bytes>) -> Response<scrape::Body> {
    let headers = request.headers();
    let answer = console.answer(&wasmetry_console::Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query(),
        if_none_match: text(headers, &IF_NONE_MATCH),
        last_event_id: text(headers, &HeaderName::from_static("last-event-id")),
    });
    response(answer, headers)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn response(answer: Answer, request: &HeaderMap) -> Response<scrape::Body> {
    let bytes = match answer.body {
        Body::Bytes(bytes) => bytes,
        Body::Static(bytes) => bytes.to_vec(),
        Body::Events(events) => {
            let body = EventBody(events).map_err(|never: Infallible| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            response.extensions_mut().insert(scrape::Endless);
            return with_head(response, answer.status, answer.headers);
        }
    };
    let (bytes, is_compressed) = scrape::gzip(request.get_all(ACCEPT_ENCODING), bytes);
    let mut response = with_head(Response::new(whole(bytes)), answer.status, answer.headers);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_compressed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn with_head(
    mut response: Response<scrape::Body>,
    status: u16,
    headers: Vec<(&'static str, String)>,
) -> Response<scrape::Body> {
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn whole(bytes: Vec<u8>) -> scrape::Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// Events as the body of a response. They are read when the client has received what came before.
struct EventBody(Box<dyn Events>);

impl hyper::body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(Bytes::from(bytes)))))
    }
}
