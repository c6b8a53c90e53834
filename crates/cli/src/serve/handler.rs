//! Requests: an instance for each, and an answer whatever becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::{
    DeadlineExceeded, HttpMetrics, HttpRequest, Killed, Observed, ObservedComponent, ServerSpan, StoreState,
    TelemetryView,
};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::admission::{Admission, Refused};
use super::body::{self, GuestBody, RequestBody, ResponseBody};
use super::limits;
use super::outgoing::Outgoing;
use super::report::Reporter;
use super::stdio::Output;

/// The component is mounted at the root.
const ROUTE: &str = "/";

/// A component that is linked and ready to be instantiated.
pub(super) type Pre = ProxyPre<State>;

/// The state of one request's store.
pub(super) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    telemetry: StoreState,
    outgoing: Outgoing,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

/// What every instance gets.
pub(super) struct Settings {
    pub(super) memory: usize,
    pub(super) variables: Vec<(String, String)>,
    pub(super) instances: usize,
}

/// What a [`Service`] is made of.
pub(super) struct Parts {
    pub(super) pre: Pre,
    pub(super) component: ObservedComponent,
    pub(super) settings: Settings,
    pub(super) waiting: usize,
    pub(super) request_timeout: Duration,
    /// Which traces are recorded; without it, there are no server spans, and trace headers are the guests' affair.
    pub(super) sampler: Option<Sampler>,
    pub(super) reporter: Arc<Reporter>,
    /// Ends the guests that still run.
    pub(super) killed: CancellationToken,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
}

/// Answers requests by instances of one component.
///
/// A request counts as in flight from its arrival until its guest has ended, also where the client has gone or
/// the response was complete before; the duration is that time, waiting for an instance included. The status
/// is that of the response, 499 where the client went away before the guest was started.
pub(super) struct Service {
    parts: Parts,
    metrics: HttpMetrics,
    admission: Admission,
    guests: TaskTracker,
}

impl Service {
    pub(super) fn new(parts: Parts) -> Self {
        let guests = TaskTracker::new();
        // It may be waited for from now on; it takes tasks all the same.
        guests.close();
        Self {
            metrics: parts.component.http(ROUTE),
            admission: Admission::new(parts.settings.instances, parts.waiting, parts.request_timeout),
            guests,
            parts,
        }
    }

    /// Returns when no guest is left.
    pub(super) async fn finished(&self) {
        self.guests.wait().await;
    }

    /// The number of guests that have not ended.
    pub(super) fn in_progress(&self) -> usize {
        self.guests.len()
    }

    /// Answers one request.
    pub(super) async fn respond(self: &Arc<Self>, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let arrived = Arrived {
            measured: Some(self.metrics.start(request.method().as_str())),
            span: self.parts.sampler.as_ref().map(|sampler| ServerSpan::receive(&mut request, ROUTE, sampler)),
            component: self.parts.component.clone(),
        };
        if !has_authority(&request) {
            return self.refuse(arrived, StatusCode::BAD_REQUEST, "the request has no valid Host header");
        }
        let permit = match self.admission.admit().await {
            Ok(permit) => permit,
            Err(Refused::Full) => {
                return self.refuse(
                    arrived,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many requests are waiting; try again later",
                );
            }
            Err(Refused::Late) => {
                return self.refuse(
                    arrived,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no instance became free in time; try again later",
                );
            }
        };
        let (sender, receiver) = oneshot::channel();
        let call = Call {
            service: Arc::clone(self),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            answer: Arc::new(Answer::default()),
        };
        let answer = Arc::clone(&call.answer);
        // The task owns the store, so that a client that goes away takes nothing with it.
        let task = self.guests.spawn(call.run(request, sender, permit, arrived));
        match receiver.await {
            Ok(Ok(response)) => {
                response.map(|body| Either::Left(GuestBody::new(body, self.metrics.clone(), Arc::clone(&answer.cut))))
            }
            Ok(Err(_)) => self.own(Outcome::Declined.status(), Outcome::Declined.text()),
            // The guest set no response; it is over or will be, and its outcome is the answer.
            Err(_) => {
                let outcome = task.await.unwrap_or(Outcome::Failed);
                self.own(outcome.status(), outcome.text())
            }
        }
    }

    /// Answers a request that gets no instance.
    fn refuse(&self, arrived: Arrived, status: StatusCode, text: &str) -> Response<ResponseBody> {
        arrived.refused(status.as_u16());
        self.own(status, text)
    }

    /// A response of the host's own: one line, which tells nothing of the inside.
    fn own(&self, status: StatusCode, text: &str) -> Response<ResponseBody> {
        let mut response = Response::new(body::line(text, &self.metrics));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    fn store(&self, span: Option<ServerSpan>) -> Observed<State> {
        let Settings { memory, variables, .. } = &self.parts.settings;
        let mut wasi = WasiCtx::builder();
        // Reading is not offered: requests would take each other's input.
        wasi.stdout(self.parts.stdout.clone()).stderr(self.parts.stderr.clone()).envs(variables);
        let mut telemetry = self.parts.component.state_with_memory_limit(*memory);
        if let Some(span) = span {
            telemetry.set_server_span(span);
        }
        let state = State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            outgoing: Outgoing { spans: telemetry.client_spans() },
            telemetry,
        };
        let mut store = Observed::new(Store::new(self.parts.pre.engine(), state));
        store.set_deadline(self.parts.request_timeout);
        store
    }
}

/// wasi:http gives every request an authority, so one without cannot be passed on.
fn has_authority(request: &Request<Incoming>) -> bool {
    request.uri().authority().is_some() || request.headers().get(HOST).is_some_and(|host| host.to_str().is_ok())
}

/// A request that has arrived and for which no guest has been started.
///
/// Dropping it means that its client went away.
struct Arrived {
    measured: Option<HttpRequest>,
    span: Option<ServerSpan>,
    component: ObservedComponent,
}

impl Arrived {
    /// The request was answered with `status` by the host.
    fn refused(mut self, status: u16) {
        if let Some(measured) = self.measured.take() {
            measured.end(status);
        }
        if let Some(span) = self.span.take() {
            self.component.refuse(span, Some(status));
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.component.refuse(span, None);
        }
    }
}

/// What is known of the answer while the guest runs.
#[derive(Default)]
struct Answer {
    /// The status of the guest's response, 0 as long as there is none.
    status: AtomicU16,
    /// Whether the guest ended before its time.
    cut: Arc<AtomicBool>,
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It returned.
    Returned,
    /// It answered with an error code instead of a response.
    Declined,
    /// It trapped, or could not be started.
    Failed,
    /// It was ended at its deadline.
    Late,
    /// It was ended because the process ends.
    Killed,
}

impl Outcome {
    /// The status that the client gets if the guest has set no response.
    fn status(self) -> StatusCode {
        match self {
            Self::Returned | Self::Declined | Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Killed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Returned => "the service gave no response",
            Self::Declined | Self::Failed => "the service failed",
            Self::Late => "the service did not respond in time",
            Self::Killed => "the service is shutting down",
        }
    }
}

type Sender = oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>;

/// One request's guest.
struct Call {
    service: Arc<Service>,
    method: Method,
    path: String,
    answer: Arc<Answer>,
}

impl Call {
    async fn run(
        self,
        request: Request<Incoming>,
        sender: Sender,
        permit: OwnedSemaphorePermit,
        mut arrived: Arrived,
    ) -> Outcome {
        let mut store = self.service.store(arrived.span.take());
        let meter = store.meter();
        let killed = self.service.parts.killed.clone();
        let limit = self.service.parts.request_timeout + limits::DEADLINE_GRACE;
        let guest = tokio::time::timeout(limit, meter.measure(self.handle(&mut store, request, sender)));
        let result = match killed.run_until_cancelled(guest).await {
            Some(Ok(result)) => result,
            // It waited in a host call, where it does not look at its deadline.
            Some(Err(_)) => Err(wasmtime::Error::new(DeadlineExceeded)),
            None => Err(wasmtime::Error::new(Killed)),
        };
        let outcome = self.judge(&mut store, result);
        if !matches!(outcome, Outcome::Returned) {
            // Release: pairs with the Acquire in `body`. The body ends when the store is dropped.
            self.answer.cut.store(true, Ordering::Release);
        }
        let status = match self.answer.status.load(Ordering::Relaxed) {
            0 => outcome.status().as_u16(),
            status => status,
        };
        store.data_mut().telemetry().set_status(status);
        // What the guest recorded is collected here, and its instance is free, before anybody is told.
        drop(store);
        if let Some(measured) = arrived.measured.take() {
            measured.end(status);
        }
        drop(permit);
        outcome
    }

    async fn handle(
        &self,
        store: &mut Store<State>,
        request: Request<Incoming>,
        sender: Sender,
    ) -> wasmtime::Result<()> {
        let metrics = self.service.metrics.clone();
        let request = request.map(|incoming| body::for_guest(RequestBody::new(incoming, metrics)));
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let answer = Arc::clone(&self.answer);
        let response = store.data_mut().http().new_response_outparam_from_callback(move |response| {
            let status = response.as_ref().map_or(Outcome::Declined.status().as_u16(), |r| r.status().as_u16());
            answer.status.store(status, Ordering::Relaxed);
            // Nobody receives it when the client has gone.
            let _ = sender.send(response);
        })?;
        let proxy = self.service.parts.pre.instantiate_async(&mut *store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, response).await
    }

    /// Counts and reports how the guest ended.
    fn judge(&self, store: &mut Observed<State>, result: wasmtime::Result<()>) -> Outcome {
        let report = |kind, text: &str| self.service.parts.reporter.report(&self.method, &self.path, kind, text);
        let reason = store.finish(&result);
        let Err(error) = result else {
            if self.answer.status.load(Ordering::Relaxed) == 0 {
                report("no response", "the component returned without setting one");
            }
            return Outcome::Returned;
        };
        if error.is::<Killed>() {
            report("killed", "the process is shutting down");
            return Outcome::Killed;
        }
        report("trap", &format!("{}: {}", reason.unwrap_or("other"), error.root_cause()));
        if error.is::<DeadlineExceeded>() { Outcome::Late } else { Outcome::Failed }
    }
}
