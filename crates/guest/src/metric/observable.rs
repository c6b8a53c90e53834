//! Metrics that a function sets when the host is about to read them.

use crate::host::observer::Observer;
use crate::host::register_observer;
use crate::metric::counter::{Counter, CounterSeries};
use crate::metric::gauge::Gauge;
use crate::metric::label::set::LabelSet;
use crate::metric::number::{CounterValue, GaugeValue};
use crate::metric::storage::Storage;
use crate::sync::AtomicU64;

/// A gauge that a function sets when the host is about to read it, such as the connections in a
/// pool.
///
/// Make one with [`observable_gauge!`](crate::observable_gauge!), and [`register`](Self::register)
/// it. `L` is its labels; `V` is `f64` or `i64`.
///
/// ```
/// use std::sync::Mutex;
/// use wasmetry::{ObservableGauge, observable_gauge};
///
/// static POOL: Mutex<Vec<u32>> = Mutex::new(Vec::new());
///
/// static CONNECTIONS: ObservableGauge<(), i64> = observable_gauge!(
///     "db_pool_connections",
///     "Connections in the pool.",
///     value: i64,
///     observe: || POOL.lock().unwrap().len() as i64,
/// );
///
/// #[wasmetry::handler]
/// fn handle() {
///     CONNECTIONS.register();
///     POOL.lock().unwrap().push(1);
/// }
///
/// handle();
/// assert_eq!(CONNECTIONS.get(), 1);
/// ```
///
/// The function runs at the end of each [`handler`](macro@crate::handler), in
/// [`publish`](crate::publish), when a guest with WASI ends or exits, and in a core module when its
/// host asks, which it does between calls. A capture of `wasmetry::testing` runs it when a test
/// asks for metrics. The host shows the value of the last run.
///
/// The function may record, log and call the host. It does not run within another one, nor in
/// [`without_host_calls`](crate::without_host_calls). Other requests of the instance may be waiting
/// meanwhile, so it should borrow nothing that they hold while they wait. If it panics, the guest
/// traps.
#[must_use = "an observable metric is observed once it is registered: call `.register()` on it"]
pub struct ObservableGauge<L: LabelSet = (), V: GaugeValue = f64> {
    gauge: Gauge<L, V>,
    observer: &'static Observer,
}

impl<L: LabelSet, V: GaugeValue> ObservableGauge<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(
        storage: &'static Storage<L, [AtomicU64; 2]>,
        hash: u64,
        record: &'static [u8],
        observer: &'static Observer,
    ) -> Self {
        Self { gauge: Gauge::from_storage(storage, hash, record), observer }
    }

    /// Has the gauge observed from now on, for the rest of the instance's life.
    ///
    /// Call it at the start of the instance's work, or in each request: the second call is one load
    /// and one branch. A gauge that is not registered has no series, and costs nothing.
    #[inline]
    pub fn register(&self) {
        register_observer(self.observer);
    }
}

impl<V: GaugeValue> ObservableGauge<(), V> {
    /// This instance's value at the last observation; 0 before.
    pub fn get(&self) -> V {
        self.gauge.get()
    }
}

/// A counter whose total a function takes from another source when the host is about to read it.
///
/// Make one with [`observable_counter!`](crate::observable_counter!), and
/// [`register`](Self::register) it. `L` is its labels; `V` is `u64` or `f64`. Its function runs at
/// the same times as that of an [`ObservableGauge`].
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use wasmetry::{ObservableCounter, observable_counter};
///
/// /// Kept by a library that does not use wasmetry.
/// static HITS: AtomicU64 = AtomicU64::new(0);
///
/// static CACHE_HITS: ObservableCounter = observable_counter!(
///     "cache_hits_total",
///     "Hits of the cache.",
///     observe: || HITS.load(Ordering::Relaxed),
/// );
///
/// CACHE_HITS.register();
/// HITS.fetch_add(3, Ordering::Relaxed);
/// wasmetry::publish();
/// assert_eq!(CACHE_HITS.get(), 3);
/// ```
#[must_use = "an observable metric is observed once it is registered: call `.register()` on it"]
pub struct ObservableCounter<L: LabelSet = (), V: CounterValue = u64> {
    counter: Counter<L, V>,
    observer: &'static Observer,
}

impl<L: LabelSet, V: CounterValue> ObservableCounter<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(
        storage: &'static Storage<L, AtomicU64>,
        hash: u64,
        record: &'static [u8],
        observer: &'static Observer,
    ) -> Self {
        Self { counter: Counter::from_storage(storage, hash, record), observer }
    }

    /// Has the counter observed from now on; see [`ObservableGauge::register`].
    #[inline]
    pub fn register(&self) {
        register_observer(self.observer);
    }
}

impl<V: CounterValue> ObservableCounter<(), V> {
    /// This instance's total at the last observation; 0 before.
    pub fn get(&self) -> V {
        self.counter.get()
    }
}

/// The series of an [`ObservableCounter`] with labels, for its function to set.
pub struct Totals<L: LabelSet, V: CounterValue> {
    counter: Counter<L, V>,
}

impl<L: LabelSet, V: CounterValue> Totals<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { counter: Counter::from_storage(storage, hash, record) }
    }

    /// The series with these label values.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> TotalSeries<L, V> {
        TotalSeries { series: self.counter.with(values) }
    }
}

/// One series of an [`ObservableCounter`].
#[must_use = "a series sets nothing by itself: call `.set(…)` on it"]
pub struct TotalSeries<L: LabelSet, V: CounterValue> {
    series: CounterSeries<L, V>,
}

impl<L: LabelSet, V: CounterValue> TotalSeries<L, V> {
    /// Sets the total since the instance began.
    ///
    /// A total must not fall: the host drops a decrease and counts it with the reason `decrease`.
    /// An `f64` that is negative, infinite or NaN is dropped and counted, with the reason
    /// `invalid_value`.
    #[inline]
    pub fn set(&self, total: V) {
        self.series.set(total);
    }
}
