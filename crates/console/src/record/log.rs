//! The latest logs.

mod merge;
mod segment;

use std::collections::VecDeque;

use wasmetry_host::record::LogRecord;

use super::drop::{Drops, Signal};
use super::name::Origin;
use crate::limits;
use merge::{Direction, LaneReader, Merged};
pub(crate) use segment::{LEVELS, StoredLog};
use segment::{Segment, level_of};

/// The latest logs, in segments of bytes. When there is no room, the owner that has most loses its
/// oldest segment: `debug` and `trace` before the others. So a flood drops its own logs, and who
/// has less than an equal share loses none.
#[derive(Debug)]
pub(crate) struct LogStore {
    limit: usize,
    /// By the numbers of the owners.
    owners: Vec<OwnerLogs>,
    bytes: usize,
    last_id: u64,
    dropped: u64,
}

/// The logs of one owner.
#[derive(Debug, Default)]
struct OwnerLogs {
    /// The logs up to `info`, and the finer ones.
    lanes: [VecDeque<Segment>; 2],
    bytes: usize,
}

impl OwnerLogs {
    /// Takes the segment that is dropped first.
    fn take_oldest(&mut self) -> Option<Segment> {
        let [coarse, fine] = &mut self.lanes;
        let oldest = if fine.len() > 1 || coarse.len() <= 1 {
            fine.pop_front().or_else(|| coarse.pop_front())?
        } else {
            coarse.pop_front()?
        };
        self.bytes -= oldest.size();
        if coarse.is_empty() && fine.is_empty() {
            *self = Self::default();
        }
        Some(oldest)
    }
}

impl LogStore {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, owners: Vec::new(), bytes: 0, last_id: 0, dropped: 0 }
    }

    /// Adds a log, whose `body` was written before. Those that leave for it are added to `drops`.
    pub(crate) fn push(&mut self, event: u64, origin: Origin, log: &LogRecord, body: &[u8], drops: &mut Drops) {
        self.last_id += 1;
        let (id, owner) = (self.last_id, origin.owner as usize);
        let lane = usize::from(level_of(log.level) > 3 && log.stream.is_none());
        let needed = body.len() + limits::LOG_HEADER;
        if self.owners.len() <= owner {
            self.owners.resize_with(owner + 1, OwnerLogs::default);
        }
        let has_room = |segment: &Segment| segment.has_room(needed);
        if !self.owners[owner].lanes[lane].back().is_some_and(has_room) {
            let size = self.segment_size(owner).max(needed);
            self.make_room(owner, size, drops);
            let segment = Segment::with_capacity(size, origin.identity);
            self.bytes += segment.size();
            self.owners[owner].bytes += segment.size();
            self.owners[owner].lanes[lane].push_back(segment);
        }
        let logs = &mut self.owners[owner];
        let Some(segment) = logs.lanes[lane].back_mut() else { return };
        let before = segment.size();
        segment.push([id, event], origin.identity, log, body);
        let added = segment.size() - before;
        logs.bytes += added;
        self.bytes += added;
        if self.bytes > self.limit {
            self.make_room(owner, 0, drops);
        }
    }

    /// The bytes of an owner's next segment: a sixteenth of what it has, so that the loss of one
    /// is small, and owners with few logs need little.
    fn segment_size(&self, owner: usize) -> usize {
        let most = (self.limit / 16).clamp(4096, limits::SEGMENT_BYTES);
        (self.owners[owner].bytes / 16).clamp(limits::FIRST_SEGMENT_BYTES, most)
    }

    /// Drops segments until `size` more bytes of an owner fit, each the oldest of the owner that
    /// has most.
    fn make_room(&mut self, owner: usize, size: usize, drops: &mut Drops) {
        while self.bytes + size + size / 8 > self.limit {
            let bytes = |(number, logs): &(usize, &mut OwnerLogs)| logs.bytes + if *number == owner { size } else { 0 };
            // One without a segment has nothing to lose.
            let owners = self.owners.iter_mut().enumerate().filter(|(_, logs)| logs.bytes > 0);
            let Some(oldest) = owners.max_by_key(bytes).and_then(|(_, logs)| logs.take_oldest()) else { return };
            self.bytes -= oldest.size();
            self.dropped += oldest.len() as u64;
            match oldest.identity {
                Some(identity) => drops.add(identity, Signal::Logs, oldest.len() as u64),
                None => oldest.logs().for_each(|log| drops.add(log.identity, Signal::Logs, 1)),
            }
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

    fn lanes(&self) -> impl Iterator<Item = &VecDeque<Segment>> {
        self.owners.iter().flat_map(|logs| &logs.lanes).filter(|lane| !lane.is_empty())
    }

    /// The time of the oldest log.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.lanes().filter_map(|lane| lane.front()).map(|segment| segment.get(0).time).min()
    }

    /// Returns all logs, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = StoredLog<'_>> {
        self.lanes().flatten().flat_map(Segment::logs)
    }

    /// Returns the logs before an id, newest first.
    pub(crate) fn before(&self, id: u64) -> impl Iterator<Item = StoredLog<'_>> {
        let lanes = self.lanes().filter_map(|lane| {
            let last = lane.partition_point(|segment| segment.get(0).id < id).checked_sub(1)?;
            let at = lane.get(last)?.partition_point(|log| log.id < id);
            Some(LaneReader::new(lane, Direction::NewestFirst, last, at))
        });
        lanes.collect::<Merged<'_>>()
    }

    /// Returns the logs from the first one for which `is_after` is true, oldest first. It is true
    /// of all that follow.
    pub(crate) fn after(
        &self,
        is_after: impl Fn(&StoredLog<'_>) -> bool + Copy,
    ) -> impl Iterator<Item = StoredLog<'_>> {
        let lanes = self.lanes().filter_map(|lane| {
            let first = lane.partition_point(|segment| !is_after(&segment.get(segment.len() - 1)));
            let at = lane.get(first)?.partition_point(|log| !is_after(log));
            Some(LaneReader::new(lane, Direction::OldestFirst, first, at))
        });
        lanes.collect::<Merged<'_>>()
    }

    /// Returns the logs that arrived within a time of the host, and some before and after it: those
    /// of one owner first, so that no flood of another one is before them; those of each lane
    /// oldest first.
    pub(crate) fn arrived(&self, owner: u32, from: u64, to: u64) -> impl Iterator<Item = StoredLog<'_>> {
        let of = move |is_wanted: bool| {
            let owners = (0..).zip(&self.owners).filter(move |(number, _)| (*number == owner) == is_wanted);
            owners.flat_map(|(_, logs)| &logs.lanes)
        };
        of(true).chain(of(false)).flat_map(move |lane| {
            // The segment before has the logs up to the first one of the next.
            let first = lane.partition_point(|segment| segment.arrived < from).saturating_sub(1);
            let segments = lane.range(first.min(lane.len())..).take_while(move |segment| segment.arrived <= to);
            segments.flat_map(Segment::logs)
        })
    }

    /// Returns a log by its id.
    pub(crate) fn get(&self, id: u64) -> Option<StoredLog<'_>> {
        self.after(|log| log.id >= id).next().filter(|log| log.id == id)
    }
}

#[cfg(test)]
mod tests;
