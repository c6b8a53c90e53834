//! The source of the telemetry endpoint: the snapshot of all metrics, and readiness.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::{Source, Target};
use wasmetry_host::{Histogram, Registry, Snapshot};
use wasmetry_wasmtime::Telemetry;

use super::descriptor::AcceptErrors;
use super::metrics::ProcessMetrics;

/// Bounds of the duration of a scrape in seconds. Waiting for guests that run takes up to 0.05.
const SCRAPE_BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// The state that `/readyz` reports.
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

/// The telemetry of the process.
pub(crate) struct Endpoint {
    registry: Registry,
    process: ProcessMetrics,
    scrapes: Histogram,
    readiness: Arc<Readiness>,
    /// Set when the components have been compiled.
    telemetry: OnceLock<Telemetry>,
    accept_errors: AcceptErrors,
    /// This endpoint and its peers, as Prometheus reaches them.
    targets: RwLock<Vec<Target>>,
    begin: Instant,
}

impl Endpoint {
    /// `report` receives a line for the operator. It must not block.
    pub(crate) fn new(
        registry: Registry,
        readiness: Arc<Readiness>,
        report: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        Self {
            accept_errors: AcceptErrors::new(&registry, "telemetry", report),
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
            targets: RwLock::default(),
            begin: Instant::now(),
        }
    }

    /// Sets the targets that `/sd` lists.
    pub(crate) fn set_targets(&self, targets: Vec<Target>) {
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    pub(crate) fn set_telemetry(&self, telemetry: Telemetry) {
        // It is set only once.
        let _ = self.telemetry.set(telemetry);
    }
}

impl Source for Endpoint {
    fn snapshot(&self) -> Snapshot {
        self.process.refresh();
        match self.telemetry.get() {
            Some(telemetry) => telemetry.snapshot(),
            // No guest has run yet, so that no gauge of a guest depends on the clock of the
            // telemetry.
            None => self.registry.snapshot(self.begin.elapsed()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.readiness.check()
    }

    fn targets(&self) -> Vec<Target> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn scraped(&self, duration: Duration) {
        self.scrapes.observe(duration.as_secs_f64());
    }

    fn accept_failed(&self, error: &io::Error) {
        self.accept_errors.record(error);
    }
}
