//! Logs and spans of the handle API.

use std::sync::Arc;

use wasmetry_abi::Level;
use wasmetry_abi::trace::{SpanId, TraceContext};

use super::RequestTelemetry;
use super::rate::RateKind;
use super::tail_buffer::BufferedRecord;
use crate::handle_api::{Attributes, Log, NewSpan, text_of};
use crate::limits;
use crate::record::{Field, LogRecord, SpanEvent, SpanLink, SpanRecord, SpanStatus};
use crate::registry::drop_reason::HostDropReason;
use crate::request::open_span::Ended;

/// In all functions, `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC. A call for
/// a span that is not open changes nothing and is counted.
impl RequestTelemetry {
    /// Returns `true` if a log of this level and target would be recorded. The default target is
    /// the component's name.
    pub fn is_enabled(&self, level: Level, target: Option<&str>) -> bool {
        let exported = self.recording.export.level(target.unwrap_or(self.identity.component()));
        let buffered = if self.recording.may_keep() { self.recording.record } else { Level::Off };
        level <= exported.max(buffered)
    }

    /// Records a log.
    pub fn log(&mut self, log: Log<'_>, now: u64) {
        let Log { level, target, message, attributes, trace, is_audit } = log;
        let is_wanted = is_audit || self.is_enabled(level, target);
        if !is_wanted || !self.take_record(is_audit, now) {
            return;
        }
        self.component.count_log(level);
        if let Some(reached) = &mut self.reached {
            reached.reach_handle(Some(level), target.unwrap_or(self.identity.component()), message);
        }
        self.has_logged_error |= level == Level::Error;
        let is_exported = is_audit || level <= self.recording.export.level(target.unwrap_or(self.identity.component()));
        let log = LogRecord {
            time: now,
            observed: now,
            level,
            target: self.target(target),
            message: text_of(message, limits::RECORD_TEXT).into(),
            fields: self.fields(attributes),
            source: None,
            trace,
            is_audit,
            stream: None,
        };
        if is_exported {
            self.sink.log(&self.identity, log);
        } else {
            self.buffer(|| BufferedRecord::Log(Box::new(log)));
        }
    }

    /// Starts a span. Returns `false`, and counts it, if too many spans are open, or if the
    /// component has recorded too much.
    pub fn start(&mut self, new: NewSpan<'_>, now: u64) -> bool {
        if !self.take_record(false, now) {
            return false;
        }
        let NewSpan { name, kind, context, parent, is_parent_remote, attributes } = new;
        let target = self.target(None);
        if let Some(reached) = &mut self.reached {
            reached.reach_handle(None, "", name);
        }
        // A span of the handle API has no level. It counts as `info`, the default level of declared
        // spans.
        let is_exported =
            self.exports_spans && context.is_sampled() && Level::Info <= self.recording.export.level(&target);
        let span = SpanRecord {
            context,
            parent,
            is_parent_remote,
            trace_state: Arc::from(""),
            name: text_of(name, limits::RECORD_NAME).into(),
            kind,
            start: now,
            end: now,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: SpanStatus::Unset,
            dropped: attributes.dropped,
            target,
            request: None,
            is_slow: false,
        };
        let is_open = self.spans.begin(span, attributes.fields, is_exported);
        self.count_unless(is_open)
    }

    /// Sets an attribute of a span.
    pub fn set_attribute(&mut self, span: SpanId, attributes: Attributes) {
        let spans = &mut self.spans;
        spans.drop_attributes(span, attributes.dropped);
        let is_open = attributes.fields.into_iter().all(|field| spans.set_attribute(span, field));
        self.count_unless(is_open);
    }

    /// Adds an event to a span.
    pub fn add_event(&mut self, span: SpanId, name: &str, attributes: Attributes, now: u64) {
        let event =
            SpanEvent { time: now, name: text_of(name, limits::RECORD_NAME).into(), attributes: attributes.fields };
        let spans = &mut self.spans;
        spans.drop_attributes(span, attributes.dropped);
        let is_open = spans.add_event(span, event);
        self.count_unless(is_open);
    }

    /// Adds a link to another span. `None` stands for an invalid context, which is counted.
    pub fn add_link(&mut self, span: SpanId, to: Option<TraceContext>, attributes: Attributes) {
        let Some(context) = to else { return self.component.count(HostDropReason::SpanContext, 1) };
        let spans = &mut self.spans;
        spans.drop_attributes(span, attributes.dropped);
        let is_open = spans.add_link(span, SpanLink { context, attributes: attributes.fields });
        self.count_unless(is_open);
    }

    /// Counts an invalid parent.
    pub fn refuse_parent(&self) {
        self.component.count(HostDropReason::SpanContext, 1);
    }

    /// Sets the status of a span: an error with a description, or ok. The status ok is final.
    pub fn set_status(&mut self, span: SpanId, error: Option<&str>) {
        let status = match error {
            Some(description) => SpanStatus::Error(text_of(description, limits::RECORD_TEXT).into()),
            None => SpanStatus::Ok,
        };
        let is_open = self.spans.set_status(span, status);
        self.count_unless(is_open);
    }

    /// Ends a span.
    pub fn end(&mut self, span: SpanId, now: u64) {
        let was_open = self.end_if_open(span, now);
        self.count_unless(was_open);
    }

    /// Ends a span if it is open. Returns `false`, without counting it, if it is not.
    pub fn end_if_open(&mut self, span: SpanId, now: u64) -> bool {
        let ended = self.spans.end(span, now);
        ended.map(|ended| self.span_ended(ended)).is_some()
    }

    /// Exports a span that has ended, or keeps it until the outcome of its request is known.
    pub(super) fn span_ended(&mut self, Ended { span, is_exported }: Ended) {
        if is_exported {
            self.sink.span(&self.identity, span);
        } else {
            self.buffer(|| BufferedRecord::Span(Box::new(span)));
        }
    }

    /// Takes a record of the component's rate. Returns `false`, and counts it, if none is allowed.
    fn take_record(&self, is_audit: bool, now: u64) -> bool {
        let kind = if is_audit { RateKind::Audit } else { RateKind::Recorded };
        let is_allowed = self.component.rates().of(kind).take(now);
        if !is_allowed {
            self.component.count(HostDropReason::RecordLimit, 1);
        }
        is_allowed
    }

    /// Counts a call for a span that is not open, and returns its argument.
    fn count_unless(&self, is_open: bool) -> bool {
        if !is_open {
            self.component.count(HostDropReason::SpanLimit, 1);
        }
        is_open
    }

    fn target(&self, target: Option<&str>) -> Arc<str> {
        text_of(target.unwrap_or(self.identity.component()), limits::RECORD_NAME).into()
    }

    /// The fields of a log. Dropped ones are counted here, because a log has no count of them.
    fn fields(&self, attributes: Attributes) -> Vec<Field> {
        if attributes.dropped > 0 {
            self.component.count(HostDropReason::AttributeLimit, attributes.dropped.into());
        }
        attributes.fields
    }
}
