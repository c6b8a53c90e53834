//! One unary call for each request.
//!
//! Source: gRPC, "gRPC over HTTP2". A call of one message each way is an HTTP request and its answer with five bytes before
//! either message and a status behind, so that it takes no more than the HTTP client that is here anyway.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode;
use prost::Message;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceResponse;

use super::client::{self, AGENT, Client, Version};
use super::rpc::Status;
use super::{Outcome, chain, cut};
use crate::push::config::{Compression, Otlp};
use crate::{Error, limits};

const GRPC: &str = "application/grpc";

// Sent only where the message is compressed; an answer is a few words, so no encoding of it is offered.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Binary headers may be padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A client of one method of one server, with a connection that is kept.
pub(crate) struct Grpc {
    client: Client,
    timeout: Duration,
    compression: Compression,
}

impl Grpc {
    /// A client of a method, by its path, which follows the one of the endpoint if that has any.
    pub(crate) fn new(config: &Otlp, path: &str) -> Result<Self, Error> {
        let mut headers = config.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(TIMEOUT, timeout(config.timeout));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if config.compression == Compression::Gzip {
            headers.insert(ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut parts = config.endpoint.clone().into_parts();
        let path = format!("{}{path}", config.endpoint.path().trim_end_matches('/'));
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        let uri = Uri::from_parts(parts).unwrap_or_else(|_| config.endpoint.clone());
        let client = Client::new(uri, headers, &config.tls, Version::Http2)?;
        Ok(Self { client, timeout: config.timeout, compression: config.compression })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Forgets the connection.
    pub(super) fn reconnect(&mut self) {
        self.client.reconnect();
    }

    /// Makes a message ready to be sent: compressed if it is to be, behind its prefix.
    pub(super) fn prepare(&self, message: Vec<u8>) -> Bytes {
        let is_compressed = self.compression == Compression::Gzip;
        let message = if is_compressed { client::gzip(&message) } else { message };
        let mut framed = Vec::with_capacity(message.len() + 5);
        framed.put_u8(is_compressed.into());
        // Batches are bounded far below 4 GiB.
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.extend(message);
        framed.into()
    }

    /// Sends a prepared message once.
    pub(super) async fn send(&self, message: Bytes) -> Outcome {
        match self.client.send(message, None).await {
            Ok(response) => outcome(response).await,
            Err(error) => Outcome::Retry { after: None, cause: chain(&error) },
        }
    }
}

/// A timeout has at most eight digits.
fn timeout(timeout: Duration) -> HeaderValue {
    let (number, unit) = match timeout.as_millis() {
        millis @ ..100_000_000 => (millis, 'm'),
        _ => (u128::from(timeout.as_secs()).min(99_999_999), 'S'),
    };
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("1H"))
}

async fn outcome(response: Response<Incoming>) -> Outcome {
    let (head, body) = response.into_parts();
    if head.headers.contains_key(STATUS) {
        // There is nothing but the status, which stands where trailers do not fit.
        return ended(&head.headers, &[]);
    }
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes()));
    if head.status != StatusCode::OK || !is_grpc {
        return foreign(head.status);
    }
    let body = match Limited::new(body, limits::ANSWER_BYTES).collect().await {
        Ok(body) => body,
        Err(error) => {
            return Outcome::Retry { after: None, cause: format!("half an answer: {}", chain(&*error)) };
        }
    };
    match body.trailers().cloned() {
        Some(trailers) if trailers.contains_key(STATUS) => ended(&trailers, &body.to_bytes()),
        _ => Outcome::Retry { after: None, cause: "half an answer: there is no gRPC status at its end".to_owned() },
    }
}

/// What became of a call that has a status.
///
/// Source: OTLP specification, "Failures" and "OTLP/gRPC Throttling"; the numbers are gRPC's.
fn ended(trailers: &HeaderMap, body: &[u8]) -> Outcome {
    let text = |name| trailers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let number = std::str::from_utf8(text(STATUS)).ok().and_then(|number| number.parse().ok());
    let number: usize = number.unwrap_or(UNKNOWN);
    if number == 0 {
        return accepted(body);
    }
    let details = BASE64.decode(text(DETAILS)).ok().and_then(|details| Status::decode(details.as_slice()).ok());
    let after = details.and_then(|details| details.retry_delay());
    let message = cut(&percent_decode(text(MESSAGE)).decode_utf8_lossy());
    failed(number, after, &message)
}

/// What became of a call that was answered by something that does not speak gRPC.
///
/// Source: gRPC, "HTTP to gRPC Status Code Mapping".
fn foreign(status: StatusCode) -> Outcome {
    let number = match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    };
    failed(number, None, &format!("answered with HTTP's {status}, not with gRPC"))
}

fn failed(number: usize, after: Option<Duration>, message: &str) -> Outcome {
    let name = NAMES.get(number).copied().unwrap_or(NAMES[UNKNOWN]);
    let separator = if message.is_empty() { "" } else { ": " };
    let cause = format!("status {name}{separator}{message}");
    let is_retryable = match number {
        CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS => true,
        // Only where the server says that it will recover.
        RESOURCE_EXHAUSTED => after.is_some(),
        _ => false,
    };
    if is_retryable { Outcome::Retry { after, cause } } else { Outcome::Refused { cause } }
}

fn accepted(body: &[u8]) -> Outcome {
    // The answers to the three signals have the same fields under the same numbers. What cannot be read says nothing.
    let message = body.get(5..).unwrap_or_default();
    let response = ExportLogsServiceResponse::decode(message).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    Outcome::Accepted {
        rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
        message: cut(&partial.error_message),
    }
}

const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
const DEADLINE_EXCEEDED: usize = 4;
const PERMISSION_DENIED: usize = 7;
const RESOURCE_EXHAUSTED: usize = 8;
const ABORTED: usize = 10;
const OUT_OF_RANGE: usize = 11;
const UNIMPLEMENTED: usize = 12;
const INTERNAL: usize = 13;
const UNAVAILABLE: usize = 14;
const DATA_LOSS: usize = 15;
const UNAUTHENTICATED: usize = 16;

/// The names of the statuses, by their numbers.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
