//! Up/down counters, which add up differences.

use wasmetry_abi::layout::GuestDropReason;

use crate::host::count_drop;
use crate::metric::cell::{Cell, Cells};
use crate::metric::label::set::LabelSet;
use crate::metric::number::GaugeValue;
use crate::metric::storage::Storage;
use crate::sync::AtomicU64;

/// A sum of differences, such as the jobs in a queue that many instances fill and empty.
///
/// Make one with [`up_down_counter!`](crate::up_down_counter!). Unlike a [`Gauge`](crate::Gauge)
/// with `merge: sum`, it keeps the differences of instances that have ended: one instance may add a
/// job and another one remove it.
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
    cells: Cells<L, V, 1>,
}

impl<L: LabelSet, V: GaugeValue> UpDownCounter<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { cells: Cells::new(storage.metric(hash, record)) }
    }

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> UpDownSeries<L, V> {
        UpDownSeries { cell: self.cells.with(values) }
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
#[must_use = "a series counts nothing by itself: call `.inc()` on it"]
pub struct UpDownSeries<L: LabelSet, V: GaugeValue> {
    cell: Cell<L, V, 1>,
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
    /// One that is infinite or NaN is dropped and counted, with the reason `invalid_value`.
    #[inline]
    pub fn add(&self, difference: V) {
        if !difference.is_finite() {
            return count_drop(GuestDropReason::InvalidValue);
        }
        if let Some([sum]) = self.cell.words() {
            Cell::<L, V, 1>::change(sum, |sum| sum.plus(difference));
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
        self.cell.get()
    }
}
