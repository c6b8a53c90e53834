//! The logs and spans of one request.
//!
//! In come the records of a guest's rings, the calls of the handle API, and the lines that a guest
//! prints. Out come finished logs and spans to a [`Sink`]: at once, or when the request is kept.
//! The folder does not know destinations or formats.

mod attribute;
mod exemplar;
pub(crate) mod filter;
mod handle_api;
pub(crate) mod open_span;
mod output;
pub mod propagation;
mod recording;
mod ring_record;
mod sink;
mod tail_buffer;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::ring::Record;

use crate::Identity;
use crate::aggregate::exemplar::{ExemplarContext, PendingExemplar};
use crate::declaration::site::Site;
use crate::record::{SpanRecord, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::request::exemplar::RequestExemplars;
use crate::request::open_span::OpenSpans;
use crate::request::tail_buffer::{BufferedRecord, TailBuffer};

pub use attribute::RequestAttributes;
pub use output::PrintedLines;
pub use recording::{Outcome, Recording};
pub use sink::Sink;

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
    /// The open spans that are exported when they end.
    exported_spans: OpenSpans,
    /// The open spans of the handle API that are exported only if the request is kept.
    buffered_spans: OpenSpans,
    tail: TailBuffer,
    exemplars: RequestExemplars,
    /// The attributes of the request's own span that the guest has set.
    attributes: RequestAttributes,
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
            exported_spans: OpenSpans::default(),
            buffered_spans: OpenSpans::default(),
            tail: TailBuffer::default(),
            exemplars: RequestExemplars::default(),
            attributes: RequestAttributes::default(),
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

    /// Starts a request with this span, which the exemplars of its metrics refer to.
    ///
    /// The caller exports the span if it is sampled, or if [`finish`](Self::finish) returns `true`.
    /// Exemplars of the request before it that still wait are stored if that one's trace was
    /// exported. `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub fn set_context(&mut self, context: TraceContext, now: u64) {
        self.attributes = RequestAttributes::default();
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
        let buffered = self.tail.take();
        if is_kept {
            for record in buffered {
                match record {
                    BufferedRecord::Ring(bytes) => {
                        if let Some(record) = Record::decode(&bytes) {
                            self.export(&record, false, now);
                        }
                    }
                    BufferedRecord::Log(log) => self.sink.log(&self.identity, *log),
                    BufferedRecord::Span(span) => self.sink.span(&self.identity, *span),
                }
            }
        }
        let reason = match outcome {
            Outcome::Ended(reason) => Some(reason),
            Outcome::Ok | Outcome::Failed => None,
        };
        self.exemplars.finish(is_kept, &self.component, now);
        let buffered = self.buffered_spans.close(now, reason).into_iter().filter(|_| is_kept);
        for span in self.exported_spans.close(now, reason).into_iter().chain(buffered) {
            self.sink.span(&self.identity, span);
        }
        is_kept
    }
}
