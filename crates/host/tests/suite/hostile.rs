//! Invalid memory, as only a hostile or broken guest has it.

use std::time::Duration;

use wasmetry_abi::exponential::{BUCKETS, STATE, State};
use wasmetry_abi::layout::{HEADER_VERSION, HEADER_WIDTH};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::{RegionView, encode, limits};

use crate::image::{
    Declared, Image, WIDTHS, assert_neighbour_exact, declare, dropped_beside_neighbour as dropped, samples,
    shop_beside_neighbour as shop,
};

const LABELS: [LabelSpec<'static>; 3] = [
    LabelSpec { key: "method", shape: LabelShape::values(&["GET", "POST"]) },
    LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 2, max_len: 8 } },
    LabelSpec { key: "shard", shape: LabelShape::Below(2) },
];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&LABELS));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(MISSES = Descriptor::new(Kind::CounterU64, "misses_total", "Misses."));
declare!(TIME = Descriptor::new(Kind::HistogramNanos, "time_seconds", "Time.").with_bounds(&[0.1, 1.0]));
declare!(SIZE = Descriptor::new(Kind::HistogramF64, "size", "Size.").with_labels(&LABELS).with_bounds(&[1.0]));
declare!(OPEN = Descriptor::new(Kind::GaugeF64, "open", "Open."));
declare!(MODE = Descriptor::new(Kind::GaugeI64, "mode", "Mode.").with_merge(Merge::Last).with_labels(&LABELS));
declare!(WIDTH = Descriptor::new(Kind::ExponentialF64, "width", "Width.").with_labels(&LABELS).with_max_buckets(4));
declare!(DELAY = Descriptor::new(Kind::ExponentialNanos, "delay_seconds", "Delay.").with_max_buckets(20));
declare!(UNKNOWN = Descriptor::new(Kind::CounterU64, "unknown_total", "Unknown."));
const BIG_LABEL: [LabelSpec<'static>; 1] = [LabelSpec { key: "n", shape: LabelShape::Below(60_000) }];
declare!(BIG = Descriptor::new(Kind::CounterU64, "big_total", "Big.").with_labels(&BIG_LABEL));

const ALL: [&Declared; 9] = [&SALES, &HITS, &MISSES, &TIME, &SIZE, &OPEN, &MODE, &WIDTH, &DELAY];

fn counted(image: &Image) -> (Vec<String>, Vec<String>) {
    let (registry, component) = shop(&ALL);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.read(&mut instance, 0);
    (samples(&registry, 0, "hits_total"), dropped(&registry))
}

#[test]
fn invalid_headers_are_counted() {
    for width in WIDTHS {
        let (good, _) = Image::with(width, ALL);
        assert_eq!(counted(&good).1, [""; 0]);

        let header = good.header;
        let mut image = good.clone();
        image.put(header + HEADER_VERSION as u64, &[9]);
        assert_eq!(counted(&image).1, ["format_version 1"]);
        for (at, byte) in [(0, b'x'), (HEADER_WIDTH as u64, 5), (HEADER_WIDTH as u64, 0)] {
            let mut image = good.clone();
            image.put(header + at, &[byte]);
            assert_eq!(counted(&image).1, ["header 1"]);
        }
        for header in [0, 1, header + 1, header + 8, good.base - 8, u64::MAX, u64::MAX - 7] {
            let mut image = good.clone();
            image.header = header;
            assert_eq!(counted(&image).1, ["header 1"], "{header:#x}");
        }
        let mut image = good.clone();
        image.base = u64::MAX - 3;
        assert_eq!(counted(&image).1, ["header 1"]);
        for end in 0..good.bytes.len() {
            let mut image = good.clone();
            image.bytes.truncate(end);
            assert_ne!(counted(&image).1, [""; 0], "{end}");
        }
    }
}

#[test]
fn invalid_lists_are_cut() {
    for width in WIDTHS {
        let (mut good, [misses, hits]) = Image::with(width, [&MISSES, &HITS]);
        good.set(hits, 0, 3);
        let next = hits.address + good.offsets.entry_next as u64;
        let out_of_range = if width == 4 { u64::from(u32::MAX) } else { u64::MAX } & !7;
        for target in
            [8, good.base - 8, hits.address, hits.address + 4, good.base + good.bytes.len() as u64, out_of_range]
        {
            let mut image = good.clone();
            image.put_pointer(next, target);
            assert_eq!(
                counted(&image),
                (vec!["hits_total{component=\"shop\"} 3".to_owned()], vec!["entry_list 1".to_owned()]),
                "{target:#x}"
            );
        }
        // A longer cycle: hits, misses, hits…
        let mut image = good.clone();
        image.put_pointer(misses.address + image.offsets.entry_next as u64, hits.address);
        assert_eq!(counted(&image).0, ["hits_total{component=\"shop\"} 3"]);
        assert_eq!(counted(&image).1, ["entry_list 1"]);
    }
}

#[test]
fn unknown_entry_hides_no_entry() {
    let (registry, component) = shop(&[&HITS]);
    let (mut image, [hits, ..]) = Image::with(4, [&HITS, &UNKNOWN]);
    image.set(hits, 0, 2);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    image.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 2"]);
    assert_eq!(dropped(&registry), ["unknown_descriptor 1"]);
    drop(instance);
    image.read_last(component.instance(), 0);
    assert_eq!(dropped(&registry), ["unknown_descriptor 2"]);
}

#[test]
fn forged_hash_stays_in_window() {
    let (registry, component) = shop(&[&HITS, &BIG]);
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    image.put(hits.address + image.offsets.entry_hash as u64, &BIG.hash().to_le_bytes());
    image.read_last(component.instance(), 0);
    assert_eq!(dropped(&registry), ["entry_bounds 1"]);
}

#[test]
fn small_window_uses_little_memory() {
    // Many entry heads in the cells of one large entry.
    let (registry, component) = shop(&[&BIG]);
    let (mut image, _) = Image::with(4, [&BIG]);
    let mut newest = 0;
    let start = image.header + image.offsets.header_size as u64;
    for index in 0..1000 {
        let address = start + 16 * index;
        image.put_pointer(address, newest);
        image.put(address + image.offsets.entry_hash as u64, &BIG.hash().to_le_bytes());
        newest = address;
    }
    image.bytes.extend_from_slice(&[0; 16_000]);
    image.put_pointer(image.header + image.offsets.header_metrics as u64, newest);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    // The entry that fits has the heads of the others as its counts.
    assert!(dropped(&registry).contains(&"entry_bounds 1".to_owned()));
}

#[test]
fn excess_entries_are_dropped() {
    let (registry, component) = shop(&[&HITS]);
    let mut image = Image::new(4);
    for _ in 0..limits::ENTRIES + 1 {
        let hits = image.register(&HITS);
        image.set(hits, 0, 1);
    }
    image.read_last(component.instance(), 0);
    assert_eq!(samples(&registry, 0, "hits_total"), [format!("hits_total{{component=\"shop\"}} {}", limits::ENTRIES)]);
    assert_eq!(dropped(&registry), ["entry_list 1"]);
}

#[test]
fn changed_list_is_rejected() {
    let (registry, component) = shop(&[&HITS, &MISSES]);
    let (mut image, [hits, misses]) = Image::with(4, [&HITS, &MISSES]);
    image.set(hits, 0, 1);
    image.set(misses, 0, 1);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    // The newest entry is missing.
    let mut shrunk = image.clone();
    shrunk.put_pointer(shrunk.header + shrunk.offsets.header_metrics as u64, hits.address);
    shrunk.set(hits, 0, 50);
    shrunk.read(&mut instance, 0);
    shrunk.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 1"]);
    assert_eq!(dropped(&registry), ["list_changed 1"]);
    image.set(hits, 0, 4);
    image.read(&mut instance, 0);
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 4"]);
}

/// A generator of pseudo-random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Random changes of a region make no panic, and no series that cannot be. They are counted with
/// their owner, and cost the neighbour nothing.
#[test]
fn mutated_images_never_panic() {
    for width in WIDTHS {
        let (mut image, [sales, hits, _, time, size, open, mode, large, delay]) = Image::with(width, ALL);
        for (entry, words) in [(sales, 18), (hits, 1), (time, 4), (size, 54), (open, 2), (mode, 36)] {
            for word in 0..words {
                image.set(entry, word, word as u64 + 1);
            }
        }
        for (entry, words) in [(large, 7), (delay, 23)] {
            let state = State { base: 3, below: 1, len: 4, scale: 2, in_scratch: false };
            image.set(entry, STATE, state.to_word());
            for word in BUCKETS..words {
                image.set(entry, word, word as u64);
            }
        }
        for entry in [sales, size, mode, large] {
            image.text(entry, 0, 0, b"first");
            image.text(entry, 0, 1, "zwölf".as_bytes());
        }
        let (mut registry, mut component) = shop(&ALL);
        let mut instance = component.instance();
        let mut random = Random(u64::from(width));
        let interesting = [
            0u64,
            1,
            8,
            0x7f,
            0xff,
            image.base,
            image.header,
            hits.address,
            u64::MAX,
            1 << 63,
            u64::from(u32::MAX),
            f64::NAN.to_bits(),
        ];
        for round in 0..60_000u64 {
            let mut bytes = image.bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() - 8);
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.below(256) as u8,
                    2 => bytes[at & !7..][..8]
                        .copy_from_slice(&interesting[random.below(interesting.len())].to_le_bytes()),
                    _ => bytes[at & !3..][..4]
                        .copy_from_slice(&(interesting[random.below(interesting.len())] as u32).to_le_bytes()),
                }
            }
            if random.below(20) == 0 {
                bytes.truncate(random.below(bytes.len()));
            }
            let base = if random.below(50) == 0 { interesting[random.below(interesting.len())] } else { image.base };
            let header =
                if random.below(50) == 0 { interesting[random.below(interesting.len())] } else { image.header };
            let now = Duration::from_secs(round);
            let view = RegionView { memory: &bytes, base, header };
            instance.read(view, now.into(), None);
            match random.below(6) {
                0 => instance = component.instance(),
                1 => std::mem::replace(&mut instance, component.instance()).end(now),
                2 => std::mem::replace(&mut instance, component.instance()).read_last(view, now.into(), None),
                _ => {}
            }
            if round % 500 == 0 {
                let snapshot = registry.snapshot(now);
                assert!(!encode::prometheus::encode(&snapshot).is_empty());
                assert!(encode::openmetrics::encode(&snapshot).ends_with("# EOF\n"));
            }
            if round % 10_000 == 0 {
                assert_neighbour_exact(&registry);
                (registry, component) = shop(&ALL);
                instance = component.instance();
            }
        }
        let (size_sums, text) = (samples(&registry, 60_000, "size_sum"), samples(&registry, 60_000, ""));
        assert!(size_sums.iter().all(|line| !line.contains("NaN") && !line.contains("Inf")), "{size_sums:?}");
        let mut series: Vec<_> =
            text.iter().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all, "a series is there twice");
        // The owner is in the samples that this reads; the neighbour's are compared.
        let dropped = dropped(&registry);
        for reason in ["header", "entry_list", "unknown_descriptor", "label_text", "decrease", "list_changed"] {
            let count = dropped.iter().find_map(|line| line.strip_prefix(reason)?.trim().parse::<u64>().ok());
            assert!(count.is_some_and(|count| count > 0), "{reason}: {dropped:?}");
        }
    }
}
