//! The counts of one series of an exponential histogram, at any scale.

use wasmetry_abi::exponential::{MAX_BUCKETS, ZERO_THRESHOLD};

use crate::snapshot::number::Number;

/// The coarsest scale at which each of the [`classic_bounds`] is the end of a bucket.
const CLASSIC_SCALE: i32 = -1;

/// Returns the bounds of an exponential histogram in formats with explicit bounds: powers of four.
///
/// They depend on the unit only, because `rate()` needs the same bounds in every scrape.
pub(crate) fn classic_bounds(unit: &str) -> Vec<f64> {
    let exponents = match unit {
        // From a microsecond to a quarter of an hour.
        "seconds" => -10..=5,
        // Up to 16 GiB.
        "bytes" => 0..=17,
        _ => -10..=15,
    };
    exponents.map(|exponent| 4f64.powi(exponent)).collect()
}

/// The counts of one series, with the buckets that its values need.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExponentialCounts {
    pub(crate) zero: u64,
    buckets: Buckets,
    /// The last result of [`cumulative`](Self::cumulative) before the buckets became too coarse for
    /// it. No later one is less.
    floor: Vec<u64>,
}

/// The counts of consecutive indices. If there are none, the scale and the first index have no
/// meaning.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets {
    scale: i32,
    first: i32,
    counts: Vec<u64>,
}

impl ExponentialCounts {
    /// Adds counts of consecutive indices from `first` on at a scale, and keeps at most `max`
    /// buckets.
    ///
    /// The scale and the indices were checked, so that nothing overflows. `bounds` are those of the
    /// family.
    pub(crate) fn add(&mut self, scale: i32, first: i32, counts: &[u64], max: u16, bounds: &[f64]) {
        // Empty buckets at both ends are left out.
        let Some(start) = counts.iter().position(|count| *count != 0) else { return };
        let end = counts.iter().rposition(|count| *count != 0).unwrap_or(start);
        let (first, counts) = (first + start as i32, &counts[start..=end]);
        let last = first + (counts.len() - 1) as i32;
        if self.buckets.counts.is_empty() {
            self.buckets = Buckets { scale, first, counts: Vec::new() };
        }
        let known = &self.buckets;
        let mut target = scale.min(known.scale);
        let range = |target: i32| {
            let (known_by, by) = (known.scale - target, scale - target);
            let known_last = known.first + known.counts.len().saturating_sub(1) as i32;
            ((known.first >> known_by).min(first >> by), (known_last >> known_by).max(last >> by))
        };
        while range(target).1 - range(target).0 >= i32::from(max.min(MAX_BUCKETS)) {
            target -= 1;
        }
        let (low, high) = range(target);
        if target < known.scale && target < CLASSIC_SCALE {
            self.floor = self.cumulative(bounds);
        }
        self.buckets.widen(target, low, high);
        for (index, count) in (first..).zip(counts) {
            let sum = &mut self.buckets.counts[((index >> (scale - target)) - low) as usize];
            *sum = sum.saturating_add(*count);
        }
    }

    /// Returns the counts that were added since an earlier state, or `None` if the series has
    /// started again in between.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let (now, before) = (&self.buckets, &earlier.buckets);
        let mut added = now.counts.clone();
        if !before.counts.is_empty() {
            // Buckets become coarser, and never finer.
            let by = u32::try_from(before.scale - now.scale).ok()?;
            for (index, count) in (before.first..).zip(&before.counts).filter(|(_, count)| **count != 0) {
                let added = added.get_mut(usize::try_from((index >> by) - now.first).ok()?)?;
                *added = added.checked_sub(*count)?;
            }
        }
        let mut since = Self { zero: self.zero.checked_sub(earlier.zero)?, ..Self::default() };
        since.add(now.scale, now.first, &added, MAX_BUCKETS, &[]);
        Some(since)
    }

    /// Returns `true` if nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.zero == 0 && self.buckets.counts.is_empty()
    }

    /// Returns the number of values up to each of the bounds, which are powers of four, and the
    /// number of all values.
    ///
    /// A bucket that ends above a bound is not part of that bound's count. That happens only below
    /// [`CLASSIC_SCALE`], where buckets are wider than the distances of bounds.
    pub(crate) fn cumulative(&self, bounds: &[f64]) -> Vec<u64> {
        let Buckets { scale, first, ref counts } = self.buckets;
        let mut sum = self.zero;
        let mut buckets = (first..).zip(counts).peekable();
        let mut floor = self.floor.iter();
        let exponents = bounds.iter().map(|bound| exponent(*bound)).chain([i32::MAX]);
        let shown = exponents.map(|exponent| {
            // The bucket i ends at 2^((i+1) / 2^scale).
            let is_within = |index: i32| match exponent {
                i32::MAX => true,
                _ if scale >= 0 => index < exponent << scale,
                _ => index < exponent >> -scale,
            };
            while let Some((_, count)) = buckets.next_if(|(index, _)| is_within(*index)) {
                sum = sum.saturating_add(*count);
            }
            sum.max(floor.next().copied().unwrap_or(0))
        });
        shown.collect()
    }
}

impl Buckets {
    /// Makes the buckets as coarse as `scale`, and extends their range to `low` and `high`.
    fn widen(&mut self, scale: i32, low: i32, high: i32) {
        let by = self.scale - scale;
        if by == 0 && low == self.first {
            return self.counts.resize((high - low + 1) as usize, 0);
        }
        let mut counts = vec![0u64; (high - low + 1) as usize];
        for (index, count) in (self.first..).zip(&self.counts) {
            let sum = &mut counts[((index >> by) - low) as usize];
            *sum = sum.saturating_add(*count);
        }
        *self = Self { scale, first: low, counts };
    }
}

/// Returns the exponent of a power of two.
fn exponent(power: f64) -> i32 {
    (power.to_bits() >> 52) as i32 - 1023
}

/// The value of one series of an exponential histogram.
///
/// At the scale s, the bucket with the index i counts the values v with 2^(i / 2^s) < v <=
/// 2^((i+1) / 2^s) in the metric's unit, as in OpenTelemetry's data model.
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialValue {
    pub(crate) counts: ExponentialCounts,
    pub(crate) sum: Number,
}

impl ExponentialValue {
    /// The zero threshold: values up to it are in the [zero count](Self::zero_count).
    pub const ZERO_THRESHOLD: f64 = ZERO_THRESHOLD;

    /// Returns the counts that were added since an earlier value of the series, with this sum. If
    /// the series is new or has started again, these are all counts.
    pub(crate) fn since(&self, earlier: Option<&Self>, sum: Number) -> Self {
        let counts = earlier.and_then(|earlier| self.counts.since(&earlier.counts));
        counts.map_or_else(|| self.clone(), |counts| Self { counts, sum })
    }

    /// The scale, from -10 to 8; 8 if all buckets are empty.
    pub fn scale(&self) -> i32 {
        if self.counts.buckets.counts.is_empty() {
            wasmetry_abi::exponential::MAX_SCALE
        } else {
            self.counts.buckets.scale
        }
    }

    /// The index of the first of [`counts`](Self::counts).
    pub fn first_index(&self) -> i32 {
        self.counts.buckets.first
    }

    /// The counts of the buckets, from the first to the last that is not empty.
    pub fn counts(&self) -> &[u64] {
        &self.counts.buckets.counts
    }

    /// The number of values up to the [zero threshold](Self::ZERO_THRESHOLD).
    pub fn zero_count(&self) -> u64 {
        self.counts.zero
    }

    /// The number of all values.
    pub fn count(&self) -> u64 {
        self.counts().iter().fold(self.zero_count(), |sum, count| sum.saturating_add(*count))
    }

    /// The sum of the values.
    pub fn sum(&self) -> Number {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmetry_abi::exponential::{MIN_SCALE, index};

    #[test]
    fn increase_has_the_coarser_scale() {
        let mut counts = ExponentialCounts { zero: 1, ..ExponentialCounts::default() };
        counts.add(2, 5, &[1, 0, 3], MAX_BUCKETS, &[]);
        let earlier = counts.clone();
        assert!(counts.since(&earlier).unwrap().is_empty());
        assert_eq!(counts.since(&ExponentialCounts::default()), Some(counts.clone()));
        // At scale 1 the indices 5, 6 and 7 are 2, 3 and 3.
        counts.zero += 2;
        counts.add(1, 3, &[4, 5], MAX_BUCKETS, &[]);
        let since = counts.since(&earlier).unwrap();
        assert_eq!((since.zero, since.buckets.scale, since.buckets.first), (2, 1, 3));
        assert_eq!(since.buckets.counts, [4, 5]);
        // Less than before, or finer than before: it has started again.
        assert_eq!(earlier.since(&counts), None);
        let mut fewer = ExponentialCounts { zero: 1, ..ExponentialCounts::default() };
        fewer.add(2, 5, &[1, 0, 2], MAX_BUCKETS, &[]);
        assert_eq!(fewer.since(&earlier), None);
    }

    #[test]
    fn classic_bounds_are_powers_of_four() {
        for (unit, count) in [("seconds", 16), ("bytes", 18), ("", 26), ("meters", 26)] {
            let bounds = classic_bounds(unit);
            assert_eq!(bounds.len(), count);
            assert!(bounds.iter().all(|bound| exponent(*bound) % 2 == 0 && bound.to_bits() << 12 == 0));
            assert!(wasmetry_abi::name::buckets(bounds).is_ok());
        }
    }

    /// Adds one value, as from a guest whose series has this scale.
    fn observe(total: &mut ExponentialCounts, value: f64, scale: i32, max: u16, bounds: &[f64]) {
        total.add(scale, index(value, scale) - 1, &[0, 1, 0], max, bounds);
    }

    #[test]
    fn different_scales_merge_at_the_coarsest() {
        let values: Vec<f64> = (1..400).map(|n| f64::from(n * n) / 1000.0).collect();
        for max in [2, 5, 20, 160, 200] {
            let mut total = ExponentialCounts::default();
            for (value, scale) in values.iter().zip((-3..=8).cycle()) {
                observe(&mut total, *value, scale, max, &[]);
            }
            let Buckets { scale, first, counts } = &total.buckets;
            assert!(counts.len() <= usize::from(max) && *scale <= -3);
            for (at, count) in (*first..).zip(counts) {
                let expected = values.iter().filter(|value| index(**value, *scale) == at).count();
                assert_eq!(*count, expected as u64, "{at} at {scale}");
            }
            assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
        }
    }

    #[test]
    fn cumulative_counts_are_exact() {
        let bounds = classic_bounds("seconds");
        let mut total = ExponentialCounts { zero: 3, ..ExponentialCounts::default() };
        let mut values = vec![0.0; 3];
        let mut seed = 1u64;
        for scale in (CLASSIC_SCALE..=8).rev() {
            for bound in &bounds {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let between = bound * (1.0 + (seed >> 11) as f64 / (1u64 << 51) as f64);
                for value in [*bound, bound.next_up(), bound.next_down(), between] {
                    observe(&mut total, value, scale, 200, &bounds);
                    values.push(value);
                }
            }
            let shown = total.cumulative(&bounds);
            let at_most = |bound: f64| values.iter().filter(|value| **value <= bound).count() as u64;
            let expected: Vec<u64> = bounds.iter().map(|bound| at_most(*bound)).chain([values.len() as u64]).collect();
            assert_eq!(shown, expected, "{scale}");
        }
    }

    #[test]
    fn cumulative_counts_never_fall() {
        let bounds = classic_bounds("");
        let mut total = ExponentialCounts::default();
        let mut last = vec![0; bounds.len() + 1];
        for (values, n) in (MIN_SCALE..=8).rev().zip(1..) {
            // More values in a wider range each time.
            for value in [2f64.powi(-100 * n), 0.3, 1.0, 2.5, 1e6, 2f64.powi(100 * n)] {
                if value >= f64::MIN_POSITIVE && value.is_finite() {
                    observe(&mut total, value, 8, 3, &bounds);
                }
            }
            let shown = total.cumulative(&bounds);
            assert!(shown.is_sorted(), "{values}: {shown:?}");
            assert!(shown.iter().zip(&last).all(|(now, before)| now >= before), "{values}: {shown:?} after {last:?}");
            last = shown;
        }
        assert_eq!(total.buckets.scale, MIN_SCALE);
    }
}
