//! Spans that are being put together from their records.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::ring::{Argument, Arguments, StatusCode};
use wasmetry_abi::site::SiteKind;
use wasmetry_abi::trace::{SpanId, TraceContext};

use crate::limits;
use crate::record::{Field, FieldValue, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};
use crate::site::{self, Site};

/// The spans of one guest that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct OpenSpans {
    spans: HashMap<SpanId, SpanRecord>,
}

impl OpenSpans {
    /// A span begins; says no where too many are open.
    pub(crate) fn start(
        &mut self,
        site: &Site,
        context: TraceContext,
        parent: Option<SpanId>,
        is_parent_remote: bool,
        time: u64,
        arguments: Arguments<'_>,
    ) -> bool {
        if self.spans.len() == limits::OPEN_SPANS {
            return false;
        }
        let SiteKind::Span(kind) = site.kind else { return false };
        let mut span = SpanRecord {
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
        for attribute in site.fields(arguments) {
            set(&mut span, attribute);
        }
        self.spans.insert(context.span_id, span);
        true
    }

    /// Whether a span is open.
    pub(crate) fn has(&self, span: SpanId) -> bool {
        self.spans.contains_key(&span)
    }

    /// A span has ended; nothing if it was not open.
    pub(crate) fn end(&mut self, span: SpanId, time: u64) -> Option<SpanRecord> {
        let mut span = self.spans.remove(&span)?;
        span.end = time.max(span.start);
        Some(span)
    }

    /// Something happened in a span; says no where it is not open, as in the functions below.
    pub(crate) fn event(&mut self, span: SpanId, site: &Site, time: u64, arguments: Arguments<'_>) -> bool {
        let Some(span) = self.spans.get_mut(&span) else { return false };
        if span.events.len() < limits::SPAN_EVENTS {
            let (name, attributes) = site.render(arguments);
            span.events.push(SpanEvent { time, name: name.into(), attributes });
        } else {
            span.dropped += 1;
        }
        true
    }

    /// A span gets an attribute.
    pub(crate) fn attribute(&mut self, span: SpanId, mut arguments: Arguments<'_>) -> bool {
        let Some(span) = self.spans.get_mut(&span) else { return false };
        let (Some(Argument::Text { bytes, is_cut }), Some(value)) = (arguments.next(), arguments.next()) else {
            return false;
        };
        set(span, (site::text(bytes, is_cut).into(), site::value(value)));
        true
    }

    /// A span gets a link.
    pub(crate) fn link(&mut self, span: SpanId, context: TraceContext) -> bool {
        let Some(span) = self.spans.get_mut(&span) else { return false };
        if span.links.len() < limits::SPAN_LINKS {
            span.links.push(SpanLink { context, attributes: Vec::new() });
        } else {
            span.dropped += 1;
        }
        true
    }

    /// A span gets a status. As OpenTelemetry has it, nothing replaces the status ok.
    pub(crate) fn status(&mut self, span: SpanId, code: StatusCode, mut arguments: Arguments<'_>) -> bool {
        let Some(span) = self.spans.get_mut(&span) else { return false };
        if span.status != SpanStatus::Ok {
            span.status = match (code, arguments.next()) {
                (StatusCode::Ok, _) => SpanStatus::Ok,
                (StatusCode::Error, Some(Argument::Text { bytes, is_cut })) => {
                    SpanStatus::Error(site::text(bytes, is_cut).into())
                }
                (StatusCode::Error, _) => SpanStatus::Error("".into()),
            };
        }
        true
    }

    /// Ends all spans that are open, with the reason why their guest has ended if it did so before its time.
    pub(crate) fn close(&mut self, time: u64, reason: Option<&str>) -> Vec<SpanRecord> {
        let mut spans: Vec<SpanRecord> = self.spans.drain().map(|(_, span)| span).collect();
        // A parent begins before its child.
        spans.sort_by_key(|span| (std::cmp::Reverse(span.start), span.context.span_id));
        for span in &mut spans {
            span.end = time.max(span.start);
            if let Some(reason) = reason {
                span.status = SpanStatus::Error(reason.into());
                set(span, ("wasm.trap.reason".into(), FieldValue::Text(reason.into())));
            }
        }
        spans
    }
}

/// Sets an attribute, in the place of one with its key.
fn set(span: &mut SpanRecord, (key, value): Field) {
    if let Some((_, known)) = span.attributes.iter_mut().find(|(known, _)| *known == key) {
        *known = value;
    } else if span.attributes.len() < limits::SPAN_ATTRIBUTES {
        span.attributes.push((key, value));
    } else {
        span.dropped += 1;
    }
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
