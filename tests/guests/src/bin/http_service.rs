//! A `wasi:http` service, written against the crate `wasi`, with responses that need care on the
//! wire.
//!
//! | path | response |
//! |---|---|
//! | `/large` | a body of 1 MiB |
//! | `/trailers` | a body with the trailer `x-sum: 3` |
//! | `/echo` | the request's body |
//! | `/count` | the number of bytes in the request's body, and its trailers |
//! | any other | `ok`, without reading the request's body |

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, FutureTrailers, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::StreamError;

/// The size of a chunk, in bytes, which every host takes at once.
const CHUNK: usize = 4096;

struct HttpService;

impl Guest for HttpService {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/large" => respond(out, None, |write| (0..256).for_each(|_| write(&[b'x'; CHUNK]))),
            "/trailers" => {
                let trailers = Fields::new();
                trailers.append("x-sum", b"3").expect("the trailer is valid");
                respond(out, Some(trailers), |write| write(b"1+2"));
            }
            "/echo" => {
                let mut body = Vec::new();
                read(request, |bytes| body.extend_from_slice(bytes));
                respond(out, None, |write| body.chunks(CHUNK).for_each(write));
            }
            "/count" => {
                let mut count = 0;
                let mut text = String::new();
                for (name, value) in read(request, |bytes| count += bytes.len()) {
                    text += &format!(" {name}={}", String::from_utf8_lossy(&value));
                }
                respond(out, None, |write| write(format!("{count}{text}").as_bytes()));
            }
            _ => respond(out, None, |write| write(b"ok")),
        }
    }
}

/// Reads a request's body, and returns its trailers.
fn read(request: IncomingRequest, mut take: impl FnMut(&[u8])) -> Vec<(String, Vec<u8>)> {
    let body = request.consume().expect("a request has one body");
    let stream = body.stream().expect("a body has one stream");
    loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(bytes) => take(&bytes),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("the body is incomplete: {error}"),
        }
    }
    drop(stream);
    let trailers: FutureTrailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    match trailers.get() {
        Some(Ok(Ok(Some(trailers)))) => trailers.entries(),
        Some(Ok(Ok(None))) => Vec::new(),
        other => panic!("no trailers: {other:?}"),
    }
}

/// Sends a response with a body and trailers.
fn respond(out: ResponseOutparam, trailers: Option<Fields>, write: impl FnOnce(&mut dyn FnMut(&[u8]))) {
    let headers = Fields::new();
    if trailers.is_some() {
        headers.append("trailer", b"x-sum").expect("the header is valid");
    }
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a body has one stream");
    // The host may discard the body, such as that of a response to HEAD.
    write(&mut |bytes| drop(stream.blocking_write_and_flush(bytes)));
    drop(stream);
    let _ = OutgoingBody::finish(body, trailers);
}

wasi::http::proxy::export!(HttpService);

fn main() {}
