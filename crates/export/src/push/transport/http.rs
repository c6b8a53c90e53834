//! One request for each body.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use prost::Message;
use wasmetry_host::encode::otlp::Encoding;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceResponse;

use super::client::{self, AGENT, Client, Version};
use super::rpc::Status;
use super::{Outcome, chain, cut};
use crate::push::config::{Compression, Loki, LokiFormat, Otlp};
use crate::push::export_request::retry;
use crate::push::gateway::{Gateway, Replaces};
use crate::scrape::Format;
use crate::{Error, limits};

/// Tells Loki whose records they are.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// How a destination's answers are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// OTLP's, in Protobuf.
    OtlpProtobuf,
    /// OTLP's, in JSON.
    OtlpJson,
    /// Loki's, which are words.
    Loki,
    /// A Pushgateway's, which are words.
    Gateway,
}

impl Receipt {
    /// Whether a request that got this status may be sent again.
    fn is_retryable(self, status: StatusCode) -> bool {
        match self {
            // Source: OTLP specification, "Retryable Response Codes": these four, and no other.
            Self::OtlpProtobuf | Self::OtlpJson => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            // Source: what Loki's own clients do (Promtail, `clients/pkg/promtail/client`).
            Self::Loki => status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
            // It has no rule. What stands before it answers so while it starts.
            Self::Gateway => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// The records that an accepted request lost all the same, and what the destination says to that.
    fn partial_success(self, body: &[u8]) -> (u64, String) {
        match self {
            Self::OtlpProtobuf => {
                // The answers to the three signals have the same fields under the same numbers.
                let Ok(response) = ExportLogsServiceResponse::decode(body) else { return (0, String::new()) };
                let partial = response.partial_success.unwrap_or_default();
                (u64::try_from(partial.rejected_log_records).unwrap_or(0), cut(&partial.error_message))
            }
            Self::OtlpJson => {
                let Ok(response) = serde_json::from_slice::<serde_json::Value>(body) else { return (0, String::new()) };
                let partial = &response["partialSuccess"];
                // 64-bit integers are texts in Protobuf's JSON, and numbers are accepted.
                let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
                let rejected = ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints"]
                    .into_iter()
                    .find_map(|key| number(&partial[key]));
                (rejected.unwrap_or(0), cut(partial["errorMessage"].as_str().unwrap_or_default()))
            }
            Self::Loki | Self::Gateway => (0, String::new()),
        }
    }

    /// What a destination says to a request that it did not accept.
    fn complaint(self, body: &[u8]) -> String {
        let message = match self {
            Self::OtlpProtobuf => Status::decode(body).map(|status| status.message).ok(),
            Self::OtlpJson => serde_json::from_slice::<serde_json::Value>(body)
                .ok()
                .and_then(|status| Some(status["message"].as_str()?.to_owned())),
            Self::Loki | Self::Gateway => None,
        };
        // What stands between may answer in its own words.
        cut(&message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
    }
}

/// What is done to a body before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Snappy,
}

impl From<Compression> for Packing {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
        }
    }
}

/// A client of one URL, with a connection that is kept.
pub(crate) struct Http {
    client: Client,
    receipt: Receipt,
    timeout: Duration,
    packing: Packing,
}

impl Http {
    /// A client of an OTLP endpoint.
    pub(crate) fn otlp(config: &Otlp, encoding: Encoding) -> Result<Self, Error> {
        let receipt = match encoding {
            Encoding::Protobuf => Receipt::OtlpProtobuf,
            Encoding::Json => Receipt::OtlpJson,
        };
        let packing = config.compression.into();
        let headers = headers(&config.headers, encoding.content_type(), packing);
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?;
        Ok(Self { client, receipt, timeout: config.timeout, packing })
    }

    /// A client of a Loki.
    pub(crate) fn loki(config: &Loki) -> Result<Self, Error> {
        let (content_type, packing) = match config.format {
            LokiFormat::Protobuf => (Encoding::Protobuf.content_type(), Packing::Snappy),
            LokiFormat::Json(compression) => (Encoding::Json.content_type(), compression.into()),
        };
        let headers = headers(&config.headers, content_type, packing);
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?;
        Ok(Self { client, receipt: Receipt::Loki, timeout: config.timeout, packing })
    }

    /// A client of a Pushgateway.
    pub(crate) fn gateway(config: &Gateway) -> Result<Self, Error> {
        let packing = Packing::None;
        let headers = headers(&config.headers, Format::Text.content_type(), packing);
        let method = match config.replaces {
            Replaces::Group => Method::PUT,
            Replaces::Names => Method::POST,
        };
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?.with_method(method);
        Ok(Self { client, receipt: Receipt::Gateway, timeout: config.timeout, packing })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Forgets the connection.
    pub(super) fn reconnect(&mut self) {
        self.client.reconnect();
    }

    /// Makes a body ready to be sent: compressed if it is to be.
    pub(super) fn prepare(&self, body: Vec<u8>) -> Bytes {
        match self.packing {
            Packing::None => body.into(),
            Packing::Gzip => client::gzip(&body).into(),
            // It fails for more than 4 GiB only, and batches are bounded far below that.
            Packing::Snappy => snap::raw::Encoder::new().compress_vec(&body).unwrap_or_default().into(),
        }
    }

    /// Sends a prepared body once, for a tenant of Loki's.
    pub(super) async fn send(&self, body: Bytes, tenant: Option<&HeaderValue>) -> Outcome {
        let tenant = tenant.map(|tenant| (TENANT, tenant.clone()));
        match self.client.send(body, tenant).await {
            Ok(response) => self.outcome(response).await,
            Err(error) => Outcome::Retry { after: None, cause: chain(&error) },
        }
    }

    async fn outcome(&self, response: Response<Incoming>) -> Outcome {
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry::retry_after(value, SystemTime::now()));
        let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let moved = location.map(|location| cut(&format!("it is at {}", String::from_utf8_lossy(location.as_bytes()))));
        let body = Limited::new(response.into_body(), limits::ANSWER_BYTES).collect().await;
        if status.is_success() {
            return match body {
                Ok(body) => {
                    let (rejected, message) = self.receipt.partial_success(&body.to_bytes());
                    Outcome::Accepted { rejected, message }
                }
                // As good as no answer: what it took is not known, and twice is better than never.
                Err(error) => Outcome::Retry { after: None, cause: format!("half an answer: {}", chain(&*error)) },
            };
        }
        let complaint = body.map(|body| self.receipt.complaint(&body.to_bytes())).unwrap_or_default();
        let complaint = moved.unwrap_or(complaint);
        let separator = if complaint.is_empty() { "" } else { ": " };
        let cause = format!("status {status}{separator}{complaint}");
        if self.receipt.is_retryable(status) { Outcome::Retry { after, cause } } else { Outcome::Refused { cause } }
    }
}

fn headers(own: &HeaderMap, content_type: &'static str, packing: Packing) -> HeaderMap {
    let mut headers = own.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    // That Protobuf is in Snappy goes without saying.
    if packing == Packing::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers
}
