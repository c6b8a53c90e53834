//! The regions that a store's guest has opened, each with the memory that it lies in.

use std::time::Duration;

use wasmetry_host::{Instance, RegionView};
use wasmtime::component::WasmList;
use wasmtime::{Func, Memory, StoreContext};

/// The regions of one store's guest: one for each instance that uses the guest crate, and at most
/// [`REGIONS`](wasmetry_host::limits::REGIONS), unless the limits of its component differ.
#[derive(Default)]
pub(crate) struct Regions(Vec<Region>);

impl Regions {
    /// Adds a region. The caller has checked that there is room for it.
    pub(super) fn push(&mut self, region: Region) {
        self.0.push(region);
    }

    /// Returns the number of regions.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Region> {
        self.0.iter_mut()
    }

    /// Returns the number of records that were read of the only region, or 0 if there is another
    /// number of regions.
    pub(super) fn consumed(&self) -> u64 {
        if let [region] = &self.0[..] { region.instance.consumed() } else { 0 }
    }

    /// Returns the bytes of all windows. One that several regions share counts for each.
    pub(super) fn lent_bytes(&self) -> usize {
        let bytes = |region: &Region| match &region.window {
            Window::Lent(list, _) => list.len(),
            // The regions of a core module are a small part of its memory.
            Window::Memory(..) => 0,
        };
        self.0.iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// Returns the exports in which the host found the regions of core modules.
    pub(super) fn module_exports(&self) -> impl Iterator<Item = Func> {
        self.0.iter().filter_map(|region| match region.window {
            Window::Memory(_, export) => Some(export),
            Window::Lent(..) => None,
        })
    }

    /// Ends the instances of all regions with the values of their last reads.
    pub(super) fn end(self, now: Duration) {
        self.into_iter().for_each(|region| region.instance.end(now));
    }
}

impl IntoIterator for Regions {
    type Item = Region;
    type IntoIter = std::vec::IntoIter<Region>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A region of a guest.
pub(crate) struct Region {
    pub(super) window: Window,
    /// The address of the region's header in the guest's memory.
    pub(super) header: u64,
    pub(super) instance: Instance,
}

/// The memory that a region lies in.
pub(crate) enum Window {
    /// The list that a component has lent, and the address of its first byte.
    Lent(WasmList<u8>, u64),
    /// The whole memory of a core module, and the export that returned the header's address.
    Memory(Memory, Func),
}

impl Window {
    /// Returns the place of a region's header in the host's memory at this moment, by which regions
    /// of different memories differ.
    pub(super) fn place<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>, header: u64) -> usize {
        let view = self.view(store, header);
        view.memory.as_ptr().addr().wrapping_add(header.wrapping_sub(view.base) as usize)
    }

    /// Returns the current bytes, as the view of the region whose header is at this address.
    pub(super) fn view<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>, header: u64) -> RegionView<'a> {
        match self {
            Self::Lent(list, base) => RegionView { memory: list.as_le_slice(store), base: *base, header },
            Self::Memory(memory, _) => RegionView { memory: memory.data(store), base: 0, header },
        }
    }
}
