//! OTLP of a command under test, as `wasmetry-sink` receives it.

mod received;

use std::collections::BTreeMap;

use wasmetry_sink::proto::common::v1::any_value::Value;
use wasmetry_sink::proto::common::v1::{AnyValue, KeyValue};
use wasmetry_sink::proto::logs::v1::LogRecord;
use wasmetry_sink::proto::metrics::v1::metric::Data;
use wasmetry_sink::proto::metrics::v1::number_data_point::Value as Number;
use wasmetry_sink::proto::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use wasmetry_sink::proto::trace::v1::Span;
use wasmetry_sink::{Reply, Sink};

pub use received::ReceivedMetrics;

/// The transports of OTLP, as `OTEL_EXPORTER_OTLP_PROTOCOL` names them.
pub const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];

/// Attribute values by key, each as a text.
pub type Attributes = BTreeMap<String, String>;

/// Received records, each with the attributes of its resource.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// The spans.
    pub spans: Vec<(Attributes, Span)>,
    /// The log records.
    pub logs: Vec<(Attributes, LogRecord)>,
    /// The lines that guests have printed.
    pub printed: Vec<(Attributes, LogRecord)>,
    /// The metrics of all exports.
    pub metrics: Vec<(Attributes, Metric)>,
}

/// A running collector that accepts everything that OTLP allows. Dropping it stops it.
pub struct Collector {
    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    /// The value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: &'static str,
    sink: Sink,
}

impl Collector {
    /// Starts a collector of one of [`PROTOCOLS`] on a free port.
    pub fn start(protocol: &'static str) -> Self {
        let sink = if protocol == "grpc" { Sink::grpc(|_| Reply::Accept) } else { Sink::start(|_| Reply::Accept) };
        Self { endpoint: sink.url("/"), protocol, sink }
    }

    /// Returns environment variables that export everything to this collector with a short schedule
    /// delay.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        variables(&self.endpoint, self.protocol)
    }

    /// Waits until `is_done` returns `true` for the received records, and returns them.
    ///
    /// # Panics
    ///
    /// Panics if that takes too long or if a request was refused.
    pub fn wait(&self, mut is_done: impl FnMut(&Arrived) -> bool) -> Arrived {
        let mut arrived = Arrived::default();
        self.sink.wait(|state| {
            assert_eq!(state.broken, [""; 0]);
            let (logs, spans, metrics) = (state.logs(), state.spans(), state.metrics());
            let logs = logs.into_iter().map(|log| (attributes(&log.resource.attributes), log.record));
            let is_printed =
                |(_, log): &(Attributes, LogRecord)| attributes(&log.attributes).contains_key("log.iostream");
            let (printed, logs) = logs.partition(is_printed);
            arrived = Arrived {
                logs,
                printed,
                spans: spans.into_iter().map(|span| (attributes(&span.resource.attributes), span.record)).collect(),
                metrics: metrics.into_iter().map(|of| (attributes(&of.resource.attributes), of.record)).collect(),
            };
            is_done(&arrived)
        });
        arrived
    }
}

/// Returns environment variables that export everything to an endpoint with a short schedule delay.
pub fn variables(endpoint: &str, protocol: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10".to_owned()),
    ]
}

/// Returns the sum of a counter's deltas, or of the deltas of a histogram's count, over the series
/// whose attributes include `labels`.
///
/// # Panics
///
/// Panics if the temporality is not delta.
pub fn sum_of_deltas(metrics: &[wasmetry_sink::Arrived<Metric>], name: &str, labels: &[(&str, &str)]) -> u64 {
    let mut all = 0;
    for metric in metrics.iter().map(|arrived| &arrived.record).filter(|metric| metric.name == name) {
        let matches = |of: &[KeyValue]| {
            let of = attributes(of);
            labels.iter().all(|(key, value)| of.get(*key).map(String::as_str) == Some(value))
        };
        let (temporality, sums): (_, u64) = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                let points = sum.data_points.iter().filter(|point| matches(&point.attributes));
                let value = |point: &NumberDataPoint| match point.value.unwrap() {
                    Number::AsInt(value) => u64::try_from(value).unwrap(),
                    Number::AsDouble(value) => panic!("{name} is {value}"),
                };
                (sum.aggregation_temporality(), points.map(value).sum())
            }
            Data::Histogram(of) => {
                let points = of.data_points.iter().filter(|point| matches(&point.attributes));
                (of.aggregation_temporality(), points.map(|point| point.count).sum())
            }
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(temporality, AggregationTemporality::Delta, "{name}");
        all += sums;
    }
    all
}

/// Returns attribute values by key.
pub fn attributes(attributes: &[KeyValue]) -> Attributes {
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

/// Returns a value as a text.
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is_true)) => is_true.to_string(),
        other => format!("{other:?}"),
    }
}
