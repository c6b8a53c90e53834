//! The functions that `#[wasmetry::handler]` accepts, and the spans that they get. Pushes to a host
//! are tested with the adapters.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use wasmetry as telemetry;
use wasmetry::{Counter, counter, span};

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
fn handler_continues_request_trace() {
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

/// A future that is pending once.
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A handler that yields, and keeps the current trace after each turn.
#[wasmetry::handler]
async fn turns(request: http::Request<()>) -> http::Response<Vec<String>> {
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(wasmetry::current_context().unwrap().trace_id.to_string());
        let _span = span!("inner").entered();
        Turn(false).await;
        seen.push(wasmetry::current_context().unwrap().trace_id.to_string());
    }
    drop(request);
    http::Response::new(seen)
}

#[test]
fn interleaved_requests_keep_their_traces() {
    let request = |n: u128| {
        http::Request::builder().header("traceparent", format!("00-{n:032x}-b7ad6b7169203331-01")).body(()).unwrap()
    };
    let mut task = Context::from_waker(Waker::noop());
    let mut handlers: Vec<_> = (1..=3).map(|n| (n, Box::pin(turns(request(n))))).collect();
    let mut answered = 0;
    while answered < 3 {
        for (n, handler) in &mut handlers {
            if let Poll::Ready(response) = handler.as_mut().poll(&mut task) {
                assert_eq!(*response.body(), vec![format!("{n:032x}"); 6]);
                answered += 1;
            }
            assert_eq!(wasmetry::current_context(), None);
        }
    }
}

/// Returns a future without being `async`.
#[wasmetry::handler]
fn later(request: http::Request<()>) -> impl Future<Output = Result<http::Response<()>, std::fmt::Error>> {
    let path = request.uri().path().to_owned();
    async move {
        Turn(false).await;
        if path == "/none" { Err(std::fmt::Error) } else { Ok(http::Response::new(())) }
    }
}

#[wasmetry::handler]
fn boxed<'a>(text: &'a str) -> Pin<Box<dyn Future<Output = Result<u32, std::num::ParseIntError>> + 'a>> {
    Box::pin(async move { text.parse() })
}

/// As bindings of `wasi:http` make it.
struct IncomingRequest(&'static str);

#[derive(Debug)]
enum Method {
    Get,
}

impl IncomingRequest {
    fn headers(&self) -> Self {
        Self(self.0)
    }

    fn get(&self, name: &str) -> Vec<Vec<u8>> {
        if name == "traceparent" { vec![self.0.as_bytes().to_vec()] } else { Vec::new() }
    }

    fn method(&self) -> Method {
        Method::Get
    }
}

#[wasmetry::handler(route = "/{id}")]
fn exported(request: IncomingRequest, out: &mut String) {
    *out = wasmetry::current_context().unwrap().trace_id.to_string();
    wasmetry::set_response_status(if request.0.ends_with('1') { 200 } else { 501 });
}

#[test]
fn span_has_response_status() {
    let ready = |future: &mut dyn FnMut(&mut Context<'_>) -> bool| {
        while !future(&mut Context::from_waker(Waker::noop())) {}
    };
    let request = |path: &str, method: &str| http::Request::builder().uri(path).method(method).body(()).unwrap();
    let recorded = wasmetry::testing::capture();
    for (path, method) in [("/", "GET"), ("/none", "BREW")] {
        let mut future = pin!(later(request(path, method)));
        ready(&mut |task| future.as_mut().poll(task).is_ready());
    }
    for text in ["1", "x"] {
        let mut future = boxed(text);
        ready(&mut |task| future.as_mut().poll(task).is_ready());
    }
    assert!(parse("x").is_err());
    for path in ["/", "/none"] {
        let mut future = pin!(cart(request(path, "GET")));
        ready(&mut |task| future.as_mut().poll(task).is_ready());
    }
    let mut trace = String::new();
    for flags in ["01", "00"] {
        let traceparent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        exported(IncomingRequest(traceparent.leak()), &mut trace);
        assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
    }
    recorded.assert_spans(&[
        r#"later http.request.method="GET" http.response.status_code=200"#,
        r#"later http.request.method="_OTHER" error.type="core::fmt::Error" error "an error occurred when formatting an argument""#,
        r#"  event exception exception.type="core::fmt::Error" exception.message="an error occurred when formatting an argument""#,
        r#"boxed"#,
        r#"boxed error.type="core::num::error::ParseIntError" error "invalid digit found in string""#,
        r#"  event exception exception.type="core::num::error::ParseIntError" exception.message="invalid digit found in string""#,
        r#"parse error.type="core::num::error::ParseIntError" error "invalid digit found in string""#,
        r#"  event exception exception.type="core::num::error::ParseIntError" exception.message="invalid digit found in string""#,
        r#"cart http.route="/cart" http.request.method="GET" http.response.status_code=200"#,
        r#"cart http.route="/cart" http.request.method="GET" error.type="core::fmt::Error" error "an error occurred when formatting an argument""#,
        r#"  event exception exception.type="core::fmt::Error" exception.message="an error occurred when formatting an argument""#,
        r#"exported http.route="/{id}" http.request.method="GET" http.response.status_code=200"#,
        r#"exported http.route="/{id}" http.request.method="GET" http.response.status_code=501 error.type="501" error """#,
    ]);
}

#[test]
fn handler_keeps_the_function() {
    let before = HANDLED.get();
    assert_eq!(parse("7"), Ok(7));
    assert_eq!(parse("0"), Ok(100));
    assert!(parse("seven").is_err());
    let service = Service { answer: 42 };
    let answer = pin!(service.answer("why")).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(("why", 42)));
    assert_eq!(HANDLED.get(), before + 4);
}
