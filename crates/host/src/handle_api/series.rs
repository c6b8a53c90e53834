//! The handles of series: what is recorded without a name, a lock or a lookup.

use std::sync::Arc;

use wasmetry_abi::layout::GuestDropReason;

use crate::aggregate::{Accumulator, GaugeCell};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::{RequestTelemetry, limits};

/// What is recorded in, unless another component has the metric's name.
#[derive(Clone, Debug)]
struct Series {
    component: Arc<ComponentState>,
    pending: Option<Arc<Accumulator>>,
}

impl Series {
    /// Records something, which says no where it cannot be recorded; returns what it was recorded in.
    fn record(&self, record: impl FnOnce(&Accumulator) -> bool) -> Option<&Accumulator> {
        match &self.pending {
            // Its metric has given way to another one of its name.
            Some(pending) if pending.is_withdrawn() => self.component.count(HostDropReason::TypeConflict, 1),
            Some(pending) if record(pending) => return Some(pending),
            Some(_) => self.component.lose(GuestDropReason::InvalidValue, 1),
            None => self.component.count(HostDropReason::TypeConflict, 1),
        }
        None
    }
}

/// A series of a counter.
#[derive(Clone, Debug)]
pub struct Counter(Series);

impl Counter {
    pub(super) fn new(component: Arc<ComponentState>, pending: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, pending })
    }

    /// Counts one event.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Adds an amount; one that is negative, infinite or NaN is lost, with the reason `invalid_value`.
    pub fn add(&self, amount: f64) {
        self.0.record(|pending| pending.add(amount));
    }
}

/// A series of an up/down counter.
#[derive(Clone, Debug)]
pub struct UpDownCounter(Series);

impl UpDownCounter {
    pub(super) fn new(component: Arc<ComponentState>, pending: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, pending })
    }

    /// Adds a difference; one that is infinite or NaN is lost, with the reason `invalid_value`.
    pub fn add(&self, difference: f64) {
        self.0.record(|pending| pending.add(difference));
    }
}

/// A series of a histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Series);

impl Histogram {
    pub(super) fn new(component: Arc<ComponentState>, pending: Option<Arc<Accumulator>>) -> Self {
        Self(Series { component, pending })
    }

    /// Counts a value; one that is infinite or NaN is lost, with the reason `invalid_value`, and so is a negative number of
    /// seconds.
    pub fn observe(&self, value: f64) {
        self.0.record(|pending| pending.observe(value));
    }

    /// The same for a value that was observed while a request was served: it becomes an exemplar if the request's trace is exported.
    pub fn observe_in(&self, value: f64, request: &mut RequestTelemetry) {
        if let Some(pending) = self.0.record(|pending| pending.observe(value)) {
            request.observed(|| pending.candidate(value));
        }
    }

    /// Counts up to [`limits::OBSERVATIONS`] values; further ones are not looked at, and lost. None becomes an exemplar.
    pub fn observe_all(&self, values: impl ExactSizeIterator<Item = f64>) {
        let more = values.len().saturating_sub(limits::OBSERVATIONS);
        values.take(limits::OBSERVATIONS).for_each(|value| self.observe(value));
        if more > 0 {
            self.0.component.lose(GuestDropReason::InvalidValue, more as u64);
        }
    }
}

/// One instance's value of a gauge.
#[derive(Clone, Debug)]
pub struct Gauge {
    component: Arc<ComponentState>,
    setting: Result<Arc<GaugeCell>, HostDropReason>,
}

impl Gauge {
    pub(super) fn new(component: Arc<ComponentState>, setting: Result<Arc<GaugeCell>, HostDropReason>) -> Self {
        Self { component, setting }
    }

    /// Sets the gauge; NaN is lost, with the reason `invalid_value`.
    pub fn set(&self, value: f64) {
        match &self.setting {
            Ok(_) if value.is_nan() => self.component.lose(GuestDropReason::InvalidValue, 1),
            Ok(setting) if setting.is_withdrawn() => self.component.count(HostDropReason::TypeConflict, 1),
            Ok(setting) => setting.set(value, self.component.next_order()),
            Err(offence) => self.component.count(*offence, 1),
        }
    }
}
