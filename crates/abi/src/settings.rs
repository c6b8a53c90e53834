//! The host's settings for a guest, its answer to `open`, `flush` and `refresh`.

/// The mode of collection: the WIT enum `collection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Collection {
    /// The host collects nothing.
    Off = 0,
    /// The host reads the window that the guest lends it.
    Mapped = 1,
    /// The guest sends batches, because the host cannot read its memory.
    Pushed = 2,
}

/// The severity of a record, or the finest severity that is kept: the WIT enum `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// No records.
    Off = 0,
    /// A failed operation.
    Error = 1,
    /// A condition that deserves attention.
    Warn = 2,
    /// Normal operation, for operators.
    Info = 3,
    /// Details for the author of the code.
    Debug = 4,
    /// All details.
    Trace = 5,
}

impl Level {
    /// Every level, in the order of its numbers.
    pub const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Returns the level with this number, or `None` if there is none.
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// The level's name in lower case, as in the WIT package.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The source of a record's time: the WIT enum `timestamp-source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimestampSource {
    /// The time that a span or a timer of this request read last.
    Cached = 0,
    /// A read of the clock for each record.
    Fresh = 1,
}

/// The host's settings for a guest: the WIT record `settings`.
///
/// The layout is the canonical ABI's for that record, so that a guest can receive it without an
/// allocator: four enums in a byte each, then a `u32`, an `f64` at offset 8 and three `u64`s from
/// offset 16 on. The enums are bytes because a guest must not trust a host's discriminants.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Settings {
    /// The mode of collection; see [`Collection`].
    pub collection: u8,
    /// The finest level to record; see [`Level`].
    pub record_level: u8,
    /// The finest level that the host exports; see [`Level`].
    pub export_level: u8,
    /// The source of a record's time; see [`TimestampSource`].
    pub timestamps: u8,
    /// The region's number, which batches carry; 0 for a region that is not pushed.
    pub region: u32,
    /// The share of the traces that begin in the guest that are sampled, from 0 to 1.
    pub sample_ratio: f64,
    /// The sequence number of the first record in the guest's ring that the host has not consumed.
    pub consumed: u64,
    /// A random number. The guest derives the ids of its traces and spans from it.
    pub seed: u64,
    /// The host's wall clock at its answer, in nanoseconds since 1970-01-01 00:00 UTC; 0 if it has
    /// none.
    pub time: u64,
}

impl Settings {
    /// The settings before the host's first answer: nothing is collected.
    pub const UNKNOWN: Self = Self {
        collection: Collection::Off as u8,
        record_level: Level::Off as u8,
        export_level: Level::Off as u8,
        timestamps: TimestampSource::Cached as u8,
        region: 0,
        sample_ratio: 0.0,
        consumed: 0,
        seed: 0,
        time: 0,
    };
}

const _: () = assert!(
    core::mem::size_of::<Settings>() == 40
        && core::mem::offset_of!(Settings, region) == 4
        && core::mem::offset_of!(Settings, consumed) == 16
);
