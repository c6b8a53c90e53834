//! Families: the series of one name.

use std::sync::Arc;

use crate::declaration::Metric;
use crate::encode::text::RenderedBounds;
use crate::registry::name_table::{Stem, StemHash};

/// The type of a family, in the words of the exposition formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Returns a family's name without the suffix that belongs to its sample in OpenMetrics.
    pub(crate) fn stem(self, name: &str) -> &str {
        match self {
            Self::Counter => name.strip_suffix("_total").unwrap_or(name),
            Self::Info => name.strip_suffix("_info").unwrap_or(name),
            Self::Gauge | Self::UpDownCounter | Self::Histogram => name,
        }
    }

    /// The suffixes by which the names of the family and of its samples, in any of the formats,
    /// differ from its [stem](FamilyInfo::stem). The first one is empty.
    pub(crate) const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["", "_total", "_created"],
            Self::Gauge | Self::UpDownCounter => &[""],
            Self::Info => &["", "_info"],
            Self::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        }
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

/// Bytes of a family's places in the table of names, and of its parts' allocations.
const NAME_PLACES: usize = 120;

/// The approximate bytes of a bound as a text.
const RENDERED_BOUND: usize = 56;

/// The properties that all series of one name share.
#[derive(Clone, Debug)]
pub struct FamilyInfo {
    source: Source,
    /// The tenant whose components export it; empty for the host's, and without a tenant.
    pub(crate) tenant: Arc<str>,
    /// `None` for all types but histograms.
    buckets: Option<Box<Buckets>>,
}

/// The texts of a family, and its type.
#[derive(Clone, Debug)]
enum Source {
    /// Those of a metric that a binary declares or a guest has resolved, which has them already.
    Declared(FamilyKind, Arc<Metric>),
    /// Those of the host.
    Host(FamilyKind, Box<HostTexts>),
}

#[derive(Clone, Debug)]
struct HostTexts {
    name: String,
    help: String,
    unit: String,
}

/// The bounds of a histogram's buckets, and as the text formats have them.
#[derive(Clone, Debug)]
struct Buckets {
    bounds: Box<[f64]>,
    rendered: RenderedBounds,
}

impl FamilyInfo {
    /// Creates a family of the host.
    pub(crate) fn new(name: &str, kind: FamilyKind, help: &str, unit: &str, bounds: &[f64]) -> Self {
        let texts = HostTexts { name: name.to_owned(), help: help.to_owned(), unit: unit.to_owned() };
        Self::with(Source::Host(kind, Box::new(texts)), Arc::default(), bounds)
    }

    /// Creates the family of a metric in a tenant, whose texts it shares.
    pub(crate) fn declared(kind: FamilyKind, metric: &Arc<Metric>, tenant: &Arc<str>, bounds: &[f64]) -> Self {
        Self::with(Source::Declared(kind, Arc::clone(metric)), Arc::clone(tenant), bounds)
    }

    fn with(source: Source, tenant: Arc<str>, bounds: &[f64]) -> Self {
        let (Source::Declared(kind, _) | Source::Host(kind, _)) = source;
        let buckets = || Box::new(Buckets { bounds: bounds.into(), rendered: RenderedBounds::default() });
        Self { source, tenant, buckets: (kind == FamilyKind::Histogram).then(buckets) }
    }

    pub(crate) fn kind(&self) -> FamilyKind {
        let (Source::Declared(kind, _) | Source::Host(kind, _)) = self.source;
        kind
    }

    pub(crate) fn name(&self) -> &str {
        match &self.source {
            Source::Declared(_, metric) => &metric.name,
            Source::Host(_, texts) => &texts.name,
        }
    }

    pub(crate) fn help(&self) -> &str {
        match &self.source {
            Source::Declared(_, metric) => &metric.help,
            Source::Host(_, texts) => &texts.help,
        }
    }

    pub(crate) fn unit(&self) -> &str {
        match &self.source {
            Source::Declared(_, metric) => &metric.unit,
            Source::Host(_, texts) => &texts.unit,
        }
    }

    /// The bounds of a histogram's buckets; none for other types.
    pub(crate) fn bounds(&self) -> &[f64] {
        self.buckets.as_ref().map_or(&[], |buckets| &buckets.bounds)
    }

    /// The label `le` of each bucket of a histogram, up to `+Inf`, as the text formats have it.
    pub(crate) fn rendered_bounds(&self) -> &[String] {
        self.buckets.as_ref().map_or(&[], |buckets| buckets.rendered.get(&buckets.bounds))
    }

    /// Returns `true` if the family has the texts of this declaration, and keeps it for them.
    pub(crate) fn is_declared_by(&self, metric: &Arc<Metric>) -> bool {
        matches!(&self.source, Source::Declared(_, own) if Arc::ptr_eq(own, metric))
    }

    /// Returns the approximate bytes of the family, of its bounds as texts, and of its places in
    /// the table of names.
    pub(crate) fn memory(&self) -> usize {
        let texts = self.name().len() + self.help().len() + self.unit().len();
        let bounds = match &self.buckets {
            Some(buckets) => size_of::<Buckets>() + (size_of::<f64>() + RENDERED_BOUND) * buckets.bounds.len(),
            None => 0,
        };
        size_of::<Self>() + NAME_PLACES + texts + bounds
    }

    /// The family's name in OpenMetrics, where the suffixes `_total` and `_info` belong to the
    /// sample.
    pub(crate) fn stem(&self) -> &str {
        self.kind().stem(self.name())
    }

    /// Returns `true` if both may be the same family. The help may differ.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.unit() == other.unit() && self.bounds() == other.bounds()
    }

    /// Returns the reason and the remedy of a conflict with a family that `place` has, for a
    /// person. `own_place` is the one that declares this family, if it is another.
    pub(crate) fn conflict_with(&self, known: &Self, place: &str, own_place: Option<&str>) -> String {
        let of_own = own_place.map(|own| format!(" of {own}")).unwrap_or_default();
        let own_place = own_place.unwrap_or("another declaration");
        let remedy = "declare it in the same way, or rename one of the two metrics";
        let (kind, other) = (self.kind().with_article(), known.kind().with_article());
        if self.name() != known.name() {
            let names: Vec<String> = known.names().collect();
            let shared = self.names().find(|name| names.contains(name)).unwrap_or_default();
            return format!(
                "{place} has `{}`, {other}, and the exposition formats need the name `{shared}` for it and for `{}`{of_own}; \
                 rename one of the two metrics",
                known.name(),
                self.name()
            );
        }
        let unit = |info: &Self| {
            if info.unit().is_empty() { "no unit".to_owned() } else { format!("the unit `{}`", info.unit()) }
        };
        if self.kind() != known.kind() {
            format!("{place} has it as {other}, and {own_place} has it as {kind}; {remedy}")
        } else if self.unit() != known.unit() {
            format!("{place} has it with {}, and {own_place} has it with {}; {remedy}", unit(known), unit(self))
        } else if self.bounds() != known.bounds() {
            format!("{place} has it with other buckets than {own_place}; {remedy}")
        } else {
            format!("{place} has it with other labels, or another merge rule or number type than {own_place}; {remedy}")
        }
    }

    /// Returns every name that the family or a sample of it has in one of the formats.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        names_of(self.stem(), self.kind())
    }
}

/// Returns every name that a family of this stem and type, or a sample of it, has in one of the
/// formats.
pub(crate) fn names_of(stem: &str, kind: FamilyKind) -> impl Iterator<Item = String> {
    kind.suffixes().iter().map(move |suffix| format!("{stem}{suffix}"))
}

/// A family that somebody wants to make. It is made without the registry's lock.
#[derive(Clone, Debug)]
pub(crate) struct WantedFamily {
    pub(crate) info: Arc<FamilyInfo>,
    hash: StemHash,
}

impl WantedFamily {
    pub(crate) fn new(info: FamilyInfo) -> Self {
        Self { hash: StemHash::of(info.stem()), info: Arc::new(info) }
    }

    /// The name by which the table of names finds the family.
    pub(super) fn stem(&self) -> Stem<'_> {
        Stem { text: self.info.stem(), hash: self.hash }
    }
}
