use core::marker::PhantomData;

use wasmetry_abi::layout::GuestDropReason;

use crate::label::LabelSet;
use crate::region::{Metric, Storage, lost};
use crate::sync::{AtomicU64, Ordering, update};
use crate::value::GaugeValue;

/// A sum of differences, such as the jobs in a queue that many instances fill and empty.
///
/// Make one with [`up_down_counter!`](crate::up_down_counter!). Unlike a [`Gauge`](crate::Gauge), the differences of all
/// instances count, also of those that have ended: one instance may add a job and another one take it away.
///
/// ```
/// use wasmetry::{UpDownCounter, up_down_counter};
///
/// static QUEUED: UpDownCounter = up_down_counter!("jobs_queued", "Jobs that wait.");
///
/// QUEUED.add(3);
/// QUEUED.dec();
/// assert_eq!(QUEUED.get(), 2);
/// ```
#[must_use]
pub struct UpDownCounter<L: LabelSet = (), V: GaugeValue = i64> {
    metric: Metric<L>,
    value: PhantomData<V>,
}

impl<L: LabelSet, V: GaugeValue> UpDownCounter<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { metric: storage.metric(hash, record), value: PhantomData }
    }

    /// The series with these label values. Keep the result where the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> UpDownSeries<L, V> {
        UpDownSeries { metric: self.metric, words: self.metric.series(1, values), value: PhantomData }
    }
}

impl<V: GaugeValue> UpDownCounter<(), V> {
    /// Adds a difference; see [`UpDownSeries::add`].
    #[inline]
    pub fn add(&self, difference: V) {
        self.with(()).add(difference);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.with(()).inc();
    }

    /// Subtracts one.
    #[inline]
    pub fn dec(&self) {
        self.with(()).dec();
    }

    /// The sum of this instance's differences.
    pub fn get(&self) -> V {
        self.with(()).get()
    }
}

/// One series of an [`UpDownCounter`].
#[must_use = "a series that is only named records nothing: write `.inc()` behind it"]
pub struct UpDownSeries<L: LabelSet, V: GaugeValue> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
    value: PhantomData<V>,
}

impl<L: LabelSet, V: GaugeValue> Clone for UpDownSeries<L, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V: GaugeValue> Copy for UpDownSeries<L, V> {}

impl<L: LabelSet, V: GaugeValue> UpDownSeries<L, V> {
    /// Adds a difference.
    ///
    /// An infinite one or NaN is not added but lost, with the reason `invalid_value`.
    #[inline]
    pub fn add(&self, difference: V) {
        if !difference.is_finite() {
            return lost(GuestDropReason::InvalidValue);
        }
        self.metric.touch();
        if let [value] = self.words {
            update(value, |bits| V::from_bits(bits).plus(difference).to_bits());
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(V::ONE);
    }

    /// Subtracts one.
    #[inline]
    pub fn dec(&self) {
        self.add(V::ONE.negated());
    }

    /// The sum of this instance's differences.
    pub fn get(&self) -> V {
        V::from_bits(self.words.first().map_or(0, |value| value.load(Ordering::Relaxed)))
    }
}
