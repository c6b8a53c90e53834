//! A `wasi:http` service without a framework, written against the crate `wasi`, that propagates
//! trace headers.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasmetry::{info, set_response_status, span};

struct Propagator;

impl Guest for Propagator {
    #[wasmetry::handler(route = "/{task}/{authority}")]
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
        let (task, authority) = path.split_once('/').unwrap_or((path, ""));
        info!(task, authority, "requested");
        let status = match task {
            "fail" => 503,
            "panic" => panic!("requested by the test"),
            "send" => send(authority, Fields::new()),
            "send-on" => {
                let _span = span!("send on", kind: producer).entered();
                let (received, headers) = (request.headers(), Fields::new());
                wasmetry::propagate(
                    |name| received.get(name),
                    |name, value| headers.append(name, value).expect("it is a header's value"),
                );
                send(authority, headers)
            }
            _ => 200,
        };
        set_response_status(status);
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("it is a status");
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

/// Sends a request and returns the response's status.
fn send(authority: &str, headers: Fields) -> u16 {
    let request = OutgoingRequest::new(headers);
    request.set_scheme(Some(&Scheme::Http)).expect("it is a scheme");
    request.set_authority(Some(authority)).expect("it is an authority");
    request.set_path_with_query(Some("/")).expect("it is a path");
    let body = request.body().expect("a request has one body");
    let response = outgoing_handler::handle(request, None).expect("the host sends requests");
    OutgoingBody::finish(body, None).expect("the body is whole");
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => response.status(),
        other => panic!("no response: {other:?}"),
    }
}

wasi::http::proxy::export!(Propagator);

fn main() {}
