//! The paths of the endpoint and their responses.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use tokio::sync::Semaphore;
use wasmetry_host::Snapshot;
use wasmetry_host::encode::{openmetrics, prometheus, protobuf};

use super::content_encoding::Encoding;
use super::control::Control;
use super::delivery::ScrapeStart;
use super::discovery::{self, Target};
use super::negotiation::{Format, Negotiated};

/// The process whose telemetry the endpoint serves.
pub trait Source: Send + Sync + 'static {
    /// Takes a snapshot of all metrics.
    ///
    /// It runs on a thread of its own and may block while metrics are collected.
    fn snapshot(&self) -> Snapshot;

    /// Checks that the process accepts requests. It is called on the endpoint's own thread and must
    /// not block.
    ///
    /// # Errors
    ///
    /// The reason why it does not, as a text for a person, with which `/readyz` answers.
    fn ready(&self) -> Result<(), String>;

    /// Returns the addresses of this endpoint and of its peers for `/sd`, from which Prometheus'
    /// `http_sd_configs` reads the targets of a fleet.
    ///
    /// The default is none: `/sd` is then answered with 404. It is called on the endpoint's own
    /// thread and must not block.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// Receives the duration of a scrape, from the request to the encoded response.
    ///
    /// The default does nothing. It is called after the exposition was encoded, so the next scrape
    /// shows it.
    fn scraped(&self, duration: Duration) {
        let _ = duration;
    }

    /// Receives the start of a scrape that was delivered whole, from before its snapshot was taken.
    ///
    /// The default does nothing. A response to `HEAD`, and one whose client has gone away before it
    /// has read it, is not delivered.
    fn delivered(&self, start: Instant) {
        let _ = start;
    }

    /// Receives the error of a connection that could not be accepted, as when file descriptors have
    /// run out.
    ///
    /// The default does nothing. It is called on the endpoint's own thread, again after a moment
    /// while it lasts, and must not block.
    fn accept_failed(&self, error: &io::Error) {
        let _ = error;
    }
}

/// A function that takes a snapshot is the source of a process that always accepts requests.
impl<F: Fn() -> Snapshot + Send + Sync + 'static> Source for F {
    fn snapshot(&self) -> Snapshot {
        self()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

const PATHS: &str = "/metrics, /healthz, /readyz, /sd and /";

const NO_TARGETS: &str =
    "not found: this process lists no targets; `wasmetry serve` lists them, with --telemetry-advertise\n";

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>wasmetry telemetry</title>
<h1>wasmetry telemetry</h1>
<p>This address serves the telemetry of WebAssembly services and of the process that runs them.</p>
<ul>
<li><a href=\"/metrics\">/metrics</a>: the metrics, for Prometheus (text format 0.0.4, OpenMetrics 1.0 or Protocol Buffers)</li>
<li><a href=\"/healthz\">/healthz</a>: 200 if this endpoint is alive</li>
<li><a href=\"/readyz\">/readyz</a>: 200 if the service accepts requests</li>
<li><a href=\"/sd\">/sd</a>: this address and those of its peers, for Prometheus' HTTP service discovery</li>
</ul>
</html>
";

/// Answers requests from a [`Source`].
pub(crate) struct Router {
    source: Arc<dyn Source>,
    snapshots: Arc<Semaphore>,
    snapshot_timeout: Duration,
    control: Option<Control>,
}

impl Router {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        max_snapshots: usize,
        snapshot_timeout: Duration,
        control: Option<Control>,
    ) -> Self {
        Self { source, snapshots: Arc::new(Semaphore::new(max_snapshots)), snapshot_timeout, control }
    }

    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path();
        if let ("/recording", Some(control)) = (path, &self.control) {
            return control.answer(request).await;
        }
        if !matches!(path, "/metrics" | "/healthz" | "/readyz" | "/sd" | "/") {
            return answer(StatusCode::NOT_FOUND, PLAIN, format!("not found; the paths are {PATHS}\n"));
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are allowed here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(request.headers(), request.uri().query()).await,
            "/healthz" => answer(StatusCode::OK, PLAIN, "ok\n"),
            "/readyz" => self.ready(),
            "/sd" => self.targets(),
            _ => answer(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match catch_unwind(AssertUnwindSafe(|| self.source.ready())) {
            Ok(Ok(())) => answer(StatusCode::OK, PLAIN, "ok\n"),
            Ok(Err(reason)) => answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {reason}\n")),
            Err(_) => failed(),
        }
    }

    /// Lists the targets. They do not depend on the request, so that a client cannot add one by its
    /// `Host`.
    fn targets(&self) -> Response<Full<Bytes>> {
        match self.source.targets() {
            targets if targets.is_empty() => answer(StatusCode::NOT_FOUND, PLAIN, NO_TARGETS),
            targets => answer(StatusCode::OK, "application/json", discovery::json(&targets)),
        }
    }

    async fn metrics(&self, headers: &HeaderMap, query: Option<&str>) -> Response<Full<Bytes>> {
        let start = ScrapeStart(Instant::now());
        let negotiated = Negotiated::new(headers.get_all(ACCEPT));
        let with_created = wants_created(query);
        let encoding = Encoding::negotiate(headers.get_all(ACCEPT_ENCODING));
        match tokio::time::timeout(self.snapshot_timeout, self.exposition(negotiated.format(), with_created, encoding))
            .await
        {
            Ok(Some((body, encoding))) => {
                let mut response = answer(StatusCode::OK, negotiated.format().content_type(), body);
                response.extensions_mut().insert(start);
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, negotiated.content_type());
                headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
                if encoding == Encoding::Gzip {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                response
            }
            Ok(None) => failed(),
            Err(_) => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                PLAIN,
                "collecting the metrics takes too long; try again later\n",
            ),
        }
    }

    /// Takes, encodes and compresses a snapshot on another thread. Returns `None` if the source
    /// panicked.
    async fn exposition(&self, format: Format, with_created: bool, encoding: Encoding) -> Option<(Vec<u8>, Encoding)> {
        let begin = Instant::now();
        // The closure owns the permit, so a scrape that timed out counts until it ends.
        let permit = Arc::clone(&self.snapshots).acquire_owned().await.ok()?;
        let source = Arc::clone(&self.source);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let snapshot = source.snapshot();
            let body = match format {
                Format::Text => prometheus::encode(&snapshot).into_bytes(),
                Format::OpenMetrics if with_created => openmetrics::encode_with_created(&snapshot).into_bytes(),
                Format::OpenMetrics => openmetrics::encode(&snapshot).into_bytes(),
                Format::Protobuf => protobuf::encode(&snapshot),
            };
            let encoded = encoding.encode(body);
            source.scraped(begin.elapsed());
            encoded
        });
        task.await.ok()
    }
}

/// Returns `true` if a client requests the samples of start times, by the parameter `created=true`,
/// which a scrape configuration of Prometheus can have among its `params`.
fn wants_created(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|parameter| parameter == "created=true"))
}

fn failed() -> Response<Full<Bytes>> {
    answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the telemetry source failed; the process's stderr says why\n")
}

pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
