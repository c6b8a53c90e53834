//! The handle API: metrics by handles, logs and spans by calls, for guests in any language.
//!
//! In come descriptors, labels and values of a guest. Out come series of the same registry that memory is merged into, under the same
//! rules and limits, and logs and spans of [`RequestTelemetry`](crate::RequestTelemetry). It does not know WIT or a runtime.
//!
//! ```
//! use std::time::Duration;
//! use wasmetry_host::handle_api::Descriptor;
//! use wasmetry_host::{Declarations, Identity, Registry, encode};
//!
//! let registry = Registry::new();
//! let component = registry.component(Identity::new("shop"), Declarations::default());
//! // For each instance:
//! let mut recorder = component.recorder();
//! let requests = Descriptor { name: "http_requests_total", help: "HTTP requests.", unit: "" };
//! let home = recorder.counter(&requests, &[("route", "/")])?;
//! home.inc();
//! recorder.end(Duration::from_secs(1));
//! let text = encode::prometheus::encode(&registry.snapshot(Duration::from_secs(2)));
//! assert!(text.contains("http_requests_total{component=\"shop\",route=\"/\"} 1\n"));
//! # Ok::<(), wasmetry_host::handle_api::ResolveError>(())
//! ```

mod attribute;
mod log;
mod series;
mod span;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::{Kind, Merge};

use crate::aggregate::GaugeCell;
use crate::registry::component::{ComponentState, Resolution, SeriesLocation, SeriesRequest};
use crate::registry::drop_reason::HostDropReason;
use crate::registry::owner::SeriesOwner;
use crate::snapshot::labels::OVERFLOW;
use crate::{Registry, limits};

pub(crate) use attribute::text_of;
pub use attribute::{Attributes, Value};
pub use log::Log;
pub use series::{Counter, Gauge, Histogram, UpDownCounter};
pub use span::{NewSpan, span_context};

/// A histogram's bounds where its guest gives none: Prometheus' default ones.
const DEFAULT_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a metric is, as its guest describes it.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor<'a> {
    /// The name; a counter's ends in `_total`.
    pub name: &'a str,
    /// What it says to a person.
    pub help: &'a str,
    /// The base unit in which the name ends, or an empty text.
    pub unit: &'a str,
}

/// Why a series is not resolved. The text names the metric, the cause and the remedy, for the guest's author.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The descriptor or a label breaks a rule.
    Invalid {
        /// The metric's name, cut if it is long.
        name: String,
        /// The rule, and what to write.
        problem: String,
    },
    /// The component has the metric with another type, unit, buckets, rule to merge, or label keys.
    Conflict {
        /// The metric's name.
        name: String,
    },
    /// The component has as many metrics as it may resolve.
    Metrics {
        /// The metric's name.
        name: String,
    },
    /// The instance has as many handles as it may have.
    Handles,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { name, problem } => write!(f, "the metric `{}` is refused: {problem}", name.escape_debug()),
            Self::Conflict { name } => write!(
                f,
                "the metric `{name}` is refused: this component has it with another type, unit, buckets, rule to merge or label \
                 keys; resolve it with the same ones everywhere, or give one of the two another name"
            ),
            Self::Metrics { name } => write!(
                f,
                "the metric `{name}` is refused: this component has resolved {} metrics; put what varies in names into labels",
                limits::RESOLVED_METRICS
            ),
            Self::Handles => write!(
                f,
                "the series is refused: this instance has {} handles; keep and reuse them, and drop those that are not needed",
                limits::HANDLES
            ),
        }
    }
}

impl std::error::Error for ResolveError {}

/// What one instance records by handles.
///
/// When it ends or is dropped, its gauges are retained as their rules say; all else is the component's already.
#[derive(Debug)]
pub struct Recorder {
    component: Arc<ComponentState>,
    /// Keeps the component's series for as long as there is an instance of it.
    owner: SeriesOwner,
    registry: Registry,
    number: u64,
    gauges: HashMap<(u32, u32), Arc<GaugeCell>>,
}

impl Recorder {
    pub(crate) fn new(component: Arc<ComponentState>, owner: SeriesOwner, registry: Registry) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { component, owner, registry, number: NEXT.fetch_add(1, Relaxed), gauges: HashMap::new() }
    }

    /// The series of a counter with these labels: key and value.
    ///
    /// Where another component has the name for another metric, what is recorded in the series is dropped and counted.
    ///
    /// # Errors
    ///
    /// Returns why the series is refused, as the functions below do.
    pub fn counter(&mut self, metric: &Descriptor<'_>, labels: &[(&str, &str)]) -> Result<Counter, ResolveError> {
        let place = self.place(&wanted(Kind::CounterF64, metric, labels))?;
        Ok(Counter::new(self.component.clone(), place.and_then(|place| place.pending)))
    }

    /// The series of an up/down counter with these labels; see [`counter`](Self::counter).
    ///
    /// # Errors
    ///
    /// Returns why the series is refused.
    pub fn up_down_counter(
        &mut self,
        metric: &Descriptor<'_>,
        labels: &[(&str, &str)],
    ) -> Result<UpDownCounter, ResolveError> {
        let place = self.place(&wanted(Kind::UpDownF64, metric, labels))?;
        Ok(UpDownCounter::new(self.component.clone(), place.and_then(|place| place.pending)))
    }

    /// The series of a gauge with these labels; see [`counter`](Self::counter). The instance has one value of it.
    ///
    /// # Errors
    ///
    /// Returns why the series is refused.
    pub fn gauge(
        &mut self,
        metric: &Descriptor<'_>,
        merge: Merge,
        labels: &[(&str, &str)],
    ) -> Result<Gauge, ResolveError> {
        let wanted = SeriesRequest { merge, ..wanted(Kind::GaugeF64, metric, labels) };
        let setting = match self.place(&wanted)? {
            Some(place) => self.setting(&place),
            None => Err(HostDropReason::TypeConflict),
        };
        Ok(Gauge::new(self.component.clone(), setting))
    }

    /// The series of a histogram with these bounds and labels; see [`counter`](Self::counter). Without bounds, they are
    /// Prometheus' default ones. One with the unit `seconds` adds up whole nanoseconds.
    ///
    /// # Errors
    ///
    /// Returns why the series is refused.
    pub fn histogram(
        &mut self,
        metric: &Descriptor<'_>,
        bounds: &[f64],
        labels: &[(&str, &str)],
    ) -> Result<Histogram, ResolveError> {
        let kind = if metric.unit == "seconds" { Kind::HistogramNanos } else { Kind::HistogramF64 };
        let bounds = if bounds.is_empty() { &DEFAULT_BOUNDS } else { bounds };
        let place = self.place(&SeriesRequest { bounds, ..wanted(kind, metric, labels) })?;
        Ok(Histogram::new(self.component.clone(), place.and_then(|place| place.pending)))
    }

    /// Counts a series that was refused because there are as many handles as there may be.
    pub fn refuse_handle(&self) -> ResolveError {
        self.component.count(HostDropReason::HandleLimit, 1);
        ResolveError::Handles
    }

    /// Ends the instance: its gauges are retained from `now` on, which is the time that
    /// [`Registry::snapshot`](crate::Registry::snapshot) counts by.
    pub fn end(mut self, now: Duration) {
        self.release(Some(now));
    }

    fn release(&mut self, ended: Option<Duration>) {
        if !self.gauges.is_empty() {
            self.gauges.clear();
            self.component.release(self.number, ended);
        }
    }

    /// Finds a series, or makes it; nothing where another component has the name.
    fn place(&self, wanted: &SeriesRequest<'_>) -> Result<Option<SeriesLocation>, ResolveError> {
        let mut known = SeriesRequest { labels: Vec::new(), ..*wanted };
        known.labels.extend(wanted.labels.iter().map(|(key, value)| {
            if value.len() <= limits::LABEL_VALUE {
                return (*key, *value);
            }
            self.component.lose(GuestDropReason::LabelTooLong, 1);
            (*key, OVERFLOW)
        }));
        let hash = known.hash();
        if self.owner.has(hash)
            && let Some(place) = self.component.find(hash, &known)
        {
            return Ok(Some(place));
        }
        let name = wanted.name;
        let metric = known.metric(hash).map_err(|problem| {
            self.component.count(HostDropReason::InvalidDescriptor, 1);
            let end = name.floor_char_boundary(wasmetry_abi::name::MAX_NAME);
            // It may name a label, which may be long.
            let problem = text_of(&problem, limits::REFUSAL).into_owned();
            ResolveError::Invalid { name: name[..end].to_owned(), problem }
        })?;
        let resolution = self.registry.resolve(&self.component, &self.owner, &metric);
        if let Some(offence) = resolution.offence() {
            self.component.count(offence, 1);
        }
        match resolution {
            Resolution::Known => Ok(self.component.find(hash, &known)),
            Resolution::Taken => Ok(None),
            Resolution::Clash => Err(ResolveError::Conflict { name: name.to_owned() }),
            Resolution::Full => Err(ResolveError::Metrics { name: name.to_owned() }),
        }
    }

    /// This instance's value of a gauge; what is wrong where it cannot have one.
    fn setting(&mut self, place: &SeriesLocation) -> Result<Arc<GaugeCell>, HostDropReason> {
        if let Some(setting) = self.gauges.get(&(place.total, place.row)) {
            return Ok(setting.clone());
        }
        if self.gauges.len() == limits::RESOLVED_GAUGES {
            return Err(HostDropReason::SeriesLimit);
        }
        let setting = Arc::new(GaugeCell::default());
        self.component.hold(self.number, place, setting.clone());
        self.gauges.insert((place.total, place.row), setting.clone());
        Ok(setting)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.release(None);
    }
}

/// A series as it is looked for.
fn wanted<'a>(kind: Kind, metric: &Descriptor<'a>, labels: &[(&'a str, &'a str)]) -> SeriesRequest<'a> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let &Descriptor { name, help, unit } = metric;
    SeriesRequest { kind, name, help, unit, merge: Merge::Sum, bounds: &[], labels }
}
