//! A client of HTTP/1.1 for one origin, with TLS for `https`: for Prometheus, and for the console
//! of a host.

mod api;

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) use api::Client;

/// The place of a server: its host and port, and a prefix of its paths.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    host: String,
    port: u16,
    is_tls: bool,
    prefix: String,
}

/// The error of a server that cannot be reached.
#[derive(Debug)]
pub(crate) struct ConnectError(String);

impl ConnectError {
    /// Returns an error with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

impl Origin {
    /// Parses a URL, such as `http://127.0.0.1:9090` or one with a prefix of the path.
    ///
    /// # Errors
    ///
    /// Returns an error that does not show a password. `what` is what the URL should be of.
    pub(crate) fn parse(url: &str, what: &str) -> Result<Self> {
        let wrong = || anyhow!("`{url}` is not {what}");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or_else(wrong)?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            bail!("`{}` has a password or a query; remove it", authority.host());
        }
        let is_tls = *scheme == Scheme::HTTPS;
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Returns a path below the prefix.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Sends a request over a connection of its own, and returns the response as soon as its head
    /// has arrived.
    ///
    /// # Errors
    ///
    /// Returns a [`ConnectError`] if there is no connection, else the cause.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&format!("{}:{}", self.host, self.port))?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("wasmetry/", env!("CARGO_PKG_VERSION"))));
        // An address of IPv6 has brackets in a URL only.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let connected = TcpStream::connect((host, self.port)).await;
        let stream = connected.map_err(|error| ConnectError(format!("cannot connect: {error}")))?;
        if !self.is_tls {
            return exchange(stream, request).await;
        }
        let stream = tls()?.connect(ServerName::try_from(host.to_owned())?, stream).await;
        let no_tls = |error| ConnectError(format!("no TLS with it: {error}; check its certificate"));
        exchange(stream.map_err(no_tls)?, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response, or with the runtime.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
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
        let parsed = Origin::parse("https://[::1]/prom/", "a URL").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.is_tls), ("[::1]", 443, true));
        assert_eq!(parsed.path("/api"), "/prom/api");
        assert_eq!(Origin::parse("http://a:9090", "a URL").unwrap().path("/api"), "/api");
        for url in ["", "a:9090", "ftp://a", "http:///x", "http://u:secret@a", "http://a?x=1"] {
            let error = Origin::parse(url, "a URL").unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
