//! The HTTP client of one URL, with TLS for `https`.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::Error;
use crate::push::config::Tls;

/// The `User-Agent` of this process.
pub(super) const AGENT: &str = concat!("wasmetry/", env!("CARGO_PKG_VERSION"));

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

type Connector = HttpsConnector<HttpConnector>;
type Pool = legacy::Client<Connector, Full<Bytes>>;

/// An HTTP client of one URL. It keeps its connection alive.
pub(super) struct Client {
    uri: Uri,
    headers: HeaderMap,
    method: Method,
    version: Version,
    connector: Connector,
    pool: Pool,
}

impl Client {
    pub(super) fn new(uri: Uri, headers: HeaderMap, tls: &Tls, version: Version) -> Result<Self, Error> {
        let connector = connector(tls, version)?;
        let pool = pool(&connector, version);
        Ok(Self { uri, headers, method: Method::POST, version, connector, pool })
    }

    /// Replaces the method, which is POST otherwise.
    pub(super) fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Drops the connection; the next request opens another one.
    pub(super) fn reconnect(&mut self) {
        self.pool = pool(&self.connector, self.version);
    }

    /// Sends a body with one more header, and returns the response as soon as its head has arrived.
    pub(super) async fn send(
        &self,
        body: Bytes,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value);
        }
        if self.version == Version::Http2 {
            *request.version_mut() = http::Version::HTTP_2;
        }
        self.pool.request(request).await
    }
}

/// Compresses bytes with gzip.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::default());
    // Writing to memory cannot fail.
    let _ = gzip.write_all(bytes);
    gzip.finish().unwrap_or_default()
}

/// Decompresses gzip. Returns `None` if it is invalid or longer than `limit` bytes.
pub(super) fn gunzip(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let read = GzDecoder::new(bytes).take(limit as u64 + 1).read_to_end(&mut message).ok()?;
    (read <= limit).then_some(message)
}

fn pool(connector: &Connector, version: Version) -> Pool {
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(version == Version::Http2)
        .pool_timer(TokioTimer::new())
        .build(connector.clone())
}

fn connector(tls: &Tls, version: Version) -> Result<Connector, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_tls_config(client_config(tls)?).https_or_http();
    Ok(match version {
        Version::Http1 => builder.enable_http1().wrap_connector(http),
        Version::Http2 => builder.enable_http2().wrap_connector(http),
    })
}

fn client_config(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .with_root_certificates(roots(tls)?);
    let Some((chain, key)) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let certificates = certificates(chain)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, &error.to_string()))?;
    builder.with_client_auth_cert(certificates, private).map_err(|error| pem(key, &error.to_string()))
}

/// Returns the trusted certificates: those of the file, or Mozilla's.
fn roots(tls: &Tls) -> Result<RootCertStore, Error> {
    let Some(path) = &tls.certificates else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| pem(path, &error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(pem(path, "there is no certificate in it"));
    }
    Ok(found)
}

fn pem(path: &Path, cause: &str) -> Error {
    Error::Pem { path: path.to_owned(), cause: cause.to_owned() }
}
