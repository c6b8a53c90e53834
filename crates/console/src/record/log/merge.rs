//! The logs of several lanes in the order of their ids.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use super::segment::{Segment, StoredLog};

/// The direction in which logs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    OldestFirst,
    NewestFirst,
}

/// Reads the logs of one lane.
#[derive(Debug)]
pub(super) struct LaneReader<'a> {
    lane: &'a VecDeque<Segment>,
    direction: Direction,
    segment: usize,
    /// The next log, or that behind the next one.
    at: usize,
}

impl<'a> LaneReader<'a> {
    /// Reads from a log of a segment on; the newest first, from the log before it on.
    pub(super) fn new(lane: &'a VecDeque<Segment>, direction: Direction, segment: usize, at: usize) -> Self {
        Self { lane, direction, segment, at }
    }

    fn next(&mut self) -> Option<StoredLog<'a>> {
        loop {
            let segment = self.lane.get(self.segment)?;
            match self.direction {
                Direction::OldestFirst if self.at < segment.len() => {
                    self.at += 1;
                    return Some(segment.get(self.at - 1));
                }
                Direction::OldestFirst => {
                    self.segment += 1;
                    self.at = 0;
                }
                Direction::NewestFirst if self.at > 0 => {
                    self.at -= 1;
                    return Some(segment.get(self.at));
                }
                Direction::NewestFirst => {
                    self.segment = self.segment.checked_sub(1)?;
                    self.at = self.lane.get(self.segment)?.len();
                }
            }
        }
    }
}

/// A lane with logs that are left.
struct Head<'a> {
    /// Greater for a log that is read earlier.
    rank: u64,
    log: StoredLog<'a>,
    rest: LaneReader<'a>,
}

impl<'a> Head<'a> {
    fn rank(log: &StoredLog<'a>, direction: Direction) -> u64 {
        if direction == Direction::NewestFirst { log.id } else { !log.id }
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

/// The logs of several lanes, of each in its order, in the order of their ids.
pub(super) struct Merged<'a> {
    heads: BinaryHeap<Head<'a>>,
}

impl<'a> FromIterator<LaneReader<'a>> for Merged<'a> {
    fn from_iter<I: IntoIterator<Item = LaneReader<'a>>>(lanes: I) -> Self {
        let head = |mut rest: LaneReader<'a>| {
            let log = rest.next()?;
            Some(Head { rank: Head::rank(&log, rest.direction), log, rest })
        };
        Self { heads: lanes.into_iter().filter_map(head).collect() }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = StoredLog<'a>;

    fn next(&mut self) -> Option<StoredLog<'a>> {
        let mut head = self.heads.peek_mut()?;
        let log = head.log;
        match head.rest.next() {
            Some(next) => {
                head.rank = Head::rank(&next, head.rest.direction);
                head.log = next;
            }
            None => _ = PeekMut::pop(head),
        }
        Some(log)
    }
}
