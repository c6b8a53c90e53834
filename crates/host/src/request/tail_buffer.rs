//! The buffer of records that are exported only if their request is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::declaration::site::Site;
use crate::limits;
use crate::record::{LogRecord, SpanRecord};

/// The records of one request that wait for its outcome. Its size is bounded by
/// [`limits::TAIL_BUFFER_BYTES`]; the oldest records are removed first.
#[derive(Default)]
pub(super) struct TailBuffer {
    records: VecDeque<BufferedRecord>,
    bytes: usize,
}

/// A record that waits.
pub(super) enum BufferedRecord {
    /// A record of a ring, not decoded, and its call site if that was defined at run time.
    Ring(Box<[u8]>, Option<Arc<Site>>),
    /// A log of the handle API.
    Log(Box<LogRecord>),
    /// A span of the handle API, which has ended.
    Span(Box<SpanRecord>),
}

impl BufferedRecord {
    fn size(&self) -> usize {
        match self {
            Self::Ring(bytes, _) => bytes.len(),
            Self::Log(log) => log.size(),
            Self::Span(span) => span.size(),
        }
    }
}

impl TailBuffer {
    /// Adds a record. Returns the number of records that were removed to make room.
    pub(super) fn push(&mut self, record: BufferedRecord) -> u64 {
        self.bytes += record.size();
        self.records.push_back(record);
        let mut removed = 0;
        while self.bytes > limits::TAIL_BUFFER_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.size();
            removed += 1;
        }
        removed
    }

    /// The number of records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Takes all records, oldest first.
    pub(super) fn take(&mut self) -> VecDeque<BufferedRecord> {
        self.bytes = 0;
        std::mem::take(&mut self.records)
    }
}
