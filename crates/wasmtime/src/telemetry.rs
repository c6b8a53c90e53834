use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use wasmetry_host::{Declarations, Identity, Registry, Sink, Snapshot};
use wasmtime::{Engine, EngineWeak};

use crate::activity::Activities;
use crate::component::{Metrics, ObservedComponent};
use crate::error::Error;

/// How long a snapshot waits for running guests, unless told otherwise.
const COLLECT_LIMIT: Duration = Duration::from_millis(50);

/// What all stores of one engine share. A clone is the same telemetry.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) activities: Activities,
    pub(crate) metrics: Metrics,
    /// Who takes logs and spans.
    pub(crate) sink: OnceLock<Arc<dyn Sink>>,
    engine: EngineWeak,
    start: Instant,
}

impl Telemetry {
    /// Collects from the stores of `engine` into `registry`.
    pub fn new(registry: Registry, engine: &Engine) -> Self {
        let metrics = Metrics::new(&registry);
        let activities = Activities::default();
        Self {
            shared: Arc::new(Shared {
                registry,
                activities,
                metrics,
                sink: OnceLock::new(),
                engine: engine.weak(),
                start: Instant::now(),
            }),
        }
    }

    /// Gives logs and spans to `sink`; without one, guests are told not to record them.
    ///
    /// Set it before the first store is made.
    #[must_use]
    pub fn with_sink(self, sink: Arc<dyn Sink>) -> Self {
        // The first one stays.
        let _ = self.shared.sink.set(sink);
        self
    }

    /// The registry that is collected into.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// The time since this telemetry was made, as the registry counts it.
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Registers a component, whose declarations are read from `wasm`, its binary.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Declarations`] if the bytes are no WebAssembly.
    pub fn component(&self, identity: Identity, wasm: &[u8]) -> Result<ObservedComponent, Error> {
        let declarations = Declarations::from_wasm(wasm)?;
        Ok(ObservedComponent::new(Arc::clone(&self.shared), identity, declarations))
    }

    /// Everything collected so far, also from guests that are running at this moment.
    ///
    /// It asks running guests to be collected at their next look at the epoch, and waits for them up to 50 ms. A guest that
    /// waits in a host call runs no code; of it, this shows what was collected last.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.activities.collect_running(COLLECT_LIMIT, || {
            if let Some(engine) = self.shared.engine.upgrade() {
                engine.increment_epoch();
            }
        });
        self.shared.registry.snapshot(self.now())
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
