//! The server: a listener, a thread, and connections that cannot hold it up.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_io_timeout::TimeoutStream;

use super::connection::{Activity, Connections};
use super::control::Control;
use super::route::{Router, Source};
use crate::limits;

/// The limits of one endpoint that may be changed; the defaults are those of [`limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// See [`limits::HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// See [`limits::WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// See [`limits::SNAPSHOT_TIMEOUT`].
    pub snapshot_timeout: Duration,
    /// See [`limits::SHUTDOWN_TIMEOUT`].
    pub shutdown_timeout: Duration,
    /// See [`limits::MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// Who may change what is recorded, while guests run; nobody, unless it is set.
    pub control: Option<Control>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_timeout: limits::HEADER_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            snapshot_timeout: limits::SNAPSHOT_TIMEOUT,
            shutdown_timeout: limits::SHUTDOWN_TIMEOUT,
            max_connections: limits::MAX_CONNECTIONS,
            control: None,
        }
    }
}

impl Config {
    /// Sets how long a client may take to send a request's head, or to begin the next one.
    #[must_use]
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets how long a write may make no progress.
    #[must_use]
    pub fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets how long taking and encoding a snapshot may take.
    #[must_use]
    pub fn with_snapshot_timeout(mut self, timeout: Duration) -> Self {
        self.snapshot_timeout = timeout;
        self
    }

    /// Sets how long [`Server::stop`] waits for scrapes in progress.
    #[must_use]
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets how many connections are served at once.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Answers `/recording` too.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }
}

/// A running telemetry endpoint.
///
/// Dropping it stops it too, without waiting for scrapes in progress.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts answering on a bound listener, with the default limits.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used by the runtime, or no thread can be started.
    pub fn start(listener: TcpListener, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::start_with(listener, source, Config::default())
    }

    /// Starts answering on a bound listener.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used by the runtime, or no thread can be started.
    pub fn start_with(listener: TcpListener, source: Arc<dyn Source>, config: Config) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(limits::MAX_SNAPSHOTS)
            .thread_name("telemetry-scrape")
            .build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            let shutdown_timeout = config.shutdown_timeout;
            runtime.block_on(run(listener, source, config, stopped));
            // What is left is a source that does not return: its thread is given up.
            runtime.shutdown_timeout(shutdown_timeout.min(Duration::from_secs(1)));
        })?;
        Ok(Self { addr, stop, thread: Some(thread) })
    }

    /// The address that it answers on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections, finishes the scrapes in progress, and returns when the thread has ended.
    ///
    /// It waits at most for [`Config::shutdown_timeout`] and a second more.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was already reported, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

async fn run(
    listener: tokio::net::TcpListener,
    source: Arc<dyn Source>,
    config: Config,
    mut stopped: watch::Receiver<bool>,
) {
    let router = Arc::new(Router::new(source, limits::MAX_SNAPSHOTS, config.snapshot_timeout, config.control.clone()));
    let mut connections = Connections::new(config.max_connections.max(1));
    // Nothing is ever sent: when every connection has dropped its sender, all have ended.
    let (alive, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let stream = tokio::select! {
            // An error means that the `Server` was dropped.
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                    continue;
                }
            },
        };
        if !connections.make_room() {
            continue;
        }
        let activity = Activity::default();
        let connection =
            connection(stream, Arc::clone(&router), &config, activity.clone(), stopped.clone(), alive.clone());
        connections.add(activity, tokio::spawn(connection).abort_handle());
    }
    drop(listener);
    drop(alive);
    let graceful = stopped.has_changed().is_ok();
    let wait = if graceful { config.shutdown_timeout } else { Duration::ZERO };
    let _ = tokio::time::timeout(wait, ended.recv()).await;
}

/// Serves one connection until its end, an error, a timeout or the server's stop.
fn connection(
    stream: TcpStream,
    router: Arc<Router>,
    config: &Config,
    activity: Activity,
    mut stopped: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
) -> impl Future<Output = ()> + Send + 'static {
    let open = activity.open();
    // Without it, the tail of an exposition waits for the client's acknowledgement; failing does no harm.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_headers(limits::MAX_HEADERS)
        .max_header_size(limits::MAX_HEAD_BYTES)
        .max_buf_size(limits::MAX_HEAD_BYTES);
    async move {
        let (_open, _alive) = (open, alive);
        let used = activity.clone();
        let service = service_fn(move |request| {
            let router = Arc::clone(&router);
            let answering = activity.answering();
            async move {
                let response = router.answer(request).await;
                drop(answering);
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
        tokio::pin!(connection);
        tokio::select! {
            // What goes wrong on a connection is its client's affair.
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        if !used.is_used() {
            // Nothing came, or half a head: stopping does not wait for the rest of it.
            return;
        }
        let _ = connection.await;
    }
}
