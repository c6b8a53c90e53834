//! Lines that a guest prints to its standard output or standard error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::printed_panic::PrintedPanic;
use super::{Recording, RequestTelemetry, Sink};
use crate::record::{Level, LogRecord, OutputStream, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;
use crate::{Identity, limits};

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

/// The lines that one guest prints, as log records with a [`stream`](LogRecord::stream).
///
/// It does not borrow the guest's [`RequestTelemetry`], because a guest prints in calls of WASI.
pub struct PrintedLines {
    component: Arc<ComponentState>,
    identity: Arc<Identity>,
    sink: Arc<dyn Sink>,
    recording: Arc<Recording>,
    trace: Option<TraceContext>,
    budget: OutputBudget,
    panic: Arc<Mutex<PrintedPanic>>,
}

impl fmt::Debug for PrintedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrintedLines").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl PrintedLines {
    /// Exports a line that the guest printed.
    ///
    /// `line` is without its line break. Invalid UTF-8 is replaced, and a line longer than
    /// [`limits::OUTPUT_LINE`] bytes is truncated. A guest that prints more than
    /// [`limits::OUTPUT_LINES`] at once loses lines, which are counted in `wasmetry_dropped_total`.
    /// The target of the record is the stream's name; at the level `off` for that target, nothing
    /// is exported. `now` is the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    ///
    /// If the guest ends early, the last panic that it has printed to its standard error is its
    /// reason, unless it has recorded one.
    pub fn record(&mut self, stream: OutputStream, line: &[u8], now: u64) {
        if stream == OutputStream::Stderr {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).line(line);
        }
        if self.recording.export.level(stream.name()) == Level::Off {
            return;
        }
        if !self.budget.take(now) {
            return self.component.count(HostDropReason::OutputLimit, 1);
        }
        self.sink.log(&self.identity, LogRecord::output(stream, line, self.trace, now));
    }
}

impl RequestTelemetry {
    /// Returns the recorder of the lines that the guest prints, which are in the span `trace`.
    pub fn printed_lines(&self, trace: Option<TraceContext>) -> PrintedLines {
        PrintedLines {
            component: Arc::clone(&self.component),
            identity: Arc::clone(&self.identity),
            sink: Arc::clone(&self.sink),
            recording: Arc::clone(&self.recording),
            trace,
            budget: OutputBudget::default(),
            panic: Arc::clone(&self.printed_panic),
        }
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
