//! Metrics that the host records itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::aggregate::exemplar::{Exemplar, Exemplars, SeriesExemplar};
use crate::record::TraceContext;
use crate::registry::family::FamilyInfo;
use crate::registry::owner::Labels;
use crate::registry::start_time::{Clock, StartTimes};
use crate::snapshot::labels::{LabelTable, LabelText, OVERFLOW};
use crate::snapshot::number::Number;
use crate::snapshot::{Block, Rows, Values};
use crate::{Identity, Rejected, limits};

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
        let bucket = self.cells.info.bounds.partition_point(|bound| *bound < value);
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
    use super::{Arc, FamilyInfo, SeriesExemplar, Values};

    pub trait Instrument: Clone + Send + Sync {
        fn new(info: &Arc<FamilyInfo>) -> Self;
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

/// An instrument of a [`Family`]: [`Counter`], [`FloatCounter`], [`Gauge`] and [`Histogram`].
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
        let counts = (0..=info.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            cells: Arc::new(HistogramCells {
                info: info.clone(),
                counts,
                sum: Amount::default(),
                exemplars: Mutex::default(),
            }),
        }
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

/// The series of one metric of the host. A clone is the same family.
pub struct Family<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.inner.info.name).field("keys", &self.inner.keys).finish()
    }
}

struct Inner<M> {
    info: Arc<FamilyInfo>,
    keys: Vec<String>,
    members: Mutex<Members<M>>,
    rejected: Option<Rejected>,
}

struct Members<M> {
    rows: HashMap<String, usize>,
    instruments: Vec<M>,
    labels: Arc<LabelTable>,
    start_times: StartTimes,
    /// The rows in the order of the output, each with its sort key.
    order: Vec<(Vec<String>, u32)>,
}

impl<M: Instrument> Family<M> {
    pub(crate) fn new(info: Arc<FamilyInfo>, keys: &[&str], clock: &Clock) -> Self {
        Self::with_rejection(info, keys, clock, None)
    }

    /// Creates a family that is not exported.
    pub(crate) fn new_rejected(info: Arc<FamilyInfo>, keys: &[&str], clock: &Clock, rejected: Rejected) -> Self {
        Self::with_rejection(info, keys, clock, Some(rejected))
    }

    fn with_rejection(info: Arc<FamilyInfo>, keys: &[&str], clock: &Clock, rejected: Option<Rejected>) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let start_times = if info.kind.has_start_time() { StartTimes::new(clock, true) } else { StartTimes::Unknown };
        let members = Mutex::new(Members { start_times, ..Members::default() });
        Self { inner: Arc::new(Inner { info, keys, members, rejected }) }
    }

    /// The reason why the family is not exported, if it is not.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.inner.rejected.as_ref()
    }

    /// Returns the series with these values of the family's keys, which is made if there is none.
    /// Keep the handle if it is used often.
    ///
    /// An empty or missing value is a label that is absent. Beyond
    /// [`limits::SERIES_PER_HOST_FAMILY`] series, each further one is the series whose labels are
    /// all `overflow`.
    pub fn with(&self, values: &[&str]) -> M {
        let mut members = self.inner.members.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.render(values);
        if let Some(row) = members.rows.get(&text) {
            return members.instruments[*row].clone();
        }
        if members.instruments.len() < limits::SERIES_PER_HOST_FAMILY {
            return self.insert(&mut members, values, text);
        }
        let values = vec![OVERFLOW; self.inner.keys.len()];
        let text = self.render(&values);
        match members.rows.get(&text) {
            Some(row) => members.instruments[*row].clone(),
            None => self.insert(&mut members, &values, text),
        }
    }

    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        self.inner.keys == keys
    }

    /// Returns the current values of the family.
    pub(crate) fn collect(&self) -> (Arc<FamilyInfo>, Block) {
        let members = self.inner.members.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<u32> = members.order.iter().map(|(_, row)| *row).collect();
        let instruments = || rows.iter().map(|row| &members.instruments[*row as usize]);
        let (values, exemplars) = (M::values(instruments()), M::exemplars(instruments()));
        let (labels, rows) = (members.labels.clone(), Rows::Some(rows));
        let created = members.start_times.of(&rows);
        (self.inner.info.clone(), Block { labels, rows, values, created, exemplars })
    }

    /// Removes the series that have all these labels. Handles of them record, but are not exported.
    pub(crate) fn remove(&self, labels: &Labels) {
        let keys: Option<Vec<(usize, &String)>> =
            labels.iter().map(|(key, value)| Some((self.sort_index(key)?, value))).collect();
        let Some(keys) = keys else { return };
        let mut members = self.inner.members.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |sort_key: &[String]| {
            keys.iter().any(|(at, value)| sort_key.get(*at).map_or("", String::as_str) != value.as_str())
        };
        if members.order.iter().all(|(sort_key, _)| is_kept(sort_key)) {
            return;
        }
        let Members { instruments, labels, start_times, order, .. } = std::mem::take(&mut *members);
        let kept: Vec<_> = order.into_iter().filter(|(sort_key, _)| is_kept(sort_key)).collect();
        members.start_times = start_times.only(kept.iter().map(|(_, row)| *row as usize));
        for (sort_key, row) in kept {
            let text = labels.row(row as usize);
            members.push(sort_key, text, instruments[row as usize].clone());
        }
    }

    fn render(&self, values: &[&str]) -> String {
        let mut text = LabelText::default();
        for (key, value) in self.inner.keys.iter().zip(values) {
            text.label(key, value);
        }
        text.finish()
    }

    fn insert(&self, members: &mut Members<M>, values: &[&str], text: String) -> M {
        let instrument = M::new(&self.inner.info);
        members.push(self.sort_key(values), &text, instrument.clone());
        instrument
    }

    /// Returns the sort key of a series: its identity in the order of [`Identity`], then its other
    /// labels.
    fn sort_key(&self, values: &[&str]) -> Vec<String> {
        let keys = || self.inner.keys.iter().zip(values);
        let identity = IDENTITY_ORDER.map(|identity| {
            keys().find(|(key, _)| *key == identity).map_or_else(String::new, |(_, value)| (*value).to_owned())
        });
        let others = keys().filter(|(key, _)| !Identity::KEYS.contains(&key.as_str()));
        identity.into_iter().chain(others.map(|(_, value)| (*value).to_owned())).collect()
    }

    /// Returns the index of a label in the [`sort_key`](Self::sort_key).
    fn sort_index(&self, key: &str) -> Option<usize> {
        let keys = &self.inner.keys;
        if !keys.iter().any(|own| own == key) {
            return None;
        }
        IDENTITY_ORDER.into_iter().position(|identity| identity == key).or_else(|| {
            let mut others = keys.iter().filter(|key| !Identity::KEYS.contains(&key.as_str()));
            others.position(|own| own == key).map(|at| IDENTITY_ORDER.len() + at)
        })
    }
}

/// The keys of an identity in the order of the output.
const IDENTITY_ORDER: [&str; 3] = ["tenant", "component", "version"];

impl<M> Members<M> {
    fn push(&mut self, sort_key: Vec<String>, text: &str, instrument: M) {
        let row = Arc::make_mut(&mut self.labels).push(text);
        self.instruments.push(instrument);
        self.start_times.resize(row + 1);
        self.rows.insert(text.to_owned(), row);
        let at = self.order.partition_point(|(other, _)| *other < sort_key);
        self.order.insert(at, (sort_key, row as u32));
    }
}

impl<M> Default for Members<M> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            instruments: Vec::new(),
            labels: Arc::default(),
            start_times: StartTimes::Unknown,
            order: Vec::new(),
        }
    }
}

/// A family of any instrument.
#[derive(Clone, Debug)]
pub(crate) enum AnyFamily {
    Counter(Family<Counter>),
    FloatCounter(Family<FloatCounter>),
    Gauge(Family<Gauge>),
    Histogram(Family<Histogram>),
}

impl AnyFamily {
    pub(crate) fn collect(&self) -> (Arc<FamilyInfo>, Block) {
        match self {
            Self::Counter(family) => family.collect(),
            Self::FloatCounter(family) => family.collect(),
            Self::Gauge(family) => family.collect(),
            Self::Histogram(family) => family.collect(),
        }
    }
    pub(crate) fn remove(&self, labels: &Labels) {
        match self {
            Self::Counter(family) => family.remove(labels),
            Self::FloatCounter(family) => family.remove(labels),
            Self::Gauge(family) => family.remove(labels),
            Self::Histogram(family) => family.remove(labels),
        }
    }
}
