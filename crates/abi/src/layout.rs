//! The layout of a region: offsets and sizes, for guests with 32-bit and 64-bit pointers.
//!
//! All integers are little-endian. See `FORMAT.md`, section 2.

use crate::{Descriptor, Kind, LabelShape, exponential};

/// The first four bytes of a header: `wmtr`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"wmtr");

/// The number of loss counters in a header.
pub const LOSSES: usize = 16;

/// The reason for which a guest dropped or redirected an event. The value is the index of its loss
/// counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum GuestDropReason {
    /// A text label's table was full. The event was counted in the overflow series.
    LabelTableFull = 0,
    /// A text label's value was too long. The event was counted in the overflow series.
    LabelTooLong = 1,
    /// A value that no metric can hold (NaN, a negative duration or addend) was not recorded.
    InvalidValue = 2,
    /// A timer found no clock. Nothing was recorded.
    NoClock = 3,
    /// An integer label was out of its range. The event was counted in the overflow series.
    LabelOutOfRange = 4,
    /// A log or span was recorded while another record was being written, such as by a `Display` of
    /// one of its arguments.
    RecordNested = 5,
    /// The table of dynamic sites was full. The log or span was recorded without its place, name
    /// and fields.
    SiteTableFull = 6,
}

impl GuestDropReason {
    /// Every loss of this version, in the order of its counters.
    pub const ALL: [Self; 7] = [
        Self::LabelTableFull,
        Self::LabelTooLong,
        Self::InvalidValue,
        Self::NoClock,
        Self::LabelOutOfRange,
        Self::RecordNested,
        Self::SiteTableFull,
    ];

    /// The signal that is the poorer, as `wasmetry_dropped_total{signal}` shows it.
    pub const fn signal(self) -> &'static str {
        match self {
            Self::RecordNested | Self::SiteTableFull => "logs",
            _ => "metrics",
        }
    }

    /// The name of this loss, as `wasmetry_dropped_total{reason}` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LabelTableFull => "label_table_full",
            Self::LabelTooLong => "label_too_long",
            Self::InvalidValue => "invalid_value",
            Self::NoClock => "no_clock",
            Self::LabelOutOfRange => "label_out_of_range",
            Self::RecordNested => "record_nested",
            Self::SiteTableFull => "site_table_full",
        }
    }
}

/// The offsets that depend on the width of a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Bytes in a pointer: 4 or 8.
    pub pointer: usize,
    /// Header: the address of the entry that was registered last, or 0.
    pub header_metrics: usize,
    /// Header: the address of the ring of logs and spans, or 0.
    pub header_ring: usize,
    /// Header: the address of the ring of audit records, or 0.
    pub header_audit: usize,
    /// Header: the number of registered entries, `u32`.
    pub header_count: usize,
    /// Header: the first of the [`LOSSES`] loss counters, `u64` each.
    pub header_losses: usize,
    /// Bytes in a header without [`HAS_SITES`].
    pub header_size: usize,
    /// Entry: the address of the entry registered before it, or 0.
    pub entry_next: usize,
    /// Entry: its registration state, `u32`; see [`state`].
    pub entry_state: usize,
    /// Entry: the hash of its descriptor, `u64`.
    pub entry_hash: usize,
    /// Bytes in an entry's head; the tables of string labels follow, then the cells.
    pub entry_size: usize,
}

impl Offsets {
    /// The offsets for pointers of 4 bytes: wasm32.
    pub const WIDTH_4: Self = Self {
        pointer: 4,
        header_metrics: 8,
        header_ring: 12,
        header_audit: 16,
        header_count: 20,
        header_losses: 24,
        header_size: 24 + 8 * LOSSES,
        entry_next: 0,
        entry_state: 4,
        entry_hash: 8,
        entry_size: 16,
    };

    /// The offsets for pointers of 8 bytes: wasm64 and native processes.
    pub const WIDTH_8: Self = Self {
        pointer: 8,
        header_metrics: 8,
        header_ring: 16,
        header_audit: 24,
        header_count: 32,
        header_losses: 40,
        header_size: 40 + 8 * LOSSES,
        entry_next: 0,
        entry_state: 8,
        entry_hash: 16,
        entry_size: 24,
    };

    /// Returns the offsets for pointers of `width` bytes, or `None` if the format has no such
    /// layout.
    pub const fn for_width(width: u8) -> Option<Self> {
        match width {
            4 => Some(Self::WIDTH_4),
            8 => Some(Self::WIDTH_8),
            _ => None,
        }
    }
}

/// Header: the offset of the format's version, `u16`.
pub const HEADER_VERSION: usize = 4;

/// Header: the offset of the pointer width in bytes, `u8`.
pub const HEADER_WIDTH: usize = 6;

/// Header: the offset of the flags, `u8`.
pub const HEADER_FLAGS: usize = 7;

/// The flag of a header that the address of the table of dynamic sites follows, at
/// [`Offsets::header_size`]: a pointer, 0 while the table is unused.
pub const HAS_SITES: u8 = 1;

/// The values of an entry's state.
pub mod state {
    /// Not registered.
    pub const IDLE: u32 = 0;
    /// A thread is registering it.
    pub const LINKING: u32 = 1;
    /// In the list of a region that is not announced to the host yet.
    pub const LINKED: u32 = 2;
    /// In the list of a region that is announced to the host.
    pub const READY: u32 = 3;
}

/// The number of 8-byte words in one series of a metric of this kind, with `buckets` bucket bounds
/// or, if it is an exponential histogram, buckets.
///
/// - Counters and up/down counters: the value.
/// - Gauges: the value, then how often it was set (0: never).
/// - Histograms: the sum, then a count for each bound's bucket and one for `+Inf`, not cumulative.
/// - Exponential histograms: the sum, the [`State`](exponential::State), the zero count, then a
///   count for each bucket.
/// - Info metrics, call sites and facades: none.
pub const fn cell_words(kind: Kind, buckets: usize) -> usize {
    match kind {
        Kind::CounterU64 | Kind::CounterF64 | Kind::UpDownI64 | Kind::UpDownF64 => 1,
        Kind::GaugeI64 | Kind::GaugeF64 => 2,
        Kind::HistogramF64 | Kind::HistogramNanos => buckets + 2,
        Kind::ExponentialF64 | Kind::ExponentialNanos => exponential::BUCKETS + buckets,
        Kind::Info | Kind::LogSite | Kind::SpanSite | Kind::Facade | Kind::Route => 0,
    }
}

/// The number of 8-byte words between the tables and the cells of a metric of this kind.
///
/// Only an exponential histogram has any: its scratch area, which holds the counts of one series
/// while the series' scale is lowered.
pub const fn scratch_words(kind: Kind, max_buckets: u16) -> usize {
    if kind.is_exponential() { exponential::SCRATCH_BUCKETS + exponential::scratch_buckets(max_buckets) } else { 0 }
}

/// The number of bytes that the table of a string label takes: `capacity` tags of 4 bytes, then
/// `capacity` keys of a 4-byte length and `max_len` bytes, rounded up to 8.
///
/// A tag is 0 where the slot is free, else the low 32 bits of the value's [`hash`](crate::hash())
/// with bit 0 set. A key's length is stored plus one, last and with Release: 0 means that the key
/// is not written yet.
///
/// Returns `None` if the size does not fit in 64 bits.
pub const fn table_size(capacity: u32, max_len: u32) -> Option<u64> {
    match (capacity as u64).checked_mul(8 + max_len as u64) {
        Some(size) => size.checked_next_multiple_of(8),
        None => None,
    }
}

/// The offset of the key of slot `index` in a string label's table.
pub const fn table_key(capacity: u32, max_len: u32, index: u32) -> u64 {
    4 * capacity as u64 + index as u64 * (4 + max_len as u64)
}

/// The number of positions of a label of this shape: one for each value, and one for the overflow
/// series if the shape has one.
pub const fn positions(shape: LabelShape<'_>) -> u64 {
    match shape {
        LabelShape::Values(values) => values.count() as u64,
        LabelShape::Below(bound) => bound as u64 + 1,
        LabelShape::Text { capacity, .. } => capacity as u64 + 1,
    }
}

/// The sizes of one metric's entry, computed from its descriptor alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLayout {
    /// Bytes from the start of the entry to its first cell.
    pub cells: u64,
    /// The number of series: the product of the labels' positions.
    pub series: u64,
    /// 8-byte words in each series.
    pub words: u64,
    /// Bytes in the whole entry.
    pub size: u64,
}

impl EntryLayout {
    /// Computes the layout. Returns `None` if its size does not fit in 64 bits.
    pub fn of(descriptor: &Descriptor<'_>, offsets: &Offsets) -> Option<Self> {
        let mut cells = offsets.entry_size as u64;
        let mut series = 1u64;
        for label in descriptor.labels() {
            if let LabelShape::Text { capacity, max_len } = label.shape {
                cells = cells.checked_add(table_size(capacity, max_len)?)?;
            }
            series = series.checked_mul(positions(label.shape))?;
        }
        let kind = descriptor.kind;
        cells = cells.checked_add(8 * scratch_words(kind, descriptor.max_buckets) as u64)?;
        let buckets =
            if kind.is_exponential() { usize::from(descriptor.max_buckets) } else { descriptor.bounds().len() };
        let words = cell_words(kind, buckets) as u64;
        let size = series.checked_mul(words)?.checked_mul(8)?.checked_add(cells)?;
        Some(Self { cells, series, words, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelSpec;

    #[test]
    fn tables_precede_cells() {
        const LABELS: [LabelSpec<'static>; 2] = [
            LabelSpec { key: "route", shape: LabelShape::values(&["a", "b", "c"]) },
            LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 3, max_len: 4 } },
        ];
        let descriptor = Descriptor::new(Kind::HistogramF64, "x", "x").with_labels(&LABELS).with_bounds(&[1.0]);
        let layout = EntryLayout::of(&descriptor, &Offsets::WIDTH_4);
        assert_eq!(layout, Some(EntryLayout { cells: 16 + 40, series: 3 * 4, words: 3, size: 56 + 12 * 24 }));
    }

    #[test]
    fn scratch_area_precedes_exponential_cells() {
        const LABELS: [LabelSpec<'static>; 1] = [LabelSpec { key: "route", shape: LabelShape::values(&["a", "b"]) }];
        let descriptor = Descriptor::new(Kind::ExponentialF64, "x", "x").with_labels(&LABELS).with_max_buckets(11);
        let layout = EntryLayout::of(&descriptor, &Offsets::WIDTH_8);
        let cells = 24 + 8 * (2 + 6);
        assert_eq!(layout, Some(EntryLayout { cells, series: 2, words: 14, size: cells + 2 * 8 * 14 }));
    }

    #[test]
    fn oversized_layout_is_none() {
        for max_len in [4, u32::MAX - 3] {
            let text = LabelSpec { key: "k", shape: LabelShape::Text { capacity: u32::MAX, max_len } };
            let labels = [text, text, text];
            let descriptor = Descriptor::new(Kind::CounterU64, "x", "x").with_labels(&labels);
            assert_eq!(EntryLayout::of(&descriptor, &Offsets::WIDTH_8), None);
        }
    }
}
