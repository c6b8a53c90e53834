//! Names: who may use which.
//!
//! The host's names, which are its embedder's too, are its own: no guest exports a metric of one.
//! Beside them each tenant has names of its own. Within a tenant one family has a name, so that a
//! mistake is found; two tenants that use a name differently both export their metrics, and
//! [`SharedNames`] contains what the exposition formats cannot show as two families.

mod shared;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::slice;
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;

use crate::Identity;
use crate::registry::component::ComponentState;
use crate::registry::family::{FamilyInfo, FamilyKind, WantedFamily};
use crate::registry::step::step;
use shared::SharedNames;

/// A name without the suffix of a type, and its hash.
///
/// The [suffixes](FamilyKind::suffixes) of every type begin with the empty one, and none of them
/// ends in another. So two families need one name if their stems are equal, or if one stem is the
/// other with a suffix of that family's type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stem<'a> {
    pub(super) text: &'a str,
    pub(super) hash: StemHash,
}

impl<'a> Stem<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, hash: StemHash::of(text) }
    }

    fn of(info: &'a FamilyInfo) -> Self {
        Self::new(info.stem())
    }
}

/// The hash of a stem. Guests choose names, so that its keys are random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StemHash(u32);

impl StemHash {
    pub(super) fn of(stem: &str) -> Self {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEYS.hash_one(stem) as u32)
    }

    /// Returns the hash for a table, which uses the lowest and the highest bits.
    const fn spread(self) -> u64 {
        (self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The names of one registry.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    host: Families,
    tenants: HashMap<Arc<str>, Families>,
    shared: SharedNames,
}

/// The families of the host or of one tenant, by stem.
#[derive(Debug, Default)]
struct Families(HashTable<Known>);

#[derive(Debug)]
struct Known {
    info: Arc<FamilyInfo>,
    hash: StemHash,
    /// The components that export it; none for a family of the host.
    exporters: Exporters,
}

impl Known {
    fn new(wanted: &WantedFamily, exporters: Exporters) -> Self {
        Self { info: wanted.info.clone(), hash: wanted.stem().hash, exporters }
    }

    fn is(&self, stem: Stem<'_>) -> bool {
        self.hash == stem.hash && self.info.stem() == stem.text
    }

    /// Returns `true` if the wanted family is this one.
    fn is_same(&self, wanted: &FamilyInfo) -> bool {
        self.info.is_like(wanted) && self.info.name() == wanted.name()
    }
}

/// Components, sorted by their numbers. Nearly every family has one.
#[derive(Debug)]
enum Exporters {
    None,
    One(Arc<ComponentState>),
    #[allow(clippy::box_collection, reason = "nearly every table has some million of the other variant")]
    Many(Box<Vec<Arc<ComponentState>>>),
}

impl Exporters {
    fn all(&self) -> &[Arc<ComponentState>] {
        match self {
            Self::None => &[],
            Self::One(exporter) => slice::from_ref(exporter),
            Self::Many(exporters) => exporters,
        }
    }

    /// Adds a component, unless it is there.
    fn add(&mut self, exporter: &Arc<ComponentState>) {
        let Err(at) = self.all().binary_search_by_key(&exporter.number(), |other| other.number()) else { return };
        match self {
            Self::None => *self = Self::One(exporter.clone()),
            Self::One(other) => {
                let mut both = vec![other.clone()];
                both.insert(at, exporter.clone());
                *self = Self::Many(Box::new(both));
            }
            Self::Many(exporters) => exporters.insert(at, exporter.clone()),
        }
    }

    /// Removes a component. Returns `true` if none is left.
    fn remove(&mut self, exporter: &ComponentState) -> bool {
        match self {
            Self::None => true,
            Self::One(other) => other.number() == exporter.number(),
            Self::Many(exporters) => {
                if let Ok(at) = exporters.binary_search_by_key(&exporter.number(), |other| other.number()) {
                    exporters.remove(at);
                }
                exporters.is_empty()
            }
        }
    }
}

impl Families {
    fn get(&self, stem: Stem<'_>) -> Option<&Known> {
        self.0.find(stem.hash.spread(), |known| known.is(stem))
    }

    fn get_mut(&mut self, stem: Stem<'_>) -> Option<&mut Known> {
        self.0.find_mut(stem.hash.spread(), |known| known.is(stem))
    }

    /// Adds a family whose stem is not there.
    fn insert(&mut self, known: Known) {
        self.0.insert_unique(known.hash.spread(), known, |known| known.hash.spread());
    }

    fn remove(&mut self, stem: Stem<'_>) -> Option<Known> {
        let place = self.0.find_entry(stem.hash.spread(), |known| known.is(stem)).ok()?;
        Some(place.remove().0)
    }
}

impl NameTable {
    /// Returns the family of that name for the host, which is made if there is none. The caller
    /// withdraws the metrics of guests that [conflict](Self::conflicting_with_host).
    ///
    /// # Errors
    ///
    /// Returns the conflict if the host has another type, unit or buckets under one of the names.
    pub(super) fn claim(&mut self, wanted: &WantedFamily) -> Result<Arc<FamilyInfo>, Box<Conflict>> {
        if let Some(known) = self.shared.known(&self.host, wanted) {
            return if known.is_same(&wanted.info) {
                Ok(known.info.clone())
            } else {
                Err(Conflict::new(wanted, known, true))
            };
        }
        self.host.insert(Known::new(wanted, Exporters::None));
        self.shared.add(wanted);
        Ok(wanted.info.clone())
    }

    /// Returns the family of that name for a component of its tenant, which exports it until it
    /// [releases](Self::release) the name.
    ///
    /// # Errors
    ///
    /// Returns the conflict if the host has one of the names, or if the tenant has another type,
    /// unit or buckets under one of them.
    pub(crate) fn export(
        &mut self,
        wanted: &WantedFamily,
        exporter: &Arc<ComponentState>,
    ) -> Result<Arc<FamilyInfo>, Box<Conflict>> {
        step();
        if let Some(known) = self.shared.known(&self.host, wanted) {
            return Err(Conflict::new(wanted, known, true));
        }
        let tenant = &wanted.info.tenant;
        let families = match self.tenants.get_mut(tenant) {
            Some(families) => families,
            None => self.tenants.entry(tenant.clone()).or_default(),
        };
        if let Some(known) = families.get_mut(wanted.stem()) {
            if !known.is_same(&wanted.info) {
                return Err(Conflict::new(wanted, known, false));
            }
            known.exporters.add(exporter);
            return Ok(known.info.clone());
        }
        if let Some(known) = self.shared.known(families, wanted) {
            return Err(Conflict::new(wanted, known, false));
        }
        families.insert(Known::new(wanted, Exporters::One(exporter.clone())));
        self.shared.add(wanted);
        Ok(wanted.info.clone())
    }

    /// Returns the family of a tenant that conflicts with a new one of the tenant's.
    pub(crate) fn conflicting(&self, tenant: &str, wanted: &WantedFamily) -> Option<&Arc<FamilyInfo>> {
        step();
        let known = self.shared.known(self.tenants.get(tenant)?, wanted)?;
        (!known.is_same(&wanted.info)).then_some(&known.info)
    }

    /// Returns a family of guests that conflicts with one of the host.
    pub(crate) fn conflicting_with_host(&self, wanted: &WantedFamily) -> Option<&Arc<FamilyInfo>> {
        self.tenants.values().find_map(|families| Some(&self.shared.known(families, wanted)?.info))
    }

    /// Returns the components that export a family of their tenant.
    pub(crate) fn exporters(&self, family: &FamilyInfo) -> &[Arc<ComponentState>] {
        let known = self.tenants.get(&family.tenant).and_then(|families| families.get(Stem::of(family)));
        known.filter(|known| known.is_same(family)).map_or(&[], |known| known.exporters.all())
    }

    /// Removes a component from those that export a family of its tenant, and the family if it was
    /// the last one.
    pub(crate) fn release(&mut self, family: &FamilyInfo, exporter: &ComponentState) {
        step();
        let known = self.tenants.get_mut(&family.tenant).and_then(|families| families.get_mut(Stem::of(family)));
        // A family that was withdrawn may have had the stem of this one.
        let known = known.filter(|known| known.is_same(family));
        if known.is_some_and(|known| known.exporters.remove(exporter)) {
            self.remove(family);
        }
    }

    /// Removes a family of a tenant.
    pub(crate) fn remove(&mut self, family: &FamilyInfo) {
        let Some(families) = self.tenants.get_mut(&family.tenant) else { return };
        if !families.get(Stem::of(family)).is_some_and(|known| known.is_same(family)) {
            return;
        }
        let Some(known) = families.remove(Stem::of(family)) else { return };
        if families.0.is_empty() {
            self.tenants.remove(&family.tenant);
        }
        self.shared.remove(&known);
    }

    /// Returns the families that need a name of another one, by which the exposition formats could
    /// not tell them apart: name and type.
    pub(crate) fn contested(&self) -> Vec<(String, FamilyKind)> {
        self.shared.contested()
    }
}

/// A family that cannot be made, because another one has its name.
#[derive(Debug)]
pub(crate) struct Conflict {
    wanted: Arc<FamilyInfo>,
    known: Arc<FamilyInfo>,
    /// One of the components that export the known family; `None` if the host does.
    owner: Option<Identity>,
}

impl Conflict {
    fn new(wanted: &WantedFamily, known: &Known, is_host: bool) -> Box<Self> {
        let owner = known.exporters.all().first().filter(|_| !is_host);
        let owner = owner.map(|exporter| exporter.identity().clone());
        Box::new(Self { wanted: wanted.info.clone(), known: known.info.clone(), owner })
    }

    /// Creates the conflict of a metric of guests with a new family of the host.
    pub(crate) fn with_host(guests: &Arc<FamilyInfo>, host: &Arc<FamilyInfo>) -> Self {
        Self { wanted: guests.clone(), known: host.clone(), owner: None }
    }

    /// Returns the reason and the remedy, for a person. `identity` is the component that declares
    /// the metric, unless the host does.
    pub(crate) fn describe(&self, identity: Option<&Identity>) -> String {
        let place = match &self.owner {
            owner @ Some(_) if owner.as_ref() == identity => "this component",
            Some(owner) => &owner.describe(),
            None => "the host",
        };
        if self.wanted.name() == self.known.name() && self.owner.is_none() == identity.is_some() {
            return format!(
                "{place} has it, and metrics of the host and of guests never share a name; rename one of the two metrics"
            );
        }
        // Both are named, unless they are the same.
        let own_place = identity.map_or_else(|| "the host".to_owned(), Identity::describe);
        self.wanted.conflict_with(&self.known, place, Some(own_place.as_str()).filter(|_| place != "this component"))
    }
}
