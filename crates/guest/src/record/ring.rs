//! The two rings of records, and how a record is written into one.

use wasmetry_abi::layout::GuestDropReason;
use wasmetry_abi::ring::{self, ARGUMENTS, FRESH, RECORD_WORDS, RecordKind};

use crate::host::{self, count_drop, settings, time};
use crate::record::argument::Arg;
use crate::record::writer::{SPARE, Writer, most_words};
use crate::region::header::HEADER;
use crate::region::ring::{self as region, Memory, Ring, State};
use crate::sync::{AtomicBool, AtomicU64, Ordering, Publish as _};

/// Words in the ring of logs and spans: 32 KiB.
const WORDS: usize = 4096;

/// Words in the ring of audit records: 4 KiB.
const AUDIT_WORDS: usize = 512;

static MAIN_MEMORY: Memory<WORDS> = Memory::new();
static AUDIT_MEMORY: Memory<AUDIT_WORDS> = Memory::new();
static MAIN_STATE: State = State::new();
static AUDIT_STATE: State = State::new();

/// The ring of logs and spans.
pub(super) static MAIN: Ring = Ring::new(&MAIN_MEMORY, &MAIN_STATE, &HEADER.ring, region::MAIN);

/// The ring of audit records.
pub(super) static AUDIT: Ring = Ring::new(&AUDIT_MEMORY, &AUDIT_STATE, &HEADER.audit, region::AUDIT);

/// `true` while a record is being written.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Writes a record into a ring.
///
/// If `time` is `None`, the record has the current time or the last known one: the host's settings
/// choose.
pub(super) fn write(
    ring: &'static Ring,
    kind: RecordKind,
    flags: u8,
    span: u64,
    time: Option<u64>,
    fixed: &[u64],
    arguments: Option<&[Arg<'_>]>,
) {
    #[cfg(feature = "testing")]
    if crate::testing::capture::record(kind, span, fixed, arguments.unwrap_or_default()) {
        return;
    }
    // An argument that records while it is formatted would overwrite this record. Acquire pairs
    // with the Release below.
    if WRITING.swap(true, Ordering::Acquire) {
        return count_drop(GuestDropReason::RecordNested);
    }
    let (flags, time) = match time {
        Some(time) => (flags | FRESH, time),
        None if settings::is_fresh() => (flags | FRESH, time::now()),
        None => (flags, settings::last_time()),
    };
    if ring.link.load(Ordering::Relaxed).is_null() {
        ring.begin();
    }
    let arguments = arguments.map(|arguments| arguments.get(..ARGUMENTS).unwrap_or(arguments));
    let start = ring.head.head.load(Ordering::Relaxed);
    remove_oldest(ring, start, fixed, arguments);
    let (before, after) = ring.words.split_at_checked(ring.index(start)).unwrap_or_default();
    let mut writer = Writer::new(after, before);
    writer.put_all(&[0, span, time]);
    writer.put_all(fixed);
    if let Some(arguments) = arguments {
        writer.arguments(arguments);
    }
    let sequence = ring.state.sequence.load(Ordering::Relaxed);
    ring.state.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
    writer.set(0, ring::head(writer.len(), kind, flags, sequence));
    let end = start + writer.len() as u64;
    // The record's words come before it.
    ring.head.head.publish(end);
    // Release pairs with the Acquire above.
    WRITING.store(false, Ordering::Release);

    if end - ring.state.settled.load(Ordering::Relaxed) > ring.words.len() as u64 * 3 / 4 {
        request_read(ring, end);
    }
}

/// Abandons a record whose writing a panic has interrupted. Its words are behind the ring's head.
#[cfg(target_family = "wasm")]
pub(super) fn abandon() {
    WRITING.store(false, Ordering::Relaxed);
}

/// Removes the oldest records until a record with these words and arguments fits behind `start`.
#[inline]
fn remove_oldest(ring: &Ring, start: u64, fixed: &[u64], arguments: Option<&[Arg<'_>]>) {
    let capacity = ring.words.len() as u64;
    let mut tail = ring.head.tail.load(Ordering::Relaxed);
    if start + RECORD_WORDS as u64 - tail <= capacity {
        // Any record fits.
        return;
    }
    let words = most_words(fixed, arguments) as u64;
    while start + words - tail > capacity {
        let oldest = word(ring, tail).load(Ordering::Relaxed);
        tail += ring::record_words(oldest).max(1) as u64;
        ring.head.tail.publish(tail.min(start));
    }
}

/// Returns the word at a position, which counts all words that were ever written to the ring.
#[inline]
fn word(ring: &Ring, position: u64) -> &'static AtomicU64 {
    ring.words.get(ring.index(position)).unwrap_or(&SPARE)
}

/// Requests that the host reads, since the ring is nearly full of records that it has not read.
#[cold]
fn request_read(ring: &Ring, end: u64) {
    // Observers do not run here: a record may be made where they must not, such as while a value is
    // borrowed.
    host::flush();
    if ring.state.settled.load(Ordering::Relaxed) != end {
        // The host has not read. The next request is after another quarter of the ring.
        ring.state.settled.store(end - ring.words.len() as u64 / 2, Ordering::Relaxed);
    }
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

    use crate::sync::AtomicPtr;

    /// Held by one test at a time, since they share [`WRITING`].
    static ALONE: Mutex<()> = Mutex::new(());

    /// A ring of the smallest size, which no header links.
    fn ring() -> &'static Ring {
        let memory: &'static Memory<AUDIT_WORDS> = Box::leak(Box::new(Memory::new()));
        let link = Box::leak(Box::new(AtomicPtr::new(core::ptr::null_mut())));
        let state = Box::leak(Box::new(State::new()));
        Box::leak(Box::new(Ring::new(memory, state, link, usize::MAX)))
    }

    fn record(ring: &'static Ring, arguments: &[Arg<'_>]) {
        write(ring, RecordKind::Log, 0, 7, None, &[1, 2, 3], Some(arguments));
    }

    /// The bytes of each record, as a host reads them.
    fn read(ring: &Ring) -> Vec<Vec<u8>> {
        let mut at = ring.head.tail.load(Ordering::Relaxed);
        let head = ring.head.head.load(Ordering::Relaxed);
        let mut records = Vec::new();
        while at < head {
            let words = ring::record_words(word(ring, at).load(Ordering::Relaxed)) as u64;
            let bytes =
                (at..at + words).flat_map(|position| word(ring, position).load(Ordering::Relaxed).to_le_bytes());
            records.push(bytes.collect());
            at += words;
        }
        assert_eq!(at, head, "the ring holds whole records");
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
    fn values_round_trip() {
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
    fn full_ring_drops_oldest_records() {
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
            assert_eq!(u64::from(first) + records.len() as u64, n + 1, "the newest record is in the ring");
            assert!(n < 30 || records.len() > 20);
        }
    }

    #[test]
    fn long_texts_are_cut_at_characters() {
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
    fn nested_record_is_dropped() {
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
        assert_eq!(HEADER.dropped(GuestDropReason::RecordNested), 1);
    }

    #[test]
    fn argument_counts_fill_tag_words() {
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
