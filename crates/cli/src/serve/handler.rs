//! Requests: each gets an instance of its own, and an answer however the guest ends.
//!
//! In comes a request from the listener, out goes a response. Routing, admission and the store are
//! the route table's and the component's.

pub(super) mod body;
mod cookie;
mod last_read;
mod outcome;
mod pending;
mod place;
mod prefetch;
mod response;
mod stall;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmetry_host::Counter;
use wasmetry_host::propagation::Sampler;
use wasmetry_host::record::TraceContext;
use wasmetry_wasmtime::{
    AbortReason, DeadlineExceeded, Exited, HttpMetrics, Killed, ObservedStore, RefusalReason, ServerSpan, TelemetryView,
};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::component::State;
use super::component::admission::Permit;
use super::config::route;
use super::fault::{InstanceFault, MountFaults, RequestFault};
use super::limits;
use super::limits::service::{LimitsInForce, ServiceLimits};
use super::listener::client::{ClientAddress, ClientCounts, ClientSlot};
use super::listener::connection_set::{Activity, Phase};
use super::table::{Mount, RouteTable};
use crate::guest::share::Slot;
use body::{RequestBody, ResponseBody, Upload};
use outcome::{Ended, Outcome};
use pending::PendingRequest;
use place::RequestPlaces;
use prefetch::Prefetched;
use response::{AwaitingClient, Client, Delivery};
use stall::Stall;

/// The parts that a [`Service`] is built from.
pub(super) struct Parts {
    /// The sampler of server spans. Without one the host records no server spans and passes trace
    /// headers to the guests as they came.
    pub(super) sampler: Option<Sampler>,
    /// Counts the requests for which no component is mounted.
    pub(super) unrouted: Counter,
    /// Cancelled to end all guests that still run.
    pub(super) killed: CancellationToken,
    /// The limits of clients.
    pub(super) limits: LimitsInForce,
    /// The connections that clients may have.
    pub(super) connections: usize,
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
    /// The requests in progress of each client, if they are limited.
    clients: ClientCounts,
    /// The places of requests in progress among the connections of clients.
    places: RequestPlaces,
}

impl Service {
    pub(super) fn new(parts: Parts, table: RouteTable) -> Self {
        let guests = TaskTracker::new();
        // A closed tracker can be waited for; it still takes tasks.
        guests.close();
        let per_tenant = parts.limits.get().requests_per_tenant();
        let places = RequestPlaces::new(parts.connections, table.owners(), per_tenant);
        Self { parts, table: RwLock::new(Arc::new(table)), guests, clients: ClientCounts::default(), places }
    }

    /// Returns the route table in force.
    pub(super) fn table(&self) -> Arc<RouteTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the limits of clients, for connections and requests from now on.
    pub(super) fn set_limits(&self, limits: ServiceLimits) {
        self.parts.limits.set(limits);
        self.places.set_per_owner(limits.requests_per_tenant());
    }

    /// Replaces the route table for all requests from now on; those in progress keep their
    /// component.
    pub(super) fn set_table(&self, table: RouteTable) {
        self.places.set_owners(table.owners());
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

    /// Answers one request. The place that comes with the response is to be dropped at the end of
    /// the response's body.
    pub(super) async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> (Response<ResponseBody>, Option<Slot>) {
        let mut place = None;
        let response = self.answer(request, &mut place).await;
        (response, place)
    }

    /// Answers one request, which takes its place when its connection can make no room any more.
    async fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        place: &mut Option<Slot>,
    ) -> Response<ResponseBody> {
        let activity = request.extensions_mut().remove::<Activity>();
        let client = request.extensions_mut().remove::<ClientAddress>();
        let limits = self.parts.limits.get();
        cookie::remove_session(request.headers_mut());
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
        // A server span replaces the caller in the headers.
        let caller = caller(&request);
        let pending = PendingRequest {
            measured: Some(mount.metrics.start(request.method().as_str())),
            span: sampler.map(|sampler| {
                let recording = mount.component.observed.recording();
                ServerSpan::receive(&mut request, mount.route.as_str(), sampler, &recording.redaction)
            }),
            caller,
            is_head: request.method() == Method::HEAD,
            mount: Arc::clone(&mount),
        };
        if host.is_none() {
            return pending.refuse(StatusCode::BAD_REQUEST, NO_HOST);
        }
        if limits.exceeds_body(request.body().size_hint().lower()) {
            return pending.refuse_client(AbortReason::BodyLimit);
        }
        let client_slot = match client.filter(|_| limits.client_requests != 0) {
            Some(client) => match self.clients.take(client, limits.client_requests) {
                Some(slot) => Some(slot),
                None => return pending.refuse_client(AbortReason::ClientLimit),
            },
            None => None,
        };
        let enter = |phase| {
            if let Some(activity) = &activity {
                activity.enter(phase);
            }
        };
        // The connection makes room for others as long as no instance waits for its body.
        enter(Phase::Body);
        let (head, incoming) = request.into_parts();
        let body = Prefetched::receive(&head.headers, incoming).await;
        if limits.exceeds_body(body.size_hint().lower()) {
            return pending.refuse_client(AbortReason::BodyLimit);
        }
        let request = Request::from_parts(head, body);
        let mut take_place = || {
            enter(Phase::Busy);
            *place = self.places.take(&mount.component.owner);
            if place.is_some() { Ok(()) } else { Err(RefusalReason::TenantLimit) }
        };
        let is_upload = !request.body().is_complete();
        if !is_upload && let Err(reason) = take_place() {
            return pending.refuse_instance(reason);
        }
        let mut fault = mount.faults.as_ref().and_then(MountFaults::next);
        match fault.take() {
            Some(RequestFault::Error) => return pending.refuse(StatusCode::INTERNAL_SERVER_ERROR, DRILLED),
            Some(RequestFault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(RequestFault::Wait(wait)) => mount.component.admission.wait_for(wait).await,
            Some(RequestFault::Record(record)) => record(),
            other => fault = other,
        }
        let admission = &mount.component.admission;
        let admitted = match fault {
            Some(RequestFault::Refusal) => Err(RefusalReason::QueueFull),
            _ if is_upload => match admission.admit_upload().await {
                Ok((permit, upload)) => take_place().map(|()| (permit, Some(upload))),
                Err(reason) => Err(reason),
            },
            _ => admission.admit().await.map(|permit| (permit, None)),
        };
        let (permit, upload) = match admitted {
            Ok(admitted) => admitted,
            Err(reason) => {
                enter(Phase::Busy);
                return pending.refuse_instance(reason);
            }
        };
        let (sender, receiver) = oneshot::channel();
        let call = GuestCall {
            service: Arc::clone(self),
            mount: Arc::clone(&mount),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            client: Arc::default(),
            limits,
            _client_slot: client_slot,
            fault: match fault {
                Some(RequestFault::Instance(fault)) => Some(fault),
                _ => None,
            },
        };
        let awaiting = AwaitingClient::new(&call.client);
        // The task owns the store, so that the guest runs to its end when the client leaves.
        let upload = Arc::new(Upload::new(upload));
        self.guests.spawn(call.run(request, sender, permit, upload, pending));
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

/// The answer to a request into which a drill has injected an error.
const DRILLED: &str = "a drill has injected this error";

/// Returns the span that the client has named.
fn caller<B>(request: &Request<B>) -> Option<TraceContext> {
    TraceContext::from_headers(request.headers().get_all("traceparent").iter().map(HeaderValue::as_bytes))
}

/// A response by the host itself: one line of text that reveals no internals.
fn host_response(status: StatusCode, text: &str, metrics: Option<&HttpMetrics>) -> Response<ResponseBody> {
    let mut response = Response::new(body::line(text, metrics));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The call of a guest for one request.
struct GuestCall {
    service: Arc<Service>,
    mount: Arc<Mount>,
    method: Method,
    path: String,
    client: Arc<Client>,
    /// The limits of clients when the request arrived.
    limits: ServiceLimits,
    /// Its place among the requests of its client, if they are limited.
    _client_slot: Option<ClientSlot>,
    /// The fault that a drill has injected.
    fault: Option<InstanceFault>,
}

impl GuestCall {
    /// Runs the guest to its end, then collects its telemetry and records the request's metrics.
    async fn run(
        self,
        request: Request<Prefetched<Incoming>>,
        sender: oneshot::Sender<Response<ResponseBody>>,
        permit: Permit,
        upload: Arc<Upload>,
        mut pending: PendingRequest,
    ) {
        let start = Instant::now();
        let span = pending.span.take();
        let parts = &self.service.parts;
        let mut store = self.mount.component.store(&request, span);
        if let Some(measured) = &pending.measured {
            store.data_mut().telemetry().set_arrival(measured.arrival());
        }
        let metrics = &self.mount.metrics;
        let mut delivery = Delivery::new(sender, &self.client, &self.method, metrics.clone());
        let busy_timer = store.busy_timer();
        let killed = parts.killed.clone();
        let limit = match self.fault {
            Some(InstanceFault::Deadline) => limits::DRILL_DEADLINE,
            _ => self.mount.component.spec.request_timeout + limits::DEADLINE_GRACE,
        };
        let result = {
            let outparam = delivery.outparam.clone();
            let mut guest = pin!(busy_timer.measure(self.handle(&mut store, request, &upload, outparam)));
            let start = Instant::now();
            let mut stall = Stall::new(self.limits, start);
            loop {
                let advancing = poll_fn(|context| {
                    let polled = guest.as_mut().poll(context);
                    if polled.is_pending() {
                        delivery.advance();
                    }
                    polled
                });
                let left = limit.saturating_sub(start.elapsed());
                let check = tokio::time::timeout(stall.next_check(left), advancing);
                match killed.run_until_cancelled(check).await {
                    Some(Ok(result)) => break Ended::Itself(result),
                    None => break Ended::Itself(Err(wasmtime::Error::new(Killed))),
                    Some(Err(_)) => {}
                }
                let now = Instant::now();
                if now.saturating_duration_since(start) >= limit {
                    // It waits in a host call, where the epoch does not interrupt it.
                    break Ended::wait_of(guest.as_mut(), &upload, &delivery);
                }
                let is_contended = self.mount.component.admission.is_contended();
                if stall.is_over(self.client.progress(), is_contended, now) {
                    match Ended::wait_of(guest.as_mut(), &upload, &delivery) {
                        // Its instance goes to a client that does not stall.
                        ended @ (Ended::Itself(_) | Ended::WaitingForClient) => break ended,
                        Ended::Waiting => stall.reset(now),
                    }
                }
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
        if let Some(InstanceFault::Memory(share)) = self.fault {
            // Now that the guest has ended, it is denied nothing.
            let telemetry = store.data_mut().telemetry();
            let wanted = (share * self.mount.component.spec.memory as f64) as usize;
            telemetry.take_memory(wanted.saturating_sub(telemetry.memory_bytes()));
        }
        // Collects what the guest recorded and frees its instance, before the client gets the
        // response of a guest that has not waited.
        let exported = {
            let deadline = start + self.mount.component.spec.request_timeout;
            last_read::end(store, deadline, &self.service.parts.killed).await
        };
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
        request: Request<Prefetched<Incoming>>,
        upload: &Arc<Upload>,
        outparam: response::Outparam,
    ) -> wasmtime::Result<()> {
        let request = request.map(|body| {
            let (metrics, client) = (self.mount.metrics.clone(), Arc::clone(&self.client));
            body::for_guest(RequestBody::new(body, metrics, client, Arc::clone(upload), self.limits))
        });
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let set = move |response| outparam.set(response);
        let response = store.data_mut().http().new_response_outparam_from_callback(set)?;
        let start = Instant::now();
        let proxy = self.mount.component.pre.instantiate_async(&mut *store).await?;
        self.mount.component.observed.record_start(start.elapsed());
        match self.fault {
            None | Some(InstanceFault::Memory(_)) => {}
            Some(InstanceFault::Deadline) => return std::future::pending().await,
            Some(fault) => {
                if fault == InstanceFault::OutOfMemory {
                    let beyond = usize::try_from(self.mount.component.spec.memory).unwrap_or(usize::MAX);
                    store.data_mut().telemetry().take_memory(beyond.saturating_add(1));
                }
                return Err(wasmtime::Trap::UnreachableCodeReached.into());
            }
        }
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
                if self.client.is_over_limit() {
                    return Outcome::BodyTooLarge;
                }
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
        if self.client.is_over_limit() && !is_killed && !is_late {
            return Outcome::BodyTooLarge;
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
            AbortReason::GuestEnded
            | AbortReason::ClientGone
            | AbortReason::ClientTimeout
            | AbortReason::BodyLimit
            | AbortReason::ClientLimit => {}
        }
    }

    fn report(&self, what: &str, why: &str, route: Option<&str>) {
        self.mount.component.reporter.report(&self.method, &self.path, route, what, why);
    }
}
