//! Rings: valid and invalid ones.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::ring::{self, RecordKind, Tag};
use wasmetry_abi::site::{Site, SiteKind, SpanKind};
use wasmetry_host::record::{FieldValue, Level, SpanRecord, SpanStatus};
use wasmetry_host::{
    Component, Declarations, Identity, Instance, Outcome, Recording, Registry, RequestTelemetry, Timestamp, limits,
};

use crate::image::{Image, WIDTHS, samples};
use crate::memory_sink::MemorySink;

const LOADED: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop", "loaded {}")
    .with_arguments(1, &["user"])
    .with_source("src/cart.rs", 7);
pub(crate) static LOADED_RECORD: [u8; LOADED.record_len()] = LOADED.encode();
const DETAIL: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Debug, "shop", "detail");
pub(crate) static DETAIL_RECORD: [u8; DETAIL.record_len()] = DETAIL.encode();
const LOAD: Site<'static> = Site::new(SiteKind::Span(SpanKind::Internal), Level::Info, "shop", "load");
static LOAD_RECORD: [u8; LOAD.record_len()] = LOAD.encode();

/// The time of all reads.
pub(crate) const NOW: u64 = 1_700_000_000_000_000_000;

pub(crate) const TRACE: [u64; 2] = [1, 2];
pub(crate) const SAMPLED: u8 = 1 << ring::TRACE_FLAGS_SHIFT;

/// A component with the three sites, one guest of it, and what it has said.
pub(crate) struct Shop {
    pub(crate) registry: Registry,
    pub(crate) component: Component,
    pub(crate) sink: Arc<MemorySink>,
    pub(crate) instance: Instance,
    pub(crate) request: RequestTelemetry,
}

impl Shop {
    pub(crate) fn new(recording: Recording) -> Self {
        let registry = Registry::new();
        let declarations = Declarations::from_sections([&LOADED_RECORD[..], &DETAIL_RECORD, &LOAD_RECORD]);
        assert_eq!(declarations.sites().len(), 3);
        let component: Component = registry.component(Identity::new("shop"), declarations);
        let sink = Arc::new(MemorySink::default());
        let request = component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::new(recording));
        Self { instance: component.instance(), registry, component, sink, request }
    }

    pub(crate) fn read(&mut self, ring: &Ring) {
        let now = Timestamp { wall: NOW, ..Timestamp::default() };
        self.instance.read_records(ring.image.view(), now, &mut self.request);
    }

    pub(crate) fn finish(&mut self, outcome: Outcome<'_>) {
        self.request.finish(outcome, Duration::from_millis(5), NOW);
    }

    /// The messages of the guest's logs, without those of the access log.
    pub(crate) fn messages(&self) -> Vec<String> {
        let of_guest = |log: &wasmetry_host::record::LogRecord| &*log.target != "access";
        self.sink.logs().into_iter().filter(of_guest).map(|log| log.message.into()).collect()
    }

    pub(crate) fn spans(&self) -> Vec<SpanRecord> {
        self.sink.spans()
    }

    pub(crate) fn dropped(&self) -> Vec<String> {
        let lines = samples(&self.registry, 0, "wasmetry_dropped_total{component=\"shop\"");
        let reason = |line: String| {
            let (_, rest) = line.split_once("reason=\"")?;
            let (reason, count) = rest.split_once("\"} ")?;
            (count != "0").then(|| format!("{reason} {count}"))
        };
        lines.into_iter().filter_map(reason).collect()
    }
}

/// A ring at the end of an image.
#[derive(Clone)]
pub(crate) struct Ring {
    pub(crate) image: Image,
    pub(crate) address: u64,
    pub(crate) capacity: u64,
    pub(crate) head: u64,
    tail: u64,
    sequence: u32,
}

/// Adds the memory of a ring behind an image, and stores its address.
pub(crate) fn add(image: &mut Image, place: u64, capacity: u64) -> u64 {
    let address = image.base + image.bytes.len() as u64;
    image.bytes.resize(image.bytes.len() + ring::HEADER_SIZE + 8 * capacity as usize, 0);
    image.put(address, &(capacity as u32).to_le_bytes());
    image.put_pointer(place, address);
    address
}

impl Ring {
    pub(crate) fn new(width: u8, capacity: u64) -> Self {
        let mut image = Image::new(width);
        let place = image.header + image.offsets.header_ring as u64;
        let address = add(&mut image, place, capacity);
        Self { image, address, capacity, head: 0, tail: 0, sequence: 0 }
    }

    pub(crate) fn put_word(&mut self, position: u64, word: u64) {
        let at = self.address + ring::HEADER_SIZE as u64 + 8 * (position % self.capacity);
        self.image.put(at, &word.to_le_bytes());
    }

    pub(crate) fn set_ends(&mut self, tail: u64, head: u64) {
        (self.tail, self.head) = (tail, head);
        self.image.put(self.address + ring::TAIL as u64, &tail.to_le_bytes());
        self.image.put(self.address + ring::HEAD as u64, &head.to_le_bytes());
    }

    /// Writes a record as a guest does, without moving the tail. `words` are those after the first.
    pub(crate) fn record(&mut self, kind: RecordKind, flags: u8, words: &[u64]) {
        let len = words.len() + 1;
        self.put_word(self.head, ring::head(len, kind, flags, self.sequence));
        for (i, word) in words.iter().enumerate() {
            self.put_word(self.head + 1 + i as u64, *word);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.set_ends(self.tail, self.head + len as u64);
    }

    /// A log at `LOADED` with a number and a user.
    pub(crate) fn loaded(&mut self, number: u64) {
        let tags = 2 | (Tag::Unsigned as u64) << 8 | (Tag::Unsigned as u64) << 16;
        self.record(RecordKind::Log, SAMPLED, &[9, NOW - 5, TRACE[0], TRACE[1], hash(&LOADED_RECORD), tags, number, 7]);
    }

    pub(crate) fn detail(&mut self) {
        self.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(&DETAIL_RECORD), 0]);
    }

    pub(crate) fn start(&mut self, span: u64, parent: u64, flags: u8) {
        self.record(RecordKind::Start, flags, &[span, NOW - 10, TRACE[0], TRACE[1], hash(&LOAD_RECORD), parent, 0]);
    }

    pub(crate) fn end(&mut self, span: u64) {
        self.record(RecordKind::End, 0, &[span, NOW - 1]);
    }
}

fn hash(record: &[u8]) -> u64 {
    wasmetry_abi::hash(record)
}

#[test]
fn records_wrap_and_are_read_once() {
    for width in WIDTHS {
        let mut shop = Shop::new(Recording::default());
        let mut ring = Ring::new(width, 32);
        for number in 0..100 {
            ring.loaded(number);
            shop.read(&ring);
            shop.read(&ring);
            // The guest moves the tail behind the oldest records.
            let tail = ring.head;
            ring.set_ends(tail, tail);
        }
        let expected: Vec<String> = (0..100).map(|number| format!("loaded {number}")).collect();
        assert_eq!(shop.messages(), expected);
        let log = shop.sink.logs()[99].clone();
        assert_eq!(log.fields, [("user".into(), FieldValue::Unsigned(7))]);
        assert_eq!((log.time, log.observed, log.level), (NOW - 5, NOW, Level::Info));
        assert_eq!(log.trace.unwrap().span_id.number(), 9);
        assert_eq!(log.source.unwrap().line, 7);
        assert_eq!(shop.dropped(), [""; 0]);
        assert_eq!(shop.instance.consumed(), 100);
    }
}

#[test]
fn overwritten_records_are_counted() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 64);
    // The sequence number exceeds 2³².
    for number in 0..3 {
        ring.loaded(number);
    }
    shop.read(&ring);
    for number in 3..12 {
        ring.loaded(number);
    }
    // Seven records of nine words each fit.
    ring.set_ends(ring.head - 7 * 9, ring.head);
    shop.read(&ring);
    assert_eq!(shop.messages().len(), 10);
    assert_eq!(shop.messages()[3], "loaded 5");
    assert_eq!(shop.dropped(), ["overwritten 2"]);
}

#[test]
fn failed_request_exports_details() {
    for (outcome, expected) in [
        (Outcome::Ok, &["loaded 1"][..]),
        (Outcome::Failed, &["loaded 1", "detail"]),
        (Outcome::Ended("unreachable"), &["loaded 1", "detail"]),
    ] {
        let mut shop = Shop::new(Recording::default());
        let mut ring = Ring::new(4, 256);
        ring.start(5, 0, 0);
        ring.detail();
        ring.loaded(1);
        shop.read(&ring);
        shop.finish(outcome);
        assert_eq!(shop.messages(), expected, "{outcome:?}");
        // The span is not sampled, and did not end.
        let spans = shop.spans();
        match outcome {
            Outcome::Ok => assert_eq!(spans, []),
            Outcome::Failed => assert_eq!(spans[0].status, SpanStatus::Unset),
            Outcome::Ended(_) => assert_eq!(spans[0].status, SpanStatus::Error("unreachable".into())),
        }
        assert!(spans.iter().all(|span| span.end == NOW && span.start == NOW - 10));
        assert_eq!(shop.dropped(), [""; 0]);
    }
    let slow = Recording { keep_failed: false, keep_slow: Some(Duration::from_millis(1)), ..Recording::default() };
    let mut shop = Shop::new(slow);
    let mut ring = Ring::new(4, 256);
    ring.detail();
    shop.read(&ring);
    shop.finish(Outcome::Ok);
    assert_eq!(shop.messages(), ["detail"]);
}

#[test]
fn tail_buffer_is_bounded() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 64);
    // Its words, and at most as much for its place in the buffer.
    let each = 2 * 7 * 8;
    let records = 2 * limits::TAIL_BUFFER_BYTES / each + 10;
    for _ in 0..records {
        ring.detail();
        shop.read(&ring);
        ring.set_ends(ring.head, ring.head);
    }
    shop.finish(Outcome::Failed);
    let kept = shop.messages().len();
    assert!((limits::TAIL_BUFFER_BYTES / each..records - 10).contains(&kept), "{kept}");
    assert_eq!(shop.dropped(), [format!("held_back {}", records - kept)]);
}

#[test]
fn excess_and_unknown_spans_are_counted() {
    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 4096);
    ring.end(3);
    ring.record(RecordKind::Status, 0, &[3, 0, 2, 1 | (Tag::Text as u64) << 8, 0]);
    ring.record(RecordKind::Start, SAMPLED, &[0, 0, TRACE[0], TRACE[1], hash(&LOAD_RECORD), 0, 0]);
    ring.record(RecordKind::Start, SAMPLED, &[4, 0, 0, 0, hash(&LOAD_RECORD), 0, 0]);
    ring.record(RecordKind::Start, SAMPLED, &[4, 0, 1, 1, hash(b"nothing"), 0, 0]);
    // The span starts after its end.
    ring.record(RecordKind::Start, SAMPLED, &[8, NOW, TRACE[0], TRACE[1], hash(&LOAD_RECORD), 8, 0]);
    ring.end(8);
    shop.read(&ring);
    let spans = shop.spans();
    assert_eq!((spans.len(), spans[0].start, spans[0].end), (1, NOW, NOW));
    // A start without a span or trace, and a start with an unknown site.
    // A span is not its own parent.
    assert_eq!(shop.dropped(), ["unknown_record 3", "span_context 1"]);
    shop.finish(Outcome::Failed);
    assert_eq!(shop.dropped(), ["unknown_record 3", "span_context 1", "span_limit 2"]);

    let mut shop = Shop::new(Recording::default());
    let mut ring = Ring::new(4, 1 << 14);
    for span in 0..limits::OPEN_SPANS as u64 + 5 {
        ring.start(1 + span, 0, SAMPLED);
    }
    shop.read(&ring);
    shop.finish(Outcome::Ok);
    assert_eq!(shop.spans().len(), limits::OPEN_SPANS);
    assert_eq!(shop.dropped(), ["span_limit 5"]);
}

#[test]
fn invalid_rings_are_counted() {
    let mut good = Ring::new(4, 64);
    good.loaded(1);
    let reads = |ring: &Ring| {
        let mut shop = Shop::new(Recording::default());
        shop.read(ring);
        (shop.messages().len(), shop.dropped())
    };
    assert_eq!(reads(&good), (1, Vec::new()));
    let refused = (0, vec!["ring 1".to_owned()]);

    for capacity in [0u32, 3, 128, 1 << 31, u32::MAX] {
        let mut ring = good.clone();
        ring.image.put(ring.address, &capacity.to_le_bytes());
        assert_eq!(reads(&ring), refused, "{capacity}");
    }
    for (tail, head) in [(9, 0), (0, 65), (0, u64::MAX), (u64::MAX, u64::MAX - 1), (0, 8), (0, 2)] {
        let mut ring = good.clone();
        ring.set_ends(tail, head);
        assert_eq!(reads(&ring), refused, "{tail} {head}");
    }
    for words in [0, 1, 2, 10, 300, 0xffff] {
        let mut ring = good.clone();
        ring.put_word(0, ring::head(words, RecordKind::Log, 0, 0));
        assert_eq!(reads(&ring), refused, "{words}");
    }
    for address in [1, good.address + 4, good.address + 8, good.image.base + good.image.bytes.len() as u64] {
        let mut ring = good.clone();
        let place = ring.image.header + ring.image.offsets.header_ring as u64;
        ring.image.put_pointer(place, address);
        assert_eq!(reads(&ring), refused, "{address}");
    }
    // A sequence number that goes back, or far ahead.
    for sequence in [u32::MAX, 1 << 30] {
        let mut ring = good.clone();
        ring.put_word(0, ring::head(9, RecordKind::Log, 0, sequence));
        assert_eq!(reads(&ring), refused, "{sequence}");
    }
    // Heads that go back between two reads.
    let mut shop = Shop::new(Recording::default());
    shop.read(&good);
    let mut ring = good.clone();
    ring.set_ends(0, 0);
    shop.read(&ring);
    assert_eq!(shop.dropped(), ["ring 1"]);
}

#[test]
fn changed_ring_bytes_never_panic() {
    let mut ring = Ring::new(4, 128);
    ring.start(5, 0, SAMPLED);
    ring.loaded(1);
    let text = 1 | (Tag::Text as u64) << 8;
    ring.record(RecordKind::Event, 0, &[5, 0, 0, 0, hash(&LOADED_RECORD), text, 3, 0x61_62_63]);
    ring.record(RecordKind::Attribute, 0, &[5, 0, 2 | (Tag::Text as u64) << 8 | (Tag::Bool as u64) << 16, 1, 0x61, 1]);
    ring.record(RecordKind::Link, 0, &[5, 0, 1, 1, 1]);
    ring.record(RecordKind::Status, 0, &[5, 0, 2, text, 2, 0x61_62]);
    ring.end(5);
    let mut shop = Shop::new(Recording::default());
    shop.read(&ring);
    let spans = shop.spans();
    assert_eq!((spans[0].events.len(), spans[0].attributes.len(), spans[0].links.len()), (1, 1, 1));
    assert_eq!(spans[0].status, SpanStatus::Error("ba".into()));
    let start = (ring.address - ring.image.base) as usize;
    for at in start..ring.image.bytes.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut ring = ring.clone();
            ring.image.bytes[at] ^= flip;
            let mut shop = Shop::new(Recording::default());
            shop.read(&ring);
            shop.finish(Outcome::Failed);
            assert!(shop.spans().len() <= 1);
        }
    }
}
