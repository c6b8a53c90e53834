//! Declarations: the metrics and call sites of a binary, read from it without running it.
//!
//! In comes a binary. Out come [`Declarations`], whose names, labels and bounds obey the rules of
//! `abi::name`, and the rejected ones. The folder does not know registries, values or memory.

mod check;
pub(crate) mod dynamic;
pub(crate) mod error;
mod memory;
mod section;
pub(crate) mod site;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wasmetry_abi::{Kind, LabelShape, Merge, SECTION, SECTION_PREFIX, WIT_PACKAGE};
use wasmparser::{Parser, Payload};

use crate::declaration::error::ParseError;
use crate::declaration::section::Found;
use crate::declaration::site::Site;
use crate::{Error, limits};
pub(crate) use check::{Overlap, exported_keys, metric};
pub(crate) use memory::share;

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
    pub labels: Box<[Label]>,
    /// The constant labels: key and value.
    pub const_labels: Box<[(String, String)]>,
    /// A histogram's bucket bounds in the metric's unit, in rising order, without `+Inf`.
    pub buckets: Box<[f64]>,
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
    Listed(Arc<[String]>),
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

/// The numbers of rejected declarations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RejectedCounts {
    /// Of metrics and routes, and of records that cannot be decoded.
    pub(crate) metrics: u64,
    /// Of call sites and facades.
    pub(crate) sites: u64,
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
    metrics: Vec<Arc<Metric>>,
    sites: Vec<Arc<Site>>,
    routes: Vec<(u64, Arc<str>)>,
    facades: BTreeSet<String>,
    rejected: Vec<Rejected>,
    rejected_counts: RejectedCounts,
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
    pub fn metrics(&self) -> &[Arc<Metric>] {
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
    ///
    /// `wasmetry_dropped_total` counts all of them as `invalid_declaration` when the component is
    /// registered.
    pub fn rejected(&self) -> &[Rejected] {
        &self.inner.rejected
    }

    /// The numbers of all rejected declarations.
    pub(crate) fn rejected_counts(&self) -> RejectedCounts {
        self.inner.rejected_counts
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
