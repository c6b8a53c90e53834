//! Logs and spans that come by calls, through the typed imports.

use std::sync::Arc;

use wasmetry_abi::Level;
use wasmetry_abi::trace::{SpanId, TraceContext};

use super::{Held, RequestTelemetry};
use crate::handle_api::{Attributes, Log, NewSpan, text_of};
use crate::limits;
use crate::record::{Field, LogRecord, SpanEvent, SpanLink, SpanRecord, SpanStatus};
use crate::registry::drop_reason::HostDropReason;
use crate::request::open_span::OpenSpans;

impl RequestTelemetry {
    /// Whether a log of this level and target would be recorded. Without a target, it is the component's name.
    pub fn is_enabled(&self, level: Level, target: Option<&str>) -> bool {
        let exported = self.recording.export.level(target.unwrap_or(self.identity.component()));
        let held_back = if self.recording.may_keep() { self.recording.record } else { Level::Off };
        level <= exported.max(held_back)
    }

    /// Takes a log; `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC, here and below.
    pub fn log(&mut self, log: Log<'_>, now: u64) {
        let Log { level, target, message, attributes, trace, is_audit } = log;
        if !is_audit && !self.is_enabled(level, target) {
            return;
        }
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
        };
        if is_exported {
            self.sink.log(&self.identity, log);
        } else {
            self.hold(|| Held::Log(Box::new(log)));
        }
    }

    /// Begins a span; says no where too many are open, which is counted.
    pub fn start(&mut self, new: NewSpan<'_>, now: u64) -> bool {
        let NewSpan { name, kind, context, parent, is_parent_remote, attributes } = new;
        let target = self.target(None);
        // Guests that declare their spans give them a level, which is this one unless their author says otherwise.
        let is_exported = context.is_sampled() && Level::Info <= self.recording.export.level(&target);
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
        };
        let open = if is_exported { &mut self.open } else { &mut self.open_back };
        let is_open = open.begin(span, attributes.fields);
        self.noted(is_open)
    }

    /// Sets an attribute of a span; counts that where the span is not open, as the functions below do.
    pub fn set_attribute(&mut self, span: SpanId, attributes: Attributes) {
        let open = self.open_with(span);
        open.drop_attributes(span, attributes.dropped);
        let is_open = attributes.fields.into_iter().all(|field| open.set_attribute(span, field));
        self.noted(is_open);
    }

    /// Says that something happened in a span.
    pub fn add_event(&mut self, span: SpanId, name: &str, attributes: Attributes, now: u64) {
        let event =
            SpanEvent { time: now, name: text_of(name, limits::RECORD_NAME).into(), attributes: attributes.fields };
        let open = self.open_with(span);
        open.drop_attributes(span, attributes.dropped);
        let is_open = open.add_event(span, event);
        self.noted(is_open);
    }

    /// Says that another span has to do with one; nothing names that one where its context was invalid, which is counted.
    pub fn add_link(&mut self, span: SpanId, to: Option<TraceContext>, attributes: Attributes) {
        let Some(context) = to else { return self.component.count(HostDropReason::SpanContext, 1) };
        let open = self.open_with(span);
        open.drop_attributes(span, attributes.dropped);
        let is_open = open.add_link(span, SpanLink { context, attributes: attributes.fields });
        self.noted(is_open);
    }

    /// Counts a parent that names no span.
    pub fn refuse_parent(&self) {
        self.component.count(HostDropReason::SpanContext, 1);
    }

    /// Says how the operation of a span went. Nothing replaces the status ok.
    pub fn set_status(&mut self, span: SpanId, error: Option<&str>) {
        let status = match error {
            Some(reason) => SpanStatus::Error(text_of(reason, limits::RECORD_TEXT).into()),
            None => SpanStatus::Ok,
        };
        let is_open = self.open_with(span).set_status(span, status);
        self.noted(is_open);
    }

    /// Ends a span.
    pub fn end(&mut self, span: SpanId, now: u64) {
        let has_ended = self.end_if_open(span, now);
        self.noted(has_ended);
    }

    /// Ends a span unless that was done before; says whether it was open.
    pub fn end_if_open(&mut self, span: SpanId, now: u64) -> bool {
        if let Some(span) = self.open.end(span, now) {
            self.sink.span(&self.identity, span);
        } else if let Some(span) = self.open_back.end(span, now) {
            self.hold(|| Held::Span(Box::new(span)));
        } else {
            return false;
        }
        true
    }

    /// Where a span is open, if it is.
    fn open_with(&mut self, span: SpanId) -> &mut OpenSpans {
        if self.open.has(span) { &mut self.open } else { &mut self.open_back }
    }

    /// Counts what was said of a span that is not open.
    fn noted(&self, is_open: bool) -> bool {
        if !is_open {
            self.component.count(HostDropReason::SpanLimit, 1);
        }
        is_open
    }

    fn target(&self, target: Option<&str>) -> Arc<str> {
        text_of(target.unwrap_or(self.identity.component()), limits::RECORD_NAME).into()
    }

    /// The fields of a log, which has no number of those that were left out.
    fn fields(&self, attributes: Attributes) -> Vec<Field> {
        if attributes.dropped > 0 {
            self.component.count(HostDropReason::AttributeLimit, attributes.dropped.into());
        }
        attributes.fields
    }
}
