use core::time::Duration;

use wasmetry_abi::layout::GuestDropReason;

use crate::bounds::Bounds;
use crate::label::LabelSet;
use crate::region::{Metric, Storage, lost};
use crate::sync::{AtomicU64, Ordering, add, add_f64};
use crate::timer::{Timed, Timer};

/// How often values fell into each of some ranges, and their sum.
///
/// Make one with [`histogram!`](crate::histogram!). `L` is its labels. With `unit: seconds` it keeps integer nanoseconds,
/// so that sums are exact; it takes and shows seconds all the same.
///
/// A value that is the only one of its series in a request becomes an exemplar, which leads to the request's trace.
///
/// ```
/// use wasmetry::{Histogram, histogram};
///
/// static LATENCY: Histogram = histogram!(
///     "http_request_duration_seconds",
///     "Time to serve a request.",
///     unit: seconds,
///     buckets: [0.005, 0.05, 0.5],
/// );
///
/// let timer = LATENCY.start_timer();
/// // … serve the request …
/// drop(timer);
/// LATENCY.observe(0.020);
/// assert_eq!(LATENCY.count(), 2);
/// ```
#[must_use]
pub struct Histogram<L: LabelSet = ()> {
    metric: Metric<L>,
    bounds: &'static Bounds,
}

impl<L: LabelSet> Histogram<L> {
    #[doc(hidden)]
    pub const fn from_storage<const B: usize>(
        storage: &'static Storage<L, [AtomicU64; B]>,
        hash: u64,
        record: &'static [u8],
        bounds: &'static Bounds,
    ) -> Self {
        assert!(B == bounds.len() + 2);
        Self { metric: storage.metric(hash, record), bounds }
    }

    /// The series with these label values. Keep the result where the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> HistogramSeries<L> {
        let words = self.metric.series(self.bounds.len() + 2, values);
        HistogramSeries { metric: self.metric, words, bounds: self.bounds }
    }
}

impl Histogram {
    /// Records a value in the histogram's unit; see [`HistogramSeries::observe`].
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
    pub fn start_timer(&self) -> Timer {
        self.with(()).start_timer()
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        self.with(()).count()
    }
}

/// One series of a [`Histogram`].
#[must_use = "a series that is only named records nothing: write `.observe(…)` behind it"]
pub struct HistogramSeries<L: LabelSet = ()> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
    bounds: &'static Bounds,
}

impl<L: LabelSet> Clone for HistogramSeries<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet> Copy for HistogramSeries<L> {}

impl<L: LabelSet> HistogramSeries<L> {
    /// Records a value in the histogram's unit.
    ///
    /// NaN, an infinity, and a negative number of seconds are not recorded but counted as lost, with the reason
    /// `invalid_value`: one of them would spoil the sum for good.
    #[inline]
    pub fn observe(&self, value: f64) {
        if !value.is_finite() || (self.bounds.is_duration() && value < 0.0) {
            return lost(GuestDropReason::InvalidValue);
        }
        if self.bounds.is_duration() {
            // The cast saturates; adding a half rounds to the nearest.
            return self.observe_nanos((value * 1e9 + 0.5) as u64);
        }
        self.metric.touch();
        if let Some((sum, buckets)) = self.words.split_first() {
            if let Some(bucket) = buckets.get(self.bounds.bucket_of(value)) {
                add(bucket, 1);
            }
            add_f64(sum, value);
        }
    }

    /// Records a duration. A histogram without `unit: seconds` gets it in seconds as well.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        if self.bounds.is_duration() {
            self.observe_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.observe(duration.as_secs_f64());
        }
    }

    #[inline]
    fn observe_nanos(&self, nanos: u64) {
        self.metric.touch();
        if let Some((sum, buckets)) = self.words.split_first() {
            if let Some(bucket) = buckets.get(self.bounds.bucket_of_nanos(nanos)) {
                add(bucket, 1);
            }
            add(sum, nanos);
        }
    }

    /// Starts to measure a duration, which is recorded when the timer is dropped.
    ///
    /// A read of the clock costs 50 to 150 ns, nearly all of a timer's cost. Where there is no clock, nothing is recorded
    /// but the loss counted, with the reason `no_clock`.
    #[inline]
    pub fn start_timer(&self) -> Timer<Self> {
        Timer::start(*self)
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        let buckets = self.words.get(1..).unwrap_or(&[]);
        buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl<L: LabelSet> Timed for HistogramSeries<L> {
    #[inline]
    fn record(&self, duration: Duration) {
        self.observe_duration(duration);
    }
}
