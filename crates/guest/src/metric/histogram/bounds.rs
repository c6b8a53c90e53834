//! The bucket of a value, among bounds that are given.
//!
//! The bits of a positive `f64` begin with its exponent and its leading mantissa bits, so shifting
//! them gives a logarithmic scale with a few steps in each octave. A table holds for each step the
//! number of bounds below all of it; from there, one or two compares find the bucket, exactly.

/// Steps in the table.
const STEPS: usize = 64;

/// The bucket bounds of one histogram, and the table that finds a value's bucket.
#[doc(hidden)]
#[derive(Debug)]
pub struct Bounds {
    /// The bounds as ordered integers: nanoseconds, or the [`order`] of an `f64`.
    keys: &'static [u64],
    duration: bool,
    /// The shift that turns the bits of an `f64` into its step.
    shift: u32,
    /// The step of the first entry of `below`.
    first: u64,
    /// For each step, the number of bounds that are less than every value of it.
    below: [u8; STEPS],
}

/// Maps an `f64` that is not NaN to an integer of the same order.
#[inline]
const fn order(value: f64) -> u64 {
    // Adding 0 makes -0 a 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The bounds of a histogram of numbers as keys, for [`Bounds::numbers`].
#[doc(hidden)]
pub const fn number_keys<const N: usize>(bounds: [f64; N]) -> [u64; N] {
    let mut keys = [0; N];
    let mut i = 0;
    while i < N {
        keys[i] = order(bounds[i]);
        i += 1;
    }
    keys
}

/// The bounds of a histogram of durations, in seconds, as keys in nanoseconds, for
/// [`Bounds::durations`]. The macro has checked that they rise.
#[doc(hidden)]
pub const fn duration_keys<const N: usize>(bounds: [f64; N]) -> [u64; N] {
    let mut keys = [0; N];
    let mut i = 0;
    while i < N {
        keys[i] = (bounds[i] * 1e9 + 0.5) as u64;
        i += 1;
    }
    keys
}

impl Bounds {
    /// Bounds of a histogram of numbers.
    pub const fn numbers(keys: &'static [u64]) -> Self {
        Self::new(keys, false)
    }

    /// Bounds of a histogram of durations.
    pub const fn durations(keys: &'static [u64]) -> Self {
        Self::new(keys, true)
    }

    const fn new(keys: &'static [u64], duration: bool) -> Self {
        // The bits of the least positive bound and of the greatest; all others are below every
        // positive value.
        let mut low = u64::MAX;
        let mut high = 0;
        let mut i = 0;
        while i < keys.len() {
            let bits = positive_bits(keys[i], duration);
            if bits > 0 && low == u64::MAX {
                low = bits;
            }
            high = bits;
            i += 1;
        }
        if low == u64::MAX {
            low = 0;
        }
        // As many steps in an octave as the table has room for. Beyond it, values share the last
        // step.
        let mut shift = 50;
        while shift < 52 && (high >> shift) - (low >> shift) >= STEPS as u64 - 1 {
            shift += 1;
        }
        let first = low >> shift;
        let mut below = [0; STEPS];
        let mut step = 0;
        while step < STEPS {
            let mut count = 0;
            while count < keys.len() && positive_bits(keys[count], duration) >> shift < first + step as u64 {
                count += 1;
            }
            below[step] = count as u8;
            step += 1;
        }
        // Values below the first step start at the first bound.
        below[0] = 0;
        Self { keys, duration, shift, first, below }
    }

    /// The number of bounds.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns `true` if the values are durations, kept in nanoseconds.
    #[inline]
    pub(crate) const fn is_duration(&self) -> bool {
        self.duration
    }

    /// The bucket of a finite number: the number of bounds below it.
    #[inline]
    pub(crate) fn bucket_of(&self, value: f64) -> usize {
        let bits = if value > 0.0 { value.to_bits() } else { 0 };
        self.search(bits, order(value))
    }

    /// The bucket of a duration: the number of bounds below it.
    #[inline]
    pub(crate) fn bucket_of_nanos(&self, nanos: u64) -> usize {
        // The conversion rounds, but never swaps the order of two numbers, so the table's step
        // holds.
        self.search((nanos as f64).to_bits(), nanos)
    }

    #[inline]
    fn search(&self, bits: u64, key: u64) -> usize {
        let step = (bits >> self.shift).saturating_sub(self.first).min(STEPS as u64 - 1) as usize;
        let mut bucket = usize::from(self.below[step]);
        while let Some(bound) = self.keys.get(bucket)
            && *bound < key
        {
            bucket += 1;
        }
        bucket
    }
}

/// The bits of a bound as an `f64` if it is positive, else 0.
const fn positive_bits(key: u64, duration: bool) -> u64 {
    if duration {
        (key as f64).to_bits()
    } else if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    /// A pseudorandom sequence that is the same each time (xorshift64).
    fn random() -> impl Iterator<Item = u64> {
        core::iter::successors(Some(0x9e37_79b9_7f4a_7c15u64), |seed| {
            let mut x = *seed;
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            Some(x)
        })
    }

    fn check<const N: usize>(bounds: [f64; N]) {
        let keys: &'static [u64] = Vec::leak(number_keys(bounds).to_vec());
        let table = Bounds::numbers(keys);
        let on_and_beside = bounds.into_iter().flat_map(|bound| [bound, bound.next_up(), bound.next_down(), -bound]);
        let anything = random().map(f64::from_bits).filter(|value| value.is_finite()).take(20_000);
        let near =
            random().take(20_000).map(|x| bounds[x as usize % N] * (0.5 + (x >> 32) as f64 / (1u64 << 32) as f64));
        let special = [0.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::MIN];
        for value in special.into_iter().chain(on_and_beside).chain(anything).chain(near) {
            let expected = bounds.iter().filter(|bound| **bound < value).count();
            assert_eq!(table.bucket_of(value), expected, "{value:e} in {bounds:?}");
        }
    }

    #[test]
    fn number_bucket_equals_linear_search() {
        check([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]);
        check([1.0]);
        check([-0.0]);
        check([-5.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
        check([-3.0, -2.0]);
        check([1e-300, 1.0, 1e300]);
        check([1.0, 1.0000001, 1.0000002, 1.0000003, 1024.0]);
        check(core::array::from_fn::<f64, 200, _>(|i| i as f64 * 7.5 - 30.0));
    }

    #[test]
    fn duration_bucket_equals_linear_search() {
        for bounds in [&[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0] as &[f64], &[0.0, 1e-9, 3600.0], &[1e9, 1.2e10]]
        {
            let keys: Vec<u64> = bounds.iter().map(|bound| duration_keys([*bound])[0]).collect();
            let keys: &'static [u64] = Vec::leak(keys);
            let table = Bounds::durations(keys);
            let beside = keys.iter().flat_map(|key| [key.saturating_sub(1), *key, key + 1]);
            let anything = random().zip(random().skip(1)).map(|(x, y)| x >> (y % 64)).take(40_000);
            for nanos in [0, 1, u64::MAX].into_iter().chain(beside).chain(anything) {
                let expected = keys.iter().filter(|key| **key < nanos).count();
                assert_eq!(table.bucket_of_nanos(nanos), expected, "{nanos} in {bounds:?}");
            }
        }
    }
}
