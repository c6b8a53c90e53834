//! The telemetry endpoint of a program that ends by itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use wasmetry_export::scrape::{Config, Refusal, Server, Source};
use wasmetry_host::{Registry, Snapshot};
use wasmetry_wasmtime::Telemetry;

use crate::process::endpoint::{self, Readiness};
use crate::text;

/// The endpoint, which also notes when a scrape from after the end of the program was delivered.
pub(super) struct Endpoint {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    process: endpoint::Endpoint,
    readiness: Arc<Readiness>,
    /// The time from which on a snapshot has everything of the program.
    ended: OnceLock<Instant>,
    scraped: CancellationToken,
}

impl Endpoint {
    /// Starts the server.
    pub(super) fn start(listener: TcpListener, registry: Registry, config: Config) -> Result<Self> {
        let readiness = Arc::new(Readiness::default());
        let shared = Arc::new(Shared {
            process: endpoint::Endpoint::new(registry, Arc::clone(&readiness), report),
            readiness,
            ended: OnceLock::new(),
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
        self.shared.ended.get_or_init(Instant::now);
    }

    /// Returns when a scrape from after the end was delivered whole.
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
        self.process.snapshot()
    }

    fn ready(&self) -> Result<(), String> {
        if self.ended.get().is_some() {
            return Err("the program has ended".to_owned());
        }
        self.process.ready()
    }

    fn scraped(&self, duration: Duration) {
        self.process.scraped(duration);
    }

    fn delivered(&self, start: Instant) {
        if self.ended.get().is_some_and(|ended| start >= *ended) {
            self.scraped.cancel();
        }
    }

    fn accept_failed(&self, error: &io::Error) {
        self.process.accept_failed(error);
    }

    fn refused(&self, refusal: Refusal) {
        self.process.refused(refusal);
    }
}

/// Prints a line on a thread of its own, as stderr may be a pipe that is not read.
fn report(line: String) {
    // Without another thread, the line is lost.
    let _ = thread::Builder::new().spawn(move || text::print_stderr(format_args!("{}", text::line(&line))));
}
