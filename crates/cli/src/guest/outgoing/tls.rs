//! TLS to a host, by the host's name and Mozilla's root certificates.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::Error;

use super::{error, resolve};

/// The configuration of all connections, with one cache of sessions. `None` if the cryptography
/// lacks the default protocol versions.
static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
});

/// Returns the configuration of all connections.
pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    CONFIG.clone().ok_or(Error::ConfigurationError)
}

/// Performs the TLS handshake with a host, whose certificate must be for its name or IP address.
pub(super) async fn connect(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let handshake = TlsConnector::from(config).connect(server_name(host)?, stream);
    handshake.await.map_err(|error| of_handshake(&error))
}

fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    if let Some(address) = resolve::literal(host) {
        return Ok(ServerName::from(address));
    }
    // The resolver knows more names than certificates can be for, such as one with an underscore at
    // its end.
    ServerName::try_from(host.to_owned()).map_err(|_| Error::TlsCertificateError)
}

fn of_handshake(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => error::of_connection(error).unwrap_or(Error::TlsProtocolError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names() {
        assert_eq!(server_name("example.com").unwrap(), ServerName::try_from("example.com").unwrap());
        assert_eq!(server_name("127.0.0.1").unwrap(), ServerName::from(std::net::Ipv4Addr::LOCALHOST));
        assert_eq!(server_name("[::1]").unwrap(), ServerName::from(std::net::Ipv6Addr::LOCALHOST));
        assert!(matches!(server_name("a b"), Err(Error::TlsCertificateError)));
    }

    #[test]
    fn handshake_errors() {
        let of = |error| of_handshake(&io::Error::new(io::ErrorKind::InvalidData, error));
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(matches!(of(expired), Error::TlsCertificateError));
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert!(matches!(of(alert), Error::TlsAlertReceived { alert_id: Some(40), .. }));
        assert!(matches!(of(rustls::Error::HandshakeNotComplete), Error::TlsProtocolError));
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(matches!(of_handshake(&closed), Error::ConnectionTerminated));
    }
}
