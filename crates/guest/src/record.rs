//! Rings: where logs and spans are recorded until the host has read them.
//!
//! The format is that of `crates/abi/FORMAT.md`, section 6. A guest that records neither has no ring: everything that every guest
//! runs finds the rings through [`RINGS`], so that the linker drops them.

#![allow(unsafe_code, reason = "a ring in use is found by its address")]

use core::fmt::{self, Write as _};
use core::mem::{offset_of, size_of};

use wasmetry_abi::layout::Loss;
use wasmetry_abi::ring::{
    self, ARGUMENTS, CAPACITY, FRESH, HEAD, HEADER_SIZE, RECORD_WORDS, RecordKind, TAIL, TEXT_BYTES, Tag, tag_words,
};
use wasmetry_abi::{Level, Settings, TimestampSource};

use crate::context::Context;
use crate::region::{self, HEADER, lost};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::{clock, host};

/// Words in the ring of logs and spans: 32 KiB.
const WORDS: usize = 4096;

/// Words in the ring of audit records: 4 KiB.
const AUDIT_WORDS: usize = 512;

/// The start of a ring.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Head {
    capacity: AtomicU32,
    reserved: AtomicU32,
    tail: AtomicU64,
    head: AtomicU64,
}

const _: () = assert!(
    offset_of!(Head, capacity) == CAPACITY
        && offset_of!(Head, tail) == TAIL
        && offset_of!(Head, head) == HEAD
        && size_of::<Head>() == HEADER_SIZE
);

/// A ring's memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Memory<const N: usize> {
    head: Head,
    words: [AtomicU64; N],
}

impl<const N: usize> Memory<N> {
    const fn new() -> Self {
        assert!(N.is_power_of_two() && N >= 2 * RECORD_WORDS);
        Self {
            head: Head {
                capacity: AtomicU32::new(0),
                reserved: AtomicU32::new(0),
                tail: AtomicU64::new(0),
                head: AtomicU64::new(0),
            },
            words: [const { AtomicU64::new(0) }; N],
        }
    }
}

/// What the guest knows of a ring for itself.
#[derive(Debug)]
struct State {
    /// The next record's sequence number.
    sequence: AtomicU32,
    /// The position up to which the host has read, or has declined to.
    settled: AtomicU64,
}

impl State {
    const fn new() -> Self {
        Self { sequence: AtomicU32::new(0), settled: AtomicU64::new(0) }
    }
}

static MEMORY: Memory<WORDS> = Memory::new();
static AUDIT_MEMORY: Memory<AUDIT_WORDS> = Memory::new();
static STATE: State = State::new();
static AUDIT_STATE: State = State::new();

/// One of the two rings.
struct Ring {
    head: &'static Head,
    words: &'static [AtomicU64],
    state: &'static State,
    /// Where the region's header has its address.
    place: &'static AtomicPtr<Head>,
    /// Where [`RINGS`] has it.
    index: usize,
}

static MAIN: Ring = Ring { head: &MEMORY.head, words: &MEMORY.words, state: &STATE, place: &HEADER.ring, index: 0 };
static AUDIT: Ring =
    Ring { head: &AUDIT_MEMORY.head, words: &AUDIT_MEMORY.words, state: &AUDIT_STATE, place: &HEADER.audit, index: 1 };

/// The rings that are in use: [`MAIN`], then [`AUDIT`].
static RINGS: [AtomicPtr<Ring>; 2] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 2];

/// The rings that are in use.
fn rings() -> impl Iterator<Item = &'static Ring> + Clone {
    RINGS.iter().filter_map(|ring| {
        // Acquire pairs with the Release in `Ring::begin`.
        let ring = ring.load(Ordering::Acquire).cast_const();
        // SAFETY: it is null or the address of a static that nothing writes to.
        unsafe { ring.as_ref() }
    })
}

/// What is read and written where the ring's length is not what it is.
static SPARE: AtomicU64 = AtomicU64::new(0);

/// The finest level that is recorded; [`UNKNOWN`] before the host was asked.
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = u8::MAX;

/// Whether each record's time is read from the clock.
static FRESH_TIMES: AtomicBool = AtomicBool::new(false);

/// Whether a record is being written.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Whether records of a level are made: one load and one branch.
#[inline]
pub fn is_enabled(level: Level) -> bool {
    #[cfg(feature = "testing")]
    if let Some(finest) = crate::testing::level() {
        return level <= finest;
    }
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// The same, once the host has been asked.
pub(crate) fn is_enabled_by_host(level: Level) -> bool {
    if LEVEL.load(Ordering::Relaxed) == UNKNOWN {
        region::announce();
    }
    is_enabled(level)
}

/// The site with this hash, as a record names it; `record` is its declaration, for tests to read.
#[doc(hidden)]
#[inline(always)]
pub fn site(hash: u64, record: &'static [u8]) -> u64 {
    #[cfg(feature = "testing")]
    crate::testing::site(hash, record);
    #[cfg(not(feature = "testing"))]
    let _ = record;
    hash
}

/// Does as the host has answered.
pub(crate) fn configure(settings: &Settings) {
    LEVEL.store(settings.record_level.min(Level::Trace as u8), Ordering::Relaxed);
    FRESH_TIMES.store(settings.timestamps == TimestampSource::Fresh as u8, Ordering::Relaxed);
    let is_consumed = |ring: &Ring| settings.consumed as u32 == ring.state.sequence.load(Ordering::Relaxed);
    // The host counts the records of the first ring, and takes those of both.
    if rings().find(|ring| ring.index == 0).is_none_or(is_consumed) {
        for ring in rings() {
            ring.state.settled.store(ring.head.head.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// An argument of a record.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A whole number.
    Signed(i64),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// Something that is made a text in the guest.
    Display(&'a dyn fmt::Display),
    /// The same, for its author.
    Debug(&'a dyn fmt::Debug),
}

impl Arg<'_> {
    const fn tag(self) -> Tag {
        match self {
            Self::Signed(_) => Tag::Signed,
            Self::Unsigned(_) => Tag::Unsigned,
            Self::Float(_) => Tag::Float,
            Self::Bool(_) => Tag::Bool,
            Self::Text(_) | Self::Display(_) | Self::Debug(_) => Tag::Text,
        }
    }
}

/// Records a log at the site with this hash.
#[doc(hidden)]
#[inline(never)]
pub fn log(site: u64, level: Level, is_audit: bool, arguments: &[Arg<'_>]) {
    // The host's level is for what can be spared.
    if !is_audit && !is_enabled_by_host(level) {
        return;
    }
    let context = Context::current();
    let (high, low) = context.trace_halves();
    let ring = if is_audit { &AUDIT } else { &MAIN };
    let flags = context.record_flags();
    ring.record(RecordKind::Log, flags, context.span(), None, &[high, low, site], Some(arguments));
}

/// Records an event of a span at the site with this hash.
pub(crate) fn event(span: u64, site: u64, level: Level, arguments: &[Arg<'_>]) {
    if is_enabled_by_host(level) {
        MAIN.record(RecordKind::Event, 0, span, None, &[0, 0, site], Some(arguments));
    }
}

/// Records that a span begins.
pub(crate) fn start(context: &Context, parent: u64, flags: u8, site: u64, arguments: &[Arg<'_>]) {
    let (high, low) = context.trace_halves();
    let flags = flags | context.record_flags();
    let fixed = [high, low, site, parent];
    MAIN.record(RecordKind::Start, flags, context.span(), Some(clock::wall()), &fixed, Some(arguments));
}

/// Records that a span ends.
pub(crate) fn end(span: u64) {
    MAIN.record(RecordKind::End, 0, span, Some(clock::wall()), &[], None);
}

/// Records something about a span.
pub(crate) fn about(span: u64, kind: RecordKind, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
    MAIN.record(kind, 0, span, None, fixed, arguments);
}

impl Ring {
    /// Writes a record. Its time is the one that is given, or the one that the settings ask for.
    fn record(
        &'static self,
        kind: RecordKind,
        flags: u8,
        span: u64,
        time: Option<u64>,
        fixed: &[u64],
        arguments: Option<&[Arg<'_>]>,
    ) {
        #[cfg(feature = "testing")]
        if crate::testing::record(kind, span, fixed, arguments.unwrap_or_default()) {
            return;
        }
        // An argument that records while it is shown would write over it.
        if WRITING.swap(true, Ordering::Acquire) {
            return lost(Loss::RecordNested);
        }
        let (flags, time) = match time {
            Some(time) => (flags | FRESH, time),
            None if FRESH_TIMES.load(Ordering::Relaxed) => (flags | FRESH, clock::wall()),
            None => (flags, clock::last_wall()),
        };
        if self.place.load(Ordering::Relaxed).is_null() {
            self.begin();
        }
        let arguments = arguments.map(|arguments| arguments.get(..ARGUMENTS).unwrap_or(arguments));
        let start = self.head.head.load(Ordering::Relaxed);
        self.make_room(start, most_words(fixed, arguments));
        let (after, before) = self.words.split_at_checked(self.index(start)).unwrap_or_default();
        let mut writer = Writer { words: before, more: after, len: 0 };
        writer.put(0);
        writer.put(span);
        writer.put(time);
        fixed.iter().for_each(|word| writer.put(*word));
        if let Some(arguments) = arguments {
            writer.arguments(arguments);
        }
        let sequence = self.state.sequence.load(Ordering::Relaxed);
        self.state.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        writer.set(0, ring::head(writer.len, kind, flags, sequence));
        let end = start + writer.len as u64;
        // Release pairs with the Acquire of whoever reads the ring: the words come before it.
        self.head.head.store(end, Ordering::Release);
        // Release pairs with the Acquire above.
        WRITING.store(false, Ordering::Release);

        if end - self.state.settled.load(Ordering::Relaxed) > self.words.len() as u64 * 3 / 4 {
            self.ask_to_read(end);
        }
    }

    /// Puts the ring where the host and this module look for it.
    #[cold]
    fn begin(&'static self) {
        self.head.capacity.store(self.words.len() as u32, Ordering::Relaxed);
        if let Some(place) = RINGS.get(self.index) {
            // Release pairs with the Acquire in `rings`.
            place.store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
        }
        // Release pairs with the Acquire of whoever reads the header: the capacity comes before it.
        self.place.store(core::ptr::from_ref(self.head).cast_mut(), Ordering::Release);
    }

    /// Gives up the oldest records until there is room for so many words behind `start`.
    #[inline]
    fn make_room(&self, start: u64, words: usize) {
        let capacity = self.words.len() as u64;
        let mut tail = self.head.tail.load(Ordering::Relaxed);
        while start + words as u64 - tail > capacity {
            let oldest = self.word(tail).load(Ordering::Relaxed);
            tail += ring::record_words(oldest).max(1) as u64;
            self.head.tail.store(tail.min(start), Ordering::Relaxed);
        }
    }

    /// Where the word of a position is; the length is a power of two.
    #[inline]
    fn index(&self, position: u64) -> usize {
        position as usize & (self.words.len() - 1)
    }

    #[inline]
    fn word(&self, position: u64) -> &'static AtomicU64 {
        self.words.get(self.index(position)).unwrap_or(&SPARE)
    }

    /// Asks the host to read, as the ring is nearly full of what it has not read.
    #[cold]
    fn ask_to_read(&self, end: u64) {
        // What is observed waits: a record may be made where an observer must not run, such as while a value is borrowed.
        region::flush();
        if self.state.settled.load(Ordering::Relaxed) != end {
            // The host has declined: it is asked again when another quarter is written.
            self.state.settled.store(end - self.words.len() as u64 / 2, Ordering::Relaxed);
        }
    }
}

/// The most words that a record can take.
fn most_words(fixed: &[u64], arguments: Option<&[Arg<'_>]>) -> usize {
    let Some(arguments) = arguments else { return 3 + fixed.len() };
    let texts = arguments.iter().map(|argument| match argument {
        Arg::Text(text) => ring::text_words(text.len().min(TEXT_BYTES)),
        Arg::Display(_) | Arg::Debug(_) => ring::text_words(TEXT_BYTES),
        _ => 1,
    });
    (3 + fixed.len() + tag_words(arguments.len()) + texts.sum::<usize>()).min(RECORD_WORDS)
}

/// A record that is being written, behind the ring's head.
struct Writer {
    /// From the record's beginning to the end of the ring's memory.
    words: &'static [AtomicU64],
    /// The beginning of that memory, where a long record goes on.
    more: &'static [AtomicU64],
    len: usize,
}

impl Writer {
    #[inline]
    fn put(&mut self, word: u64) {
        self.set(self.len, word);
        self.len += 1;
    }

    #[inline]
    fn set(&self, index: usize, word: u64) {
        let place = match self.words.get(index) {
            Some(place) => place,
            None => self.more.get(index - self.words.len()).unwrap_or(&SPARE),
        };
        place.store(word, Ordering::Relaxed);
    }

    fn arguments(&mut self, arguments: &[Arg<'_>]) {
        let mut tags = arguments.len() as u64;
        let mut shift = 8;
        for argument in arguments {
            if shift == 64 {
                self.put(tags);
                (tags, shift) = (0, 0);
            }
            tags |= (argument.tag() as u64) << shift;
            shift += 8;
        }
        self.put(tags);
        for (i, argument) in arguments.iter().enumerate() {
            match argument {
                Arg::Signed(value) => self.put(value.cast_unsigned()),
                Arg::Unsigned(value) => self.put(*value),
                Arg::Float(value) => self.put(value.to_bits()),
                Arg::Bool(value) => self.put(u64::from(*value)),
                Arg::Text(text) => self.text(arguments.len() - i, |out| out.write_str(text)),
                Arg::Display(value) => self.text(arguments.len() - i, |out| write!(out, "{value}")),
                Arg::Debug(value) => self.text(arguments.len() - i, |out| write!(out, "{value:?}")),
            }
        }
    }

    /// Writes a text, of as many bytes as leave a word for each of the arguments behind it.
    fn text(&mut self, arguments_left: usize, write: impl FnOnce(&mut TextWriter<'_>) -> fmt::Result) {
        let room = 8 * (RECORD_WORDS - self.len - arguments_left);
        let length = self.len;
        self.put(0);
        let mut text = TextWriter { writer: self, len: 0, room: room.min(TEXT_BYTES), word: 0, is_cut: false };
        // An error stands for a text that was cut, or for a value that cannot be shown.
        let _ = write(&mut text);
        let (len, is_cut) = text.finish();
        self.set(length, len as u64 | u64::from(is_cut) << 32);
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
}

impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let fits = text.floor_char_boundary(self.room - self.len);
        self.is_cut = fits < text.len();
        for byte in text.as_bytes().iter().take(fits) {
            self.word |= u64::from(*byte) << (8 * (self.len % 8));
            self.len += 1;
            if self.len.is_multiple_of(8) {
                self.writer.put(self.word);
                self.word = 0;
            }
        }
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The parts of the rings that the host has not read, as starts and lengths in bytes: for each ring that is in use its head, up to
/// two runs of words, and its end.
#[cfg(wasmetry_component)]
pub(crate) fn unread() -> impl Iterator<Item = (*const u8, usize)> + Clone {
    rings().flat_map(|ring| {
        let (tail, head) = (ring.head.tail.load(Ordering::Relaxed), ring.head.head.load(Ordering::Relaxed));
        let from = ring.state.settled.load(Ordering::Relaxed).clamp(tail, head);
        let first = from as usize & (ring.words.len() - 1);
        let count = (head - from) as usize;
        let before_end = count.min(ring.words.len() - first);
        let words = ring.words.as_ptr_range();
        [
            (core::ptr::from_ref(ring.head).cast(), size_of::<Head>()),
            (words.start.wrapping_add(first).cast(), 8 * before_end),
            (words.start.cast(), 8 * (count - before_end)),
            (words.end.cast(), 0),
        ]
    })
}

/// Asks the host for its settings, at the beginning of a request of an instance that has served one before.
pub(crate) fn refresh() {
    if LEVEL.load(Ordering::Relaxed) != UNKNOWN {
        host::refresh();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::boxed::Box;
    use std::format;
    use std::sync::Mutex;
    use std::vec::Vec;
    use wasmetry_abi::ring::{Argument, Body, Record};

    /// Records are written by one test at a time, as [`WRITING`] is theirs together.
    static ALONE: Mutex<()> = Mutex::new(());

    /// A ring of the smallest size, which no list has.
    fn ring() -> &'static Ring {
        let memory: &'static Memory<AUDIT_WORDS> = Box::leak(Box::new(Memory::new()));
        let place = Box::leak(Box::new(AtomicPtr::new(core::ptr::null_mut())));
        let state = Box::leak(Box::new(State::new()));
        let ring = Ring { head: &memory.head, words: &memory.words, state, place, index: usize::MAX };
        Box::leak(Box::new(ring))
    }

    fn record(ring: &'static Ring, arguments: &[Arg<'_>]) {
        ring.record(RecordKind::Log, 0, 7, None, &[1, 2, 3], Some(arguments));
    }

    /// What a host would read: the bytes of all records.
    fn read(ring: &Ring) -> Vec<Vec<u8>> {
        let mut at = ring.head.tail.load(Ordering::Relaxed);
        let head = ring.head.head.load(Ordering::Relaxed);
        let mut records = Vec::new();
        while at < head {
            let words = ring::record_words(ring.word(at).load(Ordering::Relaxed)) as u64;
            let bytes = (at..at + words).flat_map(|word| ring.word(word).load(Ordering::Relaxed).to_le_bytes());
            records.push(bytes.collect());
            at += words;
        }
        assert_eq!(at, head, "the ring has whole records only");
        records
    }

    fn arguments(bytes: &[u8]) -> Vec<Argument<'_>> {
        let record = Record::decode(bytes).unwrap();
        let Body::Log { site, context, arguments } = record.body else { panic!("{record:?}") };
        assert_eq!((site, record.span.unwrap().number()), (3, 7));
        assert_eq!(context.unwrap().trace_id.number(), (1 << 64) + 2);
        arguments.collect()
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let _alone = ALONE.lock().unwrap();
        let ring = ring();
        let text = "für immer";
        let values = [
            Arg::Signed(-3),
            Arg::Unsigned(u64::MAX),
            Arg::Float(1.5),
            Arg::Bool(true),
            Arg::Text(text),
            Arg::Text(""),
            Arg::Display(&format_args!("{}-{}", 1, "two")),
            Arg::Debug(&text),
        ];
        record(ring, &values);
        let records = read(ring);
        let text_of = |bytes| Argument::Text { bytes, is_cut: false };
        let expected = [
            Argument::Signed(-3),
            Argument::Unsigned(u64::MAX),
            Argument::Float(1.5),
            Argument::Bool(true),
            text_of(text.as_bytes()),
            text_of(b""),
            text_of(b"1-two"),
            text_of("\"für immer\"".as_bytes()),
        ];
        assert_eq!(arguments(&records[0]), expected);
    }

    #[test]
    fn the_oldest_records_make_room_and_the_sequence_tells_how_many() {
        let _alone = ALONE.lock().unwrap();
        let ring = ring();
        for n in 0..1000u64 {
            let text = "x".repeat(n as usize % 50);
            record(ring, &[Arg::Unsigned(n), Arg::Text(&text)]);
            let records = read(ring);
            let first = Record::decode(&records[0]).unwrap().sequence;
            for (i, bytes) in records.iter().enumerate() {
                let number = u64::from(first) + i as u64;
                assert_eq!(Record::decode(bytes).unwrap().sequence, number as u32);
                let bytes_of_text = "x".repeat(number as usize % 50);
                let text = Argument::Text { bytes: bytes_of_text.as_bytes(), is_cut: false };
                assert_eq!(arguments(bytes), [Argument::Unsigned(number), text]);
            }
            assert_eq!(u64::from(first) + records.len() as u64, n + 1, "the newest is there");
            assert!(n < 30 || records.len() > 20);
        }
    }

    #[test]
    fn texts_are_cut_where_a_character_ends_and_the_record_is_full() {
        let _alone = ALONE.lock().unwrap();
        let ring = ring();
        let long = "ä".repeat(TEXT_BYTES);
        record(ring, &[Arg::Text(&long); ARGUMENTS + 5]);
        record(ring, &[Arg::Display(&format!("{long}{long}")), Arg::Text("b")]);
        let records = read(ring);
        assert_eq!(records.len(), 2);
        let found = arguments(&records[0]);
        assert_eq!(found.len(), ARGUMENTS);
        let lengths: Vec<usize> = found
            .iter()
            .map(|argument| {
                let Argument::Text { bytes, is_cut: true } = argument else { panic!("{argument:?}") };
                let text = core::str::from_utf8(bytes).unwrap();
                assert!(long.starts_with(text));
                text.len()
            })
            .collect();
        assert_eq!(lengths[0], TEXT_BYTES);
        assert_eq!(lengths[ARGUMENTS - 1], 0);
        assert!(records[0].len() <= 8 * RECORD_WORDS);
        assert_eq!(arguments(&records[1])[1], Argument::Text { bytes: b"b", is_cut: false });
    }

    #[test]
    fn a_value_that_records_while_it_is_shown_is_not_recorded() {
        struct Nested(&'static Ring);
        impl fmt::Display for Nested {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                record(self.0, &[Arg::Bool(true)]);
                f.write_str("nested")
            }
        }
        let _alone = ALONE.lock().unwrap();
        let ring = ring();
        record(ring, &[Arg::Display(&Nested(ring)), Arg::Unsigned(1)]);
        let records = read(ring);
        assert_eq!(records.len(), 1);
        let nested = Argument::Text { bytes: b"nested", is_cut: false };
        assert_eq!(arguments(&records[0]), [nested, Argument::Unsigned(1)]);
        let lost = &HEADER.losses[Loss::RecordNested as usize];
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_number_of_arguments_that_fills_the_tags() {
        let _alone = ALONE.lock().unwrap();
        let ring = ring();
        for count in [0, 6, 7, 8, 15, 16, ARGUMENTS] {
            let values: Vec<Arg<'_>> = (0..count as u64).map(Arg::Unsigned).collect();
            record(ring, &values);
            let records = read(ring);
            let found: Vec<Argument<'_>> = arguments(records.last().unwrap());
            assert_eq!(found, (0..count as u64).map(Argument::Unsigned).collect::<Vec<_>>());
        }
    }
}
