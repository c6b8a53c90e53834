//! Spans.

use wasmetry_abi::trace::{SpanId, TraceContext};

use super::Attributes;
use crate::record::SpanKind;

/// A span that starts, for [`RequestTelemetry::start`](crate::RequestTelemetry::start).
#[derive(Clone, Debug)]
pub struct NewSpan<'a> {
    /// The name of the operation.
    pub name: &'a str,
    /// The kind.
    pub kind: SpanKind,
    /// The context, with an id of its own.
    pub context: TraceContext,
    /// The parent; `None` if the span starts a trace.
    pub parent: Option<SpanId>,
    /// `true` if the parent is in another process.
    pub is_parent_remote: bool,
    /// The first attributes.
    pub attributes: Attributes,
}

/// Returns the span context that a guest gives in lower-case hexadecimal digits, or `None` if it is
/// invalid.
///
/// ```
/// use wasmetry_host::handle_api::span_context;
///
/// let span = span_context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1).unwrap();
/// assert!(span.is_sampled());
/// assert_eq!(span_context("0af7651916cd43dd8448eb211c80319c", "0000000000000000", 1), None);
/// ```
pub fn span_context(trace_id: &str, span_id: &str, flags: u8) -> Option<TraceContext> {
    // Longer ones are not put into a header.
    if (trace_id.len(), span_id.len()) != (32, 16) {
        return None;
    }
    TraceContext::parse(format!("00-{trace_id}-{span_id}-{flags:02x}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::span_context;

    #[test]
    fn only_digits_name_a_span() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        assert_eq!(span_context(trace, span, 0xff).unwrap().flags, 3);
        for (trace, span) in [
            ("", ""),
            (trace, ""),
            (trace, "B7AD6B7169203331"),
            (trace, "b7ad6b716920333é"),
            (&"0".repeat(32), span),
            (&"a".repeat(33), span),
            (&"é".repeat(16), span),
        ] {
            assert_eq!(span_context(trace, span, 1), None, "{trace} {span}");
        }
    }
}
