//! A `wasi:http` service with a declared metric of each kind that has an alert of its own.
//!
//! | path | what it records |
//! |---|---|
//! | `/checkout` | an order that waits, of at most forty |
//! | `/missing` | a request that failed |
//! | any | the duration of the request, and a cart of at most forty, until its response |

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::{Counter, Gauge, Histogram, UpDownCounter, counter, gauge, handler, histogram, up_down_counter};

static FAILED: Counter =
    counter!("http_requests_failed_total", "HTTP requests that failed.", const_labels: [channel: "web"]);

static DURATION: Histogram = histogram!(
    "http_request_duration_seconds",
    "Time to serve a request.",
    unit: seconds,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
);

static WAITING: Gauge = gauge!("orders_waiting", "Orders that wait for a courier.");

static WAITING_LIMIT: Gauge = gauge!("orders_waiting_limit", "The orders that may wait.");

static CARTS: UpDownCounter = up_down_counter!("carts_open", "Carts that are open.");

static CARTS_LIMIT: UpDownCounter = up_down_counter!("carts_open_limit", "The carts that may be open.");

struct Shop;

impl Guest for Shop {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        handle(request, out);
    }
}

#[handler]
fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let _timer = DURATION.start_timer();
    WAITING_LIMIT.set(40.0);
    CARTS.add(1);
    CARTS_LIMIT.add(40);
    let path = request.path_with_query().unwrap_or_default();
    let mut status = 200;
    match path.split('?').next() {
        Some("/checkout") => WAITING.set(1.0),
        Some("/missing") => {
            FAILED.inc();
            status = 404;
        }
        _ => {}
    }
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("it is a status");
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    OutgoingBody::finish(body, None).expect("the body is whole");
    CARTS.add(-1);
    CARTS_LIMIT.add(-40);
}

wasi::http::proxy::export!(Shop);

fn main() {}
