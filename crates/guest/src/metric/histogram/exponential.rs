//! Histograms with buckets that follow from the values.

use core::time::Duration;

use wasmetry_abi::Kind;
use wasmetry_abi::layout::{cell_words, scratch_words};

use crate::metric::histogram::buckets::Buckets;
use crate::metric::histogram::timer::{Sealed, Timed, Timer};
use crate::metric::histogram::{self, methods};
use crate::metric::label::set::LabelSet;
use crate::metric::storage::{Metric, Storage};
use crate::sync::AtomicU64;

/// A histogram whose buckets follow from its values: as fine as a fixed number of them allows.
///
/// Make one with [`exponential_histogram!`](crate::exponential_histogram!). `L` is its labels. Each
/// octave of values has the same number of buckets, at first 256. When the values need too many,
/// every two buckets are merged until the values fit, so no caller has to know the range
/// beforehand. With the default of 160 buckets, values that differ by a factor of up to 500 are
/// resolved to 4.4%, by a factor of up to 100,000 to 9.1%.
///
/// Prometheus gets it as a native histogram if it asks for one, else as a histogram with fixed
/// bounds. As with [`Histogram`](crate::Histogram), `unit: seconds` keeps integer nanoseconds.
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

/// The properties that all series of a histogram share.
#[derive(Clone, Copy)]
struct Shape {
    max_buckets: u16,
    /// `true` if the values are durations, kept in nanoseconds.
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

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> ExponentialSeries<L> {
        let (words, position) = self.metric.words(values);
        let buckets = Buckets::new(words, position, self.shape.max_buckets);
        ExponentialSeries { metric: self.metric, buckets, is_duration: self.shape.is_duration }
    }
}

/// One series of an [`ExponentialHistogram`].
#[must_use = "a series records nothing by itself: call `.observe(…)` on it"]
pub struct ExponentialSeries<L: LabelSet = ()> {
    metric: Metric<L>,
    buckets: Buckets<'static>,
    is_duration: bool,
}

methods!(ExponentialHistogram, ExponentialSeries);

impl<L: LabelSet> ExponentialSeries<L> {
    /// Records a value in the histogram's unit.
    ///
    /// NaN, an infinity, a negative number, and at least 292 years in seconds are dropped and
    /// counted, with the reason `invalid_value`. Negative values would need a second set of
    /// buckets, and OpenTelemetry's histograms do not take them either; a
    /// [`Histogram`](crate::Histogram) with negative bounds does.
    #[inline]
    pub fn observe(&self, value: f64) {
        histogram::observe(self, value);
    }

    /// The number of values that this instance has recorded.
    pub fn count(&self) -> u64 {
        self.buckets.total()
    }
}

impl<L: LabelSet> histogram::Series for ExponentialSeries<L> {
    #[inline]
    fn is_duration(&self) -> bool {
        self.is_duration
    }

    #[inline]
    fn has_negative_buckets(&self) -> bool {
        false
    }

    #[inline]
    fn count_number(&self, value: f64) -> Option<&'static AtomicU64> {
        self.metric.touch();
        self.buckets.count(value);
        self.buckets.sum()
    }

    #[inline]
    fn count_nanos(&self, nanos: u64) -> Option<&'static AtomicU64> {
        self.count_number(nanos as f64 / 1e9)
    }
}
