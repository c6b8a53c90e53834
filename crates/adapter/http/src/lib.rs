//! Stands before an app that serves HTTP: reports the begin and end of each request to the
//! collector, and answers scrapes.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/http",
        generate_all,
    });
}

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::incoming_handler as app;
use bindings::wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use bindings::wasmetry::adapter::control;

/// The limit of `blocking-write-and-flush` in bytes.
const CHUNK: usize = 4096;

struct Before;

impl Guest for Before {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let method = name(request.method());
        let mut path = request.path_with_query().unwrap_or_default();
        if let Some(query) = path.find('?') {
            path.truncate(query);
        }
        if control::begin_request(&method, &path) {
            return expose(&request, response_out, method == "HEAD");
        }
        app::handle(request, response_out);
        control::end_request();
    }
}

fn name(method: Method) -> String {
    let known = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return name,
    };
    known.to_owned()
}

/// Answers with the metrics. A client that closes the connection causes no trap.
fn expose(request: &IncomingRequest, response_out: ResponseOutparam, is_head: bool) {
    let exposition = control::expose(&request.headers().get("accept"));
    let headers = Fields::new();
    let length = exposition.body.len().to_string().into_bytes();
    for (name, value) in [("content-type", exposition.content_type.into_bytes()), ("content-length", length)] {
        // Responses may have both headers, so this cannot fail.
        let _ = headers.append(name, &value);
    }
    let response = OutgoingResponse::new(headers);
    let body = response.body();
    ResponseOutparam::set(response_out, Ok(response));
    let Ok(body) = body else { return };
    if !is_head {
        let Ok(stream) = body.write() else { return };
        for chunk in exposition.body.chunks(CHUNK) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

bindings::export!(Before with_types_in bindings);
