//! The rules of metrics.
//!
//! Sources: `opentelemetry/proto/metrics/v1/metrics.proto`, and OpenTelemetry's "Metrics Data
//! Model".

use std::collections::HashSet;

use super::{Checked, check_attributes, check_resource, check_scope};
use crate::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use crate::proto::common::v1::KeyValue;
use crate::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use crate::proto::metrics::v1::metric::Data;
use crate::proto::metrics::v1::number_data_point::Value;
use crate::proto::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint};
use crate::timeline;

/// Unit suffixes of metric names, and the units of OTLP.
const UNITS: &[(&str, &str)] = &[("seconds", "s"), ("bytes", "By"), ("ratio", "1")];

/// Checks a request with metrics.
pub(super) fn check(request: &ExportMetricsServiceRequest) -> Checked {
    let mut names = HashSet::new();
    for resource in &request.resource_metrics {
        check_resource(resource.resource.as_ref())?;
        let of = resource.resource.as_ref().map(|resource| timeline::name(&resource.attributes));
        for scope in &resource.scope_metrics {
            check_scope(scope.scope.as_ref())?;
            require!(!scope.metrics.is_empty(), "a scope without metrics");
            let within = scope.scope.as_ref().map(|scope| &scope.name);
            for metric in &scope.metrics {
                require!(names.insert((of.clone(), within, &metric.name)), "the metric {} twice", metric.name);
                check_metric(metric).map_err(|broken| format!("{}: {broken}", metric.name))?;
            }
        }
    }
    Ok(())
}

fn check_metric(metric: &Metric) -> Checked {
    let name = metric.name.as_bytes();
    require!(name.first().is_some_and(u8::is_ascii_alphabetic) && name.len() <= 255, "a bad name");
    require!(name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(byte)), "a bad name");
    require!(metric.unit.is_ascii() && metric.unit.len() <= 63, "the unit {}", metric.unit);
    // UCUM's units are symbols, not words.
    for (word, symbol) in UNITS {
        require!(metric.unit != *word, "the unit {word} and not {symbol}");
        let stem = metric.name.strip_suffix("_total").unwrap_or(&metric.name);
        let has = stem.strip_suffix(word).is_some_and(|rest| rest.ends_with('_'));
        require!(!has || metric.unit == *symbol, "the unit {:?} and not {symbol}", metric.unit);
    }
    match metric.data.as_ref().ok_or("no data")? {
        Data::Gauge(gauge) => points(&gauge.data_points, |point| number(point, false)),
        Data::Sum(sum) => {
            temporality(sum.aggregation_temporality)?;
            points(&sum.data_points, |point| {
                has_start(point)?;
                number(point, sum.is_monotonic)
            })
        }
        Data::Histogram(of) => {
            temporality(of.aggregation_temporality)?;
            points(&of.data_points, |point| has_start(point).and_then(|()| histogram(point)))
        }
        Data::ExponentialHistogram(of) => {
            temporality(of.aggregation_temporality)?;
            points(&of.data_points, |point| has_start(point).and_then(|()| exponential(point)))
        }
        Data::Summary(_) => Err("a summary".to_owned()),
    }
}

fn temporality(value: i32) -> Checked {
    require!(matches!(value, 1 | 2), "temporality {value}");
    Ok(())
}

/// The fields that all data points have in common.
trait Point {
    fn attributes(&self) -> &[KeyValue];
    /// Returns the start time and the time of the point.
    fn times(&self) -> (u64, u64);
}

macro_rules! point {
    ($($name:ty),+) => {
        $(impl Point for $name {
            fn attributes(&self) -> &[KeyValue] {
                &self.attributes
            }

            fn times(&self) -> (u64, u64) {
                (self.start_time_unix_nano, self.time_unix_nano)
            }
        })+
    };
}
point!(NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint);

fn points<P: Point>(points: &[P], check: impl Fn(&P) -> Checked) -> Checked {
    require!(!points.is_empty(), "no points");
    let mut series = HashSet::new();
    for point in points {
        check_attributes(point.attributes())?;
        require!(series.insert(timeline::name(point.attributes())), "one series twice: {:?}", point.attributes());
        let (start, time) = point.times();
        require!(time > 0 && start <= time, "from {start} to {time}");
        check(point)?;
    }
    Ok(())
}

/// Checks that a point of a sum or histogram has a start time.
fn has_start(point: &impl Point) -> Checked {
    require!(point.times().0 > 0, "no start time");
    Ok(())
}

fn number(point: &NumberDataPoint, is_monotonic: bool) -> Checked {
    let is_negative = match point.value.ok_or("no value")? {
        Value::AsInt(value) => value < 0,
        Value::AsDouble(value) => value < 0.0,
    };
    require!(!is_monotonic || !is_negative, "a counter of {:?}", point.value);
    Ok(())
}

fn histogram(point: &HistogramDataPoint) -> Checked {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    require!(bounds.iter().all(|bound| bound.is_finite()), "bounds {bounds:?}");
    require!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "bounds {bounds:?}");
    require!(counts.len() == bounds.len() + 1, "{} buckets for {} bounds", counts.len(), bounds.len());
    require!(counts.iter().sum::<u64>() == point.count, "{} in buckets {counts:?}", point.count);
    Ok(())
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Checked {
    let count = |buckets: &Option<Buckets>| buckets.iter().flat_map(|buckets| &buckets.bucket_counts).sum::<u64>();
    let all = point.zero_count + count(&point.positive) + count(&point.negative);
    require!(all == point.count, "{} of which {all} are in buckets", point.count);
    require!((-10..=20).contains(&point.scale), "scale {}", point.scale);
    require!((0.0..).contains(&point.zero_threshold), "zero threshold {}", point.zero_threshold);
    Ok(())
}
