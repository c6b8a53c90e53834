//! Records of a guest's rings.

use wasmetry_abi::ring::{Body, Record};

use super::RequestTelemetry;
use super::tail_buffer::BufferedRecord;
use crate::record::{LogRecord, SpanLink};
use crate::registry::drop_reason::HostDropReason;

impl RequestTelemetry {
    /// Receives one record. `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn receive(&mut self, bytes: &[u8], is_audit: bool, now: u64) {
        let Some(record) = Record::decode(bytes) else { return self.component.count(HostDropReason::UnknownRecord, 1) };
        if let Body::RequestAttribute { request, arguments } = record.body {
            self.set_recorded_attribute(request, arguments);
        } else if is_audit || self.is_exported(&record) {
            self.export(&record, is_audit, now);
        } else {
            self.buffer(|| BufferedRecord::Ring(bytes.into()));
        }
    }

    /// Returns `true` if a record is exported whatever the outcome of its request.
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
            // The other records of a span follow its start.
            _ => record.span.is_some_and(|span| self.exported_spans.has(span)),
        }
    }

    /// Exports a log, or adds a record to its open span.
    pub(super) fn export(&mut self, record: &Record<'_>, is_audit: bool, now: u64) {
        let time = if record.time == 0 { now } else { record.time };
        let spans = &mut self.exported_spans;
        let is_recorded = match record.body {
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
                        stream: None,
                    };
                    self.sink.log(&self.identity, log);
                    Ok(true)
                }
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::Start { site, context, parent, is_parent_remote, arguments } => match self.sites.get(&site) {
                Some(site) => Ok(spans.start(site, context, parent, is_parent_remote, time, arguments)),
                None => Err(HostDropReason::UnknownRecord),
            },
            Body::End => match record.span.and_then(|span| spans.end(span, time)) {
                Some(span) => {
                    self.sink.span(&self.identity, span);
                    Ok(true)
                }
                None => Ok(false),
            },
            Body::Event { site, arguments } => match (record.span, self.sites.get(&site)) {
                (Some(span), Some(site)) => Ok(spans.event(span, site, time, arguments)),
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
        };
        match is_recorded {
            Ok(true) => {}
            Ok(false) => self.component.count(HostDropReason::SpanLimit, 1),
            Err(reason) => self.component.count(reason, 1),
        }
    }
}
