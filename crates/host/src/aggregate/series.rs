//! The rows of an aggregate: the series of each row, and its rendered labels.
//!
//! Series with text labels are made when they are first found, up to
//! [`limits::SERIES_PER_METRIC`] and the [`Budget`] of the component. Later ones share the overflow
//! series.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_abi::layout::table_key;

use crate::declaration::{LabelValues, Metric, exported_keys};
use crate::memory::region::u32_at;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::snapshot::Rows;
use crate::snapshot::labels::{LabelTable, LabelText, OVERFLOW};
use crate::{Identity, limits};

/// The id of the text `overflow`, which stands for all texts that are not kept.
const OVERFLOW_ID: u32 = 0;

/// The room that is left in one component for series with text labels, and for exemplars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    text: u64,
    words: u64,
    exemplars: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            text: limits::LABEL_TEXT_PER_COMPONENT,
            words: limits::WORDS_PER_COMPONENT,
            exemplars: limits::EXEMPLARS_PER_COMPONENT,
        }
    }
}

impl Budget {
    fn take(&mut self, text: u64, words: u64) -> bool {
        match (self.text.checked_sub(text), self.words.checked_sub(words)) {
            (Some(text), Some(words)) => {
                (self.text, self.words) = (text, words);
                true
            }
            _ => false,
        }
    }

    /// Takes the room of an exemplar. Returns `false` if there is none.
    pub(super) fn take_exemplar(&mut self) -> bool {
        let rest = self.exemplars.checked_sub(1);
        self.exemplars = rest.unwrap_or(0);
        rest.is_some()
    }

    /// Returns the room of exemplars that were removed.
    pub(super) fn return_exemplars(&mut self, exemplars: usize) {
        self.exemplars += exemplars;
    }
}

/// The rows of one metric in one component.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The labels that all rows share: those of the identity, and the constant ones.
    prefix: LabelText,
    keys: Vec<String>,
    shapes: Vec<LabelValues>,
    labels: Arc<LabelTable>,
    is_declared: bool,
    texts: Option<Texts>,
}

/// The series with text labels that were found.
#[derive(Debug, Default)]
struct Texts {
    /// The ids of the texts of each label.
    ids: Vec<HashMap<Box<str>, u32>>,
    /// The row for the positions or text ids of all labels.
    rows: HashMap<Box<[u32]>, u32>,
    /// The number of rows without an `overflow`.
    regular: usize,
    /// The rows in the order of their labels.
    order: Vec<u32>,
}

/// The texts of one series, by label.
struct Found<'a> {
    texts: [Cow<'a, str>; limits::LABELS],
    /// Bytes of the texts that are new.
    missing: u64,
    /// `true` if all of them are the overflow text.
    is_overflow: bool,
}

impl Default for Found<'_> {
    fn default() -> Self {
        Self { texts: [const { Cow::Borrowed("") }; limits::LABELS], missing: 0, is_overflow: true }
    }
}

impl<'a> Found<'a> {
    /// Adds the text of a label. Returns its id, or `u32::MAX` if it is new.
    fn add(&mut self, label: usize, text: Cow<'a, str>, known: &HashMap<Box<str>, u32>) -> u32 {
        let id = if text == OVERFLOW {
            OVERFLOW_ID
        } else {
            self.is_overflow = false;
            known.get(&*text).copied().unwrap_or_else(|| {
                self.missing += text.len() as u64;
                u32::MAX
            })
        };
        self.texts[label] = text;
        id
    }
}

impl Table {
    pub(super) fn new(metric: &Metric, identity: &Identity, is_declared: bool) -> Self {
        let mut prefix = LabelText::default();
        for (key, value) in Identity::KEYS.into_iter().zip(identity.values()) {
            prefix.label(key, value);
        }
        let mut keys: Vec<String> = exported_keys(metric).into_iter().map(Cow::into_owned).collect();
        let constant = keys.split_off(metric.labels.len());
        for (key, (_, value)) in constant.iter().zip(&metric.const_labels) {
            prefix.label(key, value);
        }
        let shapes: Vec<_> = metric.labels.iter().map(|label| label.values.clone()).collect();
        let texts = (!metric.is_dense())
            .then(|| Texts { ids: shapes.iter().map(|_| HashMap::new()).collect(), ..Texts::default() });
        let mut table =
            Self { prefix, keys, shapes, labels: Arc::default(), is_declared: is_declared && texts.is_none(), texts };
        if table.texts.is_none() {
            let rows = metric.series();
            Arc::make_mut(&mut table.labels).resize(rows);
            if table.is_declared {
                table.labels(&Rows::Some((0..rows as u32).collect()));
            }
        }
        table
    }

    /// Returns `true` if a label has texts that are not known in advance.
    pub(super) fn is_dynamic(&self) -> bool {
        self.texts.is_some()
    }

    /// Returns `true` if all rows are exported from the start.
    pub(super) fn is_declared(&self) -> bool {
        self.is_declared
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns all rows in the order of the output.
    pub(super) fn order(&self) -> impl Iterator<Item = u32> {
        let dense = if self.is_dynamic() { 0 } else { self.len() as u32 };
        let dynamic = self.texts.iter().flat_map(|texts| texts.order.iter().copied());
        (0..dense).chain(dynamic)
    }

    /// Returns the labels, with those of `rows` rendered.
    pub(super) fn labels(&mut self, rows: &Rows) -> Arc<LabelTable> {
        if let (Rows::Some(rows), None) = (rows, &self.texts) {
            for row in rows.iter().map(|row| *row as usize) {
                if self.labels.row(row).is_empty() {
                    let text = self.render(&self.positions(row), &[]);
                    Arc::make_mut(&mut self.labels).set(row, &text);
                }
            }
        }
        self.labels.clone()
    }

    /// Returns the row of a series with text labels, which is made if there is none.
    ///
    /// `position` is the position of the series in the entry, `tables` the bytes of the entry's
    /// tables.
    pub(super) fn row(
        &mut self,
        position: usize,
        tables: &[u8],
        words: usize,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) -> usize {
        let mut ids = self.positions(position);
        let ids = &mut ids[..self.shapes.len()];
        let mut found = Found::default();
        let mut rest = tables;
        let Some(texts) = &self.texts else { return position };
        for (label, shape) in self.shapes.iter().enumerate() {
            let &LabelValues::Text { capacity, max_len } = shape else { continue };
            let (table, behind) = rest.split_at(shape.table().min(rest.len()));
            rest = behind;
            let value = if ids[label] == capacity {
                Cow::Borrowed(OVERFLOW)
            } else {
                text(table, capacity, max_len, ids[label], drops)
            };
            ids[label] = found.add(label, value, &texts.ids[label]);
        }
        self.row_of_ids(ids, found, words, budget, drops)
    }

    /// Returns the row of a series with these texts as labels, which is made if there is none.
    pub(super) fn row_of(
        &mut self,
        labels: &[&str],
        words: usize,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) -> usize {
        let mut ids = [OVERFLOW_ID; limits::LABELS];
        let ids = &mut ids[..self.shapes.len()];
        let mut found = Found::default();
        let Some(texts) = &self.texts else { return 0 };
        for (label, (text, known)) in labels.iter().zip(&texts.ids).enumerate() {
            ids[label] = found.add(label, Cow::Borrowed(*text), known);
        }
        self.row_of_ids(ids, found, words, budget, drops)
    }

    /// Returns the row of a series, which is made if there is none. If there is no room for it,
    /// returns the row of the overflow series.
    fn row_of_ids(
        &mut self,
        ids: &mut [u32],
        found: Found<'_>,
        words: usize,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) -> usize {
        let Found { texts: mut values, missing, is_overflow } = found;
        if let Some(row) = self.texts.as_ref().and_then(|texts| texts.rows.get(&ids[..])) {
            return *row as usize;
        }

        // The room of the overflow series was taken when the metric was declared.
        if !is_overflow {
            let text = self.render(ids, &values);
            if let Some(texts) = &mut self.texts
                && texts.regular < limits::SERIES_PER_METRIC
                && budget.take(text.len() as u64 + missing, words as u64)
            {
                texts.regular += 1;
                for ((id, value), known) in ids.iter_mut().zip(&values).zip(&mut texts.ids) {
                    if *id == u32::MAX {
                        *id = known.len() as u32 + 1;
                        known.insert(value.as_ref().into(), *id);
                    }
                }
                return self.insert(ids, &text);
            }
            drops.add(HostDropReason::SeriesLimit, 1);
        }
        for (label, shape) in self.shapes.iter().enumerate() {
            if matches!(shape, LabelValues::Text { .. }) {
                ids[label] = OVERFLOW_ID;
                values[label] = Cow::Borrowed(OVERFLOW);
            }
        }
        match self.texts.as_ref().and_then(|texts| texts.rows.get(&ids[..])) {
            Some(row) => *row as usize,
            None => {
                let text = self.render(ids, &values);
                self.insert(ids, &text)
            }
        }
    }

    fn insert(&mut self, ids: &[u32], text: &str) -> usize {
        let row = Arc::make_mut(&mut self.labels).push(text);
        if let Some(texts) = &mut self.texts {
            texts.rows.insert(ids.into(), row as u32);
            let labels = &self.labels;
            let at = texts.order.partition_point(|other| labels.row(*other as usize) < text);
            texts.order.insert(at, row as u32);
        }
        row
    }

    /// Returns the position of each label in the series at `position`. The last label's changes
    /// fastest.
    fn positions(&self, position: usize) -> [u32; limits::LABELS] {
        let mut rest = position as u64;
        let mut positions = [0; limits::LABELS];
        for (label, shape) in self.shapes.iter().enumerate().rev() {
            positions[label] = (rest % shape.positions()) as u32;
            rest /= shape.positions();
        }
        positions
    }

    /// Renders the labels of a series. `texts` are the values of the text labels.
    fn render(&self, positions: &[u32], texts: &[Cow<'_, str>]) -> String {
        let mut text = self.prefix.clone();
        for (label, (key, shape)) in self.keys.iter().zip(&self.shapes).enumerate() {
            let position = positions[label];
            match shape {
                LabelValues::Listed(values) => text.label(key, &values[position as usize]),
                LabelValues::Below(bound) if position == *bound => text.label(key, OVERFLOW),
                LabelValues::Below(_) => text.label(key, itoa::Buffer::new().format(position)),
                LabelValues::Text { .. } => text.label(key, &texts[label]),
            }
        }
        text.finish()
    }
}

/// Returns the text in a slot of a table, or the overflow text if there is none.
fn text<'a>(table: &'a [u8], capacity: u32, max_len: u32, slot: u32, drops: &mut DropCounts) -> Cow<'a, str> {
    let key = table_key(capacity, max_len, slot) as usize;
    let bytes = match (u32_at(table, 4 * slot as usize), u32_at(table, key)) {
        (Some(1..), Some(len @ 1..)) if len - 1 <= max_len => table.get(key + 4..key + 4 + (len - 1) as usize),
        _ => None,
    };
    let text = bytes.map(String::from_utf8_lossy);
    if !matches!(text, Some(Cow::Borrowed(_))) {
        drops.add(HostDropReason::LabelText, 1);
    }
    text.unwrap_or(Cow::Borrowed(OVERFLOW))
}
