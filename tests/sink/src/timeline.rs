//! The rules of successive exports of metrics.
//!
//! Source: OpenTelemetry, "Metrics Data Model": Single-Writer, Temporality, Resets and Gaps.

use std::collections::HashMap;

use crate::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use crate::proto::common::v1::KeyValue;
use crate::proto::metrics::v1::metric::Data;
use crate::proto::metrics::v1::number_data_point::Value;
use crate::rule::{Checked, require};
use crate::text;

/// The last points of all series whose resource has a `service.instance.id`.
#[derive(Default)]
pub(crate) struct Timeline(HashMap<String, LastPoint>);

/// The last accepted point of a series.
#[derive(Clone, Debug)]
struct LastPoint {
    temporality: i32,
    start: u64,
    time: u64,
    /// The total of a monotonic sum or of a histogram's count.
    total: Option<f64>,
}

impl Timeline {
    /// Checks the points of a request against the last accepted ones.
    pub(crate) fn check(&self, request: &ExportMetricsServiceRequest) -> Checked {
        points(request).into_iter().try_for_each(|(series, now)| {
            let Some(before) = self.0.get(&series) else { return Ok(()) };
            let broken = format!("{series}: {now:?} after {before:?}");
            require!(now.temporality == before.temporality, "another temporality: {broken}");
            require!(now.time > before.time, "no later than before: {broken}");
            let is_new = now.start >= before.time;
            let is_further = now.start == before.start && before.total <= now.total;
            match now.temporality {
                1 => require!(is_new, "overlapping deltas: {broken}"),
                2 => require!(is_new || is_further, "fallen without a reset: {broken}"),
                _ => {}
            }
            Ok(())
        })
    }

    /// Keeps the points of an accepted request.
    pub(crate) fn take(&mut self, request: &ExportMetricsServiceRequest) {
        self.0.extend(points(request));
    }
}

/// Returns the points of a request, each with the identity of its series.
fn points(request: &ExportMetricsServiceRequest) -> Vec<(String, LastPoint)> {
    let mut all = Vec::new();
    for of in &request.resource_metrics {
        let resource = of.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        if text(resource, "service.instance.id").is_none() {
            continue;
        }
        let resource = name(resource);
        for metric in of.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let mut push = |temporality, attributes: &[KeyValue], times: (u64, u64), total| {
                let series = format!("{resource} {} {}", metric.name, name(attributes));
                all.push((series, LastPoint { temporality, start: times.0, time: times.1, total }));
            };
            match metric.data.as_ref() {
                Some(Data::Gauge(gauge)) => gauge.data_points.iter().for_each(|point| {
                    push(0, &point.attributes, (point.start_time_unix_nano, point.time_unix_nano), None);
                }),
                Some(Data::Sum(sum)) => sum.data_points.iter().for_each(|point| {
                    let total = match point.value {
                        Some(Value::AsInt(value)) => value as f64,
                        Some(Value::AsDouble(value)) => value,
                        None => f64::NAN,
                    };
                    let times = (point.start_time_unix_nano, point.time_unix_nano);
                    let total = sum.is_monotonic.then_some(total);
                    push(sum.aggregation_temporality, &point.attributes, times, total);
                }),
                Some(Data::Histogram(of)) => of.data_points.iter().for_each(|point| {
                    let times = (point.start_time_unix_nano, point.time_unix_nano);
                    push(of.aggregation_temporality, &point.attributes, times, Some(point.count as f64));
                }),
                Some(Data::ExponentialHistogram(of)) => of.data_points.iter().for_each(|point| {
                    let times = (point.start_time_unix_nano, point.time_unix_nano);
                    push(of.aggregation_temporality, &point.attributes, times, Some(point.count as f64));
                }),
                Some(Data::Summary(_)) | None => {}
            }
        }
    }
    all
}

/// Formats attributes independently of their order.
pub(crate) fn name(attributes: &[KeyValue]) -> String {
    let mut all: Vec<String> = attributes
        .iter()
        .map(|attribute| {
            format!("{}={:?}", attribute.key, attribute.value.as_ref().and_then(|value| value.value.as_ref()))
        })
        .collect();
    all.sort_unstable();
    format!("{{{}}}", all.join(","))
}
