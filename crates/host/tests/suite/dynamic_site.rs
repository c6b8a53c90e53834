//! Call sites that a guest defines at run time: valid and invalid ones.

use std::time::{Duration, Instant};

use wasmetry_abi::layout::{HAS_SITES, HEADER_FLAGS};
use wasmetry_abi::ring::{self, RecordKind, Tag};
use wasmetry_abi::site::{Site, SiteKind, SpanKind, encode_facade, facade_len};
use wasmetry_host::record::{FieldValue, Level};
use wasmetry_host::{Declarations, Outcome, Recording, Timestamp, limits};

use crate::image::WIDTHS;
use crate::ring::{LOADED_RECORD, NOW, Ring, SAMPLED, Shop, TRACE, add};

/// A ring of an image that has a table of dynamic sites.
#[derive(Clone)]
struct Guest {
    ring: Ring,
    /// The address of the table.
    table: u64,
    capacity: u64,
    head: u64,
    sequence: u32,
}

/// Encodes a site without fields.
fn declaration(level: Level, text: &str) -> Vec<u8> {
    encoded(Site::new(SiteKind::Log { is_audit: false }, level, "library", text))
}

fn encoded(site: Site<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    site.encode_into(&mut buffer).unwrap().to_vec()
}

impl Guest {
    fn new(width: u8, capacity: u64) -> Self {
        let mut ring = Ring::new(width, 1024);
        // The header is in front of the ring, and has grown by the address of the table.
        let image = &mut ring.image;
        let extended = image.header + image.offsets.header_size as u64;
        image.bytes.splice((extended - image.base) as usize..(extended - image.base) as usize, [0; 8]);
        ring.address += 8;
        let place = ring.image.header + ring.image.offsets.header_ring as u64;
        ring.image.put_pointer(place, ring.address);
        let header = ring.image.header;
        ring.image.put(header + HEADER_FLAGS as u64, &[HAS_SITES]);
        let table = add(&mut ring.image, extended, capacity);
        Self { ring, table, capacity, head: 0, sequence: 0 }
    }

    /// Writes a definition as a guest does.
    fn define(&mut self, declaration: &[u8]) -> u64 {
        let hash = wasmetry_abi::hash(declaration);
        self.define_as(hash, declaration);
        hash
    }

    fn define_as(&mut self, hash: u64, declaration: &[u8]) {
        let words = ring::DEFINITION_HEAD + declaration.len().div_ceil(8);
        let head = ring::head(words, RecordKind::Site, 0, self.sequence);
        let mut bytes: Vec<u8> = [head, 0, 0, hash].into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend_from_slice(declaration);
        bytes.resize(8 * words, 0);
        self.write(&bytes);
    }

    /// Writes a record, and overwrites the oldest ones if there is no room: a hostile guest.
    fn write(&mut self, bytes: &[u8]) {
        for (i, word) in bytes.chunks(8).enumerate() {
            let at = self.table + ring::HEADER_SIZE as u64 + 8 * ((self.head + i as u64) % self.capacity);
            self.ring.image.put(at, word);
        }
        self.head += bytes.len() as u64 / 8;
        self.sequence += 1;
        self.set_ends(self.head.saturating_sub(self.capacity));
    }

    fn set_ends(&mut self, tail: u64) {
        self.ring.image.put(self.table + ring::TAIL as u64, &tail.to_le_bytes());
        self.ring.image.put(self.table + ring::HEAD as u64, &self.head.to_le_bytes());
    }

    /// A log without arguments.
    fn log(&mut self, site: u64) {
        self.ring.record(RecordKind::Log, SAMPLED, &[9, NOW - 5, TRACE[0], TRACE[1], site, 0]);
    }
}

#[test]
fn defined_sites_name_their_records() {
    for width in WIDTHS {
        let mut shop = Shop::new(Recording::default());
        let mut guest = Guest::new(width, 1024);
        let site = Site::new(SiteKind::Log { is_audit: false }, Level::Warn, "h2::client", "sent {}")
            .with_source("src/client.rs", 12)
            .with_arguments(1, &["stream"]);
        let site = guest.define(&encoded(site));
        let tags = 2 | (Tag::Unsigned as u64) << 8 | (Tag::Bool as u64) << 16;
        guest.ring.record(RecordKind::Log, SAMPLED, &[9, NOW - 5, TRACE[0], TRACE[1], site, tags, 3, 1]);
        shop.read(&guest.ring);
        let log = shop.sink.logs()[0].clone();
        assert_eq!((&*log.message, log.level, &*log.target), ("sent 3", Level::Warn, "h2::client"));
        assert_eq!(log.fields, [("stream".into(), FieldValue::Bool(true))]);
        assert_eq!(log.source.unwrap().line, 12);

        // A later definition, a repeated one, and a span.
        let later = guest.define(&declaration(Level::Info, "later"));
        guest.define(&declaration(Level::Info, "later"));
        let span = guest.define(&encoded(Site::new(SiteKind::Span(SpanKind::Client), Level::Info, "h2", "connect")));
        guest.log(later);
        guest.log(site);
        let start = [5, NOW - 10, TRACE[0], TRACE[1], span, 0, 0];
        guest.ring.record(RecordKind::Start, SAMPLED, &start);
        guest.ring.record(RecordKind::Event, 0, &[5, 0, 0, 0, later, 0]);
        guest.ring.end(5);
        shop.read(&guest.ring);
        assert_eq!(shop.messages(), ["sent 3", "later", "sent "]);
        let spans = shop.spans();
        assert_eq!((&*spans[0].name, &*spans[0].target, &*spans[0].events[0].name), ("connect", "h2", "later"));
        assert_eq!(shop.dropped(), [""; 0]);
    }
}

/// A site is known in later requests of its instance, and its buffered records keep it.
#[test]
fn definitions_live_as_long_as_instances() {
    let mut shop = Shop::new(Recording::default());
    let mut guest = Guest::new(4, 1024);
    let site = guest.define(&declaration(Level::Debug, "detail"));
    guest.log(site);
    shop.read(&guest.ring);
    shop.finish(Outcome::Failed);
    assert_eq!(shop.messages(), ["detail"]);

    // The next request of the same instance.
    let sink = std::sync::Arc::<crate::memory_sink::MemorySink>::clone(&shop.sink);
    shop.request = shop.component.request_telemetry(sink, Recording::default().into());
    guest.log(site);
    shop.read(&guest.ring);
    // The instance is gone before its request ends.
    shop.instance = shop.component.instance();
    shop.finish(Outcome::Failed);
    assert_eq!(shop.messages(), ["detail", "detail"]);

    // A new instance has not defined it.
    let mut other = Guest::new(4, 1024);
    other.log(site);
    shop.read(&other.ring);
    assert_eq!(shop.dropped(), ["unknown_record 1"]);
}

#[test]
fn declared_sites_cannot_be_redefined() {
    let mut shop = Shop::new(Recording::default());
    let mut guest = Guest::new(4, 1024);
    let declared = wasmetry_abi::hash(&LOADED_RECORD);
    guest.define_as(declared, &declaration(Level::Error, "forged"));
    let site = guest.define(&declaration(Level::Info, "honest"));
    guest.define_as(site, &declaration(Level::Error, "forged"));
    // The same bytes as in the binary, which is no conflict.
    guest.define(&LOADED_RECORD);
    guest.log(declared);
    guest.log(site);
    shop.read(&guest.ring);
    assert_eq!(shop.messages(), ["loaded ", "honest"]);
    assert_eq!(shop.dropped(), ["site_definition 2"]);
}

/// Of a million definitions, as many are kept as the limit allows, and the rest is counted.
#[test]
fn excess_definitions_are_counted() {
    let mut shop = Shop::new(Recording::default());
    let mut guest = Guest::new(4, 1 << 16);
    let start = Instant::now();
    let all: u64 = 1_000_000;
    let mut first = 0;
    for number in 0..all {
        let site = guest.define(&declaration(Level::Info, &number.to_string()));
        first = if number == 0 { site } else { first };
        if number % 4000 == 0 || number + 1 == all {
            guest.log(site);
            guest.log(first);
            shop.read(&guest.ring);
            let end = guest.ring.head;
            guest.ring.set_ends(end, end);
        }
    }
    let messages = shop.messages();
    assert_eq!(messages.iter().filter(|message| *message == "0").count(), 2 + (all / 4000) as usize);
    let dropped = shop.dropped();
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    assert!(dropped.contains(&format!("site_limit {}", all - limits::DYNAMIC_SITES as u64)), "{dropped:?}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());

    // Few large ones.
    let mut shop = Shop::new(Recording::default());
    let mut guest = Guest::new(4, 1 << 16);
    let text = "x".repeat(ring::DEFINITION_BYTES - 100);
    let count = limits::DYNAMIC_SITE_BYTES / text.len() + 20;
    for number in 0..count {
        guest.define(&declaration(Level::Info, &format!("{number:03}{text}")));
    }
    shop.read(&guest.ring);
    let [dropped] = &shop.dropped()[..] else { panic!("{:?}", shop.dropped()) };
    let (reason, number) = dropped.split_once(' ').unwrap();
    assert_eq!(reason, "site_limit");
    assert!((20..count / 2).contains(&number.parse().unwrap()), "{dropped}");
}

#[test]
fn invalid_definitions_are_counted() {
    let bytes = declaration(Level::Info, "valid");
    let mut good = Guest::new(4, 1024);
    let site = good.define(&bytes);
    good.log(site);
    let reads = |guest: &Guest| {
        let mut shop = Shop::new(Recording::default());
        shop.read(&guest.ring);
        (shop.messages().len(), shop.dropped())
    };
    assert_eq!(reads(&good), (1, Vec::new()));
    let refused = |reason: &str| (0, vec![format!("{reason} 1"), "unknown_record 1".to_owned()]);

    // Not a declaration, a metric's, a wrong hash, another kind of record, a text that is too long.
    let mut cut = Guest::new(4, 1024);
    cut.define_as(site, &bytes[..bytes.len() - 2]);
    let mut forged = Guest::new(4, 1024);
    forged.define_as(site, &declaration(Level::Info, "other"));
    let mut other = Guest::new(4, 1024);
    other.write(&[ring::head(5, RecordKind::Log, 0, 0), 0, 0, site, 0].map(u64::to_le_bytes).concat());
    for mut guest in [cut, forged, other] {
        guest.log(site);
        assert_eq!(reads(&guest), refused("site_definition"));
    }
    let mut long = Guest::new(4, 1024);
    let large = declaration(Level::Info, &"x".repeat(ring::DEFINITION_BYTES));
    let large = long.define(&large);
    long.log(large);
    assert_eq!(reads(&long), refused("ring"));
    // The table is elsewhere.
    for address in [1, good.table + 4, good.table + 8, u64::from(u32::MAX) & !7] {
        let mut guest = good.clone();
        let place = guest.ring.image.header + guest.ring.image.offsets.header_size as u64;
        guest.ring.image.put_pointer(place, address);
        assert_eq!(reads(&guest), refused("ring"), "{address}");
    }
    // The header announces no table, or the window ends before its address.
    let mut guest = good.clone();
    let flags = guest.ring.image.header + HEADER_FLAGS as u64;
    guest.ring.image.put(flags, &[0]);
    assert_eq!(reads(&guest), (0, vec!["unknown_record 1".to_owned()]));
    let mut shop = Shop::new(Recording::default());
    let mut image = good.ring.image.clone();
    image.bytes.truncate(64 + image.offsets.header_size);
    shop.instance.read_records(image.view(), Timestamp::default(), &mut shop.request);
    assert_eq!(shop.dropped(), ["ring 1"]);
}

#[test]
fn changed_table_bytes_never_panic() {
    let mut good = Guest::new(4, 64);
    let site = good.define(&declaration(Level::Info, "valid {}"));
    good.log(site);
    let start = (good.table - good.ring.image.base) as usize;
    for at in start..good.ring.image.bytes.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut guest = good.clone();
            guest.ring.image.bytes[at] ^= flip;
            let mut shop = Shop::new(Recording::default());
            shop.read(&guest.ring);
            shop.finish(Outcome::Failed);
            assert!(shop.messages().len() <= 1);
        }
    }
}

#[test]
fn declared_facades_are_listed() {
    static LOG: [u8; facade_len("log")] = encode_facade("log");
    static TRACING: [u8; facade_len("tracing")] = encode_facade("tracing");
    let declarations = Declarations::from_sections([&TRACING[..], &LOG, &LOG]);
    assert_eq!(declarations.facades().collect::<Vec<_>>(), ["log", "tracing"]);
    assert_eq!((declarations.sites().len(), declarations.rejected().len()), (0, 0));
    let mut many = Vec::new();
    for number in 0..1000 {
        let name = format!("facade{number:03}");
        many.extend_from_slice(&encode_facade::<{ facade_len("facade000") }>(&name));
    }
    many.extend_from_slice(&LOG[..LOG.len() - 1]);
    let declarations = Declarations::from_sections([&many[..]]);
    assert_eq!(declarations.facades().len(), limits::FACADES);
    assert_eq!(declarations.rejected().len(), 1);
}
