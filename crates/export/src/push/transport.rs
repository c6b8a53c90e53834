//! How a request reaches its destination, and what the destination says to it.

mod client;
mod grpc;
mod http;
mod rpc;

use std::error::Error as StdError;
use std::time::Duration;

use ::http::HeaderValue;
use bytes::Bytes;
use wasmetry_host::encode::otlp::Encoding;

pub(crate) use self::grpc::Grpc;
pub(crate) use self::http::{Http, TENANT};
use super::config::{Otlp, Protocol};
use crate::{Error, limits};

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The destination has it, but for so many records, or has a warning.
    Accepted {
        /// Records that it did not take and will not take.
        rejected: u64,
        /// What it says to that, or an empty text.
        message: String,
    },
    /// It may be sent again.
    Retry {
        /// For how long the destination wants to be left alone.
        after: Option<Duration>,
        /// What went wrong.
        cause: String,
    },
    /// It must not be sent again.
    Refused {
        /// What the destination says is wrong with it.
        cause: String,
    },
}

/// A way to a destination.
pub(crate) enum Transport {
    Http(Http),
    Grpc(Grpc),
}

impl Transport {
    /// The way to an OTLP endpoint, and the form in which it is gone.
    ///
    /// `path` is that of the signal's method with gRPC; with HTTP the endpoint is whole.
    pub(crate) fn otlp(config: &Otlp, path: &str) -> Result<(Self, Encoding), Error> {
        Ok(match config.protocol {
            Protocol::Grpc => (Self::Grpc(Grpc::new(config, path)?), Encoding::Protobuf),
            Protocol::HttpProtobuf => (Self::Http(Http::otlp(config, Encoding::Protobuf)?), Encoding::Protobuf),
            Protocol::HttpJson => (Self::Http(Http::otlp(config, Encoding::Json)?), Encoding::Json),
        })
    }

    /// Makes a body ready to be sent, as often as need be.
    pub(crate) fn prepare(&self, body: Vec<u8>) -> Bytes {
        match self {
            Self::Http(http) => http.prepare(body),
            Self::Grpc(grpc) => grpc.prepare(body),
        }
    }

    /// Sends a prepared body once, for a tenant that the destination is told of.
    pub(crate) async fn send(&mut self, body: Bytes, tenant: Option<&HeaderValue>) -> Outcome {
        let (outcome, timeout) = match self {
            Self::Http(http) => (tokio::time::timeout(http.timeout(), http.send(body, tenant)).await, http.timeout()),
            Self::Grpc(grpc) => (tokio::time::timeout(grpc.timeout(), grpc.send(body)).await, grpc.timeout()),
        };
        outcome.unwrap_or_else(|_| {
            // A connection on which nothing comes may be dead; the next attempt makes a new one.
            match self {
                Self::Http(http) => http.reconnect(),
                Self::Grpc(grpc) => grpc.reconnect(),
            }
            let cause = format!("no answer within {} ms", timeout.as_millis());
            Outcome::Retry { after: None, cause }
        })
    }
}

/// An error with all that led to it, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors repeat their source in their own words.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    cut(&text)
}

/// As much of a foreign text as is repeated to the operator, in one line and with nothing invisible.
fn cut(text: &str) -> String {
    let mut end = text.len().min(limits::CAUSE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "")
}
