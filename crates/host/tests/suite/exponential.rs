//! Exponential histograms: exact at every scale, whenever a guest is read.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmetry_abi::exponential::{BUCKETS, SCRATCH_BUCKETS, STATE, SUM, State, ZERO, index};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Declarations, ExponentialValue, Number, Registry, Value};

use crate::image::{Entry, Image, WIDTHS, declare, dropped, samples, shop};

const N: u16 = 12;
declare!(SIZE = Descriptor::new(Kind::ExponentialF64, "size", "Size.").with_max_buckets(N));
declare!(
    TIME = Descriptor::new(Kind::ExponentialNanos, "time_seconds", "Time.").with_unit("seconds").with_max_buckets(N)
);
const ROUTES: [LabelSpec<'static>; 2] = [
    LabelSpec { key: "route", shape: LabelShape::Text { capacity: 2, max_len: 8 } },
    LabelSpec { key: "cached", shape: LabelShape::values(&["no", "yes"]) },
];
declare!(
    REPLY = Descriptor::new(Kind::ExponentialF64, "reply_size_bytes", "Size of a reply.")
        .with_unit("bytes")
        .with_labels(&ROUTES)
        .with_max_buckets(N)
);

/// The values of one series of a guest.
#[derive(Clone, Default)]
struct Series {
    values: Vec<f64>,
}

impl Series {
    fn buckets(&self, scale: i32) -> BTreeMap<i32, u64> {
        let mut buckets = BTreeMap::new();
        for value in self.values.iter().filter(|value| **value > 0.0) {
            *buckets.entry(index(*value, scale)).or_default() += 1;
        }
        buckets
    }

    /// Writes the series. The first bucket's word has the index with the number `base`.
    fn write(&self, image: &mut Image, entry: Entry, at: usize, base: usize) {
        image.set_exponential(entry, at, &self.values, base);
    }
}

/// Returns the values of a family's series, in their order.
fn values(registry: &Registry, name: &str) -> Vec<ExponentialValue> {
    let snapshot = registry.snapshot(Duration::ZERO);
    let family = snapshot.families().find(|family| family.name() == name).expect("the family is there");
    let value = |value: Value<'_>| match value {
        Value::Exponential(value) => value.clone(),
        other => panic!("{other:?}"),
    };
    family.series().map(|series| value(series.value())).collect()
}

/// Checks that a series has counted exactly these values.
fn check(found: &ExponentialValue, expected: &Series) {
    let buckets = expected.buckets(found.scale());
    let counts: BTreeMap<i32, u64> = (found.first_index()..)
        .zip(found.counts())
        .filter(|(_, count)| **count != 0)
        .map(|(index, count)| (index, *count))
        .collect();
    assert_eq!(counts, buckets, "at scale {}", found.scale());
    assert!(found.counts().len() <= usize::from(N));
    assert_eq!(found.count(), expected.values.len() as u64);
}

/// A generator of pseudorandom values, the same in every run.
struct Random(u64);

impl Random {
    fn value(&mut self, octaves: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fraction = (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        if self.0.is_multiple_of(11) { 0.0 } else { ((fraction - 0.5) * octaves).exp2() }
    }
}

#[test]
fn reads_count_each_value_once() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SIZE]);
        let mut random = Random(u64::from(width));
        let mut all = Series::default();
        let mut alive = Vec::new();
        for round in 0..60usize {
            let (mut image, [size]) = Image::with(width, [&SIZE]);
            let mut instance = component.instance();
            let mut series = Series::default();
            // The range grows between two reads, so that the buckets become coarser.
            for read in 0..=round % 5 {
                let new: Vec<f64> = (0..3).map(|_| random.value((read * read) as f64 / 2.0)).collect();
                series.values.extend(&new);
                all.values.extend(&new);
                series.write(&mut image, size, 0, round + read);
                image.set_f64(size, SUM, series.values.iter().sum());
                if read < round % 5 {
                    image.read(&mut instance, 0);
                    image.read(&mut instance, 0);
                }
            }
            match round % 3 {
                0 => image.read_last(instance, 0),
                1 => {
                    image.read(&mut instance, 0);
                    drop(instance);
                }
                _ => {
                    image.read(&mut instance, 0);
                    alive.push(instance);
                }
            }
            check(&values(&registry, "size")[0], &all);
        }
        let [found] = &values(&registry, "size")[..] else { panic!("there is one series") };
        let expected: f64 = all.values.iter().sum();
        assert!((found.sum().as_f64() - expected).abs() < 1e-9 * expected);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn text_format_has_constant_bounds() {
    let (registry, component) = shop(&[&TIME]);
    let before = samples(&registry, 0, "time_seconds");
    assert_eq!(before.len(), 16 + 1 + 2, "it is there before the first event: {before:#?}");
    assert_eq!(before[0], "time_seconds_bucket{component=\"shop\",le=\"9.5367431640625e-07\"} 0");
    assert_eq!(before[16], "time_seconds_bucket{component=\"shop\",le=\"+Inf\"} 0");

    let (mut image, [time]) = Image::with(4, [&TIME]);
    let series = Series { values: vec![0.0, 0.25, 0.25000001, 1.0, 3.0, 4.0, 5000.0] };
    series.write(&mut image, time, 0, 1);
    image.set(time, SUM, 5_008_500_000_010);
    image.read_last(component.instance(), 0);
    let after = samples(&registry, 0, "time_seconds");
    let bound = |line: &String| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
    assert_eq!(before.iter().map(bound).collect::<Vec<_>>(), after.iter().map(bound).collect::<Vec<_>>());
    // Seven values over 15 octaves in 12 buckets: each is two octaves, from one power of four to
    // the next.
    assert_eq!(values(&registry, "time_seconds")[0].scale(), -1);
    let under = |le: &str| {
        let prefix = format!("time_seconds_bucket{{component=\"shop\",le=\"{le}\"}} ");
        samples(&registry, 0, &prefix)[0][prefix.len()..].to_owned()
    };
    assert_eq!(
        ["9.5367431640625e-07", "0.0625", "0.25", "1.0", "4.0", "16.0", "1024.0", "+Inf"].map(under),
        ["1", "1", "2", "4", "6", "6", "6", "7"]
    );
    assert_eq!(samples(&registry, 0, "time_seconds_sum"), ["time_seconds_sum{component=\"shop\"} 5008.50000001"]);
    assert_eq!(samples(&registry, 0, "time_seconds_count"), ["time_seconds_count{component=\"shop\"} 7"]);
}

#[test]
fn scratch_counts_belong_to_their_series() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&SIZE]);
        let (mut image, [size]) = Image::with(width, [&SIZE]);
        let mut instance = component.instance();
        let mut series = Series { values: (1..=12).map(|n| 2f64.powf(f64::from(n) / 256.0 - 0.001)).collect() };
        series.write(&mut image, size, 0, 0);
        image.read(&mut instance, 0);
        check(&values(&registry, "size")[0], &series);

        // The guest lowers the scale: its counts are in the scratch area.
        series.values.push(1.0);
        series.values.push(2.0);
        let scale = 2;
        let buckets = series.buckets(scale);
        let (first, last) = (*buckets.first_key_value().unwrap().0, *buckets.last_key_value().unwrap().0);
        let len = (last - first + 1) as u8;
        assert!(len <= 7, "half of the buckets and one");
        let state = State { base: first, below: 0, len, scale: scale as i8, in_scratch: true };
        image.set(size, STATE, state.to_word());
        for (index, count) in &buckets {
            image.set_scratch(size, SCRATCH_BUCKETS + (index - first) as usize, *count);
        }
        image.read(&mut instance, 0);
        check(&values(&registry, "size")[0], &series);
        // It ends there.
        image.read_last(instance, 0);
        check(&values(&registry, "size")[0], &series);
        image.read_last(component.instance(), 0);
        assert_eq!(values(&registry, "size")[0].count(), 28);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

#[test]
fn text_labels_merge_by_value() {
    let (registry, component) = shop(&[&REPLY]);
    let series = Series { values: vec![1.0, 100.0, 5000.0] };
    for (first, second) in [("a", "b"), ("b", "a")] {
        let (mut image, [reply]) = Image::with(8, [&REPLY]);
        image.text(reply, 0, 0, first.as_bytes());
        image.text(reply, 0, 1, second.as_bytes());
        for at in [0, 3] {
            series.write(&mut image, reply, at, at);
            image.set_f64(reply, at * (BUCKETS + usize::from(N)), 5101.0);
        }
        let mut instance = component.instance();
        image.read(&mut instance, 0);
        image.read(&mut instance, 0);
        drop(instance);
        image.read_last(component.instance(), 0);
    }
    assert_eq!(
        samples(&registry, 0, "reply_size_bytes_count"),
        [
            "reply_size_bytes_count{component=\"shop\",route=\"a\",cached=\"no\"} 6",
            "reply_size_bytes_count{component=\"shop\",route=\"a\",cached=\"yes\"} 6",
            "reply_size_bytes_count{component=\"shop\",route=\"b\",cached=\"no\"} 6",
            "reply_size_bytes_count{component=\"shop\",route=\"b\",cached=\"yes\"} 6",
        ]
    );
    let twice = Series { values: [&series.values[..], &series.values].concat() };
    for value in values(&registry, "reply_size_bytes") {
        check(&value, &twice);
        assert_eq!(value.sum(), Number::Float(10202.0));
    }
}

#[test]
fn falling_counts_are_dropped() {
    let (registry, component) = shop(&[&SIZE]);
    let (mut image, [size]) = Image::with(4, [&SIZE]);
    let mut instance = component.instance();
    let mut read = |values: &[f64]| {
        let series = Series { values: values.to_vec() };
        series.write(&mut image, size, 0, 0);
        image.set_f64(size, SUM, values.iter().sum());
        image.read(&mut instance, 0);
    };
    let count = || values(&registry, "size")[0].count();
    read(&[1.0, 1.0, 0.0, 1000.0]);
    assert_eq!((count(), dropped(&registry)), (4, vec![]));
    // One value is gone: the scale rises, and the counts are no increase.
    read(&[1.0, 1.0, 0.0]);
    assert_eq!((count(), dropped(&registry)), (4, vec!["decrease 1".to_owned()]));
    read(&[1.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!((count(), dropped(&registry)), (6, vec!["decrease 1".to_owned()]));
    // A bucket falls, and another one leaves the range.
    read(&[1.0, 1.001, 0.0, 0.0]);
    assert_eq!((count(), dropped(&registry)), (7, vec!["decrease 2".to_owned()]));
    read(&[1.001, 0.0, 0.0]);
    assert_eq!((count(), dropped(&registry)), (7, vec!["decrease 3".to_owned()]));
    read(&[]);
    assert_eq!((count(), dropped(&registry)), (7, vec!["decrease 5".to_owned()]));
    read(&[2.0]);
    assert_eq!((count(), dropped(&registry)), (8, vec!["decrease 5".to_owned()]));
}

#[test]
fn impossible_states_are_dropped() {
    let (registry, component) = shop(&[&SIZE]);
    let (mut image, [size]) = Image::with(4, [&SIZE]);
    let mut living = component.instance();
    for word in 2..BUCKETS + usize::from(N) {
        image.set(size, word, 1);
    }
    let mut states = 0;
    for state in [
        State { base: 0, below: 0, len: N as u8 + 1, scale: 0, in_scratch: false },
        State { base: 0, below: 3, len: 3, scale: 0, in_scratch: false },
        State { base: 0, below: 0, len: 1, scale: 9, in_scratch: false },
        State { base: 0, below: 0, len: 1, scale: -11, in_scratch: false },
        State { base: i32::MAX, below: 0, len: 12, scale: 8, in_scratch: false },
        State { base: 0, below: 0, len: 8, scale: 0, in_scratch: true },
    ] {
        image.set(size, STATE, state.to_word());
        image.read(&mut living, 0);
        image.read_last(component.instance(), 0);
        states += 1;
        assert_eq!(values(&registry, "size")[0].count(), 0);
        // The live instance is counted once.
        assert_eq!(dropped(&registry), [format!("buckets {}", states + 1)]);
    }
}

#[test]
fn totals_saturate() {
    let (registry, component) = shop(&[&SIZE]);
    let (mut image, [size]) = Image::with(4, [&SIZE]);
    image.set(size, STATE, State { base: 0, below: 0, len: 2, scale: 0, in_scratch: false }.to_word());
    for word in [ZERO, BUCKETS, BUCKETS + 1] {
        image.set(size, word, i64::MAX as u64);
    }
    for _ in 0..4 {
        image.read_last(component.instance(), 0);
    }
    assert_eq!(values(&registry, "size")[0].count(), u64::MAX);
    assert_eq!(samples(&registry, 0, "size_count"), [format!("size_count{{component=\"shop\"}} {}", u64::MAX)]);
}

// A guest with an older threshold has buckets for values that are zeros here.
#[test]
fn buckets_below_threshold_are_zeros() {
    let (registry, component) = shop(&[&SIZE]);
    let (mut image, [size]) = Image::with(4, [&SIZE]);
    for tiny in [1e-300, 1e-129, 3e-308] {
        let before = values(&registry, "size").first().map_or(0, ExponentialValue::zero_count);
        let mut instance = component.instance();
        image.set_exponential(size, 0, &[1e-200, tiny], 1);
        image.read(&mut instance, 0);
        image.set_exponential(size, 0, &[1e-200, tiny, 1.0, 2.0], 0);
        image.read_last(instance, 0);
        let found = &values(&registry, "size")[0];
        assert_eq!(found.zero_count(), before + 2, "{tiny}");
        // As coarse as the guest made its buckets, which no host can divide.
        assert_eq!(found.scale(), -7, "{tiny}");
    }
    let found = &values(&registry, "size")[0];
    assert_eq!((found.count(), found.zero_count()), (12, 6));
    assert_eq!(dropped(&registry), [""; 0]);
}

const BOUNDS: Descriptor<'static> = Descriptor::new(Kind::ExponentialF64, "x", "").with_bounds(&[1.0]);
declare!(WITH_BOUNDS = BOUNDS.with_max_buckets(20));
declare!(NO_BUCKETS = Descriptor::new(Kind::ExponentialF64, "x", ""));
declare!(MANY_BUCKETS = Descriptor::new(Kind::ExponentialF64, "x", "").with_max_buckets(201));
declare!(SIZE_COARSER = Descriptor::new(Kind::ExponentialF64, "size", "Size.").with_max_buckets(N - 1));

#[test]
fn invalid_declarations_are_rejected() {
    for bad in [&WITH_BOUNDS, &NO_BUCKETS, &MANY_BUCKETS] {
        let found = Declarations::from_sections([bad.record, SIZE.record]);
        assert_eq!((found.metrics().len(), found.rejected().len()), (1, 1), "{bad:?}");
    }
    let clash = Declarations::from_sections([SIZE.record, SIZE_COARSER.record]);
    assert_eq!((clash.metrics().len(), clash.rejected().len()), (1, 1));
    // Two components of one family may have different numbers of buckets.
    let (registry, _first) = shop(&[&SIZE]);
    let declarations = Declarations::from_sections([SIZE_COARSER.record]);
    let other = registry.component(wasmetry_host::Identity::new("other"), declarations);
    assert_eq!(other.conflicts(), []);
    assert_eq!(values(&registry, "size").len(), 2);
}
