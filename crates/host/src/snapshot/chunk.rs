//! Chunks of a snapshot, for receivers that limit the size of a request.

use std::ops::Range;

use crate::snapshot::{Block, Blocks, FamilySnapshot, Snapshot, Values};

/// A position in a snapshot. The default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    family: usize,
    block: usize,
    index: usize,
}

impl Snapshot {
    /// Returns the chunk of the snapshot at a cursor, and moves the cursor behind it. Returns
    /// `None` at the end.
    ///
    /// A chunk has at most about `bytes` bytes in OTLP's Protocol Buffers, unless it is a single
    /// larger series. Each series is in one chunk.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use wasmetry_host::{Cursor, Registry};
    ///
    /// let registry = Registry::new();
    /// let jobs = registry.counter("jobs_total", "Jobs done.", &["queue"]);
    /// for queue in 0..100 {
    ///     jobs.with(&[&queue.to_string()]).inc();
    /// }
    /// let snapshot = registry.snapshot(Duration::ZERO);
    /// let mut cursor = Cursor::default();
    /// let chunks: Vec<_> = std::iter::from_fn(|| snapshot.chunk(&mut cursor, 2048)).collect();
    /// assert!(chunks.len() > 3);
    /// let series: usize = chunks.iter().map(|chunk| chunk.series_count()).sum();
    /// assert_eq!(series, snapshot.series_count());
    /// ```
    pub fn chunk(&self, cursor: &mut Cursor, bytes: usize) -> Option<Self> {
        let mut families = Vec::new();
        let mut room = Room { left: bytes, is_empty: true };
        while let Some(family) = self.families.get(cursor.family) {
            let mut blocks = Blocks::new();
            let is_whole = loop {
                let Some(block) = family.blocks.get(cursor.block) else { break true };
                let taken = room.take(family, block, cursor.index);
                cursor.index = taken.end;
                if !taken.is_empty() {
                    blocks.push(block.slice(taken));
                }
                if cursor.index < block.len() {
                    break false;
                }
                (cursor.block, cursor.index) = (cursor.block + 1, 0);
            };
            if !blocks.is_empty() {
                families.push(family.with_blocks(blocks));
            }
            if !is_whole {
                break;
            }
            (cursor.family, cursor.block) = (cursor.family + 1, 0);
        }
        (!families.is_empty()).then_some(Self { families })
    }
}

/// The room that is left in a chunk.
struct Room {
    left: usize,
    is_empty: bool,
}

impl Room {
    /// Returns the series of a block from an index on that fit; at least one in the whole chunk.
    fn take(&mut self, family: &FamilySnapshot, block: &Block, from: usize) -> Range<usize> {
        // Each block has a component of its own, for which OTLP repeats the description.
        let info = &family.info;
        let mut more = info.name().len() + info.help().len() + info.unit().len() + 32;
        for index in from..block.len() {
            more += size(block, index);
            if more > self.left && !self.is_empty {
                return from..index;
            }
            (self.left, self.is_empty, more) = (self.left.saturating_sub(more), false, 0);
        }
        from..block.len()
    }
}

/// Returns about the maximum bytes of a series in Protocol Buffers.
fn size(block: &Block, index: usize) -> usize {
    // Two times of 9 bytes, the value, and the keys and lengths around them.
    const POINT: usize = 40;
    // Count and sum.
    const HISTOGRAM: usize = 30;
    // Scale, number of zeros, threshold.
    const EXPONENTIAL: usize = 40;
    // Value, time and ids of each.
    const EXEMPLAR: usize = 70;
    let value = match &block.values {
        Values::Unsigned(_) | Values::Numbers(_) => 0,
        // Count and bound of each bucket.
        Values::Histograms { counts, sums } => HISTOGRAM + 16 * (counts.len() / sums.len()),
        Values::Exponentials(values) => HISTOGRAM + EXPONENTIAL + 10 * values[index].counts().len(),
    };
    // The bytes around keys and values are fewer than the keys and values themselves.
    POINT + 2 * block.labels(index).size() + value + EXEMPLAR * block.exemplars(index).len()
}
