//! The handle API: metrics by handles, logs and spans by calls, for guests in any language.
//!
//! In come descriptors, labels and values of a guest. Out come series of the same registry that
//! memory is merged into, under the same rules and limits, and logs and spans of
//! [`RequestTelemetry`](crate::RequestTelemetry). It does not know WIT or a runtime.
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
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::{Kind, Merge};

use crate::aggregate::{Accumulator, GaugeCell};
use crate::ledger::Charge;
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

/// The bounds of a histogram whose guest gives none: Prometheus' default ones.
const DEFAULT_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The approximate bytes of a gauge of an instance: its cell, and its places in two indexes.
const GAUGE_BYTES: usize = 128;

/// A metric as its guest describes it.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor<'a> {
    /// The name; a counter's ends in `_total`.
    pub name: &'a str,
    /// The help text.
    pub help: &'a str,
    /// The base unit in which the name ends, or an empty text.
    pub unit: &'a str,
}

/// The reason why a series was not resolved. Its text names the metric, the cause and the remedy
/// for the guest's author.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The descriptor or a label breaks a rule.
    Invalid {
        /// The metric's name, cut if it is long.
        name: String,
        /// The rule and the remedy.
        problem: String,
    },
    /// The component has the metric with another type, unit, buckets, merge rule, or label keys.
    Conflict {
        /// The metric's name.
        name: String,
    },
    /// The component has resolved as many metrics as it may.
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
                "the metric `{name}` is refused: this component has it with another type, unit, buckets, merge rule or label \
                 keys; resolve it with the same ones everywhere, or rename one of the two"
            ),
            Self::Metrics { name } => write!(
                f,
                "the metric `{name}` is refused: this component has as many metrics as it may; use labels for the parts of names \
                 that vary"
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

/// The recorder of one instance that records by handles.
///
/// When it ends or is dropped, its gauges are retained by their merge rules. All other values
/// belong to the component already.
#[derive(Debug)]
pub struct Recorder {
    component: Arc<ComponentState>,
    /// Keeps the component's series while the instance exists.
    owner: SeriesOwner,
    registry: Registry,
    number: u64,
    /// The memory of the gauges.
    charge: Charge,
    gauges: HashMap<(u32, u32), Arc<GaugeCell>>,
    /// The metrics that were refused, by the hash of their requests, so that one that is resolved
    /// again and again is not compared with all other metrics each time.
    refusals: HashMap<u64, Refusal>,
}

/// The result of resolving a metric that is refused.
#[derive(Clone, Debug)]
struct Refusal {
    reason: HostDropReason,
    /// `None` if another component has the name, so that the values are dropped.
    error: Option<ResolveError>,
    /// The number of times that the metric was refused.
    count: u64,
}

impl Recorder {
    pub(crate) fn in_store(
        component: Arc<ComponentState>,
        owner: SeriesOwner,
        registry: Registry,
        charge: Charge,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            component,
            owner,
            registry,
            number: NEXT.fetch_add(1, Relaxed),
            charge,
            gauges: HashMap::new(),
            refusals: HashMap::new(),
        }
    }

    /// Returns the series of a counter with these labels: key and value.
    ///
    /// If another component has the name for another metric, the values of the series are dropped
    /// and counted.
    ///
    /// # Errors
    ///
    /// Returns the reason if the series is refused, as do the methods below.
    pub fn counter(&mut self, metric: &Descriptor<'_>, labels: &[(&str, &str)]) -> Result<Counter, ResolveError> {
        let accumulator = self.accumulator(&request(Kind::CounterF64, metric, labels))?;
        Ok(Counter::new(self.component.clone(), accumulator))
    }

    /// Returns the series of an up/down counter with these labels; see [`counter`](Self::counter).
    ///
    /// # Errors
    ///
    /// Returns the reason if the series is refused.
    pub fn up_down_counter(
        &mut self,
        metric: &Descriptor<'_>,
        labels: &[(&str, &str)],
    ) -> Result<UpDownCounter, ResolveError> {
        let accumulator = self.accumulator(&request(Kind::UpDownF64, metric, labels))?;
        Ok(UpDownCounter::new(self.component.clone(), accumulator))
    }

    /// Returns the series of a gauge with these labels; see [`counter`](Self::counter). The
    /// instance has one value of it.
    ///
    /// # Errors
    ///
    /// Returns the reason if the series is refused.
    pub fn gauge(
        &mut self,
        metric: &Descriptor<'_>,
        merge: Merge,
        labels: &[(&str, &str)],
    ) -> Result<Gauge, ResolveError> {
        let request = SeriesRequest { merge, ..request(Kind::GaugeF64, metric, labels) };
        let cell = match self.locate(&request)? {
            Some(location) => self.gauge_cell(&location),
            None => Err(HostDropReason::TypeConflict),
        };
        Ok(Gauge::new(self.component.clone(), cell))
    }

    /// Returns the series of a histogram with these bounds and labels; see
    /// [`counter`](Self::counter).
    ///
    /// Without bounds, it has Prometheus' default ones. A histogram with the unit `seconds` adds up
    /// whole nanoseconds.
    ///
    /// # Errors
    ///
    /// Returns the reason if the series is refused.
    pub fn histogram(
        &mut self,
        metric: &Descriptor<'_>,
        bounds: &[f64],
        labels: &[(&str, &str)],
    ) -> Result<Histogram, ResolveError> {
        let kind = if metric.unit == "seconds" { Kind::HistogramNanos } else { Kind::HistogramF64 };
        let bounds = if bounds.is_empty() { &DEFAULT_BOUNDS } else { bounds };
        let accumulator = self.accumulator(&SeriesRequest { bounds, ..request(kind, metric, labels) })?;
        Ok(Histogram::new(self.component.clone(), accumulator))
    }

    /// Counts a series that is refused because the instance has no room for another handle.
    pub fn refuse_handle(&self) -> ResolveError {
        self.component.count(HostDropReason::HandleLimit, 1);
        ResolveError::Handles
    }

    /// Ends the instance. Its gauges are retained from `now` on, the time since the moment that
    /// [`Registry::snapshot`](crate::Registry::snapshot) counts from.
    pub fn end(mut self, now: Duration) {
        self.end_gauges(Some(now));
    }

    fn end_gauges(&mut self, ended: Option<Duration>) {
        if !self.gauges.is_empty() {
            self.gauges.clear();
            self.component.end_gauges(self.number, ended);
            self.charge.resize(0);
        }
    }

    fn accumulator(&mut self, request: &SeriesRequest<'_>) -> Result<Option<Arc<Accumulator>>, ResolveError> {
        Ok(self.locate(request)?.and_then(|location| location.accumulator))
    }

    /// Finds a series or makes it. Returns `None` if another component has the name.
    fn locate(&mut self, request: &SeriesRequest<'_>) -> Result<Option<SeriesLocation>, ResolveError> {
        let mut known = SeriesRequest { labels: Vec::new(), ..*request };
        known.labels.extend(request.labels.iter().map(|(key, value)| {
            if value.len() as u64 <= self.component.limits().label_value {
                return (*key, *value);
            }
            self.component.count_guest_drop(GuestDropReason::LabelTooLong, 1);
            (*key, OVERFLOW)
        }));
        let hash = known.hash();
        if self.owner.has_metric(hash)
            && let Some(location) = self.component.find(hash, &known)
        {
            return Ok(Some(location));
        }
        // The help is a part of what may be refused.
        let mut hasher = DefaultHasher::new();
        (hash, request.help).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(refusal) = self.refusals.get_mut(&key) {
            refusal.count += 1;
            // The other metric may be gone, which a guest notices after as many attempts again.
            if !refusal.count.is_power_of_two() {
                self.component.count(refusal.reason, 1);
                return refusal.error.clone().map_or(Ok(None), Err);
            }
        }
        match self.resolve(hash, &known) {
            Ok(location) => {
                self.refusals.remove(&key);
                Ok(location)
            }
            Err(refusal) => {
                self.component.count(refusal.reason, 1);
                let error = refusal.error.clone();
                if self.refusals.len() < limits::REFUSALS {
                    self.refusals.entry(key).or_insert(refusal);
                }
                error.map_or(Ok(None), Err)
            }
        }
    }

    /// Makes a series that its component does not have.
    fn resolve(&self, hash: u64, request: &SeriesRequest<'_>) -> Result<Option<SeriesLocation>, Refusal> {
        let name = request.name;
        let metric = request.metric(hash).map_err(|problem| {
            let end = name.floor_char_boundary(wasmetry_abi::name::MAX_NAME);
            // It may contain a label's key, which may be long.
            let problem = text_of(&problem, limits::REFUSAL).into_owned();
            let error = ResolveError::Invalid { name: name[..end].to_owned(), problem };
            Refusal { reason: HostDropReason::InvalidDescriptor, error: Some(error), count: 1 }
        })?;
        let resolution = self.registry.resolve(&self.component, &self.owner, &Arc::new(metric));
        let error = match resolution {
            Resolution::Found | Resolution::Taken => None,
            Resolution::Conflict => Some(ResolveError::Conflict { name: name.to_owned() }),
            Resolution::Full => Some(ResolveError::Metrics { name: name.to_owned() }),
        };
        match resolution.drop_reason() {
            None => Ok(self.component.find(hash, request)),
            Some(reason) => Err(Refusal { reason, error, count: 1 }),
        }
    }

    /// Returns this instance's cell of a gauge, or the reason why it has none.
    fn gauge_cell(&mut self, location: &SeriesLocation) -> Result<Arc<GaugeCell>, HostDropReason> {
        let key = (location.aggregate, location.row);
        if let Some(cell) = self.gauges.get(&key) {
            return Ok(cell.clone());
        }
        if self.gauges.len() == limits::RESOLVED_GAUGES {
            return Err(HostDropReason::SeriesLimit);
        }
        if !self.charge.cover(GAUGE_BYTES * (self.gauges.len() + 1)) {
            return Err(HostDropReason::MemoryLimit);
        }
        let cell = Arc::new(GaugeCell::default());
        self.component.add_gauge(self.number, location, cell.clone());
        self.gauges.insert(key, cell.clone());
        Ok(cell)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end_gauges(None);
    }
}

/// Returns the request for a series.
fn request<'a>(kind: Kind, metric: &Descriptor<'a>, labels: &[(&'a str, &'a str)]) -> SeriesRequest<'a> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let &Descriptor { name, help, unit } = metric;
    SeriesRequest { kind, name, help, unit, merge: Merge::Sum, bounds: &[], labels }
}
