//! Values that guests record by handles, until a snapshot merges them.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use wasmetry_abi::Kind;

use super::exemplar::{PendingExemplar, sole_observation};
use super::gauge::Reading;
use super::sum::count::GREATEST_INCREASE;
use crate::registry::family::FamilyInfo;
use crate::snapshot::number::Number;

/// The values that were added to one series since the last snapshot. All instances of a component
/// add to it, without a lock.
#[derive(Debug)]
pub(crate) struct Accumulator {
    kind: Kind,
    /// The hash of the metric.
    metric: u64,
    /// The row of the series.
    row: u32,
    /// `true` if the metric is withdrawn.
    is_withdrawn: AtomicBool,
    /// The family, for a histogram's bounds.
    family: Arc<FamilyInfo>,
    /// The sum of the whole numbers: a `u64`, or the `i64` of an up/down counter. For a histogram
    /// of durations, the sum of their nanoseconds.
    whole: AtomicU64,
    /// The sum of all other numbers, as the bits of an `f64`.
    fractions: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Accumulator {
    pub(super) fn new(kind: Kind, family: &Arc<FamilyInfo>, metric: u64, row: u32) -> Self {
        let buckets = match kind {
            Kind::HistogramF64 | Kind::HistogramNanos => family.bounds().len() + 1,
            _ => 0,
        };
        Self {
            kind,
            metric,
            row,
            is_withdrawn: AtomicBool::new(false),
            family: Arc::clone(family),
            whole: AtomicU64::new(0),
            fractions: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the bytes of the buckets.
    pub(super) fn bucket_bytes(&self) -> usize {
        size_of_val(&self.buckets[..])
    }

    /// Returns `true` if the metric is withdrawn, so that its values are dropped.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Relaxed)
    }

    pub(super) fn set_withdrawn(&self, is_withdrawn: bool) {
        self.is_withdrawn.store(is_withdrawn, Relaxed);
    }

    /// Adds to a counter or an up/down counter. Returns `false`, and adds nothing, if the amount is
    /// not finite, or is negative for a counter.
    pub(crate) fn add(&self, amount: f64) -> bool {
        // From 2⁶³ on, an amount does not fit in an `i64`.
        let is_whole = amount.fract() == 0.0 && amount.abs() < 9.2e18;
        match self.kind {
            _ if !amount.is_finite() => return false,
            Kind::UpDownF64 if is_whole => _ = self.whole.fetch_add((amount as i64).cast_unsigned(), Relaxed),
            Kind::UpDownF64 => add_float(&self.fractions, amount),
            _ if amount < 0.0 => return false,
            _ if is_whole => self.add_whole(amount as u64),
            _ => add_float(&self.fractions, amount),
        }
        true
    }

    /// Records a value of a histogram. Returns `false`, and records nothing, if the value is not
    /// finite, or is a duration that is negative or longer than 2⁶³ ns.
    pub(crate) fn observe(&self, value: f64) -> bool {
        let is_duration = self.kind == Kind::HistogramNanos;
        if !value.is_finite() || (is_duration && (value < 0.0 || nanos(value) > GREATEST_INCREASE)) {
            return false;
        }
        // The count comes first: `take` relies on it.
        if let Some(bucket) = self.buckets.get(self.bucket(value)) {
            bucket.fetch_add(1, Relaxed);
        }
        if is_duration {
            self.add_whole(nanos(value));
        } else {
            add_float(&self.fractions, value);
        }
        true
    }

    /// Returns a value that was recorded as an exemplar of its bucket.
    pub(crate) fn exemplar(&self, value: f64) -> PendingExemplar {
        PendingExemplar {
            metric: self.metric,
            row: self.row,
            bucket: self.bucket(value) as u32,
            value: self.number(value),
        }
    }

    fn number(&self, value: f64) -> Number {
        if self.kind == Kind::HistogramNanos { Number::Nanos(nanos(value)) } else { Number::Float(value) }
    }

    fn bucket(&self, value: f64) -> usize {
        sole_observation::bucket(self.family.bounds(), self.number(value))
    }

    fn add_whole(&self, amount: u64) {
        // Release pairs with the Acquire in `taken`.
        let _ = self.whole.fetch_update(Release, Relaxed, |sum| Some(sum.saturating_add(amount)));
    }

    /// Takes out all values: adds the counts of the buckets to `counts`, and returns the sums.
    pub(super) fn take(&self, counts: &mut [u64]) -> AccumulatedSums {
        // The sums are taken first. Acquire pairs with the Release of what adds to them: the counts
        // of their values are there.
        let sums = AccumulatedSums { whole: taken(&self.whole), fractions: f64::from_bits(taken(&self.fractions)) };
        for (count, added) in counts.iter_mut().zip(&self.buckets) {
            *count = count.saturating_add(taken(added));
        }
        sums
    }
}

/// The sums of the values that were taken out of an [`Accumulator`].
#[derive(Clone, Copy, Debug)]
pub(super) struct AccumulatedSums {
    /// The sum of the whole numbers: a `u64`, or the `i64` of an up/down counter. For a histogram
    /// of durations, the sum of their nanoseconds.
    pub(super) whole: u64,
    /// The sum of all other numbers.
    pub(super) fractions: f64,
}

/// Returns the nanoseconds of a number of seconds. The cast saturates, and adding a half rounds to
/// the nearest.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9 + 0.5) as u64
}

/// Replaces a word by 0 and returns it. Most words are 0 already.
fn taken(word: &AtomicU64) -> u64 {
    if word.load(Relaxed) == 0 { 0 } else { word.swap(0, Acquire) }
}

/// Adds to a sum, unless the result is NaN. A sum that overflows is infinite.
fn add_float(sum: &AtomicU64, term: f64) {
    // Release pairs with the Acquire in `taken`.
    let _ = sum.fetch_update(Release, Relaxed, |bits| {
        let next = f64::from_bits(bits) + term;
        (!next.is_nan()).then_some(next.to_bits())
    });
}

/// A gauge as one instance has set it by a handle.
#[derive(Debug, Default)]
pub(crate) struct GaugeCell {
    bits: AtomicU64,
    /// The order in which it was set among the reads of the component; 0 if it never was.
    order: AtomicU64,
    /// `true` if the metric is withdrawn.
    is_withdrawn: AtomicBool,
}

impl GaugeCell {
    /// Returns `true` if the metric is withdrawn, so that its values are dropped.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Relaxed)
    }

    pub(crate) fn set_withdrawn(&self, is_withdrawn: bool) {
        self.is_withdrawn.store(is_withdrawn, Relaxed);
    }

    /// Sets the gauge to a number that is not NaN.
    pub(crate) fn set(&self, value: f64, order: u64) {
        self.bits.store(value.to_bits(), Relaxed);
        // Release pairs with the Acquire in `reading`: the value is stored before it.
        self.order.store(order, Release);
    }

    pub(super) fn reading(&self) -> Option<Reading> {
        let order = self.order.load(Acquire);
        let value = f64::from_bits(self.bits.load(Relaxed));
        (order != 0).then_some(Reading { number: Number::Float(value), order })
    }
}
