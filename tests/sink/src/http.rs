//! OTLP over HTTP and Loki's push API: POST requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request as HttpRequest, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use prost::Message;

use crate::body::{ScriptedBody, Step, header};
use crate::proto::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use crate::request::{JSON, Request, unpack};
use crate::{LOKI, Reply, Shared};

pub(crate) async fn respond_to(
    shared: Arc<Shared>,
    is_cut: Arc<AtomicBool>,
    request: HttpRequest<Incoming>,
) -> Result<Response<ScriptedBody>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut content_type = header(&head.headers, CONTENT_TYPE);
    let decoded = if head.method == Method::POST {
        let body = unpack(&header(&head.headers, CONTENT_ENCODING), &body);
        body.and_then(|body| Request::decode(head.uri.path(), &content_type, &body))
    } else {
        Err(format!("method {}", head.method))
    };
    let is_loki = head.uri.path() == LOKI;
    if is_loki {
        "text/plain".clone_into(&mut content_type);
    }
    let request = match shared.check(decoded) {
        Ok(request) => request,
        Err(broken) => return Ok(respond(400, &content_type, status(&content_type, &broken))),
    };
    match shared.reply(head.headers, &request) {
        Reply::Accept => {
            let response = partial(&content_type, &request, 0, "");
            shared.take(request, 0);
            if is_loki {
                return Ok(respond(204, &content_type, Bytes::new()));
            }
            Ok(respond(200, &content_type, response))
        }
        Reply::Partly(rejected, message) => {
            let response = partial(&content_type, &request, rejected, message);
            shared.take(request, rejected);
            Ok(respond(200, &content_type, response))
        }
        Reply::Status(code, headers, message) => {
            let mut response = respond(code, &content_type, status(&content_type, message));
            for (name, value) in headers {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
            }
            Ok(response)
        }
        Reply::Hang => {
            std::future::pending::<Infallible>().await;
            unreachable!()
        }
        Reply::Grpc(..) | Reply::NoTrailers | Reply::GoAway => unreachable!("only gRPC has this reply"),
        Reply::Close => Err(io::Error::other("closed by the test")),
        Reply::HalfHead => {
            is_cut.store(true, Ordering::Relaxed);
            Ok(respond(200, &content_type, Bytes::new()))
        }
        Reply::Half => {
            let mut response = respond(200, &content_type, Bytes::from_static(b"\x0a"));
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("100"));
            response.body_mut().0.extend([Step::Yield, Step::Cut]);
            Ok(response)
        }
    }
}

/// Returns the response to a request that was accepted at least partly.
///
/// The responses of the three signals have the same field numbers, with different names.
pub(crate) fn partial(content_type: &str, request: &Request, rejected: u64, message: &str) -> Bytes {
    if content_type == JSON {
        let partial = if rejected == 0 && message.is_empty() {
            serde_json::json!({})
        } else {
            // Protobuf's JSON has 64-bit integers as texts.
            let partial = serde_json::json!({request.rejected(): rejected.to_string(), "errorMessage": message});
            serde_json::json!({"partialSuccess": partial})
        };
        return partial.to_string().into();
    }
    let partial = ExportLogsPartialSuccess { rejected_log_records: rejected as i64, error_message: message.to_owned() };
    let is_whole = partial == ExportLogsPartialSuccess::default();
    let response = ExportLogsServiceResponse { partial_success: (!is_whole).then_some(partial) };
    response.encode_to_vec().into()
}

/// Returns the response to a request that was refused.
fn status(content_type: &str, message: &str) -> Bytes {
    match content_type {
        "text/plain" => format!("{message}\n").into(),
        JSON => serde_json::json!({"message": message}).to_string().into(),
        _ => {
            tonic_types::Status { message: message.to_owned(), ..tonic_types::Status::default() }.encode_to_vec().into()
        }
    }
}

fn respond(status: u16, content_type: &str, body: Bytes) -> Response<ScriptedBody> {
    let mut response = Response::new(ScriptedBody(VecDeque::from([Step::Frame(Frame::data(body))])));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    response
}
