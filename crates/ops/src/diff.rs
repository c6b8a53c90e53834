//! The difference between the declarations of two binaries: what breaks the queries of those who
//! use the older one.
//!
//! A query names metrics, labels, values of labels and buckets. A change is breaking if a query
//! that was right is then empty or means something else.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wasmetry_host::{Declarations, Kind, Label, LabelValues, Metric};

use crate::promql::{Expr, Selector};

/// A difference between two declarations of a metric, or of the routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The metric's name; empty for the routes.
    pub metric: String,
    /// The difference.
    pub detail: Detail,
}

/// The kind of a [`Change`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// The metric is no longer declared. Another one, which is new, has its help text, kind and
    /// labels.
    Renamed {
        /// The name of the new metric.
        to: String,
    },
    /// The metric is no longer declared.
    Removed,
    /// The metric was not declared before.
    Added,
    /// The kind, the unit or the merge rule is another one.
    Property {
        /// The name of the property.
        name: &'static str,
        /// The old value.
        old: String,
        /// The new value.
        new: String,
    },
    /// A label, or a constant label, is gone.
    LabelRemoved(String),
    /// There is one more label, which divides the series.
    LabelAdded(String),
    /// Values that a label could have are gone.
    ValuesRemoved {
        /// The label's key.
        label: String,
        /// The values.
        values: Vec<String>,
    },
    /// Bucket bounds are gone.
    BucketsRemoved(Vec<f64>),
    /// There are more bucket bounds.
    BucketsAdded(Vec<f64>),
    /// Routes that the guest could set are gone.
    RoutesRemoved(Vec<String>),
    /// The help text is another one.
    Help,
}

impl Change {
    /// Returns `true` if a query that was right is then empty or means something else.
    pub fn is_breaking(&self) -> bool {
        !matches!(self.detail, Detail::Added | Detail::LabelAdded(_) | Detail::BucketsAdded(_) | Detail::Help)
    }

    /// Returns `true` if an expression of the older binary is broken by this change.
    fn breaks(&self, expr: &Expr) -> bool {
        let of_metric = |selector: &&Selector| is_series_of(&selector.metric, &self.metric);
        let mut selectors = expr.selectors().into_iter().filter(of_metric);
        let has = |selector: &Selector, label: &str, value: &dyn Fn(&str) -> bool| {
            selector.matchers.iter().any(|(key, operator, text)| key == label && *operator == "=" && value(text))
        };
        if let Some(texts) = texts(expr, &self.metric) {
            return match &self.detail {
                Detail::LabelRemoved(label) | Detail::ValuesRemoved { label, .. } => {
                    texts.iter().any(|text| mentions(text, label))
                }
                Detail::BucketsRemoved(_) => texts.iter().any(|text| mentions(text, "le")),
                _ => self.is_breaking(),
            };
        }
        match &self.detail {
            Detail::Renamed { .. } | Detail::Removed | Detail::Property { .. } => selectors.next().is_some(),
            Detail::LabelRemoved(label) => {
                let is_kept = uses_label(expr, label);
                selectors.any(|selector| is_kept || selector.matchers.iter().any(|(key, ..)| key == label))
            }
            Detail::ValuesRemoved { label, values } => {
                selectors.any(|selector| has(selector, label, &|text| values.iter().any(|value| value == text)))
            }
            Detail::BucketsRemoved(bounds) => {
                let is_gone = |text: &str| text.parse::<f64>().is_ok_and(|bound| bounds.contains(&bound));
                selectors.any(|selector| has(selector, "le", &is_gone))
            }
            Detail::RoutesRemoved(routes) => expr
                .selectors()
                .into_iter()
                .any(|selector| has(selector, "route", &|text| routes.iter().any(|route| route == text))),
            Detail::Added | Detail::LabelAdded(_) | Detail::BucketsAdded(_) | Detail::Help => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.metric.is_empty() {
            write!(f, "{}: ", self.metric)?;
        }
        write!(f, "{}", self.detail)
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[String]| values.join(", ");
        let numbers = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Renamed { to } => write!(f, "removed; {to}, which is new, has the same help text, type and labels"),
            Self::Removed => f.write_str("removed"),
            Self::Added => f.write_str("added"),
            Self::Property { name, old, new } => write!(f, "the {name} was {old} and is {new}"),
            Self::LabelRemoved(label) => write!(f, "the label {label} is removed"),
            Self::LabelAdded(label) => write!(f, "the label {label} is added"),
            Self::ValuesRemoved { label, values } => {
                write!(f, "the label {label} no longer has {}", list(values))
            }
            Self::BucketsRemoved(bounds) => write!(f, "the buckets {} are removed", numbers(bounds)),
            Self::BucketsAdded(bounds) => write!(f, "the buckets {} are added", numbers(bounds)),
            Self::RoutesRemoved(routes) => write!(f, "the routes {} are removed", list(routes)),
            Self::Help => f.write_str("the help text is another one"),
        }
    }
}

/// Returns the differences between the declarations of an older and a newer binary: those of each
/// metric by its name, then those of the routes.
pub fn changes(old: &Declarations, new: &Declarations) -> Vec<Change> {
    let find = |declarations: &Declarations, name: &str| {
        declarations.metrics().iter().find(|metric| metric.name == name).cloned()
    };
    let names: BTreeSet<&str> = old.metrics().iter().chain(new.metrics()).map(|metric| metric.name.as_str()).collect();
    let mut all = Vec::new();
    for name in names {
        let change = |detail| Change { metric: name.to_owned(), detail };
        match (find(old, name), find(new, name)) {
            (Some(before), Some(after)) => all.extend(of_metric(&before, &after).into_iter().map(change)),
            (Some(before), None) => {
                let is_like = |after: &&Arc<Metric>| {
                    find(old, &after.name).is_none()
                        && (&after.help, after.kind, &after.labels) == (&before.help, before.kind, &before.labels)
                };
                all.push(change(match new.metrics().iter().find(is_like) {
                    Some(after) => Detail::Renamed { to: after.name.clone() },
                    None => Detail::Removed,
                }));
            }
            (None, _) => all.push(change(Detail::Added)),
        }
    }
    let kept: BTreeSet<&str> = new.routes().iter().map(|(_, route)| &**route).collect();
    let routes = old.routes().iter().map(|(_, route)| &**route);
    let removed: Vec<String> = routes.filter(|route| !kept.contains(route)).map(str::to_owned).collect();
    if !removed.is_empty() {
        all.push(Change { metric: String::new(), detail: Detail::RoutesRemoved(removed) });
    }
    all
}

fn of_metric(old: &Metric, new: &Metric) -> Vec<Detail> {
    let mut all = Vec::new();
    let mut property = |name, old: String, new: String| {
        if old != new {
            all.push(Detail::Property { name, old, new });
        }
    };
    property("type", old.kind.type_name().to_owned(), new.kind.type_name().to_owned());
    property("unit", shown(&old.unit), shown(&new.unit));
    if old.kind == new.kind && matches!(old.kind, Kind::GaugeI64 | Kind::GaugeF64) {
        property("merge rule", old.merge.name().to_owned(), new.merge.name().to_owned());
    }
    for (key, value) in &old.const_labels {
        match new.const_labels.iter().find(|(other, _)| other == key) {
            Some((_, other)) if other == value => {}
            Some(_) => {
                all.push(Detail::ValuesRemoved { label: key.clone(), values: vec![value.clone()] });
            }
            None => all.push(Detail::LabelRemoved(key.clone())),
        }
    }
    for label in &old.labels {
        match new.labels.iter().find(|other| other.key == label.key) {
            Some(other) => all.extend(lost_values(label, other)),
            None => all.push(Detail::LabelRemoved(label.key.clone())),
        }
    }
    let is_new = |label: &&Label| !old.labels.iter().any(|other| other.key == label.key);
    all.extend(new.labels.iter().filter(is_new).map(|label| Detail::LabelAdded(label.key.clone())));
    let without = |one: &[f64], other: &[f64]| -> Vec<f64> {
        one.iter().copied().filter(|bound| !other.contains(bound)).collect()
    };
    let (removed, added) = (without(&old.buckets, &new.buckets), without(&new.buckets, &old.buckets));
    if !removed.is_empty() {
        all.push(Detail::BucketsRemoved(removed));
    }
    if !added.is_empty() {
        all.push(Detail::BucketsAdded(added));
    }
    if old.help != new.help {
        all.push(Detail::Help);
    }
    all
}

/// Returns the values that a label can no longer have. Those of texts are not known.
fn lost_values(old: &Label, new: &Label) -> Option<Detail> {
    let values: Vec<String> = match (&old.values, &new.values) {
        (LabelValues::Listed(before), LabelValues::Listed(after)) => {
            before.iter().filter(|value| !after.contains(value)).cloned().collect()
        }
        (LabelValues::Listed(before), LabelValues::Below(bound)) => {
            let is_below = |value: &String| value.parse::<u32>().is_ok_and(|number| number < *bound);
            before.iter().filter(|value| !is_below(value)).cloned().collect()
        }
        (LabelValues::Below(before), LabelValues::Below(after)) if after < before => {
            vec![format!("{after} to {}", before - 1)]
        }
        (LabelValues::Below(before), LabelValues::Listed(after)) => {
            let is_lost = |number: &u32| !after.contains(&number.to_string());
            (0..*before).filter(is_lost).map(|number| number.to_string()).collect()
        }
        _ => Vec::new(),
    };
    (!values.is_empty()).then(|| Detail::ValuesRemoved { label: old.key.clone(), values })
}

fn shown(unit: &str) -> String {
    if unit.is_empty() { "none".to_owned() } else { unit.to_owned() }
}

/// Returns `true` if a metric has this series: its own, or one of a histogram.
fn is_series_of(series: &str, metric: &str) -> bool {
    let suffix = series.strip_prefix(metric);
    !metric.is_empty() && suffix.is_some_and(|suffix| ["", "_bucket", "_count", "_sum"].contains(&suffix))
}

/// Returns the texts of a user's own queries in an expression that name a metric, if there are any.
fn texts<'a>(expr: &'a Expr, metric: &str) -> Option<Vec<&'a str>> {
    fn collect<'a>(expr: &'a Expr, all: &mut Vec<&'a str>) {
        if let Expr::Text(text) = expr {
            all.push(text);
        }
        expr.children().into_iter().for_each(|child| collect(child, all));
    }
    let mut all = Vec::new();
    collect(expr, &mut all);
    let is_named =
        |text: &&str| ["", "_bucket", "_count", "_sum"].iter().any(|end| mentions(text, &format!("{metric}{end}")));
    all.retain(is_named);
    (!metric.is_empty() && !all.is_empty()).then_some(all)
}

/// Returns `true` if a name is in a query.
fn mentions(query: &str, name: &str) -> bool {
    query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).any(|word| word == name)
}

/// Returns `true` if an expression keeps a label, or matches its sides on it.
fn uses_label(expr: &Expr, label: &str) -> bool {
    let is_here = match expr {
        Expr::Aggregate { by, .. } => by.iter().any(|key| key == label),
        Expr::Binary { on: Some(on), .. } => on.iter().any(|key| key == label),
        _ => false,
    };
    is_here || expr.children().into_iter().any(|child| uses_label(child, label))
}

/// Something that queries metrics.
#[derive(Clone, Debug)]
pub struct Use {
    /// Its kind, such as `alert`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The expression.
    pub expr: Expr,
}

/// A use that a change breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The use's kind, such as `alert`.
    pub kind: &'static str,
    /// The use's name.
    pub name: String,
    /// The change.
    pub change: Change,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.change)
    }
}

/// Returns the uses that changes break, in the order of the uses.
pub fn broken(uses: &[Use], changes: &[Change]) -> Vec<Broken> {
    let of_use = |one: &Use| {
        let broken = changes.iter().filter(|change| change.breaks(&one.expr));
        let (kind, name) = (one.kind, one.name.clone());
        broken.map(move |change| Broken { kind, name: name.clone(), change: change.clone() }).collect::<Vec<_>>()
    };
    let mut all: Vec<Broken> = uses.iter().flat_map(of_use).collect();
    // A panel has several queries.
    all.dedup();
    all
}
