//! A server for tests of OTLP and Loki's push API: it responds with 400 to whatever they forbid,
//! and otherwise as the test scripts it.
//!
//! ```
//! use wasmetry_sink::{Reply, Sink};
//!
//! let sink = Sink::start(|_| Reply::Accept);
//! println!("OTEL_EXPORTER_OTLP_ENDPOINT={}", sink.url("/"));
//! assert!(sink.spans().is_empty());
//! ```
//!
//! Requests are decoded with the OpenTelemetry project's own types. The server does not imitate any
//! particular collector; other tests run a real one.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

mod body;
mod grpc;
mod http;
mod record;
mod request;
pub mod rule;
mod stream;
mod timeline;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Notify, watch};
pub use tonic::Code;
/// The types of OTLP.
pub use wasmetry_host::encode::otlp::proto;

pub use self::record::{Arrived, text};
pub use self::request::{LokiEntry, LokiStream, Request};
use self::stream::Stream;
use self::timeline::Timeline;

/// The limit of every wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The path of Loki's push API.
pub const LOKI: &str = "/loki/api/v1/push";

/// The scripted reaction to a valid request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Accepts all records.
    Accept,
    /// Accepts all but this number of the last records: a partial success with a message.
    Partly(u64, &'static str),
    /// Responds with a status, headers and a message.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// Sends no response while the client waits.
    Hang,
    /// Closes the connection without a response.
    Close,
    /// Closes the connection in the body of a successful response, or before the gRPC status.
    Half,
    /// Closes the connection in the head of a successful response.
    HalfHead,
    /// Responds with a gRPC status, a message, and a retry delay.
    Grpc(Code, &'static str, Option<Duration>),
    /// Responds with a success but without the gRPC status.
    NoTrailers,
    /// Accepts all records, and ends the connection with HTTP/2's GOAWAY.
    GoAway,
}

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// OTLP over HTTP, in Protobuf and JSON, and Loki's push API.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// A valid request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The time at which the request was complete.
    pub at: Instant,
    /// The headers.
    pub headers: HeaderMap,
    /// The number of log records, spans or metric data points.
    pub records: usize,
}

/// The requests so far.
#[derive(Default)]
pub struct State {
    /// Every valid request.
    pub seen: Vec<Seen>,
    /// Every accepted request with the number of its accepted records.
    pub accepted: Vec<(Request, usize)>,
    /// The broken rules of invalid requests.
    pub broken: Vec<String>,
    timeline: Timeline,
}

impl State {
    /// Returns the number of accepted records.
    pub fn records(&self) -> usize {
        self.accepted.iter().map(|(_, taken)| taken).sum()
    }
}

type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;
type Rule = Box<dyn Fn(&Request) -> rule::Checked + Send + Sync>;

/// The state that the server's connections share with the test.
struct Shared {
    script: Script,
    rule: Rule,
    state: Mutex<State>,
    changed: Condvar,
}

/// A server on a free loopback port. Dropping it stops it.
pub struct Sink {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: watch::Sender<()>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Sink {
    /// Starts a server of HTTP. `script` returns the reply to a valid request, by the request's
    /// number from 0 on.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(free_port(), Version::Http, |_| Ok(()), script)
    }

    /// Starts a server of gRPC; see [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub fn grpc(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(free_port(), Version::Grpc, |_| Ok(()), script)
    }

    /// Starts a server on a listener, with the test's own rule beside those of the protocol.
    ///
    /// # Panics
    ///
    /// Panics if no thread can be started.
    pub fn start_on(
        listener: TcpListener,
        version: Version,
        rule: impl Fn(&Request) -> rule::Checked + Send + Sync + 'static,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (script, rule) = (Box::new(script), Box::new(rule));
        let shared = Arc::new(Shared { script, rule, state: Mutex::default(), changed: Condvar::new() });
        let (stop, stopped) = watch::channel(());
        let served = Arc::clone(&shared);
        std::thread::spawn(move || serve(listener, version, &served, stopped));
        Self { addr, shared, _stop: stop }
    }

    /// Returns the server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Waits until `is_done` returns `true` for the state.
    ///
    /// # Panics
    ///
    /// Panics after [`PATIENCE`].
    pub fn wait(&self, mut is_done: impl FnMut(&State) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !is_done(state)).unwrap();
        assert!(!timeout.timed_out(), "{} records were accepted; broken rules: {:?}", state.records(), state.broken);
    }

    /// Returns every valid request.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Calls `f` with the state.
    pub fn with<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.shared.state.lock().unwrap())
    }
}

fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn serve(listener: TcpListener, version: Version, shared: &Arc<Shared>, mut stopped: watch::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let stream = tokio::select! {
                _ = stopped.changed() => return,
                accepted = listener.accept() => accepted.unwrap().0,
            };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let is_cut = Arc::<AtomicBool>::default();
                let go_away = Arc::<Notify>::default();
                let stream = TokioIo::new(Stream::new(stream, Arc::clone(&is_cut)));
                // The test may script a broken connection.
                let _ = match version {
                    Version::Http => {
                        let service =
                            service_fn(|request| http::respond_to(Arc::clone(&shared), Arc::clone(&is_cut), request));
                        http1::Builder::new().serve_connection(stream, service).await
                    }
                    Version::Grpc => {
                        let service = service_fn(|request| {
                            grpc::respond_to(Arc::clone(&shared), Arc::clone(&is_cut), Arc::clone(&go_away), request)
                        });
                        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
                        let mut connection = pin!(connection);
                        loop {
                            tokio::select! {
                                result = connection.as_mut() => break result,
                                () = go_away.notified() => connection.as_mut().graceful_shutdown(),
                            }
                        }
                    }
                };
            });
        }
    });
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Checks a request by all rules, and records a broken one.
    fn check(&self, decoded: rule::Checked<Request>) -> rule::Checked<Request> {
        let judged = decoded.and_then(|request| {
            rule::check(&request)?;
            if let Request::Metrics(metrics) = &request {
                self.state.lock().unwrap().timeline.check(metrics)?;
            }
            (self.rule)(&request)?;
            Ok(request)
        });
        judged.inspect_err(|broken| self.change(|state| state.broken.push(broken.clone())))
    }

    /// Records a valid request, and returns the scripted reply.
    fn reply(&self, headers: HeaderMap, request: &Request) -> Reply {
        let (at, records) = (Instant::now(), request.records());
        let mut number = 0;
        self.change(|state| {
            number = state.seen.len();
            state.seen.push(Seen { at, headers, records });
        });
        (self.script)(number)
    }

    /// Records an accepted request without its last `rejected` records.
    fn take(&self, request: Request, rejected: u64) {
        let taken = request.records().saturating_sub(rejected as usize);
        self.change(|state| {
            if let Request::Metrics(metrics) = &request {
                state.timeline.take(metrics);
            }
            state.accepted.push((request, taken));
        });
    }
}
