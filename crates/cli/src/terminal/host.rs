//! The client of one host's console: it blocks, so that a terminal needs no runtime of its own.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::runtime::{Handle, Runtime};
use wasmetry_terminal::{Client, Error, Response};

use crate::client::{ConnectError, Origin};
use crate::flag::token;

/// The time for the head of an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The time without a byte after which a connection counts as lost. The host sends an event every
/// five seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// A host.
pub(super) struct Host {
    url: String,
    origin: Origin,
    token: Option<HeaderValue>,
    runtime: Runtime,
}

impl Host {
    /// Creates the client of a telemetry address, which may lack its scheme.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Self> {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let what = "the telemetry address of a host; write it as `http://127.0.0.1:9464`";
        let origin = Origin::parse(&url, what)?;
        let token = token_file.map(|path| token::read("--token-file", path)).transpose()?;
        let token = token.map(|token| token.authorization());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, origin, token, runtime: runtime.context("cannot start")? })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn request(&self, target: &str, last_event: Option<&str>) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::get(self.origin.path(target)).header(ACCEPT, "application/json, text/event-stream");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(id) = last_event {
            request = request.header("last-event-id", HeaderValue::from_str(id)?);
        }
        Ok(request.body(Full::default())?)
    }
}

impl Client for Host {
    fn get(&self, target: &str, last_event: Option<&str>) -> Result<Response, Error> {
        let send = async {
            let request = self.request(target, last_event)?;
            match tokio::time::timeout(TIMEOUT, self.origin.send(request)).await {
                Ok(response) => response,
                Err(_) => Err(ConnectError::new("no answer in time").into()),
            }
        };
        let response = self.runtime.block_on(send).map_err(|error| {
            if error.is::<ConnectError>() {
                return Error::Connection(format!(
                    "{}: {error}; check that `wasmetry serve` runs and has this --telemetry-addr",
                    self.url
                ));
            }
            Error::Connection(format!("{} does not speak HTTP as a host does: {error:#}", self.url))
        })?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let (status, content_type) = (response.status().as_u16(), content_type.unwrap_or_default().to_owned());
        if status == 401 && self.token.is_some() {
            return Err(Error::Token("the host refuses the token of --token-file; it has another one".to_owned()));
        }
        let body = Body { frames: response.into_body(), rest: Bytes::new(), runtime: self.runtime.handle().clone() };
        Ok(Response::new(status, &content_type, Box::new(body)))
    }
}

/// The body of an answer, read by a thread that may block.
struct Body {
    frames: Incoming,
    rest: Bytes,
    runtime: Handle,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let frame = self.runtime.block_on(async { tokio::time::timeout(SILENCE, self.frames.frame()).await });
            match frame {
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing for 20 s")),
                Ok(None) => return Ok(0),
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let read = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
