//! The third step of a request: a connection to one of its host's addresses.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::{Error, RequestOptions};

use super::budget::ConnectionSlot;
use super::policy::{Denial, Policy};
use super::{check, error, resolve, tls};
use crate::guest::limits;

/// A connection, with or without TLS.
pub(super) struct Stream {
    transport: Transport,
    address: SocketAddr,
    _slot: ConnectionSlot,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The address of the other side.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The reason why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The policy refuses all addresses of the host.
    Denied(Denial),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Opens a connection for a request to a URI.
///
/// The guest's connect timeout bounds the resolution of the name, the connection and the TLS
/// handshake together.
///
/// # Errors
///
/// Fails with the error of the step that failed, or of the step that the timeout ended.
pub(super) async fn connect(
    uri: &Uri,
    options: &RequestOptions,
    policy: &Policy,
    slot: ConnectionSlot,
) -> Result<Stream, Failure> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let deadline = Instant::now() + options.connect_timeout.unwrap_or(limits::OUTGOING_TIMEOUT);

    let (addresses, slot) =
        within(deadline, Error::DnsTimeout, resolve::resolve(host, port, slot.lookups(), slot)).await?;
    let config = is_tls.then(tls::config).transpose()?;
    let (transport, address) = open(host, addresses, config, policy, deadline).await?;
    Ok(Stream { transport, address, _slot: slot })
}

/// Opens a connection to one of the addresses of a host that the policy allows, over TLS if there
/// is a configuration of it.
async fn open(
    host: &str,
    addresses: Vec<SocketAddr>,
    config: Option<Arc<ClientConfig>>,
    policy: &Policy,
    deadline: Instant,
) -> Result<(Transport, SocketAddr), Failure> {
    let addresses = check::check(policy, host, addresses)?;
    let (stream, address) = within(deadline, Error::ConnectionTimeout, connect_to_any(&addresses)).await?;
    // Otherwise the end of a small request waits until the server acknowledges its beginning.
    // Failure is harmless.
    let _ = stream.set_nodelay(true);
    let Some(config) = config else { return Ok((Transport::Plain(stream), address)) };
    let stream = within(deadline, Error::ConnectionTimeout, tls::connect(config, host, stream)).await?;
    Ok((Transport::Tls(Box::new(stream)), address))
}

async fn within<T>(deadline: Instant, late: Error, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout_at(deadline, step).await.unwrap_or(Err(late))
}

/// Connects to the first address that accepts. The error is that of the last address.
async fn connect_to_any(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = error::of_connect(&error),
        }
    }
    Err(last)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod destination_tests;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use wasmetry_host::Identity;

    use super::*;
    use crate::guest::outgoing::budget::{OutgoingLimits, ProcessConnections};
    use crate::guest::share::Owner;

    async fn failure(uri: &str, timeout: Duration) -> Error {
        let options = RequestOptions { connect_timeout: Some(timeout), ..RequestOptions::default() };
        let owner = Owner::of(&Identity::new("a"));
        let slot = ProcessConnections::new(4, OutgoingLimits::default()).tenant(owner).store().take().unwrap();
        match connect(&uri.parse().unwrap(), &options, &Policy::default(), slot).await.err().unwrap() {
            Failure::Error(error) => error,
            Failure::Denied(denial) => panic!("{denial:?}"),
        }
    }

    #[tokio::test]
    async fn closed_port_is_refused() {
        // Bound, so that no other program gets the port, and not listening.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let uri = format!("http://{}/", closed.local_addr().unwrap());
        let error = failure(&uri, Duration::from_secs(60)).await;
        assert!(matches!(error, Error::ConnectionRefused), "{error:?}");
    }

    #[tokio::test]
    async fn unknown_name_is_no_refusal() {
        let error = failure(&format!("http://{}/", "x".repeat(64)), Duration::from_secs(60)).await;
        assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn silent_tls_server_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("https://{}/", listener.local_addr().unwrap());
        let error = failure(&uri, Duration::from_millis(20)).await;
        assert!(matches!(error, Error::ConnectionTimeout), "{error:?}");
    }

    #[tokio::test]
    async fn answer_without_tls_is_protocol_error() {
        use std::io::Write;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("https://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            // Closed by the client after it has read the answer.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let error = failure(&uri, Duration::from_secs(60)).await;
        assert!(matches!(error, Error::TlsProtocolError), "{error:?}");
        server.join().unwrap();
    }
}
