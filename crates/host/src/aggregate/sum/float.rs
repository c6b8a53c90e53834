//! Sums of `f64`.

use wasmetry_abi::Kind;

use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// A sum of `f64`, kept at twice their precision.
///
/// Instances have cumulative sums, and each read adds the difference to the last one. At the
/// precision of `f64` those differences would be rounded, so that the sum would depend on when an
/// instance was read, and could fall by one bit when an instance ends. Here they are exact for all
/// practical purposes.
///
/// Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FloatSum {
    /// The sum, rounded to the nearest `f64`.
    high: f64,
    /// The rest: at most half a unit in the last place of `high`.
    low: f64,
}

impl FloatSum {
    /// Returns the sum, rounded to the nearest `f64`.
    pub(in crate::aggregate) fn value(self) -> f64 {
        self.high
    }

    /// Adds a term.
    pub(in crate::aggregate) fn add(&mut self, term: f64) {
        self.add_increase(term, 0.0);
    }

    /// Adds the `f64` in a word of a guest that was never read before.
    pub(in crate::aggregate) fn merge_first(&mut self, kind: Kind, word: u64, drops: &mut DropCounts) {
        match valid_number(kind, word, 0.0) {
            Ok(number) => self.add(number),
            Err(reason) => drops.add(reason, 1),
        }
    }

    /// Adds the increase of the `f64` in a word of a guest since the last read, and keeps the word
    /// for the next read.
    pub(in crate::aggregate) fn merge_increase(
        &mut self,
        kind: Kind,
        word: u64,
        last_seen: &mut u64,
        drops: &mut DropCounts,
    ) {
        let last = f64::from_bits(*last_seen);
        match valid_number(kind, word, last) {
            Ok(number) => {
                self.add_increase(number, last);
                *last_seen = word;
            }
            Err(reason) => drops.add(reason, 1),
        }
    }

    /// Adds the increase of a cumulative number between two reads.
    ///
    /// A sum that overflows is infinite from then on. A difference that is no number, such as that
    /// of two infinities, adds nothing. If the number has not fallen, neither does
    /// [`value`](Self::value).
    pub(in crate::aggregate) fn add_increase(&mut self, latest: f64, last: f64) {
        let (difference, rest) = two_sum(latest, -last);
        let next = self.plus(difference).plus(if rest.is_finite() { rest } else { 0.0 });
        if !next.high.is_nan() && (latest < last || next.high >= self.high) {
            *self = next;
        }
    }

    fn plus(self, term: f64) -> Self {
        let (sum, rest) = two_sum(self.high, term);
        if !sum.is_finite() {
            return Self { high: sum, low: 0.0 };
        }
        let (high, low) = two_sum(sum, self.low + rest);
        Self { high, low: if high.is_finite() { low } else { 0.0 } }
    }
}

/// Returns the `f64` in a word of a guest.
///
/// An infinity is valid: it is a sum that has overflowed in the guest.
///
/// # Errors
///
/// If it is NaN, or a counter that has fallen below its last value.
fn valid_number(kind: Kind, word: u64, last: f64) -> Result<f64, HostDropReason> {
    let number = f64::from_bits(word);
    if number.is_nan() {
        Err(HostDropReason::NotANumber)
    } else if kind == Kind::CounterF64 && number < last {
        Err(HostDropReason::Decrease)
    } else {
        Ok(number)
    }
}

/// Returns the sum of two numbers, rounded, and the part that the rounding has cut off.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increases_telescope() {
        let mut sum = FloatSum::default();
        let mut last = 0.0;
        for latest in [0.1, 0.30000000000000004, 0.6000000000000001, 0.7, 1e17, 1e17 + 32.0] {
            sum.add_increase(latest, last);
            last = latest;
            assert_eq!(sum.value(), latest);
        }
    }

    #[test]
    fn overflow_is_infinite_for_good() {
        let mut sum = FloatSum::default();
        sum.add(f64::MAX);
        sum.add(f64::MAX);
        assert_eq!(sum.value(), f64::INFINITY);
        for term in [1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            sum.add(term);
            assert_eq!(sum.value(), f64::INFINITY, "{term}");
        }
        sum.add_increase(f64::INFINITY, f64::INFINITY);
        assert_eq!(sum.value(), f64::INFINITY);
        let mut sum = FloatSum::default();
        sum.add_increase(f64::INFINITY, 3.0);
        assert_eq!(sum.value(), f64::INFINITY);
        let mut sum = FloatSum::default();
        sum.add_increase(f64::MAX, f64::MIN);
        assert_eq!(sum.value(), f64::INFINITY);
    }

    #[test]
    fn increases_never_lower_sum() {
        let mut seed = 11u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let exponent = (seed >> 58) as i32 - 32;
            (seed >> 11) as f64 / (1u64 << 53) as f64 * 2f64.powi(exponent)
        };
        let (mut sum, mut latest) = (FloatSum::default(), [0.0f64; 4]);
        for round in 0..100_000 {
            let (before, last) = (sum.value(), latest[round % 4]);
            latest[round % 4] = last + random();
            sum.add_increase(latest[round % 4], last);
            assert!(sum.value() >= before);
        }
        let exact: f64 = latest.iter().sum();
        assert!((sum.value() - exact).abs() <= 4.0 * f64::EPSILON * exact);
    }
}
