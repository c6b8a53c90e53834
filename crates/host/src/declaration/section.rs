//! The contents of a binary's descriptor sections, and the check of them as a whole.
//!
//! In come sections. Out come [`Declarations`] without what breaks a rule, which is rejected with a
//! reason. The module does not know the format of a binary.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use wasmetry_abi::name;
use wasmetry_abi::route::{RouteRecord, Routes};
use wasmetry_abi::site::{Facades, SiteRecord, Sites};
use wasmetry_abi::{Record, Records};

use super::check::{self, Overlap};
use super::site::Site;
use super::{Declarations, Inner, Metric, Rejected, RejectedCounts};
use crate::limits;
use crate::order::sorted;

/// The places in [`Found::indices`].
const RECORDS: usize = 0;
const SITES: usize = 1;
const ROUTES: usize = 2;

/// The contents of a binary's sections.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// The bytes of all sections.
    pub(super) bytes: usize,
    records: Vec<(&'a [u8], Metric)>,
    sites: Vec<(&'a [u8], Arc<Site>)>,
    routes: Vec<(u64, Arc<str>)>,
    /// The indices of the records, sites and routes, by their hashes.
    indices: [HashMap<u64, u32>; 3],
    facades: BTreeSet<String>,
    /// The indices of records whose hashes others have, too.
    clashes: BTreeSet<u64>,
    rejected: Vec<Rejected>,
    rejected_counts: RejectedCounts,
}

impl<'a> Found<'a> {
    pub(super) fn section(&mut self, section: &'a [u8]) {
        self.bytes = self.bytes.saturating_add(section.len());
        if self.bytes > limits::SECTION_BYTES {
            return self
                .reject("", format!("the descriptor sections have more than {} bytes in all", limits::SECTION_BYTES));
        }
        for record in Records::new(section) {
            match record {
                Ok(record) => self.record(&record),
                Err(error) => self.reject("", error.to_string()),
            }
        }
        for site in Sites::new(section) {
            match site {
                Ok(site) => self.site(&site),
                Err(error) => self.reject_site("", error.to_string()),
            }
        }
        for route in Routes::new(section) {
            match route {
                Ok(route) => self.route(&route),
                Err(error) => self.reject("", error.to_string()),
            }
        }
        for facade in Facades::new(section) {
            match facade {
                Ok(name) => self.facade(name),
                Err(error) => self.reject_site("", error.to_string()),
            }
        }
    }

    fn route(&mut self, record: &RouteRecord<'a>) {
        let template = record.route.template;
        let known = self.indices[ROUTES].get(&record.hash).map(|index| &*self.routes[*index as usize].1);
        match (known, name::route(template)) {
            // A route may be set in several places.
            (Some(known), _) if *known == *template => {}
            (Some(_), _) => self.reject(template, "another route has the same hash: change a character of it".into()),
            (None, Err(problem)) => self.reject(template, problem.into()),
            (None, Ok(())) if self.routes.len() == limits::ROUTES => {
                self.reject(template, format!("the binary declares more than {} routes", limits::ROUTES));
            }
            (None, Ok(())) => {
                self.indices[ROUTES].insert(record.hash, self.routes.len() as u32);
                self.routes.push((record.hash, template.into()));
            }
        }
    }

    fn facade(&mut self, name: &str) {
        if name.len() > wasmetry_abi::name::MAX_NAME {
            self.reject_site(name, format!("a facade's name has more than {} bytes", wasmetry_abi::name::MAX_NAME));
        } else if self.facades.len() < limits::FACADES {
            self.facades.insert(name.to_owned());
        }
    }

    fn site(&mut self, record: &SiteRecord<'a>) {
        match self.indices[SITES].get(&record.hash).map(|index| self.sites[*index as usize].0) {
            // Two equal sites on one line are one.
            Some(known) if known == record.bytes => {}
            Some(_) => {
                self.reject_site(record.site.text, "another call site has the same hash: change a word of it".into());
            }
            None if self.sites.len() == limits::SITES => {
                self.reject_site(record.site.text, format!("the binary has more than {} call sites", limits::SITES));
            }
            None => {
                self.indices[SITES].insert(record.hash, self.sites.len() as u32);
                self.sites.push((record.bytes, Arc::new(Site::new(record))));
            }
        }
    }

    fn record(&mut self, record: &Record<'a>) {
        let (name, bytes) = (record.descriptor.name, record.bytes);
        if let Some(index) = self.indices[RECORDS].get(&record.hash) {
            if self.records[*index as usize].0 != bytes && self.clashes.insert(record.hash) {
                self.reject(name, "another declaration has the same hash: change a word of its help text".into());
            }
            return;
        }
        match check::metric(record) {
            Ok(metric) if self.records.len() < limits::METRICS => {
                self.indices[RECORDS].insert(record.hash, self.records.len() as u32);
                self.records.push((bytes, metric));
            }
            Ok(_) => self.reject(name, format!("the binary declares more than {} metrics", limits::METRICS)),
            Err(reason) => self.reject(name, reason),
        }
    }

    /// Rejects a metric or a route, or a record that could not be decoded.
    pub(super) fn reject(&mut self, name: &str, reason: String) {
        self.rejected_counts.metrics += 1;
        self.list(name, reason);
    }

    /// Rejects a call site or a facade.
    fn reject_site(&mut self, name: &str, reason: String) {
        self.rejected_counts.sites += 1;
        self.list(name, reason);
    }

    fn list(&mut self, name: &str, reason: String) {
        if self.rejected.len() < limits::REJECTED {
            let name = name.chars().take(wasmetry_abi::name::MAX_NAME).collect();
            let rejected = Rejected { name, reason };
            if !self.rejected.contains(&rejected) {
                self.rejected.push(rejected);
            }
        }
    }

    pub(super) fn finish(mut self, uses_wasmetry: bool, uses_handle_api: bool, imports: Vec<String>) -> Declarations {
        let clashes = std::mem::take(&mut self.clashes);
        let candidates = std::mem::take(&mut self.records)
            .into_iter()
            .map(|(_, metric)| metric)
            .filter(|metric| !clashes.contains(&metric.hash))
            .collect();
        let candidates = sorted(candidates, |a, b| (&a.name, a.hash).cmp(&(&b.name, b.hash)));

        let (mut words, mut text) = (0, 0);
        let mut metrics: Vec<Arc<Metric>> = Vec::new();
        for metric in candidates {
            let namesakes = metrics.iter().rev().take_while(|other| other.name == metric.name);
            let entry_words = (metric.series() * metric.words()) as u64;
            if namesakes.clone().count() >= limits::NAMESAKES {
                self.reject(
                    &metric.name,
                    format!("the binary declares the name more than {} times", limits::NAMESAKES),
                );
            } else if namesakes.clone().any(|other| Overlap::of(other, &metric) == Overlap::Clash) {
                self.reject(
                    &metric.name,
                    "it is declared a second time, with another type, unit, buckets or labels".into(),
                );
            } else if words + entry_words > limits::WORDS_PER_COMPONENT {
                self.reject(
                    &metric.name,
                    format!("the binary's metrics have more than {} words in all", limits::WORDS_PER_COMPONENT),
                );
            } else if text + check::label_text(&metric) > limits::LABEL_TEXT_PER_COMPONENT {
                self.reject(
                    &metric.name,
                    format!("the binary's labels have more than {} bytes in all", limits::LABEL_TEXT_PER_COMPONENT),
                );
            } else {
                words += entry_words;
                text += check::label_text(&metric);
                metrics.push(Arc::new(metric));
            }
        }
        let sites: Vec<Arc<Site>> = std::mem::take(&mut self.sites).into_iter().map(|(_, site)| site).collect();
        let sites =
            sorted(sites, |a, b| (&a.source.file, a.source.line, a.hash).cmp(&(&b.source.file, b.source.line, b.hash)));
        let routes = sorted(std::mem::take(&mut self.routes), |(_, a), (_, b)| a.cmp(b));
        let facades = self.facades;
        let (rejected, rejected_counts) = (self.rejected, self.rejected_counts);
        let inner = Inner {
            metrics,
            sites,
            routes,
            facades,
            rejected,
            rejected_counts,
            uses_wasmetry,
            uses_handle_api,
            imports,
        };
        Declarations { inner: Arc::new(inner) }
    }
}
