//! Faults of telemetry: what a guest would record by the handle API, recorded by the host.
//!
//! They are of the version `drill`: alerts add up the versions of a component, and no reader takes
//! these values for a guest's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmetry_host::handle_api::{Attributes, Descriptor, Log, Recorder, ResolveError, UpDownCounter};
use wasmetry_host::record::Level;
use wasmetry_host::{Component, Declarations, Identity, Merge, Outcome, Recording, Registry, Sink};
use wasmetry_ops::drill::DeclaredMetric;
use wasmetry_wasmtime::wall_clock;

/// The version of injected telemetry, and the value of its labels.
const DRILL: &str = "drill";

/// The values that are dropped for one request: even at a request per second, more than the
/// threshold of one per second.
const DROPS: usize = 100;

/// The value of a gauge and of its limit: so large that the gauges of guests do not matter.
const FULL: f64 = 1e9;

/// The bytes of a label's value that is too long.
const LONG: usize = 4096;

/// A fault of telemetry.
pub(super) enum TelemetryFault {
    ErrorLog,
    Drop,
    Overflow,
    Counter(DeclaredMetric),
    Gauge(DeclaredMetric, DeclaredMetric),
    Histogram(DeclaredMetric, f64),
}

impl TelemetryFault {
    /// Returns a function that records the fault for one request.
    ///
    /// # Errors
    ///
    /// Returns the reason if a value of its metric would be dropped.
    pub(super) fn recorder(
        self,
        registry: &Registry,
        of: &Identity,
        sink: Option<Arc<dyn Sink>>,
    ) -> Result<impl Fn() + Send + Sync + use<>, String> {
        let mut identity = Identity::new(of.component()).with_version(DRILL);
        if !of.tenant().is_empty() {
            identity = identity.with_tenant(of.tenant());
        }
        let component = Retired(registry.component(identity, Declarations::default()));
        let mut recorder = component.0.recorder();
        for metric in self.metrics() {
            self.resolve(metric, &mut recorder).map_err(|error| error.to_string())?;
            if component.0.conflicts().iter().any(|conflict| conflict.name == metric.name) {
                return Err("another component has its metric with another type".to_owned());
            }
        }
        let state = Mutex::new(State { added: Added(Vec::new()), recorder, component });
        Ok(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            // A component that is deployed meanwhile may have the name with another type. Then the
            // value is dropped, and counted.
            let _ = self.record(&mut state, sink.as_ref());
        })
    }

    /// Returns the declared metrics that it records.
    fn metrics(&self) -> Vec<&DeclaredMetric> {
        match self {
            Self::ErrorLog | Self::Drop | Self::Overflow => Vec::new(),
            Self::Counter(metric) | Self::Histogram(metric, _) => vec![metric],
            Self::Gauge(metric, limit) => vec![metric, limit],
        }
    }

    /// Resolves a metric without a value.
    fn resolve(&self, metric: &DeclaredMetric, recorder: &mut Recorder) -> Result<(), ResolveError> {
        let (descriptor, labels) = (descriptor(metric), labels(metric));
        match self {
            Self::Gauge(..) if metric.is_up_down => recorder.up_down_counter(&descriptor, &labels).map(|_| ()),
            Self::Gauge(..) => recorder.gauge(&descriptor, Merge::Sum, &labels).map(|_| ()),
            Self::Histogram(..) => recorder.histogram(&descriptor, &metric.bounds, &labels).map(|_| ()),
            _ => recorder.counter(&descriptor, &labels).map(|_| ()),
        }
    }

    fn record(&self, state: &mut State, sink: Option<&Arc<dyn Sink>>) -> Result<(), ResolveError> {
        let State { added, recorder, component } = state;
        match self {
            Self::ErrorLog => {
                if let Some(sink) = sink {
                    log_error(&component.0, sink);
                }
            }
            Self::Drop => {
                for _ in 0..DROPS {
                    let _ = recorder.refuse_handle();
                }
            }
            Self::Overflow => {
                let metric =
                    Descriptor { name: "drill_overflows_total", help: "Values of a drill without a label.", unit: "" };
                recorder.counter(&metric, &[("value", &"x".repeat(LONG))])?.inc();
            }
            Self::Counter(metric) => recorder.counter(&descriptor(metric), &labels(metric))?.inc(),
            Self::Gauge(metric, limit) => {
                let is_first = added.0.is_empty();
                for metric in [metric, limit] {
                    let (descriptor, labels) = (descriptor(metric), labels(metric));
                    if !metric.is_up_down {
                        recorder.gauge(&descriptor, Merge::Sum, &labels)?.set(FULL);
                    } else if is_first {
                        added.add(recorder.up_down_counter(&descriptor, &labels)?);
                    }
                }
            }
            Self::Histogram(metric, seconds) => {
                recorder.histogram(&descriptor(metric), &metric.bounds, &labels(metric))?.observe(*seconds);
            }
        }
        Ok(())
    }
}

/// The records of a fault of telemetry. The fields are dropped in this order.
struct State {
    added: Added,
    recorder: Recorder,
    component: Retired,
}

/// Up/down counters that have [`FULL`] more until the drill ends.
struct Added(Vec<UpDownCounter>);

impl Added {
    fn add(&mut self, counter: UpDownCounter) {
        counter.add(FULL);
        self.0.push(counter);
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.add(-FULL);
        }
    }
}

/// A component that is retired when its drill ends, so that its series are removed.
struct Retired(Component);

impl Drop for Retired {
    fn drop(&mut self) {
        self.0.retire();
    }
}

fn descriptor(metric: &DeclaredMetric) -> Descriptor<'_> {
    Descriptor { name: &metric.name, help: &metric.help, unit: &metric.unit }
}

fn labels(metric: &DeclaredMetric) -> Vec<(&str, &str)> {
    let constant = metric.const_labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    constant.chain(metric.labels.iter().map(|key| (key.as_str(), DRILL))).collect()
}

fn log_error(component: &Component, sink: &Arc<dyn Sink>) {
    let mut telemetry = component.request_telemetry(Arc::clone(sink), Arc::new(Recording::default()));
    let now = wall_clock();
    let log = Log {
        level: Level::Error,
        target: None,
        message: "a drill has injected this error",
        attributes: Attributes::default(),
        trace: None,
        is_audit: false,
    };
    telemetry.log(log, now);
    telemetry.finish(Outcome::Ok, Duration::ZERO, now);
}
