//! The telemetry endpoint of a program that ends by itself.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use wasmetry_export::scrape::{Config, Server, Source};
use wasmetry_host::{Registry, Snapshot};
use wasmetry_wasmtime::Telemetry;

use crate::process::endpoint::{self, Readiness};

/// The endpoint, which also notes the first scrape after the end of the program.
pub(super) struct Endpoint {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    process: endpoint::Endpoint,
    readiness: Arc<Readiness>,
    ended: AtomicBool,
    /// Set if a snapshot has been taken since the end.
    is_taken: AtomicBool,
    scraped: CancellationToken,
}

impl Endpoint {
    /// Starts the server.
    pub(super) fn start(listener: TcpListener, registry: Registry, config: Config) -> Result<Self> {
        let readiness = Arc::new(Readiness::default());
        let shared = Arc::new(Shared {
            process: endpoint::Endpoint::new(registry, Arc::clone(&readiness)),
            readiness,
            ended: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
            scraped: CancellationToken::new(),
        });
        let server = Server::start_with(listener, Arc::<Shared>::clone(&shared), config)
            .context("cannot start the telemetry endpoint")?;
        Ok(Self { server, shared })
    }

    /// The address of the server, with the real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Sets the telemetry of the program, which is about to start.
    pub(super) fn started(&self, telemetry: Telemetry) {
        self.shared.process.set_telemetry(telemetry);
        self.shared.readiness.ready();
    }

    /// Notes that the program has ended and has been collected.
    pub(super) fn ended(&self) {
        // Release pairs with the Acquire in `snapshot`: everything is in the registry before.
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Returns when a scrape after the end has been answered.
    pub(super) async fn scraped(&self) {
        self.shared.scraped.cancelled().await;
    }

    /// Finishes the scrapes in progress. This blocks.
    pub(super) fn stop(self) {
        self.server.stop();
    }
}

impl Source for Shared {
    fn snapshot(&self) -> Snapshot {
        // Acquire pairs with the Release in `ended`.
        let ended = self.ended.load(Ordering::Acquire);
        let snapshot = self.process.snapshot();
        if ended {
            self.is_taken.store(true, Ordering::Relaxed);
        }
        snapshot
    }

    fn ready(&self) -> Result<(), String> {
        if self.ended.load(Ordering::Relaxed) {
            return Err("the program has ended".to_owned());
        }
        self.process.ready()
    }

    fn scraped(&self, took: Duration) {
        self.process.scraped(took);
        // The answer has not been written yet; stopping the server waits for that.
        if self.is_taken.load(Ordering::Relaxed) {
            self.scraped.cancel();
        }
    }
}
