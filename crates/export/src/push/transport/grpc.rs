//! One unary call for each request.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::Uri;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceResponse;

use super::http::AGENT;
use super::tls::{self, Version};
use super::{Connector, Outcome, chain, cut};
use crate::push::config::{Compression, Otlp};
use crate::{Error, limits};

/// A client of one method of one server, with a connection that is kept.
pub(crate) struct Grpc {
    origin: Uri,
    path: PathAndQuery,
    metadata: MetadataMap,
    timeout: Duration,
    compression: Compression,
    connector: Connector,
    client: Client<Connector, tonic::body::Body>,
}

impl Grpc {
    /// A client of a method, by its path.
    pub(crate) fn new(config: &Otlp, path: &'static str) -> Result<Self, Error> {
        let connector = tls::connector(&config.tls, Version::Http2)?;
        let mut headers: HeaderMap = config.headers.clone();
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        Ok(Self {
            origin: config.endpoint.clone(),
            path: PathAndQuery::from_static(path),
            metadata: MetadataMap::from_headers(headers),
            timeout: config.timeout,
            compression: config.compression,
            client: client(&connector),
            connector,
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Forgets the connection.
    pub(super) fn reconnect(&mut self) {
        self.client = client(&self.connector);
    }

    /// Sends a message once.
    pub(super) async fn send(&mut self, message: Bytes) -> Outcome {
        let mut grpc = tonic::client::Grpc::with_origin(self.client.clone(), self.origin.clone())
            .max_decoding_message_size(limits::ANSWER_BYTES);
        if self.compression == Compression::Gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(self.timeout);
        match grpc.unary(request, self.path.clone(), Bare).await {
            Ok(response) => accepted(&response.into_inner()),
            Err(status) => outcome(&status),
        }
    }
}

fn client(connector: &Connector) -> Client<Connector, tonic::body::Body> {
    Client::builder(TokioExecutor::new()).http2_only(true).pool_timer(TokioTimer::new()).build(connector.clone())
}

fn accepted(message: &Bytes) -> Outcome {
    // The answers to the three signals have the same fields under the same numbers.
    let response = ExportLogsServiceResponse::decode(message.clone()).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    Outcome::Accepted {
        rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
        message: cut(&partial.error_message),
    }
}

/// Source: OTLP specification, "Failures" and "OTLP/gRPC Throttling".
fn outcome(status: &Status) -> Outcome {
    if let Some(source) = std::error::Error::source(status) {
        // Not the server's word: there was no connection, or it broke.
        return Outcome::Retry { after: None, cause: chain(source) };
    }
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let is_retryable = match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => true,
        Code::OutOfRange | Code::Unavailable | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    let message = cut(status.message());
    let separator = if message.is_empty() { "" } else { ": " };
    let cause = format!("status {:?}{separator}{message}", status.code());
    if is_retryable { Outcome::Retry { after, cause } } else { Outcome::Refused { cause } }
}

/// Messages that are bytes already.
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}
