//! Rings and records that break a rule of the format, each in one way. `tests/hostile/forged.rs`
//! has what the host counts for each.

use wasmetry_abi::hash;
use wasmetry_abi::ring::{CAPACITY, FRESH, HEAD, HEADER_SIZE, RecordKind, TAIL, TRACE_FLAGS_SHIFT, Tag};

use crate::declared::{HOLES, SPAN};
use crate::region::{Forged, OFFSETS, attach, flush};

/// Words of each ring.
const WORDS: u32 = 1 << 14;

/// The high half of the trace's id.
const TRACE: u64 = 1;

/// A region with one ring.
struct Ring {
    region: Forged,
    at: usize,
    head: u64,
    sequence: u64,
}

impl Ring {
    fn new() -> Self {
        let mut region = Forged::new();
        let at = region.ring(OFFSETS.header_ring, WORDS);
        Self { region, at, head: 0, sequence: 0 }
    }

    fn put_word(&mut self, position: u64, word: u64) {
        self.region.put_u64(self.at + HEADER_SIZE + 8 * position as usize, word);
    }

    fn set_ends(&mut self, tail: u64, head: u64) {
        self.region.put_u64(self.at + TAIL, tail);
        self.region.put_u64(self.at + HEAD, head);
    }

    /// Writes a record of any kind and length.
    fn record_of(&mut self, kind: u64, len: u64, words: &[u64]) {
        let flags = u64::from(1_u8 << TRACE_FLAGS_SHIFT | FRESH);
        self.put_word(self.head, len | kind << 16 | flags << 24 | self.sequence << 32);
        for (index, word) in words.iter().enumerate() {
            self.put_word(self.head + 1 + index as u64, *word);
        }
        self.head += 1 + words.len() as u64;
        self.sequence += 1;
        self.set_ends(0, self.head);
    }

    fn record(&mut self, kind: RecordKind, words: &[u64]) {
        self.record_of(kind as u64, 1 + words.len() as u64, words);
    }

    /// Writes a log with these arguments, behind their tags.
    fn log(&mut self, site: u64, arguments: &[u64]) {
        let words: Vec<u64> = [0, 0, 0, 0, site].into_iter().chain(arguments.iter().copied()).collect();
        self.record(RecordKind::Log, &words);
    }

    fn start(&mut self, span: u64, parent: u64) {
        self.record(RecordKind::Start, &[span, 0, TRACE, TRACE, hash(&SPAN), parent, 0]);
    }

    fn end(&mut self, span: u64) {
        self.record(RecordKind::End, &[span, 0]);
    }

    fn attach(&self) {
        attach(&self.region, 1);
    }
}

/// Forges what the case has. Returns `false` if there is none of that name.
pub(crate) fn forge(case: &str) -> bool {
    let mut ring = Ring::new();
    let tags = |tags: &[Tag]| {
        let shifted = tags.iter().enumerate().map(|(index, tag)| (*tag as u64) << (8 * (index + 1)));
        tags.len() as u64 | shifted.sum::<u64>()
    };
    match case {
        "ring-odd" => ring.region.put_u32(ring.at + CAPACITY, 3),
        "ring-large" => ring.region.put_u32(ring.at + CAPACITY, 1 << 31),
        "ring-outside" => ring.region.put_u32(OFFSETS.header_ring, u32::MAX - 7),
        "ring-unaligned" => ring.region.put_u32(OFFSETS.header_ring, ring.region.address(ring.at + 4)),
        "ring-full" => ring.set_ends(0, u64::from(WORDS) + 1),
        // It begins again after a read.
        "ring-rewritten" => {
            ring.log(hash(&HOLES), &[0]);
            ring.log(hash(&HOLES), &[0]);
            ring.attach();
            flush();
            (ring.head, ring.sequence) = (0, 0);
            ring.log(hash(&HOLES), &[0]);
            return true;
        }
        "record-empty" => ring.record_of(RecordKind::Log as u64, 0, &[0; 6]),
        "record-long" => ring.record_of(RecordKind::Log as u64, 300, &[0; 299]),
        "record-open" => ring.record_of(RecordKind::Log as u64, 200, &[0; 6]),
        "record-missing" => {
            ring.sequence = 5;
            ring.log(hash(&HOLES), &[0]);
        }
        "record-kind" => ring.record_of(99, 7, &[0; 6]),
        "site" => ring.log(1, &[0]),
        // No arguments for two holes.
        "holes" => ring.log(hash(&HOLES), &[0]),
        "arguments" => ring.log(hash(&HOLES), &[tags(&[Tag::Unsigned; 3]), 1]),
        // 10 MB in ten words.
        "message" => ring.log(hash(&HOLES), &[tags(&[Tag::Text]), 10_000_000, u64::MAX]),
        "message-bytes" => ring.log(hash(&HOLES), &[tags(&[Tag::Text]), 8, u64::MAX]),
        "span-twice-ended" => {
            ring.start(1, 0);
            ring.end(1);
            ring.end(1);
        }
        "span-twice-started" => {
            ring.start(1, 0);
            ring.start(1, 0);
        }
        "span-never-started" => ring.end(7),
        "span-own-parent" => ring.start(1, 1),
        "span-zero" => ring.start(0, 0),
        "spans-open" => (1..=1100).for_each(|span| ring.start(span, 0)),
        _ => return false,
    }
    ring.attach();
    true
}
