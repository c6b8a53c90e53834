//! The guest's response on its way to the client.
//!
//! A guest may trap, exit or drop its body at any point, and the client may leave. A response
//! therefore waits until its guest waits or ends: up to then, one that turns out to be invalid is
//! replaced by an answer of the host. In comes what the guest has set and written, out go one
//! response, its status, and the reason if it was aborted.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body_util::Either;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmetry_wasmtime::{AbortReason, HttpMetrics};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::Outcome;
use super::body::{ResponseBody, data_len};
use super::host_response;

/// The status of a request whose client left before it was answered, as nginx has it. It is counted
/// and not sent.
pub(super) const CLIENT_GONE: u16 = 499;

/// The client of a request.
#[derive(Debug, Default)]
pub(super) struct Client {
    is_gone: AtomicBool,
    /// `true` once it has sent more of a body than it may.
    is_over_limit: AtomicBool,
    /// Bytes of both bodies that have passed.
    progress: AtomicU64,
}

impl Client {
    /// Returns `true` if the client left before it had the whole response.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if it has sent more of a body than it may.
    pub(super) fn is_over_limit(&self) -> bool {
        self.is_over_limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_over_limit(&self) {
        self.is_over_limit.store(true, Ordering::Relaxed);
    }

    /// Notes that bytes of a body have passed.
    pub(super) fn progressed(&self, bytes: u64) {
        self.progress.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of both bodies that have passed.
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }
}

/// Marks the client as gone if it is dropped before [`answered`](Self::answered).
pub(super) struct AwaitingClient(Option<Arc<Client>>);

impl AwaitingClient {
    pub(super) fn new(client: &Arc<Client>) -> Self {
        Self(Some(Arc::clone(client)))
    }

    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for AwaitingClient {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            client.set_gone();
        }
    }
}

/// The response or the error code that a guest has set.
type Set = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// The place where the guest sets its response.
#[derive(Clone, Default)]
pub(super) struct Outparam(Arc<Mutex<Option<Set>>>);

impl Outparam {
    pub(super) fn set(&self, response: Set) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Set> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Delivers the response of one guest.
pub(super) struct Delivery {
    pub(super) outparam: Outparam,
    /// `None` after the response has been sent.
    sender: Option<oneshot::Sender<Response<ResponseBody>>>,
    client: Arc<Client>,
    metrics: HttpMetrics,
    is_head: bool,
    /// The response that is sent when the guest has been collected.
    last: Option<Response<ResponseBody>>,
    /// The status that the client gets.
    status: Option<StatusCode>,
    body: Option<Arc<SharedBody>>,
    /// Bytes in the body of a response of the host.
    host_bytes: u64,
    /// Set if the client left before the response was sent.
    is_unanswered: bool,
    /// The reason for which the guest's response was replaced.
    replaced: Option<AbortReason>,
}

impl Delivery {
    pub(super) fn new(
        sender: oneshot::Sender<Response<ResponseBody>>,
        client: &Arc<Client>,
        method: &Method,
        metrics: HttpMetrics,
    ) -> Self {
        Self {
            outparam: Outparam::default(),
            sender: Some(sender),
            client: Arc::clone(client),
            metrics,
            is_head: method == Method::HEAD,
            last: None,
            status: None,
            body: None,
            host_bytes: 0,
            is_unanswered: false,
            replaced: None,
        }
    }

    /// Sends the response if the guest has set one. Call it when the guest waits.
    pub(super) fn advance(&mut self) {
        if let Some(set) = self.outparam.take() {
            let response = self.response(set, None);
            self.send(response);
        }
        if let Some(body) = &self.body {
            body.discard();
        }
    }

    /// Returns `true` if the client has not read what the guest has written.
    pub(super) fn is_client_slow(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_full())
    }

    /// Decides on the response, or on the rest of its body, when the guest has ended. Call it
    /// before the store is dropped, by which bodies end as if they were complete.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(body) = &self.body {
            body.finish(outcome);
        } else if let Some(set) = self.outparam.take() {
            self.last = Some(self.response(set, Some(outcome)));
        } else if self.status.is_none() {
            self.last = Some(self.host_response(outcome.status(), outcome.text()));
        }
    }

    /// Returns `true` if the guest has set a response or an error code.
    pub(super) fn has_response(&self) -> bool {
        self.status.is_some() || self.outparam.is_set()
    }

    /// Returns the status that the client gets.
    pub(super) fn status(&self) -> u16 {
        let is_unanswered = self.is_unanswered || self.sender.as_ref().is_some_and(oneshot::Sender::is_closed);
        self.status.filter(|_| !is_unanswered).map_or(CLIENT_GONE, |status| status.as_u16())
    }

    /// Returns the bytes in the body of the response: those that were sent, and those that will be.
    pub(super) fn response_bytes(&self) -> u64 {
        match &self.body {
            Some(body) => body.bytes(),
            None if self.status() == CLIENT_GONE => 0,
            None => self.host_bytes,
        }
    }

    /// Returns the reason for which the client does not get the guest's whole response.
    pub(super) fn abort_reason(&self, outcome: Outcome) -> Option<AbortReason> {
        match outcome {
            Outcome::ClientTimedOut => Some(AbortReason::ClientTimeout),
            _ if self.client.is_over_limit() => Some(AbortReason::BodyLimit),
            _ if self.status() == CLIENT_GONE || self.client.is_gone() => Some(AbortReason::ClientGone),
            _ => self.replaced.or_else(|| self.body.as_ref()?.abort_reason()),
        }
    }

    /// Sends the response of a guest that has ended.
    pub(super) fn send_last(&mut self) {
        if let Some(response) = self.last.take() {
            self.send(response);
        }
    }

    /// Makes the response to what the guest has set. `outcome` is the guest's end if it has ended.
    fn response(&mut self, set: Set, outcome: Option<Outcome>) -> Response<ResponseBody> {
        if self.client.is_over_limit() {
            // The guest may take a body that was cut for a whole one.
            return self.host_response(Outcome::BodyTooLarge.status(), Outcome::BodyTooLarge.text());
        }
        let Ok(response) = set else {
            return self.host_response(Outcome::Declined.status(), Outcome::Declined.text());
        };
        if response.status().is_informational() {
            return self.replace(AbortReason::InvalidStatus, None);
        }
        let (head, inner) = response.into_parts();
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let has_body = !(self.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED));
        let body = Arc::new(SharedBody::new(inner, Arc::clone(&self.client), has_body, length));
        match outcome {
            Some(outcome) => body.finish(outcome),
            None => body.pull(),
        }
        if let Some(reason) = body.abort_reason() {
            return self.replace(reason, outcome.filter(|outcome| *outcome != Outcome::Returned));
        }
        self.status = Some(head.status);
        self.body = Some(Arc::clone(&body));
        Response::from_parts(head, Either::Left(GuestBody { shared: body, metrics: self.metrics.clone() }))
    }

    /// Replaces the guest's response by one of the host.
    fn replace(&mut self, reason: AbortReason, outcome: Option<Outcome>) -> Response<ResponseBody> {
        self.replaced = Some(reason);
        let outcome = outcome.unwrap_or(Outcome::Trapped);
        self.host_response(outcome.status(), outcome.text())
    }

    fn host_response(&mut self, status: StatusCode, text: &str) -> Response<ResponseBody> {
        self.status = Some(status);
        // With its line break.
        self.host_bytes = if self.is_head { 0 } else { text.len() as u64 + 1 };
        host_response(status, text, Some(&self.metrics))
    }

    fn send(&mut self, response: Response<ResponseBody>) {
        // It fails if the client has left.
        if let Some(sender) = self.sender.take()
            && sender.send(response).is_err()
        {
            self.client.set_gone();
            self.is_unanswered = true;
        }
    }
}

/// The end of a guest's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyEnd {
    /// The guest has finished it.
    Complete,
    /// The guest dropped it, or finished it with another length than its `content-length`.
    Incomplete,
    /// The guest ended before it had finished it.
    GuestEnded,
}

/// The reader of a guest's body, which is the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Connected,
    /// It needs no more of the body: the answer to HEAD has none, or its length is reached.
    Satisfied,
    Gone,
}

/// The body of a guest's response. The connection reads it; the guest's task decides on its end.
struct SharedBody {
    state: Mutex<BodyState>,
    client: Arc<Client>,
    has_body: bool,
    length: Option<u64>,
}

struct BodyState {
    /// The body that the guest writes, until its end.
    inner: Option<HyperOutgoingBody>,
    /// Frames that were read from `inner` and not yet by the connection.
    frames: VecDeque<Frame<Bytes>>,
    end: Option<BodyEnd>,
    /// Wakes the connection.
    waker: Option<Waker>,
    reader: Reader,
    sent: u64,
}

impl SharedBody {
    fn new(inner: HyperOutgoingBody, client: Arc<Client>, has_body: bool, length: Option<u64>) -> Self {
        let state = BodyState {
            inner: Some(inner),
            frames: VecDeque::new(),
            end: None,
            waker: None,
            reader: Reader::Connected,
            sent: 0,
        };
        Self { state: Mutex::new(state), client, has_body, length }
    }

    /// Reads the frames that the guest has written, which are as many as wasi:http buffers.
    fn pull(&self) {
        self.lock().pull();
    }

    /// Reads on for a reader that needs no more, so that the guest can go on.
    fn discard(&self) {
        let mut state = self.lock();
        if state.reader == Reader::Satisfied {
            state.pull();
            state.frames.clear();
        }
    }

    /// Returns `true` if there are frames that the connection has not read.
    fn is_full(&self) -> bool {
        let mut state = self.lock();
        state.pull();
        state.reader == Reader::Connected && !state.frames.is_empty()
    }

    /// Decides on the end of the body: what the guest has not finished by now is cut, unless it has
    /// returned.
    fn finish(&self, outcome: Outcome) {
        let mut state = self.lock();
        state.pull();
        let end = if outcome == Outcome::Returned { BodyEnd::Complete } else { BodyEnd::GuestEnded };
        state.end.get_or_insert(end);
        state.inner = None;
    }

    /// Returns the bytes that the connection has read, and those that it will read.
    fn bytes(&self) -> u64 {
        let state = self.lock();
        let waiting = state.frames.iter().map(data_len).sum::<u64>();
        state.sent + if self.has_body { waiting } else { 0 }
    }

    fn abort_reason(&self) -> Option<AbortReason> {
        let state = self.lock();
        match state.end? {
            // A client that gets no body misses nothing.
            _ if !self.has_body || state.reader == Reader::Satisfied => None,
            BodyEnd::Complete => None,
            BodyEnd::Incomplete => Some(AbortReason::IncompleteBody),
            BodyEnd::GuestEnded => Some(AbortReason::GuestEnded),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BodyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyState {
    fn pull(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(frame) = self.poll_inner(&mut context) {
            match frame {
                Some(frame) => self.frames.push_back(frame),
                None => break,
            }
        }
        // Its own waker has just been replaced.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Reads the next frame from the guest; returns `None` at the end.
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let end = match std::task::ready!(Pin::new(inner).poll_frame(context)) {
            Some(Ok(frame)) => return Poll::Ready(Some(frame)),
            Some(Err(_)) => BodyEnd::Incomplete,
            None => BodyEnd::Complete,
        };
        self.inner = None;
        self.end = Some(end);
        Poll::Ready(None)
    }
}

/// The body of a guest's response, as the connection reads it.
///
/// A body that is not complete ends in an error, so that the connection is closed and no client
/// takes half a response for a whole one.
pub(in crate::serve) struct GuestBody {
    shared: Arc<SharedBody>,
    metrics: HttpMetrics,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut state = self.shared.lock();
        let frame = match state.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => state.poll_inner(context),
        };
        match frame {
            Poll::Ready(Some(frame)) => {
                let len = data_len(&frame);
                state.sent += len;
                self.shared.client.progressed(len);
                self.metrics.sent(len);
                Poll::Ready(Some(Ok(frame)))
            }
            // A guest may take a body that was cut for a whole one, and complete its response.
            Poll::Ready(None) if state.end == Some(BodyEnd::Complete) && !self.shared.client.is_over_limit() => {
                Poll::Ready(None)
            }
            Poll::Ready(None) => Poll::Ready(Some(Err("the component did not complete its response".into()))),
            Poll::Pending => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.end.is_some() && state.frames.is_empty() {
            return;
        }
        let is_whole = !self.shared.has_body || self.shared.length.is_some_and(|length| state.sent >= length);
        if is_whole {
            state.reader = Reader::Satisfied;
            state.waker = None;
            state.pull();
        } else {
            state.reader = Reader::Gone;
            // First, because the guest may trap at once: its writes fail from the next line on.
            self.shared.client.set_gone();
            state.inner = None;
        }
        state.frames.clear();
    }
}
