/// How the host collects a guest: the WIT enum `collection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Collection {
    /// The host collects nothing.
    Off = 0,
    /// The host reads the window that the guest lends it.
    Mapped = 1,
    /// The guest sends batches, because the host cannot keep a view of its memory.
    Pushed = 2,
}

/// The severity of a log record or the finest one to keep: the WIT enum `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing at all.
    Off = 0,
    /// The operation failed.
    Error = 1,
    /// Something deserves attention.
    Warn = 2,
    /// What an operator wants to see of a healthy service.
    Info = 3,
    /// What its author wants to see.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

impl Level {
    /// Every level, in the order of its numbers.
    pub const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level with this number, if there is one.
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// The level's name in lower case, as settings and the WIT package have it.
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

/// Where the time of a record comes from: the WIT enum `timestamp-source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimestampSource {
    /// The clock read last in this request, by a span or a timer.
    Cached = 0,
    /// A read of the clock for each record.
    Fresh = 1,
}

/// What the host asks of a guest: the WIT record `settings`.
///
/// The layout is the canonical ABI's for that record, so that a guest can receive it without an allocator:
/// four enums in a byte each, then a `u32`, an `f64` at offset 8 and three `u64`s from offset 16 on.
/// The enums are held as bytes because a guest must not trust a host's discriminant either.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Settings {
    /// How the guest is collected; see [`Collection`].
    pub collection: u8,
    /// The finest level to record; see [`Level`].
    pub record_level: u8,
    /// The finest level that the host exports; see [`Level`].
    pub export_level: u8,
    /// Where a record's time comes from; see [`TimestampSource`].
    pub timestamps: u8,
    /// The number by which the host knows the region, which batches carry; 0 for a region that is not pushed.
    pub region: u32,
    /// The share of traces to sample where the request brings no decision, from 0 to 1.
    pub sample_ratio: f64,
    /// The sequence number up to which the host has consumed the records in the guest's ring.
    pub consumed: u64,
    /// A random number, from which the guest derives the ids of its traces and spans.
    pub seed: u64,
    /// The host's wall clock at its answer, in nanoseconds since 1970-01-01 00:00 UTC; 0 where it has none.
    pub time: u64,
}

impl Settings {
    /// The settings before the host has answered: nothing is collected.
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
