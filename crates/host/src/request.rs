//! The logs and spans of one request.
//!
//! In come records of a guest's rings, and calls of the handle API. Out come whole logs and spans to a [`Sink`], at once or when the
//! request has failed. It does not know where a sink sends them, nor how they are encoded.

mod call;
pub(crate) mod filter;
pub(crate) mod open_span;
pub mod propagation;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{Body, Record};

use crate::aggregate::exemplar::{ExemplarContext, PendingExemplar};
use crate::declaration::site::Site;
use crate::record::{LogRecord, SpanLink, SpanRecord, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::request::filter::Filter;
use crate::request::open_span::OpenSpans;
use crate::{Identity, limits};

/// Where logs and spans go.
///
/// It is called on the request path, so it must neither wait nor fail: it keeps a record or counts it as lost.
pub trait Sink: Send + Sync {
    /// Takes a log of a component.
    fn log(&self, identity: &Arc<Identity>, log: LogRecord);

    /// Takes a span of a component that has ended.
    fn span(&self, identity: &Arc<Identity>, span: SpanRecord);
}

/// What of a guest's logs and spans is recorded, exported and kept for a request that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// What is exported of each target.
    pub export: Filter,
    /// The finest level that guests record: what is finer than `export` is there when a request has failed.
    pub record: Level,
    /// Whether everything that was recorded of a request is exported if the request has failed or its guest has trapped,
    /// whatever its level and whether or not its trace is sampled.
    pub keep_failed: bool,
    /// The same for a request that took longer than this.
    pub keep_slow: Option<Duration>,
}

impl Default for Recording {
    /// Exports `info`, records `debug`, and keeps failed requests.
    fn default() -> Self {
        Self { export: Filter::default(), record: Level::Debug, keep_failed: true, keep_slow: None }
    }
}

impl Recording {
    /// The level that guests are to record.
    pub fn record_level(&self) -> Level {
        if self.may_keep() { self.record.max(self.export.finest()) } else { self.export.finest() }
    }

    /// Whether there are requests of which everything is exported.
    fn may_keep(&self) -> bool {
        self.keep_failed || self.keep_slow.is_some()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was served.
    Ok,
    /// It failed, and the guest knows: it answered with an error.
    Failed,
    /// The guest ended before its time, for this reason.
    Ended(&'a str),
}

/// The logs and spans of one guest while it serves one request, or runs as a program.
///
/// What is to be exported goes to the sink at once. The rest is held back until [`finish`](Self::finish) says whether the
/// request went wrong: then all of it is exported, else it is dropped.
pub struct RequestTelemetry {
    component: Arc<ComponentState>,
    identity: Arc<Identity>,
    sink: Arc<dyn Sink>,
    recording: Arc<Recording>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    open: OpenSpans,
    /// Spans by handles that are open and exported only if their request goes wrong.
    open_back: OpenSpans,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The span of the request.
    context: Option<TraceContext>,
    /// Values that become exemplars if the request is kept.
    candidates: Vec<PendingExemplar>,
    /// Once the request has ended, whether it was kept.
    kept: Option<bool>,
    /// The spans that are sampled go to the sink when they end; the others are held back as records.
    is_keeping_all: bool,
}

/// What is held back until it is known what comes of its request.
enum Held {
    /// A record of a guest's memory.
    Record(Box<[u8]>),
    /// A log that came by a call.
    Log(Box<LogRecord>),
    /// A span by a handle, which has ended.
    Span(Box<SpanRecord>),
}

impl Held {
    fn size(&self) -> usize {
        match self {
            Self::Record(bytes) => bytes.len(),
            Self::Log(log) => log.size(),
            Self::Span(span) => span.size(),
        }
    }
}

impl fmt::Debug for RequestTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTelemetry")
            .field("identity", &self.identity)
            .field("held", &self.held.len())
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
            open: OpenSpans::default(),
            open_back: OpenSpans::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            context: None,
            candidates: Vec::new(),
            kept: None,
            is_keeping_all: false,
        }
    }

    /// What is recorded, exported and kept.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Says which span the request has: what the guest observes while it serves it may have exemplars, which lead there.
    ///
    /// Whoever calls it exports that span if it is sampled or [`finish`](Self::finish) says that the request is kept.
    ///
    /// What still waits is the last request's: it is exported if that request is, by the wall clock `now`, in nanoseconds since
    /// 1970-01-01 00:00 UTC.
    pub fn set_context(&mut self, context: TraceContext, now: u64) {
        self.commit(now);
        self.kept = None;
        self.context = Some(context);
    }

    /// Exports the values that wait if the request's trace is exported, else drops them.
    fn commit(&mut self, now: u64) {
        let candidates = std::mem::take(&mut self.candidates);
        if let Some(context) = self.exported_context() {
            self.component.keep_exemplars(candidates, context, now);
        }
    }

    /// The span of the request, if it is exported: because it is sampled, or because the request has ended and was kept.
    pub fn exported_context(&self) -> Option<TraceContext> {
        self.context.filter(|context| context.is_sampled() || self.kept == Some(true))
    }

    /// What a read needs to take exemplars, if the request's trace is exported or may be.
    pub(crate) fn exemplar_context(&mut self, time: u64) -> Option<ExemplarContext<'_>> {
        if let Some(context) = self.exported_context() {
            return Some(ExemplarContext { context, time, held: None });
        }
        let may_keep = self.kept.is_none() && self.recording.may_keep();
        self.context.filter(|_| may_keep).map(|context| ExemplarContext {
            context,
            time,
            held: Some(&mut self.candidates),
        })
    }

    /// Takes a value that the guest has observed by a call, which waits for the request's end, as taking exemplars takes a lock.
    pub(crate) fn observed(&mut self, candidate: impl FnOnce() -> PendingExemplar) {
        let may_export = self.context.is_some_and(|context| context.is_sampled() || self.recording.may_keep());
        if may_export && self.candidates.len() < limits::PENDING_EXEMPLARS {
            self.candidates.push(candidate());
        }
    }

    /// Changes what is recorded, exported and kept of what comes from now on.
    pub fn set_recording(&mut self, recording: Arc<Recording>) {
        self.recording = recording;
    }

    /// Takes one record; `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn receive(&mut self, bytes: &[u8], is_audit: bool, now: u64) {
        let Some(record) = Record::decode(bytes) else { return self.component.count(HostDropReason::UnknownRecord, 1) };
        if is_audit || self.is_keeping_all || self.is_exported(&record) {
            self.export(&record, is_audit, now);
        } else {
            self.hold(|| Held::Record(bytes.into()));
        }
    }

    /// Whether a record is exported whatever comes of its request.
    fn is_exported(&self, record: &Record<'_>) -> bool {
        match record.body {
            Body::Log { site, .. } => match self.sites.get(&site) {
                Some(site) => site.level <= self.recording.export.level(&site.target),
                None => true,
            },
            Body::Start { site, context, .. } => {
                let level = self.sites.get(&site).map(|site| (site.level, self.recording.export.level(&site.target)));
                context.is_sampled() && level.is_none_or(|(level, export)| level <= export)
            }
            // What is said about a span goes where its start went.
            _ => record.span.is_some_and(|span| self.open.has(span)),
        }
    }

    /// Keeps a record until it is known what comes of its request.
    fn hold(&mut self, held: impl FnOnce() -> Held) {
        if !self.recording.may_keep() {
            return;
        }
        let held = held();
        self.held_bytes += held.size();
        self.held.push_back(held);
        while self.held_bytes > limits::TAIL_BUFFER_BYTES {
            let Some(oldest) = self.held.pop_front() else { break };
            self.held_bytes -= oldest.size();
            self.component.count(HostDropReason::HeldBack, 1);
        }
    }

    fn export(&mut self, record: &Record<'_>, is_audit: bool, now: u64) {
        let time = if record.time == 0 { now } else { record.time };
        let done = match record.body {
            Body::Log { site, context, arguments } => match self.sites.get(&site) {
                Some(site) => {
                    let (message, fields) = site.render(arguments);
                    let log = LogRecord {
                        time,
                        observed: now,
                        level: site.level,
                        target: site.target.clone(),
                        message: message.into(),
                        fields,
                        source: Some(site.source.clone()),
                        trace: context,
                        is_audit,
                    };
                    self.sink.log(&self.identity, log);
                    Ok(true)
                }
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::Start { site, context, parent, is_parent_remote, arguments } => match self.sites.get(&site) {
                Some(site) => Ok(self.open.start(site, context, parent, is_parent_remote, time, arguments)),
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::End => match record.span.and_then(|span| self.open.end(span, time)) {
                Some(span) => {
                    self.sink.span(&self.identity, span);
                    Ok(true)
                }
                None => Ok(false),
            },
            Body::Event { site, arguments } => match (record.span, self.sites.get(&site)) {
                (Some(span), Some(site)) => Ok(self.open.event(span, site, time, arguments)),
                _ => Err(HostDropReason::UnknownRecord),
            },
            Body::Attribute { arguments } => Ok(record.span.is_some_and(|span| self.open.attribute(span, arguments))),
            Body::Link { context } => {
                let link = SpanLink { context, attributes: Vec::new() };
                Ok(record.span.is_some_and(|span| self.open.add_link(span, link)))
            }
            Body::Status { code, arguments } => {
                Ok(record.span.is_some_and(|span| self.open.status(span, code, arguments)))
            }
        };
        match done {
            Ok(true) => {}
            Ok(false) => self.component.count(HostDropReason::SpanLimit, 1),
            Err(offence) => self.component.count(offence, 1),
        }
    }

    /// Says how the request ended, after its records were read for the last time.
    ///
    /// The spans that are still open end at `now`, in nanoseconds since 1970-01-01 00:00 UTC. Returns whether everything was
    /// kept although it would not have been exported otherwise.
    pub fn finish(&mut self, outcome: Outcome<'_>, took: Duration, now: u64) -> bool {
        let is_slow = self.recording.keep_slow.is_some_and(|limit| took > limit);
        let is_kept = is_slow || (self.recording.keep_failed && outcome != Outcome::Ok);
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        if is_kept {
            self.is_keeping_all = true;
            for held in held {
                match held {
                    Held::Record(bytes) => {
                        if let Some(record) = Record::decode(&bytes) {
                            self.export(&record, false, now);
                        }
                    }
                    Held::Log(log) => self.sink.log(&self.identity, *log),
                    Held::Span(span) => self.sink.span(&self.identity, *span),
                }
            }
            self.is_keeping_all = false;
        }
        let reason = match outcome {
            Outcome::Ended(reason) => Some(reason),
            Outcome::Ok | Outcome::Failed => None,
        };
        self.kept = Some(is_kept);
        self.commit(now);
        let kept_back = self.open_back.close(now, reason).into_iter().filter(|_| is_kept);
        for span in self.open.close(now, reason).into_iter().chain(kept_back) {
            self.sink.span(&self.identity, span);
        }
        is_kept
    }

    /// Gives a span of the host's own, such as the server's, to the sink.
    pub fn span(&self, span: SpanRecord) {
        self.sink.span(&self.identity, span);
    }

    /// The component that the guest is an instance of.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}
