use wasmetry_abi::Level;
use wasmetry_abi::trace::TraceContext;

use super::Attributes;

/// A log as its guest gives it to [`RequestTelemetry::log`](crate::RequestTelemetry::log).
#[derive(Clone, Debug)]
pub struct Log<'a> {
    /// How severe it is.
    pub level: Level,
    /// What it is about; by default, the component's name.
    pub target: Option<&'a str>,
    /// The message.
    pub message: &'a str,
    /// The fields.
    pub attributes: Attributes,
    /// The span that it is in.
    pub trace: Option<TraceContext>,
    /// Whether it is an audit record.
    pub is_audit: bool,
}
