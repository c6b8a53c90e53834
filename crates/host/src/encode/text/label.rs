//! Rendered labels and bounds. Each is made once, when it is first written, and kept with what it
//! was made from.
//!
//! The labels of a series are three parts, of which all series of a table share the first one:
//!
//! ```text
//! {component="shop"    ,queue="mail"    }␣          constant labels, those of the row, the end
//! {component="shop"    ,queue="mail"    ,le="0.1"}␣ a bucket of the same series
//! ```

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::number::write_canonical_float;
use crate::encode::escape;
use crate::snapshot::labels::{ALLOCATION, LabelTable};

/// The end of rendered labels, with the space before the value.
const END: &str = "} ";

/// The labels of a table as the text formats have them. A clone shares the rendered rows.
#[derive(Debug, Default)]
pub(crate) struct RenderedLabels {
    parts: Mutex<Parts>,
    /// The bytes of the constant labels when they are rendered. They may be many more than those of
    /// a row.
    constant_len: OnceLock<usize>,
    /// The bytes of what is rendered.
    bytes: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
struct Parts {
    /// The constant labels; empty if there are none, or if they are not rendered.
    constant: String,
    /// The other labels of each row, with their end; an empty text if they are not rendered.
    rows: Vec<Arc<str>>,
}

impl RenderedLabels {
    /// Returns the bytes of what is rendered.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for RenderedLabels {
    fn clone(&self) -> Self {
        let parts = Mutex::new(self.lock().clone());
        Self { parts, constant_len: self.constant_len.clone(), bytes: AtomicUsize::new(self.memory()) }
    }
}

/// The rendered labels of one table, while they are written.
pub(super) struct Labels<'a> {
    table: &'a LabelTable,
    parts: MutexGuard<'a, Parts>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(table: &'a LabelTable) -> Self {
        let mut parts = table.rendered.lock();
        if parts.constant.is_empty() {
            let constant = table.constant().iter().map(|(key, value)| (key.as_str(), value.as_str()));
            constant.for_each(|(key, value)| push(&mut parts.constant, key, value));
            table.rendered.bytes.fetch_add(parts.constant.len(), Relaxed);
        }
        Self { table, parts }
    }

    /// The labels that all rows share, without an end.
    pub(super) fn constant(&self) -> &str {
        &self.parts.constant
    }

    /// Returns the other labels of a row, and the end: `} `, or a space if there is no label at
    /// all.
    #[inline]
    pub(super) fn row(&mut self, row: usize) -> &str {
        if self.parts.rows.get(row).is_none_or(|text| text.is_empty()) {
            self.render(row);
        }
        &self.parts.rows[row]
    }

    /// Returns the other labels of a row without an end.
    pub(super) fn row_without_end(&mut self, row: usize) -> &str {
        let text = self.row(row);
        text.strip_suffix(END).unwrap_or_default()
    }

    #[cold]
    fn render(&mut self, row: usize) {
        let Parts { constant, rows } = &mut *self.parts;
        let mut text = String::new();
        let mut is_first = constant.is_empty();
        for (key, value) in self.table.varied(row) {
            push_behind(&mut text, is_first, key, &value);
            is_first = false;
        }
        text.push_str(if is_first { " " } else { END });
        let missing = self.table.len().saturating_sub(rows.len());
        if missing > 0 {
            rows.resize(self.table.len(), Arc::default());
        }
        let bytes = size_of::<Arc<str>>() * missing + ALLOCATION + text.len();
        self.table.rendered.bytes.fetch_add(bytes, Relaxed);
        rows[row] = text.into();
    }
}

fn push(out: &mut String, key: &str, value: &str) {
    push_behind(out, out.is_empty(), key, value);
}

/// Appends a label behind others, or as the first one.
fn push_behind(out: &mut String, is_first: bool, key: &str, value: &str) {
    out.push(if is_first { '{' } else { ',' });
    out.push_str(key);
    out.push_str("=\"");
    escape::label_value(value, out);
    out.push('"');
}

/// Returns the bytes that the labels of a row have when they are rendered, without those of their
/// end.
pub(super) fn rendered_len(table: &LabelTable, row: usize) -> usize {
    let len = |key: &str, value: &str| key.len() + escape::label_value_len(value) + 4;
    let constant = || table.constant().iter().map(|(key, value)| len(key, value)).sum();
    let varied: usize = table.varied(row).map(|(key, value)| len(key, &value)).sum();
    *table.rendered.constant_len.get_or_init(constant) + varied
}

/// The bounds of a histogram as the text formats have them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RenderedBounds {
    texts: OnceLock<Vec<String>>,
}

impl RenderedBounds {
    /// Returns the label `le` of each bucket, up to `+Inf`, as the end of rendered labels:
    /// `le="0.1"} `.
    pub(crate) fn get(&self, bounds: &[f64]) -> &[String] {
        self.texts.get_or_init(|| {
            let text = |bound: &f64| {
                let mut text = String::from("le=\"");
                write_canonical_float(&mut text, *bound);
                text.push_str("\"} ");
                text
            };
            bounds.iter().chain([&f64::INFINITY]).map(text).collect()
        })
    }
}
