//! The part of a guest's memory that a region lies in, for a host that can only copy from that memory.

use std::ops::Range;

use wasmetry_abi::layout::{HEADER_WIDTH, Offsets};

use crate::limits;
use crate::memory::region::{u32_at, u64_at};

/// Copies what a region consists of; returns the bytes and the address of the first.
///
/// `copy` fills its buffer with the guest's bytes from an address on, or says no where they are not all there; `size` tells
/// how many bytes an entry with this hash has behind its head. Nothing that is met here is judged: what is not in the copy
/// is an offence to the one who reads it.
pub(crate) fn copy(
    header: u64,
    mut copy: impl FnMut(u64, &mut [u8]) -> bool,
    size: impl Fn(u64) -> usize,
) -> (Vec<u8>, u64) {
    let Some((head, all)) = extents(header, &mut copy, size) else { return (Vec::new(), header) };
    let is_small = all.end - all.start <= limits::PUSHED_BYTES;
    // Of a header without its entries the read says that they are not there.
    for extent in [Some(all).filter(|_| is_small), Some(head)].into_iter().flatten() {
        let mut bytes = vec![0; (extent.end - extent.start) as usize];
        if copy(extent.start, &mut bytes) {
            return (bytes, extent.start);
        }
    }
    (Vec::new(), header)
}

/// Where the header lies, and where the header and all entries lie; nothing where there can be no header.
fn extents(
    header: u64,
    mut copy: impl FnMut(u64, &mut [u8]) -> bool,
    size: impl Fn(u64) -> usize,
) -> Option<(Range<u64>, Range<u64>)> {
    let mut width = [0];
    if !copy(header.checked_add(HEADER_WIDTH as u64)?, &mut width) {
        return None;
    }
    let offsets = Offsets::for_width(width[0])?;
    let head = header..header.checked_add(offsets.header_size as u64)?;
    let mut newest = [0; 8];
    let newest = newest.get_mut(..offsets.pointer)?;
    if !copy(header + offsets.header_metrics as u64, newest) {
        return None;
    }
    let mut all = head.clone();
    let mut next = address(newest);
    let mut entry = [0; Offsets::WIDTH_8.entry_size];
    let entry = entry.get_mut(..offsets.entry_size)?;
    // A list that comes back to where it was never ends.
    for _ in 0..limits::ENTRIES {
        if next == 0 || !copy(next, entry) {
            break;
        }
        let behind = size(u64_at(entry, offsets.entry_hash)?) as u64;
        let end = next.checked_add(offsets.entry_size as u64)?.checked_add(behind)?;
        all = all.start.min(next)..all.end.max(end);
        next = address(entry.get(offsets.entry_next..)?.get(..offsets.pointer)?);
    }
    Some((head, all))
}

/// A pointer of either width.
fn address(pointer: &[u8]) -> u64 {
    u64_at(pointer, 0).or_else(|| u32_at(pointer, 0).map(u64::from)).unwrap_or(0)
}
