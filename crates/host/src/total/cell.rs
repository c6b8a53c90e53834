//! Adding up cells: the loops that every read of every instance runs.

use crate::offence::{Findings, Offence};
use crate::region::words;

/// A difference above this is a count that has fallen.
const GREATEST_INCREASE: u64 = i64::MAX as u64;

/// Adds counts that were never read before.
pub(super) fn add(totals: &mut [u64], cells: &[u8], findings: &mut Findings) {
    let mut decreases = 0;
    for (total, count) in totals.iter_mut().zip(words(cells)) {
        let is_decrease = count > GREATEST_INCREASE;
        *total = total.saturating_add(if is_decrease { 0 } else { count });
        decreases += u64::from(is_decrease);
    }
    if decreases > 0 {
        findings.add(Offence::Decrease, decreases);
    }
}

/// Adds what counts have grown by since `memory` was read, and remembers them.
pub(super) fn add_since(totals: &mut [u64], cells: &[u8], memory: &mut [u64], findings: &mut Findings) {
    let mut decreases = 0;
    for ((total, last), count) in totals.iter_mut().zip(memory).zip(words(cells)) {
        let difference = count.wrapping_sub(*last);
        let is_decrease = difference > GREATEST_INCREASE;
        *total = total.saturating_add(if is_decrease { 0 } else { difference });
        *last = count;
        decreases += u64::from(is_decrease);
    }
    if decreases > 0 {
        findings.add(Offence::Decrease, decreases);
    }
}

/// The floating sum in a word, unless it is no number that could be added.
pub(super) fn sum(word: &[u8]) -> Option<f64> {
    words(word).next().map(f64::from_bits).filter(|sum| sum.is_finite())
}

/// Adds to a sum, unless it would be no number any more.
pub(super) fn add_float(sum: &mut f64, term: f64) {
    let next = *sum + term;
    if next.is_finite() {
        *sum = next;
    }
}
