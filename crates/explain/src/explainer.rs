//! The requests that are kept, within one bound, and the two groups of them that are compared.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use wasmetry_host::record::{FieldValue, Level, TraceId};
use wasmetry_host::{HandleSite, Identity, RequestFacts, SeriesKey, SeriesLabels, Site, SiteKind};

use crate::attribute::{Attribute, AttributeId, AttributeKind, Names, is_outcome_key};
use crate::limits;
use crate::selection::{Group, Request, Selection};

/// A request that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) request: Request,
    /// Sorted, each once.
    pub(crate) attributes: Arc<[AttributeId]>,
}

impl Kept {
    fn size(&self) -> usize {
        // The counts of an `Arc`, and the allocator's overhead.
        size_of::<Self>() + 32 + size_of_val(&*self.attributes)
    }

    fn has(&self, id: AttributeId) -> bool {
        self.attributes.binary_search(&id).is_ok()
    }
}

/// The requests of one route, the oldest first: normal ones, and the others.
#[derive(Debug, Default)]
struct Lists {
    normal: VecDeque<Kept>,
    others: VecDeque<Kept>,
}

/// Keeps what requests had in common, within a bound.
#[derive(Debug)]
pub struct Explainer {
    limit: usize,
    names: Names,
    routes: HashMap<(AttributeId, AttributeId), Lists>,
    series: HashMap<SeriesKey, Box<[AttributeId]>>,
    sites: HashMap<u64, Option<AttributeId>>,
    /// Bytes of the requests.
    bytes: usize,
    removed: u64,
    cut: u64,
    /// Requests that were added.
    added: u64,
    /// The value of `added` from which attributes may be swept again.
    sweep_from: u64,
}

/// Requests between two sweeps of attributes, so that a full table costs little.
const SWEEP_INTERVAL: u64 = 4096;

/// The bytes of a site that is known by its number.
const SITE_BYTES: usize = 32;

impl Explainer {
    /// Creates an empty one that keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            names: Names::new(limits::ATTRIBUTE_BYTES.min(limit / 4)),
            routes: HashMap::new(),
            series: HashMap::new(),
            sites: HashMap::new(),
            bytes: 0,
            removed: 0,
            cut: 0,
            added: 0,
            sweep_from: 0,
        }
    }

    /// The memory in use, in bytes.
    pub fn size(&self) -> usize {
        self.bytes + self.names.size() + self.series_size() + SITE_BYTES * self.sites.len()
    }

    /// The number of requests that are kept.
    pub fn requests(&self) -> usize {
        self.routes.values().map(|lists| lists.normal.len() + lists.others.len()).sum()
    }

    /// The number of requests that were removed to stay within the bounds.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// The number of attributes that were left out because there was no room for them.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Adds a request by its facts. `weight` is the number of requests that it stands for.
    ///
    /// `labels` are those of its series that an earlier attempt did not know. So they are found
    /// without the lock that the explainer may be behind: a request with many new series holds up
    /// no other one.
    ///
    /// # Errors
    ///
    /// Returns the series that are not known if there are some and `labels` is `None`. The request
    /// was not added then.
    pub fn add(
        &mut self,
        identity: &Identity,
        facts: &RequestFacts,
        group: Group,
        weight: u32,
        labels: Option<&HashMap<SeriesKey, SeriesLabels>>,
    ) -> Result<(), Vec<SeriesKey>> {
        if labels.is_none() {
            self.start();
        }
        let mut ids = Vec::with_capacity(16 + facts.series.len() + facts.sites.len());
        let route = facts.http.as_ref().map_or("", |http| &*http.route);
        for (kind, key, value) in [
            (AttributeKind::Component, "component", identity.component()),
            (AttributeKind::Route, "route", route),
            (AttributeKind::Tenant, "tenant", identity.tenant()),
            (AttributeKind::Version, "version", identity.version()),
        ] {
            ids.push(self.names.intern(kind, key, value));
        }
        let list = (ids[0], ids[1]);
        if let Some(http) = &facts.http {
            ids.push(self.names.intern(AttributeKind::Method, "method", http.method));
            ids.push(self.names.intern(AttributeKind::Status, "status", &http.status.to_string()));
        }
        if let Some((reason, _)) = &facts.error {
            ids.push(self.names.intern(AttributeKind::Reason, "reason", reason));
        }
        for (key, value) in &facts.attributes {
            let kind = if is_outcome_key(key) { AttributeKind::Outcome } else { AttributeKind::RequestAttribute };
            match value {
                FieldValue::Text(value) => ids.push(self.names.intern(kind, key, value)),
                FieldValue::Bool(value) => {
                    ids.push(self.names.intern(kind, key, if *value { "true" } else { "false" }))
                }
                // Numbers have too many values to be shared by many requests.
                _ => {}
            }
        }
        for site in &facts.sites {
            let id = match self.sites.get(&site.hash) {
                Some(id) => *id,
                None => {
                    let id = site_attribute(&mut self.names, site);
                    self.sites.insert(site.hash, id);
                    id
                }
            };
            ids.push(id);
        }
        ids.extend(facts.handle_sites.iter().map(|site| handle_attribute(&mut self.names, site)));
        let mut unknown = Vec::new();
        for key in &facts.series {
            if let Some(known) = self.series.get(key) {
                ids.extend(known.iter().copied().map(Some));
                continue;
            }
            let Some(labels) = labels else {
                unknown.push(*key);
                continue;
            };
            // It was known at the first attempt, or removed since.
            let found_late;
            let labels = match labels.get(key) {
                Some(labels) => labels,
                None => {
                    let Some(labels) = facts.labels(*key) else { continue };
                    found_late = labels;
                    &found_late
                }
            };
            let found = series_attributes(&mut self.names, labels);
            // Names that found no room are tried again when there may be some.
            self.series.insert(*key, found.iter().flatten().copied().collect());
            ids.extend(found);
        }
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let trace = facts.trace.map(|trace| trace.trace_id);
        let request = Request { group, end: facts.end, took: facts.took, weight, trace };
        self.keep(request, ids, list);
        Ok(())
    }

    /// Adds a request by its attributes.
    pub fn add_request(&mut self, request: Request, attributes: Vec<Attribute>) {
        self.start();
        let mut list = (None, None);
        let mut ids = Vec::with_capacity(attributes.len());
        for attribute in attributes {
            let id = self.names.intern(attribute.kind, &attribute.key, &attribute.value);
            match attribute.kind {
                AttributeKind::Component => list.0 = id,
                AttributeKind::Route => list.1 = id,
                _ => {}
            }
            ids.push(id);
        }
        self.keep(request, ids, list);
    }

    /// Makes room for new names.
    fn start(&mut self) {
        self.added += 1;
        if self.series.len() >= limits::SERIES || self.series_size() > self.limit / 4 {
            self.series.clear();
        }
        if self.sites.len() >= limits::ATTRIBUTES || SITE_BYTES * self.sites.len() > self.limit / 8 {
            self.sites.clear();
        }
        if !self.names.is_full() || self.added < self.sweep_from {
            return;
        }
        self.sweep_from = self.added + SWEEP_INTERVAL;
        self.series.clear();
        self.sites.clear();
        let of_lists = |(component, route): &(AttributeId, AttributeId)| [*component, *route];
        let lists = self.routes.values().flat_map(|lists| lists.normal.iter().chain(&lists.others));
        let in_use = lists.flat_map(|kept| kept.attributes.iter().copied());
        let in_use = in_use.chain(self.routes.keys().flat_map(of_lists)).filter(|id| *id != NO_NAME);
        self.names.sweep(in_use);
    }

    fn keep(
        &mut self,
        mut request: Request,
        ids: Vec<Option<AttributeId>>,
        list: (Option<AttributeId>, Option<AttributeId>),
    ) {
        self.cut += ids.iter().filter(|id| id.is_none()).count() as u64;
        let mut ids: Vec<AttributeId> = ids.into_iter().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > limits::ATTRIBUTES_PER_REQUEST {
            self.cut += (ids.len() - limits::ATTRIBUTES_PER_REQUEST) as u64;
            // The names that were known first are those of the most requests.
            ids.truncate(limits::ATTRIBUTES_PER_REQUEST);
        }
        // Requests of few weights are counted together.
        request.weight = request.weight.clamp(1, 1 << 30).next_power_of_two();
        let key = (list.0.unwrap_or(NO_NAME), list.1.unwrap_or(NO_NAME));
        let has_room = self.routes.len() < limits::ROUTES || self.routes.contains_key(&key);
        let lists = self.routes.entry(if has_room { key } else { (NO_NAME, NO_NAME) }).or_default();
        let list = if request.group == Group::Normal { &mut lists.normal } else { &mut lists.others };
        let kept = Kept { request, attributes: ids.into() };
        self.bytes += kept.size();
        list.push_back(kept);
        if list.len() > limits::REQUESTS_PER_ROUTE
            && let Some(oldest) = list.pop_front()
        {
            self.bytes -= oldest.size();
            self.removed += 1;
        }
        while self.size() > self.limit && self.remove_some() {}
    }

    /// Removes the oldest eighth of the longest list. Returns `false` if there is none.
    fn remove_some(&mut self) -> bool {
        let lists = self.routes.values_mut().flat_map(|lists| [&mut lists.normal, &mut lists.others]);
        let Some(longest) = lists.max_by_key(|list| list.len()).filter(|list| !list.is_empty()) else { return false };
        let count = longest.len().div_ceil(8);
        for oldest in longest.drain(..count) {
            self.bytes -= oldest.size();
        }
        self.removed += count as u64;
        self.routes.retain(|_, lists| !lists.normal.is_empty() || !lists.others.is_empty());
        true
    }

    fn series_size(&self) -> usize {
        // A key, a pointer and a length, and the ids of two labels.
        self.series.len() * (size_of::<(SeriesKey, Box<[AttributeId]>)>() + 24)
    }

    /// The components that have requests, each with its tenant, in alphabetical order. An empty
    /// tenant stands for none.
    pub fn identities(&self) -> Vec<(String, String)> {
        let mut found: HashSet<(AttributeId, Option<AttributeId>)> = HashSet::new();
        for ((component, _), lists) in &self.routes {
            for kept in lists.normal.iter().chain(&lists.others) {
                let is_tenant = |id: &AttributeId| {
                    self.names.get(*id).is_some_and(|attribute| attribute.kind == AttributeKind::Tenant)
                };
                found.insert((*component, kept.attributes.iter().copied().find(is_tenant)));
            }
        }
        let value = |id: AttributeId| self.names.get(id).map(|attribute| attribute.value.to_string());
        let identity = |(component, tenant): (AttributeId, Option<AttributeId>)| {
            Some((value(component)?, tenant.and_then(value).unwrap_or_default()))
        };
        let mut identities: Vec<(String, String)> = found.into_iter().filter_map(identity).collect();
        identities.sort();
        identities.dedup();
        identities
    }

    /// Takes the requests of two groups out, so that they are compared without a lock on this.
    pub fn select(&self, selection: &Selection) -> Groups {
        let filters = [
            (AttributeKind::Component, "component", &selection.component),
            (AttributeKind::Tenant, "tenant", &selection.tenant),
            (AttributeKind::Route, "route", &selection.route),
        ];
        let mut required = Vec::new();
        for (kind, key, value) in filters {
            let Some(value) = value else { continue };
            match self.names.find(kind, key, value) {
                Some(id) => required.push(id),
                None => return Groups::default(),
            }
        }
        let mut groups = [Vec::new(), Vec::new()];
        for kept in self.routes.values().flat_map(|lists| lists.normal.iter().chain(&lists.others)) {
            if !required.iter().all(|id| kept.has(*id)) {
                continue;
            }
            if let Some(group) = selection.group_of(&kept.request) {
                groups[group].push(kept.clone());
            }
        }
        let of = [0, 1].map(|group| groups[group].iter().map(|kept| u64::from(kept.request.weight)).sum());
        for group in &mut groups {
            let newest = |kept: &Kept| (std::cmp::Reverse(kept.request.end), kept.request.trace.map(TraceId::number));
            group.sort_by_key(newest);
            group.truncate(limits::GROUP);
        }
        let mut names = HashMap::new();
        for id in groups.iter().flatten().flat_map(|kept| kept.attributes.iter()) {
            if let Some(attribute) = self.names.get(*id) {
                names.entry(*id).or_insert_with(|| Arc::clone(attribute));
            }
        }
        required.iter().for_each(|id| drop(names.remove(id)));
        let has_durations = selection.durations.is_some();
        Groups {
            requests: groups,
            names,
            of,
            is_failure: !has_durations && (selection.failed || selection.all),
            selects_failed: selection.failed,
            is_against_rest: has_durations || selection.all,
        }
    }
}

/// Stands for a name that found no room.
const NO_NAME: AttributeId = AttributeId::MAX;

impl Groups {
    /// The traces of the selected requests, the newest first.
    pub fn traces(&self) -> Vec<u128> {
        self.requests[0].iter().filter_map(|kept| kept.request.trace.map(TraceId::number)).collect()
    }
}

/// Two groups of requests, and the names of their attributes.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// The selected requests and the normal ones, the newest first.
    pub(crate) requests: [Vec<Kept>; 2],
    pub(crate) names: HashMap<AttributeId, Arc<Attribute>>,
    /// The number of requests that each group stands for.
    pub(crate) of: [u64; 2],
    /// `true` if attributes that report a failure are signs of the selection.
    pub(crate) is_failure: bool,
    /// `true` if failed requests are selected as such.
    pub(crate) selects_failed: bool,
    /// `true` if the normal requests are all that are not selected.
    pub(crate) is_against_rest: bool,
}

fn site_attribute(names: &mut Names, site: &Site) -> Option<AttributeId> {
    match site.kind {
        SiteKind::Span(_) => names.intern(AttributeKind::Span, "span", &site.text),
        _ => {
            let kind = if site.level == Level::Error { AttributeKind::ErrorSite } else { AttributeKind::LogSite };
            names.intern(kind, &format!("{}:{}", site.source.file, site.source.line), &site.text)
        }
    }
}

fn handle_attribute(names: &mut Names, site: &HandleSite) -> Option<AttributeId> {
    match site.level {
        None => names.intern(AttributeKind::Span, "span", &site.text),
        Some(Level::Error) => names.intern(AttributeKind::ErrorSite, &site.target, &site.text),
        Some(_) => names.intern(AttributeKind::LogSite, &site.target, &site.text),
    }
}

/// Returns the attributes of a series: one for each of its labels, or its metric's.
fn series_attributes(names: &mut Names, series: &SeriesLabels) -> Vec<Option<AttributeId>> {
    if series.labels.is_empty() {
        return vec![names.intern(AttributeKind::Metric, &series.metric, "")];
    }
    let label = |(key, value): &(String, String)| {
        let kind = if is_outcome_key(key) { AttributeKind::Outcome } else { AttributeKind::Label };
        names.intern(kind, &format!("{}{{{key}}}", series.metric), value)
    };
    series.labels.iter().map(label).collect()
}
