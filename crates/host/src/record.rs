//! Finished logs and spans, with all of their text.
//!
//! In come the parts of a log or span. Out come [`LogRecord`]s and [`SpanRecord`]s, and the
//! [`Entry`] in which destinations share one. The folder does not know guests, requests or formats.

mod entry;
mod redaction;

use std::sync::Arc;

use crate::limits;

pub use entry::Entry;
pub use redaction::{Redaction, destination};
pub use wasmetry_abi::Level;
pub use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

/// The value of a log's field or of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number; NaN and the infinities are possible.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(Box<str>),
}

/// A field of a log or an attribute of a span: its key and its value.
pub type Field = (Arc<str>, FieldValue);

/// A place in a guest's source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file's path, as the compiler received it.
    pub file: Arc<str>,
    /// The line, from 1 on.
    pub line: u32,
}

/// One log record.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// The time of recording, in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// The time at which the host read it, in nanoseconds since 1970-01-01 00:00 UTC.
    pub observed: u64,
    /// The severity; never [`Level::Off`]. It means nothing if there is a [`stream`](Self::stream).
    pub level: Level,
    /// The target; a Rust guest's module path by default.
    pub target: Arc<str>,
    /// The message.
    pub message: Box<str>,
    /// The fields, in the author's order; a key may occur twice.
    pub fields: Vec<Field>,
    /// The place in the guest's source, if the guest declares it.
    pub source: Option<Source>,
    /// The span that it was recorded in.
    pub trace: Option<TraceContext>,
    /// `true` for an audit record: it is not sampled, dropped last, and exported to its own stream.
    pub is_audit: bool,
    /// The stream of a line that the guest printed; `None` for a record of the guest's own.
    pub stream: Option<OutputStream>,
}

impl LogRecord {
    /// Creates the record of a line that a guest printed.
    ///
    /// `line` is without its line break. Invalid UTF-8 is replaced, and a line longer than
    /// [`limits::OUTPUT_LINE`] bytes is truncated and ends in `…`.
    /// `trace` is the span in which the line was printed, and `now` the wall clock in nanoseconds
    /// since 1970-01-01 00:00 UTC.
    pub fn output(stream: OutputStream, line: &[u8], trace: Option<TraceContext>, now: u64) -> Self {
        let (kept, is_cut) = match line.get(..limits::OUTPUT_LINE) {
            Some(kept) if line.len() > limits::OUTPUT_LINE => (kept, true),
            _ => (line, false),
        };
        // The cut may have divided a character.
        let end = if is_cut {
            kept.utf8_chunks().last().map_or(0, |last| kept.len() - last.invalid().len())
        } else {
            kept.len()
        };
        let mut message = String::from_utf8_lossy(kept.get(..end).unwrap_or_default()).into_owned();
        if is_cut {
            message.push('…');
        }
        Self {
            time: now,
            observed: now,
            level: Level::Info,
            target: stream.name().into(),
            message: message.into(),
            fields: Vec::new(),
            source: None,
            trace,
            is_audit: false,
            stream: Some(stream),
        }
    }
}

/// A stream that a guest prints to.
///
/// Source: OpenTelemetry, semantic conventions, `log.iostream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

impl OutputStream {
    /// The stream's name: `stdout` or `stderr`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The kind of a span.
///
/// Source: OpenTelemetry, "Tracing API", SpanKind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SpanKind {
    /// An operation inside of a service.
    #[default]
    Internal,
    /// The handling of a request from another service.
    Server,
    /// A request to another service.
    Client,
    /// The sending of a message that is handled later.
    Producer,
    /// The handling of such a message.
    Consumer,
}

/// The status of a span.
///
/// Source: OpenTelemetry, "Tracing API", Set Status.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// No status was set.
    #[default]
    Unset,
    /// The operation succeeded.
    Ok,
    /// The operation failed; the text describes the failure.
    Error(Box<str>),
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// The time of the event, in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// The event's name.
    pub name: Box<str>,
    /// The event's attributes.
    pub attributes: Vec<Field>,
}

/// A link from a span to another span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    /// The other span.
    pub context: TraceContext,
    /// The link's attributes.
    pub attributes: Vec<Field>,
}

/// One span, which has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// The span.
    pub context: TraceContext,
    /// The span's parent, unless it begins a trace.
    pub parent: Option<SpanId>,
    /// `true` if the parent is in another process.
    pub is_parent_remote: bool,
    /// The value of the trace's `tracestate` header, or an empty text.
    pub trace_state: Arc<str>,
    /// The name of the operation.
    pub name: Arc<str>,
    /// The span's kind.
    pub kind: SpanKind,
    /// The time of its start, in nanoseconds since 1970-01-01 00:00 UTC.
    pub start: u64,
    /// The time of its end, in nanoseconds since 1970-01-01 00:00 UTC; not before `start`.
    pub end: u64,
    /// The attributes, in the author's order; keys are unique.
    pub attributes: Vec<Field>,
    /// The events, in order.
    pub events: Vec<SpanEvent>,
    /// The links.
    pub links: Vec<SpanLink>,
    /// The status.
    pub status: SpanStatus,
    /// The number of attributes, events and links that were dropped, because the span had too many.
    pub dropped: u32,
    /// The target: a Rust guest's module path, or the host.
    pub target: Arc<str>,
    /// The host's span of the request in which this one was recorded, whatever a guest sets as its
    /// trace and parent. It is `None` outside of a request. It is not exported.
    pub request: Option<SpanId>,
    /// `true` on the host's span of a request that was slow, as
    /// [`Recording::slow`](crate::Recording::slow) has it. It is not exported.
    pub is_slow: bool,
}

impl SpanRecord {
    /// Returns `true` if this is the host's span of a request. A guest's span is none, whatever its
    /// kind and parent.
    pub fn is_request(&self) -> bool {
        self.request == Some(self.context.span_id)
    }
}
