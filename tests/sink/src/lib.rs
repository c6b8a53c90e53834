//! A server for tests that takes OTLP and Loki's push API at their word: it answers 400 to whatever they forbid, and
//! otherwise what a test wants.
//!
//! ```
//! use wasmetry_sink::{Reply, Sink};
//!
//! let sink = Sink::start(|_| Reply::Accept);
//! println!("OTEL_EXPORTER_OTLP_ENDPOINT={}", sink.url("/"));
//! assert!(sink.spans().is_empty());
//! ```
//!
//! Requests are decoded with the OpenTelemetry project's own types. It does not answer as any particular collector does: a
//! real one is for that.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

mod answer;
mod grpc;
mod http;
mod record;
mod request;
pub mod rule;
mod stream;
mod timeline;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
pub use tonic::Code;
/// OTLP's types.
pub use wasmetry_host::encode::otlp::proto;

pub use self::record::{Arrived, text};
pub use self::request::{LokiEntry, LokiStream, Request};
use self::stream::Stream;
use self::timeline::Timeline;

/// A test that waits longer than this hangs; no test expects to.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The path of Loki's push API.
pub const LOKI: &str = "/loki/api/v1/push";

/// What the server does with a request that breaks no rule.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Takes all of it.
    Accept,
    /// Takes all but so many of its last records, and says why.
    Partly(u64, &'static str),
    /// Answers with a status, with headers and a message.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// Answers nothing for as long as the client waits.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Begins to answer that it has taken all of it, and closes the connection: in the answer's body, or before gRPC's status.
    Half,
    /// The same, in the answer's head.
    HalfHead,
    /// Answers with a gRPC status, a message, and how long to wait.
    Grpc(Code, &'static str, Option<Duration>),
    /// Answers that it has taken all of it, without gRPC's status.
    NoTrailers,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// OTLP over HTTP, in Protobuf and JSON, and Loki's push API.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// A request that broke no rule.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was there as a whole.
    pub at: Instant,
    /// Its headers.
    pub headers: HeaderMap,
    /// How many log records, spans or points of metrics it carried.
    pub records: usize,
}

/// What came until now.
#[derive(Default)]
pub struct State {
    /// Every request that broke no rule.
    pub seen: Vec<Seen>,
    /// Every request that was accepted, and how many of its records were.
    pub accepted: Vec<(Request, usize)>,
    /// The rules that were broken.
    pub broken: Vec<String>,
    timeline: Timeline,
}

impl State {
    /// How many records were accepted.
    pub fn records(&self) -> usize {
        self.accepted.iter().map(|(_, taken)| taken).sum()
    }
}

type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;
type Rule = Box<dyn Fn(&Request) -> rule::Checked + Send + Sync>;

/// What the server's connections share with the test.
struct Shared {
    script: Script,
    rule: Rule,
    state: Mutex<State>,
    changed: Condvar,
}

/// The server, on a free loopback port; it ends when it is dropped.
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
    /// Starts a server that speaks HTTP; `script` says what it does with a request, by the request's number from 0 on.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(free(), Version::Http, |_| Ok(()), script)
    }

    /// Starts a server that speaks gRPC; see [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub fn grpc(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(free(), Version::Grpc, |_| Ok(()), script)
    }

    /// Starts a server on a listener, with a rule of the test's beside those of the protocol.
    ///
    /// # Panics
    ///
    /// Panics if there can be no thread for it.
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

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Waits until the state is as the test wants it.
    ///
    /// # Panics
    ///
    /// Panics after [`PATIENCE`].
    pub fn wait(&self, mut is_done: impl FnMut(&State) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !is_done(state)).unwrap();
        assert!(!timeout.timed_out(), "{} arrived, {:?}", state.records(), state.broken);
    }

    /// Every request that broke no rule.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Looks at what came.
    pub fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.lock().unwrap())
    }
}

fn free() -> TcpListener {
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
                let stream = TokioIo::new(Stream::new(stream, Arc::clone(&is_cut)));
                // A connection that breaks is what the test wants.
                let _ = match version {
                    Version::Http => {
                        let service =
                            service_fn(|request| http::answer(Arc::clone(&shared), Arc::clone(&is_cut), request));
                        http1::Builder::new().serve_connection(stream, service).await
                    }
                    Version::Grpc => {
                        let service =
                            service_fn(|request| grpc::answer(Arc::clone(&shared), Arc::clone(&is_cut), request));
                        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
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

    /// Judges a request by all rules, and notes the one that it broke.
    fn judge(&self, decoded: rule::Checked<Request>) -> rule::Checked<Request> {
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

    /// Notes a request that broke no rule, and asks the test what to do with it.
    fn reply(&self, headers: HeaderMap, request: &Request) -> Reply {
        let (at, records) = (Instant::now(), request.records());
        let mut number = 0;
        self.change(|state| {
            number = state.seen.len();
            state.seen.push(Seen { at, headers, records });
        });
        (self.script)(number)
    }

    /// Takes all but so many records.
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
