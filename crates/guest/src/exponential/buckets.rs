//! The buckets of one series. What is in memory, and in which order it changes, is in `crates/abi/FORMAT.md`, section 2.

use wasmetry_abi::exponential::{BUCKETS, MAX_SCALE, STATE, State, ZERO, ZERO_THRESHOLD, index};

use crate::sync::{AtomicU64, Ordering, add, exclusive, fence};

/// Counts a finite value that is not negative.
#[inline(never)]
pub(super) fn count(cell: &[AtomicU64], scratch: &[AtomicU64], value: f64) {
    let Some((head, buckets)) = cell.split_at_checked(BUCKETS) else { return };
    let (Some(word), Some(zero), Some((busy, scratch))) = (head.get(STATE), head.get(ZERO), scratch.split_first())
    else {
        return;
    };
    if value <= ZERO_THRESHOLD {
        return add(zero, 1);
    }
    let _alone = exclusive(busy);
    let mut state = State::from_word(word.load(Ordering::Relaxed));
    let index = if state.len == 0 {
        let base = index(value, MAX_SCALE);
        state = State { base, below: 0, len: 1, scale: MAX_SCALE as i8, in_scratch: false };
        store(word, state);
        base
    } else {
        let index = index(value, i32::from(state.scale));
        // One comparison, because an index below the lowest one becomes a great number.
        if index.wrapping_sub(state.first()).cast_unsigned() < u32::from(state.len) {
            index
        } else {
            make_room(word, buckets, scratch, &mut state, index)
        }
    };
    if let Some(bucket) = buckets.get(state.slot(index, buckets.len() as u16)) {
        add(bucket, 1);
    }
}

/// The number of values that were counted.
pub(super) fn total(cell: &[AtomicU64], scratch: &[AtomicU64]) -> u64 {
    let Some(busy) = scratch.first() else { return 0 };
    let _alone = exclusive(busy);
    cell.get(ZERO..).unwrap_or(&[]).iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Makes room for an index that is beyond the others, and returns it at the scale that the series then has.
#[cold]
fn make_room(word: &AtomicU64, buckets: &[AtomicU64], scratch: &[AtomicU64], state: &mut State, index: i32) -> i32 {
    let first = state.first();
    let (low, high) = (first.min(index), (first + i32::from(state.len) - 1).max(index));
    let mut shift = 0;
    while shift < 31 && (high >> shift) - (low >> shift) >= buckets.len() as i32 {
        shift += 1;
    }
    if shift > 0 {
        *state = downscale(word, buckets, scratch, *state, shift);
    }
    let (low, high) = (low >> shift, high >> shift);
    *state = State { below: (state.base - low) as u8, len: (high - low + 1) as u8, ..*state };
    store(word, *state);
    index >> shift
}

/// Makes the buckets coarser. Wherever this ends, the state in `word` says where all counts are.
fn downscale(word: &AtomicU64, buckets: &[AtomicU64], scratch: &[AtomicU64], state: State, shift: i32) -> State {
    for sum in scratch {
        sum.store(0, Ordering::Relaxed);
    }
    let base = state.first() >> shift;
    let mut last = base;
    for index in (state.first()..).take(usize::from(state.len)) {
        last = index >> shift;
        let bucket = buckets.get(state.slot(index, buckets.len() as u16));
        if let (Some(sum), Some(bucket)) = (scratch.get((last - base) as usize), bucket) {
            add(sum, bucket.load(Ordering::Relaxed));
        }
    }
    let state =
        State { base, below: 0, len: (last - base + 1) as u8, scale: state.scale - shift as i8, in_scratch: true };
    store(word, state);
    for (i, bucket) in buckets.iter().enumerate() {
        bucket.store(scratch.get(i).map_or(0, |sum| sum.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
    let state = State { in_scratch: false, ..state };
    store(word, state);
    state
}

/// Changes the state, after all that was written before and before all that is written later.
fn store(word: &AtomicU64, state: State) {
    // Release pairs with the host's read, which may come between any two stores.
    word.store(state.to_word(), Ordering::Release);
    // So does this: what follows is not to be seen before the state.
    fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;
    use wasmetry_abi::exponential::{MIN_SCALE, SCRATCH_BUCKETS, scratch_buckets};

    /// A series that nothing else has, and what it should have counted.
    struct Model {
        cell: Vec<AtomicU64>,
        scratch: Vec<AtomicU64>,
        expected: BTreeMap<i32, u64>,
    }

    impl Model {
        fn new(buckets: u16) -> Self {
            let words = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
            Self {
                cell: words(BUCKETS + usize::from(buckets)),
                scratch: words(SCRATCH_BUCKETS + scratch_buckets(buckets)),
                expected: BTreeMap::new(),
            }
        }

        fn count(&mut self, value: f64) {
            count(&self.cell, &self.scratch, value);
            *self.expected.entry(index(value, MAX_SCALE)).or_default() += 1;
            self.check();
        }

        fn check(&self) {
            let buckets = (self.cell.len() - BUCKETS) as u16;
            let state = State::decode(self.cell[STATE].load(Ordering::Relaxed), buckets).expect("a sound state");
            assert!(!state.in_scratch);
            let shift = MAX_SCALE - i32::from(state.scale);
            let mut expected = BTreeMap::<i32, u64>::new();
            for (index, count) in &self.expected {
                *expected.entry(index >> shift).or_default() += count;
            }
            let last = state.first() + i32::from(state.len) - 1;
            let bounds = (expected.first_key_value().map(|(i, _)| *i), expected.last_key_value().map(|(i, _)| *i));
            assert_eq!(bounds, (Some(state.first()), Some(last)), "the range is no wider than the values");
            let mut slots: Vec<u64> = self.cell[BUCKETS..].iter().map(|word| word.load(Ordering::Relaxed)).collect();
            for (index, count) in &expected {
                assert_eq!(std::mem::take(&mut slots[state.slot(*index, buckets)]), *count, "{index} of {state:?}");
            }
            assert!(slots.iter().all(|count| *count == 0), "nothing lies outside the range");
            // No scale that is finer would have done.
            let (low, high) = (self.expected.first_key_value(), self.expected.last_key_value());
            if let (Some((low, _)), Some((high, _)), 1..) = (low, high, shift) {
                assert!((high >> (shift - 1)) - (low >> (shift - 1)) >= i32::from(buckets));
            }
        }
    }

    /// A sequence that looks random and is the same each time (xorshift64).
    fn random() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(0x9e37_79b9_7f4a_7c15u64), |seed| {
            let mut x = *seed;
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            Some(x)
        })
    }

    #[test]
    fn every_value_is_in_the_bucket_of_its_index_at_the_finest_scale_that_holds_all() {
        for buckets in [2, 3, 4, 7, 64, 160, 200] {
            // Values of a narrow range, of one that grows in both directions, and of all there are.
            for spread in [0.001, 0.5, 8.0, 40.0, 1000.0] {
                let mut model = Model::new(buckets);
                for (i, x) in random().take(300).enumerate() {
                    let fraction = (x >> 11) as f64 / (1u64 << 53) as f64;
                    let exponent = (fraction - 0.5) * spread * (i as f64 / 300.0);
                    model.count(exponent.exp2() * 1.5);
                }
            }
            let mut model = Model::new(buckets);
            let all = random().map(|x| f64::from_bits(x >> 1));
            for value in all.filter(|value| value.is_finite() && *value > ZERO_THRESHOLD).take(300) {
                model.count(value);
            }
        }
    }

    #[test]
    fn two_buckets_hold_the_least_and_the_greatest_value() {
        let mut model = Model::new(2);
        model.count(f64::MAX);
        model.count(ZERO_THRESHOLD.next_up());
        model.count(1.0);
        model.count(1.0f64.next_up());
        assert_eq!(State::from_word(model.cell[STATE].load(Ordering::Relaxed)).scale as i32, MIN_SCALE);
        assert_eq!(total(&model.cell, &model.scratch), 4);
    }

    #[test]
    fn what_is_as_good_as_zero_has_a_count_of_its_own() {
        let mut model = Model::new(4);
        for value in [0.0, -0.0, 5e-324, ZERO_THRESHOLD] {
            count(&model.cell, &model.scratch, value);
        }
        assert_eq!((model.cell[ZERO].load(Ordering::Relaxed), model.cell[STATE].load(Ordering::Relaxed)), (4, 0));
        model.count(ZERO_THRESHOLD.next_up());
        assert_eq!(total(&model.cell, &model.scratch), 5);
    }
}
