//! Batches: valid, repeated, lost and invalid ones.

use std::time::Duration;

use wasmetry_abi::batch::{Batch, Head};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{BatchReceiver, limits};

use crate::image::{Image, WIDTHS, declare, dropped, samples, shop};

const LABELS: [LabelSpec<'static>; 1] = [LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 2, max_len: 8 } }];
declare!(SALES = Descriptor::new(Kind::CounterU64, "sales_total", "Sales.").with_labels(&LABELS));
declare!(TIME = Descriptor::new(Kind::HistogramNanos, "time_seconds", "Time.").with_bounds(&[0.1, 1.0]));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));

const NOW: Duration = Duration::from_secs(1);

/// A push of a whole image, in pieces of up to `words` words, two in a batch.
pub(crate) fn push(image: &Image, region: u32, sequence: u64, words: usize) -> Vec<Vec<u8>> {
    // Before the header, an image has some bytes outside the region.
    let bytes = &image.bytes[(image.header - image.base) as usize..];
    let pieces: Vec<&[u8]> = bytes.chunks(8 * words).collect();
    let batches: Vec<_> = pieces.chunks(2).collect();
    let mut address = image.header;
    let mut pushed = Vec::new();
    for (i, pieces) in batches.iter().enumerate() {
        let head = Head {
            first: i == 0,
            last: i == batches.len() - 1,
            region,
            sequence: sequence + i as u64,
            base: image.header,
            len: bytes.len() as u64,
            header: image.header,
        };
        let mut batch: Vec<u8> = head.words().into_iter().flat_map(u64::to_le_bytes).collect();
        for piece in *pieces {
            batch.extend(address.to_le_bytes());
            batch.extend((piece.len() as u64).to_le_bytes());
            batch.extend(*piece);
            address += piece.len() as u64;
        }
        pushed.push(batch);
    }
    pushed
}

#[test]
fn pushed_region_equals_mapped_region() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SALES, &TIME]);
        let mut receiver = BatchReceiver::new(component);
        assert_eq!(receiver.open(), Some(1));
        let (mut image, [sales]) = Image::with(width, [&SALES]);
        image.text(sales, 0, 1, b"apple");
        let mut sequence = 0;
        for n in 1..=3 {
            image.set(sales, 1, 10 * n);
            image.set(sales, 2, n);
            for batch in push(&image, 1, sequence, 3) {
                receiver.receive(&batch, NOW.into(), None);
                sequence += 1;
            }
            assert_eq!(
                samples(&registry, 1, "sales_total"),
                [
                    format!(r#"sales_total{{component="shop",sku="apple"}} {}"#, 10 * n),
                    format!(r#"sales_total{{component="shop",sku="overflow"}} {n}"#),
                ]
            );
        }
        // An entry that is registered later makes the region larger.
        let time = image.register(&TIME);
        image.set(time, 0, 50_000_000);
        image.set(time, 1, 1);
        for batch in push(&image, 1, sequence, 1000) {
            receiver.receive(&batch, NOW.into(), None);
        }
        assert_eq!(samples(&registry, 1, "time_seconds_sum"), [r#"time_seconds_sum{component="shop"} 0.05"#]);
        receiver.end(NOW);
        assert_eq!(samples(&registry, 2, "time_seconds_count"), [r#"time_seconds_count{component="shop"} 1"#]);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn repeated_and_lost_batches_are_counted() {
    let (registry, component) = shop(&[&HITS]);
    let mut receiver = BatchReceiver::new(component);
    receiver.open();
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    let hits_are =
        |n: u64| assert_eq!(samples(&registry, 1, "hits_total"), [format!(r#"hits_total{{component="shop"}} {n}"#)]);
    let pushes: Vec<Vec<Vec<u8>>> = (0..5)
        .map(|n| {
            image.set(hits, 0, n + 1);
            push(&image, 1, 3 * n, 5)
        })
        .collect();
    assert!(pushes.iter().all(|batches| batches.len() == 3));

    // The middle of the first push is missing. It changes nothing.
    receiver.receive(&pushes[0][0], NOW.into(), None);
    receiver.receive(&pushes[0][2], NOW.into(), None);
    hits_are(0);
    for batch in &pushes[1] {
        receiver.receive(batch, NOW.into(), None);
        receiver.receive(batch, NOW.into(), None);
    }
    hits_are(2);
    // A whole push is lost. A late one does not undo a later one.
    for batch in pushes[3].iter().chain(&pushes[2]) {
        receiver.receive(batch, NOW.into(), None);
    }
    hits_are(4);
    // The first batch is lost, which the second one shows.
    receiver.receive(&pushes[4][1], NOW.into(), None);
    receiver.receive(&pushes[4][2], NOW.into(), None);
    hits_are(4);
    assert_eq!(dropped(&registry), ["batch_lost 5", "batch_repeated 6"]);
}

#[test]
fn invalid_batches_are_counted() {
    let (registry, component) = shop(&[&HITS]);
    let mut receiver = BatchReceiver::new(component);
    let (mut image, [hits]) = Image::with(4, [&HITS]);
    image.set(hits, 0, 1);
    let [good] = &push(&image, 1, 0, 1000)[..] else { panic!("one batch") };
    let mut bad = 0;
    let mut refuse = |receiver: &mut BatchReceiver, batch: &[u8]| {
        receiver.receive(batch, NOW.into(), None);
        bad += 1;
        assert_eq!(dropped(&registry), [format!("batch {bad}")]);
    };
    // The region is not open yet.
    refuse(&mut receiver, good);
    receiver.open();
    refuse(&mut receiver, b"");
    refuse(&mut receiver, &good[..good.len() - 8]);
    let head = Batch::decode(good).unwrap().head;
    let changes = [
        Head { region: 0, ..head },
        Head { region: 2, ..head },
        Head { region: u32::MAX, ..head },
        Head { sequence: limits::BATCH_GAP + 1, ..head },
        Head { sequence: u64::MAX, ..head },
        Head { base: head.base + 8, ..head },
        Head { base: 0, len: limits::REGION_BYTES + 8, ..head },
        Head { base: 0, len: u64::MAX, ..head },
        Head { len: head.len - 8, ..head },
    ];
    for head in changes {
        let words: Vec<u8> = head.words().into_iter().flat_map(u64::to_le_bytes).collect();
        refuse(&mut receiver, &[&words, &good[words.len()..]].concat());
    }
    receiver.receive(good, NOW.into(), None);
    assert_eq!(samples(&registry, 1, "hits_total"), [r#"hits_total{component="shop"} 1"#]);
}

#[test]
fn pushed_regions_are_limited() {
    let (registry, component) = shop(&[&HITS]);
    let mut receiver = BatchReceiver::new(component);
    let (mut image, [hits]) = Image::with(8, [&HITS]);
    image.set(hits, 0, 1);
    for number in 1..=limits::PUSHED_REGIONS as u32 {
        assert_eq!(receiver.open(), Some(number));
        // Regions may have the same addresses, in different memories.
        receiver.receive(&push(&image, number, 0, 1000)[0], NOW.into(), None);
    }
    assert_eq!(receiver.open(), None);
    assert_eq!(dropped(&registry), ["region_limit 1"]);
    receiver.end(NOW);
    let expected = format!(r#"hits_total{{component="shop"}} {}"#, limits::PUSHED_REGIONS);
    assert_eq!(samples(&registry, 1, "hits_total"), [expected]);
}
