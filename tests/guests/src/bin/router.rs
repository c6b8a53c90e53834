//! A `wasi:http` service that routes its requests itself.
//!
//! | path | route |
//! |---|---|
//! | `/users/7`, `/users/7/trap`, `/users/7/fail` | `/users/{id}`, by a function of the handler; the second traps, the third answers 500 |
//! | `/orders/7` | `/orders/{id}`, of an enum |
//! | `/twice` | `/orders/{id}`, then `/users/{id}` |
//! | `/undeclared` | one that is not declared |
//! | `/many` | a million times one of two; `/orders/{id}` at last |
//! | `/chatty` | `/users/{id}`, then more logs than the ring holds |
//! | `/concurrent` | `/users/{id}`, while another request of the instance sets `/orders/{id}` |
//! | `/other` | none, while another request of the instance sets `/orders/{id}` |
//! | `/attributes` | none; attributes of the server span |
//! | any other | none |

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::{Label, Route, TraceContext, debug, handler, route, set_request_attribute, set_route, span};

#[derive(Clone, Copy, Label)]
#[label(route)]
enum Page {
    #[label("/orders/{id}")]
    Order,
}

struct Router;

impl Guest for Router {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        handle(request, out);
    }
}

/// Returns the route of a path below `/users`.
fn route_of(request: &IncomingRequest) -> Option<Route> {
    request.path_with_query()?.starts_with("/users/").then(|| route!("/users/{id}"))
}

#[handler(route = route_of)]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let path = request.path_with_query().unwrap_or_default();
    let mut status = 200;
    match path.as_str() {
        "/users/7/trap" => panic!("requested by the test"),
        "/users/7/fail" => status = 500,
        "/orders/7" => set_route(Page::Order),
        "/twice" => {
            set_route(Page::Order);
            set_route!("/users/{id}");
        }
        "/undeclared" => set_route(Route::new(7)),
        "/many" => {
            for _ in 0..500_000 {
                set_route!("/users/{id}");
                set_route(Page::Order);
            }
        }
        "/chatty" => {
            set_route!("/users/{id}");
            wasmetry::without_host_calls(|| (0..5_000).for_each(|number| debug!(number, "overwritten")));
        }
        "/concurrent" => {
            set_other_route();
            set_route!("/users/{id}");
            set_other_route();
        }
        "/other" => set_other_route(),
        "/attributes" => {
            set_request_attribute("user.id", 7);
            set_request_attribute("user.id", 8);
            set_request_attribute("user.name", "ann");
            // The host's own.
            set_request_attribute("http.route", "/forged");
            set_request_attribute("http.response.status_code", 999);
        }
        _ => {}
    }
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("it is a status");
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    OutgoingBody::finish(body, None).expect("the body is whole");
}

/// Sets the route of another request, as an instance does that serves several at a time: their
/// contexts alternate. A new thread of execution has no current span.
fn set_other_route() {
    let caller = TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    wasmetry::Span::none().in_scope(|| {
        span!("other", parent: caller).in_scope(|| set_route(Page::Order));
    });
}

wasi::http::proxy::export!(Router);

fn main() {}
