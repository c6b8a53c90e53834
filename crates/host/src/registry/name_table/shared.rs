//! The names that families of several owners need: those of the host and of all tenants.

use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use wasmetry_abi::name::SUFFIXES;

use super::{Families, Known, Stem, StemHash};
use crate::registry::family::{FamilyInfo, FamilyKind, WantedFamily};

/// The families of the host and of all tenants that need a name in the output, by stem.
///
/// Two families of one name and type are one family in the exposition formats. Others cannot be,
/// and `contested` has those that need one name.
#[derive(Debug, Default)]
pub(super) struct SharedNames {
    by_stem: HashTable<Holders>,
    /// The number of stems that end in each of the [`SUFFIXES`].
    suffixed: [usize; SUFFIXES.len()],
    /// Name and type.
    contested: BTreeSet<(String, FamilyKind)>,
}

/// The families of one stem. Nearly every stem has one.
#[derive(Debug)]
enum Holders {
    One(Holder),
    #[allow(clippy::box_collection, reason = "the table has some million of the other variant")]
    Many(Box<Vec<Holder>>),
}

/// The families of one name and type.
#[derive(Clone, Debug)]
struct Holder {
    /// One of them.
    info: Arc<FamilyInfo>,
    hash: StemHash,
    /// The number of the tenants that have one, and of the host.
    owners: u32,
}

impl Holder {
    fn new(wanted: &WantedFamily) -> Self {
        Self { info: wanted.info.clone(), hash: wanted.stem().hash, owners: 1 }
    }

    fn is_of(&self, info: &FamilyInfo) -> bool {
        self.info.kind() == info.kind() && self.info.name() == info.name()
    }

    fn contested(&self) -> (String, FamilyKind) {
        contested(&self.info)
    }
}

fn contested(info: &FamilyInfo) -> (String, FamilyKind) {
    (info.name().to_owned(), info.kind())
}

impl Holders {
    fn all(&self) -> &[Holder] {
        match self {
            Self::One(holder) => slice::from_ref(holder),
            Self::Many(holders) => holders,
        }
    }

    fn all_mut(&mut self) -> &mut [Holder] {
        match self {
            Self::One(holder) => slice::from_mut(holder),
            Self::Many(holders) => holders,
        }
    }

    /// The hash of the stem. There is at least one family of it.
    fn hash(&self) -> StemHash {
        self.all().first().map_or(StemHash(0), |holder| holder.hash)
    }

    fn is(&self, stem: Stem<'_>) -> bool {
        self.all().first().is_some_and(|holder| holder.hash == stem.hash && holder.info.stem() == stem.text)
    }

    /// Adds an owner. Returns `true` if the family is a new one.
    fn add(&mut self, wanted: &WantedFamily) -> bool {
        if let Some(holder) = self.all_mut().iter_mut().find(|holder| holder.is_of(&wanted.info)) {
            holder.owners += 1;
            return false;
        }
        let mut holders = self.all().to_vec();
        holders.push(Holder::new(wanted));
        *self = Self::Many(Box::new(holders));
        true
    }

    /// Removes an owner. Returns `true` if its family had no other.
    fn remove(&mut self, info: &FamilyInfo) -> bool {
        let Some(at) = self.all().iter().position(|holder| holder.is_of(info)) else { return false };
        let holder = &mut self.all_mut()[at];
        holder.owners -= 1;
        let is_last = holder.owners == 0;
        if let Self::Many(holders) = self
            && is_last
            && holders.len() > 1
        {
            holders.remove(at);
        }
        is_last
    }

    /// Returns `true` if no family is left.
    fn is_empty(&self) -> bool {
        self.all().iter().all(|holder| holder.owners == 0)
    }
}

impl SharedNames {
    fn get(&self, stem: Stem<'_>) -> Option<&Holders> {
        self.by_stem.find(stem.hash.spread(), |holders| holders.is(stem))
    }

    /// Returns the one of these families that has the stem of the wanted family, or needs another
    /// name that the wanted family needs.
    pub(super) fn known<'a>(&self, families: &'a Families, wanted: &WantedFamily) -> Option<&'a Known> {
        if let Some(known) = families.get(wanted.stem()) {
            return Some(known);
        }
        let holders = self.of_other_stems(&wanted.info).into_iter();
        let known = holders.filter_map(|holder| {
            let stem = Stem { text: holder.info.stem(), hash: holder.hash };
            families.get(stem).map(|known| (holder, known))
        });
        known.filter(|(holder, known)| holder.info.kind() == known.info.kind()).map(|(_, known)| known).next()
    }

    /// Returns the families of other stems that need one of a family's names. Nearly no stem ends
    /// in a suffix.
    fn of_other_stems(&self, info: &FamilyInfo) -> Vec<&Holder> {
        let (own, kind) = (info.stem(), info.kind());
        let mut found = Vec::new();
        for (suffix, stems) in SUFFIXES.iter().zip(self.suffixed) {
            if stems > 0
                && kind.suffixes().contains(suffix)
                && let Some(holders) = self.get(Stem::new(&format!("{own}{suffix}")))
            {
                found.extend(holders.all());
            }
            if let Some(rest) = own.strip_suffix(suffix)
                && let Some(holders) = self.get(Stem::new(rest))
            {
                found.extend(holders.all().iter().filter(|holder| holder.info.kind().suffixes().contains(suffix)));
            }
        }
        found
    }

    /// Returns the other families that need one of a family's names.
    fn rivals(&self, info: &FamilyInfo) -> Vec<&Holder> {
        let of_stem = self.get(Stem::of(info)).map_or(&[][..], Holders::all).iter();
        of_stem.filter(|holder| !holder.is_of(info)).chain(self.of_other_stems(info)).collect()
    }

    pub(super) fn add(&mut self, wanted: &WantedFamily) {
        let stem = wanted.stem();
        let place = self.by_stem.entry(stem.hash.spread(), |holders| holders.is(stem), |other| other.hash().spread());
        let is_sole = match place {
            Entry::Vacant(place) => {
                place.insert(Holders::One(Holder::new(wanted)));
                self.count(stem.text, 1);
                true
            }
            Entry::Occupied(mut holders) => {
                if !holders.get_mut().add(wanted) {
                    return;
                }
                false
            }
        };
        // Families of the same stem are rivals.
        let rivals = if is_sole { self.of_other_stems(&wanted.info) } else { self.rivals(&wanted.info) };
        if !rivals.is_empty() {
            let rivals: Vec<_> = rivals.into_iter().map(Holder::contested).collect();
            self.contested.extend(rivals);
            self.contested.insert(contested(&wanted.info));
        }
    }

    pub(super) fn remove(&mut self, known: &Known) {
        let stem = Stem { text: known.info.stem(), hash: known.hash };
        let Ok(mut place) = self.by_stem.find_entry(stem.hash.spread(), |holders| holders.is(stem)) else { return };
        if !place.get_mut().remove(&known.info) {
            return;
        }
        if place.get().is_empty() {
            place.remove();
            self.count(stem.text, -1);
        }
        if !self.contested.is_empty() && self.contested.remove(&contested(&known.info)) {
            let rivals = self.rivals(&known.info).into_iter();
            let alone: Vec<_> =
                rivals.filter(|rival| self.rivals(&rival.info).is_empty()).map(Holder::contested).collect();
            alone.iter().for_each(|rival| _ = self.contested.remove(rival));
        }
    }

    /// Returns the families that need a name of another one: name and type.
    pub(super) fn contested(&self) -> Vec<(String, FamilyKind)> {
        self.contested.iter().cloned().collect()
    }

    /// Counts a stem that was added or removed.
    fn count(&mut self, stem: &str, change: isize) {
        for (suffix, stems) in SUFFIXES.iter().zip(&mut self.suffixed) {
            if stem.ends_with(suffix) {
                *stems = stems.saturating_add_signed(change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::name_table::Exporters;

    const STEMS: [&str; 8] = ["x", "y", "x_total", "x_created", "x_info", "x_sum", "x_bucket", "x_created_created"];
    const KINDS: [FamilyKind; 4] = [FamilyKind::Counter, FamilyKind::Gauge, FamilyKind::Histogram, FamilyKind::Info];

    fn families() -> Vec<WantedFamily> {
        let name = |stem: &str, kind| match kind {
            FamilyKind::Counter => format!("{stem}_total"),
            FamilyKind::Info => format!("{stem}_info"),
            _ => stem.to_owned(),
        };
        let family = |stem, kind| WantedFamily::new(FamilyInfo::new(&name(stem, kind), kind, "", "", &[]));
        STEMS.into_iter().flat_map(|stem| KINDS.into_iter().map(move |kind| family(stem, kind))).collect()
    }

    fn share_a_name(a: &FamilyInfo, b: &FamilyInfo) -> bool {
        let names: Vec<String> = a.names().collect();
        b.names().any(|name| names.contains(&name))
    }

    // By stems, two families are found to need one name if and only if they do.
    #[test]
    fn stems_stand_for_all_names() {
        let families = families();
        for (at, one) in families.iter().enumerate() {
            for other in &families[at + 1..] {
                let mut shared = SharedNames::default();
                shared.add(one);
                shared.add(other);
                let both = [contested(&one.info), contested(&other.info)];
                let expected = if share_a_name(&one.info, &other.info) { both.len() } else { 0 };
                let found = shared.contested();
                assert_eq!(found.len(), expected, "{both:?}: {found:?}");
                assert!(found.iter().all(|family| both.contains(family)));
            }
        }
    }

    // In whatever order families are removed, those that still need a name of another are
    // contested.
    #[test]
    fn contested_names_are_freed() {
        let families = families();
        let mut shared = SharedNames::default();
        // A second tenant has every third one.
        families.iter().chain(families.iter().step_by(3)).for_each(|family| shared.add(family));
        let mut left: Vec<&WantedFamily> = families.iter().chain(families.iter().step_by(3)).collect();
        for removed in (0..left.len()).map(|round| round * 7) {
            let removed = left.remove(removed % left.len());
            shared.remove(&Known::new(removed, Exporters::None));
            let is_contested = |family: &&&WantedFamily| {
                let others = left.iter().filter(|other| !Holder::new(other).is_of(&family.info));
                others.into_iter().any(|other| share_a_name(&family.info, &other.info))
            };
            let expected: BTreeSet<_> =
                left.iter().filter(is_contested).map(|family| contested(&family.info)).collect();
            assert_eq!(shared.contested(), expected.into_iter().collect::<Vec<_>>());
        }
        assert!(shared.by_stem.is_empty() && shared.suffixed.iter().all(|stems| *stems == 0));
    }
}
