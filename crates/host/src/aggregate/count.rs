//! Adding counts: the loops that each read of each instance runs.

use crate::memory::region::words;
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// The greatest increase between two reads. A greater difference is a count that has fallen: guests
/// count modulo 2⁶⁴.
pub(super) const GREATEST_INCREASE: u64 = i64::MAX as u64;

/// Adds counts that were never read before.
pub(super) fn merge_first(totals: &mut [u64], cells: &[u8], drops: &mut DropCounts) {
    for (total, count) in totals.iter_mut().zip(words(cells)) {
        if count > GREATEST_INCREASE {
            drops.add(HostDropReason::OutOfRange, 1);
        } else {
            *total = total.saturating_add(count);
        }
    }
}

/// Adds the increases of counts since the last read, and keeps the counts for the next one.
pub(super) fn merge_delta(totals: &mut [u64], cells: &[u8], last_seen: &mut [u64], drops: &mut DropCounts) {
    for ((total, last), count) in totals.iter_mut().zip(last_seen).zip(words(cells)) {
        let increase = count.wrapping_sub(*last);
        if increase > GREATEST_INCREASE {
            drops.add(if count > *last { HostDropReason::OutOfRange } else { HostDropReason::Decrease }, 1);
        } else {
            *total = total.saturating_add(increase);
        }
        *last = count;
    }
}

/// Adds signed numbers that were never read before.
pub(super) fn merge_first_signed(totals: &mut [u64], cells: &[u8]) {
    for (total, number) in totals.iter_mut().zip(words(cells)) {
        *total = total.wrapping_add(number);
    }
}

/// Adds the changes of signed numbers since the last read, and keeps the numbers for the next one.
pub(super) fn merge_delta_signed(totals: &mut [u64], cells: &[u8], last_seen: &mut [u64]) {
    for ((total, last), number) in totals.iter_mut().zip(last_seen).zip(words(cells)) {
        *total = total.wrapping_add(number.wrapping_sub(*last));
        *last = number;
    }
}
