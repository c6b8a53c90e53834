//! The buckets of one series of an exponential histogram.
//!
//! `crates/abi/FORMAT.md`, section 2, specifies the words and the order in which they change: a
//! host may read them between any two stores.

use wasmetry_abi::exponential::{
    BUCKETS, MAX_SCALE, SCRATCH_BUCKETS, STATE, SUM, State, ZERO, ZERO_THRESHOLD, index, scratch_buckets,
};

use crate::sync::{AtomicU64, Ordering, Publish as _, add, exclusive};

/// Scratch area: the index of the lock.
const LOCK: usize = 0;

/// Scratch area: the index of the position, from 1 on, of the series that has used the area last.
const OWNER: usize = 1;

/// One series: its cell and its metric's scratch area.
#[derive(Clone, Copy)]
pub(super) struct Buckets<'a> {
    /// The metric's scratch area and all of its cells.
    words: &'a [AtomicU64],
    position: usize,
    max_buckets: u16,
}

impl<'a> Buckets<'a> {
    pub(super) const fn new(words: &'a [AtomicU64], position: usize, max_buckets: u16) -> Self {
        Self { words, position, max_buckets }
    }

    /// The word with the sum.
    #[inline]
    pub(super) fn sum(self) -> Option<&'a AtomicU64> {
        self.cell().get(SUM)
    }

    /// Counts a finite value that is not negative.
    #[inline(never)]
    pub(super) fn count(self, value: f64) {
        let [_, word, zero, ..] = self.cell() else { return };
        if value <= ZERO_THRESHOLD {
            return add(zero, 1);
        }
        let _alone = self.words.get(LOCK).map(exclusive);
        let mut state = State::from_word(word.load(Ordering::Relaxed));
        if state.in_scratch {
            state = self.restore(state);
        }
        let index = if state.len == 0 {
            let base = index(value, MAX_SCALE);
            state = State { base, below: 0, len: 1, scale: MAX_SCALE as i8, in_scratch: false };
            self.store(state);
            base
        } else {
            let index = index(value, i32::from(state.scale));
            // One comparison, because an index below the lowest one becomes a great number.
            if index.wrapping_sub(state.first()).cast_unsigned() < u32::from(state.len) {
                index
            } else {
                self.extend(&mut state, index)
            }
        };
        if let Some(bucket) = self.bucket(state, index) {
            add(bucket, 1);
        }
    }

    /// The number of values that were counted.
    pub(super) fn total(self) -> u64 {
        let _alone = self.words.get(LOCK).map(exclusive);
        self.cell().get(ZERO..).unwrap_or(&[]).iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Extends the range of buckets to an index outside of it. Returns the index at the scale that
    /// the series then has.
    #[cold]
    fn extend(self, state: &mut State, index: i32) -> i32 {
        let first = state.first();
        let (low, high) = (first.min(index), (first + i32::from(state.len) - 1).max(index));
        let mut shift = 0;
        while shift < 31 && (high >> shift) - (low >> shift) >= i32::from(self.max_buckets) {
            shift += 1;
        }
        if shift > 0 {
            *state = self.downscale(*state, shift);
        }
        let (low, high) = (low >> shift, high >> shift);
        *state = State { below: (state.base - low) as u8, len: (high - low + 1) as u8, ..*state };
        self.store(*state);
        index >> shift
    }

    /// Merges every 2^`shift` buckets. If the guest is ended in the middle, the state still locates
    /// all counts.
    fn downscale(self, state: State, shift: i32) -> State {
        let (Some(owner), sums) = (self.words.get(OWNER), self.sums()) else { return state };
        // A guest that was ended in the middle of this, and is called again, has another series'
        // counts there.
        if let Some(position) = (owner.load(Ordering::Relaxed) as usize).checked_sub(1) {
            let other = Self { position, ..self };
            let state = other.cell().get(STATE).map_or(0, |word| word.load(Ordering::Relaxed));
            if State::from_word(state).in_scratch {
                other.restore(State::from_word(state));
            }
        }
        owner.publish(self.position as u64 + 1);
        for sum in sums {
            sum.publish(0);
        }
        let base = state.first() >> shift;
        let mut last = base;
        for index in (state.first()..).take(usize::from(state.len)) {
            last = index >> shift;
            if let (Some(sum), Some(bucket)) = (sums.get((last - base) as usize), self.bucket(state, index)) {
                add(sum, bucket.load(Ordering::Relaxed));
            }
        }
        let (len, scale) = ((last - base + 1) as u8, state.scale - shift as i8);
        let state = State { base, below: 0, len, scale, in_scratch: true };
        self.store(state);
        self.restore(state)
    }

    /// Moves the counts from the scratch area back into the cell.
    #[cold]
    fn restore(self, state: State) -> State {
        let sums = self.sums();
        for (at, bucket) in self.cell().get(BUCKETS..).unwrap_or(&[]).iter().enumerate() {
            bucket.publish(sums.get(at).map_or(0, |sum| sum.load(Ordering::Relaxed)));
        }
        let state = State { in_scratch: false, ..state };
        self.store(state);
        state
    }

    /// Publishes the state: a host sees it after all stores before it, and before all that follow.
    fn store(self, state: State) {
        if let Some(word) = self.cell().get(STATE) {
            word.publish(state.to_word());
        }
    }

    fn bucket(self, state: State, index: i32) -> Option<&'a AtomicU64> {
        self.cell().get(BUCKETS + state.slot(index, self.max_buckets))
    }

    /// The buckets of the scratch area.
    fn sums(self) -> &'a [AtomicU64] {
        self.words.get(SCRATCH_BUCKETS..self.scratch_len()).unwrap_or(&[])
    }

    /// The words of the series.
    #[inline]
    fn cell(self) -> &'a [AtomicU64] {
        let len = BUCKETS + usize::from(self.max_buckets);
        let start = self.scratch_len() + self.position * len;
        // There always is such a position; if not, the event is dropped rather than the guest
        // ended.
        self.words.get(start..start + len).unwrap_or(&[])
    }

    #[inline]
    const fn scratch_len(self) -> usize {
        SCRATCH_BUCKETS + scratch_buckets(self.max_buckets)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;
    use wasmetry_abi::exponential::MIN_SCALE;

    /// A series, and the counts that it should have.
    struct Model {
        words: Vec<AtomicU64>,
        buckets: u16,
        expected: BTreeMap<i32, u64>,
    }

    impl Model {
        fn new(buckets: u16) -> Self {
            let len = SCRATCH_BUCKETS + scratch_buckets(buckets) + BUCKETS + usize::from(buckets);
            Self { words: (0..len).map(|_| AtomicU64::new(0)).collect(), buckets, expected: BTreeMap::new() }
        }

        fn cell(&self) -> Buckets<'_> {
            Buckets::new(&self.words, 0, self.buckets)
        }

        fn word(&self, at: usize) -> u64 {
            self.cell().cell()[at].load(Ordering::Relaxed)
        }

        fn count(&mut self, value: f64) {
            self.cell().count(value);
            *self.expected.entry(index(value, MAX_SCALE)).or_default() += 1;
            self.check();
        }

        fn check(&self) {
            let state = State::decode(self.word(STATE), self.buckets).expect("a sound state");
            assert!(!state.in_scratch);
            let shift = MAX_SCALE - i32::from(state.scale);
            let mut expected = BTreeMap::<i32, u64>::new();
            for (index, count) in &self.expected {
                *expected.entry(index >> shift).or_default() += count;
            }
            let last = state.first() + i32::from(state.len) - 1;
            let bounds = (expected.first_key_value().map(|(i, _)| *i), expected.last_key_value().map(|(i, _)| *i));
            assert_eq!(bounds, (Some(state.first()), Some(last)), "the range is that of the values");
            let mut slots: Vec<u64> = (0..usize::from(self.buckets)).map(|at| self.word(BUCKETS + at)).collect();
            for (index, count) in &expected {
                assert_eq!(
                    std::mem::take(&mut slots[state.slot(*index, self.buckets)]),
                    *count,
                    "{index} of {state:?}"
                );
            }
            assert!(slots.iter().all(|count| *count == 0), "buckets outside of the range are empty");
            // A finer scale would have too many buckets.
            let (low, high) = (self.expected.first_key_value(), self.expected.last_key_value());
            if let (Some((low, _)), Some((high, _)), 1..) = (low, high, shift) {
                assert!((high >> (shift - 1)) - (low >> (shift - 1)) >= i32::from(self.buckets));
            }
        }
    }

    /// A pseudorandom sequence that is the same each time (xorshift64).
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
    fn values_use_the_finest_fitting_scale() {
        for buckets in [2, 3, 4, 7, 64, 160, 200] {
            // Values of a narrow range, of one that grows in both directions, and of any range.
            for spread in [0.001, 0.5, 8.0, 40.0, 800.0] {
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
    fn two_buckets_hold_all_values() {
        let mut model = Model::new(2);
        model.count(f64::MAX);
        model.count(ZERO_THRESHOLD.next_up());
        model.count(1.0);
        model.count(1.0f64.next_up());
        assert_eq!(i32::from(State::from_word(model.word(STATE)).scale), MIN_SCALE);
        assert_eq!(model.cell().total(), 4);
    }

    #[test]
    fn values_near_zero_are_counted_apart() {
        let mut model = Model::new(4);
        for value in [0.0, -0.0, 5e-324, ZERO_THRESHOLD] {
            model.cell().count(value);
        }
        assert_eq!((model.word(ZERO), model.word(STATE)), (4, 0));
        model.count(ZERO_THRESHOLD.next_up());
        assert_eq!(model.cell().total(), 5);
    }

    // One 1e-300 among values of one size would leave them two buckets.
    #[test]
    fn tiny_value_keeps_buckets_fine() {
        let mut model = Model::new(160);
        for value in (0..20_000).map(|n| 1.0 + f64::from(n) / 20_000.0) {
            model.count(value);
        }
        let scale = State::from_word(model.word(STATE)).scale;
        assert!(scale >= 7, "{scale}");
        model.cell().count(1e-300);
        assert_eq!((model.word(ZERO), State::from_word(model.word(STATE)).scale), (1, scale));
        model.check();
    }
}
