mod buckets;

use core::time::Duration;

use wasmetry_abi::Kind;
use wasmetry_abi::layout::{GuestDropReason, cell_words, scratch_words};

use self::buckets::Cell;
use crate::label::LabelSet;
use crate::region::{Metric, Storage, lost};
use crate::sync::{AtomicU64, add, add_f64};
use crate::timer::{Timed, Timer};

/// A histogram whose buckets follow from its values: as fine as a fixed number of them allows.
///
/// Make one with [`exponential_histogram!`](crate::exponential_histogram!). `L` is its labels. Each octave of values has the same
/// number of buckets, at first 256. When they get too many, every two of them become one, until the values fit; so nobody
/// has to know the range beforehand. With the default of 160 buckets, values that differ by up to a factor of 500 are told
/// apart to 4.4%, up to one of 100,000 to 9.1%.
///
/// Prometheus gets it as a native histogram where it asks for one, and as one with fixed bounds else. As with
/// [`Histogram`](crate::Histogram), `unit: seconds` keeps integer nanoseconds.
///
/// ```
/// use wasmetry::{ExponentialHistogram, exponential_histogram};
///
/// static LATENCY: ExponentialHistogram =
///     exponential_histogram!("query_duration_seconds", "Time to answer a query.", unit: seconds);
///
/// let timer = LATENCY.start_timer();
/// // … answer the query …
/// drop(timer);
/// LATENCY.observe(0.020);
/// assert_eq!(LATENCY.count(), 2);
/// ```
#[must_use]
pub struct ExponentialHistogram<L: LabelSet = ()> {
    metric: Metric<L>,
    shape: Shape,
}

/// What all series of one histogram have in common.
#[derive(Clone, Copy)]
struct Shape {
    max_buckets: u16,
    /// Whether the values are durations, kept in nanoseconds.
    is_duration: bool,
}

impl<L: LabelSet> ExponentialHistogram<L> {
    #[doc(hidden)]
    pub const fn from_storage<const CELL: usize, const SCRATCH: usize>(
        storage: &'static Storage<L, [AtomicU64; CELL], [AtomicU64; SCRATCH]>,
        hash: u64,
        record: &'static [u8],
        kind: Kind,
        max_buckets: u16,
    ) -> Self {
        assert!(CELL == cell_words(kind, max_buckets as usize) && SCRATCH == scratch_words(kind, max_buckets));
        let shape = Shape { max_buckets, is_duration: matches!(kind, Kind::ExponentialNanos) };
        Self { metric: storage.metric(hash, record), shape }
    }

    /// The series with these label values. Keep the result where the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> ExponentialSeries<L> {
        let (words, position) = self.metric.words(values);
        let cell = Cell::new(words, position, self.shape.max_buckets);
        ExponentialSeries { metric: self.metric, cell, is_duration: self.shape.is_duration }
    }
}

impl ExponentialHistogram {
    /// Records a value in the histogram's unit; see [`ExponentialSeries::observe`].
    #[inline]
    pub fn observe(&self, value: f64) {
        self.with(()).observe(value);
    }

    /// Records a duration.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        self.with(()).observe_duration(duration);
    }

    /// Starts to measure a duration, which is recorded when the timer is dropped.
    #[inline]
    pub fn start_timer(&self) -> Timer<ExponentialSeries> {
        self.with(()).start_timer()
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        self.with(()).count()
    }
}

/// One series of an [`ExponentialHistogram`].
#[must_use = "a series that is only named records nothing: write `.observe(…)` behind it"]
pub struct ExponentialSeries<L: LabelSet = ()> {
    metric: Metric<L>,
    cell: Cell<'static>,
    is_duration: bool,
}

impl<L: LabelSet> Clone for ExponentialSeries<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet> Copy for ExponentialSeries<L> {}

impl<L: LabelSet> ExponentialSeries<L> {
    /// Records a value in the histogram's unit.
    ///
    /// NaN, an infinity, and a negative number are not recorded but counted as lost, with the reason `invalid_value`. Negative
    /// values would need a second set of buckets, and OpenTelemetry's histograms do not take them either; a
    /// [`Histogram`](crate::Histogram) with negative bounds does.
    #[inline]
    pub fn observe(&self, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return lost(GuestDropReason::InvalidValue);
        }
        if self.is_duration {
            // The cast saturates; adding a half rounds to the nearest.
            return self.observe_nanos((value * 1e9 + 0.5) as u64);
        }
        self.metric.touch();
        self.cell.count(value);
        if let Some(sum) = self.cell.sum() {
            add_f64(sum, value);
        }
    }

    /// Records a duration. A histogram without `unit: seconds` gets it in seconds as well.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        if self.is_duration {
            self.observe_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.observe(duration.as_secs_f64());
        }
    }

    #[inline]
    fn observe_nanos(&self, nanos: u64) {
        self.metric.touch();
        self.cell.count(nanos as f64 / 1e9);
        if let Some(sum) = self.cell.sum() {
            add(sum, nanos);
        }
    }

    /// Starts to measure a duration, which is recorded when the timer is dropped; see
    /// [`HistogramSeries::start_timer`](crate::HistogramSeries::start_timer).
    #[inline]
    pub fn start_timer(&self) -> Timer<Self> {
        Timer::start(*self)
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        self.cell.total()
    }
}

impl<L: LabelSet> Timed for ExponentialSeries<L> {
    #[inline]
    fn record(&self, duration: Duration) {
        self.observe_duration(duration);
    }
}
