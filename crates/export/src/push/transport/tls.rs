//! TLS to `https` endpoints.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Connector;
use crate::Error;
use crate::push::config::Tls;

/// The version of HTTP that a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Makes what makes connections.
pub(super) fn connector(tls: &Tls, version: Version) -> Result<Connector, Error> {
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

/// The certificates that are trusted: those of the file, or Mozilla's.
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
