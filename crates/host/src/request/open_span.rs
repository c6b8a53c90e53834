//! Open spans: those that have started and not ended.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring::{Argument, Arguments, StatusCode};
use wasmetry_abi::site::SiteKind;
use wasmetry_abi::trace::{SpanId, TraceContext};

use crate::declaration::site::{self, Site};
use crate::limits;
use crate::record::{Field, FieldValue, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};
use crate::request::exception::Exception;

/// The open spans of one guest. All functions that change a span return `false` if it is not open.
#[derive(Debug, Default)]
pub(crate) struct OpenSpans {
    spans: HashMap<SpanId, Open>,
    /// The bytes of attributes, events and links in all of them.
    bytes: usize,
}

/// An open span, and the bytes of its attributes, events and links.
#[derive(Debug)]
struct Open {
    span: SpanRecord,
    bytes: usize,
}

impl OpenSpans {
    /// Starts a span of a ring. Returns `false` if too many are open.
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
        };
        self.begin(span, site.fields(arguments))
    }

    /// Starts a span with these attributes. Returns `false` if too many are open.
    pub(crate) fn begin(&mut self, span: SpanRecord, attributes: Vec<Field>) -> bool {
        if self.spans.len() == limits::OPEN_SPANS {
            return false;
        }
        let id = span.context.span_id;
        self.spans.insert(id, Open { span, bytes: 0 });
        for attribute in attributes {
            self.set_attribute(id, attribute);
        }
        true
    }

    /// Returns `true` if a span is open.
    pub(crate) fn has(&self, span: SpanId) -> bool {
        self.spans.contains_key(&span)
    }

    /// Ends a span. Returns `None` if it is not open.
    pub(crate) fn end(&mut self, span: SpanId, time: u64) -> Option<SpanRecord> {
        let Open { mut span, bytes } = self.spans.remove(&span)?;
        self.bytes -= bytes;
        span.end = time.max(span.start);
        Some(span)
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

    /// Sets the status. The status ok is final, as OpenTelemetry specifies.
    pub(crate) fn set_status(&mut self, span: SpanId, status: SpanStatus) -> bool {
        let Some(Open { span, .. }) = self.spans.get_mut(&span) else { return false };
        if span.status != SpanStatus::Ok {
            span.status = status;
        }
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
        let Some(Open { span, bytes }) = self.spans.get_mut(&span) else { return false };
        if self.bytes + size <= limits::OPEN_SPAN_BYTES && add(span) {
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
    pub(crate) fn close(&mut self, time: u64, end: Option<(&str, &str)>) -> Vec<SpanRecord> {
        self.bytes = 0;
        let mut spans: Vec<SpanRecord> = self.spans.drain().map(|(_, open)| open.span).collect();
        // A parent starts before its children.
        spans.sort_by_key(|span| (std::cmp::Reverse(span.start), span.context.span_id));
        for span in &mut spans {
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
