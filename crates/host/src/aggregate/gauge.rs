//! How gauges of several instances become one.

use std::cmp::Ordering;
use std::time::Duration;

use wasmetry_abi::{Kind, Merge};

use crate::limits;
use crate::snapshot::number::Number;

/// One instance's value of a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) number: Number,
    /// Which read has found it set: a later one is greater.
    pub(crate) order: u64,
}

impl Reading {
    /// Combines the readings of two instances.
    pub(crate) fn merge(self, other: Self, rule: Merge) -> Self {
        match rule {
            Merge::Sum => Self { number: sum(self.number, other.number), order: self.order.max(other.order) },
            _ if other.beats(self, rule) => other,
            _ => self,
        }
    }

    fn beats(self, other: Self, rule: Merge) -> bool {
        match rule {
            Merge::Max => compare(self.number, other.number) == Ordering::Greater,
            Merge::Min => compare(self.number, other.number) == Ordering::Less,
            Merge::Sum | Merge::Last => self.order > other.order,
        }
    }
}

/// The number in a gauge's first word, unless it is none.
pub(crate) fn number(kind: Kind, word: u64) -> Option<Number> {
    match kind {
        Kind::GaugeI64 => Some(Number::Signed(word.cast_signed())),
        _ => Some(f64::from_bits(word)).filter(|value| !value.is_nan()).map(Number::Float),
    }
}

fn sum(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Signed(a), Number::Signed(b)) => Number::Signed(a.saturating_add(b)),
        (a, b) => Number::Float(a.as_f64() + b.as_f64()),
    }
}

fn compare(a: Number, b: Number) -> Ordering {
    match (a, b) {
        (Number::Signed(a), Number::Signed(b)) => a.cmp(&b),
        (a, b) => a.as_f64().total_cmp(&b.as_f64()),
    }
}

/// What instances that have ended leave of one gauge series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retained {
    values: Vec<(Reading, Duration)>,
}

impl Retained {
    /// Keeps the reading of an instance that has ended at `ended`.
    pub(crate) fn keep(&mut self, reading: Reading, ended: Duration, rule: Merge) {
        if rule == Merge::Sum {
            return;
        }
        // What is older and does not win can never show again.
        self.values.retain(|(other, since)| {
            let is_past = *since <= ended && !other.beats(reading, rule);
            !is_past && !is_expired(*since, ended)
        });
        if self.values.iter().any(|(other, since)| *since >= ended && !reading.beats(*other, rule)) {
            return;
        }
        if self.values.len() < limits::RETAINED_VALUES {
            self.values.push((reading, ended));
        } else if let Some((_, since)) = self.values.last_mut() {
            // The next better one stands for it, a little longer than it should.
            *since = ended.max(*since);
        }
    }

    /// What is left at `now`.
    pub(crate) fn reading(&self, now: Duration, rule: Merge) -> Option<Reading> {
        let kept = self.values.iter().filter(|(_, since)| !is_expired(*since, now));
        kept.map(|(reading, _)| *reading).reduce(|a, b| a.merge(b, rule))
    }
}

fn is_expired(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) > limits::GAUGE_RETENTION
}
