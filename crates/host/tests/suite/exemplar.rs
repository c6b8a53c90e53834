//! Exemplars: the values that become exemplars, and their requests.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_abi::exponential::SUM;
use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::record::{SpanId, TraceContext, TraceId};
use wasmetry_host::{
    BatchReceiver, Component, Identity, Instance, Number, Outcome, Recording, Registry, RequestTelemetry, Timestamp,
    encode, limits,
};

use crate::image::{Entry, Image, WIDTHS, declarations, declare, shop};
use crate::memory_sink::MemorySink;

declare!(
    LATENCY = Descriptor::new(Kind::HistogramNanos, "latency_seconds", "Latency.")
        .with_unit("seconds")
        .with_bounds(&[0.005, 1.0])
);
declare!(SIZE = Descriptor::new(Kind::HistogramF64, "size", "Size.").with_bounds(&[-1.0, 10.0]));
declare!(
    QUERY =
        Descriptor::new(Kind::ExponentialNanos, "query_seconds", "Queries.").with_unit("seconds").with_max_buckets(20)
);
declare!(WEIGHT = Descriptor::new(Kind::ExponentialF64, "weight", "Weight.").with_max_buckets(20));
declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
const USER: [LabelSpec<'static>; 1] = [LabelSpec { key: "user", shape: LabelShape::Text { capacity: 4, max_len: 8 } }];
declare!(
    BY_USER = Descriptor::new(Kind::HistogramF64, "by_user", "By user.").with_labels(&USER).with_bounds(&[1.0, 2.0])
);

/// Returns the span context of a request with a number.
fn context(number: u64, is_sampled: bool) -> TraceContext {
    TraceContext {
        trace_id: TraceId::new(u128::from(number)).unwrap(),
        span_id: SpanId::new(number + 0xa0).unwrap(),
        flags: u8::from(is_sampled),
    }
}

/// Returns the telemetry of a request with a number.
fn request(component: &Component, number: u64, is_sampled: bool) -> RequestTelemetry {
    let mut request = component.request_telemetry(Arc::new(MemorySink::default()), Arc::new(Recording::default()));
    request.set_context(context(number, is_sampled), 0);
    request
}

const NOW: Duration = Duration::from_secs(1);

impl Image {
    fn read_for(&self, instance: &mut Instance, request: &mut RequestTelemetry, wall: u64) {
        instance.read(self.view(), Timestamp { monotonic: NOW, wall }, Some(request));
    }

    fn read_last_for(&self, instance: Instance, request: &mut RequestTelemetry, wall: u64) {
        instance.read_last(self.view(), Timestamp { monotonic: NOW, wall }, Some(request));
    }

    /// Sets the sum and the counts of a histogram with explicit bounds.
    fn set_histogram(&mut self, entry: Entry, sum: u64, counts: &[u64]) {
        for (word, value) in [sum].iter().chain(counts).enumerate() {
            self.set(entry, word, *value);
        }
    }
}

/// Returns all exemplars of a metric: bucket, value, trace and time.
fn shown(registry: &Registry, name: &str) -> Vec<(usize, Number, u128, u64)> {
    let snapshot = registry.snapshot(NOW);
    let family = snapshot.families().find(|family| family.name() == name).unwrap();
    let shown = family.series().flat_map(|series| {
        series
            .exemplars()
            .map(|(bucket, found)| {
                assert_eq!(found.span_id.number(), found.trace_id.number() as u64 + 0xa0);
                (bucket, found.value, found.trace_id.number(), found.time)
            })
            .collect::<Vec<_>>()
    });
    shown.collect()
}

#[test]
fn sole_value_becomes_exemplar() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&LATENCY]);
        let (mut image, [latency]) = Image::with(width, [&LATENCY]);
        let mut instance = component.instance();
        let mut request = request(&component, 7, true);
        image.set_histogram(latency, 3_000_001, &[1, 0, 0]);
        image.read_for(&mut instance, &mut request, 100);
        let first = (0, Number::Nanos(3_000_001), 7, 100);
        assert_eq!(shown(&registry, "latency_seconds"), [first]);
        // Nothing new, then two in one bucket, then one in each of two.
        for (sum, counts) in [(3_000_001, [1, 0, 0]), (9_000_001, [3, 0, 0]), (2_010_000_001, [4, 0, 1])] {
            image.set_histogram(latency, sum, &counts);
            image.read_for(&mut instance, &mut request, 200);
            assert_eq!(shown(&registry, "latency_seconds"), [first], "{counts:?}");
        }
        // A value on a bound belongs to the bucket below it.
        image.set_histogram(latency, 3_010_000_001, &[4, 1, 1]);
        image.read_for(&mut instance, &mut request, 300);
        let second = (1, Number::Nanos(1_000_000_000), 7, 300);
        assert_eq!(shown(&registry, "latency_seconds"), [first, second]);
        // A later exemplar replaces that of its bucket only.
        image.set_histogram(latency, 3_011_000_001, &[5, 1, 1]);
        image.read_last_for(instance, &mut request, 400);
        assert_eq!(shown(&registry, "latency_seconds"), [(0, Number::Nanos(1_000_000), 7, 400), second]);
    }
}

#[test]
fn sum_of_another_bucket_is_ignored() {
    let (registry, component) = shop(&[&LATENCY, &SIZE, &QUERY, &WEIGHT]);
    let (mut image, [latency, size, query, weight]) = Image::with(4, [&LATENCY, &SIZE, &QUERY, &WEIGHT]);
    let mut instance = component.instance();
    let mut request = request(&component, 7, true);
    // A sum behind its bucket, one ahead of it, and one that has fallen.
    for (sum, counts) in [(0, [0, 0, 1]), (2_000_000, [0, 1, 1]), (u64::MAX - 5, [0, 1, 2])] {
        image.set_histogram(latency, sum, &counts);
        image.read_for(&mut instance, &mut request, 1);
    }
    assert_eq!(shown(&registry, "latency_seconds"), []);
    for (sum, counts) in [(11.0, [0, 1, 0]), (f64::NAN, [0, 2, 0]), (f64::INFINITY, [0, 2, 1])] {
        image.set_histogram(size, sum.to_bits(), &counts);
        image.read_for(&mut instance, &mut request, 1);
    }
    assert_eq!(shown(&registry, "size"), []);
    for (values, sum) in [(&[0.25][..], 300_000_000), (&[0.25, 0.0], 300_000_001)] {
        image.set_exponential(query, 0, values, 0);
        image.set(query, SUM, sum);
        image.read_for(&mut instance, &mut request, 1);
    }
    assert_eq!(shown(&registry, "query_seconds"), []);
    image.set_exponential(weight, 0, &[4.0], 0);
    image.set_f64(weight, SUM, -4.0);
    image.read_for(&mut instance, &mut request, 1);
    assert_eq!(shown(&registry, "weight"), []);
}

#[test]
fn float_sums_give_exact_values() {
    let (registry, component) = shop(&[&SIZE]);
    let (mut image, [size]) = Image::with(4, [&SIZE]);
    let mut instance = component.instance();
    let mut request = request(&component, 7, true);
    let (mut sum, mut counts) = (0.0, [0, 0, 0]);
    for (value, bucket, expected) in [
        (0.1 + 0.2, 1, Some(0.1 + 0.2)),
        // 0.30000000000000004 + 2.2 - 0.30000000000000004 is 2.2 only when it is rounded.
        (2.2, 1, Some(2.2)),
        (-7.3, 0, Some(-7.3)),
        (1e17, 2, Some(1e17)),
        // The sum has lost it in rounding.
        (0.7, 1, None),
    ] {
        sum += value;
        counts[bucket] += 1;
        image.set_histogram(size, f64::to_bits(sum), &counts);
        let before = shown(&registry, "size");
        image.read_for(&mut instance, &mut request, counts.iter().sum());
        let now = shown(&registry, "size");
        match expected {
            Some(value) => assert!(now.contains(&(bucket, Number::Float(value), 7, counts.iter().sum())), "{now:?}"),
            None => assert_eq!(now, before),
        }
    }
}

#[test]
fn exponential_exemplars_use_classic_bounds() {
    for width in WIDTHS {
        let (registry, component) = shop(&[&QUERY, &WEIGHT]);
        let (mut image, [query, weight]) = Image::with(width, [&QUERY, &WEIGHT]);
        let mut instance = component.instance();
        let mut request = request(&component, 7, true);
        let (mut times, mut nanos) = (Vec::new(), 0);
        // The buckets become coarser with the distances of the values.
        for (time, value) in [300_000_000u64, 310_000_000, 0, 2_000, 900_000_000_000].into_iter().zip(1..) {
            times.push(time as f64 / 1e9);
            nanos += time;
            image.set_exponential(query, 0, &times, value as usize);
            image.set(query, SUM, nanos);
            image.read_for(&mut instance, &mut request, value);
        }
        // Bounds are powers of four from 4^-10 to 4^5.
        let nanos = |value| Number::Nanos(value);
        assert_eq!(
            shown(&registry, "query_seconds"),
            [
                (0, nanos(0), 7, 3),
                (1, nanos(2_000), 7, 4),
                (10, nanos(310_000_000), 7, 2),
                (15, nanos(900_000_000_000), 7, 5)
            ]
        );
        image.set_exponential(weight, 0, &[3.0, 5.0], 0);
        image.set_f64(weight, SUM, 8.0);
        image.read_for(&mut instance, &mut request, 6);
        assert_eq!(shown(&registry, "weight"), [], "two at once");
        image.set_exponential(weight, 0, &[3.0, 5.0, 1e9], 0);
        image.set_f64(weight, SUM, 1e9 + 8.0);
        image.read_last_for(instance, &mut request, 7);
        assert_eq!(shown(&registry, "weight"), [(25, Number::Float(1e9), 7, 7)]);
        // An instance that is read once has them too.
        let (mut image, [weight]) = Image::with(width, [&WEIGHT]);
        image.set_exponential(weight, 0, &[0.5], 0);
        image.set_f64(weight, SUM, 0.5);
        image.read_last_for(component.instance(), &mut request, 8);
        assert_eq!(shown(&registry, "weight")[0], (10, Number::Float(0.5), 7, 8));
    }
}

#[test]
fn reused_instance_separates_requests() {
    let (registry, component) = shop(&[&LATENCY]);
    let (mut image, [latency]) = Image::with(4, [&LATENCY]);
    let mut instance = component.instance();
    for number in 1..=3u64 {
        let mut request = request(&component, number, number != 2);
        image.set_histogram(latency, 1_000_000 * number, &[number, 0, 0]);
        image.read_for(&mut instance, &mut request, number);
        request.finish(Outcome::Ok, NOW, number);
        let expected = if number == 2 { 1 } else { number };
        let found = (0, Number::Nanos(1_000_000), u128::from(expected), expected);
        assert_eq!(shown(&registry, "latency_seconds"), [found]);
    }
}

#[test]
fn unsampled_exemplars_need_kept_request() {
    for (outcome, is_kept) in [(Outcome::Ok, false), (Outcome::Failed, true), (Outcome::Ended("unreachable"), true)] {
        let (registry, component) = shop(&[&LATENCY, &HITS]);
        let (mut image, [latency, hits]) = Image::with(4, [&LATENCY, &HITS]);
        let mut instance = component.instance();
        let mut request = request(&component, 7, false);
        image.set(hits, 0, 1);
        image.set_histogram(latency, 1_000_000, &[1, 0, 0]);
        image.read_for(&mut instance, &mut request, 1);
        assert_eq!(shown(&registry, "latency_seconds"), [], "nobody knows yet");
        assert_eq!(request.exported_context(), None);
        assert_eq!(request.finish(outcome, NOW, 2), is_kept);
        assert_eq!(request.exported_context().is_some(), is_kept);
        // The values before the end of the request, and those of the last read.
        image.set_histogram(latency, 3_001_000_000, &[1, 0, 1]);
        image.read_last_for(instance, &mut request, 3);
        let found = [(0, Number::Nanos(1_000_000), 7, 2), (2, Number::Nanos(3_000_000_000), 7, 3)];
        assert_eq!(shown(&registry, "latency_seconds"), if is_kept { &found[..] } else { &[] });
    }
}

#[test]
fn read_without_request_has_no_exemplar() {
    let (registry, component) = shop(&[&LATENCY]);
    let (mut image, [latency]) = Image::with(4, [&LATENCY]);
    let mut instance = component.instance();
    image.set_histogram(latency, 1_000_000, &[1, 0, 0]);
    image.read(&mut instance, 0);
    let mut request = component.request_telemetry(Arc::new(MemorySink::default()), Arc::new(Recording::default()));
    image.set_histogram(latency, 2_000_000, &[2, 0, 0]);
    image.read_for(&mut instance, &mut request, 1);
    // If no request is kept, one that is not sampled has no exemplars.
    let recording = Recording { keep_failed: false, ..Recording::default() };
    let mut request = component.request_telemetry(Arc::new(MemorySink::default()), Arc::new(recording));
    request.set_context(context(7, false), 0);
    image.set_histogram(latency, 3_000_000, &[3, 0, 0]);
    image.read_for(&mut instance, &mut request, 1);
    assert!(!request.finish(Outcome::Failed, NOW, 2));
    image.set_histogram(latency, 4_000_000, &[4, 0, 0]);
    image.read_last_for(instance, &mut request, 3);
    assert_eq!(shown(&registry, "latency_seconds"), []);
}

#[test]
fn text_labels_separate_exemplars() {
    for is_only_read in [true, false] {
        let (registry, component) = shop(&[&BY_USER]);
        let mut request = request(&component, 7, true);
        // The same users in other slots of another instance.
        for (round, users) in [["ann", "bob"], ["bob", "ann"]].into_iter().enumerate() {
            let (mut image, [by_user]) = Image::with(4, [&BY_USER]);
            for (slot, user) in users.into_iter().enumerate() {
                image.text(by_user, 0, slot as u32, user.as_bytes());
                let value = if user == "ann" { 0.5 } else { 1.5 };
                image.set_f64(by_user, 4 * slot, value);
                image.set(by_user, 4 * slot + if user == "ann" { 1 } else { 2 }, 1);
            }
            // Beyond the table's capacity.
            image.set_f64(by_user, 16, 9.0);
            image.set(by_user, 19, 1);
            let mut instance = component.instance();
            if !is_only_read {
                image.read_for(&mut instance, &mut request, round as u64);
            }
            image.read_last_for(instance, &mut request, round as u64);
        }
        let text = encode::openmetrics::encode(&registry.snapshot(NOW));
        let exemplar = "# {trace_id=\"00000000000000000000000000000007\",span_id=\"00000000000000a7\"}";
        for (user, le, count, value) in
            [("ann", "1.0", 2, "0.5"), ("bob", "2.0", 2, "1.5"), ("overflow", "+Inf", 2, "9")]
        {
            let line = format!(
                "by_user_bucket{{component=\"shop\",user=\"{user}\",le=\"{le}\"}} {count} {exemplar} {value} 0.000000001\n"
            );
            assert!(text.contains(&line), "{line} {text}");
        }
        assert_eq!(text.matches(" # {").count(), 3, "{text}");
    }
}

#[test]
fn pushed_batch_has_exemplars() {
    let (registry, component) = shop(&[&LATENCY]);
    let (mut image, [latency]) = Image::with(4, [&LATENCY]);
    let mut receiver = BatchReceiver::new(component.clone());
    assert_eq!(receiver.open(), Some(1));
    let mut request = request(&component, 7, true);
    image.set_histogram(latency, 1_000_000, &[1, 0, 0]);
    for batch in crate::batch::push(&image, 1, 0, 8) {
        receiver.receive(&batch, Timestamp { monotonic: NOW, wall: 5 }, Some(&mut request));
    }
    assert_eq!(shown(&registry, "latency_seconds"), [(0, Number::Nanos(1_000_000), 7, 5)]);
}

#[test]
fn exemplars_are_bounded_and_removed() {
    const MANY: [LabelSpec<'static>; 1] = [LabelSpec { key: "shard", shape: LabelShape::Below(40_000) }];
    declare!(
        SHARDED = Descriptor::new(Kind::HistogramF64, "sharded", "By shard.").with_labels(&MANY).with_bounds(&[1.0])
    );
    let registry = Registry::new();
    let component = registry.component(Identity::new("shop"), declarations(&[&SHARDED]));
    let mut request = request(&component, 7, true);
    for (bucket, value) in [(1, 0.5), (2, 2.0)] {
        let (mut image, [sharded]) = Image::with(4, [&SHARDED]);
        for shard in 0..40_000 {
            image.set_f64(sharded, 3 * shard, value);
            image.set(sharded, 3 * shard + bucket, 1);
        }
        image.read_last_for(component.instance(), &mut request, 1);
    }
    assert_eq!(shown(&registry, "sharded").len(), limits::EXEMPLARS_PER_COMPONENT);

    // Pending exemplars are bounded too.
    drop(request);
    let (mut image, [sharded]) = Image::with(4, [&SHARDED]);
    let mut instance = component.instance();
    image.read(&mut instance, 0);
    for shard in 0..2000 {
        image.set_f64(sharded, 3 * shard, 0.5);
        image.set(sharded, 3 * shard + 1, 1);
    }
    let mut request = self::request(&component, 9, false);
    image.read_for(&mut instance, &mut request, 2);
    request.finish(Outcome::Failed, NOW, 3);
    let kept = shown(&registry, "sharded").iter().filter(|(_, _, trace, _)| *trace == 9).count();
    assert_eq!(kept, limits::PENDING_EXEMPLARS);

    component.retire();
    drop((component, instance, request));
    registry.snapshot(NOW);
    registry.snapshot(NOW + limits::RETENTION + NOW);
    let component = registry.component(Identity::new("shop"), declarations(&[&SHARDED]));
    let (mut image, [sharded]) = Image::with(4, [&SHARDED]);
    image.set_f64(sharded, 0, 0.5);
    image.set(sharded, 1, 1);
    image.read_last(component.instance(), 0);
    assert_eq!(shown(&registry, "sharded"), []);
}

#[test]
fn withdrawn_metric_returns_exemplar_room() {
    let registry = Registry::new();
    let both = registry.component(Identity::new("shop"), declarations(&[&LATENCY, &SIZE]));
    let record = |component: &Component| {
        let (mut image, [latency, size]) = Image::with(4, [&LATENCY, &SIZE]);
        image.set_histogram(latency, 1_000_000, &[1, 0, 0]);
        image.set_histogram(size, f64::to_bits(3.0), &[0, 1, 0]);
        image.read_last_for(component.instance(), &mut request(component, 7, true), 1);
    };
    record(&both);
    let one = registry.component(Identity::new("shop"), declarations(&[&LATENCY]));
    both.retire();
    drop(both);
    registry.snapshot(NOW);
    registry.snapshot(NOW + limits::RETENTION + NOW);
    assert!(!registry.snapshot(NOW).families().any(|family| family.name() == "size"));
    assert_eq!(shown(&registry, "latency_seconds").len(), 1, "it goes on with what it had");
    let both = registry.component(Identity::new("shop"), declarations(&[&LATENCY, &SIZE]));
    assert_eq!(shown(&registry, "size"), []);
    record(&both);
    assert_eq!(shown(&registry, "size").len(), 1);
    drop(one);
}

#[test]
fn host_histograms_keep_latest_exemplar() {
    let registry = Registry::new();
    let family = registry.histogram("took_seconds", "Took.", &["route"], &[0.1, 1.0]);
    let (a, b) = (family.with(&["/a"]), family.with(&["/b"]));
    b.observe_nanos_in(50_000_000, context(1, true), 10);
    b.observe_nanos_in(60_000_000, context(2, true), 20);
    a.observe_nanos(70_000_000);
    a.observe_nanos_in(5_000_000_000, context(3, true), 30);
    let text = encode::openmetrics::encode(&registry.snapshot(NOW));
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" # {")).collect();
    let exemplar = |number| format!("# {{trace_id=\"{number:032x}\",span_id=\"{:016x}\"}}", number + 0xa0);
    assert_eq!(
        lines,
        [
            format!("took_seconds_bucket{{route=\"/a\",le=\"+Inf\"}} 2 {} 5 0.00000003", exemplar(3)),
            format!("took_seconds_bucket{{route=\"/b\",le=\"0.1\"}} 2 {} 0.06 0.00000002", exemplar(2)),
        ]
    );
    // The format without exemplars has none.
    assert!(!encode::prometheus::encode(&registry.snapshot(NOW)).contains("trace_id"));
}

#[test]
fn deltas_have_exemplars_of_changes() {
    let registry = Registry::new();
    let family = registry.histogram("took_seconds", "Took.", &["route"], &[0.1, 1.0]);
    let (a, b) = (family.with(&["/a"]), family.with(&["/b"]));
    a.observe_nanos_in(1, context(1, true), 10);
    b.observe_nanos_in(2, context(2, true), 20);
    let earlier = registry.snapshot(NOW);
    b.observe_nanos(3);
    let changes = registry.snapshot(NOW).since(&earlier);
    let family = changes.families().next().unwrap();
    let series: Vec<_> = family.series().collect();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].exemplars().map(|(_, found)| found.trace_id.number()).collect::<Vec<_>>(), [2]);
}
