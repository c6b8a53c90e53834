//! The regions that a store's guest has opened, each with the memory that it lies in.

use wasmetry_host::{Instance, RegionView};
use wasmtime::component::WasmList;
use wasmtime::{Func, Memory, StoreContext};

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
    /// Returns the current bytes, as the view of the region whose header is at this address.
    pub(super) fn view<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>, header: u64) -> RegionView<'a> {
        match self {
            Self::Lent(list, base) => RegionView { memory: list.as_le_slice(store), base: *base, header },
            Self::Memory(memory, _) => RegionView { memory: memory.data(store), base: 0, header },
        }
    }
}
