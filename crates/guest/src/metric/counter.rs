//! Counters, which only rise.

use crate::metric::cell::{Cell, Cells};
use crate::metric::label::set::LabelSet;
use crate::metric::number::CounterValue;
use crate::metric::storage::Storage;
use crate::sync::AtomicU64;

/// A number of events or an amount, which only rises.
///
/// Make one with [`counter!`](crate::counter!). `L` is its labels: none, one, or a tuple. `V` is
/// `u64`, or `f64` for amounts that are no integers.
///
/// ```
/// use wasmetry::{Counter, counter};
///
/// static REQUESTS: Counter = counter!("http_requests_total", "HTTP requests.");
/// static SPENT: Counter<(), f64> =
///     counter!("energy_joules_total", "Energy spent.", unit: joules, value: f64);
///
/// REQUESTS.inc();
/// REQUESTS.add(2);
/// assert_eq!(REQUESTS.get(), 3);
/// SPENT.add(0.25);
/// ```
#[must_use]
pub struct Counter<L: LabelSet = (), V: CounterValue = u64> {
    cells: Cells<L, V, 1>,
}

impl<L: LabelSet, V: CounterValue> Counter<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { cells: Cells::new(storage.metric(hash, record)) }
    }

    /// The series with these label values. Keep the result if the values do not change.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> CounterSeries<L, V> {
        CounterSeries { cell: self.cells.with(values) }
    }
}

impl<V: CounterValue> Counter<(), V> {
    /// Counts one event.
    #[inline]
    pub fn inc(&self) {
        self.with(()).inc();
    }

    /// Adds `n`; see [`CounterSeries::add`].
    #[inline]
    pub fn add(&self, n: V) {
        self.with(()).add(n);
    }

    /// The total of this instance.
    pub fn get(&self) -> V {
        self.with(()).get()
    }
}

/// One series of a [`Counter`].
#[must_use = "a series counts nothing by itself: call `.inc()` on it"]
pub struct CounterSeries<L: LabelSet, V: CounterValue> {
    cell: Cell<L, V, 1>,
}

impl<L: LabelSet, V: CounterValue> Clone for CounterSeries<L, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: LabelSet, V: CounterValue> Copy for CounterSeries<L, V> {}

impl<L: LabelSet, V: CounterValue> CounterSeries<L, V> {
    /// Counts one event.
    #[inline]
    pub fn inc(&self) {
        self.add(V::ONE);
    }

    /// Adds `n`.
    ///
    /// An `f64` that is negative, infinite or NaN is dropped and counted, with the reason
    /// `invalid_value`.
    #[inline]
    pub fn add(&self, n: V) {
        if let Some([total]) = self.cell.words() {
            n.add_to(total);
        }
    }

    /// Sets the total, as an observable counter does.
    #[inline]
    pub(crate) fn set(&self, total: V) {
        if let Some([word]) = self.cell.words() {
            total.store_in(word);
        }
    }

    /// The total of this instance.
    pub fn get(&self) -> V {
        self.cell.get()
    }
}
