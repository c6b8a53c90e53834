//! Logs.

use wasmetry_abi::Level;
use wasmetry_abi::trace::TraceContext;

use super::Attributes;

/// A log, for [`RequestTelemetry::log`](crate::RequestTelemetry::log).
#[derive(Clone, Debug)]
pub struct Log<'a> {
    /// The level.
    pub level: Level,
    /// The target; the component's name by default.
    pub target: Option<&'a str>,
    /// The message.
    pub message: &'a str,
    /// The fields.
    pub attributes: Attributes,
    /// The context of the current span.
    pub trace: Option<TraceContext>,
    /// `true` for an audit record.
    pub is_audit: bool,
}
