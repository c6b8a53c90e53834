//! Segments: consecutive logs of one owner as bytes.

use std::time::SystemTime;

use wasmetry_host::record::{Level, LogRecord};

use super::super::code::{LogView, read_log};
use crate::code::{Reader, put};
use crate::console::nanos;

/// Consecutive logs of one lane.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    /// The host's time when its first log arrived. The times of logs are a guest's.
    pub(super) arrived: u64,
    /// The identity of all of its logs; `None` if they have several.
    pub(super) identity: Option<u32>,
}

/// A log that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredLog<'a> {
    pub(crate) id: u64,
    /// Its number among the events.
    pub(crate) event: u64,
    pub(crate) time: u64,
    /// The severity, from 1 (`error`) to 5 (`trace`).
    pub(crate) level: u8,
    pub(crate) identity: u32,
    /// 0 for a log without a trace.
    pub(crate) trace_id: u128,
    body: &'a [u8],
}

impl<'a> StoredLog<'a> {
    /// Returns the other parts of the log.
    pub(crate) fn view(&self) -> LogView<'a> {
        read_log(self.body)
    }
}

/// The names of the levels, from 1 on.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

pub(super) fn level_of(level: Level) -> u8 {
    match level {
        Level::Off | Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}

impl Segment {
    /// Creates an empty one for logs of an identity first.
    pub(super) fn with_capacity(bytes: usize, identity: u32) -> Self {
        let arrived = nanos(SystemTime::now());
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::new(), arrived, identity: Some(identity) }
    }

    /// Returns `true` if there is room for so many bytes more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= self.bytes.capacity()
    }

    /// Adds a log, whose `body` was written before.
    pub(super) fn push(&mut self, [id, event]: [u64; 2], identity: u32, log: &LogRecord, body: &[u8]) {
        self.identity = self.identity.filter(|known| *known == identity);
        self.starts.push(self.bytes.len() as u32);
        put(&mut self.bytes, id);
        put(&mut self.bytes, event);
        self.bytes.extend(log.time.to_le_bytes());
        self.bytes.push(level_of(log.level));
        put(&mut self.bytes, identity.into());
        self.bytes.push(u8::from(log.trace.is_some()));
        if let Some(trace) = log.trace {
            self.bytes.extend(trace.trace_id.number().to_le_bytes());
        }
        self.bytes.extend_from_slice(body);
    }

    /// The bytes that it takes, with those of the allocator and of its place in the lane, of which
    /// up to half are free.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>() + 2 * size_of::<Self>() + 32
    }

    /// The number of its logs.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn get(&self, at: usize) -> StoredLog<'_> {
        let end = self.starts.get(at + 1).map_or(self.bytes.len(), |end| *end as usize);
        self.read(self.starts[at], end)
    }

    fn read(&self, start: u32, end: usize) -> StoredLog<'_> {
        let mut reader = Reader::new(&self.bytes[start as usize..end]);
        StoredLog {
            id: reader.get(),
            event: reader.get(),
            time: u64::from_le_bytes(reader.array()),
            level: reader.byte(),
            identity: reader.get() as u32,
            trace_id: if reader.byte() == 0 { 0 } else { u128::from_le_bytes(reader.array()) },
            body: reader.bytes(usize::MAX),
        }
    }

    /// Returns its logs, oldest first.
    pub(super) fn logs(&self) -> impl DoubleEndedIterator<Item = StoredLog<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Returns the number of its first logs for which `is_first` is true. It is true of none that
    /// follow.
    pub(super) fn partition_point(&self, is_first: impl Fn(&StoredLog<'_>) -> bool) -> usize {
        self.starts.partition_point(|start| is_first(&self.read(*start, self.bytes.len())))
    }
}
