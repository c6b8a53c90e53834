//! Requests: each gets an instance of its own, and an answer however the guest ends.
//!
//! In comes a request from the listener, out goes a response. Routing, admission and the store are
//! the route table's and the component's.

pub(super) mod body;
mod response;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmetry_host::Counter;
use wasmetry_host::propagation::Sampler;
use wasmetry_wasmtime::{
    AbortReason, DeadlineExceeded, Exited, HttpMetrics, HttpRequest, Killed, ObservedStore, RefusalReason, ServerSpan,
    TelemetryView,
};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::component::admission::Permit;
use super::component::{GuestOutput, State};
use super::config::route;
use super::limits;
use super::table::{Mount, RouteTable};
use body::{RequestBody, ResponseBody, Upload};
use response::{AwaitingClient, CLIENT_GONE, Client, Delivery};

/// The parts that a [`Service`] is built from.
pub(super) struct Parts {
    /// The sampler of server spans. Without one the host records no server spans and passes trace
    /// headers to the guests as they came.
    pub(super) sampler: Option<Sampler>,
    /// Counts the requests for which no component is mounted.
    pub(super) unrouted: Counter,
    /// Cancelled to end all guests that still run.
    pub(super) killed: CancellationToken,
    /// The destination of the guests' stdout and stderr.
    pub(super) output: GuestOutput,
}

/// Answers each request with an instance of the component that is mounted at its host and path.
///
/// A request is in flight from its arrival until its guest has ended, even if the client has left
/// or has the whole response before. Its duration is that time, including the wait for an instance.
/// Its status is that of the response, or 499 if the client left before it was answered.
pub(super) struct Service {
    parts: Parts,
    table: RwLock<Arc<RouteTable>>,
    guests: TaskTracker,
}

impl Service {
    pub(super) fn new(parts: Parts, table: RouteTable) -> Self {
        let guests = TaskTracker::new();
        // A closed tracker can be waited for; it still takes tasks.
        guests.close();
        Self { parts, table: RwLock::new(Arc::new(table)), guests }
    }

    /// Returns the route table in force.
    pub(super) fn table(&self) -> Arc<RouteTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the route table for all requests from now on; those in progress keep their
    /// component.
    pub(super) fn set_table(&self, table: RouteTable) {
        let old = std::mem::replace(&mut *self.table.write().unwrap_or_else(PoisonError::into_inner), Arc::new(table));
        // Dropped after the lock is released, because freeing compiled code takes a while.
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
                Some(_) => host_response(StatusCode::NOT_FOUND, "nothing is served here", None),
                None => host_response(StatusCode::BAD_REQUEST, NO_HOST, None),
            };
        };
        let sampler = self.parts.sampler.as_ref();
        let pending = PendingRequest {
            measured: Some(mount.metrics.start(request.method().as_str())),
            span: sampler.map(|sampler| {
                let recording = mount.component.observed.recording();
                ServerSpan::receive(&mut request, mount.route.as_str(), sampler, &recording.redaction)
            }),
            mount: Arc::clone(&mount),
        };
        if host.is_none() {
            return pending.refuse(StatusCode::BAD_REQUEST, NO_HOST);
        }
        let permit = match mount.component.admission.admit().await {
            Ok(permit) => permit,
            Err(reason) => {
                mount.component.observed.refused(reason).inc();
                let text = match reason {
                    RefusalReason::WaitTimeout => "no instance became free in time; try again later",
                    _ => "too many requests are waiting; try again later",
                };
                return pending.refuse(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        let (sender, receiver) = oneshot::channel();
        let call = GuestCall {
            service: Arc::clone(self),
            mount: Arc::clone(&mount),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            client: Arc::default(),
        };
        let awaiting = AwaitingClient::new(&call.client);
        // The task owns the store, so that the guest runs to its end when the client leaves.
        self.guests.spawn(call.run(request, sender, permit, pending));
        let response = receiver.await;
        awaiting.answered();
        // The guest's task sends a response in any case, unless it panics.
        response
            .unwrap_or_else(|_| host_response(Outcome::Trapped.status(), Outcome::Trapped.text(), Some(&mount.metrics)))
    }
}

/// The answer to a request without a valid Host: wasi:http gives every request an authority, so
/// such a request cannot be passed to a guest.
const NO_HOST: &str = "the request has no valid Host header";

/// A response by the host itself: one line of text that reveals no internals.
fn host_response(status: StatusCode, text: &str, metrics: Option<&HttpMetrics>) -> Response<ResponseBody> {
    let mut response = Response::new(body::line(text, metrics));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A request that has arrived and whose guest has not been started.
///
/// It is dropped if its client leaves.
struct PendingRequest {
    measured: Option<HttpRequest>,
    span: Option<ServerSpan>,
    mount: Arc<Mount>,
}

impl PendingRequest {
    /// Answers a request that gets no instance.
    fn refuse(mut self, status: StatusCode, text: &'static str) -> Response<ResponseBody> {
        self.end_span(Some(status.as_u16()), text);
        if let Some(measured) = self.measured.take() {
            measured.end(status.as_u16());
        }
        host_response(status, text, Some(&self.mount.metrics))
    }

    /// Ends the span, makes it the exemplar of the request's duration if it is exported, and
    /// exports the request's record. Without a status, the client has left.
    fn end_span(&mut self, status: Option<u16>, text: &'static str) {
        let Some(measured) = &mut self.measured else { return };
        // The answer has a line break.
        let response_bytes = status.map_or(0, |_| text.len() as u64 + 1);
        let mut summary = measured.summary(status.unwrap_or(CLIENT_GONE), Some(0), Some(response_bytes));
        // Only an overload refuses a request with such a status.
        summary.error = status.filter(|status| *status >= 500).map(|_| ("503", text));
        let observed = &self.mount.component.observed;
        let exported = observed.refuse_http(self.span.take(), status, measured.elapsed(), Some(summary));
        measured.set_trace(exported);
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.end_span(None, "");
        if self.measured.is_some() {
            self.mount.metrics.aborted(AbortReason::ClientGone, None);
        }
    }
}

/// The end of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It returned.
    Returned,
    /// It set an error code in place of a response.
    Declined,
    /// It trapped, or its instance could not be made.
    Trapped,
    /// It was ended at its deadline.
    TimedOut,
    /// It waited at its deadline for a client that stalled.
    ClientTimedOut,
    /// It failed after its client had left.
    ClientGone,
    /// It was ended because the process shuts down.
    Killed,
}

impl Outcome {
    /// The status of the host's answer if the guest set no response.
    fn status(self) -> StatusCode {
        match self {
            Self::Returned | Self::Declined | Self::Trapped => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::Killed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The text of the host's answer if the guest set no response.
    fn text(self) -> &'static str {
        match self {
            Self::Returned => "the service gave no response",
            Self::Declined | Self::Trapped => "the service failed",
            Self::TimedOut => "the service did not respond in time",
            Self::ClientTimedOut => "the request did not arrive in time",
            Self::ClientGone => "the request is incomplete",
            Self::Killed => "the service is shutting down",
        }
    }
}

/// The end of a guest's task.
enum Ended {
    /// The guest ended by itself, or is killed.
    Itself(wasmtime::Result<()>),
    /// At its deadline, the guest waits for the client: for the rest of the upload, or until the
    /// client reads the response.
    WaitingForClient,
    /// At its deadline, the guest waits for something else.
    Waiting,
}

impl Ended {
    /// Returns what a guest waits for at its deadline. It is polled once more, so that its waker
    /// shows it.
    fn wait_of(
        guest: Pin<&mut impl Future<Output = wasmtime::Result<()>>>,
        upload: &Upload,
        delivery: &Delivery,
    ) -> Self {
        upload.start_poll();
        let woken = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&woken));
        // If it has just stopped waiting, the epoch ends it now.
        if let Poll::Ready(result) = guest.poll(&mut Context::from_waker(&waker)) {
            return Self::Itself(result);
        }
        woken.is_woken.store(false, Ordering::Relaxed);
        // Reading what the guest has written wakes a guest that waits to write more.
        let is_client_slow = delivery.is_client_slow() && woken.is_woken.load(Ordering::Relaxed);
        if upload.is_awaited() || is_client_slow { Self::WaitingForClient } else { Self::Waiting }
    }
}

/// A waker that notes that it was woken.
#[derive(Default)]
struct WakeFlag {
    is_woken: AtomicBool,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
    }
}

/// The call of a guest for one request.
struct GuestCall {
    service: Arc<Service>,
    mount: Arc<Mount>,
    method: Method,
    path: String,
    client: Arc<Client>,
}

impl GuestCall {
    /// Runs the guest to its end, then collects its telemetry and records the request's metrics.
    async fn run(
        self,
        request: Request<Incoming>,
        sender: oneshot::Sender<Response<ResponseBody>>,
        permit: Permit,
        mut pending: PendingRequest,
    ) {
        let span = pending.span.take();
        let parts = &self.service.parts;
        let mut store = self.mount.component.store(&request, span, &parts.output);
        if let Some(measured) = &pending.measured {
            store.data_mut().telemetry().set_arrival(measured.arrival());
        }
        let metrics = &self.mount.metrics;
        let mut delivery = Delivery::new(sender, &self.client, &self.method, metrics.clone());
        let upload = Arc::new(Upload::default());
        let busy_timer = store.busy_timer();
        let killed = parts.killed.clone();
        let limit = self.mount.component.spec.request_timeout + limits::DEADLINE_GRACE;
        let result = {
            let outparam = delivery.outparam.clone();
            let mut guest = pin!(busy_timer.measure(self.handle(&mut store, request, &upload, outparam)));
            let advancing = poll_fn(|context| {
                let polled = guest.as_mut().poll(context);
                if polled.is_pending() {
                    delivery.advance();
                }
                polled
            });
            let ended = killed.run_until_cancelled(tokio::time::timeout(limit, advancing)).await;
            match ended {
                Some(Ok(result)) => Ended::Itself(result),
                // It waits in a host call, where the epoch does not interrupt it.
                Some(Err(_)) => Ended::wait_of(guest, &upload, &delivery),
                None => Ended::Itself(Err(wasmtime::Error::new(Killed))),
            }
        };
        let outcome = match result {
            Ended::Itself(result) => self.finish(&mut store, result, &delivery),
            Ended::WaitingForClient => Outcome::ClientTimedOut,
            Ended::Waiting => self.finish(&mut store, Err(wasmtime::Error::new(DeadlineExceeded)), &delivery),
        };
        delivery.finish(outcome);
        let route = store.route();
        let abort_reason = delivery.abort_reason(outcome);
        if let Some(reason) = abort_reason {
            metrics.aborted(reason, route.as_ref());
            self.report_abort(reason, route.as_deref());
        }
        let status = delivery.status();
        store.data_mut().telemetry().set_status(status);
        if let Some(measured) = &mut pending.measured {
            measured.set_route(route);
            let mut summary = measured.summary(status, Some(upload.received()), Some(delivery.response_bytes()));
            summary.error = abort_reason.and_then(AbortReason::error);
            store.data_mut().telemetry().set_http_summary(summary);
        }
        // Collects what the guest recorded and frees its instance, before the client gets the
        // response of a guest that has not waited.
        let exported = store.end();
        if let Some(mut measured) = pending.measured.take() {
            measured.set_trace(exported);
            measured.end(status);
        }
        drop(permit);
        delivery.send_last();
    }

    /// Instantiates the component and calls its handler.
    async fn handle(
        &self,
        store: &mut Store<State>,
        request: Request<Incoming>,
        upload: &Arc<Upload>,
        outparam: response::Outparam,
    ) -> wasmtime::Result<()> {
        let request = request.map(|incoming| {
            let (metrics, client) = (self.mount.metrics.clone(), Arc::clone(&self.client));
            body::for_guest(RequestBody::new(incoming, metrics, client, Arc::clone(upload)))
        });
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let set = move |response| outparam.set(response);
        let response = store.data_mut().http().new_response_outparam_from_callback(set)?;
        let start = Instant::now();
        let proxy = self.mount.component.pre.instantiate_async(&mut *store).await?;
        self.mount.component.observed.record_start(start.elapsed());
        proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, response).await
    }

    /// Counts and reports the end of the guest.
    fn finish(&self, store: &mut ObservedStore<State>, result: wasmtime::Result<()>, delivery: &Delivery) -> Outcome {
        let error = match result {
            Err(error) => match error.downcast_ref() {
                Some(I32Exit(0)) => None,
                Some(I32Exit(code)) => Some(wasmtime::Error::new(Exited(*code))),
                None => Some(error),
            },
            Ok(()) => None,
        };
        let Some(error) = error else {
            if !delivery.has_response() {
                self.report("no response", "the component ended without setting one", store.route().as_deref());
            }
            return Outcome::Returned;
        };
        let is_killed = error.is::<Killed>();
        let is_late = error.is::<DeadlineExceeded>();
        if self.client.is_gone() && !is_killed && !is_late {
            // Guests fail in many ways when they read from or write to a client that has left.
            return Outcome::ClientGone;
        }
        let result = Err::<(), _>(error);
        let reason = store.finish(&result);
        let route = store.route();
        let route = route.as_deref();
        match result {
            _ if is_killed => {
                self.report("killed", "the process is shutting down", route);
                Outcome::Killed
            }
            Err(error) => {
                self.report("trap", &format!("{}: {}", reason.unwrap_or("other"), error.root_cause()), route);
                if is_late { Outcome::TimedOut } else { Outcome::Trapped }
            }
            Ok(()) => Outcome::Returned,
        }
    }

    /// Reports a response that the guest did not complete. Its end, if that is the reason, has been
    /// reported before.
    fn report_abort(&self, reason: AbortReason, route: Option<&str>) {
        match reason {
            AbortReason::IncompleteBody => {
                self.report(
                    "incomplete response",
                    "the component dropped its body, or its length is not its content-length",
                    route,
                );
            }
            AbortReason::InvalidStatus => {
                let why = "the component set a status from 100 to 199, which ends no request";
                self.report("invalid response", why, route);
            }
            AbortReason::GuestEnded | AbortReason::ClientGone | AbortReason::ClientTimeout => {}
        }
    }

    fn report(&self, what: &str, why: &str, route: Option<&str>) {
        self.mount.component.reporter.report(&self.method, &self.path, route, what, why);
    }
}
