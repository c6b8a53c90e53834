//! The series of a captured metric.

extern crate std;

use core::fmt::Write;

use wasmetry_abi::layout::{EntryLayout, Offsets, scratch_words};
use wasmetry_abi::{Descriptor, Kind, LabelShape, Records, exponential};

use crate::sync::{AtomicU64, Ordering};
use crate::testing::capture::{CapturedMetric, String, Vec};

/// One recorded series.
pub(super) struct Series {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
    pub(super) sum: Option<f64>,
}

impl Series {
    pub(super) fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && self.labels.len() == labels.len()
            && self.labels.iter().all(|(key, value)| labels.contains(&(key, value)))
    }

    pub(super) fn line(&self) -> String {
        let mut line = String::from(self.name);
        for (i, (key, value)) in self.labels.iter().enumerate() {
            let open = if i == 0 { "{" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(line, "{open}{key}={value:?}");
        }
        let close = if self.labels.is_empty() { "" } else { "}" };
        let _ = write!(line, "{close} {}", self.value);
        line
    }
}

impl CapturedMetric {
    fn descriptor(&self) -> Option<Descriptor<'static>> {
        Some(Records::new(self.record).next()?.ok()?.descriptor)
    }

    /// The reason why the metric has no series with these labels, if it has the name.
    pub(super) fn problem(&self, name: &str, labels: &[(&str, &str)]) -> Option<String> {
        let descriptor = self.descriptor().filter(|descriptor| descriptor.name == name)?;
        let constant = descriptor.const_labels().map(|(key, _)| key);
        let keys: Vec<&str> = descriptor.labels().map(|label| label.key).chain(constant).collect();
        let is_given = |key: &&str| labels.iter().any(|(given, _)| given == key);
        if labels.len() != keys.len() || !keys.iter().all(is_given) {
            let keys: Vec<String> = keys.iter().map(|key| std::format!("`{key}`")).collect();
            let has = if keys.is_empty() { "no labels".into() } else { std::format!("the labels {}", keys.join(", ")) };
            return Some(std::format!("`{name}` has {has}: give exactly these"));
        }
        descriptor.labels().find_map(|label| {
            let (key, value) = labels.iter().find(|(key, _)| *key == label.key)?;
            let LabelShape::Values(values) = label.shape else { return None };
            let known: Vec<String> = values.iter().map(|value| std::format!("`{value}`")).collect();
            let is_known = values.iter().any(|known| known == *value);
            (!is_known)
                .then(|| std::format!("the label `{key}` of `{name}` is never `{value}`, but {}", known.join(", ")))
        })
    }

    pub(super) fn series(&self) -> Vec<Series> {
        let Some(descriptor) = self.descriptor() else { return Vec::new() };
        let Some(layout) = EntryLayout::of(&descriptor, &Offsets::WIDTH_8) else { return Vec::new() };
        let scratch = scratch_words(descriptor.kind, descriptor.max_buckets);
        let series = self.words[scratch..].chunks_exact(layout.words as usize).enumerate();
        series.filter_map(|(position, words)| self.one(&descriptor, position, words)).collect()
    }

    fn one(&self, descriptor: &Descriptor<'static>, position: usize, words: &[AtomicU64]) -> Option<Series> {
        let words: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        if words.iter().all(|word| *word == 0) {
            return None;
        }
        let keys = descriptor.labels().map(|label| label.key).zip((self.values_at)(position));
        let constant = descriptor.const_labels().map(|(key, value)| (key, String::from(value)));
        let count = |first: usize| words[first..].iter().sum::<u64>() as f64;
        let (value, sum) = match descriptor.kind {
            Kind::CounterF64 | Kind::UpDownF64 | Kind::GaugeF64 => (f64::from_bits(words[0]), None),
            Kind::UpDownI64 | Kind::GaugeI64 => (words[0].cast_signed() as f64, None),
            Kind::HistogramF64 => (count(1), Some(f64::from_bits(words[0]))),
            Kind::HistogramNanos => (count(1), Some(words[0] as f64 / 1e9)),
            Kind::ExponentialF64 => (count(exponential::ZERO), Some(f64::from_bits(words[exponential::SUM]))),
            Kind::ExponentialNanos => (count(exponential::ZERO), Some(words[exponential::SUM] as f64 / 1e9)),
            _ => (words[0] as f64, None),
        };
        Some(Series { name: descriptor.name, labels: keys.chain(constant).collect(), value, sum })
    }
}
