//! What `#[wasmetry::handler]` may stand on. That a host is sent what was recorded is shown by the tests of the adapters.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmetry as telemetry;
use wasmetry::{Counter, counter};

static HANDLED: Counter = counter!("requests_handled_total", "Requests.");

/// A plain function, with an early end.
#[wasmetry::handler]
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    HANDLED.inc();
    let number: u32 = text.parse()?;
    if number == 0 {
        return Ok(100);
    }
    Ok(number)
}

struct Service {
    answer: u32,
}

impl Service {
    #[telemetry::handler(crate = telemetry)]
    pub(crate) async fn answer<'a>(&'a self, question: &'a str) -> (&'a str, u32) {
        HANDLED.inc();
        std::future::ready(()).await;
        (question, self.answer)
    }
}

/// A request and a response by their types.
#[wasmetry::handler(name = "cart", route = "/cart")]
async fn cart(request: http::Request<()>) -> Result<http::Response<String>, std::fmt::Error> {
    let context = wasmetry::current_context().map(|context| context.trace_id.to_string());
    if request.uri().path() == "/none" {
        return Err(std::fmt::Error);
    }
    Ok(http::Response::new(context.unwrap_or_default()))
}

#[test]
fn a_handler_continues_the_trace_of_its_request() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    let request = |headers: &[&str]| {
        let mut request = http::Request::builder();
        for header in headers {
            request = request.header("traceparent", *header);
        }
        let answer = pin!(cart(request.body(()).unwrap())).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(response)) = answer else { panic!("{answer:?}") };
        response.into_body()
    };
    assert_eq!(request(&[&traceparent]), trace);
    for headers in [&[][..], &["00-x"], &[&traceparent, &traceparent]] {
        let other = request(headers);
        assert!(other.len() == 32 && other != trace, "{other}");
    }
    assert_eq!(wasmetry::current_context(), None);
}

#[test]
fn a_handler_is_the_function_it_was() {
    assert_eq!(parse("7"), Ok(7));
    assert_eq!(parse("0"), Ok(100));
    assert!(parse("seven").is_err());
    let service = Service { answer: 42 };
    let answer = pin!(service.answer("why")).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(("why", 42)));
    assert_eq!(HANDLED.get(), 4);
}
