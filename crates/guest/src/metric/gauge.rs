//! Gauges, which are set.

use core::marker::PhantomData;

use crate::metric::cell::{Cell, Cells};
use crate::metric::label::set::LabelSet;
use crate::metric::merge::{MergeRule, Set, Summed};
use crate::metric::number::GaugeValue;
use crate::metric::storage::Storage;
use crate::sync::{AtomicU64, add};

/// A value that rises and falls and is set, such as a queue's length.
///
/// Make one with [`gauge!`](crate::gauge!). `L` is its labels; `V` is `f64` or `i64`. A series
/// exists once it was set. The host combines the instances' values by the rule that `merge:` names;
/// see [`gauge!`](crate::gauge!). `M` is [`Sum`](crate::Sum) with `merge: sum`, and [`Set`] with
/// each other rule.
///
/// ```
/// use wasmetry::{Gauge, Sum, gauge};
///
/// static DEPTH: Gauge = gauge!("queue_depth", "Jobs that wait.");
/// static OPEN: Gauge<(), i64, Sum> = gauge!("open_files", "Open files.", value: i64, merge: sum);
///
/// DEPTH.set(4.0);
/// OPEN.inc();
/// assert_eq!((DEPTH.get(), OPEN.get()), (4.0, 1));
/// ```
#[must_use]
pub struct Gauge<L: LabelSet = (), V: GaugeValue = f64, M: MergeRule = Set> {
    cells: Cells<L, V, 2>,
    rule: PhantomData<M>,
}

impl<L: LabelSet, V: GaugeValue, M: MergeRule> Gauge<L, V, M> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, [AtomicU64; 2]>, hash: u64, record: &'static [u8]) -> Self {
        Self { cells: Cells::new(storage.metric(hash, record)), rule: PhantomData }
    }

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> GaugeSeries<L, V, M> {
        GaugeSeries { cell: self.cells.with(values), rule: PhantomData }
    }
}

impl<V: GaugeValue, M: MergeRule> Gauge<(), V, M> {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: V) {
        self.with(()).set(value);
    }

    /// Adds to the value of a gauge with `merge: sum`.
    #[inline]
    pub fn add(&self, value: V)
    where
        M: Summed,
    {
        self.with(()).add(value);
    }

    /// Subtracts from the value of a gauge with `merge: sum`.
    #[inline]
    pub fn sub(&self, value: V)
    where
        M: Summed,
    {
        self.with(()).sub(value);
    }

    /// Adds one, with `merge: sum`.
    #[inline]
    pub fn inc(&self)
    where
        M: Summed,
    {
        self.with(()).inc();
    }

    /// Subtracts one, with `merge: sum`.
    #[inline]
    pub fn dec(&self)
    where
        M: Summed,
    {
        self.with(()).dec();
    }

    /// This instance's value; 0 before it was set.
    pub fn get(&self) -> V {
        self.with(()).get()
    }
}

/// One series of a [`Gauge`].
#[must_use = "a series sets nothing by itself: call `.set(…)` on it"]
pub struct GaugeSeries<L: LabelSet, V: GaugeValue, M: MergeRule = Set> {
    cell: Cell<L, V, 2>,
    rule: PhantomData<M>,
}

impl<L: LabelSet, V: GaugeValue, M: MergeRule> Clone for GaugeSeries<L, V, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V: GaugeValue, M: MergeRule> Copy for GaugeSeries<L, V, M> {}

impl<L: LabelSet, V: GaugeValue, M: MergeRule> GaugeSeries<L, V, M> {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: V) {
        self.change(|_| value);
    }

    /// Adds to the value of a gauge with `merge: sum`.
    #[inline]
    pub fn add(&self, value: V)
    where
        M: Summed,
    {
        self.change(|current| current.plus(value));
    }

    /// Subtracts from the value of a gauge with `merge: sum`.
    #[inline]
    pub fn sub(&self, value: V)
    where
        M: Summed,
    {
        self.add(value.negated());
    }

    /// Adds one, with `merge: sum`.
    #[inline]
    pub fn inc(&self)
    where
        M: Summed,
    {
        self.add(V::ONE);
    }

    /// Subtracts one, with `merge: sum`.
    #[inline]
    pub fn dec(&self)
    where
        M: Summed,
    {
        self.sub(V::ONE);
    }

    /// This instance's value; 0 before it was set.
    pub fn get(&self) -> V {
        self.cell.get()
    }

    /// Changes the value, then counts the change. A series that was never set has the count 0, and
    /// the host does not export it; a count that rises makes the value the last one. A series whose
    /// metric has no room in the region has no words.
    #[inline]
    fn change(&self, change: impl Fn(V) -> V) {
        if let Some([value, times_set]) = self.cell.words() {
            Cell::<L, V, 2>::change(value, change);
            add(times_set, 1);
        }
    }
}
