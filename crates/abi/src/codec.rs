//! Byte-level reading and writing. The writer works in constants.

use crate::DecodeError;

/// Writes fields into a buffer of known size at compile time.
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(crate) const fn u8(&mut self, value: u8) {
        self.bytes[self.len] = value;
        self.len += 1;
    }

    pub(crate) const fn bytes(&mut self, value: &[u8]) {
        let mut i = 0;
        while i < value.len() {
            self.u8(value[i]);
            i += 1;
        }
    }

    pub(crate) const fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) const fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) const fn f64(&mut self, value: f64) {
        self.bytes(&value.to_bits().to_le_bytes());
    }

    /// Writes a text: its length in bytes as `u16`, then its bytes.
    ///
    /// # Panics
    ///
    /// Panics (at compile time) if the text is longer than 65,535 bytes.
    pub(crate) const fn text(&mut self, value: &str) {
        assert!(value.len() <= u16::MAX as usize, "a text of a wasmetry declaration is longer than 65535 bytes");
        self.u16(value.len() as u16);
        self.bytes(value.as_bytes());
    }

    /// Returns the buffer.
    ///
    /// # Panics
    ///
    /// Panics (at compile time) if the buffer is not exactly full.
    pub(crate) const fn finish(self) -> [u8; N] {
        assert!(self.len == N, "a wasmetry descriptor has another length than was computed");
        self.bytes
    }
}

/// Reads fields from untrusted bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.u16()?;
        core::str::from_utf8(self.bytes(usize::from(len))?).map_err(|_| DecodeError::Utf8)
    }
}

/// An iterator over a list of texts, such as a label's values, in order.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    source: StringsSource<'a>,
}

#[derive(Clone, Debug)]
enum StringsSource<'a> {
    Encoded(Reader<'a>),
    Listed(&'a [&'a str]),
}

impl<'a> Strings<'a> {
    pub(crate) const fn encoded(reader: Reader<'a>) -> Self {
        Self { source: StringsSource::Encoded(reader) }
    }

    pub(crate) const fn listed(texts: &'a [&'a str]) -> Self {
        Self { source: StringsSource::Listed(texts) }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.source {
            // The decoder of the list has read every text, so this cannot fail.
            StringsSource::Encoded(reader) => reader.text().ok(),
            StringsSource::Listed(texts) => {
                let (first, rest) = texts.split_first()?;
                *texts = rest;
                Some(first)
            }
        }
    }
}
