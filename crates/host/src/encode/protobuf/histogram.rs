//! Histograms: explicit buckets, native buckets, and exemplars.

use super::message::{Bucket, BucketSpan, Exemplar, Histogram, LabelPair, Timestamp};
use crate::aggregate::exemplar::Exemplar as Observed;
use crate::aggregate::exponential::counts::ExponentialValue;
use crate::snapshot::Series;
use crate::snapshot::number::Number;

/// The coarsest scale of a native histogram.
pub(super) const MIN_SCHEMA: i32 = -4;

/// The longest run of empty buckets that is written out, because that is shorter than another span.
const MAX_GAP: usize = 2;

impl Histogram {
    /// Sets the sum, the count and the explicit buckets. `cumulative` has the count of the values
    /// up to each bound, then that of all values.
    pub(super) fn set_buckets(&mut self, bounds: &[f64], mut cumulative: impl Iterator<Item = u64>, sum: Number) {
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

    /// Sets the exemplars. The buckets must have been set.
    pub(super) fn set_exemplars(&mut self, series: Series<'_>) {
        self.exemplars.clear();
        for (at, observed) in series.exemplars() {
            let exemplar = Exemplar::new(observed);
            if self.schema.is_some() {
                self.exemplars.push(exemplar.clone());
            }
            // The bucket for +Inf is only present if it has an exemplar; its count is that of all
            // values.
            if at == self.bucket.len() {
                let (cumulative_count, upper_bound) = (self.sample_count, Some(f64::INFINITY));
                self.bucket.push(Bucket { cumulative_count, upper_bound, exemplar: None });
            }
            if let Some(bucket) = self.bucket.get_mut(at) {
                bucket.exemplar = Some(Box::new(exemplar));
            }
        }
    }

    /// Sets the native histogram, or removes it.
    pub(super) fn set_native(&mut self, value: Option<&ExponentialValue>) {
        self.positive_span.clear();
        self.positive_delta.clear();
        self.schema = value.map(ExponentialValue::scale);
        // By this field, which is not 0, a reader recognises a native histogram without values.
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
                // A native histogram's bucket has the index of its end: one more than an
                // exponential histogram's.
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
    pub(super) fn new(observed: &Observed) -> Self {
        let label = |name: &str, value: String| LabelPair { name: Some(name.to_owned()), value: Some(value) };
        Self {
            label: vec![
                label("trace_id", observed.trace_id.to_string()),
                label("span_id", observed.span_id.to_string()),
            ],
            value: Some(observed.value.as_f64()),
            timestamp: Some(Timestamp::new(observed.time)),
        }
    }
}

impl Timestamp {
    /// A point in time, in nanoseconds since 1970-01-01 00:00 UTC.
    pub(super) fn new(time: u64) -> Self {
        Self { seconds: (time / 1_000_000_000) as i64, nanos: (time % 1_000_000_000) as i32 }
    }
}
