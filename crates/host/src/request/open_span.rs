//! Open spans: those that have started and not ended.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring::{Argument, Arguments, StatusCode};
use wasmetry_abi::site::SiteKind;
use wasmetry_abi::trace::{SpanId, TraceContext};

use crate::GuestLimits;
use crate::declaration::site::{self, Site};
use crate::ledger::Charge;
use crate::limits;
use crate::record::{Field, FieldValue, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};
use crate::request::exception::Exception;

/// The open spans of one guest. All functions that change a span return `false` if it is not open.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    spans: HashMap<SpanId, Open>,
    /// The bytes of all of them.
    bytes: usize,
    most: u64,
    most_bytes: u64,
    charge: Charge,
    /// The host's span of the request that is served.
    request: Option<SpanId>,
}

/// An open span, and its bytes.
#[derive(Debug)]
struct Open {
    span: SpanRecord,
    bytes: usize,
    /// `true` if it is exported when it ends, whatever the outcome of its request.
    is_exported: bool,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) span: SpanRecord,
    /// `true` if it is exported whatever the outcome of its request.
    pub(crate) is_exported: bool,
}

impl OpenSpans {
    /// No spans, whose memory is charged.
    pub(crate) fn new(charge: Charge, limits: &GuestLimits) -> Self {
        let (most, most_bytes) = (limits.open_spans, limits.open_span_bytes);
        Self { spans: HashMap::new(), bytes: 0, most, most_bytes, charge, request: None }
    }

    /// Sets the host's span of the request in which the spans that follow are recorded.
    pub(crate) fn set_request(&mut self, request: SpanId) {
        self.request = Some(request);
    }

    /// Starts a span of a ring, which is exported. Returns `false` if too many are open, or if this
    /// one is.
    pub(crate) fn start(
        &mut self,
        site: &Site,
        context: TraceContext,
        parent: Option<SpanId>,
        is_parent_remote: bool,
        time: u64,
        arguments: Arguments<'_>,
    ) -> bool {
        let SiteKind::Span(kind) = site.kind else { return false };
        let span = SpanRecord {
            context,
            parent,
            is_parent_remote,
            trace_state: Arc::from(""),
            name: site.text.clone(),
            kind: span_kind(kind),
            start: time,
            end: time,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: SpanStatus::Unset,
            dropped: 0,
            target: site.target.clone(),
            request: None,
            is_slow: false,
        };
        self.begin(span, site.fields(arguments), true)
    }

    /// Starts a span with these attributes. Returns `false` if too many are open, or if this one
    /// is.
    pub(crate) fn begin(&mut self, mut span: SpanRecord, attributes: Vec<Field>, is_exported: bool) -> bool {
        let id = span.context.span_id;
        // Names of declared sites are shared and may be longer.
        let text = |text: &str| text.len().min(limits::RECORD_NAME);
        let bytes = size_of::<Open>() + text(&span.name) + text(&span.target);
        if self.spans.len() as u64 >= self.most || self.has(id) || !self.has_room(bytes) {
            return false;
        }
        self.bytes += bytes;
        // A guest cannot set it. A span that has the id of its request would end it.
        span.request = self.request.filter(|request| *request != id);
        self.spans.insert(id, Open { span, bytes, is_exported });
        for attribute in attributes {
            self.set_attribute(id, attribute);
        }
        true
    }

    /// Returns `true` if a span is open.
    pub(crate) fn has(&self, span: SpanId) -> bool {
        self.spans.contains_key(&span)
    }

    /// Returns `true` if a span is open and is exported when it ends.
    pub(crate) fn is_exported(&self, span: SpanId) -> bool {
        self.spans.get(&span).is_some_and(|open| open.is_exported)
    }

    /// Returns `true` if there is room for this many bytes more.
    fn has_room(&mut self, bytes: usize) -> bool {
        let sum = self.bytes + bytes;
        sum as u64 <= self.most_bytes && self.charge.cover(sum)
    }

    /// Ends a span. Returns `None` if it is not open.
    pub(crate) fn end(&mut self, span: SpanId, time: u64) -> Option<Ended> {
        let Open { mut span, bytes, is_exported } = self.spans.remove(&span)?;
        self.bytes -= bytes;
        span.end = time.max(span.start);
        Some(Ended { span, is_exported })
    }

    /// Adds an event of a ring.
    pub(crate) fn event(&mut self, span: SpanId, site: &Site, time: u64, arguments: Arguments<'_>) -> bool {
        self.has(span) && {
            let (name, attributes) = site.render(arguments);
            self.add_event(span, SpanEvent { time, name: name.into(), attributes })
        }
    }

    /// Sets an attribute of a ring.
    pub(crate) fn attribute(&mut self, span: SpanId, mut arguments: Arguments<'_>) -> bool {
        let (Some(Argument::Text { bytes, is_cut }), Some(value)) = (arguments.next(), arguments.next()) else {
            return false;
        };
        self.set_attribute(span, (site::text(bytes, is_cut).into(), site::value(value)))
    }

    /// Sets a status of a ring.
    pub(crate) fn status(&mut self, span: SpanId, code: StatusCode, mut arguments: Arguments<'_>) -> bool {
        let status = match (code, arguments.next()) {
            (StatusCode::Ok, _) => SpanStatus::Ok,
            (StatusCode::Error, Some(Argument::Text { bytes, is_cut })) => {
                SpanStatus::Error(site::text(bytes, is_cut).into())
            }
            (StatusCode::Error, _) => SpanStatus::Error("".into()),
        };
        self.set_status(span, status)
    }

    /// Adds an event.
    pub(crate) fn add_event(&mut self, span: SpanId, event: SpanEvent) -> bool {
        let size = size_of::<SpanEvent>() + event.name.len() + event.attributes.iter().map(field_size).sum::<usize>();
        self.add(span, size, |span| {
            let is_room = span.events.len() < limits::SPAN_EVENTS;
            is_room && {
                span.events.push(event);
                true
            }
        })
    }

    /// Sets an attribute. It replaces one with its key.
    pub(crate) fn set_attribute(&mut self, span: SpanId, attribute: Field) -> bool {
        self.add(span, field_size(&attribute), |span| set(span, attribute))
    }

    /// Adds a link.
    pub(crate) fn add_link(&mut self, span: SpanId, link: SpanLink) -> bool {
        let size = size_of::<SpanLink>() + link.attributes.iter().map(field_size).sum::<usize>();
        self.add(span, size, |span| {
            let is_room = span.links.len() < limits::SPAN_LINKS;
            is_room && {
                span.links.push(link);
                true
            }
        })
    }

    /// Sets the status. The status ok is final, as OpenTelemetry specifies. If there is no room for
    /// an error's description, it is counted as dropped in the span.
    pub(crate) fn set_status(&mut self, id: SpanId, mut status: SpanStatus) -> bool {
        let Some(open) = self.spans.get_mut(&id) else { return false };
        if open.span.status == SpanStatus::Ok {
            return true;
        }
        // The one before goes.
        let before = description_size(&open.span.status);
        open.bytes -= before;
        self.bytes -= before;
        let size = description_size(&status);
        let has_room = self.has_room(size);
        let Some(open) = self.spans.get_mut(&id) else { return false };
        if has_room {
            open.bytes += size;
            self.bytes += size;
        } else {
            status = SpanStatus::Error("".into());
            open.span.dropped = open.span.dropped.saturating_add(1);
        }
        open.span.status = status;
        true
    }

    /// Counts attributes that the caller dropped.
    pub(crate) fn drop_attributes(&mut self, span: SpanId, dropped: u32) {
        if let Some(Open { span, .. }) = self.spans.get_mut(&span) {
            span.dropped = span.dropped.saturating_add(dropped);
        }
    }

    /// Adds something of a size to a span. If the span is full, or all open spans together are, it
    /// is counted as dropped in the span.
    fn add(&mut self, span: SpanId, size: usize, add: impl FnOnce(&mut SpanRecord) -> bool) -> bool {
        let has_room = self.has_room(size);
        let Some(Open { span, bytes, .. }) = self.spans.get_mut(&span) else { return false };
        if has_room && add(span) {
            self.bytes += size;
            *bytes += size;
        } else {
            span.dropped = span.dropped.saturating_add(1);
        }
        true
    }

    /// Adds a panic, or the error of a handler. Returns `false` if the span is not open.
    pub(super) fn exception(&mut self, span: SpanId, exception: &Exception, time: u64) -> bool {
        let kind = FieldValue::Text(exception.kind().into());
        self.add_event(span, exception.event(time))
            && self.set_attribute(span, ("error.type".into(), kind))
            && self.set_status(span, SpanStatus::Error(exception.description().into()))
    }

    /// Ends all open spans, children first. If the guest ended early, the description of `end`
    /// becomes their status, and its reason an attribute.
    pub(crate) fn close(&mut self, time: u64, end: Option<(&str, &str)>) -> Vec<Ended> {
        self.bytes = 0;
        self.charge.resize(0);
        let ended = |(_, Open { span, is_exported, .. })| Ended { span, is_exported };
        // A request with many spans leaves no large table to an instance that is used again.
        let mut spans: Vec<Ended> = std::mem::take(&mut self.spans).into_iter().map(ended).collect();
        // A parent starts before its children.
        spans.sort_by_key(|ended| (std::cmp::Reverse(ended.span.start), ended.span.context.span_id));
        for span in spans.iter_mut().map(|ended| &mut ended.span) {
            span.end = time.max(span.start);
            if let Some((reason, description)) = end {
                span.status = SpanStatus::Error(description.into());
                set(span, ("wasm.trap.reason".into(), FieldValue::Text(reason.into())));
            }
        }
        spans
    }
}

/// Sets an attribute, which replaces one with its key. Returns `false` if the span has too many.
fn set(span: &mut SpanRecord, (key, value): Field) -> bool {
    if let Some((_, known)) = span.attributes.iter_mut().find(|(known, _)| *known == key) {
        *known = value;
        return true;
    }
    let is_room = span.attributes.len() < limits::SPAN_ATTRIBUTES;
    if is_room {
        span.attributes.push((key, value));
    }
    is_room
}

/// The bytes of a status' description.
fn description_size(status: &SpanStatus) -> usize {
    match status {
        SpanStatus::Error(description) => description.len(),
        _ => 0,
    }
}

/// The approximate memory of a field in bytes.
fn field_size((key, value): &Field) -> usize {
    let text = match value {
        FieldValue::Text(text) => text.len(),
        _ => 0,
    };
    size_of::<Field>() + key.len() + text
}

fn span_kind(kind: wasmetry_abi::site::SpanKind) -> SpanKind {
    use wasmetry_abi::site::SpanKind as Declared;
    match kind {
        Declared::Internal => SpanKind::Internal,
        Declared::Server => SpanKind::Server,
        Declared::Client => SpanKind::Client,
        Declared::Producer => SpanKind::Producer,
        Declared::Consumer => SpanKind::Consumer,
    }
}
