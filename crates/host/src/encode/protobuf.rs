//! Prometheus' Protocol Buffers format: a delimited `io.prometheus.client.MetricFamily` for each family.
//!
//! Exponential histograms are native histograms in it, beside the explicit buckets that the text formats have, for servers
//! that take only those. An info metric is a gauge, as in the text format. Exemplars are those of explicit buckets, and, for
//! servers that look for them there, those of the native histogram too.
//!
//! Source: `metrics.proto` of prometheus/client_model, whose field numbers the structures below have, and Prometheus, "Native
//! Histograms".

use prost::Message;

use crate::aggregate::exemplar::Exemplar as Observed;
use crate::aggregate::exponential::counts::ExponentialValue;
use crate::snapshot::number::Number;
use crate::snapshot::{FamilySnapshot, Series, Snapshot, Value};
use crate::{FamilyKind, LabelPairs};

/// The media type of the format.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The coarsest scale that a native histogram can have.
const MIN_SCHEMA: i32 = -4;

/// Empty buckets in a row that are written out, because they take less room than another span.
const MAX_GAP: usize = 2;

/// Encodes a snapshot.
///
/// ```
/// # use std::time::Duration;
/// let registry = wasmetry_host::Registry::new();
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).inc();
/// let bytes = wasmetry_host::encode::protobuf::encode(&registry.snapshot(Duration::ZERO));
/// // The first family's length, then the field `name`, its length and the name.
/// assert!(bytes[1..].starts_with(b"\x0a\x0ajobs_total"));
/// ```
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(snapshot, &mut out);
    out
}

/// Encodes a snapshot behind what `out` holds already.
pub fn encode_into(snapshot: &Snapshot, out: &mut Vec<u8>) {
    // What one series needs serves the next one too.
    let mut message = Vec::new();
    let mut metrics = Metrics { metric: vec![Metric::default()] };
    for family in snapshot.families() {
        message.clear();
        append(&Family::of(family), &mut message);
        for series in family.series() {
            let metric = &mut metrics.metric[0];
            set_labels(&mut metric.label, series.labels());
            metric.set_value(family, series);
            append(&metrics, &mut message);
        }
        // The fields of a message may stand one behind the other in any order.
        append_length(message.len(), out);
        out.extend_from_slice(&message);
    }
}

fn append(message: &impl Message, out: &mut Vec<u8>) {
    // A vector has room for everything, so that this cannot fail.
    let _ = message.encode(out);
}

fn append_length(length: usize, out: &mut Vec<u8>) {
    // As above.
    let _ = prost::encode_length_delimiter(length, out);
}

fn set_labels(labels: &mut Vec<LabelPair>, pairs: LabelPairs<'_>) {
    let mut count = 0;
    for (key, value) in pairs {
        if labels.len() == count {
            labels.push(LabelPair::default());
        }
        let LabelPair { name: old_name, value: old_value } = &mut labels[count];
        for (old, new) in [(old_name, key), (old_value, &*value)] {
            let text = old.get_or_insert_default();
            text.clear();
            text.push_str(new);
        }
        count += 1;
    }
    labels.truncate(count);
}

/// `MetricFamily` without its metrics.
#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    r#type: Option<i32>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

/// `MetricFamily` with nothing but metrics.
#[derive(Clone, PartialEq, Message)]
struct Metrics {
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
    #[prost(message, optional, boxed, tag = "3")]
    exemplar: Option<Box<Exemplar>>,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

impl Family {
    fn of(family: &FamilySnapshot) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let ty = match family.kind() {
            FamilyKind::Counter => MetricType::Counter,
            FamilyKind::Gauge | FamilyKind::UpDownCounter | FamilyKind::Info => MetricType::Gauge,
            FamilyKind::Histogram => MetricType::Histogram,
        };
        Self {
            name: Some(family.name().to_owned()),
            help: text(family.help()),
            r#type: Some(ty.into()),
            unit: text(family.unit()),
        }
    }
}

impl Metric {
    fn set_value(&mut self, family: &FamilySnapshot, series: Series<'_>) {
        let created_timestamp = series.created().map(Timestamp::of);
        match series.value() {
            Value::Number(value) => {
                let value = Some(value.as_f64());
                match family.kind() {
                    FamilyKind::Counter => self.counter = Some(Counter { value, created_timestamp }),
                    _ => self.gauge = Some(Gauge { value }),
                }
            }
            Value::Histogram { counts, sum } => {
                let histogram = self.histogram.get_or_insert_default();
                let mut cumulated = 0u64;
                let cumulative = counts.iter().map(|count| {
                    cumulated = cumulated.saturating_add(*count);
                    cumulated
                });
                histogram.set_buckets(family.bounds(), cumulative, sum);
                histogram.set_native(None);
            }
            Value::Exponential(value) => {
                let histogram = self.histogram.get_or_insert_default();
                let cumulative = value.counts.cumulative(family.bounds()).into_iter();
                histogram.set_buckets(family.bounds(), cumulative, value.sum());
                // Coarser ones than a native histogram can be are rare: their values differ by more than a factor of 2^(16·N).
                histogram.set_native(Some(value).filter(|value| value.scale() >= MIN_SCHEMA));
            }
        }
        if family.kind() != FamilyKind::Counter {
            self.counter = None;
        }
        if matches!(family.kind(), FamilyKind::Counter | FamilyKind::Histogram) {
            self.gauge = None;
        }
        match &mut self.histogram {
            Some(histogram) if family.kind() == FamilyKind::Histogram => {
                histogram.created_timestamp = created_timestamp;
                histogram.set_exemplars(series);
            }
            histogram => *histogram = None,
        }
    }
}

impl Histogram {
    /// Sets what all histograms have; `cumulative` has the count under each bound and at last that of all values.
    fn set_buckets(&mut self, bounds: &[f64], mut cumulative: impl Iterator<Item = u64>, sum: Number) {
        self.bucket.clear();
        let counts = bounds.iter().zip(&mut cumulative);
        self.bucket.extend(counts.map(|(bound, count)| Bucket {
            cumulative_count: Some(count),
            upper_bound: Some(*bound),
            exemplar: None,
        }));
        self.sample_count = cumulative.next();
        self.sample_sum = Some(sum.as_f64());
    }

    /// Sets the exemplars, after everything else.
    fn set_exemplars(&mut self, series: Series<'_>) {
        self.exemplars.clear();
        for (at, observed) in series.exemplars() {
            let exemplar = Exemplar::of(observed);
            if self.schema.is_some() {
                self.exemplars.push(exemplar.clone());
            }
            // The last bucket is left away where nothing is said of it that the count does not say.
            if at == self.bucket.len() {
                let (cumulative_count, upper_bound) = (self.sample_count, Some(f64::INFINITY));
                self.bucket.push(Bucket { cumulative_count, upper_bound, exemplar: None });
            }
            if let Some(bucket) = self.bucket.get_mut(at) {
                bucket.exemplar = Some(Box::new(exemplar));
            }
        }
    }

    /// Sets what native histograms have, or that this is none.
    fn set_native(&mut self, value: Option<&ExponentialValue>) {
        self.positive_span.clear();
        self.positive_delta.clear();
        self.schema = value.map(ExponentialValue::scale);
        // One that is not 0 is what tells a native histogram without values from one with explicit buckets.
        self.zero_threshold = value.map(|_| ExponentialValue::ZERO_THRESHOLD);
        self.zero_count = value.map(ExponentialValue::zero_count);
        let Some(value) = value else { return };

        let mut last = 0i64;
        let mut gap = 0;
        for (at, count) in value.counts().iter().enumerate() {
            if *count == 0 {
                gap += 1;
                continue;
            }
            match self.positive_span.last_mut() {
                Some(BucketSpan { length: Some(length), .. }) if gap <= MAX_GAP => {
                    *length += gap as u32;
                    for _ in 0..gap {
                        self.positive_delta.push(-last);
                        last = 0;
                    }
                }
                // A native histogram's bucket has the index of its end, and so one more than an exponential histogram's.
                None => self.start_span(value.first_index() + at as i32 + 1),
                Some(_) => self.start_span(gap as i32),
            }
            if let Some(BucketSpan { length: Some(length), .. }) = self.positive_span.last_mut() {
                *length += 1;
            }
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.positive_delta.push(count - last);
            last = count;
            gap = 0;
        }
    }

    fn start_span(&mut self, offset: i32) {
        self.positive_span.push(BucketSpan { offset: Some(offset), length: Some(0) });
    }
}

impl Exemplar {
    fn of(observed: &Observed) -> Self {
        let label = |name: &str, value: String| LabelPair { name: Some(name.to_owned()), value: Some(value) };
        Self {
            label: vec![
                label("trace_id", observed.trace_id.to_string()),
                label("span_id", observed.span_id.to_string()),
            ],
            value: Some(observed.value.as_f64()),
            timestamp: Some(Timestamp::of(observed.time)),
        }
    }
}

impl Timestamp {
    /// A time of day, in nanoseconds since 1970-01-01 00:00 UTC.
    fn of(time: u64) -> Self {
        Self { seconds: (time / 1_000_000_000) as i64, nanos: (time % 1_000_000_000) as i32 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{SpanId, TraceContext, TraceId};
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
    fn a_counter_is_these_bytes() {
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
    fn labels_and_values_of_one_series_do_not_show_in_the_next() {
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
    fn a_native_histogram_has_a_span_for_each_run_of_buckets() {
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
    fn exemplars_are_those_of_explicit_buckets() {
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
    fn what_is_added_up_has_a_beginning() {
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
    fn a_snapshot_without_series_is_no_bytes() {
        let registry = Registry::new();
        registry.component(Identity::new("shop"), Default::default());
        let families = decode(&encode(&registry.snapshot(Duration::ZERO)));
        assert_eq!(families.len(), 1, "wasmetry_build_info");
        assert!(encode(&Snapshot::default()).is_empty());
    }
}
