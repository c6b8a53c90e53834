//! Families: what all series of one name have in common, and who may use which name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::encode::text;

/// The type of a family, in the words of the exposition formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FamilyKind {
    /// It only rises.
    Counter,
    /// It rises and falls by differences, which add up over instances; a gauge in the exposition formats.
    UpDownCounter,
    /// It has one value or another.
    Gauge,
    /// A histogram with explicit bounds.
    Histogram,
    /// A constant 1 whose labels are the information.
    Info,
}

impl FamilyKind {
    /// Whether a value is what has come together since a moment.
    pub(crate) const fn has_beginning(self) -> bool {
        matches!(self, Self::Counter | Self::UpDownCounter | Self::Histogram)
    }

    /// The type's name in OpenMetrics; the older text format has no `info` and calls it a gauge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::UpDownCounter => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What all series of one name have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyInfo {
    pub(crate) name: String,
    pub(crate) kind: FamilyKind,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) bounds: Vec<f64>,
    /// `le="0.1"} ` for each bound and for `+Inf`.
    pub(crate) buckets: Vec<String>,
}

impl FamilyInfo {
    pub(crate) fn new(name: &str, kind: FamilyKind, help: &str, unit: &str, bounds: &[f64]) -> Self {
        let mut buckets = Vec::new();
        if kind == FamilyKind::Histogram {
            for bound in bounds.iter().chain([&f64::INFINITY]) {
                let mut text = String::from("le=\"");
                text::canonical_float(&mut text, *bound);
                text.push_str("\"} ");
                buckets.push(text);
            }
        }
        Self {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            unit: unit.to_owned(),
            bounds: bounds.to_owned(),
            buckets,
        }
    }

    /// The family's name in OpenMetrics, which leaves a counter's `_total` and an info metric's `_info` to the sample.
    pub(crate) fn stem(&self) -> &str {
        match self.kind {
            FamilyKind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            FamilyKind::Info => self.name.strip_suffix("_info").unwrap_or(&self.name),
            FamilyKind::Gauge | FamilyKind::UpDownCounter | FamilyKind::Histogram => &self.name,
        }
    }

    /// Whether both may be the same family; the help is not worth a difference.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.unit == other.unit && self.bounds == other.bounds
    }

    /// Every name that the family or a sample of it has in one of the formats.
    fn names(&self) -> impl Iterator<Item = String> {
        let suffixes: &[&str] = match self.kind {
            FamilyKind::Counter => &["", "_total", "_created"],
            FamilyKind::Gauge | FamilyKind::UpDownCounter => &[""],
            FamilyKind::Info => &["", "_info"],
            FamilyKind::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        };
        let stem = self.stem().to_owned();
        suffixes.iter().map(move |suffix| format!("{stem}{suffix}"))
    }
}

/// Whose series a family holds.
///
/// The host's and the guests' never mix, so that no guest can write what looks like the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Guests,
    Host,
}

/// The families of one registry.
#[derive(Debug, Default)]
pub(crate) struct Families {
    by_name: HashMap<String, (Arc<FamilyInfo>, Owner)>,
    /// For every name in the output, the family that it belongs to.
    taken: HashMap<String, String>,
}

impl Families {
    /// Returns the family of that name, made now if there is none, or nothing where a family stands in the way that is
    /// of another type, unit, buckets or owner.
    pub(crate) fn claim(&mut self, info: FamilyInfo, owner: Owner) -> Option<Arc<FamilyInfo>> {
        if let Some((known, its_owner)) = self.by_name.get(&info.name) {
            return (known.is_like(&info) && *its_owner == owner).then(|| known.clone());
        }
        if info.names().any(|name| self.taken.contains_key(&name)) {
            return None;
        }
        for name in info.names() {
            self.taken.insert(name, info.name.clone());
        }
        let info = Arc::new(info);
        self.by_name.insert(info.name.clone(), (info.clone(), owner));
        Some(info)
    }

    /// A family of guests that a claim of theirs would fail for.
    pub(crate) fn in_the_way(&self, info: &FamilyInfo) -> Option<String> {
        let known = self.by_name.get(&info.name).map(|(known, _)| known);
        if known.is_some_and(|known| known.is_like(info)) {
            return None;
        }
        let mut names = info.names().filter_map(|name| self.taken.get(&name));
        names.find(|family| self.by_name.get(*family).is_some_and(|(_, owner)| *owner == Owner::Guests)).cloned()
    }

    /// Forgets the families of guests whose names are not wanted.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.by_name.retain(|name, (_, owner)| *owner == Owner::Host || is_wanted(name));
        self.taken.retain(|_, family| self.by_name.contains_key(family));
    }
}
