//! The variables of batch processors: `OTEL_BLRP_…` for logs, `OTEL_BSP_…` for spans.

use std::ffi::OsString;

use super::Env;
use crate::push::config::{Batch, Limits, Retry};

const RECORDS: &str = "a number of records, at least 1";

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// Reads the sizes of a queue and its batches, and the time of an export, from the variables
    /// with this prefix.
    pub(super) fn processor(&self, prefix: &str, limits: &mut Limits, batch: &mut Batch, retry: &mut Retry) {
        let name = |what: &str| format!("{prefix}_{what}");
        if let Some(records) = self.parse(&name("MAX_QUEUE_SIZE"), |variable| variable.positive(RECORDS)) {
            limits.records = records;
            batch.records = batch.records.min(records);
        }
        let size = self.parse(&name("MAX_EXPORT_BATCH_SIZE"), |variable| match variable.positive(RECORDS)? {
            records if records > limits.records => {
                Err(variable.error(format!("it is more than the queue holds, {}", limits.records)))
            }
            records => Ok(records),
        });
        batch.records = size.unwrap_or(batch.records);
        let delay = self.parse(&name("SCHEDULE_DELAY"), |variable| variable.duration());
        batch.schedule_delay = delay.unwrap_or(batch.schedule_delay);
        if let Some(timeout) = self.parse(&name("EXPORT_TIMEOUT"), |variable| variable.timeout()) {
            retry.set_export_timeout(timeout);
        }
    }
}
