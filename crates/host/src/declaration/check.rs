//! The rules for declarations, which hold for every binary, whatever built it.

use std::borrow::Cow;
use std::collections::HashSet;

use wasmetry_abi::layout::{EntryLayout, Offsets};
use wasmetry_abi::{Kind, LabelShape, Record, name};

use super::{Label, LabelValues, Metric, label_values};
use crate::{Identity, limits};

/// Converts a record to a metric. Returns an error that names the broken rule.
pub(crate) fn metric(record: &Record<'_>) -> Result<Metric, String> {
    let descriptor = &record.descriptor;
    match descriptor.kind {
        Kind::CounterU64 | Kind::CounterF64 => name::counter(descriptor.name)?,
        Kind::Info => name::info(descriptor.name)?,
        _ => name::gauge_or_histogram(descriptor.name)?,
    }
    if !descriptor.unit.is_empty() {
        name::unit(descriptor.unit, descriptor.name)?;
    }
    if descriptor.help.len() > limits::HELP {
        return Err(format!("its help text has more than {} bytes", limits::HELP));
    }
    match descriptor.kind {
        Kind::HistogramF64 | Kind::HistogramNanos => name::buckets(descriptor.bounds())?,
        _ if descriptor.bounds().len() > 0 => return Err("only histograms with explicit buckets have bounds".into()),
        Kind::ExponentialF64 | Kind::ExponentialNanos => name::max_buckets(descriptor.max_buckets.into())?,
        _ => {}
    }
    if descriptor.kind == Kind::Info && descriptor.labels().count() > 0 {
        return Err("an info metric has constant labels only".into());
    }
    if descriptor.labels().count() + descriptor.const_labels().count() > limits::LABELS {
        return Err(format!("it has more than {} labels", limits::LABELS));
    }

    let mut keys = HashSet::new();
    for key in descriptor.labels().map(|label| label.key).chain(descriptor.const_labels().map(|(key, _)| key)) {
        name::label(key).map_err(|problem| format!("label `{}`: {problem}", key.escape_debug()))?;
        if !keys.insert(key) {
            return Err(format!("label `{key}` is there twice"));
        }
    }
    for label in descriptor.labels() {
        values(label.shape).map_err(|problem| format!("label `{}`: {problem}", label.key))?;
    }
    if let Some((key, _)) = descriptor.const_labels().find(|(_, value)| value.len() > limits::LABEL_VALUE) {
        return Err(format!("label `{key}`: its value has more than {} bytes", limits::LABEL_VALUE));
    }

    // The numbers of series and words do not depend on the pointer width.
    let Some(layout) = EntryLayout::of(descriptor, &Offsets::WIDTH_8) else {
        return Err("its size does not fit in 64 bits".into());
    };
    if layout.series > limits::SERIES_PER_ENTRY {
        return Err(format!("it has {} series in one instance, more than {}", layout.series, limits::SERIES_PER_ENTRY));
    }
    if layout.series * layout.words > limits::WORDS_PER_ENTRY {
        return Err(format!("its series have more than {} words", limits::WORDS_PER_ENTRY));
    }
    Ok(Metric {
        hash: record.hash,
        name: descriptor.name.to_owned(),
        kind: descriptor.kind,
        help: descriptor.help.to_owned(),
        unit: descriptor.unit.to_owned(),
        merge: descriptor.merge,
        labels: descriptor
            .labels()
            .map(|label| Label { key: label.key.to_owned(), values: label_values(label.shape) })
            .collect(),
        const_labels: descriptor.const_labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        buckets: descriptor.bounds().collect(),
        max_buckets: descriptor.max_buckets,
        is_observed: descriptor.is_observed,
    })
}

fn values(shape: LabelShape<'_>) -> Result<(), String> {
    match shape {
        LabelShape::Values(values) => {
            let mut seen = HashSet::new();
            for value in values.iter() {
                if value.len() > limits::LABEL_VALUE {
                    return Err(format!("a value has more than {} bytes", limits::LABEL_VALUE));
                }
                if !seen.insert(value) {
                    return Err(format!("the value `{}` is there twice", value.escape_debug()));
                }
            }
            if seen.is_empty() { Err("it has no values".into()) } else { Ok(()) }
        }
        LabelShape::Text { max_len, .. } if max_len as usize > limits::LABEL_VALUE => {
            Err(format!("its texts may have more than {} bytes", limits::LABEL_VALUE))
        }
        // The limit of series covers the other shapes.
        LabelShape::Below(_) | LabelShape::Text { .. } => Ok(()),
    }
}

/// An upper bound of the bytes of a metric's rendered labels, without the identity's.
///
/// Of series with text labels only the overflow series is known in advance. The others are counted
/// when they are created.
pub(super) fn label_text(metric: &Metric) -> u64 {
    let pair = |key: &str, value: u64| "exported_".len() as u64 + key.len() as u64 + value + 4;
    let escaped = |value: &String| 2 * value.len() as u64;
    let (mut series, mut text) = (1, 0);
    for (key, value) in &metric.const_labels {
        text += pair(key, escaped(value));
    }
    for label in &metric.labels {
        let longest = match &label.values {
            LabelValues::Listed(values) => values.iter().map(escaped).max().unwrap_or(0),
            LabelValues::Below(_) | LabelValues::Text { .. } => 10,
        };
        text += pair(&label.key, longest);
        if !matches!(label.values, LabelValues::Text { .. }) {
            series *= label.values.positions();
        }
    }
    series * text
}

/// The exported keys of a metric's labels: those of [`Metric::labels`], then those of
/// [`Metric::const_labels`].
///
/// A key that the identity has is renamed, as Prometheus renames a key that the target has.
pub(crate) fn exported_keys(metric: &Metric) -> Vec<Cow<'_, str>> {
    let declared: Vec<&str> = metric
        .labels
        .iter()
        .map(|label| label.key.as_str())
        .chain(metric.const_labels.iter().map(|(key, _)| key.as_str()))
        .collect();
    declared
        .iter()
        .map(|key| {
            let mut exported = Cow::Borrowed(*key);
            while Identity::KEYS.contains(&&*exported) || (exported != *key && declared.contains(&&*exported)) {
                exported = Cow::Owned(format!("exported_{exported}"));
            }
            exported
        })
        .collect()
}

/// The relation between the series of two declarations of one name in one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// The series are the same; only the help may differ.
    Same,
    /// No series is in both.
    Disjoint,
    /// A series may be in both, and the declarations differ.
    Clash,
}

impl Overlap {
    pub(crate) fn of(a: &Metric, b: &Metric) -> Self {
        if (a.kind, &a.unit, &a.merge) != (b.kind, &b.unit, &b.merge)
            || a.buckets != b.buckets
            || a.max_buckets != b.max_buckets
        {
            return Self::Clash;
        }
        if a.labels == b.labels && a.const_labels == b.const_labels {
            return Self::Same;
        }
        let (keys_a, keys_b) = (exported_keys(a), exported_keys(b));
        let disjoint = keys_a.iter().chain(&keys_b).any(|key| {
            let (a, b) = (Choice::of(a, &keys_a, key), Choice::of(b, &keys_b, key));
            match (a, b) {
                (Choice::Any, _) | (_, Choice::Any) => false,
                (Choice::Listed(a), Choice::Listed(b)) => a.is_disjoint(&b),
            }
        });
        if disjoint { Self::Disjoint } else { Self::Clash }
    }
}

/// The values of a metric's series for one key. An absent label has the empty value.
enum Choice<'a> {
    Listed(HashSet<&'a str>),
    Any,
}

impl<'a> Choice<'a> {
    fn of(metric: &'a Metric, keys: &[Cow<'_, str>], key: &str) -> Self {
        let Some(at) = keys.iter().position(|own| own == key) else { return Self::Listed([""].into()) };
        match metric.labels.get(at).map(|label| &label.values) {
            Some(LabelValues::Listed(values)) => Self::Listed(values.iter().map(String::as_str).collect()),
            Some(_) => Self::Any,
            None => Self::Listed([metric.const_labels[at - metric.labels.len()].1.as_str()].into()),
        }
    }
}
