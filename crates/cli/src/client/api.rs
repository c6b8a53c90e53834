//! A client of the HTTP API of a server that a flag names: whole answers, within a time.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::{ConnectError, Origin};

/// The largest answer. A month of one objective with a hundred tenants is some hundred kilobytes.
const MAX_ANSWER: usize = 64 << 20;

/// A server with an HTTP API, which a flag names.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The URL as it was given.
    pub(crate) url: String,
    server: &'static str,
    origin: Origin,
}

/// A flag that names a server: the flag, the server as a noun, and an example.
type Flag = (&'static str, &'static str, &'static str);

impl Client {
    /// Parses a URL, such as `http://127.0.0.1:9090` or one with a prefix of the path.
    pub(crate) fn new((flag, server, example): Flag, url: &str) -> Result<Self> {
        let what = format!("the URL of {server}; write it as `{example}`");
        let origin = Origin::parse(url, &what).context(flag)?;
        Ok(Self { url: url.to_owned(), server, origin })
    }

    /// Returns a path below the prefix.
    pub(crate) fn path(&self, path: &str) -> String {
        self.origin.path(path)
    }

    /// Sends a request to a path of the API, and returns the status and body of the answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(self.path(path)).body(Full::new(body.into()))?;
        request.headers_mut().extend(headers);
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await;
        answer.map_err(|_| anyhow!("it did not answer within {} s", timeout.as_secs()))?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let response = self.origin.send(request).await.map_err(|error| {
            let is_unreachable = error.is::<ConnectError>();
            if is_unreachable { error.context(format!("check that {} listens there", self.server)) } else { error }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("cannot read its answer: {error}"))?.to_bytes();
        Ok((status, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_flag() {
        let flag = ("--prometheus", "a Prometheus", "http://127.0.0.1:9090");
        assert_eq!(Client::new(flag, "http://a:9090/prom/").unwrap().path("/api"), "/prom/api");
        for url in ["", "a:9090", "ftp://a", "http:///x", "http://u:secret@a", "http://a?x=1"] {
            let error = format!("{:#}", Client::new(flag, url).unwrap_err());
            assert!(error.starts_with("--prometheus: ") && !error.contains("secret"), "{error}");
        }
    }
}
