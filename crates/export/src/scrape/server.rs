//! The server: a listener, a thread, and connections that are bounded in number and time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_io_timeout::TimeoutStream;

use super::connection::{Activity, Connections};
use super::control::Control;
use super::delivery::{Delivery, ResponseBody, SnapshotTime, TrackedStream, close};
use super::route::{Router, Source};
use crate::limits;

/// The configuration of an endpoint. The default limits are those of [`limits`].
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
    /// The control of recordings at `/recording`, if there is one.
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
    /// Sets the time in which a client has to send the head of a request.
    #[must_use]
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets the time without progress after which a write is ended.
    #[must_use]
    pub fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets the time for collecting and encoding a snapshot.
    #[must_use]
    pub fn with_snapshot_timeout(mut self, timeout: Duration) -> Self {
        self.snapshot_timeout = timeout;
        self
    }

    /// Sets the time that [`Server::stop`] waits for scrapes in progress.
    #[must_use]
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets the number of connections that are served at once.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Adds `/recording`.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }
}

/// A running telemetry endpoint.
///
/// Dropping it stops it without waiting for scrapes in progress.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
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
            // A source that does not return keeps its thread, which is not waited for.
            runtime.shutdown_timeout(shutdown_timeout.min(Duration::from_secs(1)));
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

async fn run(
    listener: tokio::net::TcpListener,
    source: Arc<dyn Source>,
    config: Config,
    mut stopped: watch::Receiver<bool>,
) {
    let router = Arc::new(Router::new(
        Arc::clone(&source),
        limits::MAX_SNAPSHOTS,
        config.snapshot_timeout,
        config.control.clone(),
    ));
    let mut connections = Connections::new(config.max_connections.max(1));
    // No message is ever sent: all connections have ended when all have dropped their senders.
    let (alive, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let stream = tokio::select! {
            // An error means that the `Server` was dropped.
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    source.accept_failed(&error);
                    tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                    continue;
                }
            },
        };
        if !connections.make_room() {
            continue;
        }
        let activity = Activity::default();
        let context = Context { router: Arc::clone(&router), source: Arc::clone(&source), stopped: stopped.clone() };
        let connection = connection(stream, context, &config, activity.clone(), alive.clone());
        connections.add(activity, tokio::spawn(connection).abort_handle());
    }
    drop(listener);
    drop(alive);
    let graceful = stopped.has_changed().is_ok();
    let wait = if graceful { config.shutdown_timeout } else { Duration::ZERO };
    let _ = tokio::time::timeout(wait, ended.recv()).await;
}

/// The parts of the server that a connection uses.
struct Context {
    router: Arc<Router>,
    source: Arc<dyn Source>,
    stopped: watch::Receiver<bool>,
}

/// Serves one connection until it ends or fails, or the server stops.
fn connection(
    stream: TcpStream,
    context: Context,
    config: &Config,
    activity: Activity,
    alive: mpsc::Sender<Infallible>,
) -> impl Future<Output = ()> + Send + 'static {
    let open = activity.open();
    // Otherwise the end of an exposition waits for the client's acknowledgement. A failure does no
    // harm.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // A client may close its half of the connection behind its request.
        .half_close(true)
        .header_read_timeout(config.header_timeout)
        .max_headers(limits::MAX_HEADERS)
        .max_header_size(limits::MAX_HEAD_BYTES)
        .max_buf_size(limits::MAX_HEAD_BYTES);
    async move {
        let (_open, _alive) = (open, alive);
        let Context { router, source, mut stopped } = context;
        let (used, delivery) = (activity.clone(), Delivery::default());
        let stream = TrackedStream { inner: Box::pin(stream), delivery: delivery.clone() };
        let responding = delivery.clone();
        let service = service_fn(move |request| {
            let (router, delivery) = (Arc::clone(&router), responding.clone());
            let answering = activity.answering();
            Box::pin(async move {
                let response = router.answer(request).await;
                drop(answering);
                let scrape = response.extensions().get::<SnapshotTime>().map(|time| (*time, delivery));
                Ok::<_, Infallible>(response.map(|inner| ResponseBody { inner, scrape }))
            })
        });
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let mut grace = pin!(None);
        let mut is_stopping = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
                () = delivery.written() => grace.set(Some(tokio::time::sleep(limits::DELIVERY_GRACE))),
                // A client that resets the connection would have ended it by now: the scrape counts
                // as delivered.
                () = async { if let Some(grace) = grace.as_mut().as_pin_mut() { grace.await } }, if grace.is_some() => {
                    grace.set(None);
                    if let Some(time) = delivery.take_written() {
                        source.delivered(time);
                    }
                }
                // An error means that the `Server` was dropped.
                _ = stopped.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    if !used.is_used() {
                        // There is no whole request, and stopping does not wait for one.
                        return;
                    }
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let mut stream = connection.into_parts().io.into_inner();
        match (ended, delivery.take_written()) {
            // The client has read the response, or closes after it.
            (Ok(()), Some(time)) if close(&mut stream).await => source.delivered(time),
            (Ok(()), None) => _ = stream.shutdown().await,
            // A client that fails concerns only itself.
            _ => {}
        }
    }
}
