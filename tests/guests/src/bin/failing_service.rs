//! A `wasi:http` service whose handler panics and fails as a request's path says.

use std::error::Error;
use std::fmt;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::error;

/// The error of a cart, with a source.
#[derive(Debug)]
struct CartError<T>(T);

impl<T: fmt::Debug> fmt::Display for CartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load cart {:?}", self.0)
    }
}

impl<T: fmt::Debug> Error for CartError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&fmt::Error)
    }
}

#[allow(clippy::borrowed_box, reason = "the function receives a reference to what the handler returns")]
fn kind(error: &Box<dyn Error>) -> &'static str {
    if error.is::<CartError<u8>>() { "cart" } else { "_OTHER" }
}

#[wasmetry::handler(name = "typed")]
fn typed(request: IncomingRequest) -> Result<u16, CartError<u8>> {
    let _ = request;
    Err(CartError(7))
}

#[wasmetry::handler(name = "boxed")]
fn boxed(request: IncomingRequest) -> Result<u16, Box<dyn Error>> {
    let _ = request;
    Err("no cart")?
}

#[wasmetry::handler(name = "named", error_type = kind)]
fn named(request: IncomingRequest) -> Result<u16, Box<dyn Error>> {
    let _ = request;
    Err(CartError(7u8))?
}

/// Fails in a route that the guest has set.
#[wasmetry::handler(name = "routed", route = "/carts/{id}")]
fn routed(request: IncomingRequest) -> Result<u16, CartError<u8>> {
    let path = request.path_with_query().unwrap_or_default();
    assert!(path != "/carts/panic", "the cart is on fire");
    if path == "/carts/error" { Err(CartError(7)) } else { Ok(200) }
}

#[wasmetry::handler(name = "panicking")]
fn panicking(request: IncomingRequest) -> u16 {
    let _ = request;
    let carts: Vec<u16> = Vec::new();
    carts[request_number()]
}

/// A number that the compiler does not know.
fn request_number() -> usize {
    std::hint::black_box(7)
}

struct FailingService;

impl Guest for FailingService {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let status = match path.trim_start_matches('/') {
            "typed" => typed(request).unwrap_or(500),
            "boxed" => boxed(request).unwrap_or(500),
            "named" => named(request).unwrap_or(500),
            "panic" => panicking(request),
            "carts/panic" | "carts/error" | "carts/7" => routed(request).unwrap_or(500),
            // Before any handler, so without a hook.
            "panic-unhooked" => panic!("without a hook\nin two lines"),
            "logged" => {
                error!("the cart is gone");
                503
            }
            "silent" => 503,
            "spin" => loop {
                std::hint::spin_loop();
            },
            "exhaust" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1u8; 1 << 20]);
                }
            }
            _ => 200,
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("a valid status");
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

wasi::http::proxy::export!(FailingService);

fn main() {}
