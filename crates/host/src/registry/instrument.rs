//! Metrics that the host records itself: [`family`] has their series.

pub(crate) mod family;
pub(crate) mod index;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::aggregate::exemplar::{Exemplar, Exemplars, SeriesExemplar};
use crate::record::TraceContext;
use crate::registry::family::FamilyInfo;
use crate::snapshot::labels::ALLOCATION;
use crate::snapshot::number::Number;
use crate::snapshot::{Rows, Values};

/// A counter of the host. A clone counts in the same series.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    value: Arc<AtomicU64>,
}

impl Counter {
    /// Counts one event.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n` events. The count stops at its greatest value.
    pub fn add(&self, n: u64) {
        let _ = self.value.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_add(n)));
    }

    /// Counts `n` events. Returns `true` if they are the first ones.
    pub(crate) fn add_first(&self, n: u64) -> bool {
        let before = self.value.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_add(n)));
        n > 0 && before == Ok(0)
    }

    /// The events counted so far.
    pub fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

/// A counter of an amount, such as seconds. A clone counts in the same series.
#[derive(Clone, Debug, Default)]
pub struct FloatCounter {
    amount: Arc<Amount>,
}

impl FloatCounter {
    /// Adds an amount. A negative amount or NaN is ignored.
    pub fn add(&self, amount: f64) {
        if amount >= 0.0 {
            self.amount.add(amount);
        }
    }

    /// Adds a duration to a counter of seconds, exactly.
    pub fn add_nanos(&self, nanos: u64) {
        self.amount.add_nanos(nanos);
    }
}

/// A gauge of the host. A clone is the same series.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Sets the gauge.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Relaxed);
    }

    /// Adds a difference, which may be negative.
    pub fn add(&self, difference: i64) {
        add_float(&self.bits, difference as f64);
    }
}

/// A histogram of the host. A clone is the same series.
#[derive(Clone, Debug)]
pub struct Histogram {
    cells: Arc<HistogramCells>,
}

#[derive(Debug)]
struct HistogramCells {
    info: Arc<FamilyInfo>,
    counts: Vec<AtomicU64>,
    sum: Amount,
    exemplars: Mutex<Exemplars>,
}

impl Histogram {
    /// Records a value. NaN is ignored.
    pub fn observe(&self, value: f64) {
        if !value.is_nan() {
            self.cells.sum.add(value);
            self.count(value);
        }
    }

    /// Records a duration in a histogram of seconds. The sum of durations is exact.
    pub fn observe_nanos(&self, nanos: u64) {
        self.cells.sum.add_nanos(nanos);
        self.count(nanos as f64 / 1e9);
    }

    /// Records a duration as [`observe_nanos`](Self::observe_nanos) does, and keeps it as its
    /// bucket's exemplar.
    ///
    /// `context` is the span in which it was observed, which must be exported. `time` is the wall
    /// clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub fn observe_nanos_in(&self, nanos: u64, context: TraceContext, time: u64) {
        self.cells.sum.add_nanos(nanos);
        let bucket = self.count(nanos as f64 / 1e9);
        let mut exemplars = self.cells.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        exemplars.keep(0, bucket as u32, Exemplar::new(Number::Nanos(nanos), context, time), || true);
    }

    /// Counts a value and returns its bucket.
    fn count(&self, value: f64) -> usize {
        let bucket = self.cells.info.bounds().partition_point(|bound| *bound < value);
        self.cells.counts[bucket].fetch_add(1, Relaxed);
        bucket
    }
}

/// A sum of durations, which is exact, and of other amounts.
#[derive(Debug, Default)]
struct Amount {
    nanos: AtomicU64,
    bits: AtomicU64,
}

impl Amount {
    fn add(&self, amount: f64) {
        add_float(&self.bits, amount);
    }

    fn add_nanos(&self, nanos: u64) {
        let _ = self.nanos.fetch_update(Relaxed, Relaxed, |sum| Some(sum.saturating_add(nanos)));
    }

    fn get(&self) -> Number {
        let (nanos, other) = (self.nanos.load(Relaxed), f64::from_bits(self.bits.load(Relaxed)));
        if other == 0.0 { Number::Nanos(nanos) } else { Number::Float(other + nanos as f64 / 1e9) }
    }
}

fn add_float(bits: &AtomicU64, difference: f64) {
    let _ = bits.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + difference).to_bits()));
}

mod sealed {
    use super::{ALLOCATION, Arc, FamilyInfo, SeriesExemplar, Values};

    pub trait Instrument: Clone + Send + Sync {
        fn new(info: &Arc<FamilyInfo>) -> Self;
        /// Returns the approximate bytes of an instrument of a family.
        fn memory(_: &FamilyInfo) -> usize {
            size_of::<Self>() + 2 * ALLOCATION
        }
        /// Returns the values of these instruments, in their order.
        fn values<'a>(all: impl Iterator<Item = &'a Self>) -> Values
        where
            Self: 'a;
        /// Returns the exemplars of these instruments, by their indices.
        fn exemplars<'a>(_all: impl Iterator<Item = &'a Self>) -> Vec<SeriesExemplar>
        where
            Self: 'a,
        {
            Vec::new()
        }
    }
}

/// An instrument of a [`Family`](family::Family): [`Counter`], [`FloatCounter`], [`Gauge`] and
/// [`Histogram`].
pub trait Instrument: sealed::Instrument {}

impl<M: sealed::Instrument> Instrument for M {}

impl sealed::Instrument for Counter {
    fn new(_: &Arc<FamilyInfo>) -> Self {
        Self::default()
    }

    fn values<'a>(all: impl Iterator<Item = &'a Self>) -> Values {
        Values::Unsigned(all.map(Self::get).collect())
    }
}

impl sealed::Instrument for FloatCounter {
    fn new(_: &Arc<FamilyInfo>) -> Self {
        Self::default()
    }

    fn values<'a>(all: impl Iterator<Item = &'a Self>) -> Values {
        Values::Numbers(all.map(|counter| counter.amount.get()).collect())
    }
}

impl sealed::Instrument for Gauge {
    fn new(_: &Arc<FamilyInfo>) -> Self {
        Self::default()
    }

    fn values<'a>(all: impl Iterator<Item = &'a Self>) -> Values {
        Values::Numbers(all.map(|gauge| Number::Float(f64::from_bits(gauge.bits.load(Relaxed)))).collect())
    }
}

impl sealed::Instrument for Histogram {
    fn new(info: &Arc<FamilyInfo>) -> Self {
        let counts = (0..=info.bounds().len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            cells: Arc::new(HistogramCells {
                info: info.clone(),
                counts,
                sum: Amount::default(),
                exemplars: Mutex::default(),
            }),
        }
    }

    fn memory(info: &FamilyInfo) -> usize {
        // Each bucket may have an exemplar.
        let bucket = size_of::<AtomicU64>() + Exemplars::BYTES;
        size_of::<Self>() + size_of::<HistogramCells>() + 2 * ALLOCATION + bucket * (info.bounds().len() + 1)
    }

    fn values<'a>(all: impl Iterator<Item = &'a Self>) -> Values {
        let (mut counts, mut sums) = (Vec::new(), Vec::new());
        for histogram in all {
            counts.extend(histogram.cells.counts.iter().map(|count| count.load(Relaxed)));
            sums.push(histogram.cells.sum.get());
        }
        Values::Histograms { counts, sums }
    }

    fn exemplars<'a>(all: impl Iterator<Item = &'a Self>) -> Vec<SeriesExemplar> {
        let mut shown = Vec::new();
        for (index, histogram) in all.enumerate() {
            let exemplars = histogram.cells.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
            shown.extend(exemplars.of(&Rows::All).into_iter().map(|exemplar| SeriesExemplar { index, ..exemplar }));
        }
        shown
    }
}
