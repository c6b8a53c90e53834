//! No counter, sum, count or bucket ever falls between two snapshots of a registry, whatever its
//! guests and its host do in between.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use wasmetry_abi::exponential::{MAX_BUCKETS, SUM};
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec, Merge};
use wasmetry_host::handle_api::{self, Recorder};
use wasmetry_host::{Component, FamilyKind, Identity, Instance, Registry, Value};

use crate::image::{Entry, Image, declarations, declare};

const ITEM: [LabelSpec<'static>; 1] = [LabelSpec { key: "item", shape: LabelShape::Text { capacity: 2, max_len: 4 } }];
declare!(EVENTS = Descriptor::new(Kind::CounterU64, "events_total", "Events."));
declare!(ENERGY = Descriptor::new(Kind::CounterF64, "energy_joules_total", "Energy.").with_unit("joules"));
declare!(WEIGHT = Descriptor::new(Kind::CounterF64, "weight_total", "Weight.").with_labels(&ITEM));
declare!(SIZE = Descriptor::new(Kind::HistogramF64, "size", "Sizes.").with_bounds(&[1.0, 1e6]));
declare!(
    LATENCY =
        Descriptor::new(Kind::HistogramNanos, "latency_seconds", "Latency.").with_unit("seconds").with_bounds(&[1.0])
);
declare!(SPREAD = Descriptor::new(Kind::ExponentialF64, "spread", "Spread.").with_max_buckets(4));
declare!(WAIT = Descriptor::new(Kind::ExponentialF64, "wait", "Wait.").with_max_buckets(MAX_BUCKETS));

/// A step of a registry's life. Numbers choose among the guests that are alive.
#[derive(Clone, Debug)]
enum Step {
    /// A guest starts.
    Start,
    /// A guest records a value in each of its metrics.
    Record(usize, f64),
    /// A guest records by handles.
    Call(usize, f64),
    /// The host reads a running guest.
    Read(usize),
    /// A guest ends, and is read for the last time.
    End(usize),
    /// A guest traps, and is not read again.
    Trap(usize),
    /// The binary is replaced by the other one.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    // Numbers of very different sizes, with all of their digits.
    let value = prop_oneof![
        8 => (0.0..1.0f64, -40..40i32).prop_map(|(digits, exponent)| digits * 2f64.powi(exponent)),
        2 => (0..1_000_000u32).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        1 => Just(0.0),
        1 => prop_oneof![Just(f64::MAX), Just(1e-300), Just(9_007_199_254_740_993.0)],
    ];
    let guest = 0..8usize;
    prop_oneof![
        2 => Just(Step::Start),
        6 => (guest.clone(), value.clone()).prop_map(|(guest, value)| Step::Record(guest, value)),
        3 => (guest.clone(), value).prop_map(|(guest, value)| Step::Call(guest, value)),
        4 => guest.clone().prop_map(Step::Read),
        1 => guest.clone().prop_map(Step::End),
        1 => guest.prop_map(Step::Trap),
        1 => Just(Step::Reload),
    ]
}

struct Guest {
    image: Image,
    entries: [Entry; 7],
    instance: Instance,
    recorder: Recorder,
    /// The cumulative values of the guest's memory.
    count: u64,
    sum: f64,
    nanos: u64,
    values: Vec<f64>,
}

impl Guest {
    fn start(component: &Component) -> Self {
        let (mut image, entries) = Image::with(8, [&EVENTS, &ENERGY, &WEIGHT, &SIZE, &LATENCY, &SPREAD, &WAIT]);
        image.text(entries[2], 0, 0, b"a");
        Self {
            image,
            entries,
            instance: component.instance(),
            recorder: component.recorder(),
            count: 0,
            sum: 0.0,
            nanos: 0,
            values: Vec::new(),
        }
    }

    fn record(&mut self, value: f64) {
        let [events, energy, weight, size, latency, spread, wait] = self.entries;
        self.count += 1;
        self.sum += value;
        self.nanos = self.nanos.wrapping_add((value.min(1e6) * 1e9) as u64);
        self.values.push(value);
        let image = &mut self.image;
        image.set(events, 0, self.count);
        image.set_f64(energy, 0, self.sum);
        image.set_f64(weight, 0, self.sum);
        image.set_f64(size, 0, self.sum);
        image.set(latency, 0, self.nanos);
        for entry in [size, latency] {
            image.set(entry, 1, self.count);
        }
        for entry in [spread, wait] {
            image.set_exponential(entry, 0, &self.values, 0);
            image.set_f64(entry, SUM, self.sum);
        }
    }

    fn call(&mut self, value: f64) {
        let metric =
            |name: &'static str, unit: &'static str| handle_api::Descriptor { name, help: "By handles.", unit };
        self.recorder.counter(&metric("calls_total", ""), &[("k", "v")]).unwrap().add(value);
        self.recorder.histogram(&metric("call_size", ""), &[1.0, 1e6], &[]).unwrap().observe(value);
        self.recorder.histogram(&metric("call_seconds", "seconds"), &[1.0], &[]).unwrap().observe(value.min(1e6));
        self.recorder.gauge(&metric("level", ""), Merge::Max, &[]).unwrap().set(value);
    }
}

/// The values of all series that may not fall: by name, labels and part of a value.
fn values(registry: &Registry) -> HashMap<(String, String, String), f64> {
    let mut values = HashMap::new();
    let snapshot = registry.snapshot(Duration::ZERO);
    for family in
        snapshot.families().filter(|family| matches!(family.kind(), FamilyKind::Counter | FamilyKind::Histogram))
    {
        for series in family.series() {
            let labels = format!("{:?}", series.labels().collect::<Vec<_>>());
            let mut put = |part: String, value: f64| {
                values.insert((family.name().to_owned(), labels.clone(), part), value);
            };
            match series.value() {
                Value::Number(number) => put("value".into(), number.as_f64()),
                Value::Histogram { counts, sum } => {
                    put("sum".into(), sum.as_f64());
                    counts.iter().enumerate().for_each(|(at, count)| put(format!("bucket {at}"), *count as f64));
                }
                Value::Exponential(value) => {
                    put("sum".into(), value.sum().as_f64());
                    put("count".into(), value.count() as f64);
                    put("zeros".into(), value.zero_count() as f64);
                }
                _ => unreachable!("there are no other values"),
            }
        }
    }
    // The text has an exponential histogram under explicit bounds.
    let text = wasmetry_host::encode::prometheus::encode(&snapshot);
    for line in text.lines().filter(|line| line.starts_with("spread_bucket") || line.starts_with("wait_bucket")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        values.insert(("text".into(), series.into(), "value".into()), value.parse().unwrap());
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_never_fall(steps in prop::collection::vec(step(), 1..120)) {
        let registry = Registry::new();
        let binaries = [
            declarations(&[&EVENTS, &ENERGY, &WEIGHT, &SIZE, &LATENCY, &SPREAD, &WAIT]),
            declarations(&[&EVENTS, &SIZE, &SPREAD]),
        ];
        let mut component = registry.component(Identity::new("shop"), binaries[0].clone());
        let (mut guests, mut reloads) = (Vec::<Guest>::new(), 0);
        let mut last = values(&registry);
        for step in steps {
            match step {
                Step::Start if guests.len() < 8 => guests.push(Guest::start(&component)),
                Step::Record(at, value) if at < guests.len() => guests[at].record(value),
                Step::Call(at, value) if at < guests.len() => guests[at].call(value),
                Step::Read(at) if at < guests.len() => {
                    let Guest { image, instance, .. } = &mut guests[at];
                    image.read(instance, 0);
                }
                Step::End(at) if at < guests.len() => {
                    let Guest { image, instance, .. } = guests.swap_remove(at);
                    image.read_last(instance, 0);
                }
                Step::Trap(at) if at < guests.len() => drop(guests.swap_remove(at)),
                Step::Reload => {
                    reloads += 1;
                    component.retire();
                    component = registry.component(Identity::new("shop"), binaries[reloads % 2].clone());
                }
                _ => continue,
            }
            let now = values(&registry);
            for (series, before) in &last {
                let after = now.get(series);
                prop_assert!(after.is_some_and(|after| after >= before), "{series:?}: {before:?}, then {after:?}");
            }
            last = now;
        }
    }
}
