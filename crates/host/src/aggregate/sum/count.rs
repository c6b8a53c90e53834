//! Sums of whole numbers. Guests count modulo 2⁶⁴, sums here stay at their greatest value.

use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// The greatest increase between two reads. A greater difference is a count that has fallen.
pub(in crate::aggregate) const GREATEST_INCREASE: u64 = i64::MAX as u64;

/// Adds a count that was never read before.
#[inline]
pub(in crate::aggregate) fn add_first(total: &mut u64, count: u64, drops: &mut DropCounts) {
    if count > GREATEST_INCREASE {
        drops.add(HostDropReason::OutOfRange, 1);
    } else {
        *total = total.saturating_add(count);
    }
}

/// Adds the increase of a count since the last read, and keeps the count for the next read.
#[inline]
pub(in crate::aggregate) fn add_increase(total: &mut u64, count: u64, last_seen: &mut u64, drops: &mut DropCounts) {
    let increase = count.wrapping_sub(*last_seen);
    if increase > GREATEST_INCREASE {
        drops.add(if count > *last_seen { HostDropReason::OutOfRange } else { HostDropReason::Decrease }, 1);
    } else {
        *total = total.saturating_add(increase);
    }
    *last_seen = count;
}

/// Adds the counts in `cells` that were never read before.
pub(in crate::aggregate) fn add_all_first(totals: &mut [u64], cells: &[u8], drops: &mut DropCounts) {
    for (total, count) in totals.iter_mut().zip(words(cells)) {
        add_first(total, count, drops);
    }
}

/// Adds the increases of the counts in `cells` since the last read, and keeps the counts for the
/// next read.
pub(in crate::aggregate) fn add_all_increases(
    totals: &mut [u64],
    cells: &[u8],
    last_seen: &mut [u64],
    drops: &mut DropCounts,
) {
    for ((total, last_seen), count) in totals.iter_mut().zip(last_seen).zip(words(cells)) {
        add_increase(total, count, last_seen, drops);
    }
}

/// Adds the signed numbers in `cells` that were never read before.
pub(in crate::aggregate) fn add_all_first_signed(totals: &mut [u64], cells: &[u8]) {
    for (total, number) in totals.iter_mut().zip(words(cells)) {
        *total = total.wrapping_add(number);
    }
}

/// Adds the changes of the signed numbers in `cells` since the last read, and keeps the numbers for
/// the next read.
pub(in crate::aggregate) fn add_all_changes_signed(totals: &mut [u64], cells: &[u8], last_seen: &mut [u64]) {
    for ((total, last_seen), number) in totals.iter_mut().zip(last_seen).zip(words(cells)) {
        *total = total.wrapping_add(number.wrapping_sub(*last_seen));
        *last_seen = number;
    }
}
