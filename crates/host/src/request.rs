//! The logs and spans of one request.
//!
//! In come the records of a guest's rings, the calls of the handle API, and the lines that a guest
//! prints. Out come finished logs and spans to a [`Sink`]: at once, or when the request is kept.
//! The folder does not know destinations or formats.

mod access;
mod attribute;
pub(crate) mod exception;
mod exemplar;
pub(crate) mod filter;
mod handle_api;
pub(crate) mod open_span;
mod output;
mod printed_panic;
pub mod propagation;
mod recording;
pub(crate) mod ring_record;
mod sink;
mod tail_buffer;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmetry_abi::ring::Record;

use crate::Identity;
use crate::aggregate::exemplar::{ExemplarContext, PendingExemplar};
use crate::declaration::site::Site;
use crate::record::{SpanEvent, SpanRecord, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::request::exception::Exception;
use crate::request::exemplar::RequestExemplars;
use crate::request::open_span::OpenSpans;
use crate::request::printed_panic::PrintedPanic;
use crate::request::propagation::Sampler;
use crate::request::ring_record::Sampling;
use crate::request::ring_record::site_hash;
use crate::request::tail_buffer::{BufferedRecord, TailBuffer};

pub use access::{AccessLog, HttpSummary, InvalidAccessLog};
pub use attribute::RequestAttributes;
pub use output::PrintedLines;
pub use recording::{Outcome, Recording};
pub use sink::Sink;

/// The reasons for which a guest ends without a panic, also if it has caught one before.
const NO_PANICS: [&str; 3] = ["deadline", "killed", "exit"];

/// The logs and spans of one guest while it serves one request, or runs as a program.
///
/// Records of the export level go to the [`Sink`] at once. The others wait until
/// [`finish`](Self::finish): they are exported if the request is kept, and dropped otherwise. See
/// [`Recording`].
pub struct RequestTelemetry {
    component: Arc<ComponentState>,
    identity: Arc<Identity>,
    sink: Arc<dyn Sink>,
    recording: Arc<Recording>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    sampling: Sampling,
    /// The open spans that are exported when they end.
    exported_spans: OpenSpans,
    /// The open spans of the handle API that are exported only if the request is kept.
    buffered_spans: OpenSpans,
    tail: TailBuffer,
    exemplars: RequestExemplars,
    /// The attributes of the request's own span that the guest has set.
    attributes: RequestAttributes,
    /// The panic of the guest, else the last error of a handler.
    exception: Option<Exception>,
    /// `true` if a span of the guest has the exception as an event.
    has_exception_event: bool,
    /// `true` if the guest ended by its panic.
    has_panicked: bool,
    /// `true` if the guest has logged an error, or has recorded an exception.
    has_logged_error: bool,
    http: Option<HttpSummary>,
    /// The span of the caller, for the host's own logs of a request without a span.
    caller: Option<TraceContext>,
    printed_panic: Arc<Mutex<PrintedPanic>>,
}

impl fmt::Debug for RequestTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTelemetry")
            .field("identity", &self.identity)
            .field("buffered", &self.tail.len())
            .finish_non_exhaustive()
    }
}

impl RequestTelemetry {
    pub(crate) fn new(
        component: Arc<ComponentState>,
        sites: Arc<HashMap<u64, Arc<Site>>>,
        sink: Arc<dyn Sink>,
        recording: Arc<Recording>,
    ) -> Self {
        let identity = Arc::new(component.identity().clone());
        Self {
            component,
            identity,
            sink,
            recording,
            sites,
            sampling: Sampling::default(),
            exported_spans: OpenSpans::default(),
            buffered_spans: OpenSpans::default(),
            tail: TailBuffer::default(),
            exemplars: RequestExemplars::default(),
            attributes: RequestAttributes::default(),
            exception: None,
            has_exception_event: false,
            has_panicked: false,
            has_logged_error: false,
            http: None,
            caller: None,
            printed_panic: Arc::default(),
        }
    }

    /// The component of the guest.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The current settings.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Changes the settings for the records that follow.
    pub fn set_recording(&mut self, recording: Arc<Recording>) {
        self.recording = recording;
    }

    /// Sets the sampler of the traces that begin in the guest. It is used for the records of rings;
    /// a caller of the handle API makes the decision for its spans.
    pub fn set_sampler(&mut self, sampler: Sampler) {
        self.sampling.sampler = sampler;
    }

    /// Starts a request with this span, which the exemplars of its metrics refer to.
    ///
    /// The caller exports the span if it is sampled, or if [`finish`](Self::finish) returns `true`.
    /// Exemplars of the request before it that still wait are stored if that one's trace was
    /// exported. `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub fn set_context(&mut self, context: TraceContext, now: u64) {
        self.reset();
        self.sampling.request = Some(context);
        self.exemplars.start(context, &self.component, now);
    }

    /// The span of the request if it is exported: it is sampled, or the request has ended and was
    /// kept.
    pub fn exported_context(&self) -> Option<TraceContext> {
        self.exemplars.exported_context()
    }

    /// Returns the context in which a read takes exemplars, or `None` if the request's trace will
    /// not be exported.
    pub(crate) fn exemplar_context(&mut self, time: u64) -> Option<ExemplarContext<'_>> {
        self.exemplars.read_context(time, self.recording.may_keep())
    }

    /// Adds a value that the guest has observed by the handle API.
    pub(crate) fn observed(&mut self, value: impl FnOnce() -> PendingExemplar) {
        self.exemplars.observe(self.recording.may_keep(), value);
    }

    /// Exports a span of the host's own, such as the server span.
    pub fn span(&self, span: SpanRecord) {
        self.sink.span(&self.identity, span);
    }

    /// The request's error as attributes of a span of the host's: the value of `error.type`, and
    /// the description of the status. `None` if the guest has recorded neither a panic nor an error
    /// of a handler.
    ///
    /// It is known after [`finish`](Self::finish).
    pub fn error(&self) -> Option<(&str, String)> {
        self.exception.as_ref().map(|exception| (exception.kind(), exception.description()))
    }

    /// The same, if the guest ended by a panic.
    pub fn panic(&self) -> Option<(&str, String)> {
        self.error().filter(|_| self.has_panicked)
    }

    /// The event `exception` for a span of the host's, unless a span of the guest has it.
    ///
    /// It is known after [`finish`](Self::finish).
    pub fn exception_event(&self, now: u64) -> Option<SpanEvent> {
        self.exception.as_ref().filter(|_| !self.has_exception_event).map(|exception| exception.event(now))
    }

    /// Sets the span of the caller of a request without a span of its own. The host's logs of the
    /// request belong to it.
    pub fn set_caller(&mut self, caller: Option<TraceContext>) {
        self.reset();
        self.caller = caller;
    }

    /// Forgets what the request before it has left.
    fn reset(&mut self) {
        self.attributes = RequestAttributes::default();
        (self.exception, self.has_exception_event) = (None, false);
        (self.has_panicked, self.has_logged_error) = (false, false);
        (self.http, self.caller) = (None, None);
        self.printed_panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The span of the host's own logs of the request.
    fn trace(&self) -> Option<TraceContext> {
        self.exemplars.context().or(self.caller)
    }

    /// Takes the panic that a guest has printed, unless it has recorded one.
    fn receive_printed_panic(&mut self, now: u64) {
        let printed = self.printed_panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.exception.as_ref().is_none_or(|exception| !exception.is_panic())
            && let Some(printed) = printed
        {
            let context = self.trace();
            self.receive_exception(printed, context, 0, now);
        }
    }

    /// Keeps a record until the outcome of its request is known.
    fn buffer(&mut self, record: impl FnOnce() -> BufferedRecord) {
        if !self.recording.may_keep() {
            return;
        }
        let removed = self.tail.push(record());
        if removed > 0 {
            self.component.count(HostDropReason::HeldBack, removed);
        }
    }

    /// Ends the request, after its last records were read. Returns `true` if it is kept.
    ///
    /// Spans that are still open end at `now`, the wall clock in nanoseconds since 1970-01-01 00:00
    /// UTC. `took` is the duration of the request.
    pub fn finish(&mut self, outcome: Outcome<'_>, took: Duration, now: u64) -> bool {
        let is_kept = self.recording.keeps(outcome, took);
        if let Outcome::Ended(reason) = outcome
            && !NO_PANICS.contains(&reason)
        {
            self.receive_printed_panic(now);
            self.has_panicked = self.exception.as_ref().is_some_and(Exception::is_panic);
        }
        let buffered = self.tail.take();
        if is_kept {
            let declared = self.sites.clone();
            for record in buffered {
                match record {
                    BufferedRecord::Ring(bytes, defined) => {
                        if let Some(record) = Record::decode(&bytes) {
                            let declared = || site_hash(&record).and_then(|hash| declared.get(&hash));
                            let site = defined.as_ref().or_else(declared);
                            self.export(&record, site.map(|site| &**site), false, now);
                        }
                    }
                    BufferedRecord::Log(log) => self.sink.log(&self.identity, *log),
                    BufferedRecord::Span(span) => self.sink.span(&self.identity, *span),
                }
            }
        }
        let description = self.panic().map(|(_, description)| description);
        let reason = match outcome {
            Outcome::Ended(reason) => Some((reason, description.as_deref().unwrap_or(reason))),
            Outcome::Ok | Outcome::Failed => None,
        };
        self.exemplars.finish(is_kept, &self.component, now);
        let buffered = self.buffered_spans.close(now, reason).into_iter().filter(|_| is_kept);
        for span in self.exported_spans.close(now, reason).into_iter().chain(buffered) {
            self.sink.span(&self.identity, span);
        }
        self.log_access(outcome, took, now);
        is_kept
    }
}
