//! A client of Prometheus' HTTP API, for the queries of reports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wasmetry_ops::{Answer, RangeQuery};

/// The time for one query. Prometheus ends its own after two minutes.
const TIMEOUT: Duration = Duration::from_secs(130);

/// The largest answer. A month of one objective with a hundred tenants is some hundred kilobytes.
const MAX_ANSWER: usize = 64 << 20;

const ENDPOINT: &str = "api/v1/query_range";

/// A Prometheus, or another server with its API.
#[derive(Debug)]
pub(super) struct Prometheus {
    url: String,
    host: String,
    port: u16,
    is_tls: bool,
    /// The path and query of the endpoint.
    target: String,
}

impl Prometheus {
    /// Parses a URL, such as `http://127.0.0.1:9090` or one with a prefix of the path.
    pub(super) fn new(url: &str) -> Result<Self> {
        let wrong =
            || anyhow!("--prometheus: `{url}` is not the URL of a Prometheus; write it as `http://127.0.0.1:9090`");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or_else(wrong)?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            bail!("--prometheus: `{}` has a password or a query; remove it", authority.host());
        }
        let is_tls = *scheme == Scheme::HTTPS;
        Ok(Self {
            url: url.to_owned(),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
            target: format!("{}/{ENDPOINT}", uri.path().trim_end_matches('/')),
        })
    }

    /// Sends queries, one after another.
    pub(super) fn query(&self, queries: &[RangeQuery]) -> Result<Vec<Answer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(async {
            let mut answers = Vec::new();
            for query in queries {
                let answer = tokio::time::timeout(TIMEOUT, self.send(query)).await;
                let answer = answer.map_err(|_| anyhow!("it did not answer within {} s", TIMEOUT.as_secs()));
                let place = || format!("--prometheus: cannot query {}", self.url);
                answers.push(answer.and_then(|answer| answer).with_context(place)?);
            }
            Ok(answers)
        })
    }

    async fn send(&self, query: &RangeQuery) -> Result<Answer> {
        // An address of IPv6 has brackets in a URL only.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let connected = TcpStream::connect((host, self.port)).await;
        let stream = connected.with_context(|| "cannot connect; check that Prometheus listens there")?;
        let response = if self.is_tls {
            let stream = tls()?.connect(ServerName::try_from(host.to_owned())?, stream).await;
            self.exchange(stream.context("no TLS with it; check its certificate")?, query).await?
        } else {
            self.exchange(stream, query).await?
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("cannot read its answer: {error}"))?.to_bytes();
        // A query that Prometheus refuses is answered with an error in JSON too.
        serde_json::from_slice(&body).map_err(|_| {
            anyhow!("{} answered with the status {status} and no result; check that it is a Prometheus", self.target)
        })
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        query: &RangeQuery,
    ) -> Result<Response<Incoming>> {
        let request = Request::post(&self.target)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(USER_AGENT, concat!("wasmetry/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(query.form())))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the response, or with the runtime.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

fn tls() -> Result<TlsConnector> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let parsed = Prometheus::new("https://[::1]/prom/").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.is_tls), ("[::1]", 443, true));
        assert_eq!(parsed.target, "/prom/api/v1/query_range");
        assert_eq!(Prometheus::new("http://a:9090").unwrap().target, "/api/v1/query_range");
        for url in ["", "a:9090", "ftp://a", "http:///x", "http://u:secret@a", "http://a?x=1"] {
            let error = Prometheus::new(url).unwrap_err().to_string();
            assert!(error.starts_with("--prometheus: ") && !error.contains("secret"), "{error}");
        }
    }
}
