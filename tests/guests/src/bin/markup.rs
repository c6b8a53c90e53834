//! A `wasi:http` service that writes markup and a word of 10 kB wherever a guest can write a text:
//! its route, labels, help texts, logs and their fields, spans, attributes, events, statuses.
//!
//! | path | |
//! |---|---|
//! | `/fail` | responds with 500 |
//! | `/panic` | panics with the text |
//! | any other | responds with 200 |

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    path: ["../../wit", "wit/markup.wit"],
    world: "wasmetry:test-guests/markup",
    generate_all,
});

use wasmetry_abi::limits::{HELP, LABEL_VALUE};

use self::wasmetry::telemetry::attributes::{Attribute, Value};
use self::wasmetry::telemetry::{logs, metrics, requests, spans};

/// A page that takes it for markup runs it, and loads an image that does not exist.
const MARKUP: &str = "<script>globalThis.isRun=1</script><img src=x onerror=globalThis.isRun=1>";

/// The letters of the word after it.
const LETTERS: usize = 10_000;

struct Markup;

impl Guest for Markup {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let text = format!("{MARKUP}{}", "W".repeat(LETTERS));
        requests::set_route(&format!("/{MARKUP}/{}", "r".repeat(150)));
        requests::set_attribute(&attribute("app.text", &text));
        measure(&text);
        let span = spans::Span::start(&text, spans::SpanKind::Internal, None, &[attribute(MARKUP, &text)]);
        span.add_event(&text, &[attribute("app.text", &text)]);
        span.set_status(&spans::Status::Error(text.clone()));
        let record = logs::LogRecord {
            level: logs::Level::Error,
            target: Some(text.clone()),
            message: text.clone(),
            attributes: vec![attribute(MARKUP, &text), attribute("text", &text)],
        };
        logs::emit(&record, Some(&span));
        assert!(path != "/panic", "{text}");
        drop(span);
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(if path == "/fail" { 500 } else { 200 }).expect("a valid status");
        let body = response.body().expect("a response has one body");
        ResponseOutparam::set(out, Ok(response));
        let _ = OutgoingBody::finish(body, None);
    }
}

fn attribute(key: &str, value: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: Value::String(value.to_owned()) }
}

/// Records in metrics whose help and label are the text, as far as the host takes it.
fn measure(text: &str) {
    let metric = |name: &str| metrics::Descriptor { name: name.to_owned(), help: text[..HELP].to_owned(), unit: None };
    let labels = [metrics::Label { key: "text".to_owned(), value: text[..LABEL_VALUE].to_owned() }];
    metrics::Counter::resolve(&metric("markup_total"), &labels).expect("a valid counter").inc();
    metrics::Histogram::resolve(&metric("markup_sizes"), &[1.0, 10.0], &labels)
        .expect("a valid histogram")
        .observe(2.0);
}

wasi::http::proxy::export!(Markup);

fn main() {}
