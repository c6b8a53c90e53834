//! Writes log records as lines to an output: stdout, or the file for audit records.

mod audit_file;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use wasmetry_host::record::LogRecord;

pub(in crate::push) use self::audit_file::AuditFile;
use super::batch_processor::Encode;
use super::queue::{BatchSize, Queue};
use crate::push::config::Retry;
use crate::push::export_request::Health;
use crate::push::export_request::retry::{self, Backoff, Pause};
use crate::push::pipeline_metrics::{ExportDropReason, PipelineMetrics};
use crate::push::transport::Outcome;

/// Where lines are written.
pub type Output = Box<dyn Write + Send>;

/// Log records on their way to an output.
pub(crate) struct LineWriter {
    pub(crate) queue: Arc<Queue<LogRecord>>,
    pub(crate) encode: Encode<LogRecord>,
    pub(crate) output: Output,
    pub(crate) metrics: Arc<PipelineMetrics>,
    pub(crate) health: Health,
    /// When what could not be written is tried again; without it, that is lost.
    pub(crate) retry: Option<Retry>,
    pub(crate) pause: Pause,
}

impl LineWriter {
    pub(crate) fn run(mut self, runtime: &Runtime) {
        while let Some(batch) = runtime.block_on(self.queue.batch()) {
            let load = BatchSize::of(&batch);
            let records = load.records as u64;
            let lines = (self.encode)(&batch);
            drop(batch);
            let written = self.write(&lines, records, runtime);
            if !self.queue.settle(load) {
                return;
            }
            let outcome = match written {
                Ok(()) => {
                    self.metrics.sent(records);
                    Outcome::Accepted { rejected: 0, message: String::new() }
                }
                Err(error) => {
                    self.metrics.lost(ExportDropReason::Rejected, records);
                    Outcome::Refused { cause: error.to_string() }
                }
            };
            self.health.learn(&outcome, records, self.metrics.losses());
        }
    }

    /// Writes lines, and goes on where it stopped if that fails and is to be tried again.
    fn write(&mut self, mut lines: &[u8], records: u64, runtime: &Runtime) -> io::Result<()> {
        let mut backoff = self.retry.map(Backoff::new);
        let begin = Instant::now();
        loop {
            let Err(error) = write_all(&mut self.output, &mut lines) else { return Ok(()) };
            let wait = backoff.as_mut().and_then(|backoff| backoff.wait(begin.elapsed(), None, retry::random()));
            let Some(wait) = wait else { return Err(error) };
            let outcome = Outcome::Retry { after: None, cause: error.to_string() };
            self.health.learn(&outcome, records, self.metrics.losses());
            runtime.block_on(self.pause.wait(wait));
            // Once the queue is given up, nobody waits for this.
            if !self.queue.settle(BatchSize::default()) {
                return Err(error);
            }
        }
    }
}

/// Writes what `rest` holds, and leaves there what was not written.
fn write_all(output: &mut Output, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.flush()
}
