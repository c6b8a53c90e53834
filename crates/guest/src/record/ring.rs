//! The two rings in the guest's memory.

#![allow(unsafe_code, reason = "a ring in use is found by its address")]

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::ring::{self, ARGUMENTS, FRESH, RECORD_WORDS, RecordKind};

use super::argument::Arg;
use super::memory::{Head, Memory};
use super::writer::{SPARE, Writer, most_words};
use crate::clock;
use crate::region::{self, HEADER, lost};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Words in the ring of logs and spans: 32 KiB.
const WORDS: usize = 4096;

/// Words in the ring of audit records: 4 KiB.
const AUDIT_WORDS: usize = 512;

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
pub(super) struct Ring {
    head: &'static Head,
    words: &'static [AtomicU64],
    state: &'static State,
    /// Where the region's header has its address.
    place: &'static AtomicPtr<Head>,
    /// Where [`RINGS`] has it.
    index: usize,
}

pub(super) static MAIN: Ring =
    Ring { head: &MEMORY.head, words: &MEMORY.words, state: &STATE, place: &HEADER.ring, index: 0 };
pub(super) static AUDIT: Ring =
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

/// Whether each record's time is read from the clock.
static FRESH_TIMES: AtomicBool = AtomicBool::new(false);

/// Whether a record is being written.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Says whether each record's time is read from the clock, and how many records of [`MAIN`] the host has read, modulo 2³².
pub(super) fn configure(is_fresh: bool, consumed: u32) {
    FRESH_TIMES.store(is_fresh, Ordering::Relaxed);
    let is_consumed = |ring: &Ring| consumed == ring.state.sequence.load(Ordering::Relaxed);
    // The host counts the records of the first ring, and takes those of both.
    if rings().find(|ring| ring.index == 0).is_none_or(is_consumed) {
        for ring in rings() {
            ring.state.settled.store(ring.head.head.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Ring {
    /// Writes a record. Its time is the one that is given, or the one that the settings ask for.
    pub(super) fn record(
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
            return lost(GuestDropReason::RecordNested);
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
        self.make_room(start, fixed, arguments);
        let (after, before) = self.words.split_at_checked(self.index(start)).unwrap_or_default();
        let mut writer = Writer::new(before, after);
        writer.put_all(&[0, span, time]);
        writer.put_all(fixed);
        if let Some(arguments) = arguments {
            writer.arguments(arguments);
        }
        let sequence = self.state.sequence.load(Ordering::Relaxed);
        self.state.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        writer.set(0, ring::head(writer.len(), kind, flags, sequence));
        let end = start + writer.len() as u64;
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

    /// Gives up the oldest records until there is room behind `start` for one with these words and arguments.
    #[inline]
    fn make_room(&self, start: u64, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
        let capacity = self.words.len() as u64;
        let mut tail = self.head.tail.load(Ordering::Relaxed);
        if start + RECORD_WORDS as u64 - tail <= capacity {
            // There is room for any.
            return;
        }
        let words = most_words(fixed, arguments) as u64;
        while start + words - tail > capacity {
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

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::fmt;
    use std::boxed::Box;
    use std::format;
    use std::sync::Mutex;
    use std::vec::Vec;
    use wasmetry_abi::ring::{Argument, Body, Record, TEXT_BYTES};

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
        let lost = &HEADER.losses[GuestDropReason::RecordNested as usize];
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
