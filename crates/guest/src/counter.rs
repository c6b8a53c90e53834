use core::marker::PhantomData;

use crate::label::LabelSet;
use crate::region::{Metric, Storage};
use crate::sync::{AtomicU64, Ordering};
use crate::value::CounterValue;

/// A number of events or an amount, which only rises.
///
/// Make one with [`counter!`](crate::counter!). `L` is its labels: none, one, or a tuple. `V` is `u64`, or `f64` for an
/// amount that is no whole number.
///
/// ```
/// use wasmetry::{Counter, counter};
///
/// static REQUESTS: Counter = counter!("http_requests_total", "HTTP requests.");
/// static SPENT: Counter<(), f64> = counter!("energy_joules_total", "Energy spent.", unit: joules, value: f64);
///
/// REQUESTS.inc();
/// REQUESTS.add(2);
/// assert_eq!(REQUESTS.get(), 3);
/// SPENT.add(0.25);
/// ```
#[must_use]
pub struct Counter<L: LabelSet = (), V: CounterValue = u64> {
    metric: Metric<L>,
    value: PhantomData<V>,
}

impl<L: LabelSet, V: CounterValue> Counter<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { metric: storage.metric(hash, record), value: PhantomData }
    }

    /// The series with these label values. Keep the result where the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> CounterSeries<L, V> {
        CounterSeries { metric: self.metric, words: self.metric.series(1, values), value: PhantomData }
    }
}

impl<V: CounterValue> Counter<(), V> {
    /// Counts one.
    #[inline]
    pub fn inc(&self) {
        self.with(()).inc();
    }

    /// Counts `n`; see [`CounterSeries::add`].
    #[inline]
    pub fn add(&self, n: V) {
        self.with(()).add(n);
    }

    /// What this instance has counted.
    pub fn get(&self) -> V {
        self.with(()).get()
    }
}

/// One series of a [`Counter`].
#[must_use = "a series that is only named records nothing: write `.inc()` behind it"]
pub struct CounterSeries<L: LabelSet, V: CounterValue> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
    value: PhantomData<V>,
}

impl<L: LabelSet, V: CounterValue> Clone for CounterSeries<L, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V: CounterValue> Copy for CounterSeries<L, V> {}

impl<L: LabelSet, V: CounterValue> CounterSeries<L, V> {
    /// Counts one.
    #[inline]
    pub fn inc(&self) {
        self.add(V::ONE);
    }

    /// Counts `n`.
    ///
    /// Of an `f64`, what is negative, infinite or NaN is not counted but lost, with the reason `invalid_value`.
    #[inline]
    pub fn add(&self, n: V) {
        self.metric.touch();
        if let [value] = self.words {
            n.add_to(value);
        }
    }

    /// What this instance has counted.
    pub fn get(&self) -> V {
        V::from_bits(self.words.first().map_or(0, |value| value.load(Ordering::Relaxed)))
    }
}
