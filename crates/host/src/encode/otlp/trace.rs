//! Requests with spans.

use super::proto::collector::trace::v1::ExportTraceServiceRequest;
use super::proto::trace::v1::span::{Event, Link, SpanKind as ProtoKind};
use super::proto::trace::v1::status::StatusCode;
use super::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use super::record::{attributes, group};
use super::{Encoding, Process, scope};
use crate::record::{Entry, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};

/// Builds the request that exports these spans, by component and target.
pub fn traces(entries: &[Entry<SpanRecord>], process: &Process, encoding: Encoding) -> ExportTraceServiceRequest {
    let groups = group(entries, |record| &record.target, |_| false);
    let resource_spans = groups.into_iter().map(|group| ResourceSpans {
        resource: Some(process.resource(group.identity, group.is_audit)),
        scope_spans: group
            .scopes
            .into_iter()
            .map(|(target, records)| ScopeSpans {
                scope: scope(target),
                spans: records.into_iter().map(|record| span(record, encoding)).collect(),
                schema_url: String::new(),
            })
            .collect(),
        schema_url: String::new(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn span(record: &SpanRecord, encoding: Encoding) -> Span {
    let (attributes, dropped) = attributes(&record.attributes, encoding);
    Span {
        trace_id: record.context.trace_id.to_bytes().to_vec(),
        span_id: record.context.span_id.to_bytes().to_vec(),
        trace_state: record.trace_state.as_ref().to_owned(),
        parent_span_id: record.parent.map_or_else(Vec::new, |parent| parent.to_bytes().to_vec()),
        flags: flags(record),
        // The protocol requires a name.
        name: if record.name.is_empty() { "unknown" } else { &record.name }.to_owned(),
        kind: kind(record.kind).into(),
        start_time_unix_nano: record.start,
        end_time_unix_nano: record.end.max(record.start),
        attributes,
        dropped_attributes_count: dropped.saturating_add(record.dropped),
        events: record.events.iter().map(|record| event(record, encoding)).collect(),
        dropped_events_count: 0,
        links: record.links.iter().map(|record| link(record, encoding)).collect(),
        dropped_links_count: 0,
        status: Some(status(&record.status)),
    }
}

/// The trace flags, with the flag of a remote parent, which is always known.
fn flags(record: &SpanRecord) -> u32 {
    let remote = if record.is_parent_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    u32::from(record.context.flags) | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn kind(kind: SpanKind) -> ProtoKind {
    match kind {
        SpanKind::Internal => ProtoKind::Internal,
        SpanKind::Server => ProtoKind::Server,
        SpanKind::Client => ProtoKind::Client,
        SpanKind::Producer => ProtoKind::Producer,
        SpanKind::Consumer => ProtoKind::Consumer,
    }
}

fn status(status: &SpanStatus) -> Status {
    let (code, message) = match status {
        SpanStatus::Unset => (StatusCode::Unset, ""),
        SpanStatus::Ok => (StatusCode::Ok, ""),
        SpanStatus::Error(reason) => (StatusCode::Error, reason.as_ref()),
    };
    Status { code: code.into(), message: message.to_owned() }
}

fn event(event: &SpanEvent, encoding: Encoding) -> Event {
    let (attributes, dropped) = attributes(&event.attributes, encoding);
    Event {
        time_unix_nano: event.time,
        name: event.name.as_ref().to_owned(),
        attributes,
        dropped_attributes_count: dropped,
    }
}

fn link(link: &SpanLink, encoding: Encoding) -> Link {
    let (attributes, dropped) = attributes(&link.attributes, encoding);
    Link {
        trace_id: link.context.trace_id.to_bytes().to_vec(),
        span_id: link.context.span_id.to_bytes().to_vec(),
        trace_state: String::new(),
        attributes,
        dropped_attributes_count: dropped,
        // It is not known whether the linked span is in another process.
        flags: link.context.flags.into(),
    }
}
