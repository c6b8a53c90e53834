//! Histograms: the checks and methods that both kinds have. The kinds differ in their buckets.

pub(crate) mod bounds;
mod buckets;
pub(crate) mod explicit;
pub(crate) mod exponential;
pub(crate) mod timer;

use core::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::host::count_drop;
use crate::sync::{AtomicU64, add, add_f64};

/// One series of either kind.
trait Series {
    /// Returns `true` if the values are durations, kept in nanoseconds.
    fn is_duration(&self) -> bool;

    /// Returns `true` if the series has buckets for negative numbers.
    fn has_negative_buckets(&self) -> bool;

    /// Counts a number in its bucket. Returns the word with the sum.
    fn count_number(&self, value: f64) -> Option<&'static AtomicU64>;

    /// Counts a duration in its bucket. Returns the word with the sum.
    fn count_nanos(&self, nanos: u64) -> Option<&'static AtomicU64>;
}

/// The least number of seconds that is too long for a sum in nanoseconds: 292 years. A host takes
/// an increase of 2⁶³ nanoseconds or more for a decrease.
const TOO_LONG: f64 = (1u64 << 63) as f64 / 1e9;

/// Records a value in the histogram's unit.
#[inline]
fn observe(series: &impl Series, value: f64) {
    if series.is_duration() {
        if !(0.0..TOO_LONG).contains(&value) {
            return count_drop(GuestDropReason::InvalidValue);
        }
        // Adding a half rounds to the nearest.
        return record_nanos(series, (value * 1e9 + 0.5) as u64);
    }
    if !value.is_finite() || (value < 0.0 && !series.has_negative_buckets()) {
        return count_drop(GuestDropReason::InvalidValue);
    }
    if let Some(sum) = series.count_number(value) {
        add_f64(sum, value);
    }
}

/// Records a duration.
#[inline]
fn observe_duration(series: &impl Series, duration: Duration) {
    if !series.is_duration() {
        return observe(series, duration.as_secs_f64());
    }
    match i64::try_from(duration.as_nanos()) {
        Ok(nanos) => record_nanos(series, nanos.cast_unsigned()),
        Err(_) => count_drop(GuestDropReason::InvalidValue),
    }
}

#[inline]
fn record_nanos(series: &impl Series, nanos: u64) {
    if let Some(sum) = series.count_nanos(nanos) {
        add(sum, nanos);
    }
}

/// The methods of a histogram without labels, and those of a series that read the same for both
/// kinds.
macro_rules! methods {
    ($Histogram:ident, $Series:ident) => {
        impl $Histogram {
            #[doc = concat!("Records a value in the histogram's unit; see [`", stringify!($Series), "::observe`].")]
            #[inline]
            pub fn observe(&self, value: f64) {
                self.with(()).observe(value);
            }

            /// Records a duration.
            #[inline]
            pub fn observe_duration(&self, duration: Duration) {
                self.with(()).observe_duration(duration);
            }

            /// Starts a timer. Dropping it records the time since now.
            #[inline]
            pub fn start_timer(&self) -> Timer<$Series> {
                self.with(()).start_timer()
            }

            /// The number of values that this instance has recorded.
            pub fn count(&self) -> u64 {
                self.with(()).count()
            }
        }

        impl<L: LabelSet> $Series<L> {
            /// Records a duration. A histogram without `unit: seconds` gets it in seconds as well.
            ///
            /// With `unit: seconds`, a duration of 292 years or more is dropped and counted, with
            /// the reason `invalid_value`.
            #[inline]
            pub fn observe_duration(&self, duration: Duration) {
                histogram::observe_duration(self, duration);
            }

            /// Starts a timer. Dropping it records the time since now.
            ///
            /// Nearly all of a timer's cost is its two reads of the clock, of 50 to 150 ns each.
            /// Without a clock, the timer records nothing and is counted with the reason
            /// `no_clock`.
            #[inline]
            pub fn start_timer(&self) -> Timer<Self> {
                Timer::of(*self)
            }
        }

        impl<L: LabelSet> Clone for $Series<L> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<L: LabelSet> Copy for $Series<L> {}

        impl<L: LabelSet> Sealed for $Series<L> {}

        impl<L: LabelSet> Timed for $Series<L> {
            #[inline]
            fn record(&self, duration: Duration) {
                self.observe_duration(duration);
            }
        }
    };
}
use methods;
