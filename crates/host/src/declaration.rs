//! Declarations: the metrics and call sites of a binary, read from it without running it.
//!
//! In comes a binary. Out come [`Declarations`], whose names, labels and bounds obey the rules of
//! `abi::name`, and the rejected ones. The folder does not know registries, values or memory.

mod check;
pub(crate) mod dynamic;
pub(crate) mod error;
pub(crate) mod site;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use wasmetry_abi::name;
use wasmetry_abi::route::{RouteRecord, Routes};
use wasmetry_abi::site::{Facades, SiteRecord, Sites};
use wasmetry_abi::{Kind, LabelShape, Merge, Record, Records, SECTION, SECTION_PREFIX, WIT_PACKAGE};
use wasmparser::{Parser, Payload};

use crate::declaration::error::ParseError;
use crate::declaration::site::Site;
use crate::{Error, limits};
pub(crate) use check::{Overlap, exported_keys, metric};

/// A declared metric.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The hash of its record. A region refers to the metric by it.
    pub hash: u64,
    /// The name; a counter's ends in `_total`.
    pub name: String,
    /// The kind.
    pub kind: Kind,
    /// The description.
    pub help: String,
    /// The unit, or an empty text.
    pub unit: String,
    /// The merge rule of a gauge, by which the values of several instances become one.
    pub merge: Merge,
    /// The labels, in declaration order.
    pub labels: Vec<Label>,
    /// The constant labels: key and value.
    pub const_labels: Vec<(String, String)>,
    /// A histogram's bucket bounds in the metric's unit, in rising order, without `+Inf`.
    pub buckets: Vec<f64>,
    /// The number of buckets in each series of an exponential histogram; 0 for all other kinds.
    pub max_buckets: u16,
    /// `true` if an observer of the guest sets the metric shortly before a host reads it.
    pub is_observed: bool,
}

impl Metric {
    /// The keys of its labels in exported series, then those of its constant labels.
    ///
    /// A key that a component's identity has begins with `exported_` there.
    pub fn exported_keys(&self) -> Vec<Cow<'_, str>> {
        exported_keys(self)
    }

    /// The number of series of an instance; it is within the limits.
    pub(crate) fn series(&self) -> usize {
        self.labels.iter().map(|label| label.values.positions() as usize).product()
    }

    /// The number of 8-byte words of a series.
    pub(crate) fn words(&self) -> usize {
        let buckets = if self.kind.is_exponential() { usize::from(self.max_buckets) } else { self.buckets.len() };
        wasmetry_abi::layout::cell_words(self.kind, buckets)
    }

    /// The bytes of the text labels' tables, which follow an entry's head.
    pub(crate) fn tables(&self) -> usize {
        self.labels.iter().map(|label| label.values.table()).sum()
    }

    /// The bytes of an exponential histogram's scratch area, between the tables and the cells.
    pub(crate) fn scratch(&self) -> usize {
        8 * wasmetry_abi::layout::scratch_words(self.kind, self.max_buckets)
    }

    /// Returns `true` if every series is known in advance.
    pub(crate) fn is_dense(&self) -> bool {
        self.labels.iter().all(|label| !matches!(label.values, LabelValues::Text { .. }))
    }
}

/// One label of a declared metric.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Label {
    /// The label's key.
    pub key: String,
    /// The values that the label can have.
    pub values: LabelValues,
}

/// The values that a label can have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelValues {
    /// These values.
    Listed(Vec<String>),
    /// The integers below a bound, and `overflow`.
    Below(u32),
    /// Texts of the run time, and `overflow`.
    Text {
        /// The maximum number of different texts in one instance.
        capacity: u32,
        /// The maximum length of a text in bytes.
        max_len: u32,
    },
}

impl LabelValues {
    /// The number of positions, the overflow position included.
    pub(crate) fn positions(&self) -> u64 {
        match self {
            Self::Listed(values) => values.len() as u64,
            Self::Below(bound) => u64::from(*bound) + 1,
            Self::Text { capacity, .. } => u64::from(*capacity) + 1,
        }
    }

    /// The bytes of the label's table in an entry.
    pub(crate) fn table(&self) -> usize {
        match self {
            // `check` has refused a table that does not fit.
            Self::Text { capacity, max_len } => wasmetry_abi::layout::table_size(*capacity, *max_len)
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(usize::MAX),
            _ => 0,
        }
    }
}

/// A declaration that the host rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// The metric's name; empty if the record could not be decoded up to it.
    pub name: String,
    /// The reason, and the remedy if there is one.
    pub reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "a declaration is refused: {}", self.reason),
            name => write!(f, "the declaration of `{name}` is refused: {}", self.reason),
        }
    }
}

/// The declarations of a binary. A clone shares them.
///
/// ```
/// // An empty component declares nothing and does not use wasmetry.
/// let declarations = wasmetry_host::Declarations::from_wasm(b"\0asm\x0d\0\x01\0").unwrap();
/// assert!(declarations.metrics().is_empty() && !declarations.uses_wasmetry());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    metrics: Vec<Metric>,
    sites: Vec<Arc<Site>>,
    routes: Vec<(u64, Arc<str>)>,
    facades: BTreeSet<String>,
    rejected: Vec<Rejected>,
    uses_wasmetry: bool,
    uses_handle_api: bool,
    imports: Vec<String>,
}

impl Declarations {
    /// Reads the descriptor sections of a component or core module, and of all modules and
    /// components in it.
    ///
    /// Declarations that break a rule or exceed a limit are in [`rejected`](Self::rejected); the
    /// others are valid.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not WebAssembly, or cannot be parsed to their end.
    pub fn from_wasm(bytes: &[u8]) -> Result<Self, Error> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::NotWasm);
        }
        let (mut uses_wasmetry, mut uses_handle_api) = (false, false);
        let (mut imports, mut depth) = (Vec::new(), 0u32);
        let mut found = Found::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == SECTION => found.section(section.data()),
                Payload::CustomSection(section) if section.name().starts_with(SECTION_PREFIX) => found.reject(
                    "",
                    format!(
                        "section `{}` is of another version than `{SECTION}`, which this release reads",
                        section.name()
                    ),
                ),
                // Items that the parser does not support are newer than this crate's.
                Payload::ComponentImportSection(section) => {
                    for import in section.into_iter().flatten() {
                        let name = import.name.name;
                        uses_wasmetry |= is_region(name);
                        uses_handle_api |= is_handle_api(name);
                        // An import of a component within may be met by another one within.
                        if depth == 1 && interface(name).is_some() && imports.len() < limits::IMPORTS {
                            imports.push(name.to_owned());
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    uses_wasmetry |= section.into_imports().flatten().any(|import| is_region(import.module));
                }
                Payload::ExportSection(exports) => {
                    uses_wasmetry |=
                        exports.into_iter().flatten().any(|export| export.name.starts_with("wasmetry_region_"));
                }
                _ => {}
            }
        }
        Ok(found.finish(uses_wasmetry, uses_handle_api, imports))
    }

    /// Reads the bytes of descriptor sections.
    ///
    /// ```
    /// use wasmetry_abi::{Descriptor, Kind};
    ///
    /// const REQUESTS: Descriptor<'static> =
    ///     Descriptor::new(Kind::CounterU64, "http_requests_total", "HTTP requests.");
    /// static RECORD: [u8; REQUESTS.record_len()] = REQUESTS.encode();
    /// let declarations = wasmetry_host::Declarations::from_sections([&RECORD[..]]);
    /// assert_eq!(declarations.metrics()[0].name, "http_requests_total");
    /// ```
    pub fn from_sections<'a>(sections: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Found::default();
        for section in sections {
            found.section(section);
        }
        let uses_wasmetry = found.bytes > 0;
        found.finish(uses_wasmetry, false, Vec::new())
    }

    /// The metrics, sorted by name.
    pub fn metrics(&self) -> &[Metric] {
        &self.inner.metrics
    }

    /// The call sites of logs, events and spans, by file and line.
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.inner.sites
    }

    /// The routes of requests, by their names, each with the hash of its record.
    pub fn routes(&self) -> &[(u64, Arc<str>)] {
        &self.inner.routes
    }

    /// The facades whose call sites the binary defines at run time, such as `log`, sorted.
    ///
    /// The call sites of libraries that use them are in no section, so [`sites`](Self::sites) lacks
    /// them.
    pub fn facades(&self) -> impl ExactSizeIterator<Item = &str> {
        self.inner.facades.iter().map(String::as_str)
    }

    /// The rejected declarations; at most [`limits::REJECTED`] of them.
    pub fn rejected(&self) -> &[Rejected] {
        &self.inner.rejected
    }

    /// Returns `true` if the binary imports or exports the interface of the crate `wasmetry`.
    ///
    /// If such a binary declares nothing, a tool has removed its descriptor section.
    pub fn uses_wasmetry(&self) -> bool {
        self.inner.uses_wasmetry
    }

    /// Returns `true` if the binary imports the handle API. Its metrics, logs and spans are then
    /// known only at run time.
    pub fn uses_handle_api(&self) -> bool {
        self.inner.uses_handle_api
    }

    /// The interfaces of `wasmetry:telemetry` that a component imports, by their full names, such
    /// as `wasmetry:telemetry/region@0.1.0`; at most [`limits::IMPORTS`] of them.
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }
}

/// The contents of a binary's sections.
#[derive(Default)]
struct Found<'a> {
    bytes: usize,
    records: BTreeMap<u64, (&'a [u8], Metric)>,
    sites: BTreeMap<u64, (&'a [u8], Arc<Site>)>,
    routes: BTreeMap<u64, Arc<str>>,
    facades: BTreeSet<String>,
    clashes: HashSet<u64>,
    rejected: Vec<Rejected>,
}

impl<'a> Found<'a> {
    fn section(&mut self, section: &'a [u8]) {
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
                Err(error) => self.reject("", error.to_string()),
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
                Err(error) => self.reject("", error.to_string()),
            }
        }
    }

    fn route(&mut self, record: &RouteRecord<'a>) {
        let template = record.route.template;
        match (self.routes.get(&record.hash), name::route(template)) {
            // A route may be set in several places.
            (Some(known), _) if **known == *template => {}
            (Some(_), _) => self.reject(template, "another route has the same hash: change a character of it".into()),
            (None, Err(problem)) => self.reject(template, problem.into()),
            (None, Ok(())) if self.routes.len() == limits::ROUTES => {
                self.reject(template, format!("the binary declares more than {} routes", limits::ROUTES));
            }
            (None, Ok(())) => {
                self.routes.insert(record.hash, template.into());
            }
        }
    }

    fn facade(&mut self, name: &str) {
        if name.len() > wasmetry_abi::name::MAX_NAME {
            self.reject(name, format!("a facade's name has more than {} bytes", wasmetry_abi::name::MAX_NAME));
        } else if self.facades.len() < limits::FACADES {
            self.facades.insert(name.to_owned());
        }
    }

    fn site(&mut self, record: &SiteRecord<'a>) {
        match self.sites.get(&record.hash) {
            // Two equal sites on one line are one.
            Some((known, _)) if *known == record.bytes => {}
            Some(_) => self.reject(record.site.text, "another call site has the same hash: change a word of it".into()),
            None if self.sites.len() == limits::SITES => {
                self.reject(record.site.text, format!("the binary has more than {} call sites", limits::SITES));
            }
            None => {
                self.sites.insert(record.hash, (record.bytes, Arc::new(Site::new(record))));
            }
        }
    }

    fn record(&mut self, record: &Record<'a>) {
        let (name, bytes) = (record.descriptor.name, record.bytes);
        if let Some((known, _)) = self.records.get(&record.hash) {
            if *known != bytes && self.clashes.insert(record.hash) {
                self.reject(name, "another declaration has the same hash: change a word of its help text".into());
            }
            return;
        }
        match check::metric(record) {
            Ok(metric) if self.records.len() < limits::METRICS => {
                self.records.insert(record.hash, (bytes, metric));
            }
            Ok(_) => self.reject(name, format!("the binary declares more than {} metrics", limits::METRICS)),
            Err(reason) => self.reject(name, reason),
        }
    }

    fn reject(&mut self, name: &str, reason: String) {
        if self.rejected.len() < limits::REJECTED {
            let name = name.chars().take(wasmetry_abi::name::MAX_NAME).collect();
            let rejected = Rejected { name, reason };
            if !self.rejected.contains(&rejected) {
                self.rejected.push(rejected);
            }
        }
    }

    fn finish(mut self, uses_wasmetry: bool, uses_handle_api: bool, imports: Vec<String>) -> Declarations {
        let clashes = std::mem::take(&mut self.clashes);
        let mut candidates: Vec<_> = std::mem::take(&mut self.records)
            .into_values()
            .map(|(_, metric)| metric)
            .filter(|metric| !clashes.contains(&metric.hash))
            .collect();
        candidates.sort_by(|a, b| (&a.name, a.hash).cmp(&(&b.name, b.hash)));

        let (mut words, mut text) = (0, 0);
        let mut metrics: Vec<Metric> = Vec::new();
        for metric in candidates {
            let name = metric.name.clone();
            let namesakes = metrics.iter().rev().take_while(|other| other.name == metric.name);
            let entry_words = (metric.series() * metric.words()) as u64;
            if namesakes.clone().count() >= limits::NAMESAKES {
                self.reject(&name, format!("the binary declares the name more than {} times", limits::NAMESAKES));
            } else if namesakes.clone().any(|other| Overlap::of(other, &metric) == Overlap::Clash) {
                self.reject(&name, "it is declared a second time, with another type, unit, buckets or labels".into());
            } else if words + entry_words > limits::WORDS_PER_COMPONENT {
                self.reject(
                    &name,
                    format!("the binary's metrics have more than {} words in all", limits::WORDS_PER_COMPONENT),
                );
            } else if text + check::label_text(&metric) > limits::LABEL_TEXT_PER_COMPONENT {
                self.reject(
                    &name,
                    format!("the binary's labels have more than {} bytes in all", limits::LABEL_TEXT_PER_COMPONENT),
                );
            } else {
                words += entry_words;
                text += check::label_text(&metric);
                metrics.push(metric);
            }
        }
        let mut sites: Vec<Arc<Site>> = std::mem::take(&mut self.sites).into_values().map(|(_, site)| site).collect();
        sites.sort_by(|a, b| (&a.source.file, a.source.line, a.hash).cmp(&(&b.source.file, b.source.line, b.hash)));
        let mut routes: Vec<_> = std::mem::take(&mut self.routes).into_iter().collect();
        routes.sort_by(|(_, a), (_, b)| a.cmp(b));
        let facades = self.facades;
        let rejected = self.rejected;
        let inner = Inner { metrics, sites, routes, facades, rejected, uses_wasmetry, uses_handle_api, imports };
        Declarations { inner: Arc::new(inner) }
    }
}

/// Returns `true` for an import of the crate `wasmetry`.
fn is_region(import: &str) -> bool {
    interface(import) == Some("region")
}

/// Returns `true` for an import of the handle API.
fn is_handle_api(import: &str) -> bool {
    matches!(interface(import), Some("metrics" | "logs" | "spans" | "requests"))
}

/// Returns the interface of this project's package that an import refers to.
fn interface(import: &str) -> Option<&str> {
    let path = import.strip_prefix(WIT_PACKAGE)?.strip_prefix('/')?;
    Some(path.split_once('@').map_or(path, |(interface, _)| interface))
}

fn malformed(error: wasmparser::BinaryReaderError) -> Error {
    Error::Malformed { offset: error.offset(), source: ParseError::new(error) }
}

/// Converts the shape of a descriptor's label.
fn label_values(shape: LabelShape<'_>) -> LabelValues {
    match shape {
        LabelShape::Values(values) => LabelValues::Listed(values.iter().map(str::to_owned).collect()),
        LabelShape::Below(bound) => LabelValues::Below(bound),
        LabelShape::Text { capacity, max_len } => LabelValues::Text { capacity, max_len },
    }
}
