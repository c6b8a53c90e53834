//! Unary calls, taken apart by hand.
//!
//! Source: gRPC over HTTP2, the protocol's own description.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use prost::Message;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use super::{Answer, Reply, Shared, Step, decode, partial, text};
use crate::rule::Arrived;

const PROTOBUF: &str = "application/x-protobuf";

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Answer>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let records = match check(&head, body) {
        Ok(records) => records,
        Err(broken) => {
            shared.change(|state| state.broken.push(broken.clone()));
            return Ok(respond([end(Code::InvalidArgument, &broken, None)]));
        }
    };
    let message = |rejected, message: &str| Step::Frame(Frame::data(framed(partial(PROTOBUF, rejected, message))));
    Ok(match shared.reply(head.headers, &records) {
        Reply::Accept => {
            shared.take(records, 0);
            respond([message(0, ""), end(Code::Ok, "", None)])
        }
        Reply::Partly(rejected, cause) => {
            shared.take(records, rejected);
            respond([message(rejected, cause), end(Code::Ok, "", None)])
        }
        Reply::Grpc(code, cause, wait) => respond([end(code, cause, wait)]),
        Reply::Status(status, _, cause) => {
            let mut response = Response::new(Answer([Step::Frame(Frame::data(cause.into()))].into()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        Reply::Hang => std::future::pending().await,
        Reply::Close => return Err(io::Error::other("closed, as the test wants")),
        Reply::Half => respond([message(0, ""), Step::Yield, Step::Cut]),
        Reply::NoTrailers => respond([message(0, "")]),
    })
}

/// Checks a call and its message.
fn check(head: &Parts, body: Bytes) -> Result<Vec<Arrived>, String> {
    let path = match head.uri.path() {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => "/v1/logs",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => "/v1/traces",
        other => return Err(format!("path {other}")),
    };
    let content_type = text(&head.headers, CONTENT_TYPE);
    if head.method != Method::POST || !matches!(content_type.as_str(), "application/grpc" | "application/grpc+proto") {
        return Err(format!("{} of {content_type}", head.method));
    }
    if text(&head.headers, TE) != "trailers" {
        return Err("no `te: trailers`".to_owned());
    }
    let timeout = text(&head.headers, HeaderName::from_static("grpc-timeout"));
    let digits = timeout.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n']).ok_or(format!("grpc-timeout {timeout}"))?;
    if digits.len() > 8 || digits.parse::<u32>().is_err() {
        return Err(format!("grpc-timeout {timeout}"));
    }
    let (prefix, message) = body.split_at_checked(5).ok_or("no message")?;
    if usize::try_from(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]])) != Ok(message.len()) {
        return Err("not one message".to_owned());
    }
    let encoding = text(&head.headers, HeaderName::from_static("grpc-encoding"));
    let mut headers = HeaderMap::new();
    match (prefix[0], encoding.as_str()) {
        (0, "" | "identity" | "gzip") => {}
        (1, "gzip") => {
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        other => return Err(format!("compression {other:?}")),
    }
    decode(path, PROTOBUF, &super::unpack(&headers, Bytes::copy_from_slice(message))?)
}

/// A message with its prefix.
fn framed(message: Bytes) -> Bytes {
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// The trailers of a call.
fn end(code: Code, message: &str, wait: Option<Duration>) -> Step {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    let message: String = message.bytes().map(|byte| format!("%{byte:02X}")).collect();
    trailers.insert("grpc-message", HeaderValue::from_str(&message).unwrap());
    if let Some(wait) = wait {
        let details = ErrorDetails::with_retry_info(Some(wait));
        let status = tonic::Status::with_error_details(code, "", details);
        // The message in these bytes is `google.rpc.Status`, as the protocol wants it.
        tonic_types::Status::decode(status.details()).unwrap();
        let details = BASE64_STANDARD_NO_PAD.encode(status.details());
        trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&details).unwrap());
    }
    Step::Frame(Frame::trailers(trailers))
}

fn respond(steps: impl Into<VecDeque<Step>>) -> Response<Answer> {
    let mut response = Response::new(Answer(steps.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
