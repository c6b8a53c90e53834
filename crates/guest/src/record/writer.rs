//! The words of one record.

use core::fmt::{self, Write as _};

use wasmetry_abi::ring::{self, RECORD_WORDS, TEXT_BYTES, Tag, tag_words};

use crate::record::argument::Arg;
use crate::sync::{AtomicU64, Publish as _};

/// The word that stands for an index outside of a ring. Such an index does not occur, but the code
/// must not panic.
pub(super) static SPARE: AtomicU64 = AtomicU64::new(0);

/// Returns the most words that a record with these fixed words and arguments can take.
pub(super) fn most_words(fixed: &[u64], arguments: Option<&[Arg<'_>]>) -> usize {
    let Some(arguments) = arguments else { return 3 + fixed.len() };
    let texts = arguments.iter().map(|argument| match argument {
        Arg::Text(text) => ring::text_words(text.len().min(TEXT_BYTES)),
        Arg::Display(_) | Arg::Debug(_) => ring::text_words(TEXT_BYTES),
        _ => 1,
    });
    (3 + fixed.len() + tag_words(arguments.len()) + texts.sum::<usize>()).min(RECORD_WORDS)
}

/// A record that is being written, behind the ring's head.
pub(super) struct Writer {
    /// From the record's beginning to the end of the ring's memory.
    words: &'static [AtomicU64],
    /// The beginning of that memory, where a record continues that reaches the end.
    more: &'static [AtomicU64],
    /// The number of words that were written.
    len: usize,
}

impl Writer {
    pub(super) const fn new(words: &'static [AtomicU64], more: &'static [AtomicU64]) -> Self {
        Self { words, more, len: 0 }
    }

    /// The number of words that were written.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn put(&mut self, word: u64) {
        self.set(self.len, word);
        self.len += 1;
    }

    #[inline]
    pub(super) fn put_all(&mut self, words: &[u64]) {
        match self.words.get(self.len..self.len + words.len()) {
            Some(places) => {
                for (place, word) in places.iter().zip(words) {
                    place.publish(*word);
                }
                self.len += words.len();
            }
            None => words.iter().for_each(|word| self.put(*word)),
        }
    }

    #[inline]
    pub(super) fn set(&self, index: usize, word: u64) {
        let place = match self.words.get(index) {
            Some(place) => place,
            None => self.more.get(index - self.words.len()).unwrap_or(&SPARE),
        };
        place.publish(word);
    }

    #[inline]
    pub(super) fn arguments(&mut self, arguments: &[Arg<'_>]) {
        let mut index = self.len;
        self.len += tag_words(arguments.len());
        let mut tags = arguments.len() as u64;
        let mut shift = 8;
        for (i, argument) in arguments.iter().enumerate() {
            if shift == 64 {
                self.set(index, tags);
                index += 1;
                (tags, shift) = (0, 0);
            }
            let tag = match argument {
                Arg::Signed(value) => self.value(Tag::Signed, value.cast_unsigned()),
                Arg::Unsigned(value) => self.value(Tag::Unsigned, *value),
                Arg::Float(value) => self.value(Tag::Float, value.to_bits()),
                Arg::Bool(value) => self.value(Tag::Bool, u64::from(*value)),
                Arg::Text(text) => self.text(arguments.len() - i, |out| out.write_str(text)),
                Arg::Display(value) => self.text(arguments.len() - i, |out| write!(out, "{value}")),
                Arg::Debug(value) => self.text(arguments.len() - i, |out| write!(out, "{value:?}")),
            };
            tags |= (tag as u64) << shift;
            shift += 8;
        }
        self.set(index, tags);
    }

    #[inline]
    fn value(&mut self, tag: Tag, bits: u64) -> Tag {
        self.put(bits);
        tag
    }

    /// Writes a text, cut so that each argument behind it has a word.
    fn text(&mut self, arguments_left: usize, write: impl FnOnce(&mut TextWriter<'_>) -> fmt::Result) -> Tag {
        let room = 8 * (RECORD_WORDS - self.len - arguments_left);
        let length = self.len;
        self.put(0);
        let mut text = TextWriter { writer: self, len: 0, room: room.min(TEXT_BYTES), word: 0, is_cut: false };
        // An error means that the text was cut, or that the value's `Display` or `Debug` failed.
        let _ = write(&mut text);
        let (len, is_cut) = text.finish();
        self.set(length, len as u64 | u64::from(is_cut) << 32);
        Tag::Text
    }
}

/// A text that is being written.
struct TextWriter<'a> {
    writer: &'a mut Writer,
    len: usize,
    room: usize,
    /// The bytes of the word that is not full yet.
    word: u64,
    is_cut: bool,
}

impl TextWriter<'_> {
    fn finish(self) -> (usize, bool) {
        if !self.len.is_multiple_of(8) {
            self.writer.put(self.word);
        }
        (self.len, self.is_cut)
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.word |= u64::from(byte) << (8 * (self.len % 8));
        self.len += 1;
        if self.len.is_multiple_of(8) {
            self.writer.put(self.word);
            self.word = 0;
        }
    }
}

impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let fits = text.floor_char_boundary(self.room - self.len);
        self.is_cut = fits < text.len();
        let bytes = text.as_bytes().get(..fits).unwrap_or_default();
        // Fill the word that was begun before, so that whole words can follow.
        let begun = self.len.wrapping_neg() % 8;
        let (begin, rest) = bytes.split_at_checked(begun).unwrap_or((bytes, &[]));
        begin.iter().for_each(|byte| self.byte(*byte));
        let (words, end) = rest.as_chunks::<8>();
        for word in words {
            self.writer.put(u64::from_le_bytes(*word));
        }
        self.len += 8 * words.len();
        end.iter().for_each(|byte| self.byte(*byte));
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}
