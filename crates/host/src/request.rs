//! The logs and spans of one request.
//!
//! In come the records of a guest's rings, the calls of the handle API, and the lines that a guest
//! prints. Out come finished logs and spans to a [`Sink`]: at once, or when the request is kept.
//! The folder does not know destinations or formats.

mod access;
mod attribute;
pub(crate) mod exception;
mod exemplar;
mod facts;
pub(crate) mod filter;
mod handle_api;
pub(crate) mod open_span;
mod output;
mod printed_panic;
pub mod propagation;
pub(crate) mod rate;
mod recording;
pub(crate) mod ring_record;
mod sink;
mod tail_buffer;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmetry_abi::ring::Record;

use crate::aggregate::exemplar::{ExemplarContext, PendingExemplar};
use crate::declaration::site::Site;
use crate::memory::budget::ReadBudget;
use crate::record::{SpanEvent, SpanRecord, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::request::exception::Exception;
use crate::request::exemplar::RequestExemplars;
use crate::request::facts::ReachedSites;
use crate::request::open_span::OpenSpans;
use crate::request::printed_panic::PrintedPanic;
use crate::request::propagation::Sampler;
use crate::request::ring_record::Sampling;
use crate::request::ring_record::site_hash;
use crate::request::tail_buffer::{BufferedRecord, TailBuffer};
use crate::{Identity, StoreMemory};

pub use access::{AccessLog, HttpSummary, InvalidAccessLog};
pub use attribute::RequestAttributes;
pub use facts::{HandleSite, RequestFacts, SeriesLabels};
pub use output::PrintedLines;
pub use recording::{Outcome, Recording};
use sink::Observer;
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
    spans: OpenSpans,
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
    /// A span of the trace that the guest has begun, for the record of a request without a trace.
    guest_span: Option<TraceContext>,
    printed_panic: Arc<Mutex<PrintedPanic>>,
    /// The sites that the request has reached; `None` if the sink receives no facts of requests.
    reached: Option<ReachedSites>,
    /// The facts of a request that has ended, until they have the series that it touched.
    facts: Option<Box<RequestFacts>>,
    /// `true` if sampled spans are exported at once.
    exports_spans: bool,
    /// `true` if the sink may observe a request that is not exported.
    may_observe: bool,
    /// `true` if the request has ended, and the sink observes it.
    is_observed: bool,
    /// `true` if the request has ended, and was slow.
    is_slow: bool,
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
        let reached = sink.receives_facts().then(ReachedSites::default);
        let (exports_spans, may_observe) = (sink.exports_spans(), sink.observes_requests());
        let (charge, limits) = (|| component.store_charge(), component.limits());
        Self {
            spans: OpenSpans::new(charge(), limits),
            tail: TailBuffer::new(charge(), limits),
            component,
            identity,
            sink,
            recording,
            sites,
            sampling: Sampling::default(),
            exemplars: RequestExemplars::default(),
            attributes: RequestAttributes::default(),
            exception: None,
            has_exception_event: false,
            has_panicked: false,
            has_logged_error: false,
            http: None,
            caller: None,
            guest_span: None,
            printed_panic: Arc::default(),
            reached,
            facts: None,
            exports_spans,
            may_observe,
            is_observed: false,
            is_slow: false,
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

    /// Sets the memory of the guest's store, which bounds and shows what waits here. Call it before
    /// the first record.
    pub fn set_memory(&mut self, memory: &StoreMemory) {
        self.spans = OpenSpans::new(memory.charge(), self.component.limits());
        self.tail = TailBuffer::new(memory.charge(), self.component.limits());
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
        self.spans.set_request(context.span_id);
        self.exemplars.start(context, self.exports_spans, &self.component, now);
    }

    /// The span of the request if it is exported: it is sampled, or the request has ended and was
    /// kept.
    pub fn exported_context(&self) -> Option<TraceContext> {
        self.exemplars.exported_context()
    }

    /// Returns the context in which a read takes exemplars, or `None` if the request's trace will
    /// not be exported.
    pub(crate) fn exemplar_context(&mut self, time: u64) -> Option<ExemplarContext<'_>> {
        self.exemplars.read_context(time, self.may_show_trace())
    }

    /// Adds a value that the guest has observed by the handle API.
    pub(crate) fn observed(&mut self, value: impl FnOnce() -> PendingExemplar) {
        self.exemplars.observe(self.may_show_trace(), value);
    }

    /// Returns `true` if an exemplar may refer to the request: its trace may be exported, or only
    /// be observed where none is exported.
    fn may_show_trace(&self) -> bool {
        self.recording.may_keep() || (self.may_observe && !self.exports_spans)
    }

    /// Exports a span of the host's own, such as the server span, or passes it to the observer if
    /// the request is only observed.
    pub fn span(&self, mut span: SpanRecord) {
        span.is_slow = self.is_slow && span.is_request();
        if self.is_observed {
            self.sink.observed_span(&self.identity, span);
        } else {
            self.sink.span(&self.identity, span);
        }
    }

    /// Returns `true` if a span of the host's is to be passed to [`span`](Self::span): it is
    /// exported, or the request has ended and is kept or observed.
    pub fn wants_span(&self, span: TraceContext, is_kept: bool) -> bool {
        is_kept || self.is_observed || (span.is_sampled() && self.exports_spans)
    }

    /// Returns `true` if the request has ended and is observed, but not exported.
    pub fn is_observed(&self) -> bool {
        self.is_observed
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
        self.deliver_facts();
        if let Some(reached) = &mut self.reached {
            *reached = ReachedSites::default();
        }
        self.attributes = RequestAttributes::default();
        (self.exception, self.has_exception_event) = (None, false);
        (self.has_panicked, self.has_logged_error) = (false, false);
        (self.http, self.caller, self.guest_span) = (None, None, None);
        (self.is_observed, self.is_slow) = (false, false);
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
        if !self.recording.may_keep() && !self.may_observe {
            return;
        }
        if !self.tail.has_memory() {
            return self.component.count(HostDropReason::RecordMemory, 1);
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
        self.is_slow = took > self.recording.slow();
        if let Outcome::Ended(reason) = outcome
            && !NO_PANICS.contains(&reason)
        {
            self.receive_printed_panic(now);
            self.has_panicked = self.exception.as_ref().is_some_and(Exception::is_panic);
        }
        let buffered = self.tail.take();
        self.is_observed = !is_kept && self.is_selected(outcome, now);
        if is_kept {
            self.export_buffered(buffered, now);
        } else if self.is_observed {
            let sink = Arc::clone(&self.sink);
            self.sink = Arc::new(Observer(Arc::clone(&sink)));
            self.export_buffered(buffered, now);
            self.sink = sink;
        }
        let description = self.panic().map(|(_, description)| description);
        let reason = match outcome {
            Outcome::Ended(reason) => Some((reason, description.as_deref().unwrap_or(reason))),
            Outcome::Ok | Outcome::Failed => None,
        };
        let is_shown = is_kept || (self.is_observed && !self.exports_spans);
        self.exemplars.finish(is_shown, &self.component, now);
        for ended in self.spans.close(now, reason) {
            if ended.is_exported || is_kept {
                self.sink.span(&self.identity, ended.span);
            } else if self.is_observed {
                self.sink.observed_span(&self.identity, ended.span);
            }
        }
        self.log_access(outcome, took, now);
        self.finish_facts(outcome, took, now, is_kept);
        is_kept
    }

    /// Returns `true` if the sink observes the request, which is not kept.
    fn is_selected(&self, outcome: Outcome<'_>, now: u64) -> bool {
        let Some(context) = self.exemplars.context().filter(|_| self.may_observe) else { return false };
        let is_exported = context.is_sampled() && self.exports_spans;
        !is_exported && self.sink.selects(&self.identity, context.trace_id, outcome, self.is_slow, now)
    }

    /// Exports the records of a request that is kept, as many as a read may cost.
    fn export_buffered(&mut self, buffered: VecDeque<BufferedRecord>, now: u64) {
        let declared = self.sites.clone();
        let mut budget = ReadBudget::new(self.component.limits().read());
        let mut over_budget = 0;
        for record in buffered {
            match record {
                BufferedRecord::Ring(bytes, _) if !budget.take_record(bytes.len() as u64) => over_budget += 1,
                BufferedRecord::Ring(bytes, defined) => {
                    if let Some(record) = Record::decode(&bytes) {
                        let declared = || site_hash(&record).and_then(|hash| declared.get(&hash));
                        let site = defined.as_ref().or_else(declared);
                        let exported = self.export(&record, site.map(|site| &**site), false, now);
                        budget.spend_record_bytes(exported);
                    }
                }
                BufferedRecord::Log(log) => self.sink.log(&self.identity, *log),
                BufferedRecord::Span(span) => self.sink.span(&self.identity, *span),
            }
        }
        if over_budget > 0 {
            self.component.count(HostDropReason::RecordBudget, over_budget);
        }
    }
}
