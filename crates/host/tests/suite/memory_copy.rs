//! Copies of memory that cannot be lent.

use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Instance, limits};

use crate::image::{Declared, Image, WIDTHS, declare, dropped, samples, shop};

const LABELS: [LabelSpec<'static>; 1] = [LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 2, max_len: 8 } }];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&LABELS));
declare!(TIME = Descriptor::new(Kind::HistogramNanos, "time_seconds", "Time.").with_bounds(&[0.1, 1.0]));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(UNKNOWN = Descriptor::new(Kind::CounterU64, "unknown_total", "Unknown."));

const ALL: [&Declared; 3] = [&SALES, &TIME, &HITS];
const NOW: Duration = Duration::from_secs(1);

/// Copies from an image.
fn copy(image: &Image, address: u64, buffer: &mut [u8]) -> bool {
    let start = address.checked_sub(image.base).and_then(|start| usize::try_from(start).ok());
    let bytes = start.and_then(|start| image.bytes.get(start..)?.get(..buffer.len()));
    bytes.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
}

/// Reads a copy of an image. Returns the number of bytes copied.
fn read(image: &Image, instance: &mut Instance) -> usize {
    let mut copied = 0;
    let copy = |address: u64, buffer: &mut [u8]| {
        copied += buffer.len();
        copy(image, address, buffer)
    };
    let memory = instance.copy(image.header, copy);
    instance.read(memory.view(), NOW.into(), None);
    copied
}

/// Reads an image twice. Returns its samples and drops.
fn found(image: &Image, read: impl Fn(&Image, &mut Instance)) -> (Vec<String>, Vec<String>) {
    let (registry, component) = shop(&ALL);
    let mut instance = component.instance();
    read(image, &mut instance);
    read(image, &mut instance);
    (samples(&registry, 1, ""), dropped(&registry))
}

fn found_both(image: &Image) -> [(Vec<String>, Vec<String>); 2] {
    [found(image, |image, instance| image.read(instance, 1)), found(image, |image, instance| _ = read(image, instance))]
}

#[test]
fn copy_equals_memory() {
    for width in WIDTHS {
        let (mut image, [sales, _, hits]) = Image::with(width, [&SALES, &UNKNOWN, &HITS]);
        image.text(sales, 0, 1, b"apple");
        image.set(sales, 1, 7);
        image.set(hits, 0, 3);
        let [lent, copied] = found_both(&image);
        assert_eq!(lent, copied);
        assert!(lent.0.contains(&r#"sales_total{component="shop",sku="apple"} 7"#.to_owned()), "{lent:?}");
        assert_eq!(lent.1, ["unknown_descriptor 1"]);
    }
}

#[test]
fn region_may_grow_between_reads() {
    for width in WIDTHS {
        let (registry, component) = shop(&ALL);
        let (mut image, [hits]) = Image::with(width, [&HITS]);
        let mut instance = component.instance();
        image.set(hits, 0, 1);
        read(&image, &mut instance);
        let time = image.register(&TIME);
        image.set(hits, 0, 2);
        image.set(time, 0, 50_000_000);
        image.set(time, 1, 1);
        read(&image, &mut instance);
        assert_eq!(samples(&registry, 1, "hits_total"), [r#"hits_total{component="shop"} 2"#]);
        assert_eq!(samples(&registry, 1, "time_seconds_sum"), [r#"time_seconds_sum{component="shop"} 0.05"#]);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn instance_may_be_read_only_last() {
    let (registry, component) = shop(&ALL);
    for n in 1..=3 {
        let (mut image, [hits]) = Image::with(4, [&HITS]);
        image.set(hits, 0, n);
        let copy = |address: u64, buffer: &mut [u8]| copy(&image, address, buffer);
        let instance = component.instance();
        let memory = instance.copy(image.header, copy);
        instance.read_last(memory.view(), NOW.into(), None);
    }
    assert_eq!(samples(&registry, 1, "hits_total"), [r#"hits_total{component="shop"} 6"#]);
}

#[test]
fn small_region_copies_few_bytes() {
    let (mut image, _) = Image::with(4, ALL);
    image.bytes.resize(64 << 20, 0);
    let (_, component) = shop(&ALL);
    assert!(read(&image, &mut component.instance()) < 1 << 10);
}

#[test]
fn scattered_region_is_refused() {
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    image.set(hits, 0, 1);
    image.bytes.resize(image.bytes.len() + limits::REGION_BYTES as usize, 0);
    image.register(&TIME);
    let (_, offences) = found(&image, |image, instance| _ = read(image, instance));
    assert_eq!(offences, ["entry_list 1"]);
}

#[test]
fn invalid_copies_are_counted() {
    for width in WIDTHS {
        let (good, [.., hits]) = Image::with(width, ALL);
        for end in 0..good.bytes.len() {
            let mut image = good.clone();
            image.bytes.truncate(end);
            let [_, copied] = found_both(&image);
            assert_ne!(copied.1, [""; 0], "{end}");
        }
        for at in 64..good.bytes.len() {
            for byte in [0x01, 0x80, 0xff] {
                let mut image = good.clone();
                image.bytes[at] ^= byte;
                found_both(&image);
            }
        }
        for header in [0, 1, good.header + 1, good.header + 8, u64::MAX, u64::MAX - 7] {
            let mut image = good.clone();
            image.header = header;
            assert_eq!(found_both(&image).map(|(_, offences)| offences), [["header 1"], ["header 1"]], "{header:#x}");
        }
        // A cyclic list.
        let mut image = good.clone();
        image.put_pointer(hits.address + image.offsets.entry_next as u64, hits.address);
        let [lent, copied] = found_both(&image);
        assert_eq!((lent.1, copied.1), (vec!["entry_list 1".to_owned()], vec!["entry_list 1".to_owned()]));
    }
}
