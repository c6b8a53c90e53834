//! Rings: where a guest keeps its logs and spans until the host has read them. See `FORMAT.md`, section 6.

use crate::trace::{SpanId, TraceContext, TraceId};

/// The offset of a ring's capacity in 8-byte words, `u32`, a power of two.
pub const CAPACITY: usize = 0;

/// The offset of the position of the oldest record that the ring still has, `u64`.
pub const TAIL: usize = 8;

/// The offset of the position behind the newest record, `u64`; published with Release.
pub const HEAD: usize = 16;

/// Bytes before a ring's words.
pub const HEADER_SIZE: usize = 24;

/// 8-byte words in one record, at most.
pub const RECORD_WORDS: usize = 256;

/// Bytes of one text in a record, at most; a longer one is cut.
pub const TEXT_BYTES: usize = 1024;

/// Arguments of one record, at most.
pub const ARGUMENTS: usize = 32;

/// The flag of a record whose time was read from the clock for it; without it, it is the time read last before.
pub const FRESH: u8 = 1;

/// The flag of a span whose parent is in another process.
pub const REMOTE_PARENT: u8 = 2;

/// How far a trace's flags are shifted in a record's flags.
pub const TRACE_FLAGS_SHIFT: u8 = 4;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A log.
    Log = 1,
    /// A span begins.
    Start = 2,
    /// A span ends.
    End = 3,
    /// Something happened in a span.
    Event = 4,
    /// A span gets an attribute.
    Attribute = 5,
    /// A span gets a link to another one.
    Link = 6,
    /// A span gets a status.
    Status = 7,
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

/// A span's status, as a record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StatusCode {
    /// It went well.
    Ok = 1,
    /// It failed.
    Error = 2,
}

/// The first word of a record of `words` words.
pub const fn head(words: usize, kind: RecordKind, flags: u8, sequence: u32) -> u64 {
    words as u64 & 0xffff | (kind as u64) << 16 | (flags as u64) << 24 | (sequence as u64) << 32
}

/// The words that a record with `arguments` arguments has for their number and tags: the number in the first byte, then a
/// tag in a byte each.
pub const fn tag_words(arguments: usize) -> usize {
    (arguments + 1).div_ceil(8)
}

/// The words that a text takes: its length in bytes, whether it was cut, and the bytes.
pub const fn text_words(len: usize) -> usize {
    1 + len.div_ceil(8)
}

/// The number of words in the record that begins with this one.
pub const fn record_words(head: u64) -> usize {
    (head & 0xffff) as usize
}

/// The sequence number of the record that begins with this word, modulo 2³².
pub const fn record_sequence(head: u64) -> u32 {
    (head >> 32) as u32
}

/// One decoded record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The number of the record in its ring, modulo 2³².
    pub sequence: u32,
    /// Whether its time was read from the clock for it.
    pub is_fresh: bool,
    /// When it was recorded, in nanoseconds since 1970-01-01 00:00 UTC; 0 where the guest has no clock.
    pub time: u64,
    /// The span that the record is in or about, if there is one.
    pub span: Option<SpanId>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a decoded record says.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A log.
    Log {
        /// The hash of the site's record.
        site: u64,
        /// The span that it was recorded in, whole.
        context: Option<TraceContext>,
        /// The message's arguments, then the fields' values.
        arguments: Arguments<'a>,
    },
    /// A span begins.
    Start {
        /// The hash of the site's record.
        site: u64,
        /// The span.
        context: TraceContext,
        /// Its parent.
        parent: Option<SpanId>,
        /// Whether the parent is in another process.
        is_parent_remote: bool,
        /// The attributes' values.
        arguments: Arguments<'a>,
    },
    /// The span ends.
    End,
    /// Something happened in the span.
    Event {
        /// The hash of the site's record.
        site: u64,
        /// As those of a log.
        arguments: Arguments<'a>,
    },
    /// The span gets an attribute: a key, which is a text, and its value.
    Attribute {
        /// The two arguments.
        arguments: Arguments<'a>,
    },
    /// The span gets a link.
    Link {
        /// The other span.
        context: TraceContext,
    },
    /// The span gets a status.
    Status {
        /// Which.
        code: StatusCode,
        /// One argument, a text: why.
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
    /// A text, of which nobody has said that it is UTF-8.
    Text {
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether the guest has cut it.
        is_cut: bool,
    },
}

/// The arguments of one record.
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
    /// Decodes the bytes of one record; nothing where they make no sense or are of a kind that this release does not know.
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
            _ => return None,
        };
        Some(Self { sequence: record_sequence(head), is_fresh: flags & FRESH != 0, time: word(2)?, span, body })
    }
}
