//! Trace contexts and their headers: W3C Trace Context, level 2.
//!
//! Source: <https://www.w3.org/TR/trace-context-2/>, section 3 for the headers' grammar.
//!
//! ```
//! use wasmetry_abi::trace::TraceContext;
//!
//! let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let context = TraceContext::parse(header.as_bytes()).unwrap();
//! assert!(context.is_sampled());
//! assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
//! assert_eq!(core::str::from_utf8(&context.traceparent()), Ok(header));
//! let invalid = b"00-00000000000000000000000000000000-00f067aa0ba902b7-01";
//! assert_eq!(TraceContext::parse(invalid), None);
//! ```

mod state;

use core::fmt;

pub use state::{TRACE_STATE_LEN, TraceState};

/// The number of values that the random part of a trace id has, its right-most 7 bytes.
pub const RANDOM_VALUES: u64 = 1 << 56;

/// Bytes in the value of a `traceparent` header of version 00.
pub const TRACEPARENT_LEN: usize = 55;

/// The id of a trace; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

impl TraceId {
    /// Creates an id from a number. Returns `None` for 0, the invalid id.
    pub const fn new(number: u128) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The id as a number.
    pub const fn number(self) -> u128 {
        self.0
    }

    /// The id's 16 bytes in OTLP, most significant byte first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of a span in its trace; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

impl SpanId {
    /// Creates an id from a number. Returns `None` for 0, the invalid id.
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The id as a number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The id's 8 bytes in OTLP, most significant byte first.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The propagated identity of a span: the content of a `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span. It is the parent of the receiver's span.
    pub span_id: SpanId,
    /// The trace flags; see [`SAMPLED`](Self::SAMPLED) and [`RANDOM`](Self::RANDOM).
    pub flags: u8,
}

impl TraceContext {
    /// The flag `sampled`: the caller may have recorded the trace.
    pub const SAMPLED: u8 = 1;

    /// The flag of a trace id whose right-most 7 bytes are random.
    pub const RANDOM: u8 = 2;

    /// Returns `true` if the caller may have recorded the trace.
    pub const fn is_sampled(self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// Parses the values of all `traceparent` headers of a request.
    ///
    /// Returns `None` unless there is exactly one header and it is valid. White space around the
    /// value is ignored.
    ///
    /// ```
    /// use wasmetry_abi::trace::TraceContext;
    ///
    /// let header = &b" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..];
    /// assert!(TraceContext::from_headers([header]).is_some());
    /// assert_eq!(TraceContext::from_headers([header, header]), None);
    /// ```
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut headers = headers.into_iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return None };
        Self::parse(state::trim(header))
    }

    /// Parses the value of a `traceparent` header. Returns `None` if it is invalid; the receiver
    /// then starts a new trace.
    ///
    /// A version above 00 is read up to the end of version 00's fields, and loses the flags that
    /// version 00 does not define. Version ff is invalid.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (version, rest) = field::<2>(header)?;
        let (trace_id, rest) = field::<32>(separated(rest)?)?;
        let (span_id, rest) = field::<16>(separated(rest)?)?;
        let (flags, rest) = field::<2>(separated(rest)?)?;
        let is_whole = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !is_whole {
            return None;
        }
        let known = Self::SAMPLED | Self::RANDOM;
        Some(Self {
            trace_id: TraceId::new(trace_id)?,
            span_id: SpanId::new(span_id as u64)?,
            flags: flags as u8 & known,
        })
    }

    /// Returns the value of a `traceparent` header, in version 00; it is ASCII.
    pub const fn traceparent(self) -> [u8; TRACEPARENT_LEN] {
        let mut header = [b'-'; TRACEPARENT_LEN];
        write(&mut header, 0, 2, 0);
        write(&mut header, 3, 32, self.trace_id.number());
        write(&mut header, 36, 16, self.span_id.number() as u128);
        write(&mut header, 53, 2, self.flags as u128);
        header
    }
}

/// Parses `N` lower-case hexadecimal digits. Returns their number and the rest of the text.
fn field<const N: usize>(text: &[u8]) -> Option<(u128, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<N>()?;
    let mut number = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            // Upper-case digits are invalid.
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(value);
    }
    Some((number, rest))
}

fn separated(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"-")
}

const fn write(text: &mut [u8; TRACEPARENT_LEN], at: usize, digits: usize, number: u128) {
    let mut i = 0;
    while i < digits {
        let shift = 4 * (digits - 1 - i);
        text[at + i] = b"0123456789abcdef"[(number >> shift) as usize & 15];
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &[u8; 55] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_round_trips() {
        for flags in [0, 1, 2, 3] {
            let context = TraceContext {
                trace_id: TraceId::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c).unwrap(),
                span_id: SpanId::new(u64::MAX).unwrap(),
                flags,
            };
            assert_eq!(TraceContext::parse(&context.traceparent()), Some(context));
        }
    }

    #[test]
    fn changed_byte_changes_the_context() {
        let valid = TraceContext::parse(VALID);
        for at in 0..VALID.len() {
            for byte in 0..=255u8 {
                let mut header = *VALID;
                header[at] = byte;
                let found = TraceContext::parse(&header);
                if !(byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) && header != *VALID {
                    assert_eq!(found, None, "{at} {byte}");
                } else if (2..53).contains(&at) && header != *VALID {
                    assert_ne!(found, valid, "{at} {byte}");
                }
            }
        }
        for end in 0..VALID.len() {
            assert_eq!(TraceContext::parse(&VALID[..end]), None, "{end}");
        }
    }

    #[test]
    fn later_versions_are_parsed_leniently() {
        let with = |version: &[u8; 2], rest: &[u8]| {
            let mut header = [0; 64];
            header[..55].copy_from_slice(VALID);
            header[..2].copy_from_slice(version);
            header[55..55 + rest.len()].copy_from_slice(rest);
            TraceContext::parse(&header[..55 + rest.len()])
        };
        let valid = TraceContext::parse(VALID);
        assert!(valid.is_some());
        assert_eq!(with(b"cc", b""), valid);
        assert_eq!(with(b"cc", b"-what"), valid);
        assert_eq!(with(b"cc", b".what"), None);
        assert_eq!(with(b"00", b"-what"), None);
        assert_eq!(with(b"00", b"-"), None);
        assert_eq!(with(b"ff", b""), None);
    }

    #[test]
    fn undefined_flags_are_cleared() {
        let mut header = *VALID;
        for (flags, known) in [(b"ff", 3), (b"fe", 2), (b"02", 2), (b"fd", 1), (b"fc", 0), (b"08", 0)] {
            header[53..].copy_from_slice(flags);
            assert_eq!(TraceContext::parse(&header).map(|context| context.flags), Some(known));
        }
        header[53..].copy_from_slice(b"0A");
        assert_eq!(TraceContext::parse(&header), None);
    }

    #[test]
    fn several_headers_are_invalid() {
        let valid = TraceContext::parse(VALID);
        for around in [(&b""[..], &b""[..]), (b" ", b""), (b"\t", b" "), (b"", b" \t "), (b" \t", b"\t\t")] {
            let mut header = [0; 64];
            let end = around.0.len() + VALID.len() + around.1.len();
            header[..around.0.len()].copy_from_slice(around.0);
            header[around.0.len()..around.0.len() + VALID.len()].copy_from_slice(VALID);
            header[around.0.len() + VALID.len()..end].copy_from_slice(around.1);
            assert_eq!(TraceContext::from_headers([&header[..end]]), valid);
        }
        assert_eq!(TraceContext::from_headers([]), None);
        assert_eq!(TraceContext::from_headers([&VALID[..], VALID]), None);
        assert_eq!(TraceContext::from_headers([&VALID[..], b"invalid"]), None);
        // Two headers that a proxy has joined.
        let mut joined = [b','; 111];
        joined[..55].copy_from_slice(VALID);
        joined[56..].copy_from_slice(VALID);
        assert_eq!(TraceContext::from_headers([&joined[..]]), None);
    }

    #[test]
    fn zero_ids_are_invalid() {
        assert_eq!(TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"), None);
        assert_eq!(TraceContext::parse(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    }
}
