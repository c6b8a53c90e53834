//! Finding values: a series that has one value more than when it was read last has had that value, and its sum tells it.

use wasmetry_abi::Kind;

use super::cell::GREATEST_INCREASE;
use super::{Aggregate, EntryBytes, exponential};
use crate::FamilyKind;
use crate::memory::region::words;
use crate::snapshot::number::Number;

/// What a sum that was rounded may be off by, as a part of the value that is taken from it.
const PRECISION: f64 = 1e-6;

/// Decimals with which a value is looked for.
const DECIMALS: usize = 15;

/// A value that was the only one of its series since the last read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoleObservation {
    /// The series' position in the entry.
    pub(crate) position: usize,
    /// The bucket, by its index among the family's bounds.
    pub(crate) bucket: u32,
    pub(crate) value: Number,
}

impl Aggregate {
    /// The values of an entry that were the only ones of their series since an instance remembered these words, or ever
    /// where it has none; call it before they are merged.
    pub(crate) fn singles(&self, entry: EntryBytes<'_>, memory: Option<&[u64]>) -> Vec<SoleObservation> {
        let kind = self.metric.kind;
        if self.family.kind != FamilyKind::Histogram {
            return Vec::new();
        }
        let bounds = &self.family.bounds;
        let single = |(position, cells): (usize, &[u8])| {
            let memory = memory.and_then(|memory| memory.get(position * self.words..(position + 1) * self.words));
            let value = if kind.is_exponential() {
                let shape = exponential::Shape::of(&self.metric, &self.family);
                exponential::single(EntryBytes { cells, ..entry }, memory, shape)?
            } else {
                single(kind, cells, memory, bounds)?
            };
            Some(SoleObservation { position, bucket: bucket(bounds, value) as u32, value })
        };
        entry.cells.chunks_exact(self.words * 8).enumerate().filter_map(single).collect()
    }
}

/// The bucket under whose bound a value is shown.
fn bucket(bounds: &[f64], value: Number) -> usize {
    let value = value.as_f64();
    bounds.partition_point(|bound| *bound < value)
}

/// The only new value of a series with explicit bounds.
fn single(kind: Kind, cells: &[u8], memory: Option<&[u64]>, bounds: &[f64]) -> Option<Number> {
    let last = |at: usize| memory.and_then(|memory| memory.get(at)).copied().unwrap_or(0);
    let mut words = words(cells);
    let sum = words.next()?;
    let mut risen = None;
    for (at, count) in words.enumerate() {
        match count.wrapping_sub(last(at + 1)) {
            0 => {}
            1 if risen.is_none() => risen = Some(at),
            _ => return None,
        }
    }
    let value = added(kind, sum, last(0))?;
    // A guest that was read between its two stores, or that lies, has a sum that is another value's.
    (risen? == bucket(bounds, value)).then_some(value)
}

/// What was added to a sum, if it tells.
pub(super) fn added(kind: Kind, sum: u64, last: u64) -> Option<Number> {
    if matches!(kind, Kind::HistogramNanos | Kind::ExponentialNanos) {
        let nanos = sum.wrapping_sub(last);
        return (nanos <= GREATEST_INCREASE).then_some(Number::Nanos(nanos));
    }
    float_added(f64::from_bits(last), f64::from_bits(sum)).map(Number::Float)
}

/// The number with the fewest decimals that gives `sum` when it is added to `last`, unless too much of what was added was rounded away.
fn float_added(last: f64, sum: f64) -> Option<f64> {
    let difference = sum - last;
    if !difference.is_finite() {
        return None;
    }
    // Nothing is lost in the first addition.
    if last == 0.0 {
        return Some(sum);
    }
    let step = sum.abs().next_up() - sum.abs();
    if step > PRECISION * difference.abs() {
        return None;
    }
    // A power of ten up to the 22nd is exact, and so the quotient is the number that is nearest to the decimal one.
    let mut scale = 1.0;
    for _ in 0..=DECIMALS {
        let value = (difference * scale).round() / scale;
        if last + value == sum {
            return Some(value);
        }
        scale *= 10.0;
    }
    Some(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_behind_a_rounded_sum_has_the_fewest_decimals() {
        let mut seed = 3u64;
        for decimals in 0..6 {
            let mut sum = 0.0;
            for _ in 0..1000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let value = (seed >> 44) as f64 / 10f64.powi(decimals);
                let last = sum;
                sum += value;
                if value != 0.0 {
                    assert_eq!(float_added(last, sum), Some(value), "{last} + {value}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_was_rounded_away_is_none() {
        for (last, value) in [(1e17, 0.25), (1e9, 1e-3), (-1e17, 3.0), (1.0, 0.0)] {
            assert_eq!(float_added(last, last + value), None, "{last} + {value}");
        }
        assert_eq!(float_added(0.0, 0.1 + 0.2), Some(0.1 + 0.2));
        assert_eq!(float_added(0.0, -0.0), Some(-0.0));
        assert_eq!(float_added(2.5, 0.5), Some(-2.0));
        for sum in [f64::NAN, f64::INFINITY] {
            assert_eq!(float_added(1.0, sum), None);
            assert_eq!(float_added(0.0, sum), None);
        }
        assert_eq!(float_added(f64::MIN, f64::MAX), None);
    }
}
