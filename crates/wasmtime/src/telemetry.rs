//! The state that all observed stores share, and the snapshot of all that they have recorded.

mod ticker;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wasmetry_host::propagation::Sampler;
use wasmetry_host::{Declarations, Identity, Registry, Sink, Snapshot};
use wasmtime::{Engine, EngineWeak};

use crate::component::{Metrics, ObservedComponent};
use crate::error::Error;
use crate::linker::check_import;
use crate::store::Activities;

pub use ticker::Ticker;

/// The longest time that a snapshot waits for running guests.
const COLLECT_LIMIT: Duration = Duration::from_millis(50);

/// The telemetry of any number of observed components and their stores. A clone shares it.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) activities: Activities,
    pub(crate) metrics: Metrics,
    /// The sink of logs and spans.
    pub(crate) sink: OnceLock<Arc<dyn Sink>>,
    /// The sampler of traces that begin in a guest, if it is set.
    sampler: OnceLock<Sampler>,
    engines: Mutex<Vec<EngineWeak>>,
    start: Instant,
}

impl Telemetry {
    /// Creates a telemetry that collects from the stores of `engine` into `registry`.
    pub fn new(registry: Registry, engine: &Engine) -> Self {
        let telemetry = Self::without_engine(registry);
        telemetry.add_engine(engine);
        telemetry
    }

    /// Creates a telemetry that collects into `registry`, from the stores of engines that are added
    /// later.
    pub fn without_engine(registry: Registry) -> Self {
        let metrics = Metrics::new(&registry);
        let activities = Activities::default();
        let engines = Mutex::default();
        let (sink, sampler) = (OnceLock::new(), OnceLock::new());
        let start = Instant::now();
        let shared = Shared { registry, activities, metrics, sink, sampler, engines, start };
        Self { shared: Arc::new(shared) }
    }

    /// Adds an engine whose stores are collected. It is removed when it is dropped.
    pub fn add_engine(&self, engine: &Engine) {
        let mut engines = self.shared.engines();
        engines.retain(|engine| engine.upgrade().is_some());
        engines.push(engine.weak());
    }

    /// Sets the sink of logs and spans. Without one, guests record none.
    ///
    /// Set it before the first store is made; a second sink is ignored.
    #[must_use]
    pub fn with_sink(self, sink: Arc<dyn Sink>) -> Self {
        // The first one stays.
        let _ = self.shared.sink.set(sink);
        self
    }

    /// Sets the sampler of the traces that begin in guests, as those of programs do. Without one,
    /// all of them are sampled.
    ///
    /// [`HttpMetrics::receive`](crate::HttpMetrics::receive) uses it for requests, too; other
    /// makers of a [`ServerSpan`](crate::ServerSpan) pass a sampler.
    ///
    /// Set it before the first store is made; a second sampler is ignored.
    #[must_use]
    pub fn with_sampler(self, sampler: Sampler) -> Self {
        let _ = self.shared.sampler.set(sampler);
        self
    }

    /// Returns the registry that is collected into.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Returns the time since this telemetry was created, which is the registry's clock.
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Registers a component, whose declarations are read from `wasm`, its binary.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Declarations`] if the bytes are no WebAssembly, and [`Error::Version`] or
    /// [`Error::Missing`] if the component imports a version or an interface of
    /// `wasmetry:telemetry` that this host does not have.
    pub fn component(&self, identity: Identity, wasm: &[u8]) -> Result<ObservedComponent, Error> {
        let declarations = Declarations::from_wasm(wasm)?;
        for import in declarations.imports() {
            check_import(import)?;
        }
        Ok(self.declared_component(identity, declarations))
    }

    /// Registers a component whose declarations were read before.
    pub fn declared_component(&self, identity: Identity, declarations: Declarations) -> ObservedComponent {
        ObservedComponent::new(Arc::clone(&self.shared), identity, declarations)
    }

    /// Returns everything collected so far, also from guests that are running at this moment.
    ///
    /// It advances the engines' epochs, which makes running guests collect, and waits for them up
    /// to 50 ms. A guest that waits in a host call runs no code; the snapshot shows it as of its
    /// last collection, which is before that call with [`collect_waiting`](crate::collect_waiting)
    /// or [`collect_at_host_calls`](crate::ObservedStore::collect_at_host_calls).
    pub fn snapshot(&self) -> Snapshot {
        self.shared.activities.collect_running(COLLECT_LIMIT, || {
            for engine in self.shared.engines().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
        });
        self.shared.registry.snapshot(self.now())
    }
}

impl Shared {
    /// Returns the sampler of traces that begin in a guest.
    pub(crate) fn sampler(&self) -> Sampler {
        self.sampler.get().copied().unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn engines(&self) -> MutexGuard<'_, Vec<EngineWeak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
