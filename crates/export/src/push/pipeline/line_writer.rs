//! Writes log records as lines to an output: stdout, or the file for audit records.
//!
//! An output that fails is retried, for a bounded time if the records may be dropped. A line that
//! was written in part is *torn*. It counts as sent: its rest is written before the next line.

mod audit_file;
mod growth;
mod output;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use wasmetry_host::record::{Entry, LogRecord};

pub(in crate::push) use self::audit_file::AuditFile;
use self::growth::GrowthLimit;
pub use self::output::Output;
pub(in crate::push) use self::output::{LineOutput, PlainOutput, stdout};
use super::batch_processor::Encode;
use super::queue::{Part, Queue};
use crate::limits;
use crate::push::config::{AuditGrowth, Retry};
use crate::push::export_request::DestinationHealth;
use crate::push::export_request::retry::{self, Backoff, RetryTimer};
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};
use crate::push::transport::Response;

/// The pipeline of log records to an output.
pub(in crate::push) struct LineWriter {
    pub(in crate::push) queue: Arc<Queue<LogRecord>>,
    pub(in crate::push) encode: Encode<LogRecord>,
    pub(in crate::push) output: Box<dyn LineOutput>,
    pub(in crate::push) metrics: Arc<PipelineMetrics>,
    pub(in crate::push) health: DestinationHealth,
    pub(in crate::push) retry: Retry,
    pub(in crate::push) timer: RetryTimer,
    /// Notified when the output's file is being rotated.
    pub(in crate::push) reopen: Arc<Notify>,
    /// The growth of a file that this process does not shorten.
    pub(in crate::push) growth: Option<AuditGrowth>,
}

/// The event that ends a wait of the writer.
enum Event {
    Batch(Vec<Entry<LogRecord>>),
    /// The output's file is being rotated.
    Rotation,
    /// The queue is closed and empty.
    Closed,
}

impl LineWriter {
    /// Writes batches until the queue is closed and empty.
    pub(in crate::push) fn run(mut self, runtime: &Runtime) {
        // The rest of a line that was begun before its batch was dropped.
        let mut torn = Vec::new();
        let mut growth = self.growth.map(GrowthLimit::new);
        loop {
            let mut batch = match runtime.block_on(self.next_event()) {
                Event::Batch(batch) => batch,
                Event::Rotation => {
                    // If it fails, the next write tries it again and reports the failure.
                    let _ = self.output.reopen();
                    continue;
                }
                Event::Closed => return,
            };
            let mut encoded = (self.encode)(&batch);
            if let Some(growth) = &mut growth {
                let excess = growth.remove_excess(&mut encoded, &mut batch, Instant::now());
                if excess.records() > 0 {
                    if !self.queue.release(&excess) {
                        return;
                    }
                    self.metrics.dropped_of(ExportDropReason::GrowthLimit, &excess.owners);
                }
            }
            let lines = Lines::new(std::mem::take(&mut torn), &encoded, &batch);
            drop(batch);
            match self.write(lines, runtime) {
                Some(rest) => torn = rest,
                None => return,
            }
        }
    }

    async fn next_event(&self) -> Event {
        tokio::select! {
            biased;
            () = self.reopen.notified() => Event::Rotation,
            batch = self.queue.batch() => batch.map_or(Event::Closed, Event::Batch),
        }
    }

    /// Writes lines, with retries, and returns the rest of a torn line. Returns `None` once the
    /// queue is discarded.
    fn write(&mut self, mut lines: Lines, runtime: &Runtime) -> Option<Vec<u8>> {
        let mut backoff = Backoff::new(self.retry);
        let (begin, records) = (Instant::now(), lines.ends.len() as u64);
        while let Err(error) = self.try_write(&mut lines) {
            let cause = error.to_string();
            // The reader of a pipe does not come back while this process ends.
            let is_final = error.kind() == io::ErrorKind::BrokenPipe && self.timer.is_closing();
            let delay = backoff.next_delay(begin.elapsed(), None, retry::random()).filter(|_| !is_final);
            let Some(delay) = delay else {
                let reason = if is_final { ExportDropReason::Shutdown } else { ExportDropReason::RetryExhausted };
                return self.drop_rest(lines, reason, cause);
            };
            self.health.record(&Response::Retryable { after: None, cause }, records, self.metrics.all_dropped());
            runtime.block_on(self.timer.wait(delay));
            // Once the queue is discarded, the process does not wait for this thread.
            if !self.queue.release(&Part::default()) {
                return None;
            }
        }
        if !self.count_sent(&mut lines) {
            return None;
        }
        let success = Response::Success { rejected: 0, message: String::new() };
        self.health.record(&success, records, self.metrics.all_dropped());
        Some(Vec::new())
    }

    /// Writes what is left of the lines.
    fn try_write(&mut self, lines: &mut Lines) -> io::Result<()> {
        if self.output.reopen_if_moved()? {
            lines.rewind_to_line();
        }
        while let Some(piece) = lines.next_piece() {
            match self.output.write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => lines.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // These lines are counted now, because a later write may block this thread when the
            // process ends.
            if !self.output.is_durable() && !self.count_sent(lines) {
                return Ok(());
            }
        }
        self.output.flush()?;
        if self.output.was_removed()? {
            lines.written = 0;
            return Err(io::Error::other("the file was removed while it was written"));
        }
        Ok(())
    }

    /// Counts the records whose lines are written as sent. Returns `false` if the queue was
    /// discarded.
    fn count_sent(&self, lines: &mut Lines) -> bool {
        let sent = lines.take_until(lines.written);
        let is_counted = self.queue.release(&sent);
        if is_counted {
            self.metrics.sent(sent.records());
        }
        is_counted
    }

    /// Drops the lines that are not begun, and returns the rest of a torn line. Returns `None` if
    /// the queue was discarded.
    fn drop_rest(&mut self, mut lines: Lines, reason: ExportDropReason, cause: String) -> Option<Vec<u8>> {
        let begun = lines.begun();
        let (sent, dropped) = (lines.take_until(begun), lines.take_until(lines.bytes.len()));
        let mut released = sent.clone();
        released.add_part(&dropped);
        if !self.queue.release(&released) {
            return None;
        }
        self.metrics.sent(sent.records());
        self.health.record(&Response::NonRetryable { cause }, dropped.records(), self.metrics.all_dropped());
        self.metrics.dropped_of(reason, &dropped.owners);
        Some(lines.bytes[lines.written..begun].to_vec())
    }
}

/// The lines of a batch, and the part of them that is written.
struct Lines {
    /// The rest of a torn line, and one line for each record.
    bytes: Vec<u8>,
    /// The length of the rest of the torn line.
    torn: usize,
    /// The number of bytes that are written.
    written: usize,
    /// For each record without a result, the end of its line in `bytes`, and its part of the batch.
    ends: std::collections::VecDeque<(usize, Part)>,
}

impl Lines {
    fn new(torn: Vec<u8>, encoded: &[u8], batch: &[Entry<LogRecord>]) -> Self {
        let begin = torn.len();
        let ends = encoded.split_inclusive(|byte| *byte == b'\n').scan(begin, |end, line| {
            *end += line.len();
            Some(*end)
        });
        let ends = ends.zip(batch.chunks(1).map(Part::of_entries)).collect();
        let mut bytes = torn;
        bytes.extend_from_slice(encoded);
        Self { bytes, torn: begin, written: 0, ends }
    }

    /// Returns the next lines to write: as many as a pipe accepts whole or not at all, at least
    /// one.
    fn next_piece(&self) -> Option<&[u8]> {
        let rest = &self.bytes[self.written..];
        let is_end = |byte: &u8| *byte == b'\n';
        let atomic = rest.get(..limits::ATOMIC_WRITE).and_then(|bytes| bytes.iter().rposition(is_end));
        let end =
            if rest.len() <= limits::ATOMIC_WRITE { None } else { atomic.or_else(|| rest.iter().position(is_end)) };
        (!rest.is_empty()).then(|| end.map_or(rest, |end| &rest[..=end]))
    }

    /// Returns the end of the last line that is begun.
    fn begun(&self) -> usize {
        let Some(last) = self.written.checked_sub(1) else { return self.torn };
        let line_end = self.bytes[last..].iter().position(|byte| *byte == b'\n');
        line_end.map_or(self.bytes.len(), |end| last + end + 1).max(self.torn)
    }

    /// Goes back to the begin of a line that is written in part.
    fn rewind_to_line(&mut self) {
        let written = &self.bytes[..self.written];
        self.written = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    }

    /// Removes the records whose lines end before `end`, and returns that part of the batch.
    fn take_until(&mut self, end: usize) -> Part {
        let mut part = Part::default();
        while let Some((_, record)) = self.ends.pop_front_if(|(line_end, _)| *line_end <= end) {
            part.add_part(&record);
        }
        part
    }
}
