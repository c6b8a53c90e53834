//! Records of a guest's rings.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring::{Body, Record};

use super::RequestTelemetry;
use super::exception::Exception;
use super::tail_buffer::BufferedRecord;
use crate::declaration::site::Site;
use crate::memory::site_table::DynamicSites;
use crate::record::{Level, LogRecord, SpanLink, TraceContext};
use crate::registry::drop_reason::HostDropReason;
use crate::request::propagation::Sampler;

/// The sampling decisions for the records of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sampling {
    /// The sampler of the traces that begin in the guest.
    pub(super) sampler: Sampler,
    /// The span of the request.
    pub(super) request: Option<TraceContext>,
}

impl Sampling {
    /// Returns the context of a log or a span, with the decision that holds for its trace.
    ///
    /// The host has decided on the request's own trace. The sampler decides on a trace that began
    /// in the guest and, if it is not parent-based, on any other.
    fn decided(self, context: TraceContext, is_guest_trace: bool) -> TraceContext {
        let is_sampled = match self.request {
            Some(request) if request.trace_id == context.trace_id => request.is_sampled(),
            _ if is_guest_trace || !self.sampler.is_parent_based => self.sampler.samples_root(context.trace_id),
            _ => context.is_sampled(),
        };
        let sampled = if is_sampled { TraceContext::SAMPLED } else { 0 };
        TraceContext { flags: context.flags & !TraceContext::SAMPLED | sampled, ..context }
    }
}

/// The call sites that the records of one guest may refer to.
#[derive(Clone, Copy)]
pub(crate) struct GuestSites<'a> {
    /// The sites that the binary declares. No definition can replace them.
    pub(crate) declared: &'a HashMap<u64, Arc<Site>>,
    /// The sites that the guest has defined.
    pub(crate) defined: Option<&'a DynamicSites>,
}

impl RequestTelemetry {
    /// The sites that the binary declares.
    pub(crate) fn declared_sites(&self) -> Arc<HashMap<u64, Arc<Site>>> {
        self.sites.clone()
    }

    /// Receives one record, and returns the bytes that were made of it. `now` is the wall clock in
    /// nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn receive(&mut self, bytes: &[u8], is_audit: bool, now: u64, sites: GuestSites<'_>) -> usize {
        let Some(record) = Record::decode(bytes) else {
            self.component.count(HostDropReason::UnknownRecord, 1);
            return 0;
        };
        if let Body::RequestAttribute { request, arguments } = record.body {
            self.set_recorded_attribute(request, arguments);
            return bytes.len();
        }
        let hash = site_hash(&record);
        let declared = hash.and_then(|hash| sites.declared.get(&hash));
        let defined = match (declared, sites.defined) {
            (None, Some(defined)) => hash.and_then(|hash| defined.get(hash)),
            _ => None,
        };
        let site = declared.or(defined);
        if let (Some(reached), Some(site)) = (&mut self.reached, site) {
            reached.reach(site);
        }
        let site = site.map(|site| &**site);
        if record.is_guest_trace {
            self.receive_guest_span(&record);
        }
        if let Body::Exception { cause, context, arguments } = record.body {
            let exception = Exception::from_record(cause, arguments);
            let context = context.map(|context| self.sampling.decided(context, record.is_guest_trace));
            if !self.receive_exception(exception, context, record.time, now) {
                // The same panic, by the hook of another copy of the crate.
                return bytes.len();
            }
        }
        if let Body::Log { .. } = record.body
            && let Some(site) = site
        {
            self.component.count_log(site.level);
            self.has_logged_error |= site.level == Level::Error;
        }
        if is_audit || self.is_exported(&record, site) {
            self.export(&record, site, is_audit, now)
        } else {
            self.buffer(|| BufferedRecord::Ring(bytes.into(), defined.cloned()));
            bytes.len()
        }
    }

    /// Keeps the first span of a trace that began in the guest, or the span of its exception.
    fn receive_guest_span(&mut self, record: &Record<'_>) {
        let decided = |context: TraceContext| self.sampling.decided(context, record.is_guest_trace);
        self.guest_span = match record.body {
            Body::Exception { context, .. } => context.map(decided).or(self.guest_span),
            Body::Log { context, .. } => self.guest_span.or(context.map(decided)),
            Body::Start { context, .. } => self.guest_span.or(Some(decided(context))),
            _ => return,
        };
    }

    /// Returns `true` if a record is exported whatever the outcome of its request.
    fn is_exported(&self, record: &Record<'_>, site: Option<&Site>) -> bool {
        let level = site.map(|site| (site.level, self.recording.export.level(&site.target)));
        match record.body {
            Body::Log { .. } => level.is_none_or(|(level, export)| level <= export),
            Body::Start { context, .. } => {
                self.exports_spans
                    && self.sampling.decided(context, record.is_guest_trace).is_sampled()
                    && level.is_none_or(|(level, export)| level <= export)
            }
            // The other records of a span follow its start. So does the event of an exception.
            _ => record.span.is_some_and(|span| self.spans.is_exported(span)),
        }
    }

    /// Receives an exception: exports its log or keeps it for the request's end. Returns `false` if
    /// the request has this panic already.
    pub(super) fn receive_exception(
        &mut self,
        exception: Exception,
        context: Option<TraceContext>,
        time: u64,
        now: u64,
    ) -> bool {
        let has_panicked = self.exception.as_ref().is_some_and(Exception::is_panic);
        if has_panicked && self.exception.as_ref() == Some(&exception) {
            return false;
        }
        let log = exception.log(if time == 0 { now } else { time }, now, context);
        self.component.count_log(log.level);
        if log.level <= self.recording.export.level(exception.target()) {
            self.sink.log(&self.identity, log);
        } else {
            self.buffer(|| BufferedRecord::Log(Box::new(log)));
        }
        self.has_logged_error = true;
        if !has_panicked {
            // An event of the exception before is none of this one.
            (self.exception, self.has_exception_event) = (Some(exception), false);
        }
        true
    }

    /// Exports a log, or adds a record to its open span. Returns the bytes that were made of it.
    pub(super) fn export(&mut self, record: &Record<'_>, site: Option<&Site>, is_audit: bool, now: u64) -> usize {
        let time = if record.time == 0 { now } else { record.time };
        let sampling = self.sampling;
        let sampled = |context| sampling.decided(context, record.is_guest_trace);
        let spans = &mut self.spans;
        let mut bytes = 0;
        let is_recorded = match record.body {
            Body::Log { context, arguments, .. } => match site {
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
                        trace: context.map(sampled),
                        is_audit,
                        stream: None,
                    };
                    bytes = log.size();
                    self.sink.log(&self.identity, log);
                    Ok(true)
                }
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::Start { context, parent, is_parent_remote, arguments, .. } => match site {
                Some(site) => {
                    // A span cannot be its own parent.
                    let parent = if parent == Some(context.span_id) {
                        self.component.count(HostDropReason::SpanContext, 1);
                        None
                    } else {
                        parent
                    };
                    Ok(spans.start(site, sampled(context), parent, is_parent_remote, time, arguments))
                }
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::End => match record.span.and_then(|span| spans.end(span, time)) {
                Some(ended) => {
                    bytes = ended.span.size();
                    self.span_ended(ended);
                    Ok(true)
                }
                None => Ok(false),
            },
            Body::Event { arguments, .. } => match (record.span, site) {
                (Some(span), Some(site)) => {
                    bytes = site.text.len();
                    Ok(spans.event(span, site, time, arguments))
                }
                _ => Err(HostDropReason::UnknownRecord),
            },
            Body::Attribute { arguments } => Ok(record.span.is_some_and(|span| spans.attribute(span, arguments))),
            Body::Link { context } => {
                let link = SpanLink { context, attributes: Vec::new() };
                Ok(record.span.is_some_and(|span| spans.add_link(span, link)))
            }
            // It is no record of a span in the guest.
            Body::RequestAttribute { .. } => Err(HostDropReason::UnknownRecord),
            Body::Status { code, arguments } => Ok(record.span.is_some_and(|span| spans.status(span, code, arguments))),
            // Its log was exported or buffered when it was received.
            Body::Exception { cause, arguments, .. } => {
                let exception = Exception::from_record(cause, arguments);
                let has_event = record.span.is_some_and(|span| spans.exception(span, &exception, time));
                if has_event && self.exception.as_ref() == Some(&exception) {
                    self.has_exception_event = true;
                }
                Ok(true)
            }
        };
        match is_recorded {
            Ok(true) => {}
            Ok(false) => self.component.count(HostDropReason::SpanLimit, 1),
            Err(reason) => self.component.count(reason, 1),
        }
        bytes
    }
}

/// The hash of a record's site, if it has one.
pub(super) fn site_hash(record: &Record<'_>) -> Option<u64> {
    match record.body {
        Body::Log { site, .. } | Body::Start { site, .. } | Body::Event { site, .. } => Some(site),
        _ => None,
    }
}
