//! Prometheus' Protocol Buffers format: a delimited `io.prometheus.client.MetricFamily` for each
//! family.
//!
//! Exponential histograms are native histograms. They also have the explicit buckets of the text
//! formats, for servers that support only those. An info metric is a gauge, as in the text format.
//! The exemplars of a native histogram are those of its explicit buckets, in both places where
//! servers look for them.
//!
//! Source: `metrics.proto` of prometheus/client_model, and Prometheus, "Native Histograms".

mod histogram;
mod message;

use prost::Message;

use self::message::{Counter, Family, Gauge, LabelPair, Metric, MetricType, Metrics, Timestamp};
use crate::snapshot::{FamilySnapshot, Series, Snapshot, Value};
use crate::{FamilyKind, LabelPairs};

/// The media type of the format.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

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

/// Appends an encoded snapshot to `out`.
pub fn encode_into(snapshot: &Snapshot, out: &mut Vec<u8>) {
    write(snapshot, &mut Position::default(), out, usize::MAX);
}

/// The position in a snapshot's bytes: their start by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    family: usize,
    /// `true` if the beginning of the family's message is written.
    has_begun: bool,
    block: usize,
    index: usize,
}

impl Position {
    /// Returns `true` behind the last byte.
    pub(super) fn is_end(self, snapshot: &Snapshot) -> bool {
        self.family >= snapshot.families.len()
    }

    /// Returns the series at the position, and moves the position behind it.
    fn next<'a>(&mut self, family: &'a FamilySnapshot) -> Option<Series<'a>> {
        loop {
            let block = family.blocks.get(self.block)?;
            if self.index < block.len() {
                self.index += 1;
                return Some(block.at(self.index - 1));
            }
            (self.block, self.index) = (self.block + 1, 0);
        }
    }
}

/// Appends a snapshot from a position on, and moves the position behind what is written: to the
/// end, or to the end of the series at which the output has `size` bytes.
pub(super) fn write(snapshot: &Snapshot, position: &mut Position, out: &mut Vec<u8>, size: usize) {
    let mut encoder = Encoder { metrics: Metrics { metric: vec![Metric::default()] }, message: Vec::new() };
    while let Some(family) = snapshot.families.get(position.family) {
        if out.len() >= size {
            return;
        }
        // Receivers skip a family without series, whose message has metadata only.
        if family.series().next().is_some() && !std::mem::replace(&mut position.has_begun, true) {
            encoder.begin(family, position, out, size);
        }
        while out.len() < size
            && let Some(series) = position.next(family)
        {
            encoder.set(family, series);
            append(&encoder.metrics, out);
        }
        if position.next(family).is_some() {
            position.index -= 1;
            return;
        }
        *position = Position { family: position.family + 1, ..Position::default() };
    }
}

/// The buffers of one series, which serve the next.
struct Encoder {
    metrics: Metrics,
    message: Vec<u8>,
}

impl Encoder {
    /// Appends the beginning of a family's message: its length, its metadata and the series up to
    /// `size` bytes. The length of the others is found without keeping them.
    fn begin(&mut self, family: &FamilySnapshot, position: &mut Position, out: &mut Vec<u8>, size: usize) {
        self.message.clear();
        append(&Family::new(family), &mut self.message);
        let room = size - out.len();
        while self.message.len() < room
            && let Some(series) = position.next(family)
        {
            self.set(family, series);
            append(&self.metrics, &mut self.message);
        }
        let mut length = self.message.len();
        let mut rest = *position;
        while let Some(series) = rest.next(family) {
            self.set(family, series);
            length += self.metrics.encoded_len();
        }
        // The fields of a message may be in any order.
        append_length(length, out);
        out.extend_from_slice(&self.message);
    }

    fn set(&mut self, family: &FamilySnapshot, series: Series<'_>) {
        let metric = &mut self.metrics.metric[0];
        set_labels(&mut metric.label, series.labels());
        metric.set_value(family, series);
    }
}

fn append(message: &impl Message, out: &mut Vec<u8>) {
    // A vector grows, so this cannot fail.
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

impl Family {
    fn new(family: &FamilySnapshot) -> Self {
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
        let created_timestamp = series.created().map(Timestamp::new);
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
                // A coarser scale than a native histogram can have is rare: values differ by more
                // than a factor of 2^(16·N).
                histogram.set_native(Some(value).filter(|value| value.scale() >= histogram::MIN_SCHEMA));
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

#[cfg(test)]
mod tests;
