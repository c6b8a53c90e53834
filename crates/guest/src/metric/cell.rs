//! Metrics whose series are a few words that hold numbers: counters, up/down counters and gauges.

use core::marker::PhantomData;

use crate::metric::label::set::LabelSet;
use crate::metric::number::Number;
use crate::metric::storage::Metric;
use crate::sync::{AtomicU64, Ordering, update};

/// A metric with `N` words of the type `V` in each series, of which the first is the value.
pub(super) struct Cells<L: LabelSet, V, const N: usize> {
    metric: Metric<L>,
    value: PhantomData<V>,
}

/// One series of [`Cells`].
pub(super) struct Cell<L: LabelSet, V, const N: usize> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
    value: PhantomData<V>,
}

impl<L: LabelSet, V, const N: usize> Clone for Cell<L, V, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V, const N: usize> Copy for Cell<L, V, N> {}

impl<L: LabelSet, V: Number, const N: usize> Cells<L, V, N> {
    pub(super) const fn new(metric: Metric<L>) -> Self {
        Self { metric, value: PhantomData }
    }

    /// The series with these label values.
    #[inline]
    pub(super) fn with(&self, values: L::Values<'_>) -> Cell<L, V, N> {
        Cell { metric: self.metric, words: self.metric.series(N, values), value: PhantomData }
    }
}

impl<L: LabelSet, V: Number, const N: usize> Cell<L, V, N> {
    /// The series' words, once the metric is registered. Returns `None` if there is no such series.
    #[inline]
    pub(super) fn words(&self) -> Option<&'static [AtomicU64; N]> {
        self.metric.touch();
        self.words.try_into().ok()
    }

    /// Replaces the value of `word` by `change` of it.
    #[inline]
    pub(super) fn change(word: &AtomicU64, change: impl Fn(V) -> V) {
        update(word, |bits| change(V::from_bits(bits)).to_bits());
    }

    /// The value.
    pub(super) fn get(&self) -> V {
        V::from_bits(self.words.first().map_or(0, |value| value.load(Ordering::Relaxed)))
    }
}
