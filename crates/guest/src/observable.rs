use core::marker::PhantomData;

use crate::counter::Counter;
use crate::gauge::Gauge;
use crate::label::LabelSet;
use crate::observer::Observer;
use crate::region::{Metric, Storage};
use crate::sync::AtomicU64;
use crate::value::{CounterValue, GaugeValue};

/// A gauge that a function sets when a host is about to look, such as the connections in a pool.
///
/// Make one with [`observable_gauge!`](crate::observable_gauge!), and [`register`](Self::register) it. `L` is its labels; `V` is
/// `f64` or `i64`.
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
/// The function runs at the end of each [`handler`](macro@crate::handler), in [`publish`](crate::publish), and in a core module
/// when its host asks, which it does between calls; a capture of `wasmetry::testing` runs it when it is asked what was recorded.
/// What a host shows is the value of the last time.
///
/// The function may record, log and call the host. It does not run within another one, nor in
/// [`without_host_calls`](crate::without_host_calls). Other requests of the instance may be waiting meanwhile, so it should
/// borrow nothing that they hold while they wait; where it panics, the guest traps.
#[must_use = "a function is called once its metric is registered: write `.register()` behind it"]
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

    /// Has the gauge observed from now on, as long as the instance lives.
    ///
    /// Call it where the instance begins its work, or at each request: a second time, it is one load and one branch. A gauge that
    /// is not registered is never there, and a guest that registers none pays nothing for those that could be.
    #[inline]
    pub fn register(&self) {
        self.observer.register();
    }
}

impl<V: GaugeValue> ObservableGauge<(), V> {
    /// This instance's value when it was observed last; 0 before.
    pub fn get(&self) -> V {
        self.gauge.get()
    }
}

/// A counter whose totals a function takes from where they are counted already, when a host is about to look.
///
/// Make one with [`observable_counter!`](crate::observable_counter!), and [`register`](Self::register) it. `L` is its labels; `V`
/// is `u64` or `f64`. When its function runs, [`ObservableGauge`] says.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use wasmetry::{ObservableCounter, observable_counter};
///
/// /// Kept by a library that knows nothing of wasmetry.
/// static HITS: AtomicU64 = AtomicU64::new(0);
///
/// static CACHE_HITS: ObservableCounter =
///     observable_counter!("cache_hits_total", "Hits of the cache.", observe: || HITS.load(Ordering::Relaxed));
///
/// CACHE_HITS.register();
/// HITS.fetch_add(3, Ordering::Relaxed);
/// wasmetry::publish();
/// assert_eq!(CACHE_HITS.get(), 3);
/// ```
#[must_use = "a function is called once its metric is registered: write `.register()` behind it"]
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
        self.observer.register();
    }
}

impl<V: CounterValue> ObservableCounter<(), V> {
    /// This instance's total when it was observed last; 0 before.
    pub fn get(&self) -> V {
        self.counter.get()
    }
}

/// What the function of an [`ObservableCounter`] with labels sets its totals by.
pub struct Totals<L: LabelSet, V: CounterValue> {
    metric: Metric<L>,
    value: PhantomData<V>,
}

impl<L: LabelSet, V: CounterValue> Totals<L, V> {
    #[doc(hidden)]
    pub const fn from_storage(storage: &'static Storage<L, AtomicU64>, hash: u64, record: &'static [u8]) -> Self {
        Self { metric: storage.metric(hash, record), value: PhantomData }
    }

    /// The series with these label values.
    #[inline]
    pub fn with(&self, values: L::Values<'_>) -> TotalSeries<L, V> {
        TotalSeries { metric: self.metric, words: self.metric.series(1, values), value: PhantomData }
    }
}

/// One series of an [`ObservableCounter`].
#[must_use = "a series that is only named records nothing: write `.set(…)` behind it"]
pub struct TotalSeries<L: LabelSet, V: CounterValue> {
    metric: Metric<L>,
    words: &'static [AtomicU64],
    value: PhantomData<V>,
}

impl<L: LabelSet, V: CounterValue> TotalSeries<L, V> {
    /// Sets the total since the instance began.
    ///
    /// A total that falls is no counter's: hosts count it as an offence, `decrease`, and add nothing for it. Of an `f64`, what is
    /// negative, infinite or NaN is lost, with the reason `invalid_value`.
    #[inline]
    pub fn set(&self, total: V) {
        self.metric.touch();
        if let [value] = self.words {
            total.store_in(value);
        }
    }
}
