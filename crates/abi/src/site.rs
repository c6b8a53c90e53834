//! Declarations of call sites of logs and spans. See `FORMAT.md`, section 1.

use crate::codec::{Reader, Writer};
use crate::descriptor::{RECORD_HEAD, RawRecords};
use crate::{DecodeError, Kind, Level, Strings, VERSION, hash};

/// The kind of a span, as its site declares it.
///
/// Source: OpenTelemetry, "Tracing API", SpanKind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum SpanKind {
    /// An operation inside of a service.
    #[default]
    Internal = 0,
    /// The handling of a request from another service.
    Server = 1,
    /// A request to another service.
    Client = 2,
    /// The sending of a message that is handled later.
    Producer = 3,
    /// The handling of such a message.
    Consumer = 4,
}

impl SpanKind {
    /// Every kind, in the order of its numbers.
    pub const ALL: [Self; 5] = [Self::Internal, Self::Server, Self::Client, Self::Producer, Self::Consumer];

    /// The kind's name in the macros.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// The target of audit records. Records of this target and of those below it (`audit::login`) have
/// a ring and a stream of their own.
pub const AUDIT: &str = "audit";

/// Returns `true` if a target is [`AUDIT`] or below it.
pub const fn is_audit(target: &str) -> bool {
    let (target, audit) = (target.as_bytes(), AUDIT.as_bytes());
    let mut i = 0;
    while i < audit.len() {
        if i >= target.len() || target[i] != audit[i] {
            return false;
        }
        i += 1;
    }
    target.len() == i || target[i] == b':'
}

/// The kind of a site's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SiteKind {
    /// Log records, or events of spans.
    Log {
        /// `true` for audit records, which have a ring and a stream of their own.
        is_audit: bool,
    },
    /// Spans.
    Span(SpanKind),
}

impl SiteKind {
    /// The record's kind and detail.
    const fn encoded(self) -> (Kind, u8) {
        match self {
            Self::Log { is_audit } => (Kind::LogSite, is_audit as u8),
            Self::Span(kind) => (Kind::SpanSite, kind as u8),
        }
    }
}

/// The declaration of one call site.
///
/// It is built with [`new`](Self::new) and the `with_*` functions in a constant, or decoded from a
/// record.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Site<'a> {
    /// The kind of the site's records.
    pub kind: SiteKind,
    /// The level; never [`Level::Off`].
    pub level: Level,
    /// The records' target, such as a module path.
    pub target: &'a str,
    /// The source file's path, as the compiler received it.
    pub file: &'a str,
    /// The line, from 1 on.
    pub line: u32,
    /// A span's name, or a log's message: `{}` stands for the next argument, `{{` and `}}` for
    /// braces.
    pub text: &'a str,
    /// The number of a record's arguments that belong to the message. They precede the fields'
    /// values.
    pub message_arguments: u8,
    keys: KeyList<'a>,
}

#[derive(Clone, Copy, Debug)]
enum KeyList<'a> {
    Listed(&'a [&'a str]),
    Encoded(&'a [u8]),
}

impl<'a> Site<'a> {
    /// A site without fields.
    pub const fn new(kind: SiteKind, level: Level, target: &'a str, text: &'a str) -> Self {
        let keys = KeyList::Listed(&[]);
        Self { kind, level, target, file: "", line: 0, text, message_arguments: 0, keys }
    }

    /// Checks, in a constant, a site that was built with [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// Panics (at compile time) if the level is [`Level::Off`].
    #[track_caller]
    pub const fn check(&self) {
        assert!(!matches!(self.level, Level::Off), "nothing is recorded at `Level::Off`: use another level");
    }

    /// Sets the source file and line.
    #[must_use]
    pub const fn with_source(mut self, file: &'a str, line: u32) -> Self {
        self.file = file;
        self.line = line;
        self
    }

    /// Sets the number of the message's arguments, and the keys of the fields.
    #[must_use]
    pub const fn with_arguments(mut self, message: u8, keys: &'a [&'a str]) -> Self {
        self.message_arguments = message;
        self.keys = KeyList::Listed(keys);
        self
    }

    /// Iterates over the keys of the fields, in order.
    pub fn keys(&self) -> Strings<'a> {
        match self.keys {
            KeyList::Listed(keys) => Strings::listed(keys),
            KeyList::Encoded(bytes) => Strings::encoded(Reader::new(bytes)),
        }
    }

    /// The number of bytes that [`encode`](Self::encode) returns.
    pub const fn record_len(&self) -> usize {
        RECORD_HEAD + self.payload_len()
    }

    const fn payload_len(&self) -> usize {
        let mut len = 4 + 4 + 2 + self.target.len() + 2 + self.file.len() + 2 + self.text.len() + 1;
        match self.keys {
            KeyList::Listed(keys) => {
                let mut i = 0;
                while i < keys.len() {
                    len += 2 + keys[i].len();
                    i += 1;
                }
            }
            KeyList::Encoded(bytes) => len += bytes.len(),
        }
        len
    }

    /// Encodes a site that was built with [`new`](Self::new) as a record. `N` is
    /// [`record_len`](Self::record_len).
    ///
    /// # Panics
    ///
    /// Panics (at compile time, in a constant) if `N` is another number, if a list is longer than
    /// the format allows, or if the site was decoded rather than built.
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        let mut out = Writer::<N>::new();
        let (kind, detail) = self.kind.encoded();
        out.u8(VERSION as u8);
        out.u8(kind as u8);
        out.u16(0);
        out.u32(self.payload_len() as u32);
        out.u8(self.level as u8);
        out.u8(detail);
        out.u8(self.message_arguments);
        out.u8(0);
        out.u32(self.line);
        out.text(self.target);
        out.text(self.file);
        out.text(self.text);
        match self.keys {
            KeyList::Listed(keys) => {
                assert!(keys.len() <= u8::MAX as usize, "a record has at most 255 fields");
                out.u8(keys.len() as u8);
                let mut i = 0;
                while i < keys.len() {
                    out.text(keys[i]);
                    i += 1;
                }
            }
            KeyList::Encoded(_) => panic!("a decoded site cannot be encoded"),
        }
        out.finish()
    }

    /// Encodes a site that was built with [`new`](Self::new) as a record, at run time. Returns the
    /// record, or `None` if it does not fit into `buffer`, or if a list or text is longer than the
    /// format allows.
    ///
    /// It is the same record that [`encode`](Self::encode) makes.
    pub fn encode_into<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let KeyList::Listed(keys) = self.keys else { return None };
        let len = self.record_len();
        let mut rest = buffer.get_mut(..len)?;
        let mut put = |bytes: &[u8]| {
            let (place, behind) = core::mem::take(&mut rest).split_at_mut_checked(bytes.len())?;
            place.copy_from_slice(bytes);
            rest = behind;
            Some(())
        };
        let (kind, detail) = self.kind.encoded();
        put(&[VERSION as u8, kind as u8, 0, 0])?;
        put(&(self.payload_len() as u32).to_le_bytes())?;
        put(&[self.level as u8, detail, self.message_arguments, 0])?;
        put(&self.line.to_le_bytes())?;
        let mut put_text = |text: &str| {
            put(&u16::try_from(text.len()).ok()?.to_le_bytes())?;
            put(text.as_bytes())
        };
        put_text(self.target)?;
        put_text(self.file)?;
        put_text(self.text)?;
        put(&[u8::try_from(keys.len()).ok()?])?;
        for key in keys {
            put(&u16::try_from(key.len()).ok()?.to_le_bytes())?;
            put(key.as_bytes())?;
        }
        buffer.get(..len)
    }

    fn decode(kind: Kind, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let level = match Level::from_u8(reader.u8()?) {
            None | Some(Level::Off) => return Err(DecodeError::Field("level")),
            Some(level) => level,
        };
        let detail = reader.u8()?;
        let kind = match (kind, detail) {
            (Kind::LogSite, 0 | 1) => SiteKind::Log { is_audit: detail == 1 },
            (Kind::SpanSite, _) => {
                SiteKind::Span(*SpanKind::ALL.get(usize::from(detail)).ok_or(DecodeError::Field("span kind"))?)
            }
            _ => return Err(DecodeError::Field("site kind")),
        };
        let message_arguments = reader.u8()?;
        if reader.u8()? != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let line = reader.u32()?;
        let (target, file, text) = (reader.text()?, reader.text()?, reader.text()?);
        let count = reader.u8()?;
        let keys = reader.rest();
        for _ in 0..count {
            reader.text()?;
        }
        if !reader.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok(Self { kind, level, target, file, line, text, message_arguments, keys: KeyList::Encoded(keys) })
    }
}

/// One call site's record.
#[derive(Clone, Copy, Debug)]
pub struct SiteRecord<'a> {
    /// The hash of [`bytes`](Self::bytes). The records in a ring refer to their site by it.
    pub hash: u64,
    /// The record's bytes, its head included.
    pub bytes: &'a [u8],
    /// The decoded declaration.
    pub site: Site<'a>,
}

/// An iterator over the call sites of a section. It skips metrics, which
/// [`Records`](crate::Records) reads, and facades.
#[derive(Clone, Debug)]
pub struct Sites<'a> {
    records: RawRecords<'a>,
}

impl<'a> Sites<'a> {
    /// Creates an iterator over a section's bytes.
    pub const fn new(section: &'a [u8]) -> Self {
        Self { records: RawRecords::new(section) }
    }
}

impl<'a> Iterator for Sites<'a> {
    type Item = Result<SiteRecord<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // `Records` reports the records that cannot be read.
            let Ok(record) = self.records.next()? else { continue };
            let Some(kind @ (Kind::LogSite | Kind::SpanSite)) = Kind::from_u8(record.kind) else { continue };
            let site =
                if record.flags == 0 { Site::decode(kind, record.payload) } else { Err(DecodeError::Field("flags")) };
            return Some(site.map(|site| SiteRecord { hash: hash(record.bytes), bytes: record.bytes, site }));
        }
    }
}

/// The number of bytes that [`encode_facade`] returns.
pub const fn facade_len(name: &str) -> usize {
    RECORD_HEAD + 2 + name.len()
}

/// Encodes the declaration of a facade: call sites of libraries that use `name` are defined at run
/// time. `N` is [`facade_len`].
///
/// # Panics
///
/// Panics (at compile time, in a constant) if `N` is another number.
pub const fn encode_facade<const N: usize>(name: &str) -> [u8; N] {
    let mut out = Writer::<N>::new();
    out.u8(VERSION as u8);
    out.u8(Kind::Facade as u8);
    out.u16(0);
    out.u32((2 + name.len()) as u32);
    out.text(name);
    out.finish()
}

/// An iterator over the names of the facades that a section declares.
#[derive(Clone, Debug)]
pub struct Facades<'a> {
    records: RawRecords<'a>,
}

impl<'a> Facades<'a> {
    /// Creates an iterator over a section's bytes.
    pub const fn new(section: &'a [u8]) -> Self {
        Self { records: RawRecords::new(section) }
    }
}

impl<'a> Iterator for Facades<'a> {
    type Item = Result<&'a str, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // `Records` reports the records that cannot be read.
            let Ok(record) = self.records.next()? else { continue };
            if Kind::from_u8(record.kind) == Some(Kind::Facade) {
                let mut reader = Reader::new(record.payload);
                let name = reader.text();
                return Some(if reader.is_empty() { name } else { Err(DecodeError::Trailing) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::{Descriptor, Records};
    use std::vec::Vec;

    const LOADED: Site<'static> =
        Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop::cart", "loaded {} of {}")
            .with_source("src/cart.rs", 7)
            .with_arguments(2, &["user", "ok"]);
    static RECORD: [u8; LOADED.record_len()] = LOADED.encode();
    const LOAD: Site<'static> = Site::new(SiteKind::Span(SpanKind::Client), Level::Debug, "shop", "load");
    static SPAN: [u8; LOAD.record_len()] = LOAD.encode();
    const HITS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "hits_total", "Hits.");
    static METRIC: [u8; HITS.record_len()] = HITS.encode();

    #[test]
    fn site_round_trips() {
        let section = [&RECORD[..], &METRIC, &SPAN].concat();
        let sites: Vec<_> = Sites::new(&section).map(Result::unwrap).collect();
        assert_eq!(sites.len(), 2);
        let site = sites[0].site;
        assert_eq!(sites[0].hash, hash(&RECORD));
        assert_eq!((site.kind, site.level), (SiteKind::Log { is_audit: false }, Level::Info));
        assert_eq!((site.target, site.file, site.line), ("shop::cart", "src/cart.rs", 7));
        assert_eq!((site.text, site.message_arguments), ("loaded {} of {}", 2));
        assert_eq!(site.keys().collect::<Vec<_>>(), ["user", "ok"]);
        assert_eq!(sites[1].site.kind, SiteKind::Span(SpanKind::Client));
        assert_eq!(sites[1].site.keys().count(), 0);
        // Metrics do not hide sites, nor sites metrics.
        let metrics: Vec<_> = Records::new(&section).map(Result::unwrap).collect();
        assert_eq!(metrics.len(), 1);
        assert_eq!(metrics[0].descriptor.name, "hits_total");
    }

    #[test]
    fn run_time_encoding_is_the_same() {
        let mut buffer = [0xff; 256];
        assert_eq!(LOADED.encode_into(&mut buffer), Some(&RECORD[..]));
        assert_eq!(LOAD.encode_into(&mut buffer), Some(&SPAN[..]));
        assert_eq!(LOADED.encode_into(&mut buffer[..RECORD.len() - 1]), None);
        let long = std::string::String::from_utf8(std::vec![b'a'; 70_000]).unwrap();
        let site = Site::new(SiteKind::Log { is_audit: false }, Level::Info, &long, "");
        assert_eq!(site.encode_into(&mut std::vec![0; 80_000]), None);
        let decoded = Sites::new(&RECORD).next().unwrap().unwrap().site;
        assert_eq!(decoded.encode_into(&mut buffer), None);
    }

    #[test]
    fn facades_are_no_sites_or_metrics() {
        static FACADE: [u8; facade_len("tracing")] = encode_facade("tracing");
        let section = [&RECORD[..], &FACADE, &METRIC].concat();
        assert_eq!(Facades::new(&section).collect::<Vec<_>>(), [Ok("tracing")]);
        assert_eq!(Sites::new(&section).count(), 1);
        assert_eq!(Records::new(&section).count(), 1);
    }

    #[test]
    fn truncated_or_flipped_bytes_never_panic() {
        for end in 1..RECORD.len() {
            assert!(Sites::new(&RECORD[..end]).next().is_none(), "{end}");
            assert_eq!(Records::new(&RECORD[..end]).next().unwrap().unwrap_err(), DecodeError::Truncated, "{end}");
        }
        for at in 0..RECORD.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = RECORD;
                bytes[at] ^= flip;
                for site in Sites::new(&bytes).flatten() {
                    assert!(site.site.keys().count() <= 255);
                }
            }
        }
    }
}
