//! An HTTP client that posts a body. A caller waits for the status as long as it likes.

use std::time::Duration;

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::io::streams::{OutputStream, StreamError};

/// The destination of requests.
pub(crate) struct Target {
    url: String,
    headers: Vec<(String, String)>,
}

/// The result of a request.
pub(crate) enum Answer {
    /// The server has accepted the body.
    Accepted,
    /// The server has refused the body for good.
    Refused(u16),
    /// The server may accept the body later.
    Failed(String),
}

/// The end of a wait.
pub(crate) struct Timer(Pollable);

impl Timer {
    /// Starts a timer.
    pub(crate) fn new(duration: Duration) -> Self {
        Self(monotonic_clock::subscribe_duration(nanos(duration)))
    }

    /// Waits until something is ready; returns `false` if the time is over before.
    fn wait(&self, what: &Pollable) -> bool {
        poll(&[what, &self.0]).contains(&0)
    }
}

/// A request whose body has been sent.
pub(crate) struct Response(FutureIncomingResponse);

impl Response {
    /// Returns the answer, or `None` if it has not arrived yet. Call it no more after an answer.
    pub(crate) fn answer(&self) -> Option<Answer> {
        // Wasmtime notices a response only when its pollable is polled.
        if !self.0.subscribe().ready() {
            return None;
        }
        Some(match self.0.get()? {
            Ok(Ok(response)) => match response.status() {
                200..=299 => Answer::Accepted,
                // Source: OTLP specification, "OTLP/HTTP Response", Retryable Response Codes.
                status @ (429 | 502 | 503 | 504) => Answer::Failed(format!("status {status}")),
                status => Answer::Refused(status),
            },
            Ok(Err(error)) => Answer::Failed(format!("{error:?}")),
            Err(()) => Answer::Failed("the response was taken before".to_owned()),
        })
    }

    /// Waits for the answer; returns `None` if the time is over before.
    pub(crate) fn wait(&self, timer: &Timer) -> Option<Answer> {
        loop {
            if let Some(answer) = self.answer() {
                return Some(answer);
            }
            if !timer.wait(&self.0.subscribe()) {
                return None;
            }
        }
    }
}

impl Target {
    /// Makes a target of a URL, which `wasmetry adapt` has checked.
    pub(crate) fn new(url: &str, headers: Vec<(String, String)>) -> Self {
        Self { url: url.to_owned(), headers }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Posts a body. The host ends the request after `timeout`, even if no caller waits for it.
    ///
    /// # Errors
    ///
    /// Returns the problem if the body cannot be sent, or not until the timer ends.
    pub(crate) fn post(
        &self,
        body: &[u8],
        content_type: &str,
        timeout: Duration,
        timer: &Timer,
    ) -> Result<Response, String> {
        let request = self.request(content_type)?;
        let outgoing = request.body().map_err(|()| "a request without a body")?;
        let options = RequestOptions::new();
        let timeout = Some(nanos(timeout));
        // A host may not support all of them.
        let _ = options.set_connect_timeout(timeout);
        let _ = options.set_first_byte_timeout(timeout);
        let _ = options.set_between_bytes_timeout(timeout);
        let future = outgoing_handler::handle(request, Some(options)).map_err(|error| format!("{error:?}"))?;
        {
            let stream = outgoing.write().map_err(|()| "a body without a stream")?;
            write(&stream, body, timer)?;
        }
        OutgoingBody::finish(outgoing, None).map_err(|error| format!("{error:?}"))?;
        Ok(Response(future))
    }

    fn request(&self, content_type: &str) -> Result<OutgoingRequest, String> {
        let headers = Fields::new();
        let own = [("content-type", content_type), ("user-agent", concat!("wasmetry/", env!("CARGO_PKG_VERSION")))];
        let given = self.headers.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in own.into_iter().chain(given) {
            headers
                .append(key, value.as_bytes())
                .map_err(|error| format!("the header `{key}` cannot be sent ({error:?})"))?;
        }
        let request = OutgoingRequest::new(headers);
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let is_set = request.set_method(&Method::Post).is_ok()
            && request.set_scheme(Some(&scheme)).is_ok()
            && request.set_authority(Some(authority)).is_ok()
            && request.set_path_with_query(Some(path)).is_ok();
        if is_set { Ok(request) } else { Err("the host refuses the URL".to_owned()) }
    }
}

/// Writes a body and flushes it, until the timer ends.
fn write(stream: &OutputStream, mut bytes: &[u8], timer: &Timer) -> Result<(), String> {
    let problem = |error: StreamError| match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        // The answer has the reason.
        StreamError::Closed => String::new(),
    };
    let mut is_flushing = false;
    loop {
        match stream.check_write() {
            Ok(0) if !timer.wait(&stream.subscribe()) => return Err("the body was not sent in time".to_owned()),
            Ok(0) => {}
            Ok(_) if is_flushing => return Ok(()),
            Ok(room) => {
                let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                stream.write(now).map_err(problem)?;
                bytes = later;
                if bytes.is_empty() {
                    stream.flush().map_err(problem)?;
                    is_flushing = true;
                }
            }
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(problem(error)),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
