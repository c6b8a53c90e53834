//! Carries one request to its destination, over HTTP or gRPC, and classifies the response.
//!
//! A transport has no part in retries and in the meaning of the body.

mod client;
mod grpc;
mod http;
mod otlp_response;
mod rpc;

use std::error::Error as StdError;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use wasmetry_host::encode::otlp::Encoding;

pub(crate) use self::grpc::Grpc;
pub(crate) use self::http::{Http, TENANT};
use super::config::{Otlp, Protocol};
use crate::{Error, limits};

/// The classified response to a request.
///
/// Source: OTLP specification, "OTLP/HTTP Response" and "Failures", whose terms these are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// The destination accepted the request: a full success, or a partial one.
    Success {
        /// Records that it rejected for good.
        rejected: u64,
        /// Its message, or an empty text.
        message: String,
    },
    /// The status says success, but the body is no response of the protocol: something else
    /// answered, such as a login page.
    UnrecognizedSuccess {
        /// A description of the response.
        description: String,
    },
    /// The request may be sent again.
    Retryable {
        /// The delay that the destination asks for.
        after: Option<Duration>,
        cause: String,
    },
    /// The request may be sent again; it exceeds a limit of its sender, and the destination works.
    Throttled {
        /// The delay that the destination asks for.
        after: Option<Duration>,
        cause: String,
    },
    /// The request must not be sent again.
    NonRetryable { cause: String },
    /// The request must not be sent again as it is: the destination refuses what is in it.
    InvalidContent { cause: String },
}

/// The client of a destination's protocol.
pub(crate) enum Transport {
    Http(Http),
    Grpc(Grpc),
}

impl Transport {
    /// Returns the transport to an OTLP endpoint, and the encoding of its requests.
    ///
    /// `method` is the path of the signal's gRPC method; with HTTP, the endpoint has the whole
    /// path.
    pub(crate) fn otlp(config: &Otlp, method: &str) -> Result<(Self, Encoding), Error> {
        Ok(match config.protocol {
            Protocol::Grpc => (Self::Grpc(Grpc::new(config, method)?), Encoding::Protobuf),
            Protocol::HttpProtobuf => (Self::Http(Http::otlp(config, Encoding::Protobuf)?), Encoding::Protobuf),
            Protocol::HttpJson => (Self::Http(Http::otlp(config, Encoding::Json)?), Encoding::Json),
        })
    }

    /// Compresses and frames a body, once for all attempts.
    pub(crate) fn prepare(&self, body: Vec<u8>) -> Bytes {
        match self {
            Self::Http(http) => http.prepare(body),
            Self::Grpc(grpc) => grpc.prepare(body),
        }
    }

    /// Sends a prepared body once. `tenant` is sent as a header. The attempt ends after `limit`, or
    /// after the transport's own timeout if that is shorter.
    pub(crate) async fn send(&mut self, body: Bytes, tenant: Option<&HeaderValue>, limit: Duration) -> Response {
        let timeout = limit.min(match self {
            Self::Http(http) => http.timeout(),
            Self::Grpc(grpc) => grpc.timeout(),
        });
        let response = match self {
            Self::Http(http) => tokio::time::timeout(timeout, http.send(body, tenant)).await,
            Self::Grpc(grpc) => tokio::time::timeout(timeout, grpc.send(body)).await,
        };
        response.unwrap_or_else(|_| {
            // The connection may be dead, so the next attempt opens a new one.
            match self {
                Self::Http(http) => http.reconnect(),
                Self::Grpc(grpc) => grpc.reconnect(),
            }
            let cause = format!("no answer within {} ms", timeout.as_millis());
            Response::Retryable { after: None, cause }
        })
    }
}

/// Returns `true` for a header that frames or describes a request's body, which only the protocol
/// may set.
pub(crate) fn is_protocol_header(name: &HeaderName) -> bool {
    const NAMES: [&str; 13] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "grpc-encoding",
        "grpc-timeout",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

/// Returns the headers of a configuration, which may have none of the protocol's.
fn configured_headers(headers: &HeaderMap) -> Result<HeaderMap, Error> {
    match headers.keys().find(|name| is_protocol_header(name)) {
        Some(name) => {
            let cause = format!("`{name}` belongs to the protocol and cannot be set; remove it");
            Err(Error::Setting { name: "headers", cause })
        }
        None => Ok(headers.clone()),
    }
}

/// Formats an error with its sources, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors repeat their source in their own text.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    cut(&text)
}

/// Returns the begin of a foreign text for a message: bounded, in one line, without control
/// characters.
fn cut(text: &str) -> String {
    let mut end = text.len().min(limits::CAUSE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "")
}
