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

use crate::telemetry::{self, Readiness};

/// The endpoint, which also tells when the end of the program has been scraped.
pub(super) struct Endpoint {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    process: telemetry::Endpoint,
    readiness: Arc<Readiness>,
    ended: AtomicBool,
    /// Whether a snapshot has been taken since the end.
    is_taken: AtomicBool,
    scraped: CancellationToken,
}

impl Endpoint {
    /// Starts answering.
    pub(super) fn start(listener: TcpListener, registry: Registry, config: Config) -> Result<Self> {
        let readiness = Arc::new(Readiness::default());
        let shared = Arc::new(Shared {
            process: telemetry::Endpoint::new(registry, Arc::clone(&readiness)),
            readiness,
            ended: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
            scraped: CancellationToken::new(),
        });
        let server = Server::start_with(listener, Arc::<Shared>::clone(&shared), config)
            .context("cannot start the telemetry endpoint")?;
        Ok(Self { server, shared })
    }

    /// The address that it answers on, with the real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Says that the program is about to start.
    pub(super) fn started(&self, telemetry: Telemetry) {
        self.shared.process.set_telemetry(telemetry);
        self.shared.readiness.ready();
    }

    /// Says that the program has ended and everything of it has been collected.
    pub(super) fn ended(&self) {
        // Release pairs with the Acquire in `snapshot`: what was collected is in the registry before it.
        self.shared.ended.store(true, Ordering::Release);
    }

    /// Returns when a scrape has been answered that has seen the end.
    pub(super) async fn scraped(&self) {
        self.shared.scraped.cancelled().await;
    }

    /// Finishes the scrapes in progress. It blocks for that time.
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
        // Its answer is still to be written, which stopping the server waits for.
        if self.is_taken.load(Ordering::Relaxed) {
            self.scraped.cancel();
        }
    }
}
