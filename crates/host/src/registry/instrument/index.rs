//! The index of a family's series: their labels and rows, whatever the instrument is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ledger::{Charge, Ledger};
use crate::registry::owner::Labels;
use crate::registry::start_time::{Clock, StartTimes};
use crate::registry::step::step;
use crate::snapshot::labels::{ALLOCATION, Column, ColumnValues, LabelTable, OVERFLOW};
use crate::{GuestLimits, Identity, limits};

/// The keys of an identity in the order of the output.
const IDENTITY_ORDER: [&str; 3] = ["tenant", "component", "version"];

/// Bytes of a series beside its labels and its instrument: its places in the indexes.
const SERIES: usize = 240;

/// The most series that a component, and a tenant, have in one family of the host. All families of
/// a registry share it.
#[derive(Debug)]
pub(crate) struct SeriesLimits {
    component: AtomicU64,
    tenant: AtomicU64,
}

impl SeriesLimits {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self { component: limits.host_series.into(), tenant: limits.tenant_host_series.into() }
    }

    /// Sets the limits of new series. Those that are there stay.
    pub(crate) fn set(&self, limits: &GuestLimits) {
        self.component.store(limits.host_series, Relaxed);
        self.tenant.store(limits.tenant_host_series, Relaxed);
    }
}

/// The index of the series of one family of the host.
#[derive(Debug)]
pub(super) struct SeriesIndex {
    keys: Vec<String>,
    /// The places of the identity's labels among the keys, in the order of [`IDENTITY_ORDER`], if
    /// all of them are there.
    identity: Option<[usize; 3]>,
    /// The ids of the values of each key, in the label table.
    ids: Vec<HashMap<Arc<str>, u32>>,
    /// The row for the ids of all values.
    rows: HashMap<Box<[u32]>, u32>,
    limits: Arc<SeriesLimits>,
    labels: Arc<LabelTable>,
    start_times: StartTimes,
    /// The rows in the order of the output, by sort key. Other rows were removed.
    order: BTreeMap<Vec<String>, u32>,
    /// The series of each tenant; those of all if there is no identity.
    tenants: HashMap<String, TenantSeries>,
}

/// The series of one tenant.
#[derive(Debug, Default)]
struct TenantSeries {
    number: usize,
    /// The bytes of their labels.
    bytes: usize,
    /// The memory of the series, as of the latest snapshot.
    charge: Option<Charge>,
    /// The number of series of each component: its name and its version.
    components: HashMap<(String, String), usize>,
}

impl SeriesIndex {
    pub(super) fn new(keys: &[&str], clock: &Clock, has_start_times: bool, limits: &Arc<SeriesLimits>) -> Self {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let columns = keys.iter().map(|key| Column { key: key.clone(), values: ColumnValues::Texts });
        let labels = Arc::new(LabelTable::new(Arc::default(), columns.collect()));
        let place = |identity: &str| keys.iter().position(|key| key == identity);
        let identity = match IDENTITY_ORDER.map(place) {
            [Some(tenant), Some(component), Some(version)] => Some([tenant, component, version]),
            _ => None,
        };
        Self {
            ids: keys.iter().map(|_| HashMap::new()).collect(),
            keys,
            identity,
            rows: HashMap::new(),
            limits: Arc::clone(limits),
            labels,
            start_times: if has_start_times { StartTimes::new(clock, true) } else { StartTimes::Unknown },
            order: BTreeMap::new(),
            tenants: HashMap::new(),
        }
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    pub(super) fn labels(&self) -> &Arc<LabelTable> {
        &self.labels
    }

    pub(super) fn start_times(&self) -> &StartTimes {
        &self.start_times
    }

    /// Returns the rows in the order of the output.
    pub(super) fn order(&self) -> Vec<u32> {
        self.order.values().copied().collect()
    }

    /// Returns the row of a series with these values. A missing value is an empty one.
    pub(super) fn row(&self, values: &[&str]) -> Option<usize> {
        self.rows.get(&self.ids_of(values)?).map(|row| *row as usize)
    }

    fn ids_of(&self, values: &[&str]) -> Option<Box<[u32]>> {
        let values = values.iter().copied().chain(std::iter::repeat(""));
        self.ids.iter().zip(values).map(|(ids, value)| ids.get(value).copied()).collect()
    }

    /// Returns the identity in values of the keys, in the order of [`IDENTITY_ORDER`].
    pub(super) fn identity<'a>(&self, values: &[&'a str]) -> Option<[&'a str; 3]> {
        Some(self.identity?.map(|at| values.get(at).copied().unwrap_or_default()))
    }

    /// Returns `true` if there is room for one more series with these values: of its component and
    /// tenant, or of the family. Components without a tenant share no room.
    pub(super) fn has_room(&self, values: &[&str]) -> bool {
        let Some([tenant, component, version]) = self.identity(values) else {
            return self.order.len() < limits::SERIES_PER_HOST_FAMILY;
        };
        let Some(series) = self.tenants.get(tenant) else { return true };
        let of_component = series.components.get(&(component.to_owned(), version.to_owned()));
        let has_room = |number: usize, most: &AtomicU64| (number as u64) < most.load(Relaxed);
        (tenant.is_empty() || has_room(series.number, &self.limits.tenant))
            && of_component.is_none_or(|of_component| has_room(*of_component, &self.limits.component))
    }

    /// Returns the values of the series that stands for one with these values, for which there is
    /// no room.
    pub(super) fn overflow<'a>(&self, values: &[&'a str]) -> Vec<&'a str> {
        let mut overflow = vec![OVERFLOW; self.keys.len()];
        for at in self.identity.into_iter().flatten() {
            overflow[at] = values.get(at).copied().unwrap_or_default();
        }
        overflow
    }

    /// Adds a series with these values. Its row is the next one.
    pub(super) fn push(&mut self, values: &[&str]) {
        self.push_sorted(self.sort_key(values), values);
    }

    fn push_sorted(&mut self, sort_key: Vec<String>, values: &[&str]) {
        let [tenant, component, version] = self.identity(values).unwrap_or_default();
        let series = match self.tenants.get_mut(tenant) {
            Some(series) => series,
            None => self.tenants.entry(tenant.to_owned()).or_default(),
        };
        series.number += 1;
        series.bytes += label_bytes(&sort_key);
        *series.components.entry((component.to_owned(), version.to_owned())).or_default() += 1;

        let labels = Arc::make_mut(&mut self.labels);
        let values = values.iter().copied().chain(std::iter::repeat(""));
        let ids = self.ids.iter_mut().zip(values).enumerate().map(|(column, (ids, value))| match ids.get(value) {
            Some(id) => *id,
            None => {
                let text: Arc<str> = value.into();
                let id = labels.add_text(column, text.clone());
                ids.insert(text, id);
                id
            }
        });
        let ids: Box<[u32]> = ids.collect();
        let row = labels.push(&ids);
        self.start_times.resize(row + 1);
        self.rows.insert(ids, row as u32);
        self.order.insert(sort_key, row as u32);
    }

    /// Removes the series that have all these labels from the output. Their rows are freed later.
    pub(super) fn remove(&mut self, labels: &Labels) {
        let keys: Option<Vec<(usize, &String)>> =
            labels.iter().map(|(key, value)| Some((self.sort_index(key)?, value))).collect();
        let Some(keys) = keys else { return };
        // The series of one identity are beside each other.
        let identity = (0..IDENTITY_ORDER.len()).map(|at| keys.iter().find(|(own, _)| *own == at));
        let identity: Vec<String> = identity.map_while(|key| Some(key?.1.clone())).collect();
        let affected = self.order.range(identity.clone()..).map(|(sort_key, _)| sort_key);
        let affected = affected.take_while(|sort_key| sort_key.starts_with(&identity)).inspect(|_| step());
        let is_removed = |sort_key: &&Vec<String>| {
            keys.iter().all(|(at, value)| sort_key.get(*at).map_or("", String::as_str) == value.as_str())
        };
        let removed: Vec<Vec<String>> = affected.filter(is_removed).cloned().collect();
        removed.iter().for_each(|sort_key| self.remove_one(sort_key));
    }

    fn remove_one(&mut self, sort_key: &[String]) {
        let Some(row) = self.order.remove(sort_key) else { return };
        let values: Vec<_> = (0..self.ids.len()).map(|column| self.labels.value(row as usize, column)).collect();
        let ids = self.ids_of(&values.iter().map(|value| &**value).collect::<Vec<_>>());
        if let Some(ids) = ids {
            self.rows.remove(&ids);
        }
        let key = match (self.identity, sort_key) {
            (Some(_), [tenant, component, version, ..]) => [tenant, component, version].map(String::as_str),
            _ => [""; 3],
        };
        let Some(series) = self.tenants.get_mut(key[0]) else { return };
        series.number = series.number.saturating_sub(1);
        series.bytes = series.bytes.saturating_sub(label_bytes(sort_key));
        let component = (key[1].to_owned(), key[2].to_owned());
        if let Some(of_component) = series.components.get_mut(&component) {
            *of_component = of_component.saturating_sub(1);
            if *of_component == 0 {
                series.components.remove(&component);
            }
        }
        if series.components.is_empty() {
            self.tenants.remove(key[0]);
        }
    }

    /// Frees the rows that were removed, if there are many. Returns the rows that are left, in the
    /// order of their new numbers.
    pub(super) fn compact(&mut self) -> Option<Vec<u32>> {
        if self.labels.len() <= 2 * self.order.len() + limits::REMOVED_SERIES {
            return None;
        }
        let (labels, order) = (Arc::clone(&self.labels), std::mem::take(&mut self.order));
        self.ids.iter_mut().for_each(|ids| *ids = HashMap::new());
        (self.rows, self.tenants) = (HashMap::new(), HashMap::new());
        self.labels = Arc::new(labels.emptied());
        self.start_times = std::mem::take(&mut self.start_times).only(order.values().map(|row| *row as usize));
        let rows = order.values().copied().collect();
        for (sort_key, row) in order {
            step();
            let values: Vec<_> = (0..self.keys.len()).map(|column| labels.value(row as usize, column)).collect();
            self.push_sorted(sort_key, &values.iter().map(|value| &**value).collect::<Vec<_>>());
        }
        Some(rows)
    }

    /// Charges the approximate bytes of the series to their tenants. An instrument has this many.
    pub(super) fn charge(&mut self, instrument: usize, ledger: &Ledger) {
        for (tenant, series) in &mut self.tenants {
            let charge = series.charge.get_or_insert_with(|| Charge::new(ledger.tenant(tenant)));
            charge.set(series.bytes + (SERIES + instrument) * series.number);
        }
    }

    /// Returns the sort key of a series: its identity in the order of [`Identity`], then its other
    /// labels.
    fn sort_key(&self, values: &[&str]) -> Vec<String> {
        let keys = || self.keys.iter().zip(values);
        let identity = IDENTITY_ORDER.map(|identity| {
            keys().find(|(key, _)| *key == identity).map_or_else(String::new, |(_, value)| (*value).to_owned())
        });
        let others = keys().filter(|(key, _)| !Identity::KEYS.contains(&key.as_str()));
        identity.into_iter().chain(others.map(|(_, value)| (*value).to_owned())).collect()
    }

    /// Returns the index of a label in the [`sort_key`](Self::sort_key).
    fn sort_index(&self, key: &str) -> Option<usize> {
        if !self.keys.iter().any(|own| own == key) {
            return None;
        }
        IDENTITY_ORDER.into_iter().position(|identity| identity == key).or_else(|| {
            let mut others = self.keys.iter().filter(|key| !Identity::KEYS.contains(&key.as_str()));
            others.position(|own| own == key).map(|at| IDENTITY_ORDER.len() + at)
        })
    }
}

/// Returns the approximate bytes of a series' labels: in the sort key, as a value that no other
/// series has, and rendered.
fn label_bytes(sort_key: &[String]) -> usize {
    let label = |value: &String| size_of::<String>() + 2 * ALLOCATION + 3 * value.len();
    sort_key.iter().map(label).sum()
}
