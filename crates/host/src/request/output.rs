//! Lines that a guest prints to its standard output or standard error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::printed_panic::PrintedPanic;
use super::rate::RateKind;
use super::{Recording, RequestTelemetry, Sink};
use crate::Identity;
use crate::record::{Level, LogRecord, OutputStream, TraceContext};
use crate::registry::component::ComponentState;
use crate::registry::drop_reason::HostDropReason;

/// The lines that one guest prints, as log records with a [`stream`](LogRecord::stream).
///
/// It does not borrow the guest's [`RequestTelemetry`], because a guest prints in calls of WASI.
pub struct PrintedLines {
    component: Arc<ComponentState>,
    identity: Arc<Identity>,
    sink: Arc<dyn Sink>,
    recording: Arc<Recording>,
    trace: Option<TraceContext>,
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
    /// [`crate::limits::OUTPUT_LINE`] bytes is truncated. A component whose guests print more than
    /// [`crate::limits::OUTPUT_LINES`] at once loses lines, which are counted in
    /// `wasmetry_dropped_total`. The target of the record is the stream's name; at the level `off`
    /// for that target, nothing is exported. `now` is the wall clock in nanoseconds since
    /// 1970-01-01 00:00 UTC.
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
        if !self.component.rates().of(RateKind::Printed).take(now) {
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
            panic: Arc::clone(&self.printed_panic),
        }
    }
}
