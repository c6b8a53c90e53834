//! A server that answers 400 to whatever OTLP forbids, and otherwise what a test wants.

mod grpc;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::sync::watch;
use tonic::Code;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use wasmetry_host::encode::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;

use crate::rule::{self, Arrived};

/// A test that waits longer than this hangs; no test expects to.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what nobody announces.
pub(crate) fn poll(mut is_done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_done() {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

/// The path of Loki's push API.
pub(crate) const LOKI: &str = "/loki/api/v1/push";

/// What the server does with a request that breaks no rule.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Takes all of it.
    Accept,
    /// Takes all but so many of its records, and says why.
    Partly(u64, &'static str),
    /// Answers with a status, with headers and a message.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// Answers nothing for as long as the client waits.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Begins to answer that it has taken all of it, and closes the connection.
    Half,
    /// Answers with a gRPC status, a message, and how long to wait.
    Grpc(Code, &'static str, Option<Duration>),
    /// Answers that it has taken all of it, without gRPC's status.
    NoTrailers,
}

/// What a server speaks.
#[derive(Clone, Copy)]
pub(crate) enum Version {
    Http,
    Grpc,
}

/// What a test decides, by the number of the request from 0 on.
pub(crate) type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) records: usize,
}

#[derive(Default)]
pub(crate) struct State {
    /// Every request that broke no rule.
    pub(crate) seen: Vec<Seen>,
    /// The records of every request that was accepted.
    pub(crate) arrived: Vec<Arrived>,
    /// The rules that were broken.
    pub(crate) broken: Vec<String>,
}

struct Shared {
    script: Script,
    state: Mutex<State>,
    changed: Condvar,
}

/// The server; it ends when it is dropped.
pub(crate) struct Sink {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: watch::Sender<()>,
}

impl Sink {
    pub(crate) fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), Version::Http, script)
    }

    pub(crate) fn grpc(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), Version::Grpc, script)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        version: Version,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared { script: Box::new(script), state: Mutex::default(), changed: Condvar::new() });
        let (stop, mut stopped) = watch::channel(());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let stream = tokio::select! {
                        _ = stopped.changed() => return,
                        accepted = listener.accept() => accepted.unwrap().0,
                    };
                    let shared = Arc::clone(&served);
                    tokio::spawn(async move {
                        let stream = TokioIo::new(stream);
                        // A connection that breaks is what the test wants.
                        let _ = match version {
                            Version::Http => {
                                let service = service_fn(|request| answer(Arc::clone(&shared), request));
                                http1::Builder::new().serve_connection(stream, service).await
                            }
                            Version::Grpc => {
                                let service = service_fn(|request| grpc::answer(Arc::clone(&shared), request));
                                http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
                            }
                        };
                    });
                }
            });
        });
        Self { addr, shared, _stop: stop }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Waits until the state is as the test wants it.
    pub(crate) fn wait(&self, mut is_done: impl FnMut(&State) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let (state, timeout) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !is_done(state)).unwrap();
        assert!(!timeout.timed_out(), "{} arrived, {:?}", state.arrived.len(), state.broken);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// The numbers that arrived, in order of arrival; no rule may have been broken.
    pub(crate) fn arrived(&self) -> Vec<u64> {
        let state = self.shared.state.lock().unwrap();
        assert_eq!(state.broken, [""; 0]);
        state.arrived.iter().map(|arrived| arrived.number).collect()
    }

    /// Likewise, with whether each is an audit record.
    pub(crate) fn arrived_streams(&self) -> Vec<(u64, bool)> {
        let state = self.shared.state.lock().unwrap();
        assert_eq!(state.broken, [""; 0]);
        state.arrived.iter().map(|arrived| (arrived.number, arrived.is_audit)).collect()
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Notes a request that broke no rule, and asks the test what to do with it.
    fn reply(&self, headers: HeaderMap, records: &[Arrived]) -> Reply {
        let mut number = 0;
        self.change(|state| {
            number = state.seen.len();
            state.seen.push(Seen { at: Instant::now(), headers, records: records.len() });
        });
        (self.script)(number)
    }

    /// Takes all but so many records.
    fn take(&self, records: Vec<Arrived>, rejected: u64) {
        let taken = records.len().saturating_sub(rejected as usize);
        self.change(|state| state.arrived.extend(records.into_iter().take(taken)));
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Answer>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut content_type = text(&head.headers, CONTENT_TYPE);
    let checked = if head.method == Method::POST {
        unpack(&head.headers, body).and_then(|body| decode(head.uri.path(), &content_type, &body))
    } else {
        Err(format!("method {}", head.method))
    };
    let is_loki = head.uri.path() == LOKI;
    if is_loki {
        content_type = "text/plain".to_owned();
    }
    let records = match checked {
        Ok(records) => records,
        Err(broken) => {
            shared.change(|state| state.broken.push(broken.clone()));
            return Ok(respond(400, &content_type, status(&content_type, &broken)));
        }
    };
    match shared.reply(head.headers, &records) {
        Reply::Accept => {
            shared.take(records, 0);
            if is_loki {
                return Ok(respond(204, &content_type, Bytes::new()));
            }
            Ok(respond(200, &content_type, partial(&content_type, 0, "")))
        }
        Reply::Partly(rejected, message) => {
            shared.take(records, rejected);
            Ok(respond(200, &content_type, partial(&content_type, rejected, message)))
        }
        Reply::Status(code, headers, message) => {
            let mut response = respond(code, &content_type, status(&content_type, message));
            for (name, value) in headers {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
            }
            Ok(response)
        }
        Reply::Hang => {
            std::future::pending::<Infallible>().await;
            unreachable!()
        }
        Reply::Grpc(..) | Reply::NoTrailers => unreachable!("not with HTTP"),
        Reply::Close => Err(io::Error::other("closed, as the test wants")),
        Reply::Half => {
            let mut response = respond(200, &content_type, Bytes::from_static(b"\x0a"));
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("100"));
            response.body_mut().0.extend([Step::Yield, Step::Cut]);
            Ok(response)
        }
    }
}

/// Undoes the compression.
fn unpack(headers: &HeaderMap, body: Bytes) -> Result<Bytes, String> {
    match text(headers, CONTENT_ENCODING).as_str() {
        "" => Ok(body),
        "gzip" => {
            let mut plain = Vec::new();
            GzDecoder::new(&*body).read_to_end(&mut plain).map_err(|error| format!("gzip: {error}"))?;
            Ok(plain.into())
        }
        other => Err(format!("content-encoding {other}")),
    }
}

/// Decodes and checks a body.
fn decode(path: &str, content_type: &str, body: &[u8]) -> Result<Vec<Arrived>, String> {
    fn protobuf<M: Message + Default>(body: &[u8]) -> Result<M, String> {
        M::decode(body).map_err(|error| error.to_string())
    }
    fn json<M: serde::de::DeserializeOwned>(body: &[u8]) -> Result<M, String> {
        rule::json(&serde_json::from_slice(body).map_err(|error| error.to_string())?)?;
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }
    match (path, content_type) {
        ("/v1/logs", "application/x-protobuf") => rule::logs(&protobuf::<ExportLogsServiceRequest>(body)?),
        ("/v1/traces", "application/x-protobuf") => rule::traces(&protobuf::<ExportTraceServiceRequest>(body)?),
        ("/v1/logs", "application/json") => rule::logs(&json::<ExportLogsServiceRequest>(body)?),
        ("/v1/traces", "application/json") => rule::traces(&json::<ExportTraceServiceRequest>(body)?),
        (LOKI, "application/x-protobuf") => rule::loki::protobuf(body),
        (LOKI, "application/json") => rule::loki::json(body),
        other => Err(format!("path and content type {other:?}")),
    }
}

/// The answer to a request that was accepted, at least partly.
fn partial(content_type: &str, rejected: u64, message: &str) -> Bytes {
    if content_type == "application/json" {
        let partial = if rejected == 0 && message.is_empty() {
            serde_json::json!({})
        } else {
            // 64-bit integers are texts.
            let partial = serde_json::json!({"rejectedLogRecords": rejected.to_string(), "errorMessage": message});
            serde_json::json!({"partialSuccess": partial})
        };
        return partial.to_string().into();
    }
    let partial = ExportLogsPartialSuccess { rejected_log_records: rejected as i64, error_message: message.to_owned() };
    let is_whole = partial == ExportLogsPartialSuccess::default();
    let response = ExportLogsServiceResponse { partial_success: (!is_whole).then_some(partial) };
    response.encode_to_vec().into()
}

/// The answer to a request that was not accepted.
fn status(content_type: &str, message: &str) -> Bytes {
    if content_type == "text/plain" {
        return format!("{message}\n").into();
    }
    if content_type == "application/json" {
        return serde_json::json!({"message": message}).to_string().into();
    }
    tonic_types::Status { message: message.to_owned(), ..tonic_types::Status::default() }.encode_to_vec().into()
}

fn respond(status: u16, content_type: &str, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer(VecDeque::from([Step::Frame(Frame::data(body))])));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// What comes next in a body.
pub(crate) enum Step {
    Frame(Frame<Bytes>),
    /// What came before is sent before anything else happens.
    Yield,
    /// The connection ends here.
    Cut,
}

/// A body whose course is known.
pub(crate) struct Answer(pub(crate) VecDeque<Step>);

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.pop_front() {
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Yield) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Cut) => Poll::Ready(Some(Err(io::Error::other("cut, as the test wants")))),
            None => Poll::Ready(None),
        }
    }
}
