//! A `wasi:http` service that uses more series, metrics and open spans than it may have, by the
//! handle API, with each request.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    path: ["../../wit", "wit/hostile.wit"],
    world: "wasmetry:test-guests/limit-exceeder",
    generate_all,
});

use self::wasmetry::telemetry::metrics::{Counter, Descriptor, Gauge, Label, Merge};
use self::wasmetry::telemetry::spans::{Span, SpanKind};

/// Series of one metric, of which a component may have 2,000.
const SERIES: usize = 2050;

/// Metrics, of which a component may resolve 1,000.
const METRICS: usize = 1010;

/// Open spans, of which a store may have 1,024.
const SPANS: usize = 1030;

struct Exceeder;

impl Guest for Exceeder {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let descriptor = |name: &str| Descriptor { name: name.to_owned(), help: String::new(), unit: None };
        for call in 0..SERIES {
            let label = Label { key: "call".to_owned(), value: call.to_string() };
            if let Ok(counter) = Counter::resolve(&descriptor("calls_total"), &[label]) {
                counter.inc();
            }
        }
        for number in 1..METRICS {
            let _ = Gauge::resolve(&descriptor(&format!("level{number}")), Merge::Last, &[]);
        }
        for _ in 0..SPANS {
            std::mem::forget(Span::start("open", SpanKind::Internal, None, &[]));
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        let _ = OutgoingBody::finish(body, None);
    }
}

wasi::http::proxy::export!(Exceeder);

fn main() {}
