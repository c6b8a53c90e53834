//! The buffer of records that are exported only if their request is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::GuestLimits;
use crate::declaration::site::Site;
use crate::ledger::Charge;
use crate::record::{LogRecord, SpanRecord};

/// The records of one request that wait for its outcome. Its size is bounded by
/// [`TAIL_BUFFER_BYTES`](crate::limits::TAIL_BUFFER_BYTES); the oldest records are removed first.
pub(super) struct TailBuffer {
    records: VecDeque<BufferedRecord>,
    bytes: usize,
    most: u64,
    charge: Charge,
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
        size_of::<Self>()
            + match self {
                Self::Ring(bytes, _) => bytes.len(),
                Self::Log(log) => log.size(),
                Self::Span(span) => span.size(),
            }
    }
}

impl TailBuffer {
    /// An empty buffer, whose memory is charged.
    pub(super) fn new(charge: Charge, limits: &GuestLimits) -> Self {
        Self { records: VecDeque::new(), bytes: 0, most: limits.tail_buffer_bytes, charge }
    }

    /// Returns `true` if the host may keep a record more.
    pub(super) fn has_memory(&mut self) -> bool {
        self.charge.cover(self.bytes)
    }

    /// Adds a record. Returns the number of records that were removed to make room.
    pub(super) fn push(&mut self, record: BufferedRecord) -> u64 {
        self.bytes += record.size();
        self.records.push_back(record);
        let mut removed = 0;
        while self.bytes as u64 > self.most {
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
        self.charge.resize(0);
        std::mem::take(&mut self.records)
    }
}
