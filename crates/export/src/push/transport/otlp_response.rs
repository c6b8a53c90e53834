//! The body of a successful OTLP response: an empty message, or a partial success.

use prost::Message;
use wasmetry_host::encode::otlp::Encoding;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceResponse;

use super::{Response, cut};

/// Parses the body of a success, which is of any of the three signals: their messages have the same
/// fields under the same numbers. Returns `None` if the body is no such message.
pub(super) fn parse(body: &[u8], encoding: Encoding) -> Option<Response> {
    match encoding {
        Encoding::Protobuf => protobuf(body),
        Encoding::Json => json(body),
    }
}

fn protobuf(body: &[u8]) -> Option<Response> {
    let partial = ExportLogsServiceResponse::decode(body).ok()?.partial_success.unwrap_or_default();
    Some(Response::Success {
        rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
        message: cut(&partial.error_message),
    })
}

fn json(body: &[u8]) -> Option<Response> {
    if body.trim_ascii().is_empty() {
        return protobuf(&[]);
    }
    let response: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let partial = response.get("partialSuccess").unwrap_or(&serde_json::Value::Null);
    // Protocol Buffers' JSON has 64-bit integers as strings; numbers are accepted too.
    let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let rejected =
        ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints"].into_iter().find_map(|key| number(&partial[key]));
    Some(Response::Success {
        rejected: rejected.unwrap_or(0),
        message: cut(partial["errorMessage"].as_str().unwrap_or_default()),
    })
}
