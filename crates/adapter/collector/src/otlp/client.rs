//! An HTTP client that sends one kind of request and waits for its status, for a limited time.

use std::time::Duration;

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme};
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::io::streams::{OutputStream, StreamError};

/// Whom to send to.
pub(crate) struct Target {
    url: String,
    headers: Vec<(String, String)>,
}

/// What became of a request.
pub(crate) enum Answer {
    /// It was taken.
    Accepted,
    /// It was not taken, and will never be.
    Refused(u16),
    /// It may be taken another time.
    Failed(String),
}

impl Target {
    /// A target by its URL, which `wasmetry adapt` has checked.
    pub(crate) fn new(url: &str, headers: Vec<(String, String)>) -> Self {
        Self { url: url.to_owned(), headers }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a body.
    pub(crate) fn post(&self, body: &[u8], content_type: &str, timeout: Duration) -> Answer {
        match self.status(body, content_type, timeout) {
            Ok(200..=299) => Answer::Accepted,
            // Source: OTLP specification, "OTLP/HTTP Response", Retryable Response Codes.
            Ok(status @ (429 | 502 | 503 | 504)) => Answer::Failed(format!("status {status}")),
            Ok(status) => Answer::Refused(status),
            Err(problem) => Answer::Failed(problem),
        }
    }

    fn status(&self, body: &[u8], content_type: &str, timeout: Duration) -> Result<u16, String> {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let timer = monotonic_clock::subscribe_duration(nanos);
        let request = self.request(content_type)?;
        let outgoing = request.body().map_err(|()| "a request without a body")?;
        let options = RequestOptions::new();
        // A host may not have all of them; the timer ends it anyway.
        let _ = options.set_connect_timeout(Some(nanos));
        let _ = options.set_first_byte_timeout(Some(nanos));
        let _ = options.set_between_bytes_timeout(Some(nanos));
        let future = outgoing_handler::handle(request, Some(options)).map_err(|error| format!("{error:?}"))?;
        {
            let stream = outgoing.write().map_err(|()| "a body without a stream")?;
            write(&stream, body, &timer)?;
        }
        OutgoingBody::finish(outgoing, None).map_err(|error| format!("{error:?}"))?;
        loop {
            match future.get() {
                Some(Ok(Ok(response))) => return Ok(response.status()),
                Some(Ok(Err(error))) => return Err(format!("{error:?}")),
                Some(Err(())) => return Err("a response that was taken before".to_owned()),
                None => wait(&future.subscribe(), &timer)?,
            }
        }
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
        if is_set { Ok(request) } else { Err("the host does not take the URL".to_owned()) }
    }
}

/// Writes all, or as much as can be written in time.
fn write(stream: &OutputStream, mut bytes: &[u8], timer: &Pollable) -> Result<(), String> {
    let problem = |error: StreamError| match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        // The answer says why.
        StreamError::Closed => String::new(),
    };
    let mut is_flushing = false;
    loop {
        match stream.check_write() {
            Ok(0) => wait(&stream.subscribe(), timer)?,
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

/// Waits until something is ready, or the time is over.
fn wait(what: &Pollable, timer: &Pollable) -> Result<(), String> {
    let ready = poll(&[what, timer]);
    if ready.contains(&0) { Ok(()) } else { Err("no answer in time".to_owned()) }
}
