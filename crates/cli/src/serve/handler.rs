//! Requests: an instance for each, and an answer whatever becomes of it.

pub(super) mod body;

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmetry_host::Counter;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::{DeadlineExceeded, HttpMetrics, HttpRequest, Killed, ObservedStore, ServerSpan, TelemetryView};
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::component::State;
use super::component::admission::Refused;
use super::config::route;
use super::limits;
use super::output::Output;
use super::table::{Mount, RouteTable};
use body::{GuestBody, RequestBody, ResponseBody};

/// What a [`Service`] is made of.
pub(super) struct Parts {
    /// Which traces are recorded; without it, there are no server spans, and trace headers are the guests' affair.
    pub(super) sampler: Option<Sampler>,
    /// Requests for which no component is mounted.
    pub(super) unrouted: Counter,
    /// Ends the guests that still run.
    pub(super) killed: CancellationToken,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
}

/// Answers each request by an instance of the component that is mounted where it goes.
///
/// A request counts as in flight from its arrival until its guest has ended, also where the client has gone or
/// the response was complete before; the duration is that time, waiting for an instance included. The status
/// is that of the response, 499 where the client went away before the guest was started.
pub(super) struct Service {
    parts: Parts,
    table: RwLock<Arc<RouteTable>>,
    guests: TaskTracker,
}

impl Service {
    pub(super) fn new(parts: Parts, table: RouteTable) -> Self {
        let guests = TaskTracker::new();
        // It may be waited for from now on; it takes tasks all the same.
        guests.close();
        Self { parts, table: RwLock::new(Arc::new(table)), guests }
    }

    /// What is served now.
    pub(super) fn table(&self) -> Arc<RouteTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves something else from the next request on; those in progress go on as they are.
    pub(super) fn set_table(&self, table: RouteTable) {
        let old = std::mem::replace(&mut *self.table.write().unwrap_or_else(PoisonError::into_inner), Arc::new(table));
        // Freeing what was compiled is not done under the lock.
        drop(old);
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
        let host = route::requested_host(request.uri(), request.headers());
        let mount = self.table().routes.find(host.as_deref(), request.uri().path()).cloned();
        let Some(mount) = mount else {
            self.parts.unrouted.inc();
            return match host {
                Some(_) => own(StatusCode::NOT_FOUND, "nothing is served here", None),
                None => own(StatusCode::BAD_REQUEST, NO_HOST, None),
            };
        };
        let sampler = self.parts.sampler.as_ref();
        let arrived = Arrived {
            measured: Some(mount.metrics.start(request.method().as_str())),
            span: sampler.map(|sampler| ServerSpan::receive(&mut request, mount.route.as_str(), sampler)),
            mount: Arc::clone(&mount),
        };
        if host.is_none() {
            return arrived.refuse(StatusCode::BAD_REQUEST, NO_HOST);
        }
        let permit = match mount.component.admission.admit().await {
            Ok(permit) => permit,
            Err(Refused::Full) => {
                return arrived
                    .refuse(StatusCode::SERVICE_UNAVAILABLE, "too many requests are waiting; try again later");
            }
            Err(Refused::Late) => {
                return arrived
                    .refuse(StatusCode::SERVICE_UNAVAILABLE, "no instance became free in time; try again later");
            }
        };
        let (sender, receiver) = oneshot::channel();
        let call = Call {
            service: Arc::clone(self),
            mount: Arc::clone(&mount),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            answer: Arc::new(Answer::default()),
        };
        let answer = Arc::clone(&call.answer);
        // The task owns the store, so that a client that goes away takes nothing with it.
        let task = self.guests.spawn(call.run(request, sender, permit, arrived));
        match receiver.await {
            Ok(Ok(response)) => {
                response.map(|body| Either::Left(GuestBody::new(body, mount.metrics.clone(), Arc::clone(&answer.cut))))
            }
            Ok(Err(_)) => own(Outcome::Declined.status(), Outcome::Declined.text(), Some(&mount.metrics)),
            // The guest set no response; it is over or will be, and its outcome is the answer.
            Err(_) => {
                let outcome = task.await.unwrap_or(Outcome::Failed);
                own(outcome.status(), outcome.text(), Some(&mount.metrics))
            }
        }
    }
}

/// wasi:http gives every request an authority, so one without cannot be passed on.
const NO_HOST: &str = "the request has no valid Host header";

/// A response of the host's own: one line, which tells nothing of the inside.
fn own(status: StatusCode, text: &str, metrics: Option<&HttpMetrics>) -> Response<ResponseBody> {
    let mut response = Response::new(body::line(text, metrics));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A request that has arrived and for which no guest has been started.
///
/// Dropping it means that its client went away.
struct Arrived {
    measured: Option<HttpRequest>,
    span: Option<ServerSpan>,
    mount: Arc<Mount>,
}

impl Arrived {
    /// Answers a request that gets no instance.
    fn refuse(mut self, status: StatusCode, text: &str) -> Response<ResponseBody> {
        self.end_span(Some(status.as_u16()));
        if let Some(measured) = self.measured.take() {
            measured.end(status.as_u16());
        }
        own(status, text, Some(&self.mount.metrics))
    }

    /// Ends the span, to which the duration's exemplar then leads.
    fn end_span(&mut self, status: Option<u16>) {
        let Some(span) = self.span.take() else { return };
        let exported = self.mount.component.observed.refuse(span, status);
        if let Some(measured) = &mut self.measured {
            measured.set_trace(exported);
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.end_span(None);
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
    mount: Arc<Mount>,
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
        let span = arrived.span.take();
        let is_traced = span.is_some();
        let parts = &self.service.parts;
        let mut store = self.mount.component.store(parts.stdout.clone(), parts.stderr.clone(), span);
        if !is_traced {
            store.data_mut().telemetry().set_caller(&request);
        }
        let busy_timer = store.busy_timer();
        let killed = self.service.parts.killed.clone();
        let limit = self.mount.component.spec.request_timeout + limits::DEADLINE_GRACE;
        let guest = tokio::time::timeout(limit, busy_timer.measure(self.handle(&mut store, request, sender)));
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
        let exported = store.end();
        if let Some(mut measured) = arrived.measured.take() {
            measured.set_trace(exported);
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
        let metrics = self.mount.metrics.clone();
        let request = request.map(|incoming| body::for_guest(RequestBody::new(incoming, metrics)));
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let answer = Arc::clone(&self.answer);
        let response = store.data_mut().http().new_response_outparam_from_callback(move |response| {
            let status = response.as_ref().map_or(Outcome::Declined.status().as_u16(), |r| r.status().as_u16());
            answer.status.store(status, Ordering::Relaxed);
            // Nobody receives it when the client has gone.
            let _ = sender.send(response);
        })?;
        let proxy = self.mount.component.pre.instantiate_async(&mut *store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, response).await
    }

    /// Counts and reports how the guest ended.
    fn judge(&self, store: &mut ObservedStore<State>, result: wasmtime::Result<()>) -> Outcome {
        let report = |kind, text: &str| self.mount.component.reporter.report(&self.method, &self.path, kind, text);
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
