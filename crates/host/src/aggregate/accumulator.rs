//! What guests have recorded by handles and is not in the totals yet.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use wasmetry_abi::Kind;

use crate::aggregate::exemplar::PendingExemplar;
use crate::aggregate::gauge::Reading;
use crate::registry::family::FamilyInfo;
use crate::snapshot::number::Number;

/// What was added to one series since the last snapshot. All instances of a component add here, without a lock.
#[derive(Debug)]
pub(crate) struct Accumulator {
    kind: Kind,
    /// The metric, by its hash, and the row of the series.
    metric: u64,
    row: u32,
    /// Whether the metric is not shown any more.
    is_withdrawn: AtomicBool,
    /// The histogram's bounds.
    family: Arc<FamilyInfo>,
    /// Whole amounts: an unsigned number, or an up/down counter's signed one; of a histogram of durations, their nanoseconds.
    whole: AtomicU64,
    /// The sum of all others, as its bits.
    part: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Accumulator {
    pub(crate) fn new(kind: Kind, family: &Arc<FamilyInfo>, metric: u64, row: u32) -> Self {
        let buckets = match kind {
            Kind::HistogramF64 | Kind::HistogramNanos => family.bounds.len() + 1,
            _ => 0,
        };
        Self {
            kind,
            metric,
            row,
            is_withdrawn: AtomicBool::new(false),
            family: Arc::clone(family),
            whole: AtomicU64::new(0),
            part: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether what is recorded is lost, as another metric has the name.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Relaxed)
    }

    pub(crate) fn set_withdrawn(&self, is_withdrawn: bool) {
        self.is_withdrawn.store(is_withdrawn, Relaxed);
    }

    /// Adds to a counter or an up/down counter; says no, and adds nothing, where it cannot be.
    pub(crate) fn add(&self, amount: f64) -> bool {
        // What is not below 2⁶³ is no number of events.
        let is_whole = amount.fract() == 0.0 && amount.abs() < 9.2e18;
        match self.kind {
            _ if !amount.is_finite() => return false,
            Kind::UpDownF64 if is_whole => _ = self.whole.fetch_add((amount as i64).cast_unsigned(), Relaxed),
            Kind::UpDownF64 => add_float(&self.part, amount),
            _ if amount < 0.0 => return false,
            _ if is_whole => self.add_whole(amount as u64),
            _ => add_float(&self.part, amount),
        }
        true
    }

    /// Counts a value in its bucket; says no, and counts nothing, where it cannot be.
    pub(crate) fn observe(&self, value: f64) -> bool {
        let is_duration = self.kind == Kind::HistogramNanos;
        if !value.is_finite() || (is_duration && value < 0.0) {
            return false;
        }
        // The count comes first, as the sum may request it; see `take`.
        if let Some(bucket) = self.buckets.get(self.bucket(value)) {
            bucket.fetch_add(1, Relaxed);
        }
        if is_duration {
            self.add_whole(nanos(value));
        } else {
            add_float(&self.part, value);
        }
        true
    }

    /// A value that was counted, as an exemplar of its bucket.
    pub(crate) fn candidate(&self, value: f64) -> PendingExemplar {
        let is_duration = self.kind == Kind::HistogramNanos;
        let number = if is_duration { Number::Nanos(nanos(value)) } else { Number::Float(value) };
        PendingExemplar { metric: self.metric, row: self.row, bucket: self.bucket(value) as u32, value: number }
    }

    /// The bucket of a value; of a duration, that of its nanoseconds.
    fn bucket(&self, value: f64) -> usize {
        let value = if self.kind == Kind::HistogramNanos { nanos(value) as f64 / 1e9 } else { value };
        self.family.bounds.partition_point(|bound| *bound < value)
    }

    fn add_whole(&self, amount: u64) {
        // Release pairs with the Acquire in `taken`.
        let _ = self.whole.fetch_update(Release, Relaxed, |sum| Some(sum.saturating_add(amount)));
    }

    /// Moves everything to the words of the series, but the sum of what is not whole, which is returned.
    pub(super) fn take(&self, words: &mut [u64]) -> f64 {
        let (whole, buckets) = words.split_at_mut(1);
        // The sum is taken first, and Acquire pairs with the Release of what adds to it: the counts of its values are there.
        let (added, part) = (taken(&self.whole), taken(&self.part));
        for (bucket, pending) in buckets.iter_mut().zip(&self.buckets) {
            *bucket = bucket.saturating_add(taken(pending));
        }
        whole[0] =
            if self.kind == Kind::UpDownF64 { whole[0].wrapping_add(added) } else { whole[0].saturating_add(added) };
        f64::from_bits(part)
    }
}

/// A number of seconds that is not negative in nanoseconds: the cast saturates, and adding a half rounds to the nearest.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9 + 0.5) as u64
}

/// What was in a word, which is 0 then; that of most is 0 already.
fn taken(word: &AtomicU64) -> u64 {
    if word.load(Relaxed) == 0 { 0 } else { word.swap(0, Acquire) }
}

/// Adds to a sum, unless it would be no number any more.
fn add_float(sum: &AtomicU64, term: f64) {
    // Release pairs with the Acquire in `taken`.
    let _ = sum.fetch_update(Release, Relaxed, |bits| {
        let next = f64::from_bits(bits) + term;
        next.is_finite().then_some(next.to_bits())
    });
}

/// A gauge as one instance has set it.
#[derive(Debug, Default)]
pub(crate) struct GaugeCell {
    bits: AtomicU64,
    /// When it was set, in the order of the component; 0 for never.
    order: AtomicU64,
    /// Whether the metric is not shown any more.
    is_withdrawn: AtomicBool,
}

impl GaugeCell {
    /// Whether what is set is lost, as another metric has the name.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Relaxed)
    }

    pub(crate) fn set_withdrawn(&self, is_withdrawn: bool) {
        self.is_withdrawn.store(is_withdrawn, Relaxed);
    }

    /// Sets the gauge to a number that is not NaN.
    pub(crate) fn set(&self, value: f64, order: u64) {
        self.bits.store(value.to_bits(), Relaxed);
        // Release pairs with the Acquire in `reading`: the value comes before it.
        self.order.store(order, Release);
    }

    pub(super) fn reading(&self) -> Option<Reading> {
        let order = self.order.load(Acquire);
        let value = f64::from_bits(self.bits.load(Relaxed));
        (order != 0).then_some(Reading { number: Number::Float(value), order })
    }
}
