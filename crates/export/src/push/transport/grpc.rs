//! One unary gRPC call for each body: OTLP/gRPC.
//!
//! Source: gRPC, "gRPC over HTTP2". A unary call is an HTTP/2 request and its response, with five
//! bytes before each message and a status in the trailers, so the HTTP client of this crate is
//! enough.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode;
use prost::Message;
use wasmetry_host::encode::otlp::Encoding;

use super::client::{self, AGENT, Client, Version};
use super::rpc::Status;
use super::{Response, chain, configured_headers, cut, otlp_response};
use crate::push::config::{Compression, Otlp};
use crate::{Error, limits};

const GRPC: &str = "application/grpc";

// Sent with a compressed message only. Responses are short, so no compression of them is offered;
// but gRPC's server in Go compresses a response as the request was, whatever its client accepts.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The encoding of binary headers, which may be padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A client of one gRPC method of one server. It keeps its connection alive.
pub(crate) struct Grpc {
    client: Client,
    timeout: Duration,
    compression: Compression,
}

impl Grpc {
    /// Returns the client of a method. The path of the method follows the path of the endpoint, if
    /// the endpoint has one.
    pub(crate) fn new(config: &Otlp, path: &str) -> Result<Self, Error> {
        let mut headers = configured_headers(&config.headers)?;
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

    /// Drops the connection; the next call opens another one.
    pub(super) fn reconnect(&mut self) {
        self.client.reconnect();
    }

    /// Compresses a message as the configuration says, and prepends its prefix.
    pub(super) fn prepare(&self, message: Vec<u8>) -> Bytes {
        let is_compressed = self.compression == Compression::Gzip;
        let message = if is_compressed { client::gzip(&message) } else { message };
        let mut framed = Vec::with_capacity(message.len() + 5);
        framed.put_u8(is_compressed.into());
        // Batches are far smaller than 4 GiB.
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.extend(message);
        framed.into()
    }

    /// Sends a prepared message once.
    pub(super) async fn send(&self, message: Bytes) -> Response {
        match self.client.send(message, None).await {
            Ok(response) => classify(response).await,
            Err(error) => Response::Retryable { after: None, cause: chain(&error) },
        }
    }
}

/// Formats a timeout, which has at most eight digits.
fn timeout(timeout: Duration) -> HeaderValue {
    let (number, unit) = match timeout.as_millis() {
        millis @ ..100_000_000 => (millis, 'm'),
        _ => (u128::from(timeout.as_secs()).min(99_999_999), 'S'),
    };
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("1H"))
}

async fn classify(response: http::Response<Incoming>) -> Response {
    let (head, body) = response.into_parts();
    if head.headers.contains_key(STATUS) {
        // The response has no message: the status is in the head.
        return with_status(&head.headers, Some(&[]));
    }
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes()));
    if head.status != StatusCode::OK || !is_grpc {
        return without_grpc(head.status);
    }
    let body = match Limited::new(body, limits::ANSWER_BYTES).collect().await {
        Ok(body) => body,
        Err(error) => {
            return Response::Retryable {
                after: None,
                cause: format!("the response is incomplete: {}", chain(&*error)),
            };
        }
    };
    match body.trailers().cloned() {
        Some(trailers) if trailers.contains_key(STATUS) => {
            let body = body.to_bytes();
            with_status(&trailers, message(head.headers.get(ENCODING), &body).as_deref())
        }
        _ => Response::Retryable { after: None, cause: "the response is incomplete: it has no gRPC status".to_owned() },
    }
}

/// Returns the message in a response's body, decompressed. Returns `None` if it is in no known
/// encoding.
fn message<'a>(encoding: Option<&HeaderValue>, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let message = body.get(5..).unwrap_or_default();
    match (body.first(), encoding.map(HeaderValue::as_bytes)) {
        (None | Some(0), _) => Some(Cow::Borrowed(message)),
        (Some(1), Some(b"gzip")) => client::gunzip(message, limits::ANSWER_BYTES).map(Cow::Owned),
        _ => None,
    }
}

/// Classifies a call that ended with a gRPC status, and with a message that could be decompressed.
///
/// Source: OTLP specification, "Failures" and "OTLP/gRPC Throttling"; the numbers are gRPC's.
fn with_status(trailers: &HeaderMap, message: Option<&[u8]>) -> Response {
    let text = |name| trailers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let number = std::str::from_utf8(text(STATUS)).ok().and_then(|number| number.parse().ok());
    let number: usize = number.unwrap_or(UNKNOWN);
    if number == 0 {
        let parsed = message.and_then(|message| otlp_response::parse(message, Encoding::Protobuf));
        return parsed.unwrap_or_else(|| Response::UnrecognizedSuccess {
            description: "status OK, and a message that is no OTLP response".to_owned(),
        });
    }
    let details = BASE64.decode(text(DETAILS)).ok().and_then(|details| Status::decode(details.as_slice()).ok());
    let after = details.and_then(|details| details.retry_delay());
    let message = cut(&percent_decode(text(MESSAGE)).decode_utf8_lossy());
    failed(number, after, &message)
}

/// Classifies a call that was answered by something that does not speak gRPC.
///
/// Source: gRPC, "HTTP to gRPC Status Code Mapping".
fn without_grpc(status: StatusCode) -> Response {
    let number = match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    };
    failed(number, None, &format!("the answer is HTTP {status}, not gRPC"))
}

fn failed(number: usize, after: Option<Duration>, message: &str) -> Response {
    let name = NAMES.get(number).copied().unwrap_or(NAMES[UNKNOWN]);
    let separator = if message.is_empty() { "" } else { ": " };
    let cause = format!("status {name}{separator}{message}");
    let is_retryable = match number {
        CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS => true,
        // Only if the server says when it will have recovered.
        RESOURCE_EXHAUSTED => after.is_some(),
        _ => false,
    };
    match number {
        _ if is_retryable => Response::Retryable { after, cause },
        // Without a time, the resource is the size of a message.
        INVALID_ARGUMENT | RESOURCE_EXHAUSTED => Response::InvalidContent { cause },
        _ => Response::NonRetryable { cause },
    }
}

const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
const INVALID_ARGUMENT: usize = 3;
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
