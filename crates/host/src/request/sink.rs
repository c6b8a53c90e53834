//! The receiver of finished logs and spans.

use std::sync::Arc;

use crate::Identity;
use crate::record::{LogRecord, SpanRecord};

/// Receives finished logs and spans.
///
/// It is called on the request path, so it must neither wait nor fail: it keeps a record, or drops
/// and counts it.
pub trait Sink: Send + Sync {
    /// Receives a component's log.
    fn log(&self, identity: &Arc<Identity>, log: LogRecord);

    /// Receives a component's span, which has ended.
    fn span(&self, identity: &Arc<Identity>, span: SpanRecord);
}
