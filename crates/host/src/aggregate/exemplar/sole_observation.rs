//! The values of exemplars: if a series has exactly one more value than at the last read, the
//! increase of its sum is that value.

use wasmetry_abi::Kind;

use crate::aggregate::sum::count::GREATEST_INCREASE;
use crate::snapshot::number::Number;

/// The greatest relative error of a value that is the increase of a rounded sum.
const PRECISION: f64 = 1e-6;

/// The most decimals that are tried for such a value.
const DECIMALS: usize = 15;

/// The only value that a series got since the last read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoleObservation {
    /// The position of the series in the entry.
    pub(crate) position: usize,
    /// The bucket, by its index among the family's bounds.
    pub(crate) bucket: u32,
    pub(crate) value: Number,
}

/// Returns the bucket under whose bound a value is shown.
pub(in crate::aggregate) fn bucket(bounds: &[f64], value: Number) -> usize {
    let value = value.as_f64();
    bounds.partition_point(|bound| *bound < value)
}

/// Returns the increase of a sum between two reads, if it can be known.
pub(in crate::aggregate) fn sum_increase(kind: Kind, sum: u64, last: u64) -> Option<Number> {
    if matches!(kind, Kind::HistogramNanos | Kind::ExponentialNanos) {
        let nanos = sum.wrapping_sub(last);
        return (nanos <= GREATEST_INCREASE).then_some(Number::Nanos(nanos));
    }
    float_added(f64::from_bits(last), f64::from_bits(sum)).map(Number::Float)
}

/// Returns the number with the fewest decimals that gives `sum` when it is added to `last`, unless
/// rounding has cut off too much of it.
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
    // Powers of ten are exact up to the 22nd, so that the quotient is the nearest to the decimal
    // number.
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
    fn sum_increase_has_fewest_decimals() {
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
    fn value_lost_in_rounding_is_none() {
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
