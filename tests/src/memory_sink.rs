//! A sink that keeps logs and spans in memory.

use std::sync::{Arc, Mutex};

use wasmetry_host::record::{LogRecord, SpanRecord};
use wasmetry_host::{Identity, Sink};

/// Keeps every exported log and span until a test takes them.
#[derive(Debug, Default)]
pub struct MemorySink {
    logs: Mutex<Vec<LogRecord>>,
    spans: Mutex<Vec<SpanRecord>>,
}

impl MemorySink {
    /// Returns a copy of the logs that no test has taken, in the order of their export.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.logs.lock().unwrap().clone()
    }

    /// Returns a copy of the spans that no test has taken, in the order of their export.
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.spans.lock().unwrap().clone()
    }

    /// Returns and removes the logs, in the order of their export.
    pub fn take_logs(&self) -> Vec<LogRecord> {
        std::mem::take(&mut self.logs.lock().unwrap())
    }

    /// Returns and removes the spans, in the order of their export.
    pub fn take_spans(&self) -> Vec<SpanRecord> {
        std::mem::take(&mut self.spans.lock().unwrap())
    }
}

impl Sink for MemorySink {
    fn log(&self, _: &Arc<Identity>, log: LogRecord) {
        self.logs.lock().unwrap().push(log);
    }

    fn span(&self, _: &Arc<Identity>, span: SpanRecord) {
        self.spans.lock().unwrap().push(span);
    }
}
