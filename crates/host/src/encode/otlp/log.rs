//! Requests with log records.

use super::proto::collector::logs::v1::ExportLogsServiceRequest;
use super::proto::common::v1::{AnyValue, any_value};
use super::proto::logs::v1::{LogRecord as ProtoRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use super::record::{attributes, group};
use super::{Encoding, Process, attribute, scope};
use crate::record::{Entry, Level, LogRecord};

/// Builds the request that exports these log records, by component and target.
///
/// Audit records have a resource of their own, with the attribute `stream` = `audit`. Lines that a
/// guest printed have the attribute `log.iostream`, and no severity.
pub fn logs(entries: &[Entry<LogRecord>], process: &Process, encoding: Encoding) -> ExportLogsServiceRequest {
    let groups = group(entries, |record| &record.target, |record| record.is_audit);
    let resource_logs = groups.into_iter().map(|group| ResourceLogs {
        resource: Some(process.resource(group.identity, group.is_audit)),
        scope_logs: group
            .scopes
            .into_iter()
            .map(|(target, records)| ScopeLogs {
                scope: scope(target),
                log_records: records.into_iter().map(|record| log(record, encoding)).collect(),
                schema_url: String::new(),
            })
            .collect(),
        schema_url: String::new(),
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

fn log(record: &LogRecord, encoding: Encoding) -> ProtoRecord {
    let (mut attributes, dropped) = attributes(&record.fields, encoding);
    if let Some(source) = &record.source {
        // Source: semantic conventions, "Source Code Attributes".
        let place = [
            ("code.file.path", any_value::Value::StringValue(source.file.as_ref().to_owned())),
            ("code.line.number", any_value::Value::IntValue(source.line.into())),
        ];
        for (key, value) in place {
            if attributes.iter().all(|attribute| attribute.key != key) {
                attributes.push(attribute(key, value));
            }
        }
    }
    if let Some(stream) = record.stream {
        attributes.push(attribute("log.iostream", any_value::Value::StringValue(stream.name().to_owned())));
    }
    let (number, text) = severity(if record.stream.is_some() { Level::Off } else { record.level });
    ProtoRecord {
        time_unix_nano: record.time,
        observed_time_unix_nano: record.observed,
        severity_number: number.into(),
        severity_text: text.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(record.message.as_ref().to_owned())) }),
        attributes,
        dropped_attributes_count: dropped,
        flags: record.trace.map_or(0, |context| context.flags.into()),
        trace_id: record.trace.map_or_else(Vec::new, |context| context.trace_id.to_bytes().to_vec()),
        span_id: record.trace.map_or_else(Vec::new, |context| context.span_id.to_bytes().to_vec()),
        event_name: String::new(),
    }
}

/// Source: OpenTelemetry, "Logs Data Model", Field: `SeverityNumber`.
fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::Off => (SeverityNumber::Unspecified, ""),
        Level::Error => (SeverityNumber::Error, "ERROR"),
        Level::Warn => (SeverityNumber::Warn, "WARN"),
        Level::Info => (SeverityNumber::Info, "INFO"),
        Level::Debug => (SeverityNumber::Debug, "DEBUG"),
        Level::Trace => (SeverityNumber::Trace, "TRACE"),
    }
}
