//! The exemplars of an answer, spread over its range.

use std::ops::Range;

use crate::limits;

/// A value and its trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    /// In nanoseconds.
    pub(super) time: u64,
    pub(super) value: f64,
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    /// `true` if the trace is kept.
    pub(super) is_kept: bool,
}

/// The greatest values of each of equal slices of a range, so that a peak of a minute hides nothing
/// of the rest.
#[derive(Debug)]
pub(super) struct ExemplarSlices {
    times: Range<u64>,
    most: usize,
    /// Those of each slice, the greatest first.
    slices: Vec<Vec<Exemplar>>,
}

impl ExemplarSlices {
    /// Creates the slices of a range in nanoseconds, each of which keeps `most` exemplars.
    pub(super) fn new(times: Range<u64>, most: usize) -> Self {
        Self { times, most, slices: vec![Vec::new(); limits::EXEMPLAR_SLICES] }
    }

    /// Adds an exemplar, unless it is outside the range or its slice has greater ones.
    pub(super) fn add(&mut self, exemplar: Exemplar) {
        if !self.times.contains(&exemplar.time) {
            return;
        }
        let length = (self.times.end - self.times.start).div_ceil(self.slices.len() as u64);
        let slice = &mut self.slices[((exemplar.time - self.times.start) / length) as usize];
        let at = slice.partition_point(|known| known.value >= exemplar.value);
        if at < self.most {
            slice.truncate(self.most - 1);
            slice.insert(at, exemplar);
        }
    }

    /// Returns the greatest exemplar of each slice, then the second of each, and so on; those of
    /// one rank by their values.
    pub(super) fn ordered(self) -> Vec<Exemplar> {
        let ranked = self.slices.into_iter().flat_map(|slice| slice.into_iter().enumerate());
        let mut ranked: Vec<(usize, Exemplar)> = ranked.collect();
        ranked.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| other.value.total_cmp(&one.value)));
        ranked.into_iter().map(|(_, exemplar)| exemplar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_keep_their_greatest() {
        let slices = limits::EXEMPLAR_SLICES as u64;
        let mut kept = ExemplarSlices::new(1000..1000 + slices * 10, 2);
        let mut add = |time: u64, value: f64| {
            kept.add(Exemplar { time, value, trace_id: 1, span_id: 1, is_kept: true });
        };
        for (time, value) in [(999, 9.0), (1000 + slices * 10, 9.0), (1000, 1.0), (1009, 3.0), (1001, 2.0)] {
            add(time, value);
        }
        add(1010, 0.5);
        add(1000 + slices * 10 - 1, 4.0);
        let values: Vec<f64> = kept.ordered().into_iter().map(|exemplar| exemplar.value).collect();
        assert_eq!(values, [4.0, 3.0, 0.5, 2.0]);
    }
}
