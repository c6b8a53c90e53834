//! One HTTP request for each body: OTLP/HTTP, Loki's push API, and the Pushgateway's.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    USER_AGENT,
};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use prost::Message;
use wasmetry_host::encode::otlp::Encoding;
use wasmetry_host::record::destination;

use super::client::{self, AGENT, Client, Version};
use super::rpc::Status;
use super::{Response, chain, configured_headers, cut, otlp_response};
use crate::push::config::{Compression, Loki, LokiFormat, Otlp};
use crate::push::export_request::retry;
use crate::push::gateway::{Gateway, Replaces};
use crate::scrape::Format;
use crate::{Error, limits};

/// The header that names the tenant to Loki.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The protocol of a destination's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFormat {
    Otlp(Encoding),
    /// Loki's, which are plain text.
    Loki,
    /// A Pushgateway's, which are plain text.
    Gateway,
}

impl ResponseFormat {
    /// Returns `true` if a request that was answered with this status may be sent again, as it may
    /// be after a status 429.
    fn is_retryable(self, status: StatusCode) -> bool {
        match self {
            // Source: OTLP specification, "Retryable Response Codes": these and 429, and no other.
            Self::Otlp(_) => matches!(status.as_u16(), 502..=504),
            // Source: Loki's own clients (Promtail, `clients/pkg/promtail/client`).
            Self::Loki => status.is_server_error(),
            // The Pushgateway has no rule. Proxies in front of it answer so while it starts.
            Self::Gateway => matches!(status.as_u16(), 502..=504),
        }
    }

    /// Classifies the body of a response with a success status.
    fn success(self, status: StatusCode, content_type: &str, body: &[u8]) -> Response {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let parsed = match (self, media_type.as_str()) {
            // A body without a content may have any type, or none.
            _ if body.is_empty() => Some(Response::Success { rejected: 0, message: String::new() }),
            // Some collectors answer in the other one of the two encodings.
            (Self::Otlp(_), "application/json") => otlp_response::parse(body, Encoding::Json),
            (Self::Otlp(_), "application/x-protobuf") => otlp_response::parse(body, Encoding::Protobuf),
            (Self::Otlp(encoding), "") => otlp_response::parse(body, encoding),
            (Self::Otlp(_), _) | (Self::Loki | Self::Gateway, "text/html" | "application/xhtml+xml") => None,
            (Self::Loki | Self::Gateway, _) => Some(Response::Success { rejected: 0, message: String::new() }),
        };
        parsed.unwrap_or_else(|| {
            let text = cut(&String::from_utf8_lossy(&body[..body.len().min(80)]));
            Response::UnrecognizedSuccess {
                description: format!("status {status}, content-type {media_type:?}: {text}"),
            }
        })
    }

    /// Returns the message in the body of a response with another status.
    fn error_message(self, body: &[u8]) -> String {
        let message = match self {
            Self::Otlp(Encoding::Protobuf) => Status::decode(body).map(|status| status.message).ok(),
            Self::Otlp(Encoding::Json) => serde_json::from_slice::<serde_json::Value>(body)
                .ok()
                .and_then(|status| Some(status["message"].as_str()?.to_owned())),
            Self::Loki | Self::Gateway => None,
        };
        // A proxy answers in a format of its own.
        cut(&message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
    }
}

/// The compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyCompression {
    None,
    Gzip,
    Snappy,
}

impl From<Compression> for BodyCompression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
        }
    }
}

/// An HTTP client of one URL. It keeps its connection alive.
pub(crate) struct Http {
    client: Client,
    format: ResponseFormat,
    timeout: Duration,
    compression: BodyCompression,
}

impl Http {
    /// Returns the client of an OTLP endpoint.
    pub(crate) fn otlp(config: &Otlp, encoding: Encoding) -> Result<Self, Error> {
        let compression = config.compression.into();
        let headers = headers(&config.headers, encoding.content_type(), compression)?;
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?;
        Ok(Self { client, format: ResponseFormat::Otlp(encoding), timeout: config.timeout, compression })
    }

    /// Returns the client of a Loki.
    pub(crate) fn loki(config: &Loki) -> Result<Self, Error> {
        let (content_type, compression) = match config.format {
            LokiFormat::Protobuf => (Encoding::Protobuf.content_type(), BodyCompression::Snappy),
            LokiFormat::Json(compression) => (Encoding::Json.content_type(), compression.into()),
        };
        let headers = headers(&config.headers, content_type, compression)?;
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?;
        Ok(Self { client, format: ResponseFormat::Loki, timeout: config.timeout, compression })
    }

    /// Returns the client of a Pushgateway.
    pub(crate) fn gateway(config: &Gateway) -> Result<Self, Error> {
        let compression = BodyCompression::None;
        let headers = headers(&config.headers, Format::Text.content_type(), compression)?;
        let method = match config.replaces {
            Replaces::Group => Method::PUT,
            Replaces::Names => Method::POST,
        };
        let client = Client::new(config.endpoint.clone(), headers, &config.tls, Version::Http1)?.with_method(method);
        Ok(Self { client, format: ResponseFormat::Gateway, timeout: config.timeout, compression })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Drops the connection; the next request opens another one.
    pub(super) fn reconnect(&mut self) {
        self.client.reconnect();
    }

    /// Compresses a body as the configuration says.
    pub(super) fn prepare(&self, body: Vec<u8>) -> Bytes {
        match self.compression {
            BodyCompression::None => body.into(),
            BodyCompression::Gzip => client::gzip(&body).into(),
            // It fails above 4 GiB only. Batches are far smaller.
            BodyCompression::Snappy => snap::raw::Encoder::new().compress_vec(&body).unwrap_or_default().into(),
        }
    }

    /// Sends a prepared body once. `tenant` names a tenant to Loki.
    pub(super) async fn send(&self, body: Bytes, tenant: Option<&HeaderValue>) -> Response {
        let tenant = tenant.map(|tenant| (TENANT, tenant.clone()));
        match self.client.send(body, tenant).await {
            Ok(response) => self.classify(response).await,
            Err(error) => Response::Retryable { after: None, cause: chain(&error) },
        }
    }

    async fn classify(&self, response: http::Response<Incoming>) -> Response {
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry::retry_after(value, SystemTime::now()));
        let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let moved = location
            .map(|location| cut(&format!("it is at {}", destination(&String::from_utf8_lossy(location.as_bytes())))));
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = Limited::new(response.into_body(), limits::ANSWER_BYTES).collect().await;
        if status.is_success() {
            return match body {
                Ok(body) => self.format.success(status, content_type, &body.to_bytes()),
                // It is unknown what was accepted. Sending it again may duplicate records; not
                // sending it may lose them.
                Err(error) => Response::Retryable {
                    after: None,
                    cause: format!("the response is incomplete: {}", chain(&*error)),
                },
            };
        }
        let message = body.map(|body| self.format.error_message(&body.to_bytes())).unwrap_or_default();
        let message = moved.unwrap_or(message);
        let separator = if message.is_empty() { "" } else { ": " };
        let cause = format!("status {status}{separator}{message}");
        match status {
            StatusCode::TOO_MANY_REQUESTS => Response::Throttled { after, cause },
            status if self.format.is_retryable(status) => Response::Retryable { after, cause },
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Response::InvalidContent { cause }
            }
            _ => Response::NonRetryable { cause },
        }
    }
}

fn headers(own: &HeaderMap, content_type: &'static str, compression: BodyCompression) -> Result<HeaderMap, Error> {
    let mut headers = configured_headers(own)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    // Without this header a server may compress its response.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // Loki's Protobuf is always in Snappy; no header says so.
    if compression == BodyCompression::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(headers)
}
