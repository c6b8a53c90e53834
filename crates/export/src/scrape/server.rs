//! The telemetry server: accepts connections on a thread of its own, until it is stopped.
//!
//! ```text
//! Server          thread `telemetry`                          threads `telemetry-scrape`
//!
//! start ────────► AcceptLoop ─┬─► Connection ─► Router ─────► Source::snapshot
//!                             └─► Connection ─► Router
//! stop ─ StopSignal ─► ends the AcceptLoop and each Connection
//! ```
//!
//! One thread runs the accept loop and all connections. A snapshot may block, so each runs on
//! another thread. The number of connections, their time and the number of snapshots are limited;
//! see [`Config`].

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::Config;
use super::connection::PendingConnection;
use super::connection_set::{Activity, Closure, ConnectionSet, Room};
use super::guard::{Peer, Refusal, network};
use super::route::{Router, Source};
use crate::limits;

/// The maximum time for which the thread, when it ends, waits for a snapshot in progress.
const SNAPSHOT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running telemetry endpoint.
///
/// Dropping it stops it without waiting for scrapes in progress. [`stop`](Self::stop) waits for
/// them.
///
/// ```
/// use std::{net::TcpListener, sync::Arc, time::Duration};
/// use wasmetry_export::scrape::{Config, Server, Source};
/// use wasmetry_host::{Registry, Snapshot};
///
/// struct Process(Registry);
///
/// impl Source for Process {
///     fn snapshot(&self) -> Snapshot {
///         self.0.snapshot(Duration::ZERO)
///     }
///     fn ready(&self) -> Result<(), String> {
///         Ok(())
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let config = Config::default().with_max_connections(8);
/// let server = Server::start_with(listener, Arc::new(Process(Registry::new())), config)?;
/// println!("scrape http://{}/metrics", server.local_addr());
/// server.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to answer on a bound listener, with the default configuration.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used by the runtime, or no thread can be started.
    pub fn start(listener: TcpListener, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::start_with(listener, source, Config::default())
    }

    /// Starts to answer on a bound listener.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used by the runtime, or no thread can be started.
    pub fn start_with(listener: TcpListener, source: Arc<dyn Source>, config: Config) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let runtime = build_runtime()?;
        let listener = register(listener, &runtime)?;
        let (stop, stop_receiver) = watch::channel(false);
        let accept_loop = AcceptLoop::new(listener, source, config, StopSignal(stop_receiver));
        let thread = std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            let snapshot_timeout = accept_loop.config.shutdown_timeout.min(SNAPSHOT_SHUTDOWN_TIMEOUT);
            runtime.block_on(accept_loop.run());
            // A snapshot that takes longer goes on in its own thread, which is not joined.
            runtime.shutdown_timeout(snapshot_timeout);
        })?;
        Ok(Self { addr, stop, thread: Some(thread) })
    }

    /// Returns its address, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts no more connections, finishes the scrapes in progress, and returns when the thread
    /// has ended.
    ///
    /// It waits at most [`Config::shutdown_timeout`] and one second more.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook, and nothing is left to stop.
            let _ = thread.join();
        }
    }
}

/// Builds the runtime of the server's thread. Its blocking threads take snapshots.
fn build_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(limits::MAX_SNAPSHOTS + limits::MAX_PAGES)
        .thread_name("telemetry-scrape")
        .build()
}

/// Registers a listener with a runtime.
fn register(listener: TcpListener, runtime: &Runtime) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    let _context = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}

/// Notifies the accept loop and the connections that the server stops.
#[derive(Clone, Debug)]
pub(super) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Waits until the [`Server`] is stopped or dropped.
    pub(super) async fn received(&mut self) {
        // An error means that it was dropped.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Returns `true` if the [`Server`] was dropped, so that it does not wait for connections.
    fn is_server_dropped(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// Accepts connections, and runs each as a task, until the server stops.
struct AcceptLoop {
    listener: tokio::net::TcpListener,
    source: Arc<dyn Source>,
    router: Arc<Router>,
    config: Arc<Config>,
    stop: StopSignal,
    /// The time at which slow readers are looked for.
    next_sweep: Instant,
}

impl AcceptLoop {
    fn new(listener: tokio::net::TcpListener, source: Arc<dyn Source>, config: Config, stop: StopSignal) -> Self {
        let router = Router::new(Arc::clone(&source), limits::MAX_SNAPSHOTS, &config);
        let (router, config) = (Arc::new(router), Arc::new(config));
        Self { listener, source, router, config, stop, next_sweep: Instant::now() }
    }

    async fn run(mut self) {
        let mut connections = ConnectionSet::new(self.config.max_connections.max(1), self.config.delivery_patience);
        while let Some((stream, remote)) = self.accept(&mut connections).await {
            match connections.make_room(network(remote.ip())) {
                Room::Free => {}
                Room::Made(closure) => self.source.closed(closure),
                // Dropping the stream closes the new connection.
                Room::Full => {
                    self.source.refused(Refusal::Connections);
                    continue;
                }
            }
            let activity = Activity::default();
            let Some(connection) = self.connection(stream, remote, activity.clone()) else { continue };
            connections.spawn(network(remote.ip()), activity, connection.serve());
        }
        self.close(connections).await;
    }

    /// Waits for the next connection, and closes those of slow readers meanwhile. Returns `None` if
    /// the server stops.
    async fn accept(&mut self, connections: &mut ConnectionSet) -> Option<(TcpStream, SocketAddr)> {
        let shortest = self.config.delivery_timeout.min(self.config.delivery_patience);
        let interval = shortest.clamp(limits::MIN_SWEEP_INTERVAL, limits::SWEEP_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = self.stop.received() => return None,
                accepted = self.listener.accept() => accepted,
                () = tokio::time::sleep_until(self.next_sweep), if !connections.is_empty() => {
                    self.next_sweep = Instant::now() + interval;
                    let closed = connections.close_overdue(self.config.delivery_timeout);
                    (0..closed).for_each(|_| self.source.closed(Closure::SlowReader));
                    continue;
                }
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    self.source.accept_failed(&error);
                    tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Returns the connection of a stream. Returns `None` if the client has gone away already.
    fn connection(&self, stream: TcpStream, remote: SocketAddr, activity: Activity) -> Option<PendingConnection> {
        let local = stream.local_addr().ok()?;
        let peer = Peer { local, remote, is_tls: self.config.tls.is_some() };
        Some(PendingConnection {
            stream,
            peer,
            router: Arc::clone(&self.router),
            source: Arc::clone(&self.source),
            activity,
            config: Arc::clone(&self.config),
            stop: self.stop.clone(),
        })
    }

    /// Refuses further connections, and waits for the open ones if the server was stopped.
    async fn close(self, mut connections: ConnectionSet) {
        drop(self.listener);
        if !self.stop.is_server_dropped() {
            // After the timeout, the connections that are left are dropped.
            let _ = tokio::time::timeout(self.config.shutdown_timeout, connections.ended()).await;
        }
    }
}
