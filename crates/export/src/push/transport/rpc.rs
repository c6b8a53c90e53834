//! The error message of OTLP and gRPC servers: `google.rpc.Status`, and its detail
//! `google.rpc.RetryInfo`.
//!
//! Source: googleapis, `google/rpc/status.proto` and `error_details.proto`; Protocol Buffers,
//! `any.proto` and `duration.proto`. Each message has only the fields that are read.

use std::time::Duration;

use prost::Message;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    /// For a developer, in English.
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Status {
    /// Returns the delay that the server asks for, if it has one.
    pub(super) fn retry_delay(&self) -> Option<Duration> {
        let is_retry_info = |any: &&Any| any.type_url.rsplit('/').next() == Some("google.rpc.RetryInfo");
        let any = self.details.iter().find(is_retry_info)?;
        let delay = RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay?;
        // A negative delay is over.
        let seconds = Duration::from_secs(u64::try_from(delay.seconds).unwrap_or(0));
        Some(seconds + Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or(0)))
    }
}
