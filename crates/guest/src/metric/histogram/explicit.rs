//! Histograms with bounds that are given.

use core::time::Duration;

use crate::metric::histogram::bounds::Bounds;
use crate::metric::histogram::timer::{Sealed, Timed, Timer};
use crate::metric::histogram::{self, methods};
use crate::metric::label::set::LabelSet;
use crate::metric::storage::{Metric, Storage};
use crate::sync::{AtomicU64, Ordering, add};

/// The number of values in each of some ranges, and their sum.
///
/// Make one with [`histogram!`](crate::histogram!). `L` is its labels. With `unit: seconds` it
/// keeps integer nanoseconds, so that sums are exact; it takes and shows seconds all the same.
///
/// A value that is the only one of its series in a request becomes an exemplar, which leads to the
/// request's trace.
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

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> HistogramSeries<L> {
        let words = self.metric.series(self.bounds.len() + 2, values);
        HistogramSeries { metric: self.metric, words, bounds: self.bounds }
    }
}

/// One series of a [`Histogram`].
#[must_use = "a series records nothing by itself: call `.observe(…)` on it"]
pub struct HistogramSeries<L: LabelSet = ()> {
    metric: Metric<L>,
    /// The sum, then a count for each bucket.
    words: &'static [AtomicU64],
    bounds: &'static Bounds,
}

methods!(Histogram, HistogramSeries);

impl<L: LabelSet> HistogramSeries<L> {
    /// Records a value in the histogram's unit.
    ///
    /// NaN, an infinity, and a number of seconds that is negative or at least 292 years are dropped
    /// and counted, with the reason `invalid_value`: one of them would spoil the sum for good.
    #[inline]
    pub fn observe(&self, value: f64) {
        histogram::observe(self, value);
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        let buckets = self.words.get(1..).unwrap_or(&[]);
        buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    #[inline]
    fn count_in(&self, bucket: usize) -> Option<&'static AtomicU64> {
        let (sum, buckets) = self.words.split_first()?;
        if let Some(bucket) = buckets.get(bucket) {
            add(bucket, 1);
        }
        Some(sum)
    }
}

impl<L: LabelSet> histogram::Series for HistogramSeries<L> {
    #[inline]
    fn is_duration(&self) -> bool {
        self.bounds.is_duration()
    }

    #[inline]
    fn has_negative_buckets(&self) -> bool {
        !self.bounds.is_duration()
    }

    #[inline]
    fn count_number(&self, value: f64) -> Option<&'static AtomicU64> {
        self.metric.touch();
        self.count_in(self.bounds.bucket_of(value))
    }

    #[inline]
    fn count_nanos(&self, nanos: u64) -> Option<&'static AtomicU64> {
        self.metric.touch();
        self.count_in(self.bounds.bucket_of_nanos(nanos))
    }
}
