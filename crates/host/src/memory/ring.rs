//! A ring in a guest's memory. No byte here is trusted.

use wasmetry_abi::ring::{self, CAPACITY, HEAD, HEADER_SIZE, TAIL};

use crate::limits;
use crate::memory::budget::ReadBudget;
use crate::memory::region::{u32_at, u64_at};
use crate::memory::view::RegionView;
use crate::registry::drop_reason::HostDropReason;

/// The records of a ring that a read has not read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    /// Those that were overwritten before.
    pub(crate) overwritten: u64,
    /// Those for which there was no budget, or none within its bound.
    pub(crate) over_budget: u64,
}

/// The position of the last read in one ring of one instance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader {
    position: u64,
    /// The expected sequence number of the next record.
    expected: u64,
}

impl Reader {
    /// The number of records that were read or lost, which is the next record's sequence number.
    pub(crate) fn consumed(&self) -> u64 {
        self.expected
    }

    /// Returns the words of the records that were not read, at most those of the largest ring.
    pub(crate) fn unread_words(&self, window: &RegionView<'_>, address: u64) -> u64 {
        let head = window.slice(address, HEADER_SIZE).and_then(|bytes| u64_at(bytes, HEAD));
        head.map_or(0, |head| head.saturating_sub(self.position).min(limits::RING_WORDS))
    }

    /// Passes the bytes of each new record to `take`, oldest first, as long as there is budget.
    pub(crate) fn read(
        &mut self,
        window: &RegionView<'_>,
        address: u64,
        budget: &mut ReadBudget,
        mut take: impl FnMut(&[u8], &mut ReadBudget),
    ) -> Result<Unread, HostDropReason> {
        let head_bytes = window.slice(address, HEADER_SIZE).ok_or(HostDropReason::Ring)?;
        let capacity = u64::from(u32_at(head_bytes, CAPACITY).unwrap_or(0));
        let tail = u64_at(head_bytes, TAIL).unwrap_or(0);
        let head = u64_at(head_bytes, HEAD).unwrap_or(0);
        let is_sound = address.is_multiple_of(8)
            && capacity.is_power_of_two()
            && capacity <= limits::RING_WORDS
            && head.checked_sub(tail).is_some_and(|len| len <= capacity)
            && self.position <= head;
        if !is_sound {
            return Err(HostDropReason::Ring);
        }
        let words = window.slice(address + HEADER_SIZE as u64, 8 * capacity as usize).ok_or(HostDropReason::Ring)?;
        let mut unread = Unread::default();
        let mut at = self.position.max(tail);
        let mut record = Vec::new();
        while at < head {
            let start = 8 * (at & (capacity - 1)) as usize;
            let first = u64_at(words, start).unwrap_or(0);
            let len = ring::record_words(first) as u64;
            if len < 3 || len > head - at || len > ring::RECORD_WORDS as u64 {
                self.position = head;
                return Err(HostDropReason::Ring);
            }
            let sequence = ring::record_sequence(first);
            let missed = u64::from(sequence.wrapping_sub(self.expected as u32));
            // A sequence number that goes back.
            if missed > limits::RING_WORDS {
                self.position = head;
                return Err(HostDropReason::Ring);
            }
            unread.overwritten += missed;
            self.expected += missed + 1;
            at += len;
            if !budget.take_record(8 * len) {
                unread.over_budget += 1;
                continue;
            }
            let end = start + 8 * len as usize;
            match words.get(start..end) {
                Some(bytes) => take(bytes, budget),
                None => {
                    record.clear();
                    record.extend_from_slice(&words[start..]);
                    record.extend_from_slice(&words[..end - words.len()]);
                    take(&record, budget);
                }
            }
        }
        self.position = head;
        Ok(unread)
    }
}
