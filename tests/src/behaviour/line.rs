//! The JSON lines of adapted apps, added up and written in the Prometheus text format.
//!
//! A line has the changes of one instance. Counters and histograms are added over all lines, so
//! that no instance needs an identity; of a gauge, the last value counts.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Number;

/// The bounds, as powers of four, that an exponential histogram of bytes has in the Prometheus text
/// format.
const POWERS: RangeInclusive<i32> = 0..=17;

/// The fields of a line that metrics need.
#[derive(Deserialize)]
struct Line {
    service: String,
    metrics: Vec<Metric>,
}

/// The change of one series in a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    r#type: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    labels: Labels,
    value: Option<Number>,
    count: Option<u64>,
    sum: Option<Number>,
    buckets: Option<Vec<Bucket>>,
    scale: Option<i32>,
    zero_count: Option<u64>,
    offset: Option<i32>,
    bucket_counts: Option<Vec<u64>>,
}

/// A bucket of a histogram with explicit bounds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bucket {
    le: Bound,
    count: u64,
}

/// A bucket's bound. JSON has no infinite number, so that `+Inf` is a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bound {
    Finite(f64),
    Other(String),
}

/// Labels, in the order of the line.
#[derive(Default)]
struct Labels(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Labels(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// An exact sum of integers and durations, and a floating sum of other numbers.
#[derive(Default)]
struct Sum {
    /// The sum of the integers, or of the durations in nanoseconds.
    whole: i128,
    /// The sum of the other numbers.
    rest: f64,
    is_duration: bool,
}

impl Sum {
    fn add(&mut self, number: &Number, unit: &str) {
        self.is_duration |= unit == "seconds";
        match number.as_i128() {
            _ if self.is_duration => self.whole += (number.as_f64().unwrap() * 1e9).round() as i128,
            Some(whole) => self.whole += whole,
            None => self.rest += number.as_f64().unwrap(),
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            let text = format!("{}.{:09}", self.whole / 1_000_000_000, self.whole % 1_000_000_000);
            formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
        } else if self.rest == 0.0 {
            self.whole.fmt(formatter)
        } else {
            (self.whole as f64 + self.rest).fmt(formatter)
        }
    }
}

/// The sum of all lines of one series.
#[derive(Default)]
struct Series {
    /// The value, or the sum of a histogram's values.
    sum: Sum,
    /// The counts of a histogram.
    counts: Option<Counts>,
}

/// A histogram's counts.
enum Counts {
    /// Counts by explicit bound, in rising order.
    Explicit(Vec<(f64, u64)>),
    /// Counts by index at a scale; at the scale s, the bucket i ends at 2^((i+1) / 2^s).
    Exponential { zero: u64, scale: i32, buckets: BTreeMap<i32, u64> },
}

/// Adds up the lines that begin with a brace, and returns the sums in the Prometheus text format.
///
/// # Panics
///
/// Panics if a line is not as `crates/adapter/LINES.md` specifies it.
pub(super) fn exposition(lines: &str) -> String {
    let mut all: BTreeMap<(String, String), Series> = BTreeMap::new();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}"));
        for metric in line.metrics {
            let labels = labels(&line.service, &metric.labels);
            all.entry((metric.name.clone(), labels)).or_default().add(metric);
        }
    }
    let mut text = String::new();
    for ((name, labels), series) in &all {
        series.write(&mut text, name, labels);
    }
    text
}

/// Formats labels after the component's own; a label without a value is left out.
fn labels(component: &str, labels: &Labels) -> String {
    let mut text = format!("component=\"{component}\"");
    for (key, value) in labels.0.iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = write!(text, ",{key}=\"{value}\"");
    }
    text
}

impl Series {
    fn add(&mut self, metric: Metric) {
        match metric.r#type.as_str() {
            "gauge" => {
                self.sum = Sum::default();
                self.sum.add(&metric.value.unwrap(), &metric.unit);
            }
            "counter" | "up_down_counter" => self.sum.add(&metric.value.unwrap(), &metric.unit),
            "histogram" => {
                self.sum.add(&metric.sum.unwrap(), &metric.unit);
                let counted = match (metric.buckets, metric.bucket_counts) {
                    (Some(buckets), None) => self.add_explicit(buckets),
                    (None, Some(counts)) => {
                        let zero = metric.zero_count.unwrap();
                        self.add_exponential(zero, metric.scale.unwrap(), metric.offset.unwrap(), &counts)
                    }
                    _ => panic!("{} has buckets of one kind", metric.name),
                };
                assert_eq!(metric.count, Some(counted), "{}", metric.name);
            }
            other => panic!("{} is a {other}", metric.name),
        }
    }

    /// Adds the counts of explicit buckets and returns their sum.
    fn add_explicit(&mut self, buckets: Vec<Bucket>) -> u64 {
        let Counts::Explicit(known) = self.counts.get_or_insert(Counts::Explicit(Vec::new())) else {
            panic!("a histogram of two kinds")
        };
        let mut counted = 0;
        for Bucket { le, count } in buckets {
            counted += count;
            let bound = match le {
                Bound::Finite(bound) => bound,
                Bound::Other(text) => text.parse().unwrap(),
            };
            match known.binary_search_by(|(known, _)| known.total_cmp(&bound)) {
                Ok(at) => known[at].1 += count,
                Err(at) => known.insert(at, (bound, count)),
            }
        }
        counted
    }

    /// Adds the counts of exponential buckets and returns their sum. The result has the coarser one
    /// of both scales.
    fn add_exponential(&mut self, zeros: u64, added_scale: i32, offset: i32, counts: &[u64]) -> u64 {
        let none = Counts::Exponential { zero: 0, scale: added_scale, buckets: BTreeMap::new() };
        let Counts::Exponential { zero, scale, buckets } = self.counts.get_or_insert(none) else {
            panic!("a histogram of two kinds")
        };
        *zero += zeros;
        let before = std::mem::replace(scale, added_scale.min(*scale));
        let known = std::mem::take(buckets).into_iter().map(|(index, count)| (index >> (before - *scale), count));
        let more = (offset..).zip(counts).map(|(index, count)| (index >> (added_scale - *scale), *count));
        for (index, count) in known.chain(more) {
            *buckets.entry(index).or_default() += count;
        }
        zeros + counts.iter().sum::<u64>()
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let mut line = |suffix: &str, more: &str, value: &dyn fmt::Display| {
            let _ = writeln!(text, "{name}{suffix}{{{labels}{more}}} {value}");
        };
        let (within, all) = match &self.counts {
            None => return line("", "", &self.sum),
            Some(counts) => counts.cumulative(),
        };
        for (bound, count) in within {
            line("_bucket", &format!(",le=\"{}\"", canonical(bound)), &count);
        }
        line("_bucket", ",le=\"+Inf\"", &all);
        line("_sum", "", &self.sum);
        line("_count", "", &all);
    }
}

/// Formats a bound as OpenMetrics does: with a point, or from a million on with an exponent of two
/// digits.
fn canonical(bound: f64) -> String {
    let (digits, exponent) = (format!("{bound:?}"), format!("{bound:e}"));
    match exponent.split_once('e') {
        Some((mantissa, exponent)) if bound >= 1e6 => format!("{mantissa}e+{exponent:0>2}"),
        _ => digits,
    }
}

impl Counts {
    /// Returns the cumulative count of each finite bound, and the count of all values.
    fn cumulative(&self) -> (Vec<(f64, u64)>, u64) {
        match self {
            Self::Explicit(buckets) => {
                let mut all = 0;
                let sums = buckets.iter().map(|(bound, count)| {
                    all += count;
                    (*bound, all)
                });
                (sums.filter(|(bound, _)| bound.is_finite()).collect(), buckets.iter().map(|(_, count)| count).sum())
            }
            Self::Exponential { zero, scale, buckets } => {
                let within = |exponent: f64| {
                    let ends = |index: i32| f64::from(index + 1) / f64::from(*scale).exp2();
                    let counts = buckets.iter().filter(|(index, _)| ends(**index) <= exponent).map(|(_, count)| count);
                    zero + counts.sum::<u64>()
                };
                let bounds = POWERS.map(|power| (4f64.powi(power), within(f64::from(2 * power))));
                (bounds.collect(), within(f64::INFINITY))
            }
        }
    }
}
