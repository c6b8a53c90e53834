//! A `wasi:http` service without wasmetry, written against the crate `wasi`.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Uninstrumented;

impl Guest for Uninstrumented {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        assert!(path != "/boom", "requested by the test");
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a body has one stream");
        let text = if path.ends_with("/environment") {
            std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()
        } else {
            "plain\n".to_owned()
        };
        stream.blocking_write_and_flush(text.as_bytes()).expect("the host takes the body");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

wasi::http::proxy::export!(Uninstrumented);

fn main() {}
