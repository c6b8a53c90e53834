//! The configuration of the telemetry endpoint: its limits for clients, and its control path.

use std::time::Duration;

use super::control::Control;
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

    /// Adds `/recording`.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }
}
