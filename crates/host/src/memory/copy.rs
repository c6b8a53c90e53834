//! A copy of a region, for a host that cannot borrow the guest's memory.

use std::ops::Range;

use wasmetry_abi::layout::{HEADER_WIDTH, Offsets};

use crate::limits;
use crate::memory::region::{u32_at, u64_at};
use crate::memory::view::RegionView;

/// A copy of the part of a guest's memory that a region lies in.
#[derive(Debug)]
pub struct MemoryCopy {
    bytes: Vec<u8>,
    base: u64,
    header: u64,
}

impl MemoryCopy {
    /// Copies a region's header and entries.
    ///
    /// `copy` fills its buffer with the guest's bytes from an address on, or returns `false`.
    /// `most` is the greatest number of bytes that are copied.
    /// `size` returns the number of bytes behind the head of an entry with a hash. Nothing is
    /// judged here: a read of the copy counts what is missing.
    pub(crate) fn new(
        header: u64,
        mut copy: impl FnMut(u64, &mut [u8]) -> bool,
        most: u64,
        size: impl Fn(u64) -> usize,
    ) -> Self {
        if let Some((head, all)) = extents(header, &mut copy, size) {
            let is_small = all.end - all.start <= most;
            // Of a header without its entries, the read finds that they are missing.
            for extent in [Some(all).filter(|_| is_small), Some(head)].into_iter().flatten() {
                let mut bytes = vec![0; (extent.end - extent.start) as usize];
                if copy(extent.start, &mut bytes) {
                    return Self { bytes, base: extent.start, header };
                }
            }
        }
        Self { bytes: Vec::new(), base: header, header }
    }

    /// The copy as the view that a read takes.
    pub fn view(&self) -> RegionView<'_> {
        RegionView { memory: &self.bytes, base: self.base, header: self.header }
    }
}

/// Returns the range of the header, and that of the header and all entries. Returns `None` if there
/// is no header.
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
    // A cyclic list never ends.
    for _ in 0..limits::ENTRIES {
        if next == 0 || !copy(next, entry) {
            break;
        }
        let rest = size(u64_at(entry, offsets.entry_hash)?) as u64;
        let end = next.checked_add(offsets.entry_size as u64)?.checked_add(rest)?;
        all = all.start.min(next)..all.end.max(end);
        next = address(entry.get(offsets.entry_next..)?.get(..offsets.pointer)?);
    }
    Some((head, all))
}

/// Returns a pointer of either width.
fn address(pointer: &[u8]) -> u64 {
    u64_at(pointer, 0).or_else(|| u32_at(pointer, 0).map(u64::from)).unwrap_or(0)
}
