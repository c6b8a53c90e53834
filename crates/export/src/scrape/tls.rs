//! TLS of the endpoint: the certificate, its key, and a client's stream with or without TLS.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits;

/// The certificate of the endpoint and its key, read from files in PEM format.
///
/// A clone is of the same certificate: [`reload`](Self::reload) replaces it for all.
#[derive(Clone)]
pub struct ServerTls(Arc<Files>);

struct Files {
    certificates: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("certificates", &self.0.certificates).finish_non_exhaustive()
    }
}

/// The fault of a file that cannot be used for TLS. It has no part of the file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTls {
    /// The file.
    pub path: PathBuf,
    /// The fault.
    pub cause: String,
}

impl fmt::Display for InvalidTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path} cannot be used for TLS: {}; give a file in PEM format", self.cause)
    }
}

impl std::error::Error for InvalidTls {}

impl ServerTls {
    /// Reads a chain of certificates, the endpoint's own first, and its private key.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, has no certificate or no key, or if the key is of another
    /// certificate.
    pub fn from_pem_files(certificates: &Path, key: &Path) -> Result<Self, InvalidTls> {
        let config = RwLock::new(Arc::new(server_config(certificates, key)?));
        Ok(Self(Arc::new(Files { certificates: certificates.to_owned(), key: key.to_owned(), config })))
    }

    /// Reads the files again. New connections use what they have now; after an error they use what
    /// they had before.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn reload(&self) -> Result<(), InvalidTls> {
        let config = server_config(&self.0.certificates, &self.0.key)?;
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn server_config(certificates: &Path, key: &Path) -> Result<ServerConfig, InvalidTls> {
    let at = |path: &Path, cause: String| InvalidTls { path: path.to_owned(), cause };
    let pem = read(certificates)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| at(certificates, error.to_string()))?;
    if chain.is_empty() {
        return Err(at(certificates, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| at(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| at(certificates, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => at(key, "it is the key of another certificate".to_owned()),
            error => at(key, error.to_string()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads a file of at most [`limits::MAX_PEM_BYTES`].
fn read(path: &Path) -> Result<Vec<u8>, InvalidTls> {
    let at = |cause: String| InvalidTls { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(|error| at(error.to_string()))?.is_file() {
        return Err(at("it is not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(|error| at(error.to_string()))?;
    file.take(limits::MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(|error| at(error.to_string()))?;
    if bytes.len() as u64 > limits::MAX_PEM_BYTES {
        return Err(at(format!("it has more than {} bytes", limits::MAX_PEM_BYTES)));
    }
    Ok(bytes)
}

/// A client's stream.
pub(super) enum MaybeTls<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
