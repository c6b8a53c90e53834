//! The paths of the endpoint and their responses.

use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, VARY,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use wasmetry_host::Snapshot;
use wasmetry_host::encode::Exposition;

use super::config::Config;
use super::connection_set::{Activity, Closure};
use super::content_encoding::Encoding;
use super::control::{Control, DRILL};
use super::delivery::ScrapeStart;
use super::discovery::{self, Target};
use super::exposition::{Rest, Start};
use super::guard::{Area, Guard, Peer, Refusal};
use super::handler::{Access, Mount};
use super::login;
use super::negotiation::{Format, Negotiated};
use super::permit::Permits;
use super::response::{Body, HTML, PLAIN, answer, method_not_allowed};
use crate::limits;

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

    /// Receives the time that collecting and encoding took for a scrape, the wait for its turn
    /// included, without the time for which its client was waited for.
    ///
    /// The default does nothing. It is called after the exposition was encoded or its client has
    /// gone away, so the next scrape shows it.
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

    /// Receives the reason of each request and connection that was refused.
    ///
    /// The default does nothing. It is called on the endpoint's own thread, as often as clients
    /// cause it, and must not block.
    fn refused(&self, refusal: Refusal) {
        let _ = refusal;
    }

    /// Receives the reason of each connection that the endpoint has closed before its client did.
    ///
    /// The default does nothing. It is called on the endpoint's own thread, as often as clients
    /// cause it, and must not block.
    fn closed(&self, closure: Closure) {
        let _ = closure;
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
    permits: Permits,
    snapshot_timeout: Duration,
    body_timeout: Duration,
    guard: Guard,
    control: Option<Control>,
    mounts: Vec<Mount>,
}

/// The answerer of a path.
enum Route<'a> {
    Telemetry,
    Login,
    Logout,
    Control(&'a Control),
    Mount(&'a Mount),
    Page,
    None,
}

impl Route<'_> {
    fn area(&self) -> Area {
        match self {
            Self::Telemetry | Self::None => Area::Public,
            Self::Login | Self::Logout => Area::Login,
            Self::Control(_) => Area::Control,
            Self::Page => Area::View,
            Self::Mount(mount) => match mount.access {
                Access::View => Area::View,
                Access::Control => Area::Control,
            },
        }
    }
}

impl Router {
    pub(crate) fn new(source: Arc<dyn Source>, max_snapshots: usize, config: &Config) -> Self {
        Self {
            source,
            permits: Permits::new(max_snapshots, config.delivery_patience),
            snapshot_timeout: config.snapshot_timeout,
            body_timeout: config.body_timeout,
            guard: config.guard.clone(),
            // Without a token that opens it, the path does not exist.
            control: config.control.clone().filter(|_| config.guard.has_control_token()),
            mounts: config.mounts.clone(),
        }
    }

    fn route(&self, method: &Method, path: &str, headers: &HeaderMap) -> Route<'_> {
        match path {
            "/" if method == Method::POST && login::is_form(headers) && self.guard.has_token() => Route::Login,
            "/metrics" | "/healthz" | "/readyz" | "/sd" => Route::Telemetry,
            "/login" => Route::Login,
            "/logout" => Route::Logout,
            "/recording" | DRILL => self.control.as_ref().map_or(Route::None, Route::Control),
            path => match Mount::find(&self.mounts, path) {
                Some(mount) => Route::Mount(mount),
                None if path == "/" => Route::Page,
                None => Route::None,
            },
        }
    }

    /// Checks the access of a request and receives its body. An error is the response of a refusal.
    ///
    /// Nothing is read from a client without access.
    pub(crate) async fn admit<B>(&self, request: Request<B>, peer: &Peer) -> Result<Request<Bytes>, Box<Response<Body>>>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if let Err(refusal) =
            self.guard.check(self.route(&head.method, head.uri.path(), &head.headers).area(), &head, peer)
        {
            self.source.refused(refusal);
            return Err(Box::new(self.guard.refuse(refusal, &head)));
        }
        if matches!(head.method, Method::GET | Method::HEAD) || body.is_end_stream() {
            return Ok(Request::from_parts(head, Bytes::new()));
        }
        let refuse = |status, text: String| {
            self.source.refused(Refusal::Body);
            Box::new(answer(status, PLAIN, text))
        };
        let too_large = || {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {} bytes\n", limits::MAX_BODY_BYTES))
        };
        if body.size_hint().lower() > limits::MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let received = Limited::new(body, limits::MAX_BODY_BYTES).collect();
        match tokio::time::timeout(self.body_timeout, received).await {
            Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes())),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(refuse(StatusCode::BAD_REQUEST, "the body did not arrive whole\n".to_owned())),
            Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n".to_owned())),
        }
    }

    /// Answers a request that was admitted, of a connection with this activity.
    pub(super) async fn answer(&self, request: Request<Bytes>, peer: &Peer, activity: &Activity) -> Response<Body> {
        let route = self.route(request.method(), request.uri().path(), request.headers());
        let area = route.area();
        let mut response = match route {
            Route::Telemetry => self.telemetry(&request, peer, activity).await,
            Route::Login => self.log_in(&request, peer),
            Route::Logout if request.method() == Method::POST => self.guard.log_out(&request, peer),
            Route::Logout => method_not_allowed("POST", "only POST is allowed here\n"),
            Route::Control(control) => control.answer(&request),
            Route::Mount(mount) => mount.handler.answer(request).await,
            Route::Page => match is_read(&request) {
                true => answer(StatusCode::OK, HTML, PAGE),
                false => method_not_allowed("GET, HEAD", "only GET and HEAD are allowed here\n"),
            },
            Route::None => {
                let is_drill = request.uri().path() == DRILL;
                let remedy = if is_drill { "; drills need --allow-drills and --telemetry-token-file" } else { "" };
                answer(StatusCode::NOT_FOUND, PLAIN, format!("not found; the paths are {PATHS}{remedy}\n"))
            }
        };
        if area != Area::Public {
            isolate(response.headers_mut());
        }
        response
    }

    fn log_in(&self, request: &Request<Bytes>, peer: &Peer) -> Response<Body> {
        if request.method() != Method::POST {
            return method_not_allowed("POST", "only POST is allowed here\n");
        }
        let (response, refusal) = self.guard.log_in(request, peer);
        if let Some(refusal) = refusal {
            self.source.refused(refusal);
        }
        response
    }

    async fn telemetry(&self, request: &Request<Bytes>, peer: &Peer, activity: &Activity) -> Response<Body> {
        if !is_read(request) {
            return method_not_allowed("GET, HEAD", "only GET and HEAD are allowed here\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request, peer, activity).await,
            "/readyz" => self.ready(),
            "/sd" => self.targets(),
            _ => answer(StatusCode::OK, PLAIN, "ok\n"),
        }
    }

    fn ready(&self) -> Response<Body> {
        match catch_unwind(AssertUnwindSafe(|| self.source.ready())) {
            Ok(Ok(())) => answer(StatusCode::OK, PLAIN, "ok\n"),
            Ok(Err(reason)) => answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {reason}\n")),
            Err(_) => failed(),
        }
    }

    /// Lists the targets. They do not depend on the request, so that a client cannot add one by its
    /// `Host`.
    fn targets(&self) -> Response<Body> {
        match self.source.targets() {
            targets if targets.is_empty() => answer(StatusCode::NOT_FOUND, PLAIN, NO_TARGETS),
            targets => answer(StatusCode::OK, "application/json", discovery::json(&targets)),
        }
    }

    async fn metrics(&self, request: &Request<Bytes>, peer: &Peer, activity: &Activity) -> Response<Body> {
        let start = ScrapeStart(Instant::now());
        let headers = request.headers();
        let negotiated = Negotiated::new(headers.get_all(ACCEPT));
        let with_created = wants_created(request.uri().query());
        let encoding = Encoding::negotiate(headers.get_all(ACCEPT_ENCODING));
        let exposition = self.exposition(peer.network(), negotiated.format(), with_created, encoding);
        match tokio::time::timeout(self.snapshot_timeout, exposition).await {
            Ok(Some(start_of_body)) => {
                let (mut response, encoding) = match start_of_body {
                    Start::Whole(body, encoding) => {
                        (answer(StatusCode::OK, negotiated.format().content_type(), body), encoding)
                    }
                    Start::First(first, rest) => {
                        let mut response = answer(StatusCode::OK, negotiated.format().content_type(), Bytes::new());
                        *response.body_mut() = rest.deliver(first, activity).boxed_unsync();
                        (response, encoding)
                    }
                };
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

    /// Takes a snapshot and encodes its beginning on another thread. Returns `None` if the source
    /// panicked.
    async fn exposition(
        &self,
        network: IpAddr,
        format: Format,
        with_created: bool,
        encoding: Encoding,
    ) -> Option<Start> {
        let begin = Instant::now();
        // The closure owns the permit, so a scrape that timed out counts until it ends.
        let permit = self.permits.acquire(network).await?;
        let source = Arc::clone(&self.source);
        let task = tokio::task::spawn_blocking(move || {
            let snapshot = source.snapshot();
            let exposition = match format {
                Format::Text => Exposition::prometheus(snapshot),
                Format::OpenMetrics => Exposition::openmetrics(snapshot, with_created),
                Format::Protobuf => Exposition::protobuf(snapshot),
            };
            Rest::start(exposition, encoding, source, begin, permit)
        });
        task.await.ok()
    }
}

fn is_read(request: &Request<Bytes>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Adds the headers by which browsers keep a response from pages of other origins.
fn isolate(headers: &mut HeaderMap) {
    const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    for (name, value) in [
        (RESOURCE_POLICY, "same-origin"),
        (OPENER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Returns `true` if a client requests the samples of start times, by the parameter `created=true`,
/// which a scrape configuration of Prometheus can have among its `params`.
fn wants_created(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|parameter| parameter == "created=true"))
}

fn failed() -> Response<Body> {
    answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the telemetry source failed; the process's stderr says why\n")
}
