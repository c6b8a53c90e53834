//! Requests to one host, and the errors of a host that is none.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

use crate::escape::escape;
use crate::limits;

/// Sends requests to one host.
pub trait Client {
    /// Sends a `GET` request for a path and query, such as `/api/v1/status`.
    ///
    /// `last_event` is the value of the header `Last-Event-ID`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Connection`] if the host cannot be reached.
    fn get(&self, target: &str, last_event: Option<&str>) -> Result<Response, Error>;
}

/// The response of a host.
pub struct Response {
    status: u16,
    content_type: String,
    body: Box<dyn Read + Send>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Response {
    /// Creates a response of a status, the value of `Content-Type`, and a body.
    pub fn new(status: u16, content_type: &str, body: Box<dyn Read + Send>) -> Self {
        Self { status, content_type: content_type.to_owned(), body }
    }
}

/// The error of a command. It is one line with the cause and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The host cannot be reached, or the connection was lost.
    Connection(String),
    /// The host requires a bearer token, or refuses the one that it got.
    Token(String),
    /// The address answers, and is no console of wasmetry.
    NoConsole(String),
    /// The host refused the request.
    Refused(String),
    /// The output cannot be written, or the terminal cannot be used.
    Output(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(text) | Self::Token(text) | Self::NoConsole(text) | Self::Refused(text) => {
                f.write_str(text)
            }
            Self::Output(error) => write!(f, "cannot write to the terminal: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Reads a JSON answer.
pub(crate) fn json(client: &dyn Client, target: &str) -> Result<Value, Error> {
    let response = accepted(client.get(target, None)?, "application/json")?;
    let mut text = Vec::new();
    let read = response.body.take(limits::ANSWER + 1).read_to_end(&mut text);
    read.map_err(|error| Error::Connection(format!("the connection to the host was lost: {error}")))?;
    if text.len() as u64 > limits::ANSWER {
        return Err(Error::Refused("the answer of the host is too long; filter by --component".to_owned()));
    }
    serde_json::from_slice(&text).map_err(|_| no_console())
}

/// Opens the event stream of a target.
pub(crate) fn events(
    client: &dyn Client,
    target: &str,
    last_event: Option<&str>,
) -> Result<Box<dyn BufRead + Send>, Error> {
    let response = accepted(client.get(target, last_event)?, "text/event-stream")?;
    Ok(Box::new(BufReader::new(response.body)))
}

/// Returns the response if it is one of the console's, and succeeded.
fn accepted(response: Response, content_type: &str) -> Result<Response, Error> {
    if response.status == 200 && response.content_type.starts_with(content_type) {
        return Ok(response);
    }
    match response.status {
        401 => Err(Error::Token(
            "the host requires its token: pass --token-file FILE, with the token that the host has, or use its loopback \
             address"
                .to_owned(),
        )),
        // A problem document has the cause and the remedy.
        status => {
            let is_problem = response.content_type.starts_with("application/problem+json");
            let mut text = Vec::new();
            let _ = response.body.take(64 << 10).read_to_end(&mut text);
            let problem = is_problem.then(|| serde_json::from_slice::<Value>(&text).ok()).flatten();
            let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
            Err(match (detail, status) {
                (Some(detail), _) => Error::Refused(format!("the host refused the request: {}", escape(detail))),
                (None, 403) => Error::Token(
                    "the host refuses this client: pass --token-file FILE with its token, and use a name of the host \
                     that it knows (--telemetry-host)"
                        .to_owned(),
                ),
                (None, 429 | 503) => Error::Refused("the host has too many readers; try again later".to_owned()),
                (None, _) => no_console(),
            })
        }
    }
}

fn no_console() -> Error {
    Error::NoConsole(
        "no console of wasmetry answers there: give the telemetry address of `wasmetry serve`, such as \
         http://127.0.0.1:9464, of a host that runs without --no-console"
            .to_owned(),
    )
}

/// Encodes parameters as a query, with its `?`. Without parameters it is an empty text.
pub(crate) fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (key, value) in parameters {
        let Some(value) = value else { continue };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(key);
        query.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
                _ => {
                    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                    query.push('%');
                    query.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    query.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
            }
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(status: u16, content_type: &str, body: &'static str) -> String {
        accepted(Response::new(status, content_type, Box::new(body.as_bytes())), "application/json")
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn errors_name_the_remedy() {
        assert!(error_of(401, "text/plain", "").contains("--token-file"));
        assert!(error_of(404, "text/plain", "not found").contains("--no-console"));
        assert!(error_of(200, "text/html", "<html>").contains("telemetry address"));
        let problem = r#"{"detail": "`range` is 7; use 300, 900 or 3600"}"#;
        assert!(error_of(400, "application/problem+json", problem).ends_with("use 300, 900 or 3600"));
        for status in [401, 403, 404, 429, 500, 503] {
            assert!(!error_of(status, "text/plain", "").contains('\n'));
        }
    }

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(query(&[("a", Some("x y&ü")), ("b", None), ("c", Some("/~"))]), "?a=x%20y%26%C3%BC&c=%2F~");
    }
}
