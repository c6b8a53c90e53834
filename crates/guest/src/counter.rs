use crate::label::LabelSet;
use crate::region::{Metric, Storage};
use crate::sync::{AtomicU64, Ordering, add};

/// A number of events, which only rises.
///
/// Make one with [`counter!`](crate::counter!). `L` is its labels: none, one, or a tuple.
///
/// ```
/// use wasmetry::{Counter, counter};
///
/// static REQUESTS: Counter = counter!("http_requests_total", "HTTP requests.");
///
/// REQUESTS.inc();
/// REQUESTS.add(2);
/// assert_eq!(REQUESTS.get(), 3);
/// ```
#[must_use]
pub struct Counter<L: LabelSet = ()> {
    metric: Metric<L>,
}

impl<L: LabelSet> Counter<L> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64) -> Self {
        Self { metric: storage.metric(hash) }
    }

    /// The series with these label values. Keep the result where the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> CounterSeries<L> {
        CounterSeries { metric: self.metric, words: self.metric.series(1, values) }
    }
}

impl Counter {
    /// Counts one event.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n` events.
    #[inline]
    pub fn add(&self, n: u64) {
        self.with(()).add(n);
    }

    /// The number of events that this instance has counted.
    pub fn get(&self) -> u64 {
        self.with(()).get()
    }
}

/// One series of a [`Counter`].
#[must_use]
pub struct CounterSeries<L: LabelSet> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
}

impl<L: LabelSet> Clone for CounterSeries<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet> Copy for CounterSeries<L> {}

impl<L: LabelSet> CounterSeries<L> {
    /// Counts one event.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n` events.
    #[inline]
    pub fn add(&self, n: u64) {
        self.metric.touch();
        if let [value] = self.words {
            add(value, n);
        }
    }

    /// The number of events that this instance has counted.
    pub fn get(&self) -> u64 {
        self.words.first().map_or(0, |value| value.load(Ordering::Relaxed))
    }
}
