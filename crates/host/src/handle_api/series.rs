//! Handles of series: they record without a name, a lock or a lookup.

use std::sync::Arc;

use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::{Accumulator, GaugeCell};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::{RequestTelemetry, limits};

/// A series, or the component that counts its drops if another component has the metric's name.
#[derive(Clone, Debug)]
struct Series {
    component: Arc<ComponentState>,
    accumulator: Option<Arc<Accumulator>>,
}

impl Series {
    /// Records a value by `record`, which returns `false` if the value is invalid. Returns the
    /// accumulator if the value was recorded, else counts the drop.
    fn record(&self, record: impl FnOnce(&Accumulator) -> bool) -> Option<&Accumulator> {
        match &self.accumulator {
            Some(accumulator) if accumulator.is_withdrawn() => self.component.count(HostDropReason::TypeConflict, 1),
            Some(accumulator) if record(accumulator) => return Some(accumulator),
            Some(_) => self.component.count_guest_drop(GuestDropReason::InvalidValue, 1),
            None => self.component.count(HostDropReason::TypeConflict, 1),
        }
        None
    }
}

/// A series of a counter.
#[derive(Clone, Debug)]
pub struct Counter(Series);

impl Counter {
    pub(super) fn new(component: Arc<ComponentState>, accumulator: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, accumulator })
    }

    /// Counts one event.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Adds an amount. One that is negative, infinite or NaN is dropped with the reason
    /// `invalid_value`.
    pub fn add(&self, amount: f64) {
        self.0.record(|accumulator| accumulator.add(amount));
    }
}

/// A series of an up/down counter.
#[derive(Clone, Debug)]
pub struct UpDownCounter(Series);

impl UpDownCounter {
    pub(super) fn new(component: Arc<ComponentState>, accumulator: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, accumulator })
    }

    /// Adds a difference. One that is infinite or NaN is dropped with the reason `invalid_value`.
    pub fn add(&self, difference: f64) {
        self.0.record(|accumulator| accumulator.add(difference));
    }
}

/// A series of a histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Series);

impl Histogram {
    pub(super) fn new(component: Arc<ComponentState>, accumulator: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, accumulator })
    }

    /// Records a value. One that is infinite or NaN is dropped with the reason `invalid_value`, as
    /// is a number of seconds that is negative or above 9.2 billion.
    pub fn observe(&self, value: f64) {
        self.0.record(|accumulator| accumulator.observe(value));
    }

    /// Records a value that was observed in a request. It becomes an exemplar if the request's
    /// trace is exported.
    pub fn observe_in(&self, value: f64, request: &mut RequestTelemetry) {
        if let Some(accumulator) = self.0.record(|accumulator| accumulator.observe(value)) {
            request.observed(|| accumulator.exemplar(value));
        }
    }

    /// Records up to [`limits::OBSERVATIONS`] values, none of which becomes an exemplar. Further
    /// values are dropped.
    pub fn observe_all(&self, values: impl ExactSizeIterator<Item = f64>) {
        let more = values.len().saturating_sub(limits::OBSERVATIONS);
        values.take(limits::OBSERVATIONS).for_each(|value| self.observe(value));
        if more > 0 {
            self.0.component.count_guest_drop(GuestDropReason::InvalidValue, more as u64);
        }
    }
}

/// A gauge of one instance.
#[derive(Clone, Debug)]
pub struct Gauge {
    component: Arc<ComponentState>,
    cell: Result<Arc<GaugeCell>, HostDropReason>,
}

impl Gauge {
    pub(super) fn new(component: Arc<ComponentState>, cell: Result<Arc<GaugeCell>, HostDropReason>) -> Self {
        Self { component, cell }
    }

    /// Sets the gauge. NaN is dropped with the reason `invalid_value`.
    pub fn set(&self, value: f64) {
        match &self.cell {
            Ok(_) if value.is_nan() => self.component.count_guest_drop(GuestDropReason::InvalidValue, 1),
            Ok(cell) if cell.is_withdrawn() => self.component.count(HostDropReason::TypeConflict, 1),
            Ok(cell) => cell.set(value, self.component.next_order()),
            Err(reason) => self.component.count(*reason, 1),
        }
    }
}
