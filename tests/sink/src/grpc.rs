//! OTLP over gRPC: unary calls, decoded without a gRPC library.
//!
//! Source: "gRPC over HTTP2", the protocol's specification.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::{Method, Request as HttpRequest, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use prost::Message;
use tokio::sync::Notify;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use crate::body::{ScriptedBody, Step, header};
use crate::http::partial;
use crate::request::{LOGS, METRICS, PROTOBUF, Request, TRACES, unpack};
use crate::rule::Checked;
use crate::{Reply, Shared};

pub(crate) async fn respond_to(
    shared: Arc<Shared>,
    is_cut: Arc<AtomicBool>,
    go_away: Arc<Notify>,
    request: HttpRequest<Incoming>,
) -> Result<Response<ScriptedBody>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = match shared.check(decode(&head, &body)) {
        Ok(request) => request,
        Err(broken) => return Ok(respond([end(Code::InvalidArgument, &broken, None)])),
    };
    // As gRPC's server in Go does, whatever the client accepts.
    let is_compressed = body.first() == Some(&1);
    let message = |rejected, message: &str| {
        Step::Frame(Frame::data(framed(partial(PROTOBUF, &request, rejected, message), is_compressed)))
    };
    let mut response = match shared.reply(head.headers, &request) {
        reply @ (Reply::Accept | Reply::GoAway) => {
            if let Reply::GoAway = reply {
                go_away.notify_one();
            }
            let response = message(0, "");
            shared.take(request, 0);
            respond([response, end(Code::Ok, "", None)])
        }
        Reply::Partly(rejected, cause) => {
            let response = message(rejected, cause);
            shared.take(request, rejected);
            respond([response, end(Code::Ok, "", None)])
        }
        Reply::Grpc(code, cause, wait) => respond([end(code, cause, wait)]),
        Reply::Status(status, _, cause) => {
            let mut response = Response::new(ScriptedBody([Step::Frame(Frame::data(cause.into()))].into()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        Reply::Hang => std::future::pending().await,
        Reply::Close => return Err(io::Error::other("closed by the test")),
        Reply::HalfHead => {
            is_cut.store(true, Ordering::Relaxed);
            respond([message(0, ""), end(Code::Ok, "", None)])
        }
        Reply::Half => respond([message(0, ""), Step::Yield, Step::Cut]),
        Reply::NoTrailers => respond([message(0, "")]),
    };
    if is_compressed {
        response.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Checks a call and decodes its message.
fn decode(head: &Parts, body: &[u8]) -> Checked<Request> {
    let path = match head.uri.path() {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => LOGS,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => TRACES,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => METRICS,
        other => return Err(format!("path {other}")),
    };
    let content_type = header(&head.headers, CONTENT_TYPE);
    if head.method != Method::POST || !matches!(content_type.as_str(), "application/grpc" | "application/grpc+proto") {
        return Err(format!("{} of {content_type}", head.method));
    }
    if header(&head.headers, TE) != "trailers" {
        return Err("no `te: trailers`".to_owned());
    }
    let timeout = header(&head.headers, HeaderName::from_static("grpc-timeout"));
    let digits = timeout.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n']).ok_or(format!("grpc-timeout {timeout}"))?;
    if digits.len() > 8 || digits.parse::<u32>().is_err() {
        return Err(format!("grpc-timeout {timeout}"));
    }
    let (prefix, message) = body.split_at_checked(5).ok_or("no message")?;
    if usize::try_from(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]])) != Ok(message.len()) {
        return Err("not one message".to_owned());
    }
    let encoding = header(&head.headers, HeaderName::from_static("grpc-encoding"));
    let encoding = match (prefix[0], encoding.as_str()) {
        (0, "" | "identity" | "gzip") => "",
        (1, "gzip") => "gzip",
        other => return Err(format!("compression {other:?}")),
    };
    Request::decode(path, PROTOBUF, &unpack(encoding, message)?)
}

/// Returns a message, compressed or not, with its prefix.
fn framed(message: Bytes, is_compressed: bool) -> Bytes {
    let message = if is_compressed {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&message).unwrap();
        gzip.finish().unwrap().into()
    } else {
        message
    };
    let mut framed = vec![u8::from(is_compressed)];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// Returns the trailers of a call.
fn end(code: Code, message: &str, wait: Option<Duration>) -> Step {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    let message: String = message.bytes().map(|byte| format!("%{byte:02X}")).collect();
    trailers.insert("grpc-message", HeaderValue::from_str(&message).unwrap());
    if let Some(wait) = wait {
        let details = ErrorDetails::with_retry_info(Some(wait));
        let status = tonic::Status::with_error_details(code, "", details);
        // These bytes are a `google.rpc.Status`, as the protocol requires.
        tonic_types::Status::decode(status.details()).unwrap();
        let details = BASE64_STANDARD_NO_PAD.encode(status.details());
        trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&details).unwrap());
    }
    Step::Frame(Frame::trailers(trailers))
}

fn respond(steps: impl Into<VecDeque<Step>>) -> Response<ScriptedBody> {
    let mut response = Response::new(ScriptedBody(steps.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
