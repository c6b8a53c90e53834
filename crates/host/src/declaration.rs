//! Declarations: the metrics and call sites of a binary, read from it without running it.
//!
//! In comes a binary. Out come [`Declarations`], whose names, labels and bounds keep the rules of `abi::name`, and what was rejected.
//! It does not know registries, values or memory.

mod check;
pub(crate) mod error;
pub(crate) mod site;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use wasmetry_abi::site::{SiteRecord, Sites};
use wasmetry_abi::{Kind, LabelShape, Merge, Record, Records, SECTION, SECTION_PREFIX, WIT_PACKAGE};
use wasmparser::{Parser, Payload};

use crate::declaration::site::Site;
use crate::{Error, limits};
pub(crate) use check::{Overlap, exported_keys, metric};

/// One metric that a binary declares.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The hash of its record, by which a region names it.
    pub hash: u64,
    /// Its name; a counter's ends in `_total`.
    pub name: String,
    /// What kind of metric it is.
    pub kind: Kind,
    /// What it says to a person.
    pub help: String,
    /// The unit, or an empty text.
    pub unit: String,
    /// How a gauge's values in several instances become one.
    pub merge: Merge,
    /// The labels, in the order in which they index the series.
    pub labels: Vec<Label>,
    /// Labels with the same value on every series: key and value.
    pub const_labels: Vec<(String, String)>,
    /// A histogram's bucket bounds in the metric's unit, rising, without `+Inf`.
    pub buckets: Vec<f64>,
    /// The buckets that each series of an exponential histogram has; 0 for all other kinds.
    pub max_buckets: u16,
    /// Whether the guest sets it only when a host is about to look.
    pub is_observed: bool,
}

impl Metric {
    /// The number of series that one instance can have, known to be within the limits.
    pub(crate) fn series(&self) -> usize {
        self.labels.iter().map(|label| label.values.positions() as usize).product()
    }

    /// 8-byte words in one series of an entry.
    pub(crate) fn words(&self) -> usize {
        let buckets = if self.kind.is_exponential() { usize::from(self.max_buckets) } else { self.buckets.len() };
        wasmetry_abi::layout::cell_words(self.kind, buckets)
    }

    /// Bytes of the tables of the text labels, which lie behind an entry's head.
    pub(crate) fn tables(&self) -> usize {
        self.labels.iter().map(|label| label.values.table()).sum()
    }

    /// Bytes of an exponential histogram's scratch area, between the tables and the cells.
    pub(crate) fn scratch(&self) -> usize {
        8 * wasmetry_abi::layout::scratch_words(self.kind, self.max_buckets)
    }

    /// Whether every series is known in advance.
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
    /// The values that it can take.
    pub values: LabelValues,
}

/// The values that a label can take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelValues {
    /// These values.
    Listed(Vec<String>),
    /// The integers below a bound, and `overflow`.
    Below(u32),
    /// Texts that are met at run time, and `overflow`.
    Text {
        /// The number of different texts in one instance.
        capacity: u32,
        /// The longest text in bytes.
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

    /// Bytes of the label's table in an entry.
    pub(crate) fn table(&self) -> usize {
        match self {
            // What does not fit is not in any window either; `check` has refused it before.
            Self::Text { capacity, max_len } => wasmetry_abi::layout::table_size(*capacity, *max_len)
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(usize::MAX),
            _ => 0,
        }
    }
}

/// A declaration that the host refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// The metric's name, or an empty text where the record could not be read so far.
    pub name: String,
    /// Why, and where there is one, the remedy.
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

/// What a binary declares; a clone shares it.
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
    rejected: Vec<Rejected>,
    uses_wasmetry: bool,
    uses_typed_imports: bool,
}

impl Declarations {
    /// Reads the descriptor sections of a component or core module and of all modules and components within it.
    ///
    /// Declarations that break a rule or a limit are listed in [`rejected`](Self::rejected); the others stand.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are no WebAssembly or cannot be walked to their end.
    pub fn from_wasm(bytes: &[u8]) -> Result<Self, Error> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::NotWasm);
        }
        let (mut uses_wasmetry, mut uses_typed_imports) = (false, false);
        let mut found = Found::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::CustomSection(section) if section.name() == SECTION => found.section(section.data()),
                Payload::CustomSection(section) if section.name().starts_with(SECTION_PREFIX) => found.reject(
                    "",
                    format!(
                        "section `{}` is of another version than `{SECTION}`, which this release reads",
                        section.name()
                    ),
                ),
                // Names are read as far as the parser knows the items; what is newer than it cannot be ours.
                Payload::ComponentImportSection(imports) => {
                    for import in imports.into_iter().flatten() {
                        uses_wasmetry |= is_region(import.name.name);
                        uses_typed_imports |= is_typed(import.name.name);
                    }
                }
                Payload::ImportSection(imports) => {
                    uses_wasmetry |= imports.into_imports().flatten().any(|import| is_region(import.module));
                }
                Payload::ExportSection(exports) => {
                    uses_wasmetry |=
                        exports.into_iter().flatten().any(|export| export.name.starts_with("wasmetry_region_"));
                }
                _ => {}
            }
        }
        Ok(found.finish(uses_wasmetry, uses_typed_imports))
    }

    /// Reads the bytes of descriptor sections, as a binary or another source has them.
    ///
    /// ```
    /// use wasmetry_abi::{Descriptor, Kind};
    ///
    /// const REQUESTS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "http_requests_total", "HTTP requests.");
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
        found.finish(uses_wasmetry, false)
    }

    /// The metrics, sorted by name.
    pub fn metrics(&self) -> &[Metric] {
        &self.inner.metrics
    }

    /// The call sites of logs, events and spans, by file and line.
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.inner.sites
    }

    /// The declarations that are refused, at most [`limits::REJECTED`] of them.
    pub fn rejected(&self) -> &[Rejected] {
        &self.inner.rejected
    }

    /// Whether the binary imports or exports what a guest of the crate `wasmetry` does.
    ///
    /// A binary that does, and declares nothing, has lost its descriptor section to a tool.
    pub fn uses_wasmetry(&self) -> bool {
        self.inner.uses_wasmetry
    }

    /// Whether the binary records by the typed imports, so that its metrics, logs and spans are known only when it runs.
    pub fn uses_typed_imports(&self) -> bool {
        self.inner.uses_typed_imports
    }
}

/// What the walk over a binary's sections has found.
#[derive(Default)]
struct Found<'a> {
    bytes: usize,
    records: BTreeMap<u64, (&'a [u8], Metric)>,
    sites: BTreeMap<u64, (&'a [u8], Arc<Site>)>,
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
    }

    fn site(&mut self, record: &SiteRecord<'a>) {
        match self.sites.get(&record.hash) {
            // Two sites on one line that say the same are one.
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

    fn finish(mut self, uses_wasmetry: bool, uses_typed_imports: bool) -> Declarations {
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
        let inner = Inner { metrics, sites, rejected: self.rejected, uses_wasmetry, uses_typed_imports };
        Declarations { inner: Arc::new(inner) }
    }
}

/// Whether an import is that of the crate `wasmetry`.
fn is_region(import: &str) -> bool {
    interface(import) == Some("region")
}

/// Whether an import is one by which guests record without the crate.
fn is_typed(import: &str) -> bool {
    matches!(interface(import), Some("metrics" | "logs" | "spans"))
}

/// The interface of ours that an import names.
fn interface(import: &str) -> Option<&str> {
    let path = import.strip_prefix(WIT_PACKAGE)?.strip_prefix('/')?;
    Some(path.split_once('@').map_or(path, |(interface, _)| interface))
}

fn malformed(error: wasmparser::BinaryReaderError) -> Error {
    Error::Malformed { offset: error.offset(), cause: error.message().trim_end_matches('.').to_owned() }
}

/// Makes a [`LabelValues`] of a descriptor's shape.
fn label_values(shape: LabelShape<'_>) -> LabelValues {
    match shape {
        LabelShape::Values(values) => LabelValues::Listed(values.iter().map(str::to_owned).collect()),
        LabelShape::Below(bound) => LabelValues::Below(bound),
        LabelShape::Text { capacity, max_len } => LabelValues::Text { capacity, max_len },
    }
}
