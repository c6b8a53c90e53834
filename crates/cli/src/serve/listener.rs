//! The listener: accepts connections and serves HTTP on them.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{HOST, HeaderValue};
use http::{Request, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handler::Service;
use super::limits;
use crate::process::descriptor::AcceptErrors;

/// Serves a [`Service`] on one address.
pub(super) struct Listener {
    inner: tokio::net::TcpListener,
    addr: SocketAddr,
    max_connections: usize,
    errors: AcceptErrors,
}

impl Listener {
    /// Makes a listener of a bound socket. It must be called within the runtime.
    ///
    /// `descriptors` is the number of files that the process may have open.
    pub(super) fn new(listener: TcpListener, descriptors: Option<u64>, errors: AcceptErrors) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let max_connections = max_connections(descriptors);
        Ok(Self { inner: tokio::net::TcpListener::from_std(listener)?, addr, max_connections, errors })
    }

    /// The address with the real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts connections until `stopping` is cancelled. Returns when all of them have ended.
    pub(super) async fn run(self, service: Arc<Service>, stopping: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.max_connections));
        let connections = TaskTracker::new();
        while let Some((stream, slot)) = stopping.run_until_cancelled(self.accept(&slots)).await {
            connections.spawn(connection(stream, slot, Arc::clone(&service), stopping.clone()));
        }
        drop(self.inner);
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed, so there is always a permit in the end.
        let slot = Arc::clone(slots).acquire_owned().await.ok();
        loop {
            match self.inner.accept().await {
                Ok((stream, _)) => return (stream, slot),
                Err(error) => {
                    self.errors.record(&error);
                    tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

/// Returns the number of connections that may be open at once. The rest of the descriptors is for
/// telemetry, for requests of guests, for exports and files.
fn max_connections(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return limits::MAX_CONNECTIONS };
    let reserve = (descriptors / 4).clamp(limits::MIN_RESERVED_DESCRIPTORS, limits::MAX_RESERVED_DESCRIPTORS);
    let connections = usize::try_from(descriptors.saturating_sub(reserve)).unwrap_or(usize::MAX);
    connections.clamp(1, limits::MAX_CONNECTIONS)
}

async fn connection(
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    service: Arc<Service>,
    stopping: CancellationToken,
) {
    // Otherwise small responses wait until the client acknowledges earlier ones. Failure is
    // harmless.
    let _ = stream.set_nodelay(true);
    let local_addr = stream.local_addr();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits::WRITE_TIMEOUT));
    let is_used = Arc::new(AtomicBool::new(false));
    let used = Arc::clone(&is_used);
    let service = service_fn(move |mut request| {
        if let Ok(addr) = local_addr {
            add_host(&mut request, addr);
        }
        used.store(true, Ordering::Relaxed);
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client may close its half of the connection behind its request.
        .half_close(true)
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_header_size(limits::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    tokio::select! {
        // Errors of a connection concern only its client.
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    if !is_used.load(Ordering::Relaxed) {
        // No request came, or half a head: stopping does not wait for the rest.
        return;
    }
    let _ = connection.await;
}

/// Gives a request of HTTP/1.0 without a host the address of its connection as host.
///
/// Source: RFC 9112, section 3.2: HTTP/1.1 must have a `Host`, HTTP/1.0 need not. Health checks of
/// load balancers have none.
fn add_host<B>(request: &mut Request<B>, addr: SocketAddr) {
    let has_host = request.headers().contains_key(HOST) || request.uri().authority().is_some();
    if request.version() == Version::HTTP_10
        && !has_host
        && let Ok(host) = HeaderValue::try_from(addr.to_string())
    {
        request.headers_mut().insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve() {
        for (descriptors, connections) in [
            (None, limits::MAX_CONNECTIONS),
            (Some(1 << 20), limits::MAX_CONNECTIONS),
            (Some(1024), 768),
            (Some(256), 128),
            (Some(64), 1),
            (Some(0), 1),
        ] {
            assert_eq!(max_connections(descriptors), connections, "{descriptors:?}");
        }
    }

    #[test]
    fn only_old_requests_get_a_host() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 8080));
        for (version, uri, host, expected) in [
            (Version::HTTP_10, "/", None, Some("127.0.0.1:8080")),
            (Version::HTTP_10, "/", Some("a"), Some("a")),
            (Version::HTTP_10, "http://a/", None, None),
            (Version::HTTP_11, "/", None, None),
        ] {
            let mut request = Request::builder().version(version).uri(uri).body(()).unwrap();
            request.headers_mut().extend(host.map(|host| (HOST, HeaderValue::from_static(host))));
            add_host(&mut request, addr);
            let found = request.headers().get(HOST).map(|host| host.to_str().unwrap());
            assert_eq!(found, expected, "{version:?} {uri} {host:?}");
        }
    }
}
