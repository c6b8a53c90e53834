extern crate std;

use super::*;
use crate::hash;
use std::vec::Vec;

const LABELS: [LabelSpec<'static>; 3] = [
    LabelSpec { key: "method", shape: LabelShape::values(&["GET", "POST"]) },
    LabelSpec { key: "shard", shape: LabelShape::Below(4) },
    LabelSpec { key: "sku", shape: LabelShape::Text { capacity: 8, max_len: 16 } },
];
const LATENCY: Descriptor<'static> = Descriptor::new(Kind::HistogramNanos, "latency_seconds", "Time \"taken\".")
    .with_unit("seconds")
    .with_merge(Merge::Last)
    .with_labels(&LABELS)
    .with_const_labels(&[("region", "eu"), ("zone", "")])
    .with_bounds(&[0.1, 1.0]);
static RECORD: [u8; LATENCY.record_len()] = LATENCY.encode();

#[test]
fn descriptor_round_trips() {
    let record = Records::new(&RECORD).next().unwrap().unwrap();
    assert_eq!(record.hash, hash(&RECORD));
    let found = record.descriptor;
    assert_eq!((found.kind, found.name, found.help), (Kind::HistogramNanos, "latency_seconds", "Time \"taken\"."));
    assert_eq!((found.unit, found.merge), ("seconds", Merge::Last));
    assert_eq!(found.bounds().collect::<Vec<_>>(), [0.1, 1.0]);
    assert_eq!(found.const_labels().collect::<Vec<_>>(), [("region", "eu"), ("zone", "")]);
    let labels: Vec<_> = found.labels().collect();
    assert_eq!(labels.iter().map(|label| label.key).collect::<Vec<_>>(), ["method", "shard", "sku"]);
    let LabelShape::Values(values) = labels[0].shape else { panic!("{labels:?}") };
    assert_eq!(values.iter().collect::<Vec<_>>(), ["GET", "POST"]);
    assert!(matches!(labels[1].shape, LabelShape::Below(4)));
    assert!(matches!(labels[2].shape, LabelShape::Text { capacity: 8, max_len: 16 }));
}

#[test]
fn truncated_or_flipped_bytes_never_panic() {
    for end in 1..RECORD.len() {
        assert_eq!(Records::new(&RECORD[..end]).next().unwrap().unwrap_err(), DecodeError::Truncated, "{end}");
    }
    for at in 0..RECORD.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = RECORD;
            bytes[at] ^= flip;
            for record in Records::new(&bytes).flatten() {
                assert!(record.descriptor.labels().count() <= 255);
                assert!(record.descriptor.const_labels().count() <= 255);
            }
        }
    }
}

#[test]
fn only_exponential_records_carry_buckets() {
    const SIZE: Descriptor<'static> = Descriptor::new(Kind::ExponentialF64, "size", "Size.").with_max_buckets(80);
    static RECORD: [u8; SIZE.record_len()] = SIZE.encode();
    let record = Records::new(&RECORD).next().unwrap().unwrap();
    assert_eq!((record.descriptor.kind, record.descriptor.max_buckets), (Kind::ExponentialF64, 80));
    assert_eq!(record.descriptor.bounds().len(), 0);
    assert_eq!(SIZE.record_len(), Descriptor::new(Kind::HistogramF64, "size", "Size.").record_len() + 2);
}

#[test]
fn observed_flag_round_trips() {
    const POOL: Descriptor<'static> = Descriptor::new(Kind::GaugeI64, "pool", "Pool.").with_observed(true);
    static RECORD: [u8; POOL.record_len()] = POOL.encode();
    assert!(Records::new(&RECORD).next().unwrap().unwrap().descriptor.is_observed);
    let mut bytes = RECORD;
    for (flags, expected) in [(0, Ok(false)), (2, Err(DecodeError::Field("flags")))] {
        bytes[2] = flags;
        assert_eq!(Records::new(&bytes).next().unwrap().map(|record| record.descriptor.is_observed), expected);
    }
}

#[test]
fn unknown_kind_hides_no_record() {
    let mut bytes = Vec::from(RECORD);
    bytes[1] = 99;
    bytes.extend_from_slice(&RECORD);
    let all: Vec<_> = Records::new(&bytes).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(*all[0].as_ref().unwrap_err(), DecodeError::Kind(99));
    assert!(all[1].is_ok());
}

#[test]
fn other_version_is_an_error() {
    let mut bytes = RECORD;
    bytes[0] = 2;
    assert_eq!(Records::new(&bytes).next().unwrap().unwrap_err(), DecodeError::Version(2));
}
