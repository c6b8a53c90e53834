//! The two arguments of each read: the memory of a region, and the time.

use std::time::Duration;

/// The memory that a region lies in: the window that a guest has lent, or a copy of it.
///
/// ```
/// use wasmetry_host::RegionView;
///
/// let window = [0u8; 64];
/// // A window at the address 1024 of the guest's memory, with the header at its beginning.
/// let view = RegionView { memory: &window, base: 1024, header: 1024 };
/// # assert_eq!(view.base, view.header);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RegionView<'a> {
    /// The bytes of the window.
    pub memory: &'a [u8],
    /// The address of the window's first byte in the guest's memory.
    pub base: u64,
    /// The address of the region's header in the guest's memory.
    pub header: u64,
}

impl<'a> RegionView<'a> {
    /// Returns the bytes at an address, or `None` unless all of them lie in the window.
    pub(crate) fn slice(&self, address: u64, len: usize) -> Option<&'a [u8]> {
        let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
        self.memory.get(start..start.checked_add(len)?)
    }
}

/// The time of a read, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// The time since the moment that [`Registry::snapshot`](crate::Registry::snapshot) counts
    /// from.
    pub monotonic: Duration,
    /// The wall clock in nanoseconds since 1970-01-01 00:00 UTC; 0 if it is not known.
    ///
    /// Exemplars, and records without a time of their own, get it.
    pub wall: u64,
}

impl From<Duration> for Timestamp {
    /// A time without a wall clock, for reads that take neither exemplars nor records.
    fn from(monotonic: Duration) -> Self {
        Self { monotonic, wall: 0 }
    }
}
