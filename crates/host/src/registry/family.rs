//! Families: the series of one name, and who may use which name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Identity;
use crate::encode::text;

/// The type of a family, in the words of the exposition formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FamilyKind {
    /// A sum that only rises.
    Counter,
    /// A sum that rises and falls; a gauge in the exposition formats.
    UpDownCounter,
    /// A value that is set.
    Gauge,
    /// A histogram with explicit bounds.
    Histogram,
    /// A constant 1 with information in its labels.
    Info,
}

impl FamilyKind {
    /// Returns `true` if a value is a sum since a start time.
    pub(crate) const fn has_start_time(self) -> bool {
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

    /// Returns the type's name with its article, for a sentence.
    const fn with_article(self) -> &'static str {
        match self {
            Self::Counter => "a counter",
            Self::UpDownCounter => "an up/down counter",
            Self::Gauge => "a gauge",
            Self::Histogram => "a histogram",
            Self::Info => "an info metric",
        }
    }
}

/// The properties that all series of one name share.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyInfo {
    pub(crate) name: String,
    pub(crate) kind: FamilyKind,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) bounds: Vec<f64>,
    /// The label `le` of each bucket, up to `+Inf`, as the end of rendered labels: `le="0.1"} `.
    pub(crate) le_labels: Vec<String>,
}

impl FamilyInfo {
    pub(crate) fn new(name: &str, kind: FamilyKind, help: &str, unit: &str, bounds: &[f64]) -> Self {
        let mut le_labels = Vec::new();
        if kind == FamilyKind::Histogram {
            for bound in bounds.iter().chain([&f64::INFINITY]) {
                let mut text = String::from("le=\"");
                text::write_canonical_float(&mut text, *bound);
                text.push_str("\"} ");
                le_labels.push(text);
            }
        }
        Self {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            unit: unit.to_owned(),
            bounds: bounds.to_owned(),
            le_labels,
        }
    }

    /// The family's name in OpenMetrics, where the suffixes `_total` and `_info` belong to the
    /// sample.
    pub(crate) fn stem(&self) -> &str {
        match self.kind {
            FamilyKind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            FamilyKind::Info => self.name.strip_suffix("_info").unwrap_or(&self.name),
            FamilyKind::Gauge | FamilyKind::UpDownCounter | FamilyKind::Histogram => &self.name,
        }
    }

    /// Returns `true` if both may be the same family. The help may differ.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.unit == other.unit && self.bounds == other.bounds
    }

    /// Returns the reason and the remedy of a conflict with a family that `place` has, for a
    /// person. `own_place` is the one that declares this family, if it is another.
    pub(crate) fn conflict_with(&self, known: &Self, place: &str, own_place: Option<&str>) -> String {
        let of_own = own_place.map(|own| format!(" of {own}")).unwrap_or_default();
        let own_place = own_place.unwrap_or("another declaration");
        let remedy = "declare it in the same way, or rename one of the two metrics";
        let (kind, other) = (self.kind.with_article(), known.kind.with_article());
        if self.name != known.name {
            let names: Vec<String> = known.names().collect();
            let shared = self.names().find(|name| names.contains(name)).unwrap_or_default();
            return format!(
                "{place} has `{}`, {other}, and the exposition formats need the name `{shared}` for it and for `{}`{of_own}; \
                 rename one of the two metrics",
                known.name, self.name
            );
        }
        let unit = |info: &Self| {
            if info.unit.is_empty() { "no unit".to_owned() } else { format!("the unit `{}`", info.unit) }
        };
        if self.kind != known.kind {
            format!("{place} has it as {other}, and {own_place} has it as {kind}; {remedy}")
        } else if self.unit != known.unit {
            format!("{place} has it with {}, and {own_place} has it with {}; {remedy}", unit(known), unit(self))
        } else if self.bounds != known.bounds {
            format!("{place} has it with other buckets than {own_place}; {remedy}")
        } else {
            format!("{place} has it with other labels, or another merge rule or number type than {own_place}; {remedy}")
        }
    }

    /// Returns every name that the family or a sample of it has in one of the formats.
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

/// The owner of a family.
///
/// The host's families and the guests' never mix, so that no guest can write what looks like the
/// host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Guests: one of the components that declare it.
    Component(Identity),
    Host,
}

impl Owner {
    fn is_host(&self) -> bool {
        *self == Self::Host
    }
}

/// The families of one registry.
#[derive(Debug, Default)]
pub(crate) struct Families {
    by_name: HashMap<String, (Arc<FamilyInfo>, Owner)>,
    /// For every name in the output, the family that it belongs to.
    taken: HashMap<String, String>,
}

/// A family that cannot be made, because another one has its name.
#[derive(Debug)]
pub(crate) struct Conflict {
    wanted: FamilyInfo,
    known: Arc<FamilyInfo>,
    owner: Owner,
}

impl Conflict {
    /// Returns the reason and the remedy, for a person. `identity` is the component that declares
    /// the metric, unless the host does.
    pub(crate) fn describe(&self, identity: Option<&Identity>) -> String {
        let place = match &self.owner {
            Owner::Component(owner) if Some(owner) == identity => "this component",
            Owner::Component(owner) => &owner.describe(),
            Owner::Host => "the host",
        };
        if self.wanted.name == self.known.name && self.owner.is_host() == identity.is_some() {
            return format!(
                "{place} has it, and metrics of the host and of guests never share a name; rename one of the two metrics"
            );
        }
        // Both are named, unless they are the same.
        let own_place = identity.map_or_else(|| "the host".to_owned(), Identity::describe);
        self.wanted.conflict_with(&self.known, place, Some(own_place.as_str()).filter(|_| place != "this component"))
    }
}

impl Families {
    /// Returns the family of that name, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Returns the conflict if a family of another type, unit, buckets or owner has one of the
    /// names.
    pub(crate) fn claim(&mut self, info: FamilyInfo, owner: Owner) -> Result<Arc<FamilyInfo>, Box<Conflict>> {
        if let Some((known, known_owner)) = self.by_name.get(&info.name) {
            return if known.is_like(&info) && known_owner.is_host() == owner.is_host() {
                Ok(known.clone())
            } else {
                Err(Box::new(Conflict { wanted: info, known: known.clone(), owner: known_owner.clone() }))
            };
        }
        let taken = info.names().find_map(|name| self.by_name.get(self.taken.get(&name)?));
        if let Some((known, owner)) = taken {
            return Err(Box::new(Conflict { wanted: info, known: known.clone(), owner: owner.clone() }));
        }
        for name in info.names() {
            self.taken.insert(name, info.name.clone());
        }
        let info = Arc::new(info);
        self.by_name.insert(info.name.clone(), (info.clone(), owner));
        Ok(info)
    }

    /// Returns the name of a family of guests that conflicts with a new one of theirs.
    pub(crate) fn conflicting(&self, info: &FamilyInfo) -> Option<String> {
        let known = self.by_name.get(&info.name).map(|(known, _)| known);
        if known.is_some_and(|known| known.is_like(info)) {
            return None;
        }
        let mut names = info.names().filter_map(|name| self.taken.get(&name));
        names.find(|family| self.by_name.get(*family).is_some_and(|(_, owner)| !owner.is_host())).cloned()
    }

    /// Removes the families of guests that no component exports. `exporter` returns one that does.
    pub(crate) fn remove_unused(&mut self, exporter: impl Fn(&str) -> Option<Identity>) {
        self.by_name.retain(|name, (_, owner)| {
            let Owner::Component(owner) = owner else { return true };
            exporter(name).map(|exporter| *owner = exporter).is_some()
        });
        self.taken.retain(|_, family| self.by_name.contains_key(family));
    }

    /// Removes one family.
    pub(crate) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
        self.taken.retain(|_, family| family != name);
    }
}
