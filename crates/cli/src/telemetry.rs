//! What the telemetry endpoint is told about this process.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::Source;
use wasmetry_host::{Histogram, Registry, Snapshot};
use wasmetry_wasmtime::Telemetry;

use crate::process::ProcessMetrics;

/// Bounds of the time that a scrape takes, in seconds; waiting for guests that run takes up to 0.05.
const SCRAPE_BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Whether requests are taken.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    const READY: u8 = 1;
    const STOPPING: u8 = 2;

    pub(crate) fn ready(&self) {
        self.0.store(Self::READY, Ordering::Relaxed);
    }

    pub(crate) fn stopping(&self) {
        self.0.store(Self::STOPPING, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), String> {
        match self.0.load(Ordering::Relaxed) {
            Self::READY => Ok(()),
            Self::STOPPING => Err("the service is shutting down".to_owned()),
            _ => Err("the component is being compiled".to_owned()),
        }
    }
}

/// The process's telemetry.
pub(crate) struct Endpoint {
    registry: Registry,
    process: ProcessMetrics,
    scrapes: Histogram,
    readiness: Arc<Readiness>,
    /// There from when the component has been compiled.
    telemetry: OnceLock<Telemetry>,
    begin: Instant,
}

impl Endpoint {
    pub(crate) fn new(registry: Registry, readiness: Arc<Readiness>) -> Self {
        Self {
            process: ProcessMetrics::new(&registry),
            scrapes: registry
                .histogram(
                    "wasmetry_scrape_duration_seconds",
                    "Time to collect and encode the metrics for one scrape.",
                    &[],
                    &SCRAPE_BOUNDS,
                )
                .with(&[]),
            registry,
            readiness,
            telemetry: OnceLock::new(),
            begin: Instant::now(),
        }
    }

    pub(crate) fn set_telemetry(&self, telemetry: Telemetry) {
        // It is set once, so there is none to replace.
        let _ = self.telemetry.set(telemetry);
    }
}

impl Source for Endpoint {
    fn snapshot(&self) -> Snapshot {
        self.process.refresh();
        match self.telemetry.get() {
            Some(telemetry) => telemetry.snapshot(),
            // No guest has run yet, so no gauge of a guest depends on this clock being another one.
            None => self.registry.snapshot(self.begin.elapsed()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.readiness.check()
    }

    fn scraped(&self, took: Duration) {
        self.scrapes.observe(took.as_secs_f64());
    }
}
