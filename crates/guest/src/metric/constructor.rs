//! The constructors that metrics of other crates have. Their error names the macro.
//!
//! Each has a bound of its own that no type meets, since a message is a literal.

use crate::metric::counter::Counter;
use crate::metric::gauge::Gauge;
use crate::metric::histogram::explicit::Histogram;
use crate::metric::histogram::exponential::ExponentialHistogram;
use crate::metric::label::set::LabelSet;
use crate::metric::number::{CounterValue, GaugeValue};
use crate::metric::up_down_counter::UpDownCounter;

#[diagnostic::on_unimplemented(
    message = "a macro makes the metric, and declares it in the binary",
    label = "write `static REQUESTS: Counter = counter!(\"http_requests_total\", \"HTTP requests.\");`"
)]
pub trait MadeByCounterMacro: Sized {
    #[doc(hidden)]
    const METRIC: Self;
}

impl<L: LabelSet, V: CounterValue> Counter<L, V> {
    #[doc(hidden)]
    pub const fn new(_name: &str, _help: &str) -> Self
    where
        Self: MadeByCounterMacro,
    {
        Self::METRIC
    }
}

#[diagnostic::on_unimplemented(
    message = "a macro makes the metric, and declares it in the binary",
    label = "write `static DEPTH: Gauge = gauge!(\"queue_depth\", \"Jobs that wait.\");`"
)]
pub trait MadeByGaugeMacro: Sized {
    #[doc(hidden)]
    const METRIC: Self;
}

impl<L: LabelSet, V: GaugeValue> Gauge<L, V> {
    #[doc(hidden)]
    pub const fn new(_name: &str, _help: &str) -> Self
    where
        Self: MadeByGaugeMacro,
    {
        Self::METRIC
    }
}

#[diagnostic::on_unimplemented(
    message = "a macro makes the metric, and declares it in the binary",
    label = "write `static QUEUED: UpDownCounter = up_down_counter!(\"jobs_queued\", \"Jobs that wait.\");`"
)]
pub trait MadeByUpDownCounterMacro: Sized {
    #[doc(hidden)]
    const METRIC: Self;
}

impl<L: LabelSet, V: GaugeValue> UpDownCounter<L, V> {
    #[doc(hidden)]
    pub const fn new(_name: &str, _help: &str) -> Self
    where
        Self: MadeByUpDownCounterMacro,
    {
        Self::METRIC
    }
}

#[diagnostic::on_unimplemented(
    message = "a macro makes the metric, and declares it in the binary",
    label = "write `static SIZE: Histogram = histogram!(\"cart_items\", \"Items in a cart.\", buckets: [1, 5, 20]);`"
)]
pub trait MadeByHistogramMacro: Sized {
    #[doc(hidden)]
    const METRIC: Self;
}

impl<L: LabelSet> Histogram<L> {
    #[doc(hidden)]
    pub const fn new(_name: &str, _help: &str) -> Self
    where
        Self: MadeByHistogramMacro,
    {
        Self::METRIC
    }
}

#[diagnostic::on_unimplemented(
    message = "a macro makes the metric, and declares it in the binary",
    label = "write `static SIZE: ExponentialHistogram = exponential_histogram!(\"cart_items\", \"Items in a cart.\");`"
)]
pub trait MadeByExponentialHistogramMacro: Sized {
    #[doc(hidden)]
    const METRIC: Self;
}

impl<L: LabelSet> ExponentialHistogram<L> {
    #[doc(hidden)]
    pub const fn new(_name: &str, _help: &str) -> Self
    where
        Self: MadeByExponentialHistogramMacro,
    {
        Self::METRIC
    }
}
