//! A region in a guest's memory: its header and its list of entries. No byte here is trusted.

use std::collections::HashSet;

use wasmetry_abi::VERSION;
use wasmetry_abi::layout::{GuestDropReason, HAS_SITES, HEADER_FLAGS, HEADER_VERSION, HEADER_WIDTH, MAGIC, Offsets};

use crate::limits;
use crate::memory::view::RegionView;
use crate::registry::drop_reason::{DropCounts, HostDropReason};

/// One entry of a region's list: its address and its descriptor's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) hash: u64,
}

/// A region with a valid header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region<'a> {
    pub(crate) window: RegionView<'a>,
    pub(crate) offsets: &'static Offsets,
    header: &'a [u8],
}

impl<'a> Region<'a> {
    pub(crate) fn open(window: RegionView<'a>) -> Result<Self, HostDropReason> {
        let address = window.header;
        let head = window.slice(address, HEADER_WIDTH + 1).ok_or(HostDropReason::Header)?;
        if !address.is_multiple_of(8) || u32_at(head, 0) != Some(MAGIC) {
            return Err(HostDropReason::Header);
        }
        if u16_at(head, HEADER_VERSION).map(u32::from) != Some(VERSION) {
            return Err(HostDropReason::FormatVersion);
        }
        let offsets = match head[HEADER_WIDTH] {
            4 => &Offsets::WIDTH_4,
            8 => &Offsets::WIDTH_8,
            _ => return Err(HostDropReason::Header),
        };
        let header = window.slice(address, offsets.header_size).ok_or(HostDropReason::Header)?;
        Ok(Self { window, offsets, header })
    }

    /// The guest's loss counters, cumulative.
    pub(crate) fn losses(&self) -> [u64; GuestDropReason::ALL.len()] {
        GuestDropReason::ALL
            .map(|loss| u64_at(self.header, self.offsets.header_losses + 8 * loss as usize).unwrap_or(0))
    }

    /// The addresses of the two rings; 0 for an unused one.
    pub(crate) fn rings(&self) -> [u64; 2] {
        [self.offsets.header_ring, self.offsets.header_audit].map(|at| self.pointer(self.header, at))
    }

    /// Returns the address of the first entry with this hash, if it is among [`limits::ENTRIES`].
    pub(crate) fn find(&self, hash: u64) -> Option<u64> {
        let mut next = self.pointer(self.header, self.offsets.header_metrics);
        for _ in 0..limits::ENTRIES {
            if next == 0 || !next.is_multiple_of(8) {
                break;
            }
            let entry = self.window.slice(next, self.offsets.entry_size)?;
            if u64_at(entry, self.offsets.entry_hash) == Some(hash) {
                return Some(next);
            }
            next = self.pointer(entry, self.offsets.entry_next);
        }
        None
    }

    /// The address of the table of dynamic sites, or 0.
    pub(crate) fn sites(&self) -> u64 {
        if self.header[HEADER_FLAGS] & HAS_SITES == 0 {
            return 0;
        }
        let address = self.window.header + self.offsets.header_size as u64;
        self.window.slice(address, self.offsets.pointer).map_or(0, |bytes| self.pointer(bytes, 0))
    }

    /// Lists the entries, newest first, up to the first invalid one.
    pub(crate) fn walk(&self, entries: &mut Vec<Entry>, drops: &mut DropCounts) {
        entries.clear();
        let mut next = self.pointer(self.header, self.offsets.header_metrics);
        while next != 0 {
            // The limit also ends a cyclic list.
            if entries.len() == limits::ENTRIES {
                drops.add(HostDropReason::EntryList, 1);
                let mut met = HashSet::new();
                let sound = entries.iter().take_while(|entry| met.insert(entry.address)).count();
                return entries.truncate(sound);
            }
            let entry = next.is_multiple_of(8).then(|| self.window.slice(next, self.offsets.entry_size)).flatten();
            let Some(entry) = entry else { return drops.add(HostDropReason::EntryList, 1) };
            entries.push(Entry { address: next, hash: u64_at(entry, self.offsets.entry_hash).unwrap_or(0) });
            next = self.pointer(entry, self.offsets.entry_next);
        }
    }

    fn pointer(&self, bytes: &[u8], at: usize) -> u64 {
        let pointer = if self.offsets.pointer == 4 { u32_at(bytes, at).map(u64::from) } else { u64_at(bytes, at) };
        pointer.unwrap_or(0)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// The number at an offset, if it lies in the bytes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The number at an offset, if it lies in the bytes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Iterates over the 8-byte words of some bytes.
pub(crate) fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}
