//! The third step of a request: a connection to one of its host's addresses.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::{Error, RequestOptions};

use super::{check, error, resolve, tls};
use crate::guest::limits;

/// A connection, with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a connection for a request to a URI.
///
/// The guest's connect timeout bounds the resolution of the name, the connection and the TLS
/// handshake together.
///
/// # Errors
///
/// Fails with the error of the step that failed, or of the step that the timeout ended.
pub(super) async fn connect(uri: &Uri, options: &RequestOptions) -> Result<Stream, Error> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let deadline = Instant::now() + options.connect_timeout.unwrap_or(limits::OUTGOING_TIMEOUT);

    let addresses = within(deadline, Error::DnsTimeout, resolve::resolve(host, port)).await?;
    let addresses = check::check(addresses)?;
    let stream = within(deadline, Error::ConnectionTimeout, connect_to_any(&addresses)).await?;
    // Otherwise the end of a small request waits until the server acknowledges its beginning.
    // Failure is harmless.
    let _ = stream.set_nodelay(true);
    if !is_tls {
        return Ok(Stream::Plain(stream));
    }
    let stream = within(deadline, Error::ConnectionTimeout, tls::connect(host, stream)).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

async fn within<T>(deadline: Instant, late: Error, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout_at(deadline, step).await.unwrap_or(Err(late))
}

/// Connects to the first address that accepts. The error is that of the last address.
async fn connect_to_any(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error::of_connect(&error),
        }
    }
    Err(last)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    async fn failure(uri: &str, timeout: Duration) -> Error {
        let options = RequestOptions { connect_timeout: Some(timeout), ..RequestOptions::default() };
        connect(&uri.parse().unwrap(), &options).await.err().unwrap()
    }

    #[tokio::test]
    async fn closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
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
