//! The latest logs.

use std::collections::VecDeque;
use std::time::SystemTime;

use wasmetry_host::record::{Level, LogRecord};

use super::code::{LogView, read_log};
use crate::code::{Reader, put};
use crate::console::nanos;
use crate::limits;

/// The latest logs, in segments of bytes. The oldest segment is dropped when there is no room:
/// `debug` and `trace` before the others.
#[derive(Debug)]
pub(crate) struct LogStore {
    limit: usize,
    /// The logs up to `info`, and the finer ones.
    lanes: [VecDeque<Segment>; 2],
    bytes: usize,
    last_id: u64,
    dropped: u64,
}

/// Consecutive logs of one lane.
#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    /// The host's time when its first log arrived. The times of logs are a guest's.
    arrived: u64,
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

fn level_of(level: Level) -> u8 {
    match level {
        Level::Off | Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}

impl Segment {
    fn with_capacity(bytes: usize) -> Self {
        let arrived = nanos(SystemTime::now());
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::new(), arrived }
    }

    /// The bytes that it takes, with those of the allocator.
    fn size(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>() + size_of::<Self>() + 32
    }

    fn get(&self, at: usize) -> StoredLog<'_> {
        let start = self.starts[at] as usize;
        let end = self.starts.get(at + 1).map_or(self.bytes.len(), |end| *end as usize);
        let mut reader = Reader::new(&self.bytes[start..end]);
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
}

impl LogStore {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, lanes: Default::default(), bytes: 0, last_id: 0, dropped: 0 }
    }

    /// Adds a log, whose `body` was written before.
    pub(crate) fn push(&mut self, event: u64, identity: u32, log: &LogRecord, body: &[u8]) {
        self.last_id += 1;
        let level = level_of(log.level);
        let lane = usize::from(level > 3 && log.stream.is_none());
        let size = (self.limit / 16).clamp(4096, 65_536).max(body.len() + limits::LOG_HEADER);
        let fits =
            |segment: &Segment| segment.bytes.len() + body.len() + limits::LOG_HEADER <= segment.bytes.capacity();
        if !self.lanes[lane].back().is_some_and(fits) {
            self.make_room(size);
            let segment = Segment::with_capacity(size);
            self.bytes += segment.size();
            self.lanes[lane].push_back(segment);
        }
        let Some(segment) = self.lanes[lane].back_mut() else { return };
        self.bytes -= segment.size();
        segment.starts.push(segment.bytes.len() as u32);
        put(&mut segment.bytes, self.last_id);
        put(&mut segment.bytes, event);
        segment.bytes.extend(log.time.to_le_bytes());
        segment.bytes.push(level);
        put(&mut segment.bytes, identity.into());
        segment.bytes.push(u8::from(log.trace.is_some()));
        if let Some(trace) = log.trace {
            segment.bytes.extend(trace.trace_id.number().to_le_bytes());
        }
        segment.bytes.extend_from_slice(body);
        self.bytes += segment.size();
    }

    /// Drops the oldest segments until `size` more bytes fit.
    fn make_room(&mut self, size: usize) {
        while self.bytes + size + size / 8 > self.limit {
            let lane = if self.lanes[1].len() > 1 || self.lanes[0].len() <= 1 { 1 } else { 0 };
            let lane = if self.lanes[lane].is_empty() { 1 - lane } else { lane };
            let Some(oldest) = self.lanes[lane].pop_front() else { return };
            self.bytes -= oldest.size();
            self.dropped += oldest.starts.len() as u64;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The id of the last log, which is the number of all that were received.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn len(&self) -> u64 {
        self.last_id - self.dropped
    }

    /// The time of the oldest log.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.front()).map(|segment| segment.get(0).time).min()
    }

    /// Returns the logs before an id, newest first.
    pub(crate) fn before(&self, id: u64) -> impl Iterator<Item = StoredLog<'_>> {
        let lane = |lane: usize| {
            let segments = self.lanes[lane].iter().rev();
            let logs = segments.flat_map(|segment| (0..segment.starts.len()).rev().map(|at| segment.get(at)));
            logs.skip_while(move |log| log.id >= id).peekable()
        };
        let [mut first, mut second] = [lane(0), lane(1)];
        std::iter::from_fn(move || match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if a.id > b.id => first.next(),
            (_, Some(_)) => second.next(),
            (Some(_), None) => first.next(),
            (None, None) => None,
        })
    }

    /// Returns the logs from the first one for which `is_after` is true, oldest first. It is true
    /// of all that follow.
    pub(crate) fn after(
        &self,
        is_after: impl Fn(&StoredLog<'_>) -> bool + Copy,
    ) -> impl Iterator<Item = StoredLog<'_>> {
        let lane = |lane: usize| {
            let segments = &self.lanes[lane];
            let first = segments.partition_point(|segment| !is_after(&segment.get(segment.starts.len() - 1)));
            let logs = segments.range(first..).flat_map(|segment| (0..segment.starts.len()).map(|at| segment.get(at)));
            logs.skip_while(move |log| !is_after(log)).peekable()
        };
        let [mut first, mut second] = [lane(0), lane(1)];
        std::iter::from_fn(move || match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if a.id < b.id => first.next(),
            (_, Some(_)) => second.next(),
            (Some(_), None) => first.next(),
            (None, None) => None,
        })
    }

    /// Returns the logs that arrived within a time of the host, and some before and after it; those
    /// of each lane oldest first.
    pub(crate) fn arrived(&self, from: u64, to: u64) -> impl Iterator<Item = StoredLog<'_>> {
        self.lanes.iter().flat_map(move |lane| {
            // The segment before has the logs up to the first one of the next.
            let first = lane.partition_point(|segment| segment.arrived < from).saturating_sub(1);
            let segments = lane.range(first..).take_while(move |segment| segment.arrived <= to);
            segments.flat_map(|segment| (0..segment.starts.len()).map(|at| segment.get(at)))
        })
    }

    /// Returns a log by its id.
    pub(crate) fn get(&self, id: u64) -> Option<StoredLog<'_>> {
        self.after(|log| log.id >= id).next().filter(|log| log.id == id)
    }
}
