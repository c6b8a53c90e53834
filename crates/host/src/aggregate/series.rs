//! The rows of an aggregate: the series of each row, and its labels.
//!
//! Series with text labels are made when they are first found, up to
//! the limit of the metric and the [`Budget`] of the component. Later ones share the overflow
//! series.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use wasmetry_abi::layout::table_key;

use super::exemplar::Exemplars;
use crate::declaration::{LabelValues, Metric, exported_keys, share};
use crate::ledger::{Accounts, Charge};
use crate::memory::budget::ReadBudget;
use crate::memory::region::u32_at;
use crate::registry::drop_reason::{DropCounts, HostDropReason};
use crate::snapshot::labels::{ALLOCATION, Column, ColumnValues, ComponentLabels, LabelTable, OVERFLOW};
use crate::{GuestLimits, limits};

/// The id of the text `overflow`, which stands for all texts that are not kept.
const OVERFLOW_ID: u32 = 0;

/// The room that is left in one component for series with text labels, and for exemplars.
#[derive(Debug)]
pub(crate) struct Budget {
    text: u64,
    words: u64,
    exemplars: usize,
    /// The bytes of all series, of which [`set_memory`](Self::set_memory) has counted those that
    /// were there.
    memory: usize,
    charge: Charge,
    /// The number of series with text labels.
    series: usize,
    series_charge: Charge,
    per_metric: u64,
}

impl Budget {
    /// Creates the budget of a component, whose series are charged to these accounts.
    pub(crate) fn new(accounts: &Accounts, limits: &GuestLimits) -> Self {
        Self {
            text: limits.label_text,
            words: limits::WORDS_PER_COMPONENT,
            exemplars: limits::EXEMPLARS_PER_COMPONENT,
            memory: 0,
            charge: Charge::new(accounts.memory.clone()),
            series: 0,
            series_charge: Charge::new(accounts.series.clone()),
            per_metric: limits.series_per_metric,
        }
    }

    /// Sets the bytes that all series take, and the number of those with text labels. Beyond a
    /// limit there is no room for new ones.
    pub(crate) fn set_used(&mut self, bytes: usize, series: usize) {
        (self.memory, self.series) = (bytes, series);
        self.charge.set(bytes);
        self.series_charge.set(series);
    }

    fn take(&mut self, text: u64, words: u64) -> bool {
        let (Some(rest), Some(rest_words)) = (self.text.checked_sub(text), self.words.checked_sub(words)) else {
            return false;
        };
        if !self.series_charge.resize(self.series + 1) {
            return false;
        }
        if !self.take_memory(text as usize + size_of::<u64>() * words as usize + ROW_BYTES) {
            self.series_charge.set(self.series);
            return false;
        }
        self.series += 1;
        (self.text, self.words) = (rest, rest_words);
        true
    }

    /// Takes the room of an exemplar. Returns `false` if there is none.
    pub(super) fn take_exemplar(&mut self) -> bool {
        let has_room = self.exemplars > 0 && self.take_memory(Exemplars::BYTES);
        self.exemplars -= usize::from(has_room);
        has_room
    }

    /// Takes the room of memory that all series will take more. Returns `false` if there is none.
    pub(crate) fn take_memory(&mut self, bytes: usize) -> bool {
        let memory = self.memory + bytes;
        let has_room = self.charge.cover(memory);
        if has_room {
            self.memory = memory;
        }
        has_room
    }

    /// Returns the room of the texts and words of series that were removed.
    pub(super) fn return_texts(&mut self, (text, words): (u64, u64)) {
        self.text = self.text.saturating_add(text);
        self.words = self.words.saturating_add(words);
    }

    /// Returns the room of exemplars that were removed.
    pub(super) fn return_exemplars(&mut self, exemplars: usize) {
        self.exemplars += exemplars;
    }
}

/// The rows of one metric in one component.
#[derive(Debug)]
pub(super) struct Table {
    labels: Arc<LabelTable>,
    /// `None` if every series is known in advance.
    texts: Option<Box<Texts>>,
    is_declared: bool,
    /// `true` if all metrics of the component without labels of their own share the labels.
    is_plain: bool,
}

impl Default for Table {
    fn default() -> Self {
        static EMPTY: LazyLock<Arc<LabelTable>> = LazyLock::new(Arc::default);
        Self { labels: Arc::clone(&EMPTY), texts: None, is_declared: false, is_plain: false }
    }
}

/// The series with text labels that were found.
#[derive(Debug, Default)]
struct Texts {
    shapes: Vec<LabelValues>,
    /// The ids of the texts of each label.
    ids: Vec<HashMap<Arc<str>, u32>>,
    /// The row for the positions or text ids of all labels.
    rows: HashMap<Box<[u32]>, u32>,
    /// The number of rows without an `overflow`.
    regular: usize,
    /// The room of their texts and of their words.
    taken: (u64, u64),
    /// The rows in the order of their labels.
    order: Vec<u32>,
}

impl Texts {
    /// Returns the approximate bytes of the index of rows. The label table counts that of texts.
    fn memory(&self) -> usize {
        let ids = size_of::<u32>() * self.ids.len() + ALLOCATION;
        // A hash table has at least an eighth of its places free, and a byte for each.
        let row = 8 * (size_of::<(Box<[u32]>, u32)>() + 1) / 7;
        row * self.rows.capacity() + ids * self.rows.len() + size_of::<u32>() * self.order.capacity()
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

    /// Replaces the ids of texts by that of `overflow`.
    fn set_overflow(&self, ids: &mut [u32]) {
        for (id, shape) in ids.iter_mut().zip(&self.shapes) {
            if matches!(shape, LabelValues::Text { .. }) {
                *id = OVERFLOW_ID;
            }
        }
    }
}

/// Bytes that a new row takes beside its values and texts, until it is counted: its start time, and
/// its places in the tables.
const ROW_BYTES: usize = 160;

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
    fn add(&mut self, label: usize, text: Cow<'a, str>, known: &HashMap<Arc<str>, u32>) -> u32 {
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
    /// Creates the table of a metric in a component that has these labels.
    pub(super) fn new(metric: &Metric, component: &ComponentLabels, is_declared: bool) -> Self {
        if metric.labels.is_empty() && metric.const_labels.is_empty() {
            return Self { labels: component.plain.clone(), texts: None, is_declared, is_plain: true };
        }
        let mut keys: Vec<String> = exported_keys(metric).into_iter().map(Cow::into_owned).collect();
        let constant_keys = keys.split_off(metric.labels.len());
        let constant = constant_keys.into_iter().zip(metric.const_labels.iter().map(|(_, value)| value.clone()));
        let mut constant = constant.filter(|(_, value)| !value.is_empty()).peekable();
        let constant = match constant.peek() {
            None => Arc::clone(&component.constant),
            Some(_) => component.constant.iter().cloned().chain(constant).collect(),
        };
        let shapes: Vec<_> = metric.labels.iter().map(|label| label.values.clone()).collect();
        let columns = keys.into_iter().zip(&shapes).map(|(key, shape)| Column { key, values: column_values(shape) });
        let columns = columns.collect();
        if metric.is_dense() {
            let labels = Arc::new(LabelTable::product(constant, columns));
            return Self { labels, texts: None, is_declared, is_plain: false };
        }
        let mut labels = LabelTable::new(constant, columns);
        for (label, _) in shapes.iter().enumerate().filter(|(_, shape)| matches!(shape, LabelValues::Text { .. })) {
            // Its id is `OVERFLOW_ID`.
            labels.add_text(label, OVERFLOW.into());
        }
        let ids = shapes.iter().map(|_| HashMap::new()).collect();
        let texts = Box::new(Texts { shapes, ids, ..Texts::default() });
        Self { labels: Arc::new(labels), texts: Some(texts), is_declared: false, is_plain: false }
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

    /// Returns the number of rows with texts of their own.
    pub(super) fn regular(&self) -> usize {
        self.texts.as_ref().map_or(0, |texts| texts.regular)
    }

    /// Returns the room of texts and of words that its series have taken.
    pub(super) fn taken(&self) -> (u64, u64) {
        self.texts.as_ref().map_or((0, 0), |texts| texts.taken)
    }

    /// Returns the approximate bytes of the rows and of the labels that they have.
    pub(super) fn memory(&self) -> usize {
        let Some(texts) = &self.texts else {
            // What metrics share is divided between them.
            return if self.is_plain { share(&self.labels, self.labels.memory(), 0) } else { self.labels.memory() };
        };
        self.labels.memory() + texts.memory()
    }

    /// Returns the approximate bytes of the part of the table that does not grow.
    pub(super) fn schema_memory(&self) -> usize {
        if Arc::strong_count(&self.labels) > 1 {
            return 0;
        }
        let label = size_of::<LabelValues>() + size_of::<HashMap<Arc<str>, u32>>();
        let texts = |texts: &Texts| size_of::<Texts>() + ALLOCATION + label * texts.shapes.len();
        self.texts.as_deref().map_or(0, texts) + self.labels.schema_memory()
    }

    /// Returns all rows in the order of the output.
    pub(super) fn order(&self) -> impl Iterator<Item = u32> {
        let dense = if self.is_dynamic() { 0 } else { self.len() as u32 };
        let dynamic = self.texts.iter().flat_map(|texts| texts.order.iter().copied());
        (0..dense).chain(dynamic)
    }

    /// Returns the labels.
    pub(super) fn labels(&self) -> Arc<LabelTable> {
        self.labels.clone()
    }

    /// Returns the row of a series with text labels, which is made if there is none.
    ///
    /// `position` is the position of the series in the entry, `tables` the bytes of the entry's
    /// tables. Returns `None` if the read has no budget for the labels.
    pub(super) fn row(
        &mut self,
        position: usize,
        tables: &[u8],
        words: usize,
        room: &mut Budget,
        budget: &mut ReadBudget,
        drops: &mut DropCounts,
    ) -> Option<usize> {
        let Some(texts) = &self.texts else { return Some(position) };
        // Before a byte of them is looked at.
        if !budget.take_label(1) {
            return None;
        }
        let mut ids = texts.positions(position);
        let ids = &mut ids[..texts.shapes.len()];
        let mut found = Found::default();
        let mut rest = tables;
        for (label, shape) in texts.shapes.iter().enumerate() {
            let &LabelValues::Text { capacity, max_len } = shape else { continue };
            let (table, behind) = rest.split_at(shape.table().min(rest.len()));
            rest = behind;
            let value = if ids[label] == capacity {
                Cow::Borrowed(OVERFLOW)
            } else {
                text(table, capacity, max_len, ids[label], drops)
            };
            if !budget.take_label(value.len()) {
                return None;
            }
            ids[label] = found.add(label, value, &texts.ids[label]);
        }
        Some(self.row_of_ids(ids, found, words, room, drops))
    }

    /// Returns the row of the overflow series that a position belongs to.
    pub(super) fn overflow_row(
        &mut self,
        position: usize,
        words: usize,
        room: &mut Budget,
        drops: &mut DropCounts,
    ) -> usize {
        let Some(texts) = &self.texts else { return position };
        let mut ids = texts.positions(position);
        let ids = &mut ids[..texts.shapes.len()];
        texts.set_overflow(ids);
        self.row_of_ids(ids, Found::default(), words, room, drops)
    }

    /// Returns the row of a series with these texts as labels, which is made if there is none.
    pub(super) fn row_of(
        &mut self,
        labels: &[&str],
        words: usize,
        budget: &mut Budget,
        drops: &mut DropCounts,
    ) -> usize {
        let Some(texts) = &self.texts else { return 0 };
        let mut ids = [OVERFLOW_ID; limits::LABELS];
        let ids = &mut ids[..texts.shapes.len()];
        let mut found = Found::default();
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
        let Found { texts: values, missing, is_overflow } = found;
        let Some(texts) = &mut self.texts else { return 0 };
        if let Some(row) = texts.rows.get(&ids[..]) {
            return *row as usize;
        }

        // The room of the overflow series was taken when the metric was declared.
        if !is_overflow {
            let text = row_bytes(&self.labels, &values) + missing;
            if (texts.regular as u64) < budget.per_metric && budget.take(text, words as u64) {
                texts.regular += 1;
                texts.taken = (texts.taken.0 + text, texts.taken.1 + words as u64);
                let labels = Arc::make_mut(&mut self.labels);
                for (label, ((id, value), known)) in ids.iter_mut().zip(values).zip(&mut texts.ids).enumerate() {
                    if *id == u32::MAX {
                        let text: Arc<str> = value.into();
                        *id = labels.add_text(label, text.clone());
                        known.insert(text, *id);
                    }
                }
                return self.insert(ids);
            }
            drops.add(HostDropReason::SeriesLimit, 1);
        }
        texts.set_overflow(ids);
        match texts.rows.get(&ids[..]) {
            Some(row) => *row as usize,
            None => self.insert(ids),
        }
    }

    fn insert(&mut self, ids: &[u32]) -> usize {
        let labels = Arc::make_mut(&mut self.labels);
        let row = labels.push(ids);
        if let Some(texts) = &mut self.texts {
            texts.rows.insert(ids.into(), row as u32);
            let at = texts.order.partition_point(|other| labels.compare(*other as usize, row).is_lt());
            texts.order.insert(at, row as u32);
        }
        row
    }
}

/// Returns the values of a label as a column has them.
fn column_values(shape: &LabelValues) -> ColumnValues {
    match shape {
        LabelValues::Listed(values) => ColumnValues::Listed(values.clone()),
        LabelValues::Below(bound) => ColumnValues::Below(*bound),
        LabelValues::Text { .. } => ColumnValues::Texts,
    }
}

/// Returns an upper bound of the bytes of a row's labels as the text formats have them, without
/// those that all rows share.
fn row_bytes(labels: &LabelTable, values: &[Cow<'_, str>]) -> u64 {
    labels.keys().zip(values).map(|(key, value)| (key.len() + 2 * value.len() + 4) as u64).sum()
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
