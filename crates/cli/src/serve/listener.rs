//! The listener: accepts connections and serves HTTP on them.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Serves a [`Service`] on one address.
pub(super) struct Listener {
    inner: tokio::net::TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Makes a listener of a bound socket. It must be called within the runtime.
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        Ok(Self { inner: tokio::net::TcpListener::from_std(listener)?, addr })
    }

    /// The address with the real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts connections until `stopping` is cancelled. Returns when all of them have ended.
    pub(super) async fn run(self, service: Arc<Service>, stopping: CancellationToken) {
        let slots = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
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
                Err(_) => tokio::time::sleep(limits::ACCEPT_BACKOFF).await,
            }
        }
    }
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
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits::WRITE_TIMEOUT));
    let is_used = Arc::new(AtomicBool::new(false));
    let used = Arc::clone(&is_used);
    let service = service_fn(move |request| {
        used.store(true, Ordering::Relaxed);
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
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
