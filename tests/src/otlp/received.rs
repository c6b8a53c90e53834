//! The metrics of a receiver that has taken every export.

use std::collections::BTreeMap;

use wasmetry_sink::Arrived;
use wasmetry_sink::proto::common::v1::KeyValue;
use wasmetry_sink::proto::metrics::v1::metric::Data;
use wasmetry_sink::proto::metrics::v1::number_data_point::Value;
use wasmetry_sink::proto::metrics::v1::{Metric, NumberDataPoint};

use crate::otlp::attributes;

/// The current value of each received series.
///
/// Delta points are added up; of cumulative points and gauges the last one counts. The value of a
/// histogram is its count. The labels include the attributes of the resource.
#[derive(Clone, Debug, Default)]
pub struct ReceivedMetrics(BTreeMap<(String, Vec<(String, String)>), f64>);

impl ReceivedMetrics {
    /// Reads exports with cumulative temporality.
    pub fn cumulative(metrics: &[Arrived<Metric>]) -> Self {
        Self::read(metrics, false)
    }

    /// Reads exports with delta temporality.
    pub fn delta(metrics: &[Arrived<Metric>]) -> Self {
        Self::read(metrics, true)
    }

    fn read(metrics: &[Arrived<Metric>], is_delta: bool) -> Self {
        let mut all = BTreeMap::new();
        for Arrived { resource, record, .. } in metrics {
            let resource = &resource.attributes;
            let mut point = |own: &[KeyValue], value: f64, adds_up: bool| {
                let mut labels: Vec<_> = attributes(resource).into_iter().chain(attributes(own)).collect();
                labels.sort_unstable();
                let series = all.entry((record.name.clone(), labels)).or_insert(0.0);
                *series = if adds_up { *series + value } else { value };
            };
            match record.data.as_ref().unwrap() {
                Data::Sum(sum) => {
                    for of in &sum.data_points {
                        point(&of.attributes, number(of), sum.aggregation_temporality == DELTA);
                    }
                    assert!(is_delta == (sum.aggregation_temporality == DELTA) || !sum.is_monotonic, "{}", record.name);
                }
                Data::Gauge(gauge) => gauge.data_points.iter().for_each(|of| point(&of.attributes, number(of), false)),
                Data::Histogram(histogram) => {
                    for of in &histogram.data_points {
                        point(&of.attributes, of.count as f64, histogram.aggregation_temporality == DELTA);
                    }
                }
                Data::ExponentialHistogram(histogram) => {
                    for of in &histogram.data_points {
                        point(&of.attributes, of.count as f64, histogram.aggregation_temporality == DELTA);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        Self(all)
    }

    /// Returns the sum of all series of this name whose labels include `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |own: &[(String, String)]| {
            labels.iter().all(|(key, value)| own.iter().any(|(other, is)| other == key && is == value))
        };
        self.0.iter().filter(|((of, own), _)| of == name && has(own)).map(|(_, value)| value).sum()
    }
}

/// OTLP's number of the delta temporality.
const DELTA: i32 = 1;

fn number(point: &NumberDataPoint) -> f64 {
    match point.value.as_ref().unwrap() {
        Value::AsInt(value) => *value as f64,
        Value::AsDouble(value) => *value,
    }
}
