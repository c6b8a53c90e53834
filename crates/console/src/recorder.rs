//! The sink that keeps logs and spans in the console and passes them on.

use std::sync::Arc;

use wasmetry_host::record::{LogRecord, SpanRecord, TraceId};
use wasmetry_host::{Identity, Outcome, RequestFacts, Sink};

use crate::console::{Cause, Console};

/// Keeps logs and spans in a [`Console`], and passes them on to the exporter.
pub struct Recorder {
    console: Console,
    exporter: Option<Arc<dyn Sink>>,
    exports_spans: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("console", &self.console).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Creates the sink of a console, in front of an exporter if there is one. `exports_spans` if
    /// spans have a destination there; if not, the console alone selects the requests that are
    /// kept.
    pub fn new(console: Console, exporter: Option<Arc<dyn Sink>>, exports_spans: bool) -> Self {
        Self { console, exporter, exports_spans }
    }
}

impl Sink for Recorder {
    fn log(&self, identity: &Arc<Identity>, log: LogRecord) {
        self.console.record_log(identity, &log);
        if let Some(exporter) = &self.exporter {
            exporter.log(identity, log);
        }
    }

    fn span(&self, identity: &Arc<Identity>, span: SpanRecord) {
        // What is not exported by the sampler's decision was kept for its outcome.
        let is_kept = !self.exports_spans || !span.context.is_sampled();
        self.console.record_span(identity, &span, if is_kept { Cause::Outcome } else { Cause::Sampler });
        if let Some(exporter) = &self.exporter {
            exporter.span(identity, span);
        }
    }

    fn receives_facts(&self) -> bool {
        true
    }

    fn selects_facts(&self, identity: &Arc<Identity>, facts: &RequestFacts) -> bool {
        self.console.selects_facts(identity, facts)
    }

    fn request(&self, identity: &Arc<Identity>, facts: RequestFacts) {
        self.console.record_facts(identity, &facts);
    }

    fn exports_spans(&self) -> bool {
        self.exports_spans
    }

    fn observes_requests(&self) -> bool {
        true
    }

    fn selects(&self, identity: &Arc<Identity>, trace: TraceId, outcome: Outcome<'_>, is_slow: bool, now: u64) -> bool {
        outcome != Outcome::Ok || is_slow || self.console.selects(identity, trace, now)
    }

    fn observed_log(&self, identity: &Arc<Identity>, log: LogRecord) {
        self.console.record_log(identity, &log);
    }

    fn observed_span(&self, identity: &Arc<Identity>, span: SpanRecord) {
        self.console.record_span(identity, &span, Cause::Selection);
    }
}
