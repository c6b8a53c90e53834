//! The receiver of finished logs and spans.

use std::sync::Arc;

use crate::record::{LogRecord, SpanRecord, TraceId};
use crate::request::RequestFacts;
use crate::{Identity, Outcome};

/// Receives finished logs and spans.
///
/// It is called on the request path, so it must neither wait nor fail: it keeps a record, or drops
/// and counts it.
pub trait Sink: Send + Sync {
    /// Receives a component's log.
    fn log(&self, identity: &Arc<Identity>, log: LogRecord);

    /// Receives a component's span, which has ended.
    fn span(&self, identity: &Arc<Identity>, span: SpanRecord);

    /// Returns `true` if the sink receives the facts of requests. If not, none are collected.
    ///
    /// It is read once for each instance.
    fn receives_facts(&self) -> bool {
        false
    }

    /// Returns `true` if a request that has ended is to be received, with the series that it has
    /// touched. `facts` has all but those.
    fn selects_facts(&self, identity: &Arc<Identity>, facts: &RequestFacts) -> bool {
        let _ = (identity, facts);
        false
    }

    /// Receives the facts of a request that was selected.
    ///
    /// It has the series that the request's own instance has touched. The facts of an instance that
    /// serves another request afterwards, or that sends its metrics, have none.
    fn request(&self, identity: &Arc<Identity>, facts: RequestFacts) {
        let _ = (identity, facts);
    }

    /// Returns `false` if spans have no destination of which the sampler decides. A sampled request
    /// then waits for its outcome, as one that is not sampled does.
    ///
    /// It is read once for each instance.
    fn exports_spans(&self) -> bool {
        true
    }

    /// Returns `true` if the sink observes requests, of which it selects some whatever the sampler
    /// has decided. It is read once for each instance.
    fn observes_requests(&self) -> bool {
        false
    }

    /// Returns `true` if a request that has ended and is not exported is observed: its records are
    /// passed to [`observed_log`](Self::observed_log) and [`observed_span`](Self::observed_span).
    ///
    /// `is_slow` as [`Recording::slow`](crate::Recording::slow) has it; `now` is the wall clock in
    /// nanoseconds since 1970-01-01 00:00 UTC.
    fn selects(&self, identity: &Arc<Identity>, trace: TraceId, outcome: Outcome<'_>, is_slow: bool, now: u64) -> bool {
        let _ = (identity, trace, outcome, is_slow, now);
        false
    }

    /// Receives a log of a request that is observed, and not exported.
    fn observed_log(&self, identity: &Arc<Identity>, log: LogRecord) {
        let _ = (identity, log);
    }

    /// Receives a span of a request that is observed, and not exported.
    fn observed_span(&self, identity: &Arc<Identity>, span: SpanRecord) {
        let _ = (identity, span);
    }
}

/// Passes records to the observer of a sink.
pub(super) struct Observer(pub(super) Arc<dyn Sink>);

impl Sink for Observer {
    fn log(&self, identity: &Arc<Identity>, log: LogRecord) {
        self.0.observed_log(identity, log);
    }

    fn span(&self, identity: &Arc<Identity>, span: SpanRecord) {
        self.0.observed_span(identity, span);
    }
}
