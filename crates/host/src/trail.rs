//! What one guest says of itself: its logs and spans, from its rings to a sink.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::Level;
use wasmetry_abi::ring::{Body, Record};

use crate::component::ComponentState;
use crate::filter::Filter;
use crate::offence::Offence;
use crate::record::{LogRecord, SpanRecord};
use crate::site::Site;
use crate::span::OpenSpans;
use crate::{Identity, limits};

/// Where logs and spans go.
///
/// It is called on the request path, so it must neither wait nor fail: it keeps a record or counts it as lost.
pub trait Sink: Send + Sync {
    /// Takes a log of a component.
    fn log(&self, of: &Arc<Identity>, log: LogRecord);

    /// Takes a span of a component that has ended.
    fn span(&self, of: &Arc<Identity>, span: SpanRecord);
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
        if self.keep_failed || self.keep_slow.is_some() {
            self.record.max(self.export.finest())
        } else {
            self.export.finest()
        }
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
pub struct Trail {
    component: Arc<ComponentState>,
    of: Arc<Identity>,
    sink: Arc<dyn Sink>,
    recording: Arc<Recording>,
    sites: Arc<HashMap<u64, Arc<Site>>>,
    open: OpenSpans,
    held: VecDeque<Box<[u8]>>,
    held_bytes: usize,
    /// The spans that are sampled go to the sink when they end; the others are held back as records.
    is_keeping_all: bool,
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("of", &self.of).field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Trail {
    pub(crate) fn new(
        component: Arc<ComponentState>,
        sites: Arc<HashMap<u64, Arc<Site>>>,
        sink: Arc<dyn Sink>,
        recording: Arc<Recording>,
    ) -> Self {
        let of = Arc::new(component.identity().clone());
        Self {
            component,
            of,
            sink,
            recording,
            sites,
            open: OpenSpans::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            is_keeping_all: false,
        }
    }

    /// What is recorded, exported and kept.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Changes what is recorded, exported and kept of what comes from now on.
    pub fn set_recording(&mut self, recording: Arc<Recording>) {
        self.recording = recording;
    }

    /// Takes one record; `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn take(&mut self, bytes: &[u8], is_audit: bool, now: u64) {
        let Some(record) = Record::decode(bytes) else { return self.component.count(Offence::UnknownRecord, 1) };
        if is_audit || self.is_keeping_all || self.is_exported(&record) {
            self.export(&record, is_audit, now);
        } else {
            self.hold(bytes);
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
    fn hold(&mut self, bytes: &[u8]) {
        if !self.recording.keep_failed && self.recording.keep_slow.is_none() {
            return;
        }
        self.held_bytes += bytes.len();
        self.held.push_back(bytes.into());
        while self.held_bytes > limits::HELD_BYTES {
            let Some(oldest) = self.held.pop_front() else { break };
            self.held_bytes -= oldest.len();
            self.component.count(Offence::HeldBack, 1);
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
                    self.sink.log(&self.of, log);
                    Ok(true)
                }
                None => Err(Offence::UnknownRecord),
            },
            Body::Start { site, context, parent, is_parent_remote, arguments } => match self.sites.get(&site) {
                Some(site) => Ok(self.open.start(site, context, parent, is_parent_remote, time, arguments)),
                None => Err(Offence::UnknownRecord),
            },
            Body::End => match record.span.and_then(|span| self.open.end(span, time)) {
                Some(span) => {
                    self.sink.span(&self.of, span);
                    Ok(true)
                }
                None => Ok(false),
            },
            Body::Event { site, arguments } => match (record.span, self.sites.get(&site)) {
                (Some(span), Some(site)) => Ok(self.open.event(span, site, time, arguments)),
                _ => Err(Offence::UnknownRecord),
            },
            Body::Attribute { arguments } => Ok(record.span.is_some_and(|span| self.open.attribute(span, arguments))),
            Body::Link { context } => Ok(record.span.is_some_and(|span| self.open.link(span, context))),
            Body::Status { code, arguments } => {
                Ok(record.span.is_some_and(|span| self.open.status(span, code, arguments)))
            }
        };
        match done {
            Ok(true) => {}
            Ok(false) => self.component.count(Offence::SpanLimit, 1),
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
            for bytes in held {
                if let Some(record) = Record::decode(&bytes) {
                    self.export(&record, false, now);
                }
            }
            self.is_keeping_all = false;
        }
        let reason = match outcome {
            Outcome::Ended(reason) => Some(reason),
            Outcome::Ok | Outcome::Failed => None,
        };
        for span in self.open.close(now, reason) {
            self.sink.span(&self.of, span);
        }
        is_kept
    }

    /// Gives a span of the host's own, such as the server's, to the sink.
    pub fn span(&self, span: SpanRecord) {
        self.sink.span(&self.of, span);
    }

    /// The component that the guest is an instance of.
    pub fn of(&self) -> &Arc<Identity> {
        &self.of
    }
}
