//! Adding up cells: the loops that every read of every instance runs.

use wasmetry_abi::Kind;

use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::snapshot::number::Number;

/// A difference above this is a count that has fallen.
pub(super) const GREATEST_INCREASE: u64 = i64::MAX as u64;

/// Adds counts that were never read before.
pub(super) fn add(totals: &mut [u64], cells: &[u8], drops: &mut DropCounts) {
    let mut decreases = 0;
    for (total, count) in totals.iter_mut().zip(words(cells)) {
        let is_decrease = count > GREATEST_INCREASE;
        *total = total.saturating_add(if is_decrease { 0 } else { count });
        decreases += u64::from(is_decrease);
    }
    if decreases > 0 {
        drops.add(HostDropReason::Decrease, decreases);
    }
}

/// Adds what counts have grown by since `memory` was read, and remembers them.
pub(super) fn add_since(totals: &mut [u64], cells: &[u8], memory: &mut [u64], drops: &mut DropCounts) {
    let mut decreases = 0;
    for ((total, last), count) in totals.iter_mut().zip(memory).zip(words(cells)) {
        let difference = count.wrapping_sub(*last);
        let is_decrease = difference > GREATEST_INCREASE;
        *total = total.saturating_add(if is_decrease { 0 } else { difference });
        *last = count;
        decreases += u64::from(is_decrease);
    }
    if decreases > 0 {
        drops.add(HostDropReason::Decrease, decreases);
    }
}

/// Adds signed numbers that were never read before.
pub(super) fn add_signed(totals: &mut [u64], cells: &[u8]) {
    for (total, number) in totals.iter_mut().zip(words(cells)) {
        *total = total.wrapping_add(number);
    }
}

/// Adds what signed numbers have changed by since `memory` was read, and remembers them.
pub(super) fn add_signed_since(totals: &mut [u64], cells: &[u8], memory: &mut [u64]) {
    for ((total, last), number) in totals.iter_mut().zip(memory).zip(words(cells)) {
        *total = total.wrapping_add(number.wrapping_sub(*last));
        *last = number;
    }
}

/// The floating number in a word, of which `last` was read before, unless it could not be added or a counter has fallen.
pub(super) fn sum(kind: Kind, word: &[u8], last: f64) -> Result<f64, HostDropReason> {
    match words(word).next().map(f64::from_bits) {
        Some(sum) if sum.is_finite() && (kind != Kind::CounterF64 || sum >= last) => Ok(sum),
        Some(sum) if sum.is_finite() => Err(HostDropReason::Decrease),
        _ => Err(HostDropReason::NotFinite),
    }
}

/// The number that whole amounts and others have added up to; whole if there were no others.
pub(super) fn number(kind: Kind, whole: u64, sum: f64) -> Number {
    match kind {
        _ if whole == 0 => Number::Float(sum),
        Kind::UpDownF64 if sum == 0.0 => Number::Signed(whole.cast_signed()),
        Kind::UpDownF64 => Number::Float(whole.cast_signed() as f64 + sum),
        _ if sum == 0.0 => Number::Unsigned(whole),
        _ => Number::Float(whole as f64 + sum),
    }
}

/// Adds to a sum, unless it would be no number any more.
pub(super) fn add_float(sum: &mut f64, term: f64) {
    let next = *sum + term;
    if next.is_finite() {
        *sum = next;
    }
}
