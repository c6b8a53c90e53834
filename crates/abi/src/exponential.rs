//! Exponential histograms: bucket indices, and the state word of a series. See `FORMAT.md`, section
//! 2, "Exponential histogram".
//!
//! Source: OpenTelemetry, "Metrics Data Model", "ExponentialHistogram".
//!
//! ```
//! use wasmetry_abi::exponential::index;
//!
//! // At scale 0 a bucket is an octave that includes its upper end, at scale 1 half of one.
//! assert_eq!([1.0, 1.5, 2.0, 2.5].map(|value| index(value, 0)), [-1, 0, 0, 1]);
//! assert_eq!([1.0, 1.5, 2.0, 2.5].map(|value| index(value, 1)), [-1, 1, 1, 2]);
//! ```

use core::ops::RangeInclusive;

/// The finest scale, with 256 buckets in an octave; the finest of Prometheus' native histograms
/// too.
pub const MAX_SCALE: i32 = 8;

/// The coarsest scale, at which two buckets hold every value.
pub const MIN_SCALE: i32 = -10;

/// The zero threshold. Values up to it are counted in the zero count, so that one tiny value does
/// not make the buckets of all others coarser.
///
/// Source: OpenTelemetry's translation of exponential histograms to Prometheus', which takes this
/// threshold if a data point has none.
pub const ZERO_THRESHOLD: f64 = 1e-128;

/// The least number of buckets of a series.
pub const MIN_BUCKETS: u16 = 2;

/// The greatest number of buckets of a series.
pub const MAX_BUCKETS: u16 = 200;

/// The default number of buckets of a series; OpenTelemetry's SDKs have the same.
pub const DEFAULT_BUCKETS: u16 = 160;

/// Cell: the index of the sum's word.
pub const SUM: usize = 0;

/// Cell: the index of the [`State`]'s word.
pub const STATE: usize = 1;

/// Cell: the index of the zero count's word.
pub const ZERO: usize = 2;

/// Cell: the index of the first bucket's word.
pub const BUCKETS: usize = 3;

/// Scratch area: the index of the first bucket's word. The words before it are private to the
/// guest.
pub const SCRATCH_BUCKETS: usize = 2;

/// Returns the index of a value's bucket: the `i` with `2^(i/2^scale) < value <=
/// 2^((i+1)/2^scale)`.
///
/// The value must be finite and greater than 2^-1022, the scale from [`MIN_SCALE`] to
/// [`MAX_SCALE`]. The result is exact for all of them, without a table and without floating-point
/// arithmetic.
pub const fn index(value: f64, scale: i32) -> i32 {
    const MANTISSA_BITS: u32 = 52;
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - 1023;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    // A power of two is the upper end of its bucket.
    let is_power = (mantissa == 0) as i32;
    if scale <= 0 {
        (exponent - is_power) >> -scale
    } else {
        (exponent << scale) + fraction(mantissa << (63 - MANTISSA_BITS), scale) - is_power
    }
}

/// Returns the first `steps` binary digits of the logarithm to base 2 of `1 + mantissa / 2^63`.
///
/// Each squaring doubles the logarithm and moves one digit before the point. The bits cut off below
/// the 63rd amount to less than 2^-63 of the number, and no `f64` lies that close above a boundary:
/// the test tries all boundaries.
const fn fraction(mantissa: u64, steps: i32) -> i32 {
    let mut number = (1 << 63) | mantissa;
    let mut digits = 0;
    let mut step = 0;
    while step < steps {
        let (high, low) = (number >> 32, number & 0xffff_ffff);
        // The square is `high² · 2^64 + middle · 2^33`, without the bits cut off.
        let middle = high * low + ((low * low) >> 33);
        let square = high * high + (middle >> 31);
        let digit = square >> 63;
        number = if digit == 1 { square } else { (square << 1) | ((middle >> 30) & 1) };
        digits = (digits << 1) | digit as i32;
        step += 1;
    }
    digits
}

/// Returns the range of bucket indices at a scale.
pub const fn indices(scale: i32) -> RangeInclusive<i32> {
    // From just above the least normal number, 2^-1022, to just below 2^1024.
    if scale <= 0 { -1022 >> -scale..=1023 >> -scale } else { -1022 << scale..=(1024 << scale) - 1 }
}

/// The state of a series: the range of its bucket indices, and their place in memory.
///
/// It is stored in the word [`STATE`]. All its bits are 0 before the first value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The index whose count is in the first bucket's word.
    pub base: i32,
    /// `base` minus the lowest index.
    pub below: u8,
    /// The number of indices from the lowest to the highest; 0 before the first value.
    pub len: u8,
    /// The scale.
    pub scale: i8,
    /// `true` while the counts are in the scratch area, lowest index first, rather than in the
    /// series.
    pub in_scratch: bool,
}

impl State {
    const IN_SCRATCH: u64 = 1;

    /// Returns the state as a word.
    pub const fn to_word(self) -> u64 {
        self.base as u32 as u64
            | ((self.below as u64) << 32)
            | ((self.len as u64) << 40)
            | ((self.scale as u8 as u64) << 48)
            | ((self.in_scratch as u64) << 56)
    }

    /// Returns the state in a word that [`to_word`](Self::to_word) made.
    pub const fn from_word(word: u64) -> Self {
        Self {
            base: word as u32 as i32,
            below: (word >> 32) as u8,
            len: (word >> 40) as u8,
            scale: (word >> 48) as i8,
            in_scratch: (word >> 56) & Self::IN_SCRATCH != 0,
        }
    }

    /// Decodes an untrusted word. Returns `None` if it is not a state of a series with so many
    /// buckets.
    pub const fn decode(word: u64, buckets: u16) -> Option<Self> {
        let state = Self::from_word(word);
        let scale = state.scale as i32;
        if word >> 57 != 0 || state.len as u16 > buckets || scale < MIN_SCALE || scale > MAX_SCALE {
            return None;
        }
        if state.len == 0 {
            return if word == 0 { Some(state) } else { None };
        }
        // 64 bits, so that nothing overflows.
        let (first, last) =
            (state.base as i64 - state.below as i64, state.base as i64 - state.below as i64 + state.len as i64 - 1);
        let possible = indices(scale);
        let is_possible = state.below < state.len
            && first >= *possible.start() as i64
            && last <= *possible.end() as i64
            && (!state.in_scratch || (state.below == 0 && state.len as usize <= scratch_buckets(buckets)));
        if is_possible { Some(state) } else { None }
    }

    /// The lowest index.
    pub const fn first(self) -> i32 {
        self.base - self.below as i32
    }

    /// Returns the word with the count of an index, counted from the first bucket's word.
    ///
    /// The index must be in the state's range.
    pub const fn slot(self, index: i32, buckets: u16) -> usize {
        let offset = index - self.base;
        (if offset < 0 { offset + buckets as i32 } else { offset }) as usize
    }
}

/// The number of buckets in a scratch area: `buckets` at half the resolution.
pub const fn scratch_buckets(buckets: u16) -> usize {
    buckets as usize / 2 + 1
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use num_bigint::BigUint;
    use std::vec::Vec;

    /// The greatest `f64` below each boundary within the octave from 1 to 2, and the least one
    /// above it.
    fn boundaries(scale: u32) -> Vec<(f64, f64)> {
        let boundary = |i: u32| {
            // 2^(i/2^scale) as an integer with 52 bits behind the point, rounded down: the root of
            // 2^(52·2^scale + i).
            let mut root = BigUint::from(1u8) << ((52u64 << scale) + u64::from(i));
            for _ in 0..scale {
                root = root.sqrt();
            }
            let bits = u64::try_from(&root).unwrap() - (1 << 52) + (1023 << 52);
            (f64::from_bits(bits), f64::from_bits(bits + 1))
        };
        (1..1 << scale).map(boundary).collect()
    }

    #[test]
    fn boundaries_separate_neighbouring_values() {
        for scale in 1..=MAX_SCALE {
            let boundaries = boundaries(scale as u32);
            assert_eq!(boundaries.len(), (1 << scale) - 1);
            for exponent in [-1021, -300, -1, 0, 1, 62, 1022, 1023] {
                let octave = f64::from_bits(((exponent + 1023) as u64) << 52);
                for (i, (below, above)) in (0..).zip(&boundaries) {
                    let first = exponent << scale;
                    assert_eq!(index(below * octave, scale), first + i, "{below} · {octave} at {scale}");
                    assert_eq!(index(above * octave, scale), first + i + 1, "{above} · {octave} at {scale}");
                }
            }
        }
    }

    #[test]
    fn power_of_two_ends_its_bucket() {
        for scale in MIN_SCALE..=MAX_SCALE {
            for exponent in -1021..=1023 {
                let power = f64::from_bits(((exponent + 1023) as u64) << 52);
                let last = if scale >= 0 { (exponent << scale) - 1 } else { (exponent - 1) >> -scale };
                let next = if scale >= 0 { last + 1 } else { exponent >> -scale };
                assert_eq!(index(power, scale), last, "2^{exponent} at {scale}");
                assert_eq!(index(power.next_down(), scale), last, "below 2^{exponent} at {scale}");
                assert_eq!(index(power.next_up(), scale), next, "above 2^{exponent} at {scale}");
            }
        }
    }

    #[test]
    fn values_lie_in_their_bucket() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut checked = 0;
        while checked < 2_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let value = f64::from_bits(seed >> 1);
            if !value.is_finite() || value <= ZERO_THRESHOLD {
                continue;
            }
            checked += 1;
            // With mantissa m and exponent e, 2^(j/2^s) < m/2^52 <= 2^((j+1)/2^s) for j = i -
            // e·2^s, in integers.
            let scale = MAX_SCALE;
            let mantissa = BigUint::from((value.to_bits() & ((1 << 52) - 1)) | (1 << 52));
            let exponent = (value.to_bits() >> 52) as i32 - 1023;
            let position = index(value, scale) - (exponent << scale);
            let power = mantissa.pow(1 << scale);
            let bound = |position: i32| BigUint::from(1u8) << ((52 << scale) + position);
            assert!(power > bound(position) && power <= bound(position + 1), "{value:e}");
            for coarser in MIN_SCALE..scale {
                assert_eq!(index(value, coarser), index(value, scale) >> (scale - coarser), "{value:e} at {coarser}");
            }
        }
    }

    #[test]
    fn indices_cover_all_values() {
        for scale in MIN_SCALE..=MAX_SCALE {
            let (least, greatest) = (f64::MIN_POSITIVE.next_up(), f64::MAX);
            assert_eq!(indices(scale), index(least, scale)..=index(greatest, scale), "{scale}");
        }
        assert!(indices(MIN_SCALE).count() <= usize::from(MIN_BUCKETS));
    }

    #[test]
    fn state_round_trips() {
        for state in [
            State::default(),
            State { base: -1, below: 0, len: 1, scale: 8, in_scratch: false },
            State { base: i32::MIN, below: 255, len: 255, scale: -10, in_scratch: true },
            State { base: 261_000, below: 3, len: 10, scale: 8, in_scratch: false },
        ] {
            assert_eq!(State::from_word(state.to_word()), state);
        }
        assert_eq!(State::default().to_word(), 0);
    }

    #[test]
    fn impossible_state_is_none() {
        let good = State { base: 5, below: 2, len: 10, scale: 3, in_scratch: false };
        assert_eq!(State::decode(good.to_word(), 10), Some(good));
        assert_eq!(State::decode(0, 2), Some(State::default()));
        let scratch = State { base: 3, below: 0, len: 6, scale: 2, in_scratch: true };
        assert_eq!(State::decode(scratch.to_word(), 10), Some(scratch));
        for bad in [
            State { len: 11, ..good },
            State { below: 10, ..good },
            State { len: 0, ..good },
            State { scale: 9, ..good },
            State { scale: -11, ..good },
            State { base: i32::MIN, ..good },
            State { base: i32::MAX, ..good },
            State { base: 1024 << 3, ..good },
            State { below: 1, ..scratch },
            State { len: 7, ..scratch },
        ] {
            assert_eq!(State::decode(bad.to_word(), 10), None, "{bad:?}");
        }
        for bit in 57..64 {
            assert_eq!(State::decode(good.to_word() | (1 << bit), 10), None, "{bit}");
        }
    }

    #[test]
    fn slots_of_a_state_are_distinct() {
        let state = State { base: -7, below: 3, len: 6, scale: 0, in_scratch: false };
        let slots: Vec<usize> = (0..6).map(|i| state.slot(state.first() + i, 6)).collect();
        assert_eq!(slots, [3, 4, 5, 0, 1, 2]);
    }
}
