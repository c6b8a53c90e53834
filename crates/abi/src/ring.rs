//! Rings: the buffers of a guest's logs and spans, which the host reads. See `FORMAT.md`, section
//! 6.

use crate::trace::{SpanId, TraceContext, TraceId};

/// The offset of a ring's capacity in 8-byte words, `u32`, a power of two.
pub const CAPACITY: usize = 0;

/// The offset of the position of the oldest record, `u64`.
pub const TAIL: usize = 8;

/// The offset of the position behind the newest record, `u64`; published with Release.
pub const HEAD: usize = 16;

/// Bytes before a ring's words.
pub const HEADER_SIZE: usize = 24;

/// The maximum number of 8-byte words in a record.
pub const RECORD_WORDS: usize = 256;

/// The maximum length of a text in a record, in bytes. A longer one is truncated.
pub const TEXT_BYTES: usize = 1024;

/// The maximum number of arguments of a record.
pub const ARGUMENTS: usize = 32;

/// The flag of a record whose time was read from the clock for it. Without the flag, the record has
/// the time that was read last before it.
pub const FRESH: u8 = 1;

/// The flag of a span whose parent is in another process.
pub const REMOTE_PARENT: u8 = 2;

/// The flag of a log or a span in a trace that began in the guest, so that no caller has decided on
/// its sampling.
pub const GUEST_TRACE: u8 = 4;

/// The position of the trace flags in a record's flags, in bits.
pub const TRACE_FLAGS_SHIFT: u8 = 4;

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A log.
    Log = 1,
    /// The start of a span.
    Start = 2,
    /// The end of a span.
    End = 3,
    /// An event of a span.
    Event = 4,
    /// An attribute that is added to a span.
    Attribute = 5,
    /// A link from a span to another span.
    Link = 6,
    /// The status of a span.
    Status = 7,
    /// An attribute of the request's own span.
    RequestAttribute = 8,
    /// The definition of a dynamic site, in the table of dynamic sites only.
    Site = 9,
    /// A panic, or the error that a request ended in.
    Exception = 10,
}

/// The number of 8-byte words before the bytes of a dynamic site's definition: the three of each
/// record, and the site's hash.
pub const DEFINITION_HEAD: usize = 4;

/// The maximum number of bytes of a dynamic site's declaration.
pub const DEFINITION_BYTES: usize = 8 * (RECORD_WORDS - DEFINITION_HEAD);

/// Returns the hash and the declaration of a dynamic site: the bytes of a record of the kind
/// [`RecordKind::Site`]. Zeros may follow the declaration. Returns `None` for other records.
pub fn definition(record: &[u8]) -> Option<(u64, &[u8])> {
    let (words, declaration) = record.split_at_checked(8 * DEFINITION_HEAD)?;
    let word = |index: usize| words.get(8 * index..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
    ((word(0)? >> 16) as u8 == RecordKind::Site as u8).then_some((word(3)?, declaration))
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// An `i64`.
    Signed = 1,
    /// A `u64`.
    Unsigned = 2,
    /// An `f64`.
    Float = 3,
    /// A truth value.
    Bool = 4,
    /// A text.
    Text = 5,
}

/// The status code of a span.
///
/// Source: OpenTelemetry, "Tracing API", "Set Status".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StatusCode {
    /// The operation succeeded.
    Ok = 1,
    /// The operation failed.
    Error = 2,
}

/// The cause of a record [`RecordKind::Exception`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExceptionCause {
    /// The guest panicked, and ends.
    Panic = 1,
    /// A handler returned an error.
    Error = 2,
}

/// Returns the first word of a record of `words` words.
pub const fn head(words: usize, kind: RecordKind, flags: u8, sequence: u32) -> u64 {
    words as u64 & 0xffff | (kind as u64) << 16 | (flags as u64) << 24 | (sequence as u64) << 32
}

/// The number of words for the count and the tags of `arguments` arguments: the count in the first
/// byte, then one byte for each tag.
pub const fn tag_words(arguments: usize) -> usize {
    (arguments + 1).div_ceil(8)
}

/// The number of words for a text of `len` bytes: one for its length and its truncation flag, then
/// its bytes.
pub const fn text_words(len: usize) -> usize {
    1 + len.div_ceil(8)
}

/// Returns the number of words in the record that begins with this word.
pub const fn record_words(head: u64) -> usize {
    (head & 0xffff) as usize
}

/// Returns the sequence number of the record that begins with this word, modulo 2³².
pub const fn record_sequence(head: u64) -> u32 {
    (head >> 32) as u32
}

/// One decoded record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The number of the record in its ring, modulo 2³².
    pub sequence: u32,
    /// `true` if the time was read from the clock for this record.
    pub is_fresh: bool,
    /// `true` if the record's trace began in the guest.
    pub is_guest_trace: bool,
    /// The time of recording, in nanoseconds since 1970-01-01 00:00 UTC; 0 if the guest has no
    /// clock.
    pub time: u64,
    /// The span that the record belongs to.
    pub span: Option<SpanId>,
    /// The record's content.
    pub body: Body<'a>,
}

/// The content of a decoded record.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A log.
    Log {
        /// The hash of the site's record.
        site: u64,
        /// The span that it was recorded in.
        context: Option<TraceContext>,
        /// The message's arguments, then the fields' values.
        arguments: Arguments<'a>,
    },
    /// The start of a span.
    Start {
        /// The hash of the site's record.
        site: u64,
        /// The span.
        context: TraceContext,
        /// The span's parent.
        parent: Option<SpanId>,
        /// `true` if the parent is in another process.
        is_parent_remote: bool,
        /// The attributes' values.
        arguments: Arguments<'a>,
    },
    /// The end of the span.
    End,
    /// An event of the span.
    Event {
        /// The hash of the site's record.
        site: u64,
        /// The message's arguments, then the fields' values.
        arguments: Arguments<'a>,
    },
    /// An attribute of the span.
    Attribute {
        /// Two arguments: the key, a text, and the value.
        arguments: Arguments<'a>,
    },
    /// A link of the span.
    Link {
        /// The other span.
        context: TraceContext,
    },
    /// The status of the span.
    Status {
        /// The status code.
        code: StatusCode,
        /// At most one argument: the description, a text.
        arguments: Arguments<'a>,
    },
    /// An attribute of the request's own span.
    RequestAttribute {
        /// The [key](crate::route::request_key) of the request.
        request: u64,
        /// Two arguments: the key, a text, and the value.
        arguments: Arguments<'a>,
    },
    /// A panic, or the error that a request ended in.
    Exception {
        /// The cause.
        cause: ExceptionCause,
        /// The span that it happened in.
        context: Option<TraceContext>,
        /// The source file, a text; line and column, integers; the target, the type, the message
        /// and the causes, texts.
        arguments: Arguments<'a>,
    },
}

/// The value of a decoded argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument<'a> {
    /// An `i64`.
    Signed(i64),
    /// A `u64`.
    Unsigned(u64),
    /// An `f64`.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text; its bytes may be invalid UTF-8.
    Text {
        /// The text's bytes.
        bytes: &'a [u8],
        /// `true` if the guest truncated the text.
        is_cut: bool,
    },
}

/// An iterator over the arguments of a record.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    tags: &'a [u8],
    values: &'a [u8],
}

impl<'a> Arguments<'a> {
    const NONE: Self = Self { tags: &[], values: &[] };

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let count = usize::from(*bytes.first()?);
        if count > ARGUMENTS {
            return None;
        }
        let (tags, values) = bytes.split_at_checked(8 * tag_words(count))?;
        let arguments = Self { tags: tags.get(1..1 + count)?, values };
        (arguments.count() == count).then_some(arguments)
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = Argument<'a>;

    fn next(&mut self) -> Option<Argument<'a>> {
        let (tag, tags) = self.tags.split_first()?;
        let (word, rest) = self.values.split_first_chunk::<8>()?;
        let bits = u64::from_le_bytes(*word);
        (self.tags, self.values) = (tags, rest);
        Some(match tag {
            1 => Argument::Signed(bits.cast_signed()),
            2 => Argument::Unsigned(bits),
            3 => Argument::Float(f64::from_bits(bits)),
            4 => Argument::Bool(bits != 0),
            5 => {
                let len = usize::try_from(bits & 0xffff_ffff).ok()?;
                let padded = len.checked_next_multiple_of(8)?;
                let (text, rest) = self.values.split_at_checked(padded)?;
                self.values = rest;
                Argument::Text { bytes: text.get(..len)?, is_cut: bits >> 32 != 0 }
            }
            _ => return None,
        })
    }
}

impl<'a> Record<'a> {
    /// Decodes the bytes of one record. Returns `None` if they are invalid or of a kind that this
    /// release does not support.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let word = |index: usize| bytes.get(8 * index..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
        let rest = |index: usize| bytes.get(8 * index..);
        let head = word(0)?;
        let flags = (head >> 24) as u8;
        let span = SpanId::new(word(1)?);
        let context = |span: Option<SpanId>| {
            let trace = u128::from(word(3)?) << 64 | u128::from(word(4)?);
            Some(TraceContext {
                trace_id: TraceId::new(trace)?,
                span_id: span?,
                flags: flags >> TRACE_FLAGS_SHIFT & (TraceContext::SAMPLED | TraceContext::RANDOM),
            })
        };
        let body = match (head >> 16) as u8 {
            1 => Body::Log { site: word(5)?, context: context(span), arguments: Arguments::decode(rest(6)?)? },
            2 => Body::Start {
                site: word(5)?,
                context: context(span)?,
                parent: SpanId::new(word(6)?),
                is_parent_remote: flags & REMOTE_PARENT != 0,
                arguments: Arguments::decode(rest(7)?)?,
            },
            3 => Body::End,
            4 => Body::Event { site: word(5)?, arguments: Arguments::decode(rest(6)?)? },
            5 => Body::Attribute { arguments: Arguments::decode(rest(3)?)? },
            6 => Body::Link { context: context(SpanId::new(word(5)?))? },
            7 => Body::Status {
                code: match word(3)? {
                    1 => StatusCode::Ok,
                    2 => StatusCode::Error,
                    _ => return None,
                },
                arguments: Arguments::decode(rest(4)?).unwrap_or(Arguments::NONE),
            },
            8 => Body::RequestAttribute { request: word(1)?, arguments: Arguments::decode(rest(3)?)? },
            10 => Body::Exception {
                cause: match word(5)? {
                    1 => ExceptionCause::Panic,
                    2 => ExceptionCause::Error,
                    _ => return None,
                },
                context: context(span),
                arguments: Arguments::decode(rest(6)?)?,
            },
            _ => return None,
        };
        Some(Self {
            sequence: record_sequence(head),
            is_fresh: flags & FRESH != 0,
            is_guest_trace: flags & GUEST_TRACE != 0,
            time: word(2)?,
            span,
            body,
        })
    }
}
