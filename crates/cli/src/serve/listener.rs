//! The listener: accepts connections and serves HTTP on them.
//!
//! `connection_set` bounds the connections, `client` counts those of each client, `stream` keeps
//! their activity up to date.

pub(super) mod client;
pub(super) mod connection_set;
mod stream;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

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
use wasmetry_host::Registry;

use super::handler::Service;
use super::limits;
use super::limits::service::{LimitsInForce, ServiceLimits, time};
use crate::process::descriptor::AcceptErrors;
use client::{ClientAddress, ClientCounts, ClientSlot};
use connection_set::{Activity, ConnectionSet, Phase};
use stream::{ClientStream, TrackedBody};

/// Serves a [`Service`] on one address.
pub(super) struct Listener {
    inner: tokio::net::TcpListener,
    addr: SocketAddr,
    max_connections: usize,
    connections: Arc<ConnectionSet>,
    clients: ClientCounts,
    limits: LimitsInForce,
    errors: AcceptErrors,
}

/// A connection that was accepted.
struct Accepted {
    stream: TcpStream,
    client: ClientAddress,
    /// Its places among all connections, and among those of its client, if they are counted.
    _slots: (Option<OwnedSemaphorePermit>, Option<ClientSlot>),
}

impl Listener {
    /// Makes a listener of a bound socket. It must be called within the runtime.
    pub(super) fn new(
        listener: TcpListener,
        max_connections: usize,
        limits: LimitsInForce,
        registry: &Registry,
        errors: AcceptErrors,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let connections = Arc::new(ConnectionSet::new(registry));
        let inner = tokio::net::TcpListener::from_std(listener)?;
        Ok(Self { inner, addr, max_connections, connections, clients: ClientCounts::default(), limits, errors })
    }

    /// The address with the real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts connections until `stopping` is cancelled. Returns when all of them have ended.
    pub(super) async fn run(self, service: Arc<Service>, stopping: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.max_connections));
        let tasks = TaskTracker::new();
        let sweeping = tokio::spawn(close_late_heads(Arc::clone(&self.connections), self.limits.clone()));
        while let Some(accepted) = stopping.run_until_cancelled(self.accept(&slots)).await {
            self.connections.add(|activity| {
                let limits = self.limits.get();
                let connection = connection(accepted, activity, limits, Arc::clone(&service), stopping.clone());
                tasks.spawn(connection).abort_handle()
            });
        }
        drop(self.inner);
        tasks.close();
        tasks.wait().await;
        sweeping.abort();
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> Accepted {
        loop {
            match self.inner.accept().await {
                Ok((stream, peer)) => {
                    let client = ClientAddress::of(peer.ip());
                    let of_client = match self.limits.get().client_connections {
                        0 => None,
                        limit => {
                            let slot = self.clients.take(client, limit);
                            if slot.is_none() {
                                self.connections.refuse();
                                continue;
                            }
                            slot
                        }
                    };
                    return Accepted { stream, client, _slots: (self.slot(slots).await, of_client) };
                }
                Err(error) => {
                    self.errors.record(&error);
                    tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Waits for a place for a connection that was accepted. One that waits for its client makes
    /// room.
    async fn slot(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
                return Some(slot);
            }
            self.connections.make_room(Instant::now());
            // The semaphore is never closed, so there is always a permit in the end.
            let waited = tokio::time::timeout(limits::ROOM_INTERVAL, Arc::clone(slots).acquire_owned()).await;
            if let Ok(slot) = waited {
                return slot.ok();
            }
        }
    }
}

async fn close_late_heads(connections: Arc<ConnectionSet>, limits: LimitsInForce) {
    let mut interval = tokio::time::interval(limits::SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        connections.close_late(Instant::now(), &limits.get());
    }
}

async fn connection(
    accepted: Accepted,
    activity: Activity,
    limits: ServiceLimits,
    service: Arc<Service>,
    stopping: CancellationToken,
) {
    let Accepted { stream, client, _slots } = accepted;
    // Otherwise small responses wait until the client acknowledges earlier ones. Failure is
    // harmless.
    let _ = stream.set_nodelay(true);
    let local_addr = stream.local_addr();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(time(limits.write_time)));
    let stream = ClientStream::new(Box::pin(stream), activity.clone(), limits, stopping.clone());
    let of_request = activity.clone();
    let service = service_fn(move |mut request| {
        if let Ok(addr) = local_addr {
            add_host(&mut request, addr);
        }
        let (service, activity) = (Arc::clone(&service), of_request.clone());
        activity.enter(Phase::Busy);
        request.extensions_mut().insert(activity.clone());
        request.extensions_mut().insert(client);
        async move {
            let (response, place) = service.respond(request).await;
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, activity, place)))
        }
    });
    let head = usize::try_from(limits.request_head_bytes).unwrap_or(usize::MAX);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client may close its half of the connection behind its request.
        .half_close(true)
        .header_read_timeout(time(limits.idle_connection_time))
        .max_header_size(head)
        // A part of a body that a waiting request has in memory is as large as the buffer.
        .max_buf_size(head.max(limits::READ_BUFFER))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Errors of a connection concern only its client.
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    if !activity.is_used() {
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
