//! Requests with metrics.

use std::collections::BTreeMap;

use super::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use super::proto::common::v1::{KeyValue, any_value};
use super::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use super::proto::metrics::v1::metric::Data;
use super::proto::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, number_data_point,
};
use super::{Encoding, Process, attribute, scope};
use crate::snapshot::{FamilySnapshot, Series};
use crate::{ExponentialValue, FamilyKind, Identity, LabelPairs, Number, Snapshot, Value};

/// The temporality of a request's values, and the times that they cover.
///
/// Times are by the wall clock, in nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Cumulative values: a [`Snapshot`] of the registry.
    Cumulative {
        /// The start of counting, for series whose [creation time](crate::Series::created) is not
        /// known.
        start: u64,
        /// The time of the snapshot.
        time: u64,
    },
    /// Deltas: a result of [`Snapshot::since`].
    Delta {
        /// The time of the earlier snapshot.
        start: u64,
        /// The time of the later snapshot.
        time: u64,
    },
    /// Deltas of counters and histograms, and cumulative values of all else: a result of
    /// [`Snapshot::monotonic_delta`].
    MonotonicDelta {
        /// The start of counting.
        start: u64,
        /// The time of the earlier snapshot.
        since: u64,
        /// The time of the later snapshot.
        time: u64,
    },
}

impl Period {
    /// Returns the start and the end of a series of this kind.
    fn times(self, kind: FamilyKind, series: Series<'_>) -> (u64, u64) {
        let (start, time) = match self {
            Self::Delta { start, time } => (start, time),
            Self::MonotonicDelta { since, time, .. } if kind != FamilyKind::UpDownCounter => (since, time),
            Self::Cumulative { start, time } | Self::MonotonicDelta { start, time, .. } => {
                (series.created().unwrap_or(start), time)
            }
        };
        // A start time never changes, because another one would be a reset. If the clock was set
        // back behind it, the point gets the start time as its time.
        (start, time.max(start))
    }

    fn temporality(self, kind: FamilyKind) -> i32 {
        match self {
            Self::Cumulative { .. } => AggregationTemporality::Cumulative.into(),
            Self::MonotonicDelta { .. } if kind == FamilyKind::UpDownCounter => {
                AggregationTemporality::Cumulative.into()
            }
            Self::Delta { .. } | Self::MonotonicDelta { .. } => AggregationTemporality::Delta.into(),
        }
    }
}

/// Builds the request that exports a snapshot, by component. Metrics without a component have the
/// process's own resource.
///
/// Names are those of the exposition formats, with `_total`, so that a metric has one name in all
/// formats. Counters are monotonic sums, up-down counters are other sums, and an info metric is a
/// gauge of 1. A gauge or a histogram's sum that is NaN or infinite is omitted in JSON, which
/// cannot express it.
///
/// ```
/// # use std::time::Duration;
/// use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
///
/// let registry = wasmetry_host::Registry::new();
/// let jobs = registry.counter("jobs_total", "Jobs done.", &["component", "queue"]);
/// jobs.with(&["post", "mail"]).add(3);
/// let start = 1_700_000_000_000_000_000;
/// let period = Period::Cumulative { start, time: start + 60_000_000_000 };
/// let snapshot = registry.snapshot(Duration::ZERO);
/// let request = otlp::metrics(&snapshot, period, &Process::default(), Encoding::Protobuf);
/// let mut resources = request.resource_metrics.iter();
/// let post = resources.find(|resource| resource.scope_metrics[0].metrics[0].name == "jobs_total");
/// assert_eq!(post.unwrap().resource.as_ref().unwrap().attributes[0].key, "service.name");
/// ```
pub fn metrics(
    snapshot: &Snapshot,
    period: Period,
    process: &Process,
    encoding: Encoding,
) -> ExportMetricsServiceRequest {
    let mut components: BTreeMap<Identity, Vec<Metric>> = BTreeMap::new();
    for family in snapshot.families() {
        let mut points: BTreeMap<Identity, Points> = BTreeMap::new();
        for series in family.series() {
            let (identity, attributes) = split(series.labels());
            let points = points.entry(identity).or_insert_with(|| Points::of(series.value()));
            points.push(family, period, attributes, series, encoding);
        }
        for (identity, points) in points.into_iter().filter(|(_, points)| !points.is_empty()) {
            components.entry(identity).or_default().push(Metric {
                name: family.name().to_owned(),
                description: family.help().to_owned(),
                unit: unit(family.unit()).to_owned(),
                data: Some(points.data(family.kind(), period)),
                ..Metric::default()
            });
        }
    }
    let resource_metrics = components.into_iter().map(|(identity, metrics)| ResourceMetrics {
        resource: Some(process.resource(&identity, false)),
        scope_metrics: vec![ScopeMetrics { scope: scope(""), metrics, schema_url: String::new() }],
        schema_url: String::new(),
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
}

/// Returns the number of data points in a request.
pub fn points(request: &ExportMetricsServiceRequest) -> usize {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let points = |metric: &Metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        // This encoder writes no other kind.
        _ => 0,
    };
    scopes.flat_map(|scope| &scope.metrics).map(points).sum()
}

/// Divides labels into the component's identity and attributes.
fn split(labels: LabelPairs<'_>) -> (Identity, Vec<KeyValue>) {
    let mut values: [String; 3] = Default::default();
    let mut attributes = Vec::new();
    for (key, value) in labels {
        match Identity::KEYS.iter().position(|own| *own == key) {
            Some(at) => values[at] = value.into_owned(),
            None => attributes.push(attribute(key, any_value::Value::StringValue(value.into_owned()))),
        }
    }
    let [component, version, tenant] = values;
    // A resource needs a service name.
    let component = if component.is_empty() { "wasmetry".to_owned() } else { component };
    (Identity::new(component).with_version(version).with_tenant(tenant), attributes)
}

/// Returns a unit in the protocol's notation, that of UCUM (case-sensitive).
///
/// Source: OpenTelemetry, "Prometheus and OpenMetrics Compatibility", Metric Metadata.
fn unit(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        "meters" => "m",
        "volts" => "V",
        "amperes" => "A",
        "joules" => "J",
        "grams" => "g",
        "celsius" => "Cel",
        "ratio" => "1",
        other => other,
    }
}

/// The series of one metric in one resource.
enum Points {
    Numbers(Vec<NumberDataPoint>),
    Histograms(Vec<HistogramDataPoint>),
    Exponentials(Vec<ExponentialHistogramDataPoint>),
}

impl Points {
    /// Creates a metric without series. All of its series will have values of this one's kind.
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Number(_) => Self::Numbers(Vec::new()),
            Value::Histogram { .. } => Self::Histograms(Vec::new()),
            Value::Exponential(_) => Self::Exponentials(Vec::new()),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(points) => points.is_empty(),
            Self::Histograms(points) => points.is_empty(),
            Self::Exponentials(points) => points.is_empty(),
        }
    }

    fn push(
        &mut self,
        family: &FamilySnapshot,
        period: Period,
        attributes: Vec<KeyValue>,
        series: Series<'_>,
        encoding: Encoding,
    ) {
        let (start_time_unix_nano, time_unix_nano) = period.times(family.kind(), series);
        // The specification requires exemplars of the period only.
        let exemplars = || {
            let all = series.exemplars().map(|(_, observed)| observed);
            all.filter(|observed| (start_time_unix_nano..=time_unix_nano).contains(&observed.time))
                .map(exemplar)
                .collect()
        };
        match (self, series.value()) {
            (Self::Numbers(points), Value::Number(value)) => {
                // JSON cannot express the number.
                if !encoding.has(value) {
                    return;
                }
                points.push(NumberDataPoint {
                    attributes,
                    // A gauge has no start time.
                    start_time_unix_nano: if is_sum(family.kind()) { start_time_unix_nano } else { 0 },
                    time_unix_nano,
                    value: Some(number(value)),
                    ..NumberDataPoint::default()
                });
            }
            (Self::Histograms(points), Value::Histogram { counts, sum }) => points.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count: counts.iter().fold(0, |all, count| all.saturating_add(*count)),
                // Source: `metrics.proto`, `HistogramDataPoint.sum`: only of values that are not
                // negative.
                sum: Some(sum.as_f64()).filter(|_| encoding.has(sum) && !takes_negative(family)),
                bucket_counts: counts.to_vec(),
                explicit_bounds: family.bounds().to_vec(),
                exemplars: exemplars(),
                ..HistogramDataPoint::default()
            }),
            (Self::Exponentials(points), Value::Exponential(value)) => points.push(ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count: value.count(),
                sum: Some(value.sum().as_f64()).filter(|_| encoding.has(value.sum())),
                scale: value.scale(),
                zero_count: value.zero_count(),
                positive: Some(Buckets { offset: value.first_index(), bucket_counts: value.counts().to_vec() }),
                zero_threshold: ExponentialValue::ZERO_THRESHOLD,
                exemplars: exemplars(),
                ..ExponentialHistogramDataPoint::default()
            }),
            // In one component, all series of a family have values of one kind.
            _ => {}
        }
    }

    fn data(self, kind: FamilyKind, period: Period) -> Data {
        let aggregation_temporality = period.temporality(kind);
        match (self, kind) {
            (Self::Numbers(data_points), kind) if is_sum(kind) => {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: kind == FamilyKind::Counter })
            }
            (Self::Numbers(data_points), _) => Data::Gauge(Gauge { data_points }),
            (Self::Histograms(data_points), _) => Data::Histogram(Histogram { data_points, aggregation_temporality }),
            (Self::Exponentials(data_points), _) => {
                Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
            }
        }
    }
}

impl Encoding {
    /// Returns `true` if the encoding can express the number: JSON has neither NaN nor infinities.
    fn has(self, number: Number) -> bool {
        self == Self::Protobuf || number.as_f64().is_finite()
    }
}

fn is_sum(kind: FamilyKind) -> bool {
    matches!(kind, FamilyKind::Counter | FamilyKind::UpDownCounter)
}

/// Returns `true` if a histogram may have values below zero.
fn takes_negative(family: &FamilySnapshot) -> bool {
    family.bounds().first().is_some_and(|bound| *bound < 0.0)
}

fn exemplar(observed: &crate::Exemplar) -> Exemplar {
    Exemplar {
        time_unix_nano: observed.time,
        trace_id: observed.trace_id.to_bytes().to_vec(),
        span_id: observed.span_id.to_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(observed.value.as_f64())),
        ..Exemplar::default()
    }
}

fn number(value: Number) -> number_data_point::Value {
    match value {
        Number::Unsigned(value) => match i64::try_from(value) {
            Ok(value) => number_data_point::Value::AsInt(value),
            Err(_) => number_data_point::Value::AsDouble(value as f64),
        },
        Number::Signed(value) => number_data_point::Value::AsInt(value),
        value => number_data_point::Value::AsDouble(value.as_f64()),
    }
}
