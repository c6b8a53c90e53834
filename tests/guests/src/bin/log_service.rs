//! A `wasi:http` service that says as much as it is asked to.
//!
//! | path | what it records |
//! |---|---|
//! | `/chat?from=7&count=3` | logs with the numbers 7, 8 and 9, each in a span of its own that has the number too |
//! | `/audit?from=7&count=3` | audit records with these numbers |
//! | any other | a log of each level for two targets, `log_service` and `shop::cart`, and an audit record |
//!
//! Each request has a span, below the host's.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::{Counter, TraceContext, audit, counter, debug, error, info, span, trace, warn};

static SAID: Counter = counter!("lines_total", "Lines that were said.");

struct LogService;

impl Guest for LogService {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let parent = request.headers().get("traceparent");
        let parent = parent.first().and_then(|header| TraceContext::parse(header));
        let _request = span!("request", parent: parent).entered();
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let from = parameter(query, "from");
        let numbers = from..from + parameter(query, "count");
        match path {
            "/chat" => numbers.for_each(|number| {
                let _span = span!("line", number).entered();
                info!(number, "line {number}");
                SAID.inc();
            }),
            "/audit" => numbers.for_each(|number| audit!(number, "seen")),
            _ => say(),
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

fn say() {
    let _span = span!("say").entered();
    error!(err = %"no cart", "it failed");
    warn!(left = -3, ok = false, "low");
    info!(user = 7, ratio = 0.5, "hello {}", "world");
    debug!("details");
    trace!("too fine");
    info!(target: "shop::cart", items = 3, "cart loaded");
    debug!(target: "shop::cart", "details of the cart");
    audit!(user = 7, level = "forged", "signed in");
}

/// The value of a parameter, which is a number.
fn parameter(query: &str, name: &str) -> u64 {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

wasi::http::proxy::export!(LogService);

fn main() {}
