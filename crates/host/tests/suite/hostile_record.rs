//! Records that make more of a guest's bytes than they are: logs, spans and call sites stay within
//! the limits, and each drop is counted with its owner.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::layout::{HAS_SITES, HEADER_FLAGS};
use wasmetry_abi::ring::{self, HEADER_SIZE, RecordKind, Tag};
use wasmetry_abi::site::{Site, SiteKind, SpanKind};
use wasmetry_host::handle_api::{Attributes, NewSpan};
use wasmetry_host::record::{self, Level, SpanId, SpanStatus};
use wasmetry_host::{
    Component, Declarations, Identity, NewDrop, Outcome, ReadBudget, ReadLimits, Registry, RequestTelemetry, Timestamp,
    limits,
};

use crate::image::{add_neighbour, assert_neighbour_exact, declarations, samples};
use crate::json_line::context;
use crate::memory_sink::MemorySink;
use crate::ring::{NOW, Ring, SAMPLED, TRACE, add};

const TEMPLATE: &str = match std::str::from_utf8(&[b't'; 60_000]) {
    Ok(text) => text,
    Err(_) => "",
};
const LONG: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop", TEMPLATE);
static LONG_RECORD: [u8; LONG.record_len()] = LONG.encode();
const DETAIL: Site<'static> = Site::new(SiteKind::Log { is_audit: false }, Level::Debug, "shop", TEMPLATE);
static DETAIL_RECORD: [u8; DETAIL.record_len()] = DETAIL.encode();
const HOLES: Site<'static> =
    Site::new(SiteKind::Log { is_audit: false }, Level::Info, "shop", "{} and {}").with_arguments(2, &["key"]);
static HOLES_RECORD: [u8; HOLES.record_len()] = HOLES.encode();
const SPAN: Site<'static> = Site::new(SiteKind::Span(SpanKind::Internal), Level::Info, "shop", "load");
static SPAN_RECORD: [u8; SPAN.record_len()] = SPAN.encode();

/// A component with these sites, its sink, and a request that it serves.
struct Host {
    registry: Registry,
    component: Component,
    sink: Arc<MemorySink>,
    request: RequestTelemetry,
}

impl Host {
    fn new() -> Self {
        let registry = Registry::new();
        let declarations = Declarations::from_sections([&LONG_RECORD[..], &DETAIL_RECORD, &HOLES_RECORD, &SPAN_RECORD]);
        assert_eq!(declarations.sites().len(), 4);
        let component = registry.component(Identity::new("shop"), declarations);
        add_neighbour(&registry);
        let sink = Arc::new(MemorySink::default());
        let request = component.request_telemetry(Arc::<MemorySink>::clone(&sink), Arc::default());
        Self { registry, component, sink, request }
    }

    /// Reads a new instance's records.
    fn read(&mut self, ring: &Ring, budget: &mut ReadBudget) {
        let now = Timestamp { wall: NOW, ..Timestamp::default() };
        self.component.instance().read_records_within(ring.image.view(), now, budget, &mut self.request);
    }

    fn finish(&mut self, outcome: Outcome<'_>) {
        self.request.finish(outcome, Duration::from_millis(5), NOW);
    }

    /// The logs of the guest, and the bytes of their messages.
    fn logs(&self) -> (u64, usize) {
        let logs = self.sink.logs();
        let logs: Vec<_> = logs.iter().filter(|log| &*log.target == "shop").collect();
        (logs.len() as u64, logs.iter().map(|log| log.message.len()).sum())
    }

    /// The drops of the component for a reason.
    fn dropped(&self, reason: &str) -> u64 {
        assert_neighbour_exact(&self.registry);
        let end = format!("reason=\"{reason}\"}} ");
        let lines = samples(&self.registry, 0, "wasmetry_dropped_total{component=\"shop\"");
        lines.iter().filter_map(|line| line.split_once(&end)?.1.parse::<u64>().ok()).sum()
    }
}

fn hash(record: &[u8]) -> u64 {
    wasmetry_abi::hash(record)
}

/// A full ring of the shortest logs, with the longest message.
fn amplifier(words: u64, site: &[u8]) -> (Ring, u64) {
    let mut ring = Ring::new(4, words);
    let records = words / 7;
    (0..records).for_each(|_| ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(site), 0]));
    (ring, records)
}

#[test]
fn long_templates_end_with_budget() {
    let mut host = Host::new();
    let (ring, records) = amplifier(limits::RING_WORDS, &LONG_RECORD);
    host.read(&ring, &mut ReadBudget::default());
    let (logs, bytes) = host.logs();
    assert!(bytes as u64 <= limits::READ_RECORD_BYTES + 60_000, "{bytes}");
    assert!(logs > 100, "{logs}");
    assert_eq!(host.dropped("read_budget"), records - logs, "each record is exported or counted");
}

#[test]
fn short_records_end_with_budget() {
    let mut host = Host::new();
    let (ring, records) = amplifier(limits::RING_WORDS, &HOLES_RECORD);
    let mut budget = ReadBudget::default();
    // 64 regions over the same ring.
    (0..64).for_each(|_| host.read(&ring, &mut budget));
    assert_eq!(host.logs().0, limits::READ_RECORDS);
    assert_eq!(host.dropped("read_budget"), 64 * records - limits::READ_RECORDS);
}

#[test]
fn shared_ring_is_read_once() {
    let mut host = Host::new();
    let (mut ring, records) = amplifier(128, &HOLES_RECORD);
    let place = ring.image.header + ring.image.offsets.header_audit as u64;
    let address = ring.address;
    ring.image.put_pointer(place, address);
    host.read(&ring, &mut ReadBudget::default());
    assert_eq!(host.logs().0, records);
    assert_eq!(host.dropped("ring"), 1);
}

#[test]
fn audit_records_precede_flood() {
    let mut host = Host::new();
    let (mut flood, records) = amplifier(1 << 12, &HOLES_RECORD);
    // A ring of one audit record behind it.
    let place = flood.image.header + flood.image.offsets.header_audit as u64;
    let audit = add(&mut flood.image, place, 8);
    flood.image.put(audit + ring::HEAD as u64, &7_u64.to_le_bytes());
    let words = [ring::head(7, RecordKind::Log, 0, 0), 0, 0, 0, 0, hash(&LONG_RECORD), 0];
    for (at, word) in words.into_iter().enumerate() {
        flood.image.put(audit + (HEADER_SIZE + 8 * at) as u64, &word.to_le_bytes());
    }
    host.read(&flood, &mut ReadBudget::new(ReadLimits::default().with_records(10)));
    let audit: Vec<_> = host.sink.logs().into_iter().filter(|log| log.is_audit).collect();
    assert_eq!((audit.len(), audit[0].message.len()), (1, 60_000));
    assert_eq!(host.dropped("read_budget"), records - 9);
}

#[test]
fn waiting_templates_end_with_budget() {
    let mut host = Host::new();
    let (ring, records) = amplifier(1 << 15, &DETAIL_RECORD);
    host.read(&ring, &mut ReadBudget::default());
    let held_back = host.dropped("held_back");
    assert_eq!(host.logs().0, 0);
    host.finish(Outcome::Failed);
    let (logs, bytes) = host.logs();
    assert!(bytes as u64 <= limits::READ_RECORD_BYTES + 60_000, "{bytes}");
    assert_eq!(logs + held_back + host.dropped("read_budget"), records);
}

#[test]
fn holes_without_arguments_stay_empty() {
    let mut host = Host::new();
    let mut ring = Ring::new(4, 64);
    ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(&HOLES_RECORD), 0]);
    // A tag of an argument that is not there.
    let tags = 3 | (Tag::Unsigned as u64) << 8 | (Tag::Unsigned as u64) << 16 | (Tag::Text as u64) << 24;
    ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(&HOLES_RECORD), tags, 1]);
    // A text of 10 MB in a record of ten words.
    let tags = 1 | (Tag::Text as u64) << 8;
    ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(&HOLES_RECORD), tags, 10_000_000, u64::MAX]);
    ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(b"unknown"), 0]);
    host.read(&ring, &mut ReadBudget::default());
    let logs = host.sink.logs();
    assert!(logs.iter().all(|log| log.message.len() < 100), "{logs:?}");
    assert_eq!(&*logs[0].message, " and ");
    assert_eq!(logs.len() as u64 + host.dropped("unknown_record"), 4);
    assert!(host.dropped("unknown_record") >= 1);
}

fn start(ring: &mut Ring, span: u64, parent: u64) {
    ring.record(RecordKind::Start, SAMPLED, &[span, NOW - 10, TRACE[0], TRACE[1], hash(&SPAN_RECORD), parent, 0]);
}

#[test]
fn spans_end_once() {
    let mut host = Host::new();
    let mut ring = Ring::new(4, 1 << 10);
    start(&mut ring, 1, 1);
    start(&mut ring, 1, 0);
    ring.end(1);
    ring.end(1);
    // It never ends.
    start(&mut ring, 2, 1);
    host.read(&ring, &mut ReadBudget::default());
    let spans = host.sink.spans();
    assert_eq!((spans.len(), spans[0].parent), (1, None), "it is its own parent");
    assert_eq!(host.dropped("span_context"), 1);
    assert_eq!(host.dropped("span_limit"), 1, "the second start");
    host.finish(Outcome::Failed);
    assert_eq!(host.dropped("span_limit"), 2, "the second end waits for the outcome");
    let spans = host.sink.spans();
    assert_eq!((spans.len(), spans[1].end), (2, NOW));
}

/// Started again and again, a span's attributes count once.
#[test]
fn repeated_starts_keep_room() {
    let mut host = Host::new();
    let before = host.component.memory_bytes();
    for _ in 0..10 {
        let mut ring = Ring::new(4, 1 << 13);
        for span in 1..=limits::OPEN_SPANS as u64 {
            start(&mut ring, span, 0);
        }
        host.read(&ring, &mut ReadBudget::default());
    }
    assert_eq!(host.dropped("span_limit"), 9 * limits::OPEN_SPANS as u64);
    host.finish(Outcome::Ok);
    assert_eq!(host.sink.spans().len(), limits::OPEN_SPANS);
    host.registry.snapshot(Duration::from_secs(1));
    assert_eq!(host.component.memory_bytes(), before, "given back at the request's end");
}

fn new_span(id: u64, flags: u8) -> NewSpan<'static> {
    NewSpan {
        name: "open",
        kind: record::SpanKind::Internal,
        context: context(1, id, flags),
        parent: None,
        is_parent_remote: false,
        attributes: Attributes::default(),
    }
}

/// Spans of both kinds share the bounds of their store, and their statuses lie within.
#[test]
fn open_spans_are_bounded_by_store() {
    let mut host = Host::new();
    let memory = host.component.store_memory();
    host.request.set_memory(&memory);
    let count = 2 * limits::OPEN_SPANS as u64;
    let opened: Vec<u64> = (1..=count).filter(|id| host.request.start(new_span(*id, (id % 2) as u8), NOW)).collect();
    assert_eq!((opened.len(), host.dropped("span_limit")), (limits::OPEN_SPANS, count / 2));
    for id in opened {
        host.request.set_status(SpanId::new(id).unwrap(), Some(&"s".repeat(limits::RECORD_TEXT)));
    }
    let kept = memory.bytes();
    assert!((4_000_000..=limits::OPEN_SPAN_BYTES as u64 + (16 << 10)).contains(&kept), "{kept}");
    host.finish(Outcome::Failed);
    let spans = host.sink.spans();
    assert_eq!(spans.len(), limits::OPEN_SPANS);
    let described = |status: &SpanStatus| matches!(status, SpanStatus::Error(text) if !text.is_empty());
    let (with, without): (Vec<_>, Vec<_>) = spans.iter().partition(|span| described(&span.status));
    assert!(with.len() * limits::RECORD_TEXT <= limits::OPEN_SPAN_BYTES, "{}", with.len());
    assert!(with.iter().all(|span| span.dropped == 0) && without.iter().all(|span| span.dropped == 1));
    assert_eq!(memory.bytes(), 0, "given back at the request's end");
}

#[test]
fn records_without_memory_are_counted() {
    let mut host = Host::new();
    let memory = host.component.store_memory();
    memory.set_limit(64 << 10);
    host.request.set_memory(&memory);
    let opened = (1..=1000).filter(|id| host.request.start(new_span(*id, 1), NOW)).count() as u64;
    assert!(opened < 1000 && memory.bytes() <= 64 << 10, "{opened}");
    assert_eq!(host.dropped("span_limit"), 1000 - opened);
    let (ring, records) = amplifier(1 << 10, &DETAIL_RECORD);
    host.read(&ring, &mut ReadBudget::default());
    assert!(host.dropped("memory_limit") > 0 && host.dropped("memory_limit") <= records);
    host.finish(Outcome::Ok);
    assert_eq!(memory.bytes(), 0);
}

/// The table of call sites is a ring too.
#[test]
fn flood_of_definitions_ends_with_budget() {
    let mut host = Host::new();
    let records = (1 << 18) / 7;
    let mut ring = Ring::new(4, 1 << 18);
    // The header has grown by the address of the table.
    let at = (ring.address - ring.image.base) as usize;
    ring.image.bytes.splice(at..at, [0; 8]);
    ring.address += 8;
    let header = ring.image.header;
    let (table, no_ring) =
        (header + ring.image.offsets.header_size as u64, header + ring.image.offsets.header_ring as u64);
    let address = ring.address;
    ring.image.put_pointer(table, address);
    ring.image.put_pointer(no_ring, 0);
    ring.image.put(header + HEADER_FLAGS as u64, &[HAS_SITES]);
    (0..records).for_each(|_| ring.record(RecordKind::Log, 0, &[0, 0, 0, 0, hash(&LONG_RECORD), 0]));
    host.read(&ring, &mut ReadBudget::default());
    assert_eq!(host.dropped("site_definition"), limits::READ_RECORDS);
    assert_eq!(host.dropped("read_budget"), records - limits::READ_RECORDS);
}

/// A ring that is replaced by another one between two reads.
#[test]
fn replaced_ring_is_counted() {
    let mut host = Host::new();
    let (ring, records) = amplifier(128, &HOLES_RECORD);
    let now = Timestamp { wall: NOW, ..Timestamp::default() };
    let mut instance = host.component.instance();
    instance.read_records(ring.image.view(), now, &mut host.request);
    let (other, _) = amplifier(64, &HOLES_RECORD);
    instance.read_records(other.image.view(), now, &mut host.request);
    assert_eq!(host.logs().0, records);
    assert_eq!(host.dropped("ring"), 1);
}

#[test]
fn first_drop_of_kind_is_reported() {
    let mut host = Host::new();
    let reported = |host: &Host, has_room: bool| {
        let mut kinds = Vec::new();
        host.registry.report_new_drops(|kind| {
            kinds.push(format!("{} {} {}", kind.identity.component(), kind.signal, kind.reason));
            has_room
        });
        kinds
    };
    assert_eq!(reported(&host, true), [""; 0]);
    let (ring, _) = amplifier(64, &HOLES_RECORD);
    let kind = format!("{} records read_budget", host.component.identity().component());
    for expected in [&[kind][..], &[]] {
        host.read(&ring, &mut ReadBudget::new(ReadLimits::NOTHING));
        assert_eq!(reported(&host, true), expected);
    }
}

/// A kind that finds no room in the log is passed again, and those after it, until each was
/// reported once. Drops that are counted at a zero are none.
#[test]
fn new_kinds_wait_for_report() {
    let registry = Registry::new();
    let evil = Identity::new("evil").with_tenant("mallory");
    registry.count_dropped(&evil, "logs", "queue_full", 0);
    let refused = registry.counter("refused_total", "Refused.", &["component"]).with(&["evil"]);
    let refuse = || registry.count_dropped_in(&refused, 1, || NewDrop::new(&evil, "refused_total", "requests", "none"));
    let reported = |room: usize| {
        let mut kinds = Vec::new();
        registry.report_new_drops(|kind| {
            if kinds.len() == room {
                return false;
            }
            kinds.push(kind.counter.clone());
            true
        });
        kinds
    };
    assert_eq!(reported(9), [""; 0]);
    for _ in 0..3 {
        registry.count_dropped(&evil, "logs", "queue_full", 2);
        refuse();
    }
    assert_eq!(reported(0), [""; 0]);
    assert_eq!(reported(1), ["refused_total"]);
    refuse();
    assert_eq!(reported(1), ["wasmetry_dropped_total"]);
    assert_eq!(reported(9), [""; 0]);
    assert_eq!((registry.dropped_of(&evil, "logs", "queue_full").get(), refused.get()), (6, 4));
}

/// Records may wait in a queue until their component is removed. Their drops are counted with its
/// name, and not for ever.
#[test]
fn late_drops_do_not_stay() {
    let registry = Registry::new();
    let gone = Identity::new("gone").with_version("1");
    let count = |seconds| samples(&registry, seconds, r#"wasmetry_dropped_total{component="gone""#);
    let shop = registry.component(gone.clone(), declarations(&[]));
    shop.retire();
    drop(shop);
    let retention = limits::RETENTION.as_secs();
    assert_eq!(count(1), [""; 0]);
    assert_eq!(count(2 + retention), [""; 0]);
    registry.count_dropped(&gone, "logs", "queue_full", 3);
    registry.count_dropped(&gone, "logs", "queue_full", 4);
    let counted = [r#"wasmetry_dropped_total{component="gone",version="1",signal="logs",reason="queue_full"} 7"#];
    assert_eq!(count(3 + retention), counted);
    assert_eq!(count(3 + 2 * retention), counted, "exactly the retention has passed");
    assert_eq!(count(4 + 2 * retention), [""; 0]);
    // One that is registered meanwhile keeps its counts.
    registry.count_dropped(&gone, "logs", "queue_full", 1);
    let again = registry.component(gone, declarations(&[]));
    assert_eq!([5, 9].map(|retentions| count(retentions * retention).len()), [1, 1]);
    drop(again);
}
