//! Lines that a guest prints to its standard output or standard error.

use super::RequestTelemetry;
use crate::limits;
use crate::record::{Level, LogRecord, OutputStream};
use crate::registry::drop_reason::HostDropReason;

/// The nanoseconds in which the budget grows by a line.
const NANOS_PER_LINE: u64 = 1_000_000_000 / limits::OUTPUT_LINES_PER_SECOND;

/// The number of lines that a guest may print now.
///
/// It starts at [`limits::OUTPUT_LINES`], and grows back with time, so that a guest that runs long
/// can go on printing, and a guest that floods cannot displace the records of others.
pub(super) struct OutputBudget {
    lines: u64,
    /// The time up to which growth is credited, by the wall clock; 0 before the first line.
    credited: u64,
}

impl Default for OutputBudget {
    fn default() -> Self {
        Self { lines: limits::OUTPUT_LINES, credited: 0 }
    }
}

impl OutputBudget {
    /// Takes a line from the budget. Returns `false` if there is none.
    fn take(&mut self, now: u64) -> bool {
        if self.credited == 0 {
            self.credited = now;
        }
        let grown = now.saturating_sub(self.credited) / NANOS_PER_LINE;
        self.credited += grown * NANOS_PER_LINE;
        self.lines = self.lines.saturating_add(grown).min(limits::OUTPUT_LINES);
        let is_allowed = self.lines > 0;
        self.lines = self.lines.saturating_sub(1);
        is_allowed
    }
}

impl RequestTelemetry {
    /// Exports a line that the guest printed, as a log record with a [`stream`](LogRecord::stream).
    ///
    /// `line` is without its line break. Invalid UTF-8 is replaced, and a line longer than
    /// [`limits::OUTPUT_LINE`] bytes is truncated. A guest that prints more than
    /// [`limits::OUTPUT_LINES`] at once loses lines, which are counted in `wasmetry_dropped_total`.
    /// The target of the record is the stream's name; at the level `off` for that target, nothing
    /// is exported. `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    pub fn output(&mut self, stream: OutputStream, line: &[u8], now: u64) {
        if self.recording.export.level(stream.name()) == Level::Off {
            return;
        }
        if !self.output.take(now) {
            return self.component.count(HostDropReason::OutputLimit, 1);
        }
        let trace = self.exemplars.context();
        self.sink.log(&self.identity, LogRecord::output(stream, line, trace, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_grows_back_with_time() {
        let second = 1_000_000_000;
        let mut budget = OutputBudget::default();
        let lines =
            |budget: &mut OutputBudget, now: u64| (0..2 * limits::OUTPUT_LINES).filter(|_| budget.take(now)).count();
        assert_eq!(lines(&mut budget, 7 * second), limits::OUTPUT_LINES as usize);
        assert_eq!(lines(&mut budget, 7 * second), 0);
        assert_eq!(lines(&mut budget, 9 * second), 2 * limits::OUTPUT_LINES_PER_SECOND as usize);
        // A clock that was set back gives nothing.
        assert_eq!(lines(&mut budget, second), 0);
        assert_eq!(lines(&mut budget, 1000 * second), limits::OUTPUT_LINES as usize);
    }
}
