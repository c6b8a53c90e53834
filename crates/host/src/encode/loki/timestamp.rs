//! The timestamps of entries, which are unique in each stream across all pushes.

use std::collections::{BTreeMap, HashMap};

use crate::Identity;
use crate::limits;

/// A stream, by all that distinguishes it from others.
pub(super) type StreamKey = (Identity, u8, bool);

/// The timestamps given out in all streams.
///
/// Loki keeps one of the entries of a stream that have the same timestamp and line. Guests record
/// many lines at one time, because they read a clock rarely, and such lines may be in different
/// pushes.
#[derive(Debug, Default)]
pub(super) struct Timestamps {
    streams: HashMap<StreamKey, StreamTimestamps>,
    /// Rises with each batch.
    batch: u64,
}

impl Timestamps {
    /// Starts a batch. Removes the streams that were used longest ago if there are too many.
    pub(super) fn start_batch(&mut self) {
        self.batch += 1;
        if self.streams.len() > limits::LOKI_STREAMS {
            let mut used: Vec<u64> = self.streams.values().map(|stream| stream.batch).collect();
            used.sort_unstable();
            let oldest = used[self.streams.len() - limits::LOKI_STREAMS / 2];
            self.streams.retain(|_, stream| stream.batch >= oldest);
        }
    }

    /// The timestamps of one stream.
    pub(super) fn stream(&mut self, key: StreamKey) -> &mut StreamTimestamps {
        let stream = self.streams.entry(key).or_default();
        stream.batch = self.batch;
        stream
    }
}

/// The timestamps given out in one stream, in nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Default)]
pub(super) struct StreamTimestamps {
    /// Ranges of used timestamps: first and last. No two of them touch.
    used: BTreeMap<u64, u64>,
    /// All timestamps below it count as used.
    floor: u64,
    /// The last batch that used the stream.
    batch: u64,
}

impl StreamTimestamps {
    /// Returns the first unused timestamp from `time` on, and marks it as used.
    ///
    /// So lines recorded at one time keep their order, and a line that arrives late keeps its time.
    pub(super) fn next(&mut self, time: u64) -> u64 {
        let mut time = time.max(self.floor);
        let before = self.used.range(..=time).next_back().map(|(first, last)| (*first, *last));
        // A range that has the time, or ends right before it, grows by one.
        let mut first = time;
        if let Some((known, last)) = before
            && last.saturating_add(1) >= time
        {
            time = last.saturating_add(1);
            first = known;
        }
        let last = self.used.remove(&time.saturating_add(1)).unwrap_or(time);
        self.used.insert(first, last);
        while self.used.len() > limits::LOKI_TIMESTAMP_RANGES {
            let Some((_, last)) = self.used.pop_first() else { break };
            self.floor = last.saturating_add(1);
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_unique() {
        let mut stream = StreamTimestamps::default();
        let given = [10, 10, 10, 12, 13, 5, 5, 14, 10, 20].map(|time| stream.next(time));
        assert_eq!(given, [10, 11, 12, 13, 14, 5, 6, 15, 16, 20]);
        assert_eq!(stream.used, BTreeMap::from([(5, 6), (10, 16), (20, 20)]));
    }

    #[test]
    fn random_timestamps_never_repeat() {
        let mut stream = StreamTimestamps::default();
        let mut given = std::collections::HashSet::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let time = round / 3 + seed % 5000;
            let next = stream.next(time);
            assert!(next >= time && given.insert(next), "{round}");
            assert!(stream.used.len() <= limits::LOKI_TIMESTAMP_RANGES);
        }
    }

    #[test]
    fn unused_streams_are_removed() {
        let mut timestamps = Timestamps::default();
        let key = |n: usize| (Identity::new(format!("component-{n}")), 3, false);
        for n in 0..3 * limits::LOKI_STREAMS {
            timestamps.start_batch();
            assert_eq!(timestamps.stream(key(0)).next(7), 7 + n as u64);
            timestamps.stream(key(n + 1)).next(7);
            assert!(timestamps.streams.len() <= limits::LOKI_STREAMS + 2);
        }
    }
}
