//! The source of the telemetry endpoint: the snapshot of all metrics, and readiness.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::{Closure, Refusal, Source, Target};
use wasmetry_host::{Counter, ExpositionLimit, HiddenSeries, Histogram, Registry, Snapshot};
use wasmetry_wasmtime::Telemetry;

use super::connection::closed_connections;
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
    report: Arc<dyn Fn(String) + Send + Sync>,
    refused: [Counter; Refusal::ALL.len()],
    closed: [Counter; Closure::ALL.len()],
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
        let report = Arc::new(report);
        let accept_report = {
            let report = Arc::clone(&report);
            move |line| report(line)
        };
        let refused = registry.counter(
            "wasmetry_telemetry_refused_total",
            "Requests and connections to the telemetry address that were refused, by reason.",
            &["reason"],
        );
        let closed = closed_connections(&registry);
        Self {
            closed: Closure::ALL.map(|closure| closed.with(&["telemetry", closure.name()])),
            refused: Refusal::ALL.map(|refusal| refused.with(&[refusal.name()])),
            accept_errors: AcceptErrors::new(&registry, "telemetry", accept_report),
            report,
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
        let snapshot = match self.telemetry.get() {
            Some(telemetry) => telemetry.snapshot(),
            // No guest has run yet, so that no gauge of a guest depends on the clock of the
            // telemetry.
            None => self.registry.snapshot(self.begin.elapsed()),
        };
        self.registry.take_hidden_series().iter().for_each(|hidden| (self.report)(describe(hidden)));
        snapshot
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

    fn refused(&self, refusal: Refusal) {
        let reasons = Refusal::ALL.iter().zip(&self.refused);
        for (_, counter) in reasons.filter(|(reason, _)| **reason == refusal) {
            counter.inc();
        }
    }

    fn closed(&self, closure: Closure) {
        let reasons = Closure::ALL.iter().zip(&self.closed);
        for (_, counter) in reasons.filter(|(reason, _)| **reason == closure) {
            counter.inc();
        }
    }
}

/// Describes the series of a component that are not shown, with the cause and the remedy.
fn describe(hidden: &HiddenSeries) -> String {
    let bytes = hidden.bytes;
    let (cause, flag) = match hidden.limit {
        ExpositionLimit::Component => {
            (format!("it would have more than {bytes} bytes of exposition"), "--max-component-exposition")
        }
        ExpositionLimit::Tenant => {
            (format!("its tenant would have more than {bytes} bytes of exposition"), "--max-tenant-exposition")
        }
        _ => {
            let owner = if hidden.identity.tenant().is_empty() { "it" } else { "its tenant" };
            let cause = format!("{owner} would have more than the fair share of the {bytes} bytes of all expositions");
            (cause, "--max-exposition")
        }
    };
    let tenant = match hidden.identity.tenant() {
        "" => String::new(),
        tenant => format!(" of the tenant `{}`", tenant.escape_debug()),
    };
    format!(
        "{}{tenant}: some of its series are not exported, because {cause}; use fewer labels or buckets, shorter help \
         texts, or raise {flag}",
        hidden.identity.component().escape_debug(),
    )
}

#[cfg(test)]
mod tests {
    use wasmetry_host::handle_api::Descriptor;
    use wasmetry_host::{Declarations, ExpositionLimits, Identity};

    use super::*;

    #[test]
    fn hidden_series_are_described() {
        let registry = Registry::new();
        registry.set_exposition_limits(ExpositionLimits::default().with_total(300));
        let identity = Identity::new("shop").with_tenant("acme");
        let component = registry.component(identity, Declarations::default());
        let mut recorder = component.recorder();
        for name in ["first_total", "second_total", "third_total"] {
            recorder.counter(&Descriptor { name, help: "", unit: "" }, &[]).unwrap().inc();
        }
        registry.snapshot(Duration::ZERO);
        let described: Vec<String> = registry.take_hidden_series().iter().map(describe).collect();
        assert_eq!(
            described,
            ["shop of the tenant `acme`: some of its series are not exported, because its tenant would have more \
              than the fair share of the 300 bytes of all expositions; use fewer labels or buckets, shorter help \
              texts, or raise --max-exposition"]
        );
    }

    #[test]
    fn closed_connections_are_counted() {
        let registry = Registry::new();
        let endpoint = Endpoint::new(registry.clone(), Arc::default(), |_| {});
        endpoint.closed(Closure::SlowReader);
        let closed = closed_connections(&registry);
        let count = |reason| closed.with(&["telemetry", reason]).get();
        assert_eq!((count("slow_reader"), count("no_room")), (1, 0));
    }
}
