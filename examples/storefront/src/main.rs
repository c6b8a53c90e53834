//! A small shop behind `wasi:http`, with the telemetry of a typical service.
//!
//! Serve it with telemetry: `cargo xtask demo`, or `wasmetry serve target/guests/storefront.wasm`.

#![forbid(unsafe_code)]

use std::time::Duration;

use wasmetry::{Counter, Histogram, Label, Text, counter, debug, histogram, info, route, span, warn};
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

static REQUESTS: Counter<(Verb, Route)> =
    counter!("http_requests_total", "HTTP requests.", labels: [method: Verb, route: Route]);

static FAILED: Counter<(Route, Failure)> =
    counter!("http_requests_failed_total", "HTTP requests that failed.", labels: [route: Route, status: Failure]);

static DURATION: Histogram<Route> = histogram!(
    "http_request_duration_seconds",
    "Time to serve a request.",
    labels: [route: Route],
    unit: seconds,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
);

static SOLD: Counter<Text<32>> = counter!("items_sold_total", "Items sold.", labels: [item: Text<32>]);

#[wstd::http_server]
#[wasmetry::handler(route = route_of)]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let route = Route::of(request.uri().path());
    debug!(query = request.uri().query().unwrap_or_default(), "a request for {}", request.uri().path());
    REQUESTS.with((Verb::of(request.method()), route)).inc();
    let _timer = DURATION.with(route).start_timer();

    match route {
        Route::Home => page("Welcome.\n"),
        Route::Cart => page("Your cart is empty.\n"),
        Route::Checkout => checkout(request.uri().query()),
        Route::Slow => {
            let wait = parameter(request.uri().query(), "ms").and_then(|ms| ms.parse().ok()).unwrap_or(100);
            wstd::task::sleep(Duration::from_millis(wait).into()).await;
            page("That took a while.\n")
        }
        Route::Boom => {
            let _span = span!("light_fuse").entered();
            panic!("the storefront blew up, as requested")
        }
        Route::Spin => {
            let _span = span!("spin").entered();
            loop {
                std::hint::spin_loop();
            }
        }
        Route::Other => fail(route, Failure::NotFound, "There is no such page.\n"),
    }
}

/// Returns the route by which the host counts, traces and logs the request.
fn route_of(request: &Request<Body>) -> wasmetry::Route {
    match Route::of(request.uri().path()) {
        Route::Home => route!("/"),
        Route::Cart => route!("/cart"),
        Route::Checkout => route!("/checkout"),
        Route::Slow => route!("/slow"),
        Route::Boom => route!("/boom"),
        Route::Spin => route!("/spin"),
        // One for all paths that do not exist: a client makes no series.
        Route::Other => route!("/{page}"),
    }
}

/// Sells `item`, of which some are out of stock.
#[wasmetry::instrument(skip(query))]
fn checkout(query: Option<&str>) -> Result<Response<Body>, Error> {
    match parameter(query, "item").unwrap_or("apple") {
        item @ "unicorn" => {
            warn!(item, "out of stock");
            fail(Route::Checkout, Failure::Unavailable, "Unicorns are out of stock.\n")
        }
        item => {
            SOLD.with(item).inc();
            info!(item, "sold");
            page("Thank you for your purchase.\n")
        }
    }
}

fn page(text: &'static str) -> Result<Response<Body>, Error> {
    Ok(Response::new(text.into()))
}

fn fail(route: Route, failure: Failure, text: &'static str) -> Result<Response<Body>, Error> {
    FAILED.with((route, failure)).inc();
    let mut response = Response::new(text.into());
    *response.status_mut() = failure.status();
    Ok(response)
}

/// Returns the value of a parameter in a query string.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[derive(Clone, Copy, Label)]
#[label(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Post,
    #[label("other")]
    Other,
}

impl Verb {
    fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::POST => Self::Post,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Label)]
enum Route {
    #[label("/")]
    Home,
    #[label("/cart")]
    Cart,
    #[label("/checkout")]
    Checkout,
    #[label("/slow")]
    Slow,
    #[label("/boom")]
    Boom,
    #[label("/spin")]
    Spin,
    #[label("other")]
    Other,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/" => Self::Home,
            "/cart" => Self::Cart,
            "/checkout" => Self::Checkout,
            "/slow" => Self::Slow,
            "/boom" => Self::Boom,
            "/spin" => Self::Spin,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Label)]
enum Failure {
    #[label("404")]
    NotFound,
    #[label("503")]
    Unavailable,
}

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
