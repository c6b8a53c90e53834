//! Gauges, which are set.

use crate::metric::cell::{Cell, Cells};
use crate::metric::label::set::LabelSet;
use crate::metric::number::GaugeValue;
use crate::metric::storage::Storage;
use crate::sync::{AtomicU64, add};

/// A value that rises and falls, such as a queue's length.
///
/// Make one with [`gauge!`](crate::gauge!). `L` is its labels; `V` is `f64` or `i64`. A series
/// exists once it was set. The host combines the instances' values by the rule that `merge:` names;
/// see [`gauge!`](crate::gauge!).
///
/// ```
/// use wasmetry::{Gauge, gauge};
///
/// static DEPTH: Gauge = gauge!("queue_depth", "Jobs that wait.");
///
/// DEPTH.set(4.0);
/// DEPTH.dec();
/// assert_eq!(DEPTH.get(), 3.0);
/// ```
#[must_use]
pub struct Gauge<L: LabelSet = (), V: GaugeValue = f64> {
    cells: Cells<L, V, 2>,
}

impl<L: LabelSet, V: GaugeValue> Gauge<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, [AtomicU64; 2]>, hash: u64, record: &'static [u8]) -> Self {
        Self { cells: Cells::new(storage.metric(hash, record)) }
    }

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> GaugeSeries<L, V> {
        GaugeSeries { cell: self.cells.with(values) }
    }
}

impl<V: GaugeValue> Gauge<(), V> {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: V) {
        self.with(()).set(value);
    }

    /// Adds to the value.
    #[inline]
    pub fn add(&self, value: V) {
        self.with(()).add(value);
    }

    /// Subtracts from the value.
    #[inline]
    pub fn sub(&self, value: V) {
        self.with(()).sub(value);
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

    /// This instance's value; 0 before it was set.
    pub fn get(&self) -> V {
        self.with(()).get()
    }
}

/// One series of a [`Gauge`].
#[must_use = "a series sets nothing by itself: call `.set(…)` on it"]
pub struct GaugeSeries<L: LabelSet, V: GaugeValue> {
    cell: Cell<L, V, 2>,
}

impl<L: LabelSet, V: GaugeValue> Clone for GaugeSeries<L, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V: GaugeValue> Copy for GaugeSeries<L, V> {}

impl<L: LabelSet, V: GaugeValue> GaugeSeries<L, V> {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: V) {
        self.change(|_| value);
    }

    /// Adds to the value.
    #[inline]
    pub fn add(&self, value: V) {
        self.change(|current| current.plus(value));
    }

    /// Subtracts from the value.
    #[inline]
    pub fn sub(&self, value: V) {
        self.add(value.negated());
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(V::ONE);
    }

    /// Subtracts one.
    #[inline]
    pub fn dec(&self) {
        self.sub(V::ONE);
    }

    /// This instance's value; 0 before it was set.
    pub fn get(&self) -> V {
        self.cell.get()
    }

    #[inline]
    fn change(&self, change: impl Fn(V) -> V) {
        if let Some([value, times_set]) = self.cell.words() {
            Cell::<L, V, 2>::change(value, change);
            add(times_set, 1);
        }
    }
}
