//! The place of families in the text formats, where a name is one family of one type.
//!
//! Tenants share names without a conflict, see [`crate::registry::name_table`]. Here their families
//! are put together again:
//!
//! - Families of one name and type are one family in the text: the later ones
//!   [continue](Place::continues) the first. Their help texts are shown side by side.
//! - A family that needs a name of another type's family is [split](Place::is_split): each of
//!   its sample names is a family of its own, without a type. Its samples stay what they are. A
//!   gauge is never split, because its samples have the name itself; so no tenant loses a series,
//!   whoever came first.

use std::collections::HashSet;
use std::sync::Arc;

use super::FamilySnapshot;
use crate::order::sorted;
use crate::registry::family::{FamilyKind, names_of};

/// The place of a family in the text formats. The default is a family of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `true` if the text of the family before it goes on: it has the same name and type.
    pub(crate) continues: bool,
    /// The help text, if those of the tenants differ.
    help: Option<Arc<str>>,
    /// `true` if the tenants' units differ, so that none is shown.
    pub(crate) has_no_unit: bool,
    is_split: [bool; TextFormat::ALL.len()],
}

/// A text format, for which names are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// The Prometheus text format, in which a counter's name is its sample's.
    Prometheus,
    /// OpenMetrics, in which the suffixes of counters belong to their samples.
    OpenMetrics,
}

impl TextFormat {
    const ALL: [Self; 2] = [Self::Prometheus, Self::OpenMetrics];
}

impl Place {
    /// Returns `true` if each sample name of the family is a family of its own.
    pub(crate) fn is_split(&self, format: TextFormat) -> bool {
        self.is_split[format as usize]
    }
}

impl FamilySnapshot {
    /// Returns the help text for a text format.
    pub(crate) fn shown_help(&self) -> &str {
        self.place.help.as_deref().unwrap_or(self.info.help())
    }
}

/// Arranges families, which are sorted by name and [`rank`]. `contested` are those that need a name
/// of another one, by name and type.
pub(super) fn arrange(families: &mut [FamilySnapshot], contested: &[(String, FamilyKind)]) {
    for namesakes in families.chunk_by_mut(|one, other| one.info.name() == other.info.name()) {
        if namesakes.len() > 1 {
            namesakes.chunk_by_mut(|one, other| rank(one.info.kind()) == rank(other.info.kind())).for_each(unite);
        }
    }
    if contested.is_empty() {
        return;
    }
    let groups: Vec<(u8, &str, FamilyKind)> =
        contested.iter().map(|(name, kind)| (rank(*kind), name.as_str(), *kind)).collect();
    let mut groups = sorted(groups, Ord::cmp);
    groups.dedup_by_key(|(rank, name, _)| (*rank, *name));
    for format in TextFormat::ALL {
        let mut taken: HashSet<String> = HashSet::new();
        for (rank_of_group, name, kind) in &groups {
            let names = names(name, *kind, format);
            if !names.iter().any(|name| taken.contains(name)) {
                taken.extend(names);
                continue;
            }
            taken.extend(sample_names(name, *kind));
            let start = families.partition_point(|family| family.info.name() < *name);
            let namesakes = families[start..].iter_mut().take_while(|family| family.info.name() == *name);
            for family in namesakes.filter(|family| rank(family.info.kind()) == *rank_of_group) {
                family.place.is_split[format as usize] = true;
            }
        }
    }
}

/// Makes one family of several of one name and type.
fn unite(families: &mut [FamilySnapshot]) {
    let Some((first, others)) = families.split_first_mut() else { return };
    let mut texts: Vec<(&str, &str)> = Vec::new();
    for info in std::iter::once(&first.info).chain(others.iter().map(|family| &family.info)) {
        if !info.help().is_empty() && texts.iter().all(|(help, _)| *help != info.help()) {
            texts.push((info.help(), &info.tenant));
        }
    }
    if texts.len() > 1 {
        let shown = texts.iter().take(SHOWN_TEXTS).map(|(help, tenant)| match *tenant {
            "" => format!("{help} (no tenant)"),
            tenant => format!("{help} (tenant {tenant})"),
        });
        let mut help = shown.collect::<Vec<_>>().join("; ");
        if texts.len() > SHOWN_TEXTS {
            help += &format!("; and {} more", texts.len() - SHOWN_TEXTS);
        }
        first.place.help = Some(help.into());
    }
    first.place.has_no_unit = others.iter().any(|family| family.info.unit() != first.info.unit());
    others.iter_mut().for_each(|family| family.place.continues = true);
}

/// The help texts of one name that are shown.
const SHOWN_TEXTS: usize = 2;

/// The order in which families of one name get it. Kinds that the text formats do not distinguish
/// have one rank.
pub(super) fn rank(kind: FamilyKind) -> u8 {
    match kind {
        FamilyKind::Gauge | FamilyKind::UpDownCounter => 0,
        FamilyKind::Histogram => 1,
        FamilyKind::Counter => 2,
        FamilyKind::Info => 3,
    }
}

/// Returns the names that a family takes in a format: its own and its samples'.
fn names(name: &str, kind: FamilyKind, format: TextFormat) -> Vec<String> {
    match format {
        TextFormat::Prometheus => std::iter::once(name.to_owned()).chain(sample_names(name, kind)).collect(),
        TextFormat::OpenMetrics => names_of(kind.stem(name), kind).collect(),
    }
}

/// Returns the names of a family's samples.
fn sample_names(name: &str, kind: FamilyKind) -> impl Iterator<Item = String> {
    sample_suffixes(kind).iter().map(move |suffix| format!("{name}{suffix}"))
}

/// Returns the suffixes by which the names of a family's samples differ from its own.
pub(crate) const fn sample_suffixes(kind: FamilyKind) -> &'static [&'static str] {
    match kind {
        FamilyKind::Histogram => &["_bucket", "_sum", "_count"],
        _ => &[""],
    }
}
