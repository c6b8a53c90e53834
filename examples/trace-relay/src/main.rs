//! The test service of the W3C Trace Context validation suite.
//!
//! It takes a POST whose body is a JSON array of `{"url": u, "arguments": [...]}`, and for each
//! element sends a POST with the `arguments` to its `url`, with the trace context of the request
//! that it handles. Services can be chained in this way.
//!
//! Source: <https://github.com/w3c/trace-context/tree/main/test>, "Implement Test Service".
//!
//! To run the public suite against it, serve it in one terminal:
//!
//! ```sh
//! cargo xtask guests && cargo build --release -p wasmetry-cli
//! export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318    # it need not exist
//! target/release/wasmetry serve target/guests/trace-relay.wasm --addr 127.0.0.1:5000
//! ```
//!
//! and run the suite in another one, with any Python from 3.6 on:
//!
//! ```sh
//! git clone https://github.com/w3c/trace-context && cd trace-context/test
//! python3 -m venv .venv && .venv/bin/pip install aiohttp
//! SPEC_LEVEL=2 STRICT_LEVEL=2 .venv/bin/python test.py http://127.0.0.1:5000/
//! ```
//!
//! The suite was last run by hand on 2026-11-26: all 41 tests passed, and with `STRICT_LEVEL=1` all
//! that it runs. No test of this repository runs it. With the variable above, the host propagates;
//! without it, the guest does, and the same tests passed. If nothing is recorded (`--log-format
//! off` without the variable), a valid trace context is forwarded unchanged. The specification
//! permits this, but 8 tests fail because they expect a new parent id.

#![forbid(unsafe_code)]

use serde::Deserialize;
use serde_json::Value;
use wasmetry::Instrument as _;
use wasmetry::{Propagation, error, info, span};
use wstd::http::{Body, Client, Error, Method, Request, Response, StatusCode};

/// One call to make.
#[derive(Deserialize)]
struct Call {
    url: String,
    arguments: Value,
}

#[wstd::http_server]
#[wasmetry::handler(route = "/")]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    if request.method() != Method::POST {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "send a POST with a JSON array of calls\n");
    }
    let propagation = Propagation::of(&request);
    let calls: Vec<Call> = match serde_json::from_slice(request.body_mut().contents().await?) {
        Ok(calls) => calls,
        Err(cause) => {
            error!(cause = %cause, "the body is not a list of calls");
            return answer(StatusCode::BAD_REQUEST, "the body is no JSON array of {\"url\", \"arguments\"}\n");
        }
    };
    for call in &calls {
        let span = span!("relay", url = call.url);
        send(call, &propagation).instrument(span).await?;
    }
    answer(StatusCode::OK, "")
}

/// Sends a call. The suite does not expect an error if the call fails, so it is only logged.
async fn send(call: &Call, propagation: &Propagation) -> Result<(), Error> {
    let body = Body::from_json(&call.arguments)?;
    let mut request = Request::post(&call.url).header("content-type", "application/json").body(body)?;
    propagation.inject(request.headers_mut());
    match Client::new().send(request).await {
        Ok(mut response) => {
            info!(status = response.status().as_u16(), "called {}", call.url);
            // The response is read to its end, so that the receiver can finish it.
            if let Err(cause) = response.body_mut().contents().await {
                error!(cause = %cause, "the response of {} is incomplete", call.url);
            }
        }
        Err(cause) => error!(cause = %cause, "cannot call {}", call.url),
    }
    Ok(())
}

fn answer(status: StatusCode, text: &str) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(Body::from(text.to_owned()))?)
}
