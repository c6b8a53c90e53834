//! The configuration of the telemetry endpoint: its limits for clients, their access, and further
//! paths.

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::guard::Guard;
use super::handler::{Access, Handler, Mount};
use super::tls::ServerTls;
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
    /// See [`limits::DELIVERY_TIMEOUT`].
    pub delivery_timeout: Duration,
    /// See [`limits::DELIVERY_PATIENCE`].
    pub delivery_patience: Duration,
    /// See [`limits::SHUTDOWN_TIMEOUT`].
    pub shutdown_timeout: Duration,
    /// See [`limits::BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// See [`limits::MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// The access of clients. The default opens `/` on loopback addresses, and no path of control.
    pub guard: Guard,
    /// The certificate, if the endpoint is served by TLS only.
    pub tls: Option<ServerTls>,
    /// The control of recordings at `/recording`, if there is one.
    pub control: Option<Control>,
    pub(super) mounts: Vec<Mount>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_timeout: limits::HEADER_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            snapshot_timeout: limits::SNAPSHOT_TIMEOUT,
            delivery_timeout: limits::DELIVERY_TIMEOUT,
            delivery_patience: limits::DELIVERY_PATIENCE,
            shutdown_timeout: limits::SHUTDOWN_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            max_connections: limits::MAX_CONNECTIONS,
            guard: Guard::default(),
            tls: None,
            control: None,
            mounts: Vec::new(),
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

    /// Sets the time in which a client has to read an exposition.
    #[must_use]
    pub fn with_delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Sets the time after which a delivery is ended if another scrape waits for a snapshot.
    #[must_use]
    pub fn with_delivery_patience(mut self, patience: Duration) -> Self {
        self.delivery_patience = patience;
        self
    }

    /// Sets the time that [`Server::stop`](crate::scrape::Server::stop) waits for scrapes in
    /// progress.
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

    /// Sets the time in which a client has to send the body of a request.
    #[must_use]
    pub fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Sets the access of clients.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Serves the endpoint by TLS only.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds a handler for `path` and the paths below it; with `/`, for all that are not otherwise
    /// taken. Of several handlers, the one with the longest path answers.
    ///
    /// `/metrics`, `/healthz`, `/readyz`, `/sd`, `/login`, `/logout`, `/recording` and `/drill`
    /// cannot be replaced.
    #[must_use]
    pub fn with_handler(mut self, path: &'static str, access: Access, handler: Arc<dyn Handler>) -> Self {
        self.mounts.push(Mount::new(path, access, handler));
        self
    }

    /// Adds `/recording`, for clients that have the token of control; see
    /// [`Guard::with_control_token`].
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }
}
