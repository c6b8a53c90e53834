use wasmetry_abi::trace::{SpanId, TraceContext};

use super::Attributes;
use crate::record::SpanKind;

/// A span that begins, as [`RequestTelemetry::start`](crate::RequestTelemetry::start) takes it.
#[derive(Clone, Debug)]
pub struct NewSpan<'a> {
    /// What the operation is called.
    pub name: &'a str,
    /// What the span stands for.
    pub kind: SpanKind,
    /// The span, whose id no other has.
    pub context: TraceContext,
    /// The span's parent, unless it begins a trace.
    pub parent: Option<SpanId>,
    /// Whether the parent is in another process.
    pub is_parent_remote: bool,
    /// Its first attributes.
    pub attributes: Attributes,
}

/// The span that a guest names by lower-case hexadecimal digits; nothing where they name none.
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
