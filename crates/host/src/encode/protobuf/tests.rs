use std::time::Duration;

use super::message::Histogram;
use super::*;
use crate::aggregate::exponential::counts::ExponentialValue;
use crate::record::{SpanId, TraceContext, TraceId};
use crate::snapshot::number::Number;
use crate::{Identity, Registry};

fn decode(mut bytes: &[u8]) -> Vec<(Family, Vec<Metric>)> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        let length = prost::decode_length_delimiter(&mut bytes).unwrap();
        let (message, rest) = bytes.split_at(length);
        families.push((Family::decode(message).unwrap(), Metrics::decode(message).unwrap().metric));
        bytes = rest;
    }
    families
}

#[test]
fn counter_bytes_match_the_format() {
    let registry = Registry::new();
    registry.counter("a_seconds_total", "A.", &["b"]).with(&["c"]).add(2);
    let bytes = encode(&registry.snapshot(Duration::ZERO));
    let expected = [
        // The family's 53 bytes: name, help, counter, unit.
        &[53u8, 0x0a, 15][..],
        b"a_seconds_total\x12\x02A.\x18\x00\x2a\x07seconds",
        // A metric with a label and a counter with the double 2.
        &[0x22, 19, 0x0a, 6, 0x0a, 1, b'b', 0x12, 1, b'c', 0x1a, 9, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x40],
    ]
    .concat();
    assert_eq!(bytes[..expected.len()], expected, "{:?}", &bytes[..expected.len()]);
}

#[test]
fn reused_messages_keep_nothing() {
    let registry = Registry::new();
    let counter = registry.counter("aa_total", "A.", &["x", "y"]);
    counter.with(&["1", "long"]).inc();
    counter.with(&["2"]).inc();
    registry.gauge("b", "", &[]).with(&[]).set(-1.5);
    let histogram = registry.histogram("c_seconds", "C.", &[], &[0.5, 1.0]).with(&[]);
    histogram.observe_nanos(700_000_000);
    histogram.observe(7.0);
    registry.gauge("d", "D.", &["x"]).with(&["\"\n"]).set(f64::NAN);
    let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
    let names: Vec<_> = families.iter().map(|(family, _)| family.name()).collect();
    assert_eq!(names[..5], ["aa_total", "b", "c_seconds", "d", "wasmetry_build_info"]);
    let metric = |family: usize, at: usize| &families[family].1[at];
    let labels = |metric: &Metric| -> Vec<(String, String)> {
        metric.label.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
    };
    assert_eq!(labels(metric(0, 0)), [("x".into(), "1".into()), ("y".into(), "long".into())]);
    assert_eq!(labels(metric(0, 1)), [("x".into(), "2".into())]);
    assert_eq!((families[1].0.help.as_deref(), families[1].0.r#type()), (None, MetricType::Gauge));
    assert_eq!((metric(1, 0).counter.as_ref(), metric(1, 0).gauge.as_ref().unwrap().value()), (None, -1.5));
    assert_eq!(labels(metric(1, 0)), []);
    let histogram = metric(2, 0).histogram.as_ref().unwrap();
    assert_eq!((histogram.sample_count(), histogram.sample_sum(), histogram.schema), (2, 7.7, None));
    let buckets: Vec<_> = histogram.bucket.iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
    assert_eq!(buckets, [(0.5, 0), (1.0, 1)]);
    assert_eq!((metric(3, 0).histogram.as_ref(), labels(metric(3, 0))), (None, vec![("x".into(), "\"\n".into())]));
    assert!(metric(3, 0).gauge.as_ref().unwrap().value().is_nan());
    assert_eq!(families[2].0.unit(), "seconds");
}

fn native(first: i32, scale: i32, counts: &[u64]) -> Histogram {
    let mut value = ExponentialValue { counts: Default::default(), sum: Number::Float(0.0) };
    value.counts.add(scale, first, counts, 200, &[]);
    let mut histogram = Histogram::default();
    histogram.set_native(Some(&value));
    histogram
}

/// The counts by index, as a reader of the format puts them together.
fn read(histogram: &Histogram) -> Vec<(i32, i64)> {
    let mut counts = Vec::new();
    let (mut index, mut count, mut deltas) = (0, 0, histogram.positive_delta.iter());
    for span in &histogram.positive_span {
        index += span.offset();
        for _ in 0..span.length() {
            count += deltas.next().unwrap();
            counts.push((index, count));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    counts
}

#[test]
fn native_spans_cover_bucket_runs() {
    // An index is that of the bucket's end: 1 is the end of the bucket that ends at 2 at scale 0.
    let histogram = native(0, 0, &[5]);
    assert_eq!((read(&histogram), histogram.schema), (vec![(1, 5)], Some(0)));
    let histogram = native(-10, 3, &[4, 0, 0, 2, 9, 0, 0, 0, 1]);
    assert_eq!(read(&histogram), [(-9, 4), (-8, 0), (-7, 0), (-6, 2), (-5, 9), (-1, 1)]);
    let spans: Vec<_> = histogram.positive_span.iter().map(|span| (span.offset(), span.length())).collect();
    assert_eq!(spans, [(-9, 5), (3, 1)]);
    let empty = native(0, 0, &[]);
    assert_eq!((read(&empty), empty.schema, empty.zero_count), (vec![], Some(8), Some(0)));
    assert!(empty.zero_threshold() > 0.0);
    assert_eq!(read(&native(3, 8, &[u64::MAX])), [(4, i64::MAX)]);
}

fn context(number: u128) -> TraceContext {
    TraceContext { trace_id: TraceId::new(number).unwrap(), span_id: SpanId::new(7).unwrap(), flags: 1 }
}

#[test]
fn explicit_buckets_carry_exemplars() {
    let registry = Registry::new();
    let histograms = registry.histogram("c_seconds", "C.", &["x"], &[0.5, 1.0]);
    let (first, second) = (histograms.with(&["1"]), histograms.with(&["2"]));
    first.observe_nanos_in(700_000_000, context(0xabc), 1_700_000_000_123_456_789);
    first.observe_nanos_in(2_000_000_000, context(2), 5);
    second.observe_nanos(2_000_000_000);
    let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
    let histogram = |at: usize| families[0].1[at].histogram.as_ref().unwrap();
    let buckets = &histogram(0).bucket;
    assert_eq!(buckets[0].exemplar, None);
    let exemplar = buckets[1].exemplar.as_ref().unwrap();
    let labels: Vec<_> = exemplar.label.iter().map(|label| (label.name(), label.value())).collect();
    assert_eq!(labels, [("trace_id", "00000000000000000000000000000abc"), ("span_id", "0000000000000007")]);
    let timestamp = Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 };
    assert_eq!((exemplar.value(), exemplar.timestamp), (0.7, Some(timestamp)));
    // The last bucket is there for its exemplar only.
    assert_eq!((buckets[2].upper_bound(), buckets[2].cumulative_count()), (f64::INFINITY, 2));
    assert_eq!(buckets[2].exemplar.as_ref().unwrap().value(), 2.0);
    assert_eq!(histogram(1).bucket.len(), 2, "nothing is left of the series before");
    assert!(histogram(1).bucket.iter().all(|bucket| bucket.exemplar.is_none()));
    assert_eq!(histogram(0).exemplars, [], "it is not native");
}

#[test]
fn counters_and_histograms_carry_creation_times() {
    let registry = Registry::with_clock(|| 1_700_000_000_000_000_009);
    registry.counter("aa_total", "A.", &[]).with(&[]).inc();
    registry.gauge("b", "", &[]).with(&[]).set(1.0);
    registry.histogram("c", "C.", &[], &[0.5]).with(&[]).observe(0.1);
    let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
    let timestamp = Some(Timestamp { seconds: 1_700_000_000, nanos: 9 });
    assert_eq!(families[0].1[0].counter.as_ref().unwrap().created_timestamp, timestamp);
    assert_eq!(families[2].1[0].histogram.as_ref().unwrap().created_timestamp, timestamp);
    let registry = Registry::new();
    registry.counter("aa_total", "A.", &[]).with(&[]).inc();
    let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
    assert_eq!(families[0].1[0].counter.as_ref().unwrap().created_timestamp, None);
}

#[test]
fn empty_snapshot_is_empty() {
    let registry = Registry::new();
    registry.component(Identity::new("shop"), Default::default());
    let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
    assert_eq!(families.len(), 1, "wasmetry_build_info");
    assert!(encode(&Snapshot::default()).is_empty());
}
