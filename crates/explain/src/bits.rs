//! Sets of requests as bits, with the requests of one group and one weight side by side.

use std::ops::Range;

/// The places of the requests of both groups.
#[derive(Debug)]
pub(crate) struct Places {
    /// The words of each run of requests with one weight: those of the first group, then those of
    /// the second.
    runs: [Vec<(Range<usize>, u64)>; 2],
    /// The bits that stand for a request.
    all: Bits,
    /// The place of each request of each group.
    places: [Vec<usize>; 2],
}

/// A set of requests.
pub(crate) type Bits = Box<[u64]>;

/// The requests of a set in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weighed {
    /// The number of requests.
    pub(crate) requests: usize,
    /// The number of requests that they stand for.
    pub(crate) weight: u64,
    /// The sum of the squares of the weights.
    pub(crate) squares: f64,
}

impl Places {
    /// Places the requests of both groups by their weights.
    pub(crate) fn new(weights: [&[u32]; 2]) -> Self {
        let mut words = 0;
        let mut runs = [Vec::new(), Vec::new()];
        let mut places = [vec![0; weights[0].len()], vec![0; weights[1].len()]];
        for group in 0..2 {
            let mut order: Vec<usize> = (0..weights[group].len()).collect();
            order.sort_by_key(|index| weights[group][*index]);
            for run in order.chunk_by(|a, b| weights[group][*a] == weights[group][*b]) {
                let weight = weights[group][run[0]];
                for (at, index) in run.iter().enumerate() {
                    places[group][*index] = 64 * words + at;
                }
                let end = words + run.len().div_ceil(64);
                runs[group].push((words..end, u64::from(weight)));
                words = end;
            }
        }
        let mut all = vec![0; words].into_boxed_slice();
        for place in places.iter().flatten() {
            all[place / 64] |= 1 << (place % 64);
        }
        Self { runs, all, places }
    }

    pub(crate) fn empty(&self) -> Bits {
        vec![0; self.all.len()].into_boxed_slice()
    }

    /// Adds a request of a group to a set.
    pub(crate) fn insert(&self, bits: &mut Bits, group: usize, index: usize) {
        let place = self.places[group][index];
        bits[place / 64] |= 1 << (place % 64);
    }

    /// Returns `true` if a set has a request.
    pub(crate) fn contains(&self, bits: &Bits, group: usize, index: usize) -> bool {
        let place = self.places[group][index];
        bits[place / 64] >> (place % 64) & 1 == 1
    }

    /// The set of all requests.
    pub(crate) fn all(&self) -> &Bits {
        &self.all
    }

    /// The requests that are not in a set.
    pub(crate) fn complement(&self, bits: &Bits) -> Bits {
        bits.iter().zip(&self.all).map(|(bits, all)| !bits & all).collect()
    }

    /// Counts the requests of a group that are in both sets.
    pub(crate) fn weigh(&self, a: &Bits, b: &Bits, group: usize) -> Weighed {
        let mut found = Weighed::default();
        for (words, weight) in &self.runs[group] {
            let ones = |(a, b): (&u64, &u64)| (a & b).count_ones() as usize;
            let requests: usize = a[words.clone()].iter().zip(&b[words.clone()]).map(ones).sum();
            found.requests += requests;
            found.weight += requests as u64 * weight;
            found.squares += requests as f64 * (*weight as f64) * (*weight as f64);
        }
        found
    }
}

/// The requests in both sets.
pub(crate) fn both(a: &Bits, b: &Bits) -> Bits {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

/// The number of requests in one set and not in the other.
pub(crate) fn distance(a: &Bits, b: &Bits) -> usize {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones() as usize).sum()
}

/// The number of requests in a set.
pub(crate) fn count(bits: &Bits) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}
