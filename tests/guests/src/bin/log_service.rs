//! A `wasi:http` service that emits as many logs as a request's path demands.
//!
//! | path | records |
//! |---|---|
//! | `/logs?from=7&count=3` | logs with the numbers 7, 8 and 9, each in a span of its own with the same number |
//! | `/audit?from=7&count=3` | audit records with these numbers |
//! | any other | a log of each level for two targets, `log_service` and `shop::cart`, and an audit record |
//!
//! Each request has a span, whose parent is the host's.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::{Counter, TraceContext, audit, counter, debug, error, info, span, trace, warn};

static LINES: Counter = counter!("lines_total", "Logs of the path /logs.");

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
            "/logs" => numbers.for_each(|number| {
                let _span = span!("line", number).entered();
                info!(number, "line {number}");
                LINES.inc();
            }),
            "/audit" => numbers.for_each(|number| audit!(number, "seen")),
            _ => emit_levels(),
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

/// Emits a log of each level for two targets, and an audit record.
fn emit_levels() {
    let _span = span!("levels").entered();
    error!(err = %"no cart", "it failed");
    warn!(left = -3, ok = false, "low");
    info!(user = 7, ratio = 0.5, "hello {}", "world");
    debug!("details");
    trace!("too fine");
    info!(target: "shop::cart", items = 3, "cart loaded");
    debug!(target: "shop::cart", "details of the cart");
    audit!(user = 7, level = "forged", "signed in");
}

/// Returns the value of a numeric parameter, or 0 if it is missing.
fn parameter(query: &str, name: &str) -> u64 {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

wasi::http::proxy::export!(LogService);

fn main() {}
