//! Logs and spans, as exporters get them: whole, with text, and with nothing left to look up.
//!
//! In come the parts of a log or span. Out come [`LogRecord`]s and [`SpanRecord`]s, and the [`Entry`] in which destinations share one.
//! It does not know guests, requests or formats.

mod entry;
mod redaction;

use std::sync::Arc;

pub use entry::Entry;
pub use redaction::{Redaction, destination};
pub use wasmetry_abi::Level;
pub use wasmetry_abi::trace::{SpanId, TraceContext, TraceId};

/// The value of a log's field or of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A whole number.
    Signed(i64),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// Any other number; NaN and the infinities are possible.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(Box<str>),
}

/// A field of a log or an attribute of a span: its key and its value.
pub type Field = (Arc<str>, FieldValue);

/// Where in a guest's source something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file's path, as its compiler was given it.
    pub file: Arc<str>,
    /// The line, from 1 on.
    pub line: u32,
}

/// One log record.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// When it was recorded, in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// When the host read it, in the same unit.
    pub observed: u64,
    /// How severe it is; never [`Level::Off`].
    pub level: Level,
    /// What it is about; a Rust guest's module path, unless its author gave another.
    pub target: Arc<str>,
    /// The message.
    pub message: Box<str>,
    /// The fields, in the author's order; a key may occur twice.
    pub fields: Vec<Field>,
    /// Where it was recorded, if the guest says so.
    pub source: Option<Source>,
    /// The span that it was recorded in.
    pub trace: Option<TraceContext>,
    /// Whether it is an audit record: not sampled, not dropped before others, and exported to its own stream.
    pub is_audit: bool,
}

/// What a span stands for.
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

/// How the operation of a span went.
///
/// Source: OpenTelemetry, "Tracing API", Set Status.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Nobody has said.
    #[default]
    Unset,
    /// The author says that it went well.
    Ok,
    /// It failed, for this reason.
    Error(Box<str>),
}

/// Something that happened at one moment of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// When, in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// What.
    pub name: Box<str>,
    /// Its attributes.
    pub attributes: Vec<Field>,
}

/// Another span that a span has to do with.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    /// The other span.
    pub context: TraceContext,
    /// The link's attributes.
    pub attributes: Vec<Field>,
}

/// One span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    /// The span.
    pub context: TraceContext,
    /// The span's parent, unless it begins a trace.
    pub parent: Option<SpanId>,
    /// Whether the parent is in another process.
    pub is_parent_remote: bool,
    /// The value of the `tracestate` header that the trace came with, or an empty text.
    pub trace_state: Arc<str>,
    /// What the operation is called.
    pub name: Arc<str>,
    /// What the span stands for.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970-01-01 00:00 UTC.
    pub start: u64,
    /// When it ended, in the same unit; not before `start`.
    pub end: u64,
    /// Its attributes, in the author's order, each key once.
    pub attributes: Vec<Field>,
    /// What happened in it, in order.
    pub events: Vec<SpanEvent>,
    /// The spans that it has to do with.
    pub links: Vec<SpanLink>,
    /// How it went.
    pub status: SpanStatus,
    /// Attributes, events and links that found no room.
    pub dropped: u32,
    /// What recorded it: a Rust guest's module path, or the host.
    pub target: Arc<str>,
}
